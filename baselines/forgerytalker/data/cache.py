"""Cache: every picture and mask decoded once and reduced to a smaller side, in one file that is mapped into memory.

The reduction is the mean over whole blocks, so that a mask's coverage is exact. A loader without the file reduces in
the same way each time: whether there is one changes how long a batch takes, and nothing in it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import filelock
import numpy as np
import numpy.typing as npt

from mmtt.errors import DamagedError, UserError
from mmtt.files import replacing
from mmtt.ids import digest
from mmtt.samples import Sample

VERSION = 1
Pixels = npt.NDArray[np.uint8]


def reduced(pixels: Pixels, side_px: int) -> Pixels:
    """Return an array uint8 H×W×4 as side_px×side_px×4: means over blocks, rounded.

    Raises:
        UserError: the frame is not square, or its side no multiple of `side_px`.
    """
    height, width = pixels.shape[:2]
    if height != width or height % side_px:
        told = f"Pictures of {width}×{height} pixels cannot be reduced to {side_px} exactly"
        raise UserError(f"{told}; make `data.cache_px` a divisor of their side, or null.")
    return pixels if height == side_px else cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA)


def cached(folder: Path, basis: str, samples: Sequence[Sample], side_px: int, read: Callable[[Sample], Pixels]) -> Path:
    """Return the cache of some samples, made where it is missing; whoever else needs it waits meanwhile.

    Args:
        folder: where caches lie.
        basis: digest of what the samples were read from.
        samples: in the order of the cache's rows.
        side_px: as in `reduced`.
        read: gives a sample's pixels, uint8 H×W×4.

    Raises:
        UserError: see `reduced`; DamagedError: see `read`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest([VERSION, basis, side_px, [sample.key for sample in samples]])[:24]}.npy"
    with filelock.FileLock(folder / ".lock"):
        if not path.is_file():
            with replacing(path) as temporary:
                _write(temporary, samples, side_px, read)
    return path


def _write(path: Path, samples: Sequence[Sample], side_px: int, read: Callable[[Sample], Pixels]) -> None:
    shape = (len(samples), side_px, side_px, 4)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for row, sample in enumerate(samples):
        rows[row] = reduced(read(sample), side_px)
    rows.flush()


def opened(path: Path) -> npt.NDArray[np.uint8]:
    """Return a cache, uint8 N×S×S×4, mapped and read-only.

    Raises:
        DamagedError: it was cut short, or is something else.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(f"{path} is damaged ({error}). Delete it; it is made again.") from error
