"""Ageing by frequency layers: what is fine in the skin is deepened or softened where age shows, tone follows.

The layers are differences of Gaussians (Burt and Adelson, "The Laplacian pyramid", 1983); changing their gain to
change apparent age is after Golovinskiy et al., "A statistical model for synthesis of detailed facial geometry",
2006, done here on lightness alone, with creases drawn along the lines that faces fold in.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.landmarks import Points
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from .warping import Locals, face_axes

Plane = npt.NDArray[np.float32]

GRAIN, FINE, MIDDLE = 0.005, 0.02, 0.065
GLASSES_CONTRAST = 22.0
DEEPEST = 18.0
THIN, WIDE = 0.008, 0.017


class Crease(NamedTuple):
    """A fold of the skin: a line float32 N×2 (pixels), its width in pixels and its depth, 0–1."""

    line: Points
    width: float
    depth: float


class Ageing(Manipulator):
    """Make a face look older or younger by its skin: folds, texture and tone; shapes stay."""

    declaration: ClassVar[Declaration] = Declaration(
        name="ageing",
        version="1",
        family="attribute_edit",
        mask_rule=MaskRule.BLEND,
        regions=("cheek", "forehead", "chin", "skin"),
        summary="Deeper folds, drawn wrinkles and paler tone, or smoother skin, lighter folds and rosier tone.",
    )

    directions: Annotated[tuple[Literal["older", "younger"], ...], Field(min_length=1)] = ("older", "younger")
    """Those of which one is drawn per forgery."""
    strength_range: tuple[Annotated[float, Field(gt=0, le=1.5)], Annotated[float, Field(gt=0, le=1.5)]] = (0.7, 1.1)
    """Strength is drawn evenly from here; 1 is plainly visible and still natural."""

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw the direction and the strength."""
        face_axes(target)
        sayable = regions.sayable(target.scheme)
        return {
            "direction": self.directions[int(rng.integers(len(self.directions)))],
            "strength": round(float(rng.uniform(*self.strength_range)), 4),
            "regions": [word for word in self.declaration.regions if word in sayable],
        }

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Age every face of the batch."""
        return [_render(job) for job in batch]


def _render(job: Job) -> Edit:
    face, strength = job.target_face, float(job.parameters["strength"])
    rows, cols = _window(face, job.target.shape)
    there = face.moved(np.array([[1, 0, -cols.start], [0, 1, -rows.start]], np.float64))
    pixels = job.target[rows, cols].astype(np.float32) / 255
    lab = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), dtype=np.float32)
    alpha = np.zeros(job.target.shape[:2], np.float32)
    alpha[rows, cols] = _skin(there, lab)
    change = _older if job.parameters["direction"] == "older" else _younger
    aged = change(there, lab, strength, job.rng)
    image = job.target.copy()
    image[rows, cols] = np.rint(np.clip(cv2.cvtColor(aged, cv2.COLOR_LAB2RGB), 0, 1) * 255).astype(np.uint8)
    return Edit(image, alpha)


def _window(face: Face, shape: tuple[int, ...]) -> tuple[slice, slice]:
    oval = regions.oval(face)
    margin = 0.1 * face.interocular
    low = np.floor(np.maximum(oval.min(axis=0) - margin, 0)).astype(int)
    high = np.ceil(np.minimum(oval.max(axis=0) + margin, (shape[1], shape[0]))).astype(int)
    if (high - low < 2).any():
        raise Rejected("outside_frame", "the face is not in the picture")
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _size(plane: Plane) -> tuple[int, int]:
    return plane.shape[0], plane.shape[1]


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.3)), dtype=np.float32)


def _skin(face: Face, lab: Plane) -> Plane:
    """How much each pixel h×w of a face's window is skin, 0–1: inside the oval, off its features, skin-coloured."""
    hw, unit = _size(lab), face.interocular
    features = regions.union_mask(face, ("eye", "eyebrow", "mouth"), hw)
    oval = regions.fill([regions.oval(face)], hw).astype(np.uint8)
    inner = cv2.erode(oval, _disk(0.06 * unit), borderValue=1) > 0
    off = _blur(features.astype(np.float32), 0.03 * unit) < 0.15
    return _blur((inner & off) * _likeness(face, lab), 0.025 * unit)


def _disk(radius: float) -> npt.NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def _likeness(face: Face, lab: Plane) -> Plane:
    """How alike to the skin of cheeks and nose, 0–1: hair, hats and glasses' rims are not to grow wrinkles."""
    height, width = lab.shape[:2]
    shrink = max(1, int(face.interocular / 40))
    few = (-(-width // shrink), -(-height // shrink))
    small = np.asarray(cv2.resize(lab, few, interpolation=cv2.INTER_AREA), dtype=np.float32)
    sample = regions.union_mask(face, ("cheek", "nose"), (height, width))[::shrink, ::shrink]
    if np.count_nonzero(sample) < 8:
        return np.ones((height, width), np.float32)
    middle = np.median(small[sample], axis=0)
    apart = np.abs(small - middle) / np.maximum(3 * np.median(np.abs(small[sample] - middle), axis=0), (14, 7, 7))
    # Skin that shines is still skin; only what is darker than its shadows is not.
    apart[..., 0] *= small[..., 0] < middle[0]
    alike = np.exp(-np.maximum((apart**2).sum(axis=2) - 2, 0)).astype(np.float32)
    return np.asarray(cv2.resize(alike, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _layers(face: Face, lab: Plane) -> tuple[Plane, Plane]:
    """Fine and middle detail of lightness, h×w each, with the strong edges of things other than skin taken out."""
    light, unit = lab[..., 0], face.interocular
    soft = _blur(light, FINE * unit)
    # Below the size of a pore there is only the camera's grain, which does not age.
    fine, middle = _blur(light, GRAIN * unit) - soft, soft - _blur(soft, MIDDLE * unit)
    strongest = np.asarray(cv2.dilate(np.abs(fine + middle), _disk(0.02 * unit)), dtype=np.float32)
    skin = 1 / (1 + (_blur(strongest, FINE * unit) / np.float32(GLASSES_CONTRAST)) ** 4)
    return np.asarray(fine * skin, np.float32), np.asarray(middle * skin, np.float32)


def _older(face: Face, lab: Plane, strength: float, rng: np.random.Generator) -> Plane:
    fine, middle = _layers(face, lab)
    folds = creases(face, rng)
    detail = (0.45 + 0.75 * _around(folds, face.interocular, _size(lab))) * (fine + middle)
    # Folds are shadows: what is darker than its surroundings deepens more than ridges brighten.
    detail = np.where(detail < 0, np.float32(1.3) * detail, np.float32(0.8) * detail)
    detail /= 1 + np.abs(detail) / np.float32(DEEPEST)
    spots = _spots(_size(lab), 0.09 * face.interocular, rng)
    aged = lab * np.array([1, 1 - 0.14 * strength, 1 - 0.06 * strength], np.float32)
    relief = _relief(folds, face.interocular, _size(lab))
    aged[..., 0] += np.float32(strength) * (detail + 9 * relief - 1.5 - 1.4 * np.maximum(spots, 0))
    aged[..., 1] += np.float32(strength * 0.6) * spots
    return np.asarray(aged, dtype=np.float32)


def _younger(face: Face, lab: Plane, strength: float, rng: np.random.Generator) -> Plane:
    fine, middle = _layers(face, lab)
    share = np.minimum(0.6 + 0.35 * _around(creases(face, rng), face.interocular, _size(lab)), 0.95)
    flat = np.float32(0.65) * fine + np.where(middle < 0, np.float32(1), np.float32(0.45)) * middle
    younger = lab * np.array([1, 1 + 0.08 * strength, 1], np.float32)
    younger[..., 0] += np.float32(1.5 * strength) - np.float32(min(strength, 1.1)) * share * flat
    younger[..., 1] += np.float32(1.2 * strength)
    return np.asarray(younger, dtype=np.float32)


def _spots(hw: tuple[int, ...], size: float, rng: np.random.Generator) -> Plane:
    """Blotches of pigment, h×w around 0 with unit spread: noise of one size."""
    grid = rng.standard_normal([int(side / max(size, 1)) + 4 for side in hw]).astype(np.float32)
    return np.asarray(cv2.resize(grid, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _around(folds: Sequence[Crease], unit: float, hw: tuple[int, int]) -> Plane:
    """Where age shows most, h×w 0–1: the neighbourhood of the creases."""
    lines = np.zeros(hw, np.uint8)
    cv2.polylines(lines, [_fixed(fold.line) for fold in folds], False, 255, max(1, round(0.12 * unit)), shift=4)
    return cv2.GaussianBlur(lines, (0, 0), max(0.05 * unit, 0.3)).astype(np.float32) / np.float32(255)


def _fixed(line: Points) -> npt.NDArray[np.int32]:
    return np.rint(np.clip(line, -4096, 8192) * 16).astype(np.int32)


def _relief(folds: Sequence[Crease], unit: float, hw: tuple[int, int]) -> Plane:
    """Shade of creases, h×w, -1 at the deepest: dark along the line with soft bright rims."""
    relief = np.zeros(hw, np.float32)
    for width in (THIN * unit, WIDE * unit):
        drawn = np.zeros(hw, np.float32)
        for fold in folds:
            if fold.width == width:
                _stroke(drawn, fold)
        # Thin lines lose height to the blur: the factor gives a stroke one pixel wide its depth back.
        relief -= (_blur(drawn, width) - 0.65 * _blur(drawn, 2.2 * width)) * np.float32(2.5 * max(width, 0.3))
    return relief * np.float32(min(1, unit / 60))


def _stroke(canvas: Plane, fold: Crease) -> None:
    ends = _fixed(fold.line)
    taper = np.sin(np.linspace(0, np.pi, len(ends) + 1)[1:-1]) ** 0.7
    for start, end, share in zip(ends[:-1], ends[1:], taper, strict=True):
        cv2.line(canvas, start.tolist(), end.tolist(), fold.depth * float(share), 1, shift=4)


def creases(face: Face, rng: np.random.Generator) -> list[Crease]:
    """The lines along which a face folds with age, each a little different every time."""
    axes = face_axes(face)
    q = axes.inward(face.points_68)
    folds = [*_eye_creases(q, rng), *_mouth_creases(q, rng), *_brow_creases(q, rng)]
    if "forehead" in regions.sayable(face.scheme):
        folds += _forehead_creases(q, float(axes.inward(regions.oval(face))[:, 1].min()), rng)
    return [Crease(axes.outward(_wander(fold.line, rng)), fold.width * axes.unit, fold.depth) for fold in folds]


def _wander(line: Locals, rng: np.random.Generator) -> Locals:
    """A smooth curve through three points, with the small waver of skin."""
    t = np.linspace(0, 1, 25)[:, None]
    start, middle, end = line
    bend = 2 * middle - (start + end) / 2
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    waver = 0.006 * np.sin(t * rng.uniform(5, 12, 2) + rng.uniform(0, 6, 2))
    return np.asarray(curve + waver, dtype=np.float32)


def _crease(start: Locals, middle: Locals, end: Locals, width: float, depth: float) -> Crease:
    return Crease(np.stack([start, middle, end]), width, float(depth))


def _from(point: npt.ArrayLike, across: float, down: float) -> Locals:
    return np.add(point, (across, down), dtype=np.float32)


def _eye_creases(q: Locals, rng: np.random.Generator) -> list[Crease]:
    """Crow's feet and folds under the eyes, in face coordinates."""
    folds = []
    for outer, inner, lids, side in ((36, 39, (41, 40), -1), (45, 42, (46, 47), 1)):
        for angle in np.array([-0.5, -0.1, 0.3, 0.65]) + rng.uniform(-0.1, 0.1, 4):
            x, y = side * float(np.cos(angle)), float(np.sin(angle))
            start, length = _from(q[outer], 0.07 * x, 0.07 * y + 0.01), rng.uniform(0.12, 0.22)
            middle = _from(start, 0.5 * length * x, 0.5 * length * y - 0.012)
            folds.append(_crease(start, middle, _from(start, length * x, length * y), THIN, rng.uniform(0.5, 0.9)))
        lid = q[list(lids)].mean(axis=0)
        for drop, width, depth in ((0.09, THIN, 0.6), (0.16, WIDE, 0.5)):
            start, end = _from(q[inner], 0, 0.8 * drop), _from(q[outer], 0.02 * side, 0.9 * drop)
            folds.append(_crease(start, _from(lid, 0, 1.1 * drop), end, width, depth))
    return folds


def _mouth_creases(q: Locals, rng: np.random.Generator) -> list[Crease]:
    """Folds from the nose past the mouth, from its corners down, and fine ones above the lip."""
    folds = []
    for wing, corner, side in ((31, 48, -1), (35, 54, 1)):
        start, end = _from(q[wing], 0.11 * side, -0.05), _from(q[corner], 0.1 * side, 0.03)
        folds.append(_crease(start, _from((start + end) / 2, 0.03 * side, -0.02), end, WIDE, 1.0))
        low = _from(q[corner], 0.04 * side, 0.07)
        folds.append(_crease(low, _from(low, 0.03 * side, 0.08), _from(low, 0.02 * side, 0.17), WIDE, 0.7))
    for place in np.linspace(0.15, 0.85, 6) + rng.uniform(-0.04, 0.04, 6):
        lip = _from((1 - place) * q[49] + place * q[53], 0, -0.02)
        top = _from(lip, (0.5 - place) * 0.03, -rng.uniform(0.05, 0.08))
        folds.append(_crease(lip, _from((lip + top) / 2, 0, 0), top, THIN, rng.uniform(0.25, 0.5)))
    return folds


def _brow_creases(q: Locals, rng: np.random.Generator) -> list[Crease]:
    """The two upright lines between the brows."""
    folds = []
    for side in (-1, 1):
        foot = _from((q[21] + q[22]) / 2, side * rng.uniform(0.05, 0.07), 0.08)
        head = _from(foot, side * 0.01, -rng.uniform(0.14, 0.2))
        folds.append(_crease(foot, _from((foot + head) / 2, -0.008 * side, 0), head, THIN, rng.uniform(0.5, 0.8)))
    return folds


def _forehead_creases(q: Locals, top: float, rng: np.random.Generator) -> list[Crease]:
    """Three or four lines across the forehead, from above one brow to above the other."""
    base = float(min(q[19, 1], q[24, 1])) - 0.06
    folds = []
    for level in (0.15, 0.35, 0.55, 0.75)[: int(rng.integers(3, 5))]:
        y = base + level * (top - base)
        right, left = q[18, 0] + rng.uniform(0, 0.15), q[25, 0] - rng.uniform(0, 0.15)
        start, middle, end = np.array([[right, y + 0.02], [(right + left) / 2, y - 0.02], [left, y + 0.02]], np.float32)
        folds.append(_crease(start, middle, end, THIN, rng.uniform(0.5, 0.85)))
    return folds
