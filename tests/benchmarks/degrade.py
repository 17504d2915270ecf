"""How well masks keep their place: those that `degrade` moves, against the truth and against the usual ways.

Each draw is an ellipse on a 512 px photo, rasterised there; then a random alignment to 256 px, a resize, a crop and
a rotation. The truth is the ellipse itself, mapped through the composed matrix and rasterised only at the end.
Run: `python -m tests.benchmarks.degrade`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np

from mmtt.images import Gray
from pipelines.degradations.geometry import Crop, Resize, Rotate, warp_mask
from pipelines.degradations.operation import Move

PHOTO_PX, CROP_PX = 512, 256
SIZES = MappingProxyType({"eye": (6.0, 14.0), "mouth": (20.0, 45.0)})  # semi-axes in photo pixels
GOALS = MappingProxyType({"eye": 0.96, "mouth": 0.985})
CHAIN = (
    Resize(scale=(0.75, 1.25)),
    Crop(share=(0.8, 0.95), height_share=(0.8, 0.95), x=(0.3, 0.7), y=(0.3, 0.7)),
    Rotate(degrees=(-10, 10)),
)
_FINE = 16  # points along a side of each pixel that the outline may cut


class Ellipse(NamedTuple):
    """Centre (x y) and semi-axes in pixels, and the turn of the first axis in radians."""

    centre: np.ndarray
    axes: np.ndarray
    turn: float

    def radius(self, points: np.ndarray) -> np.ndarray:
        """Distance of points …×2 from the centre, 1 on the outline."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        along = (points - self.centre) @ np.array([[cos, -sin], [sin, cos]])
        return np.hypot(*np.moveaxis(along / self.axes, -1, 0))


def rasterise(ellipse: Ellipse, move: Move) -> Gray:
    """The ellipse after a move, uint8 {0, 255}: 255 where at least half of a pixel is inside."""
    linear, shift = move.matrix[:, :2], move.matrix[:, 2]
    largest, smallest = np.linalg.svd(linear, compute_uv=False)
    middle, reach = linear @ ellipse.centre + shift, largest * ellipse.axes.max() + 2
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, [move.width, move.height]).astype(int)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    centres = np.stack([x, y], axis=-1).astype(np.float64)
    radius = ellipse.radius((centres - shift) @ np.linalg.inv(linear).T)
    inside = radius <= 1
    cut = np.abs(radius - 1) * ellipse.axes.min() * smallest <= 0.75  # no pixel farther off meets the outline
    offsets = np.stack(np.meshgrid(*[(np.arange(_FINE) + 0.5) / _FINE - 0.5] * 2), axis=-1).reshape(-1, 2)
    points = centres[cut][:, None] + offsets
    inside[cut] = (ellipse.radius((points - shift) @ np.linalg.inv(linear).T) <= 1).mean(axis=1) >= 0.5
    mask = np.zeros((move.height, move.width), np.uint8)
    mask[low[1] : high[1], low[0] : high[0]][inside] = 255
    return mask


def random_ellipse(rng: np.random.Generator, axes: tuple[float, float]) -> Ellipse:
    """An ellipse with semi-axes from a range, in the middle of the photo."""
    centre = PHOTO_PX / 2 + rng.uniform(-56, 56, 2)
    return Ellipse(centre, rng.uniform(*axes, 2), rng.uniform(0, np.pi))


def random_move(rng: np.random.Generator) -> Move:
    """An alignment to 256 px followed by `CHAIN`, drawn and composed."""
    turn, scale = np.deg2rad(rng.uniform(-20, 20)), CROP_PX / PHOTO_PX * rng.uniform(0.85, 1.15)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = CROP_PX / 2 - linear @ np.full(2, PHOTO_PX / 2) + rng.uniform(-8, 8, 2)
    move = Move(np.column_stack([linear, shift]), CROP_PX, CROP_PX)
    for step in CHAIN:
        move = move.then(step.drawn(rng).move)
    return move


def _plain(flags: int, above: int) -> Callable[[Gray, Move], Gray]:
    """The usual way: one call of OpenCV on the binary mask, then a threshold."""

    def moved(mask: Gray, move: Move) -> Gray:
        warped = cv2.warpAffine(mask, move.matrix, (move.width, move.height), flags=flags)
        return (warped > above).astype(np.uint8) * np.uint8(255)

    return moved


WAYS: Mapping[str, Callable[[Gray, Move], Gray]] = MappingProxyType({
    "ours": warp_mask,
    "bilinear, then > 1": _plain(cv2.INTER_LINEAR, 1),
    "bilinear, then > 127": _plain(cv2.INTER_LINEAR, 127),
    "nearest": _plain(cv2.INTER_NEAREST, 127),
})  # fmt: skip


def measure(axes: tuple[float, float], draws: int, seed: int = 0) -> dict[str, float]:
    """Mean intersection over union with the truth, for each way, over the same draws."""
    rng, found = np.random.default_rng(seed), {name: [] for name in WAYS}
    here = Move(np.eye(2, 3), PHOTO_PX, PHOTO_PX)
    for _ in range(draws):
        ellipse, move = random_ellipse(rng, axes), random_move(rng)
        mask, truth = rasterise(ellipse, here), rasterise(ellipse, move) > 0
        for name, way in WAYS.items():
            moved = way(mask, move) > 0
            found[name].append((moved & truth).sum() / (moved | truth).sum())
    return {name: float(np.mean(values)) for name, values in found.items()}


def main(draws: int = 400) -> None:
    """Measure both sizes and print them."""
    print(f"masks moved by {draws} random alignments, resizes, crops and rotations: mean IoU with the truth")
    for name, axes in SIZES.items():
        print(f"\n{name}-sized, semi-axes {axes[0]:g} to {axes[1]:g} px at {PHOTO_PX} px (goal: {GOALS[name]})")
        for way, mean in measure(axes, draws).items():
            print(f"  {way:22} {mean:.4f}")


if __name__ == "__main__":
    main()
