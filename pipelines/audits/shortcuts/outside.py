"""Outside: which parts of a picture lie away from its mask, the same for both sides of a comparison.

A frame is cut into 8×8 cells. A cell is covered where a pixel of it lies within 16 px of the mask; filters reach up to
12 px out of a cell, and so never as far as the mask.
Pristine rows have no mask, and where a forgery has its hole would tell the classes apart. So each row also bears the
mask of a row of the other class, drawn at random: what is left has one distribution on both sides, whatever the masks
look like.
"""

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.evidence import Pixels

CELLS = 8
MARGIN_PX = 16
LEAST_PX = 96  # the shorter side; below, a cell need not hold an 8×8 block
Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def luma(pixels: Pixels) -> npt.NDArray[np.float32] | None:
    """Return the picture's luma (ITU-R BT.601), float32 H×W in 0–255; None where it is smaller than `LEAST_PX`."""
    if min(pixels.image.shape[:2]) < LEAST_PX:
        return None
    weights = np.array([[0.299, 0.587, 0.114]], np.float32)
    return np.asarray(cv2.transform(pixels.image.astype(np.float32), weights), dtype=np.float32)


def covered(pixels: Pixels) -> dict[str, float]:
    """Return 1 for each cell near the mask, else 0, by the names that `cells_covered` reads.

    A mask of another size than its picture covers everything; M1 counts those.
    """
    mask, size = pixels.mask, pixels.image.shape[:2]
    if mask.shape != size:
        return named("covered", np.ones((CELLS, CELLS)))
    reach = 2 * MARGIN_PX + 1
    near = cv2.dilate((mask > 127).astype(np.uint8), np.ones((reach, reach), np.uint8))
    return named("covered", (cell_means(near) > 0).astype(np.float64))


def cell_means(values: npt.NDArray[np.generic]) -> Array:
    """Return the means of an H×W map over its cells, float64 8×8."""
    ys, xs = (_starts(length) for length in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), ys, axis=0), xs, axis=1)
    heights, widths = np.diff([*ys, values.shape[0]]), np.diff([*xs, values.shape[1]])
    return np.asarray(sums / np.outer(heights, widths))


def _starts(length: int) -> npt.NDArray[np.intp]:
    return np.arange(CELLS) * length // CELLS


def block_means(values: npt.NDArray[np.generic], size: tuple[int, int], offset: int) -> Array:
    """Return the means over cells of a map with one value for each 8×8 block, float64 8×8.

    A block belongs to the cell of its centre. size: of the picture. offset: where the first block starts, both ways.
    """
    ys, xs = (
        (offset + 8 * np.arange(count) + 4) * CELLS // length for count, length in zip(values.shape, size, strict=True)
    )
    place = (ys[:, None] * CELLS + xs).ravel()
    sums = np.bincount(place, values.ravel(), minlength=CELLS * CELLS)
    return np.asarray(sums / np.bincount(place, minlength=CELLS * CELLS)).reshape(CELLS, CELLS)


def named(name: str, values: npt.NDArray[np.generic]) -> dict[str, float]:
    """Return values as numbers by name and place, as a measure gives them."""
    return {f"{name} {place:03d}": float(value) for place, value in enumerate(values.ravel())}


def gathered(rows: pd.DataFrame, name: str) -> Array:
    """Return what `named` took apart, float64 rows×places."""
    columns = sorted(column for column in rows if column.startswith(f"{name} ") and column[len(name) + 1 :].isdigit())
    return rows[columns].to_numpy(np.float64)


def names(rows: pd.DataFrame) -> list[str]:
    """Return the names that `named` was given, in their order."""
    found = (column.rpartition(" ") for column in rows)
    return [name for name in dict.fromkeys(head for head, _, tail in found if tail.isdigit()) if name != "covered"]


def shared_cells(rows: pd.DataFrame, labels: Bools, rng: np.random.Generator) -> Bools:
    """Return which cells of each row are to be looked at, bool rows×64.

    Those are covered neither by its own mask nor by that of a row of the other class, drawn at random.
    """
    own = gathered(rows, "covered") > 0
    free = ~own
    for label in (False, True):
        mine, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        free[mine] &= ~own[rng.choice(others, len(mine))]
    return free


def strips(values: Array) -> Array:
    """Return the means of an 8×8 map over its 8 rows, then its 8 columns, float64 16."""
    return np.concatenate([values.mean(axis=1), values.mean(axis=0)])


def free_strips(cells: Bools) -> Bools:
    """Return which rows, then columns of cells are free as a whole, bool rows×16, from bool rows×64."""
    grid = cells.reshape(-1, CELLS, CELLS)
    return np.concatenate([grid.all(axis=2), grid.all(axis=1)], axis=1)


def mean_over(values: Array, free: Bools) -> Array:
    """Return each row's mean over its free places; NaN where none is free."""
    count = free.sum(axis=1)
    sums = np.where(free, values, 0).sum(axis=1)
    return np.asarray(np.divide(sums, count, out=np.full(len(values), np.nan), where=count > 0))
