"""The paper's 21 region words, and those that landmarks or a label map can outline.

The order is the index of the 21-vector of the published dataset. Where a face was parsed, the words that its
label map shows are its pixels (`mmtt.parsing`); all others are drawn as polygons minus other polygons. Words
without polygons (`TEXT_ONLY`) are measured only where the map shows them (`PARSED_ONLY`), else merely written.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt import landmarks as lm
from mmtt.faces import Face
from mmtt.landmarks import Points
from mmtt.parsing import WORDS, label_mask

REGIONS = (
    "eye", "pupil", "lip", "mouth", "nose", "ear", "cheek", "forehead", "chin", "jaw", "eyebrow",
    "tooth", "tongue", "beard", "mustache", "skin", "hair", "wrinkle", "freckle", "scar", "dimple",
)  # fmt: skip

Mask = npt.NDArray[np.bool_]


class Outline(NamedTuple):
    """Polygons (each float32 N×2, x y in pixels) that a region covers, and those cut out of it."""

    covers: list[Points]
    without: list[Points]


def _eyes(face: Face) -> list[Points]:
    p = face.points_68
    found = (face.contour("right_eye"), face.contour("left_eye"))
    return [p[lm.RIGHT_EYE] if found[0] is None else found[0], p[lm.LEFT_EYE] if found[1] is None else found[1]]


def _brows(face: Face) -> list[Points]:
    found = [face.contour("right_brow"), face.contour("left_brow")]
    drawn = [_thicken(face.points_68[s], face) for s in (lm.RIGHT_BROW, lm.LEFT_BROW)]
    return [d if f is None else f for f, d in zip(found, drawn, strict=True)]


def _thicken(line: Points, face: Face) -> Points:
    """Make a brow out of the line that 68-point schemes give: its upper edge, moved down to a lower one."""
    down = face.down * 0.09 * face.interocular
    return np.asarray(np.concatenate([line - 0.25 * down, (line + down * np.float32(0.75))[::-1]]), dtype=np.float32)


def _lips(face: Face) -> tuple[Points, Points]:
    outer, inner = face.contour("lips_outer"), face.contour("lips_inner")
    p = face.points_68
    return (p[lm.LIPS_OUTER] if outer is None else outer, p[lm.LIPS_INNER] if inner is None else inner)


def _nose(face: Face) -> Points:
    found = face.contour("nose")
    if found is not None:
        return found
    p, across = face.points_68, face.across * face.interocular
    wing = 0.07 * across
    upper = [p[27] + 0.1 * across, p[29] + 0.16 * across, p[35] + wing - 0.12 * face.down * face.interocular]
    lower = [p[35] + wing, p[34], p[33], p[32], p[31] - wing]
    back = [p[31] - wing - 0.12 * face.down * face.interocular, p[29] - 0.16 * across, p[27] - 0.1 * across]
    return np.asarray(np.stack([*upper, *lower, *back]), dtype=np.float32)


def _oval(face: Face) -> Points:
    """The face's outline; without forehead points, the jaw closed over the brows."""
    found = face.contour("oval")
    if found is not None:
        return found
    p = face.points_68
    brows = np.concatenate([p[lm.LEFT_BROW][::-1], p[lm.RIGHT_BROW][::-1]])
    return np.asarray(np.concatenate([p[lm.JAW], brows - 0.1 * face.down * face.interocular]), dtype=np.float32)


def _cheeks(face: Face) -> list[Points]:
    p, down = face.points_68, face.down * 0.12 * face.interocular
    right = [p[41] + down, p[36] + down, p[1], p[2], p[3], p[4], p[48], p[31]]
    left = [p[46] + down, p[45] + down, p[15], p[14], p[13], p[12], p[54], p[35]]
    return [np.stack(side).astype(np.float32) for side in (right, left)]


def _forehead(face: Face) -> list[Points]:
    oval = face.contour("oval")
    if oval is None:
        return []
    p = face.points_68
    brow_line = p[17:27]
    above = oval[((oval - brow_line.mean(axis=0)) @ face.down) < 0]
    # The oval runs clockwise from the top: cut it at the gap so that it starts on the subject's right.
    order = np.argsort((above - brow_line.mean(axis=0)) @ face.across)
    return [np.concatenate([above[order], brow_line[::-1]]).astype(np.float32)]


def _chin(face: Face) -> Points:
    p = face.points_68
    under_lip = p[[55, 56, 57, 58, 59]] + 0.08 * face.down * face.interocular
    return np.asarray(np.concatenate([p[6:11], under_lip]), dtype=np.float32)


def _jaw(face: Face) -> Points:
    p = face.points_68
    line = p[3:14]
    inner = line + np.float32(0.22) * (p[33] - line)
    return np.asarray(np.concatenate([line, inner[::-1]]), dtype=np.float32)


def _pupils(face: Face) -> list[Points]:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return [(centre + radius * circle).astype(np.float32) for centre, radius in face.irises]


def _eyes_and_brows_and_lips(face: Face) -> list[Points]:
    return [*_eyes(face), *_brows(face), _lips(face)[0]]


_DRAWN: Mapping[str, Callable[[Face], Outline]] = MappingProxyType(
    {
        "eye": lambda f: Outline(_eyes(f), []),
        "pupil": lambda f: Outline(_pupils(f), []),
        "lip": lambda f: Outline([_lips(f)[0]], [_lips(f)[1]]),
        "mouth": lambda f: Outline([_lips(f)[0]], []),
        "nose": lambda f: Outline([_nose(f)], []),
        "cheek": lambda f: Outline(_cheeks(f), []),
        "forehead": lambda f: Outline(_forehead(f), []),
        "chin": lambda f: Outline([_chin(f)], []),
        "jaw": lambda f: Outline([_jaw(f)], []),
        "eyebrow": lambda f: Outline(_brows(f), []),
        "skin": lambda f: Outline([_oval(f)], _eyes_and_brows_and_lips(f)),
    }
)

TEXT_ONLY = tuple(word for word in REGIONS if word not in _DRAWN)
PARSED_ONLY = tuple(word for word in TEXT_ONLY if word in WORDS)


def sayable(scheme_name: str) -> tuple[str, ...]:
    """Return the region words that the geometry of a landmark scheme can outline, in the paper's order."""
    scheme = lm.scheme(scheme_name)
    if scheme_name == lm.UNKNOWN:
        return ()
    absent = set(TEXT_ONLY)
    if "oval" not in scheme.contours:
        absent.add("forehead")
    if not scheme.irises:
        absent.add("pupil")
    return tuple(word for word in REGIONS if word not in absent)


def sayable_of(face: Face) -> tuple[str, ...]:
    """Return the region words that a face's landmarks or its parsing outline, in the paper's order.

    A face that was moved keeps its words but not its map: those of `PARSED_ONLY` then have no pixels.
    """
    known = {*sayable(face.scheme), *face.parsed}
    return tuple(word for word in REGIONS if word in known)


def outline(face: Face, region: str) -> Outline:
    """Return the polygons of one region, parsed or not; empty where the face's scheme cannot say it."""
    return _DRAWN[region](face) if region in _DRAWN else Outline([], [])


def oval(face: Face) -> Points:
    """Return the outline of the face, float32 N×2: to the hairline where the scheme says so, else to the brows."""
    return _oval(face)


def fill(polygons: Iterable[Points], hw: tuple[int, int]) -> Mask:
    """Rasterise polygons (float32 N×2, x y in pixels) into a bool H×W array, to 1/16 of a pixel."""
    canvas = np.zeros(hw, np.uint8)
    for polygon in polygons:
        # Clipped so that points far outside the frame stay within OpenCV's fixed-point range.
        fixed = np.round(np.clip(polygon, -4096, 8192) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [fixed], 1, lineType=cv2.LINE_8, shift=4)
    return canvas.view(np.bool_)


def region_mask(face: Face, region: str, hw: tuple[int, int]) -> Mask:
    """Return one region of a face as a bool H×W array: from its label map where that shows it, else from polygons.

    All False where neither the map nor the scheme can say it.

    Raises:
        ValueError: the face has a label map, which is of another height and width than `hw`.
    """
    parsed = _parsed(face, region, hw)
    if parsed is not None:
        return parsed
    covers, without = outline(face, region)
    drawn = fill(covers, hw)
    if region == "pupil":
        drawn &= region_mask(face, "eye", hw)
    return drawn & ~fill(without, hw) if without else drawn


def _parsed(face: Face, region: str, hw: tuple[int, int]) -> Mask | None:
    if region not in face.parsed or region not in WORDS or face.parsing is None:
        return None
    if face.parsing.shape != hw:
        raise ValueError(f"a label map of {face.parsing.shape} says nothing about a frame of {hw}; warp it first")
    return label_mask(face.parsing, *WORDS[region])


def union_mask(face: Face, words: Iterable[str], hw: tuple[int, int]) -> Mask:
    """Return the union of several regions as a bool H×W array, each as `region_mask` gives it."""
    drawn = np.zeros(hw, np.bool_)
    for word in words:
        drawn |= region_mask(face, word, hw)
    return drawn


def edited_shares(face: Face, mask: npt.NDArray[np.uint8]) -> dict[str, float]:
    """For each region that a uint8 {0, 255} mask touches, the share of the region's pixels inside it, 0–1."""
    shares = {}
    for word in sayable_of(face):
        area = region_mask(face, word, (mask.shape[0], mask.shape[1]))
        total = int(np.count_nonzero(area))
        inside = int(np.count_nonzero(mask[area])) if total else 0
        if inside:
            shares[word] = inside / total
    return shares
