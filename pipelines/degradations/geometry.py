"""Operations that move pixels, and the one resample that carries them out.

Successive moves are composed into one matrix: every resample costs sharpness, and a mask that is thresholded twice
loses its small regions. Shrinking averages over the area of each new pixel; a plain warp would alias.
"""

from typing import Annotated, ClassVar, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from mmtt.faces import Matrix, invert
from mmtt.images import Array, Gray, Rgb

from .operation import Geometric, Move, Span, Whole, within

Interpolation = Literal["area", "cubic", "linear", "nearest"]
Coverage = npt.NDArray[np.float32]

_FLAGS = {"area": cv2.INTER_CUBIC, "cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}


class Resize(Geometric):
    """Another size, by a factor or to a longer side.

    scale: factor, 0.1–4. side_px: the longer side, 16–4096 px. Exactly one of them.
    enlarge: whether `side_px` may also enlarge; services that only shrink say false.
    interpolation: `area` (averages when shrinking, cubic when enlarging), or as careless software does, without
        averaging: `cubic`, `linear`, `nearest`. Of successive moves the last resize decides for all.
    """

    op: ClassVar[str] = "resize"
    scale: Annotated[Span | None, within(0.1, 4)] = None
    side_px: Annotated[Whole | None, within(16, 4096, whole=True)] = None
    enlarge: bool = True
    interpolation: Interpolation = "area"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.scale is None) == (self.side_px is None):
            raise ValueError("give either `scale` or `side_px`")
        return self

    def move(self, width: int, height: int) -> Move:
        """Scale about the frame's upper left corner, each side to whole pixels."""
        factor = self.scale if self.scale is not None else self.side_px / max(width, height)
        if self.side_px is not None and not self.enlarge:
            factor = min(factor, 1.0)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return Move(scaling(size[0] / width, size[1] / height), *size)


class Crop(Geometric):
    """A part of the frame, cut at whole pixels.

    share: of the frame's width that is kept, 0.1–1; of its height too, unless `height_share` says another.
    x, y: where: 0 is left and top, 0.5 the middle, 1 right and bottom.
    """

    op: ClassVar[str] = "crop"
    share: Annotated[Span, within(0.1, 1)]
    height_share: Annotated[Span | None, within(0.1, 1)] = None
    x: Annotated[Span, within(0, 1)] = 0.5
    y: Annotated[Span, within(0, 1)] = 0.5

    def move(self, width: int, height: int) -> Move:
        """Shift by whole pixels into a smaller frame."""
        of_height = self.share if self.height_share is None else self.height_share
        size = max(1, round(width * self.share)), max(1, round(height * of_height))
        left, top = round((width - size[0]) * self.x), round((height - size[1]) * self.y)
        return Move(np.array([[1, 0, -left], [0, 1, -top]], np.float64), *size)


class Rotate(Geometric):
    """Turned about its middle and cut to the largest upright frame inside, as photo editors straighten.

    degrees: −180–180, clockwise. Quarter turns are exact.
    """

    op: ClassVar[str] = "rotate"
    degrees: Annotated[Span, within(-180, 180)]

    def move(self, width: int, height: int) -> Move:
        """Rotate about the centre into the frame that fits."""
        size = inscribed(width, height, np.deg2rad(self.degrees))
        cos, sin = np.cos(np.deg2rad(self.degrees)), np.sin(np.deg2rad(self.degrees))
        linear = np.array([[cos, -sin], [sin, cos]])
        before, after = np.array([width - 1, height - 1]) / 2, np.array([size[0] - 1, size[1] - 1]) / 2
        return Move(np.column_stack([linear, after - linear @ before]), *size)


def inscribed(width: int, height: int, angle: float) -> tuple[int, int]:
    """Return the size, in whole pixels, of the largest upright rectangle inside one turned by an angle in radians.

    Where the turned rectangle is slim, two corners of the answer touch its long sides and the others lie free;
    else all four touch a side each.
    """
    sin, cos = abs(np.sin(angle)), abs(np.cos(angle))
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-9:
        along, across = short / 2 / max(sin, 1e-12), short / 2 / max(cos, 1e-12)
        inner = (along, across) if width >= height else (across, along)
    else:
        both = cos * cos - sin * sin
        inner = (width * cos - height * sin) / both, (height * cos - width * sin) / both
    return max(1, int(inner[0] + 1e-6)), max(1, int(inner[1] + 1e-6))


def scaling(across: float, down: float) -> Matrix:
    """Return the 2×3 matrix of a scale about the frame's corner, which lies half a pixel beyond the first centre."""
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]], np.float64)


def unmoved(width: int, height: int) -> Move:
    """Return the move that leaves a frame of that size as it is."""
    return Move(np.eye(2, 3), width, height)


def is_identity(move: Move, hw: tuple[int, int]) -> bool:
    """Whether a move leaves a frame of that height and width as it is, to a billionth of a pixel."""
    return (move.height, move.width) == hw and np.allclose(move.matrix, np.eye(2, 3), rtol=0, atol=1e-9)


def warp_image(image: Rgb, move: Move, interpolation: Interpolation = "area") -> Rgb:
    """Move an image, RGB uint8 H×W×3, in one resample."""
    samples = _samples(move.matrix, 1) if interpolation == "area" else 1
    return np.asarray(_warp(image, move, _FLAGS[interpolation], samples), dtype=np.uint8)


def coverage(plane: Gray, move: Move) -> Coverage:
    """Move a mask, or a map of weights, as the area that it covers: float32 H×W, 0–255, not yet thresholded.

    `plane`, uint8 H×W, is read between its pixels by straight lines, which undoes the staircase of a binary
    outline, at points that lie half a pixel apart, and averaged over each new pixel.
    """
    return np.asarray(_warp(plane.astype(np.float32), move, cv2.INTER_LINEAR, _samples(move.matrix, 2)), np.float32)


def warp_mask(mask: Gray, move: Move) -> Gray:
    """Move a mask, uint8 {0, 255} H×W: 255 where at least half of the new pixel is covered."""
    # Exactly half must not depend on the last digit of a float.
    return (coverage(mask, move) >= np.float32(127.5 - 1e-3)).astype(np.uint8) * np.uint8(255)


def _samples(matrix: Matrix, density: int) -> int:
    """How many points, along each side of a new pixel, sample every old one that often."""
    smallest = np.linalg.svd(matrix[:, :2], compute_uv=False)[-1]
    return max(1, int(np.ceil(density / smallest - 1e-6)))


def _warp(pixels: Array, move: Move, flags: int, samples: int) -> Array:
    if _is_whole(move.matrix):
        return _picked(pixels, move)
    fine = scaling(samples, samples) @ np.vstack([move.matrix, [0, 0, 1]])
    size = (move.width * samples, move.height * samples)
    moved = cv2.warpAffine(pixels, fine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return moved if samples == 1 else cv2.resize(moved, (move.width, move.height), interpolation=cv2.INTER_AREA)


def _is_whole(matrix: Matrix) -> bool:
    """Whether pixels go to pixels: quarter turns and shifts by whole numbers."""
    whole = np.rint(matrix)
    return np.allclose(matrix, whole, rtol=0, atol=1e-9) and abs(np.linalg.det(whole[:, :2])) == 1


def _picked(pixels: Array, move: Move) -> Array:
    back = np.rint(invert(np.rint(move.matrix))).astype(np.int64)
    x, y = np.meshgrid(np.arange(move.width), np.arange(move.height))
    columns, rows = (line[0] * x + line[1] * y + line[2] for line in back)
    return np.ascontiguousarray(pixels[rows, columns])
