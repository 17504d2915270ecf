"""Metadata: what a picture file carries beside its pixels: marks that say what it is, and what should not have stayed.

Of a text at most `MOST_TEXT` bytes are inflated. Sources: Exif 2.32, CIPA DC-008; C2PA 2.1, where manifests are
embedded.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ...marking.words import KEY
from .. import containers

MOST_TEXT = 1 << 20
MOST_DIRECTORIES = 100
MARKS = ("C2PA", "digital source type", "text")
REMAINS = ("GPS position", "thumbnail", "serial number or owner", "comment or text", "bytes after the end")

_MARKED = re.compile(
    rb"forged|deep ?fake|manipulated|synthetic|ai[- ]generated|algorithmicmedia|\b%b\b" % re.escape(KEY.encode()),
    re.IGNORECASE,
)
# What an encoder writes of itself is nobody's secret, nor is a resolution, a colour profile, a file's date, or nothing.
_ENCODER = (
    rb"creator: gd-jpeg|lavc|lavf|ffmpeg|(created|edited|saved) with (the )?gimp|gimp\b|imagemagick|graphicsmagick"
    rb"|file (written|source).{,20}photoshop|lead technologies|intel\(r\) (jpeg|ipp)|(compressed|optimized) by jpeg"
    rb"|applemark|handmade software|libjpeg|jpeg encoder"
)
_HARMLESS = re.compile(
    rb"^(software: |date:(create|modify|timestamp): |((comment|description): )?(("
    + _ENCODER
    + rb").{,100})?[\s\0]{,64}\Z)",
    re.IGNORECASE | re.DOTALL,
)
_XMP_PERSONAL = re.compile(rb"SerialNumber|OwnerName|dc:creator|photoshop:History|LensSerial", re.IGNORECASE)


class Piece(NamedTuple):
    """A piece of a file that is no pixels: `exif`, `xmp`, `text`, `c2pa`, `photoshop`, `mpf` or `tail`; its content."""

    kind: str
    content: bytes


def marks(data: bytes) -> frozenset[str]:
    """Return which of `MARKS` a picture's bytes carry."""
    found = set()
    for kind, content in pieces(data):
        if kind == "c2pa":
            found.add("C2PA")
        if kind in ("c2pa", "xmp") and b"digitalsourcetype" in content.lower():
            found.add("digital source type")
        if kind == "text" and _MARKED.search(content):
            found.add("text")
    return frozenset(found)


def remains(data: bytes) -> frozenset[str]:
    """Return which of `REMAINS` a picture's bytes carry: what tells of a person, or shows it before the edit."""
    return frozenset(word for piece in pieces(data) for word in _remains(piece))


def _remains(piece: Piece) -> Iterator[str]:
    kind, content = piece
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


def pieces(data: bytes) -> Iterator[Piece]:
    """Yield what a PNG, JPEG, WebP or TIFF carries beside its pixels, in its order; nothing of other formats."""
    container = containers.container_of(data)
    if container == "TIFF":
        yield Piece("exif", data)
    for part in containers.parts(data):
        found = Piece("tail", part.content) if part.kind == containers.TAIL else _PIECES[container](part)
        if found is not None:
            yield found


_PNG_KINDS: Mapping[bytes, str] = {b"eXIf": "exif", b"caBX": "c2pa", b"tEXt": "text", b"zTXt": "text", b"iTXt": "text"}


def _of_png(part: containers.Part) -> Piece | None:
    if part.kind not in _PNG_KINDS:
        return None
    key, _, rest = part.content.partition(b"\0")
    if part.kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif part.kind == b"iTXt":
        words = rest[2:].split(b"\0", 2)[-1]  # after language and translated key
        rest = _inflated(words) if rest[:1] == b"\1" else words
    if key == b"XML:com.adobe.xmp":
        return Piece("xmp", rest)
    if key.startswith(b"Raw profile type"):  # ImageMagick's way of keeping EXIF in a PNG: in hexadecimal
        return Piece("exif", _from_hex(rest))
    kind = _PNG_KINDS[part.kind]
    return Piece(kind, key + b": " + rest if kind == "text" else part.content)


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


_SEGMENTS = (
    (b"\xe1", b"Exif\0\0", "exif"), (b"\xe1", b"http://ns.adobe.com/xap/1.0/\0", "xmp"),
    (b"\xe1", b"http://ns.adobe.com/xmp/extension/\0", "xmp"), (b"\xe2", b"MPF\0", "mpf"), (b"\xeb", b"JP", "c2pa"),
    (b"\xed", b"Photoshop 3.0\0", "photoshop"), (b"\xfe", b"", "text"),
)  # fmt: skip


def _of_jpeg(part: containers.Part) -> Piece | None:
    for marker, start, kind in _SEGMENTS:
        if part.kind == marker and part.content.startswith(start) and (kind != "c2pa" or b"c2pa" in part.content):
            return Piece(kind, part.content.removeprefix(start))
    return None


_WEBP_KINDS: Mapping[bytes, str] = {b"EXIF": "exif", b"XMP ": "xmp", b"C2PA": "c2pa"}


def _of_webp(part: containers.Part) -> Piece | None:
    kind = _WEBP_KINDS.get(part.kind)
    return None if kind is None else Piece(kind, part.content.removeprefix(b"Exif\0\0"))


_PIECES: Mapping[str, Callable[[containers.Part], Piece | None]] = {
    "PNG": _of_png,
    "JPEG": _of_jpeg,
    "WebP": _of_webp,
}


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
