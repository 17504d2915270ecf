"""Shapes of holes: unions of face regions grown by a share of the face, or brush strokes over it.

Strokes live in the face's own frame: the origin between the eyes, x to the subject's left and y down the
face, in interocular distances. So a plan drawn once fits the same face at any size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face, similarity
from mmtt.landmarks import Points
from mmtt.regions import Mask

Side = Literal["both", "right", "left"]
Stroke = list[list[float]]

RIM = 0.1  # in interocular distances
SKETCH_UNIT_PX = 40  # interocular distance of the small canvas on which plans measure areas
_SKETCH_HW = (180, 160)
_SKETCH_ORIGIN = np.array([80, 60])


def sketch(face: Face) -> Face:
    """Return the face moved upright onto the small canvas of `sketch_hw`, for measuring without pixels.

    Raises:
        Rejected: `face_too_small`, when the eyes all but coincide.
    """
    if not np.isfinite(face.landmarks).all() or face.interocular < 4:
        raise Rejected("face_too_small", f"the eyes are {face.interocular:.1f} px apart")
    eyes = face.five_points[:2]
    half = np.array([SKETCH_UNIT_PX / 2, 0])
    return face.moved(similarity(eyes, np.stack([_SKETCH_ORIGIN - half, _SKETCH_ORIGIN + half])))


def sketch_hw() -> tuple[int, int]:
    """Height and width of the canvas that `sketch` draws on."""
    return _SKETCH_HW


def region_union(face: Face, words: Sequence[str], side: Side, dilation: float, hw: tuple[int, int]) -> Mask:
    """Return the union of regions, bool H×W, grown by `dilation` interocular distances.

    Args:
        face: whose regions.
        words: region words; those that neither the face's scheme nor its parsing can say draw nothing.
        side: which of paired regions (eyes, brows, cheeks, ears) to take.
        dilation: 0 to 0.5, in interocular distances.
        hw: height and width of the frame.
    """
    drawn = np.zeros(hw, np.bool_)
    for word in words:
        drawn |= _region(face, word, side, hw)
    return grow(drawn, dilation * face.interocular)


def _region(face: Face, word: str, side: Side, hw: tuple[int, int]) -> Mask:
    covers, without = regions.outline(face, word)
    if len(covers) == 2 and side != "both":
        covers = [covers[0 if side == "right" else 1]]
    if covers or face.parsing is None:
        return regions.fill(covers, hw) & ~regions.fill(without, hw)
    parsed = regions.region_mask(face, word, hw)
    return parsed & _half(face, side, hw) if word == "ear" and side != "both" else parsed


def _half(face: Face, side: Side, hw: tuple[int, int]) -> Mask:
    """The subject's right or left half of the frame, bool H×W."""
    y, x = np.indices(hw, dtype=np.float32)
    middle = face.five_points[:2].mean(axis=0)
    left = (x - middle[0]) * face.across[0] + (y - middle[1]) * face.across[1] >= 0
    return np.asarray(left if side == "left" else ~left)


def region_hole(face: Face, words: Sequence[str], side: Side, dilation: float, hw: tuple[int, int]) -> Mask:
    """Return what of `region_union` lies inside the face, bool H×W.

    Across the outline there would be hair, neck and background to make up, each with an edge of its own.
    """
    return region_union(face, words, side, dilation, hw) & inner_face(face, hw)


def stroke_hole(face: Face, strokes: Sequence[Mapping[str, Any]], hw: tuple[int, int]) -> Mask:
    """Return brush strokes clipped to the face's outline, bool H×W.

    Each stroke has `points` (x y in the face's frame) and `width` (in interocular distances).
    """
    drawn = np.zeros(hw, np.bool_)
    for stroke in strokes:
        line = from_face_frame(face, np.asarray(stroke["points"], np.float32))
        fixed = np.round(np.clip(line, -4096, 8192) * 16).astype(np.int32)
        spine = cv2.polylines(np.zeros(hw, np.uint8), [fixed], isClosed=False, color=1, shift=4) > 0
        drawn |= grow(spine, stroke["width"] / 2 * face.interocular)
    return drawn & inner_face(face, hw) & regions.fill([regions.oval(face)], hw)


def draw_strokes(rng: np.random.Generator, count: int, width_range: tuple[float, float]) -> list[dict[str, Any]]:
    """Draw strokes that wander over a face: JSON, in its frame. Widths are in interocular distances."""
    return [_draw_stroke(rng, width_range) for _ in range(count)]


def _draw_stroke(rng: np.random.Generator, width_range: tuple[float, float]) -> dict[str, Any]:
    point = rng.uniform((-0.7, -0.1), (0.7, 1.2))
    heading = rng.uniform(0, 2 * np.pi)
    points: Stroke = [point.round(4).tolist()]
    for _ in range(int(rng.integers(1, 5))):
        heading += rng.normal(0, 0.7)
        point = point + rng.uniform(0.12, 0.35) * np.array([np.cos(heading), np.sin(heading)])
        points.append(point.round(4).tolist())
    return {"points": points, "width": round(float(rng.uniform(*width_range)), 4)}


def from_face_frame(face: Face, points: Points) -> Points:
    """Move points float32 N×2 from the face's own frame into the picture's, x y in pixels."""
    middle = face.five_points[:2].mean(axis=0)
    axes = np.stack([face.across, face.down]) * np.float32(face.interocular)
    return np.asarray(middle + points @ axes, np.float32)


def grow(mask: Mask, radius_px: float) -> Mask:
    """Dilate a bool H×W mask by a disc."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= radius_px)


def window_around(points: Points, margin_px: float, hw: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that hold points (float32 N×2, x y) with a margin, within the frame; never empty."""
    low = np.clip(np.floor(points.min(axis=0) - margin_px), 0, [hw[1] - 1, hw[0] - 1]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + margin_px) + 1, low + 1, [hw[1], hw[0]]).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def seen_through(face: Face, window: tuple[slice, slice]) -> Face:
    """The same face in the coordinates of a window of its frame."""
    return face.moved(np.array([[1, 0, -window[1].start], [0, 1, -window[0].start]], np.float64))


def inner_face(face: Face, hw: tuple[int, int]) -> Mask:
    """Return the face without its rim, where it turns away from the camera, bool H×W."""
    outside = ~regions.fill([whole_face(face)], hw)
    return ~grow(outside, RIM * face.interocular)


def whole_face(face: Face) -> Points:
    """The outline of the face up to the hairline, float32 N×2; schemes without a forehead get a guessed one."""
    found = face.contour("oval")
    if found is not None:
        return found
    p, unit = face.points_68, face.interocular
    angle = np.linspace(0, np.pi, 13)[1:-1, None]
    brows = p[lm.LEFT_BROW][-1], p[lm.RIGHT_BROW][0]
    middle, half = (brows[0] + brows[1]) / 2, (brows[0] - brows[1]) / 2
    cap = middle + np.cos(angle) * half * 1.05 - np.sin(angle) * face.down * 0.6 * unit
    return np.asarray(np.concatenate([p[lm.JAW], cap]), np.float32)
