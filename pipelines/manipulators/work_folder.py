"""Work folder: what passes between us and a program of others. Pictures go in by name and come back by name.

Nothing that comes back is trusted: it must be a regular file of an expected name, a whole PNG of the expected size
and kind. Names decide which picture is whose, never an order.
"""

import contextlib
import io
import stat
import struct
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmtt.errors import Rejected
from mmtt.images import Array, Gray, Rgb, encode_png

MAX_BYTES = 100_000_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


@contextlib.contextmanager
def fresh() -> Iterator[Path]:
    """Yield a new empty folder; it vanishes afterwards, with all that was written there."""
    with tempfile.TemporaryDirectory(prefix="mmtt-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def put(folder: Path, name: str, pixels: Array) -> Path:
    """Write RGB H×W×3 or grey H×W, uint8, as PNG under a name like `targets/000000.png`; return where it lies."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_png(np.ascontiguousarray(pixels)))
    return path


def collect(folder: Path, expected: Collection[str]) -> dict[str, bytes]:
    """Return the bytes of the expected files that a folder holds, by name.

    Raises:
        Rejected: `bad_output`, when there is anything else: then nobody can say what belongs to whom.
    """
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise Rejected("bad_output", f"{folder.name} is no folder any more")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name not in expected:
            raise Rejected("bad_output", f"{folder.name} holds what was not asked for", log=f"It is '{path.name}'.")
        found[path.name] = _bytes(path)
    return found


def _bytes(path: Path) -> bytes:
    """Links, of either kind, may lead anywhere; devices and pipes may never end."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise Rejected("bad_output", f"'{path.name}' is a link or no regular file")
    if status.st_size > MAX_BYTES:
        raise Rejected("bad_output", f"'{path.name}' has {status.st_size:,} bytes, more than {MAX_BYTES:,}")
    return path.read_bytes()


def read_rgb(data: bytes, name: str, hw: tuple[int, int]) -> Rgb:
    """Return a PNG's pixels, RGB uint8 H×W×3; RGBA passes where it is opaque throughout.

    Raises:
        Rejected: `bad_output`.
    """
    pixels = _decode(data, name, hw, ("RGB", "RGBA"))
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise Rejected("bad_output", f"{name} is transparent in places; its colours mean nothing there")
    return np.ascontiguousarray(pixels[..., :3])


def read_gray(data: bytes, name: str, hw: tuple[int, int]) -> Gray:
    """Return a PNG's pixels, uint8 H×W.

    Raises:
        Rejected: `bad_output`.
    """
    return _decode(data, name, hw, ("grey",))


def _decode(data: bytes, name: str, hw: tuple[int, int], kinds: Sequence[str]) -> Array:
    """The header is read by hand: decoders turn 16 bits, palettes and wrong kinds into something plausible."""
    if len(data) < 33 or not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        raise Rejected("bad_output", f"{name} is no PNG")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    if (height, width) != hw:
        raise Rejected("bad_output", f"{name} is {width}×{height}, expected {hw[1]}×{hw[0]}")
    if depth != 8 or _KINDS.get(kind) not in kinds:
        raise Rejected("bad_output", f"{name} is {_KINDS.get(kind, kind)} of {depth} bits, expected {kinds[0]} of 8")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.array(picture, np.uint8)
    except Exception as error:  # decoders raise anything on broken bytes
        raise Rejected("bad_output", f"{name} cannot be decoded to its end", log=str(error)) from error
