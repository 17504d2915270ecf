"""Containers: the parts that a picture file is made of, walked without decoding anything.

Walked here and not by Pillow, which drops what it does not know, keeps to itself what tells encoders apart, and runs
much more code on a stranger's bytes. Lengths are checked before they are followed, and no file costs more than
`MOST_PARTS` steps. Sources: PNG, ISO/IEC 15948; JPEG, ITU-T T.81; WebP, RFC 9649.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import NamedTuple

MOST_PARTS = 20_000
TAIL = b"tail"
CONTAINERS = ("unknown", "PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF")
_END = b"\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_MAGIC: Mapping[str, Callable[[bytes], bool]] = {
    "PNG": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "JPEG": lambda data: data.startswith(b"\xff\xd8\xff"),
    "WebP": lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
    "GIF": lambda data: data[:6] in (b"GIF87a", b"GIF89a"),
    "BMP": lambda data: data.startswith(b"BM"),
    "TIFF": lambda data: data[:4] in (b"II*\0", b"MM\0*"),
}


class Part(NamedTuple):
    """A chunk (PNG, WebP: its four letters) or a segment (JPEG: its marker's second byte).

    content: all of it that the file holds. size: in bytes, as the file says. The last part is `TAIL` where something
    follows the end, or where the walk was given up.
    """

    kind: bytes
    content: bytes
    size: int


# Parts, and in the end the place behind the last.
Walk = Generator[Part, None, int]


def container_of(data: bytes) -> str:
    """Return which of `CONTAINERS` some bytes begin as."""
    return next((name for name, fits in _MAGIC.items() if fits(data)), CONTAINERS[0])


def parts(data: bytes) -> Iterator[Part]:
    """Yield the parts of a PNG, JPEG or WebP in their order; none of other formats. Any bytes are taken."""
    walk = _WALKS.get(container_of(data))
    if walk is None:
        return
    end = yield from walk(data)
    if data[end:]:
        yield Part(TAIL, data[end:], len(data) - end)


def _of_png(data: bytes) -> Walk:
    at = 8
    for _ in range(MOST_PARTS):
        if at + 8 > len(data):
            return len(data)
        kind, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        yield _part(data, kind, at + 8, size)
        at += 12 + size
        if kind == b"IEND":
            break
    return at


def _of_jpeg(data: bytes) -> Walk:
    """From marker to marker, as decoders go: what lies between, fill bytes and entropy-coded data, is passed over."""
    at = 2
    for _ in range(MOST_PARTS):
        marker = _MARKER.search(data, at)
        if marker is None:
            return len(data)
        at, kind = marker.end(), marker.group()[1:]
        if kind == _END:
            break
        size = max(int.from_bytes(data[at : at + 2], "big"), 2)
        yield _part(data, kind, at + 2, size - 2)
        at += size
    return at


def _of_webp(data: bytes) -> Walk:
    at, end = 12, 8 + int.from_bytes(data[4:8], "little")
    for _ in range(MOST_PARTS):
        if at + 8 > min(end, len(data)):
            return end + end % 2
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield _part(data, data[at : at + 4], at + 8, size)
        at += 8 + size + size % 2
    return at


def _part(data: bytes, kind: bytes, start: int, size: int) -> Part:
    return Part(kind, data[start : start + size], size)


_WALKS: Mapping[str, Callable[[bytes], Walk]] = {"PNG": _of_png, "JPEG": _of_jpeg, "WebP": _of_webp}
