"""Mask files: predicted masks as strangers' programs wrote them, decoded with care.

A mask is one still picture of 8 bits (or 1), PNG as a rule: grey, or of three channels that are equal everywhere.
Nothing is guessed: 16 bits, transparency, colours and several frames are told, not converted.
"""

import io
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from mmtt.images import FORMATS, Gray

_MAX_PIXELS = 100_000_000
_MAX_BYTES = 4 * _MAX_PIXELS


def read_mask(path: Path) -> Gray | str:
    """Return a predicted mask, uint8 H×W, or why it cannot be read."""
    try:
        if not stat.S_ISREG((found := path.stat()).st_mode):  # a pipe would be waited for
            return "it is no file"
        if found.st_size > _MAX_BYTES:
            return f"it has more than {_MAX_BYTES:,} bytes"
        data = path.read_bytes()
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    # Pillow warns of what it mends, and of sizes that we judge.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(data)


def _decode(data: bytes) -> Gray | str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                return f"it has {width}×{height} pixels, more than {_MAX_PIXELS:,}"
            if getattr(picture, "is_animated", False):
                return "it has several frames"
            return _one_channel(picture)
    except Exception:  # decoders raise anything on hostile bytes
        return "it is no picture, or a damaged one"


def _one_channel(picture: Image.Image) -> Gray | str:
    if picture.has_transparency_data:
        return "it has transparency"
    if picture.mode not in ("1", "L", "P", "RGB"):
        return f"it is stored as {picture.mode}, not as 8-bit grey"
    if picture.mode in ("1", "L"):
        return np.array(picture.convert("L"), dtype=np.uint8)
    pixels = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    if (pixels != pixels[:, :, :1]).any():
        return "it has 3 channels that differ, not one"
    return np.ascontiguousarray(pixels[:, :, 0])
