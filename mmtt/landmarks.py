"""Landmark schemes: what the numbers of each finder's points mean.

Every scheme says which of its points are the 68 of iBUG (Sagonas et al., "300 Faces in-the-Wild",
2013), so that faces found by different finders can be compared, and which extra contours it has.
`right` and `left` are the subject's own: the right eye is on the left of the picture.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.errors import UserError, did_you_mean

Points = npt.NDArray[np.float32]

# Slices of the 68 iBUG points.
JAW = slice(0, 17)
RIGHT_BROW = slice(17, 22)
LEFT_BROW = slice(22, 27)
NOSE_BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
LIPS_OUTER = slice(48, 60)
LIPS_INNER = slice(60, 68)


class Scheme(NamedTuple):
    """One way to number the points of a face.

    `to_68` lists, for each iBUG point, the index in this scheme. `contours` names closed outlines
    that are finer than the 68 points; `irises` gives (centre, *rim) for the right and the left eye.
    """

    name: str
    points: int
    to_68: tuple[int, ...]
    contours: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    irises: tuple[tuple[int, ...], ...] = ()


# Point numbers of MediaPipe Face Mesh with refined irises: face oval, lids, brows and lips follow the
# connection tables of its Python package; the 68 are the usual nearest vertices.
_MESH_TO_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
_MESH_CONTOURS = MappingProxyType({
    "oval": (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    "right_eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    "left_eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    "right_brow": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "left_brow": (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "lips_outer": (
        61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
    ),
    "lips_inner": (
        78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
    ),
    "nose": (
        168, 417, 465, 412, 343, 437, 420, 279, 331, 294, 327, 326, 2, 97, 98, 64, 102, 49, 198,
        217, 114, 188, 245, 193,
    ),
})  # fmt: skip

# InsightFace's `2d106det` numbers its points in the alphabetical order of the names that Face++ gives them
# ("Points mark-up (ordered by point names)": alignment/coordinate_reg/README.md in deepinsight/insightface):
# contour_chin, contour_left1, contour_left10, … Its names mean left and right as seen in the picture.
_106_TO_68 = (
    1, 10, 12, 14, 16, 3, 5, 7, 0, 23, 21, 19, 32, 30, 28, 26, 17,
    43, 48, 49, 51, 50, 102, 103, 104, 105, 101, 72, 73, 74, 86, 78, 79, 80, 85, 84,
    35, 41, 42, 39, 37, 36, 89, 95, 96, 93, 91, 90,
    52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55, 65, 66, 62, 70, 69, 57, 60, 54,
)  # fmt: skip
_106_CONTOURS = MappingProxyType({
    "right_eye": (35, 41, 40, 42, 39, 37, 33, 36),
    "left_eye": (89, 95, 94, 96, 93, 91, 87, 90),
    "right_brow": (43, 48, 49, 51, 50, 46, 47, 45, 44),
    "left_brow": (102, 103, 104, 105, 101, 100, 99, 98, 97),
    "lips_outer": (52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55),
    "lips_inner": (65, 66, 62, 70, 69, 57, 60, 54),
    "nose": (72, 81, 82, 83, 84, 85, 80, 79, 78, 77, 76, 75),
})  # fmt: skip

# WFLW's 98 points (Wu et al., "Look at Boundary", 2018): the outline from the picture's left, brows along the
# upper edge and back along the lower, eyes over the upper lid and back, lips likewise, then the pupils.
_98_TO_68 = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60),
    60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96),
)  # fmt: skip
_98_CONTOURS = MappingProxyType({
    "right_eye": tuple(range(60, 68)),
    "left_eye": tuple(range(68, 76)),
    "right_brow": tuple(range(33, 42)),
    "left_brow": tuple(range(42, 51)),
    "lips_outer": tuple(range(76, 88)),
    "lips_inner": tuple(range(88, 96)),
})  # fmt: skip

UNKNOWN = "none"  # the scheme of a face that nobody looked for
SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        UNKNOWN: Scheme(UNKNOWN, 0, ()),
        "ibug_68": Scheme("ibug_68", 68, tuple(range(68))),
        "openpose_70": Scheme("openpose_70", 70, tuple(range(68)), irises=((68,), (69,))),
        "mediapipe_478": Scheme(
            "mediapipe_478", 478, _MESH_TO_68, _MESH_CONTOURS, ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
        ),
        "insightface_106": Scheme("insightface_106", 106, _106_TO_68, _106_CONTOURS, ((38,), (92,))),
        "wflw_98": Scheme("wflw_98", 98, _98_TO_68, _98_CONTOURS, ((96,), (97,))),
    }
)


def scheme(name: str) -> Scheme:
    """Return the scheme of that name.

    Raises:
        UserError: unknown name.
    """
    if name not in SCHEMES:
        raise UserError(f"Landmark scheme '{name}' is unknown.{did_you_mean(name, SCHEMES)}")
    return SCHEMES[name]


def points_68(landmarks: Points, scheme_name: str) -> Points:
    """Return the 68 iBUG points, float32 68×2 x y in pixels, of a face in any scheme."""
    return np.asarray(landmarks[list(scheme(scheme_name).to_68)], dtype=np.float32)


def five_points(landmarks: Points, scheme_name: str) -> Points:
    """Return right eye, left eye, nose tip, right and left mouth corner: float32 5×2 x y in pixels."""
    p = points_68(landmarks, scheme_name)
    eyes = (p[RIGHT_EYE].mean(axis=0), p[LEFT_EYE].mean(axis=0))
    return np.stack([*eyes, p[30], p[48], p[54]]).astype(np.float32)


def interocular(landmarks: Points, scheme_name: str) -> float:
    """Return the distance between the eye centres in pixels, of landmarks N×2: the unit of all facial lengths here."""
    eyes = five_points(landmarks, scheme_name)[:2]
    return float(np.hypot(*(eyes[1] - eyes[0])))


def contour(landmarks: Points, scheme_name: str, name: str) -> Points | None:
    """Return a closed outline, float32 N×2, or None where this scheme has no such contour."""
    indices = scheme(scheme_name).contours.get(name)
    return None if indices is None else np.asarray(landmarks[list(indices)], dtype=np.float32)


def irises(landmarks: Points, scheme_name: str) -> list[tuple[Points, float]]:
    """Return (centre float32 x y, radius in pixels) of the right and the left iris; empty where the scheme has none.

    Without rim points the radius is 0.095 of the interocular distance: an adult iris is about 11.7 mm
    wide and the pupils about 63 mm apart.
    """
    found = []
    for centre, *rim in scheme(scheme_name).irises:
        middle = landmarks[centre]
        if rim:
            radius = float(np.hypot(*(landmarks[rim] - middle).T).mean())
        else:
            radius = 0.095 * interocular(landmarks, scheme_name)
        found.append((np.asarray(middle, dtype=np.float32), radius))
    return found
