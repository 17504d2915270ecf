"""Headers: what a picture file says before its pixels. A detector that reads these has learnt who wrote the file.

Order of chunks, zlib header, restart intervals, Huffman tables tell encoders apart. Nothing is decompressed.
"""

import zlib
from collections.abc import Callable, Mapping
from math import nan

import numpy as np

from ..containers import CONTAINERS, TAIL, container_of, parts

_EXIF_READ = 1 << 16  # what a JPEG segment can hold
_FLAGS = ("EXIF", "EXIF thumbnail", "ICC profile", "XMP", "comment", "bytes after the end")
_NUMBERS = (
    "width", "height", "quantisation tables", "JPEG quality", "chroma subsampling", "JPEG process", "restart interval",
    "Huffman tables", "JFIF", "application segments", "bit depth", "colour type", "interlace", "zlib header",
    "IDAT size", "ancillary chunks", "WebP kind",
)  # fmt: skip
_CHECKSUMS = ("quantisation tables", "JFIF", "application segments", "ancillary chunks", "WebP kind")
FEATURES = ("container", *_FLAGS, *_NUMBERS)
# ITU-T T.81 (1992), table K.1; in any order, as only the sums of what quality makes of it are needed.
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
        51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
        120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip
Found = dict[str, float]


def read_header(data: bytes) -> Found:
    """Return what a picture's header says, a number for each of `FEATURES`; NaN where its format has no such thing.

    Tables and names are told as a checksum. Any bytes are taken; what cannot be followed is left NaN.
    """
    found = dict.fromkeys(FEATURES, nan) | dict.fromkeys(_FLAGS, 0.0)
    container = container_of(data)
    found["container"] = float(CONTAINERS.index(container))
    if container in _READERS:
        found |= _READERS[container](data)
    return found


def in_words(name: str, value: float, _: object) -> str:
    """Return what a feature of a row is, as part of a sentence."""
    if np.isnan(value):
        return f"{name} cannot be told"
    if name == "container":
        return f"it is {CONTAINERS[int(value)]}"
    if name == "chroma subsampling":
        return f"its channels are sampled {int(value):x} (two digits each, across and down)"
    return f"checksum of its {name}: {int(value):08x}" if name in _CHECKSUMS else f"{name} is {value:g}"


def _digest(data: bytes) -> float:
    return float(zlib.crc32(data))


def _number(data: bytes, start: int, size: int, order: str = "big") -> float:
    part = data[start : start + size]
    return float(int.from_bytes(part, "little" if order == "little" else "big")) if len(part) == size else nan


def _exif(payload: bytes) -> Found:
    return {"EXIF": 1.0, "EXIF thumbnail": float(b"\xff\xd8\xff" in payload)}


# --- PNG (ISO/IEC 15948) ---


def _png(data: bytes) -> Found:
    found, ancillary, idats = Found(), [], list[int]()
    for kind, content, size in parts(data):
        if kind == b"IDAT":
            idats.append(size)
            if len(idats) == 1:
                found["zlib header"] = _number(content, 0, 2)
        elif kind == TAIL:
            found["bytes after the end"] = 1.0
        elif kind[:1].islower():
            ancillary.append(kind)
            found |= _ancillary(kind, content[:_EXIF_READ])
    # One chunk is as large as its content; the first of several is as large as the encoder's buffer.
    found["IDAT size"] = float(idats[0]) if len(idats) > 1 else nan
    found["ancillary chunks"] = _digest(b"".join(ancillary))
    names = {"width": (16, 4), "height": (20, 4), "bit depth": (24, 1), "colour type": (25, 1), "interlace": (28, 1)}
    return found | {name: _number(data, start, size) for name, (start, size) in names.items()}


def _ancillary(kind: bytes, payload: bytes) -> Found:
    if kind == b"eXIf":
        return _exif(payload)
    if kind == b"iCCP":
        return {"ICC profile": 1.0}
    if kind == b"iTXt" and payload.startswith(b"XML:com.adobe.xmp"):
        return {"XMP": 1.0}
    return {"comment": 1.0} if kind in (b"tEXt", b"zTXt", b"iTXt") else {}


# --- JPEG (ITU-T T.81) ---


def _jpeg(data: bytes) -> Found:
    found: Found = {"restart interval": 0.0, "JFIF": 0.0, "Huffman tables": 1.0}
    tables, applications = bytearray(), bytearray()
    for kind, payload, _ in parts(data):
        marker = kind[0]
        if kind == TAIL:
            found["bytes after the end"] = 1.0
        elif marker == 0xDB:
            tables += payload
        elif marker == 0xDD:
            found["restart interval"] = _number(payload, 0, 2)
        elif marker == 0xC4:
            found["Huffman tables"] *= float(_standard_huffman(payload))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            found |= _frame(marker, payload)
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            applications.append(marker)
            found |= _application(marker, payload)
    luminance = np.frombuffer(bytes(tables[1:65]), np.uint8)
    found["quantisation tables"] = _digest(bytes(tables))
    found["JPEG quality"] = _quality(float(luminance.sum())) if len(luminance) == 64 and tables[0] < 16 else nan
    found["application segments"] = _digest(bytes(applications))
    return found


def _frame(marker: int, payload: bytes) -> Found:
    factors = payload[7::3][:4]  # of each component: 4 bits across, 4 bits down
    return {
        "JPEG process": float(marker - 0xC0),
        "bit depth": _number(payload, 0, 1),
        "height": _number(payload, 1, 2),
        "width": _number(payload, 3, 2),
        "colour type": _number(payload, 5, 1),
        "chroma subsampling": _number(factors, 0, len(factors)),
    }


def _application(marker: int, payload: bytes) -> Found:
    if marker == 0xE0 and payload.startswith(b"JFIF\0"):
        return {"JFIF": 1 + _digest(payload[:14])}
    if marker == 0xE1 and payload.startswith(b"Exif\0"):
        return _exif(payload)
    if marker == 0xE1 and payload.startswith(b"http://ns.adobe.com/x"):
        return {"XMP": 1.0}
    if marker == 0xE2 and payload.startswith(b"ICC_PROFILE\0"):
        return {"ICC profile": 1.0}
    return {"comment": 1.0} if marker == 0xFE else {}


def _standard_huffman(payload: bytes) -> bool:
    """Whether tables have as many symbols as those of T.81, annex K; those that are fitted to content have others."""
    at = 0
    while at + 17 <= len(payload):
        symbols = sum(payload[at + 1 : at + 17])
        if symbols not in (12, 162):
            return False
        at += 17 + symbols
    return True


def _quality(total: float) -> float:
    """The quality at which libjpeg's scaling of the standard table comes nearest to a table with that sum."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    sums = np.clip((_LUMINANCE * scale + 50) // 100, 1, 255).sum(axis=1)
    return float(quality[np.abs(sums - total).argmin()])


# --- others: their size, and what WebP says of itself ---


def _webp(data: bytes) -> Found:
    kind, tail = data[12:16], any(part.kind == TAIL for part in parts(data))
    found = {"WebP kind": _digest(kind), "bytes after the end": float(tail)}
    if kind == b"VP8X":
        flags = data[20] if len(data) > 20 else 0
        found |= {"ICC profile": float(flags >> 5 & 1), "EXIF": float(flags >> 3 & 1), "XMP": float(flags >> 2 & 1)}
        return found | {"width": 1 + _number(data, 24, 3, "little"), "height": 1 + _number(data, 27, 3, "little")}
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return found | {"width": 1.0 + (bits & 0x3FFF), "height": 1.0 + (bits >> 14 & 0x3FFF)}
    return found | {"width": _number(data, 26, 2, "little"), "height": _number(data, 28, 2, "little")}


def _gif(data: bytes) -> Found:
    return {"width": _number(data, 6, 2, "little"), "height": _number(data, 8, 2, "little")}


def _bmp(data: bytes) -> Found:
    names = {"width": (18, 4), "height": (22, 4), "bit depth": (28, 2)}
    return {name: _number(data, start, size, "little") for name, (start, size) in names.items()}


_READERS: Mapping[str, Callable[[bytes], Found]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
}
