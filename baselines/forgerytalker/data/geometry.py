"""Geometry: where the model looks. One transform moves picture and mask, as the four channels of one array.

Legend: H, W the stored picture; S = `size_px`; channels 0–2 RGB, channel 3 the mask's coverage, 0–255.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Array, Gray, Rgb

# What CLIP's vision encoders, and so InstructBLIP's, were trained with (OpenAI, clip.py, 2021); of 0–1, RGB.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_SCALE, _SHIFT = 1 / (255 * STD), -MEAN / STD

HALF = 128  # coverage, of 255, from which a pixel counts as altered


class Draw(NamedTuple):
    """A geometry before the picture's size is known: `side` of the crop, and how far it lies down and across, 0–1."""

    side: float
    down: float
    across: float
    flip: bool


FRAME = Draw(1.0, 0.0, 0.0, False)


class Geometry(NamedTuple):
    """A crop box in whole pixels, whether it is mirrored, and the side of the square that it becomes."""

    top: int
    left: int
    height: int
    width: int
    flip: bool
    size_px: int

    @classmethod
    def whole(cls, height: int, width: int, size_px: int) -> Self:
        """Return the geometry that takes the whole frame."""
        return cls.of(FRAME, height, width, size_px)

    @classmethod
    def of(cls, draw: Draw, height: int, width: int, size_px: int) -> Self:
        """Return a draw for a frame of that size: the same share of it, whatever its resolution."""
        high, wide = max(1, round(draw.side * height)), max(1, round(draw.side * width))
        top, left = round(draw.down * (height - high)), round(draw.across * (width - wide))
        return cls(top, left, high, wide, draw.flip, size_px)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> tuple[Rgb, Gray]:
        """Return picture (uint8 S×S×3) and mask (uint8 S×S, {0, 1}) of an array uint8 H×W×4.

        Means over areas when shrinking, linear when enlarging. The mask is a coverage until the end, where it is cut
        once at a half: cut earlier, small regions lose or win a rim. Nothing of the array is kept.
        """
        moved = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        if moved.shape[:2] != (self.size_px, self.size_px):
            shrinks = min(self.height, self.width) >= self.size_px
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            moved = cv2.resize(moved, (self.size_px, self.size_px), interpolation=way)
        moved = cv2.flip(moved, 1) if self.flip else moved
        moved = moved.copy() if np.may_share_memory(moved, pixels) else moved
        return moved[..., :3], (cv2.extractChannel(moved, 3) >= HALF).view(np.uint8)


def drawn(rng: np.random.Generator, crop: tuple[float, float], *, flip: bool) -> Draw:
    """Draw a geometry.

    Args:
        rng: always advanced by four numbers.
        crop: range of the crop's side, as shares of the frame.
        flip: whether it may be mirrored; half of those are.
    """
    side, down, across, coin = rng.random(4)
    return Draw(crop[0] + (crop[1] - crop[0]) * side, down, across, flip and bool(coin < 0.5))


def joined(image: Rgb, mask: Gray) -> npt.NDArray[np.uint8]:
    """Return picture (H×W×3) and mask (H×W) as one array uint8 H×W×4.

    Raises:
        ValueError: they differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"a mask of {mask.shape} belongs to no picture of {image.shape[:2]}")
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    return np.asarray(cv2.insertChannel(mask, pixels, 3), dtype=np.uint8)


def normalised(image: Rgb, out: Array | None = None) -> npt.NDArray[np.float32]:
    """Return a picture uint8 S×S×3 as the model wants it: float32 3×S×S, with CLIP's mean and deviation; into `out`."""
    made = np.empty((3, *image.shape[:2]), np.float32) if out is None else out
    for channel in range(3):
        np.multiply(image[..., channel], _SCALE[channel], out=made[channel], dtype=np.float32)
        made[channel] += _SHIFT[channel]
    return made


def normalise(image: Rgb, size_px: int) -> npt.NDArray[np.float32]:
    """Return a whole picture, uint8 H×W×3 of any size, as the model wants it: float32 3×S×S."""
    empty = np.zeros(image.shape[:2], np.uint8)
    return normalised(Geometry.whole(*image.shape[:2], size_px)(joined(image, empty))[0])
