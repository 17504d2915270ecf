"""Text: one line in a PNG's text chunk that says what the picture is, for readers that know no content credentials.

Source: PNG, ISO/IEC 15948, 11.3.4.3 (tEXt).
"""

import struct
import zlib

from ..audits.containers import container_of, parts
from .definition import Picture
from .words import KEY

_KIND = b"tEXt"
_AFTER_HEADER = 8 + 12 + 13  # signature, and IHDR with its length, kind and checksum


def line(picture: Picture) -> str:
    """Return what the chunk of a picture says, in ASCII."""
    if picture.manipulation is None:
        return f"Not manipulated: a pristine face of a dataset of forgeries. Record {picture.record_id}."
    return f"Manipulated ({picture.manipulation}): a forgery, made to learn to detect such. Record {picture.record_id}."


def add(png: bytes, words: str) -> bytes:
    """Return a PNG with one more text chunk, right after its header; no other byte is touched.

    Raises:
        ValueError: no PNG, or words outside of Latin-1.
    """
    if container_of(png) != "PNG":
        raise ValueError("only a PNG has a text chunk")
    content = KEY.encode("ascii") + b"\0" + words.encode("latin-1")
    checksum = zlib.crc32(_KIND + content)
    chunk = struct.pack(">I", len(content)) + _KIND + content + struct.pack(">I", checksum)
    return png[:_AFTER_HEADER] + chunk + png[_AFTER_HEADER:]


def find(data: bytes) -> str | None:
    """Return what our text chunk of a picture says; None where it has none. Any bytes are taken."""
    if container_of(data) != "PNG":
        return None
    for part in parts(data):
        key, _, words = part.content.partition(b"\0")
        if part.kind == _KIND and key == KEY.encode("ascii"):
            return words.decode("latin-1")
    return None
