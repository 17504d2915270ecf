"""Metadata: what a picture file carries beside its pixels: marks that say what it is, and what should not have stayed.

Containers are walked here and not by Pillow, which drops what it does not know and reads what it need not. Lengths are
checked before they are followed, no file costs more than `MOST_PARTS` steps, at most `MOST_TEXT` bytes of a text are
inflated. Sources: PNG, ISO/IEC 15948; JPEG, ITU-T T.81; Exif 2.32, CIPA DC-008; C2PA 2.1, where manifests are embedded.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MOST_PARTS = 20_000
MOST_TEXT = 1 << 20
MOST_DIRECTORIES = 100
MARKS = ("C2PA", "digital source type", "text")
REMAINS = ("GPS position", "thumbnail", "serial number or owner", "comment or text", "bytes after the end")

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MARKED = re.compile(
    rb"forged|deep ?fake|manipulated|synthetic|ai[- ]generated|algorithmicmedia|\bmmtt\b", re.IGNORECASE
)
# What an encoder writes of itself is nobody's secret, nor is a resolution or a colour profile.
_HARMLESS = re.compile(rb"^(software|creator: gd-jpeg|lavc|xml:com\.adobe\.xmp)", re.IGNORECASE)
_XMP_PERSONAL = re.compile(rb"SerialNumber|OwnerName|dc:creator|photoshop:History|LensSerial", re.IGNORECASE)


class Part(NamedTuple):
    """A piece of a file that is no pixels: `exif`, `xmp`, `text`, `c2pa`, `photoshop`, `mpf` or `tail`; its content."""

    kind: str
    content: bytes


def marks(data: bytes) -> frozenset[str]:
    """Return which of `MARKS` a picture's bytes carry."""
    found = set()
    for kind, content in parts(data):
        if kind == "c2pa":
            found.add("C2PA")
        if kind in ("c2pa", "xmp") and b"digitalsourcetype" in content.lower():
            found.add("digital source type")
        if kind == "text" and _MARKED.search(content):
            found.add("text")
    return frozenset(found)


def remains(data: bytes) -> frozenset[str]:
    """Return which of `REMAINS` a picture's bytes carry: what tells of a person, or shows it before the edit."""
    return frozenset(word for part in parts(data) for word in _remains(part))


def _remains(part: Part) -> Iterator[str]:
    kind, content = part
    if kind == "exif":
        yield from exif_remains(content)
    elif kind == "xmp":
        yield from ["GPS position"] if b"exif:GPSL" in content else []
        yield from ["thumbnail"] if b"GImg:image" in content else []
        yield from ["serial number or owner"] if _XMP_PERSONAL.search(content) else []
    elif kind == "text" and not (_HARMLESS.search(content) or _MARKED.search(content)):
        yield "comment or text"
    elif kind == "photoshop" and (b"8BIM\x04\x0c" in content or b"8BIM\x04\x09" in content):
        yield "thumbnail"  # image resources 1036 and 1033
    elif kind == "mpf":
        yield "thumbnail"  # a further picture of the same scene
    elif kind == "tail":
        yield "bytes after the end"


def parts(data: bytes) -> Iterator[Part]:
    """Yield what a PNG, JPEG or WebP carries beside its pixels, in its order; nothing of other formats."""
    if data.startswith(_PNG):
        yield from _of_png(data)
    elif data.startswith(_JPEG):
        yield from _of_jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _of_webp(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        yield Part("exif", data)


def _of_png(data: bytes) -> Iterator[Part]:
    at = len(_PNG)
    for _ in range(MOST_PARTS):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content, at = data[at + 8 : at + 8 + size], at + 12 + size
        if kind in _PNG_KINDS:
            yield Part(*_of_chunk(kind, content))
        if kind == b"IEND" or at >= len(data):
            break
    if data[at:]:
        yield Part("tail", data[at:])


_PNG_KINDS: Mapping[bytes, str] = {b"eXIf": "exif", b"caBX": "c2pa", b"tEXt": "text", b"zTXt": "text", b"iTXt": "text"}


def _of_chunk(kind: bytes, content: bytes) -> tuple[str, bytes]:
    key, _, rest = content.partition(b"\0")
    if kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif kind == b"iTXt":
        words = rest[2:].split(b"\0", 2)[-1]  # after language and translated key
        rest = _inflated(words) if rest[:1] == b"\1" else words
    if key == b"XML:com.adobe.xmp":
        return "xmp", rest
    if key.startswith(b"Raw profile type"):  # ImageMagick's way of keeping EXIF in a PNG: in hexadecimal
        return "exif", _from_hex(rest)
    return _PNG_KINDS[kind], content if _PNG_KINDS[kind] != "text" else key + b": " + rest


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_TEXT)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    digits = b"".join(text.split()[2:])  # after the profile's name and length
    try:
        return bytes.fromhex(digits.decode("ascii", "replace")).removeprefix(b"Exif\0\0")
    except ValueError:
        return b""


def _of_jpeg(data: bytes) -> Iterator[Part]:
    at = 2
    for _ in range(MOST_PARTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            break
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        kind = _kind_of_segment(marker, data[at + 4 : at + 2 + size])
        if kind:
            yield kind
        at += 2 + max(size, 2)
        if marker == 0xDA:
            at = _after_scan(data, at)
    if len(data) > at + 2:
        yield Part("tail", data[at + 2 :])


_SEGMENTS = (
    (0xE1, b"Exif\0\0", "exif"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0", "xmp"),
    (0xE1, b"http://ns.adobe.com/xmp/extension/\0", "xmp"), (0xE2, b"MPF\0", "mpf"), (0xEB, b"JP", "c2pa"),
    (0xED, b"Photoshop 3.0\0", "photoshop"), (0xFE, b"", "text"),
)  # fmt: skip


def _kind_of_segment(marker: int, content: bytes) -> Part | None:
    for wanted, start, kind in _SEGMENTS:
        if marker == wanted and content.startswith(start) and (kind != "c2pa" or b"c2pa" in content):
            return Part(kind, content[len(start) :])
    return None


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _after_scan(data: bytes, at: int) -> int:
    """Where the next marker after entropy-coded data begins."""
    found = _MARKER.search(data, at)
    return found.start() if found else len(data)


def _of_webp(data: bytes) -> Iterator[Part]:
    at, end = 12, 8 + int.from_bytes(data[4:8], "little")
    for _ in range(MOST_PARTS):
        if at + 8 > min(end, len(data)):
            break
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        named = {b"EXIF": "exif", b"XMP ": "xmp", b"C2PA": "c2pa"}.get(kind)
        if named:
            yield Part(named, data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"))
        at += 8 + size + size % 2
    if data[end + end % 2 :]:
        yield Part("tail", data[end + end % 2 :])


# Exif tags, by what they tell; those with a value of blanks tell nothing.
_OWNER = (0x013B, 0xA430, 0xA431, 0xA435, 0x9C9D)  # artist, owner, body's and lens's serial number, author
_WORDS = (0x010E, 0x9286, 0x9C9B, 0x9C9C, 0x927C)  # description, user comment, title, comment, maker note
_COORDINATES = (2, 4, 20, 22)  # latitude and longitude, also of a destination; many write the directory without
_DIRECTORIES: Mapping[int, str] = {0x8769: "main", 0x8825: "gps"}
_THUMBNAIL, _STRIPS = 0x0201, 0x0111


def exif_remains(tiff: bytes) -> Iterator[str]:
    """Yield which of `REMAINS` an Exif block (a TIFF header and its directories) carries."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    todo, seen = [(_at(tiff, order, "I", 4), "main")] if order else [], set[int]()
    while order and todo and len(seen) < MOST_DIRECTORIES:
        offset, directory = todo.pop()
        if offset in seen or not 8 <= offset < len(tiff):
            continue
        seen.add(offset)
        count = min(_at(tiff, order, "H", offset), 1000)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, value = _at(tiff, order, "H", entry), _at(tiff, order, "I", entry + 8)
            todo += [(value, _DIRECTORIES[tag])] if tag in _DIRECTORIES else []
            yield from _of_tag(tag, directory, _value(tiff, order, entry), tiff[value : value + 2])
        following = _at(tiff, order, "I", offset + 2 + 12 * count)
        todo += [(following, "second")] if directory == "main" and following else []


def _of_tag(tag: int, directory: str, value: bytes, there: bytes) -> Iterator[str]:
    if directory == "gps":
        yield from ["GPS position"] if tag in _COORDINATES else []
    elif directory == "second" and (tag == _STRIPS or (tag == _THUMBNAIL and there == b"\xff\xd8")):
        yield "thumbnail"
    elif tag in _OWNER and value.strip(b"\0 "):
        yield "serial number or owner"
    elif tag in _WORDS and value.removeprefix(b"ASCII").removeprefix(b"UNICODE").strip(b"\0 "):
        yield "comment or text"


def _at(data: bytes, order: str, kind: str, offset: int) -> int:
    try:
        return int(struct.unpack_from(order + kind, data, offset)[0])
    except struct.error:
        return 0


def _value(tiff: bytes, order: str, entry: int) -> bytes:
    """The bytes of an entry of single bytes (ASCII, undefined, byte): four lie in it, more elsewhere."""
    count = _at(tiff, order, "I", entry + 4)
    start = entry + 8 if count <= 4 else _at(tiff, order, "I", entry + 8)
    return tiff[start : start + min(count, MOST_TEXT)]
