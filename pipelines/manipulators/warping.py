"""Moving parts of a face: a few pulled and pinned points become one smooth, fold-free, compact displacement.

Interpolation by compactly supported radial functions (Wendland, "Piecewise polynomial, positive definite and
compactly supported radial functions of minimal degree", 1995), as Fornefett, Rohr and Stiehl, "Radial basis
functions with compact support for elastic registration of medical images", 2001, use them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import Points
from mmtt.manipulator import Edit

Shift = npt.NDArray[np.float32]
Locals = npt.NDArray[np.float32]

SUPPORT_PX = 0.5
STEEPEST = 0.75
CELLS_PER_RADIUS = 14
RIDGE = 1e-3
SMALLEST_FACE_PX = 8.0


class Pull(NamedTuple):
    """Points and where they go, all in pixels of the target's frame.

    points: float32 N×2, x y; moves: float32 N×2, how far each goes; radius: how far from its new place a point
    still has influence. still: float32 M×2, places that stay; calm: how far from them everything moves less.
    """

    points: Points
    moves: Points
    radius: float
    still: Points
    calm: float


class Axes(NamedTuple):
    """A face's own frame: x across towards its left, y down, in interocular distances from between the eyes.

    origin: float32 2, pixels; basis: float32 2×2, unit rows `across` and `down`; unit: pixels.
    """

    origin: Points
    basis: Points
    unit: float

    def inward(self, points: Points) -> Locals:
        """Pixels N×2 to face coordinates float32 N×2."""
        return np.asarray((points - self.origin) @ self.basis.T / self.unit, dtype=np.float32)

    def outward(self, points: Locals) -> Points:
        """Face coordinates N×2 to pixels float32 N×2."""
        return np.asarray(points @ self.basis * self.unit + self.origin, dtype=np.float32)

    def pull(self, points: Locals, moves: Locals, radius: float, still: Locals, calm: float) -> Pull:
        """Turn a pull in face coordinates into one in pixels."""
        how = np.asarray(moves @ self.basis * self.unit, dtype=np.float32)
        return Pull(self.outward(points), how, radius * self.unit, self.outward(still), calm * self.unit)


def face_axes(face: Face) -> Axes:
    """Return the face's own frame.

    Raises:
        Rejected: `degenerate_face`, when the landmarks are not finite or the eyes all but coincide.
    """
    if not (np.isfinite(face.landmarks).all() and face.interocular >= SMALLEST_FACE_PX):
        raise Rejected("degenerate_face", "the landmarks do not span a face")
    middle = face.five_points[:2].mean(axis=0)
    return Axes(middle, np.stack([face.across, face.down]), face.interocular)


class Displacement(NamedTuple):
    """A backward displacement on a window of the frame, zero everywhere else.

    shift: float32 h×w×2, x y in pixels: the pixel at q shows what was at q - shift(q).
    """

    rows: slice
    cols: slice
    shift: Shift


def warp(target: Rgb, pulls: Sequence[Pull]) -> Edit:
    """Move the content of an RGB uint8 H×W×3 image; alpha is 1 wherever anything moves, however little.

    Raises:
        Rejected: `outside_frame`, when nothing that moves is in the picture.
    """
    rows, cols, shift = displacement(pulls, target.shape[:2])
    size = np.hypot(shift[..., 0], shift[..., 1])
    alpha = np.zeros(target.shape[:2], np.float32)
    # Between opposite moves the shift passes through zero: such a line is no hole in what was resampled.
    alpha[rows, cols] = cv2.morphologyEx((size > 0).astype(np.float32), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    support = np.zeros(target.shape[:2], np.bool_)
    support[rows, cols] = size > SUPPORT_PX
    x = np.arange(cols.start, cols.stop, dtype=np.float32)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    image = target.copy()
    image[rows, cols] = cv2.remap(
        target, x - shift[..., 0], y - shift[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return Edit(image, alpha, support)


def displacement(pulls: Sequence[Pull], hw: tuple[int, ...]) -> Displacement:
    """Sum the displacements of several pulls on the part of an H×W frame that they reach.

    A pull moves its points as told, save near its still places; where the sum would be steeper than `STEEPEST`
    the whole is weakened. A displacement whose slope stays below 1 cannot fold: q - shift(q) is one-to-one.

    Raises:
        Rejected: `outside_frame`, when nothing that moves is in the picture.
    """
    cell = max(1, int(min(pull.radius for pull in pulls) / CELLS_PER_RADIUS))
    first, count = _grid(pulls, hw, cell)
    x, y = (first[i] * cell + (np.arange(count[i]) + 0.5) * cell - 0.5 for i in (0, 1))
    nodes = np.zeros((count[1], count[0], 2), np.float32)
    for pull in pulls:
        nodes += _interpolate(pull, x.astype(np.float32), y.astype(np.float32))
    nodes *= np.float32(min(1.0, STEEPEST / max(_steepness(nodes, cell), 1e-6)))
    shift = cv2.resize(nodes, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    low = np.maximum(first * cell, 0)
    high = np.minimum((first + count) * cell, (hw[1], hw[0]))
    inner = shift[low[1] - first[1] * cell :, low[0] - first[0] * cell :]
    rows, cols = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    inside = inner[: high[1] - low[1], : high[0] - low[0]]
    return Displacement(rows, cols, np.asarray(inside, dtype=np.float32))


def _grid(pulls: Sequence[Pull], hw: tuple[int, ...], cell: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First cell and number of cells, x y, that cover all disks of influence in the frame, and a rim of two."""
    low = np.min([(p.points + p.moves).min(axis=0) - p.radius for p in pulls], axis=0)
    high = np.max([(p.points + p.moves).max(axis=0) + p.radius for p in pulls], axis=0)
    frame = np.array([hw[1], hw[0]])
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > 0).all() and (low < frame).all()):
        raise Rejected("outside_frame", "what would move is not in the picture")
    first = np.floor(np.maximum(low, 0) / cell).astype(np.int64) - 2
    last = np.ceil(np.minimum(high, frame) / cell).astype(np.int64) + 2
    return first, last - first


def _interpolate(pull: Pull, x: Points, y: Points) -> Shift:
    """Displacement float32 h×w×2 of one pull at the nodes of a grid with these x (w) and y (h)."""
    # Centred on where the points arrive, the interpolant is the backward map: nothing has to be inverted.
    centres = (pull.points + pull.moves).astype(np.float64)
    apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) / pull.radius
    # The ridge keeps landmarks that coincide, as those of turned faces do, from pulling without bound.
    weights = np.linalg.solve(wendland(apart) + RIDGE * np.eye(len(centres)), pull.moves.astype(np.float64))
    shift = np.zeros((len(y), len(x), 2), np.float32)
    for centre, weight in zip(centres, weights.astype(np.float32), strict=True):
        window, bump = _bump(centre, pull.radius, x, y)
        shift[window] += bump * weight
    # Calming by a product keeps the sign: pinning by zeros among the centres would make the far side swing back.
    for centre in pull.still:
        window, bump = _bump(centre, pull.calm, x, y)
        shift[window] *= 1 - bump
    return shift


def _bump(centre: Points, radius: float, x: Points, y: Points) -> tuple[tuple[slice, slice], Shift]:
    """Where on the grid a function of that radius about a centre is not 0, and its values h×w×1 there."""
    cols = slice(*np.searchsorted(x, (centre[0] - radius, centre[0] + radius)))
    rows = slice(*np.searchsorted(y, (centre[1] - radius, centre[1] + radius)))
    dx, dy = (x[cols] - np.float32(centre[0])) / radius, (y[rows] - np.float32(centre[1])) / radius
    return (rows, cols), wendland(np.hypot(dx, dy[:, None]))[..., None]


def wendland(distance: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Wendland's C² function: 1 at distance 0, with zero slope and curvature to exactly 0 from distance 1 on."""
    rest = np.square(np.maximum(1 - distance, 0))
    return np.asarray(rest * rest * (4 * distance + 1))


def _steepness(nodes: Shift, cell: int) -> float:
    """Largest Frobenius norm of the gradient of a displacement h×w×2 whose nodes are `cell` pixels apart."""
    along_x = np.diff(nodes, axis=1)[:-1]
    along_y = np.diff(nodes, axis=0)[:, :-1]
    return float(np.sqrt((along_x**2 + along_y**2).sum(axis=2).max())) / cell
