"""Faces: where they are, and how one is moved into an upright square.

Coordinates are x y in pixels with pixel centres at integers, as in OpenCV's warps.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from mmtt import landmarks as lm
from mmtt.errors import Rejected
from mmtt.images import Gray, Rgb, decode_gray
from mmtt.landmarks import Points
from mmtt.record import Record

Matrix = npt.NDArray[np.float64]

# Five points (eyes, nose tip, mouth corners) of an upright face, as shares of the crop's side.
TEMPLATES = MappingProxyType({
    # Means of FFHQ's aligned faces at 512 px, as the face restoration literature uses them.
    "ffhq_512": np.array(
        [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]], np.float64
    ) / 512,
    # Deng et al., "ArcFace", 2019.
    "arcface_112": np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
        np.float64,
    ) / 112,
})  # fmt: skip


@dataclass(frozen=True)
class Face:
    """A face in an image: landmarks float32 N×2 (x y in pixels), their scheme, who found them, how sure (0–1).

    embedding: float32 D of unit length, who it is; only for grouping.
    parsing_png: the face's parts as a label map of the whole frame (see `mmtt.parsing`), decoded when asked for.
    parsed: which of the 21 region words that map outlines.
    """

    landmarks: Points
    scheme: str
    finder: str = "unknown"
    score: float = 1.0
    embedding: Points | None = None
    parsing_png: bytes | None = None
    parsed: tuple[str, ...] = ()

    @cached_property
    def points_68(self) -> Points:
        """The 68 iBUG points, float32 68×2."""
        return lm.points_68(self.landmarks, self.scheme)

    @cached_property
    def five_points(self) -> Points:
        """Right eye, left eye, nose tip, right and left mouth corner, float32 5×2."""
        return lm.five_points(self.landmarks, self.scheme)

    @cached_property
    def interocular(self) -> float:
        """Distance between the eye centres in pixels."""
        return lm.interocular(self.landmarks, self.scheme)

    @cached_property
    def across(self) -> Points:
        """Unit vector, float32 2, from the subject's right eye to the left one."""
        eyes = self.five_points[:2]
        return np.asarray(((eyes[1] - eyes[0]) / max(self.interocular, 1e-6)), dtype=np.float32)

    @cached_property
    def down(self) -> Points:
        """Unit vector, float32 2, perpendicular to `across`, towards the chin."""
        return np.array([-self.across[1], self.across[0]], np.float32)

    @cached_property
    def irises(self) -> list[tuple[Points, float]]:
        """Centre and radius of the right and left iris; empty where the scheme has none."""
        return lm.irises(self.landmarks, self.scheme)

    @cached_property
    def bbox_xyxy(self) -> Points:
        """Left, top, right, bottom of the landmarks, float32 4."""
        return np.asarray(np.concatenate([self.landmarks.min(axis=0), self.landmarks.max(axis=0)]), dtype=np.float32)

    def contour(self, name: str) -> Points | None:
        """A closed outline, float32 N×2, or None where the scheme has no such contour."""
        return lm.contour(self.landmarks, self.scheme, name)

    @cached_property
    def parsing(self) -> Gray | None:
        """The label map, uint8 H×W, of the frame; None where the face was not parsed."""
        return None if self.parsing_png is None else decode_gray(self.parsing_png)

    def moved(self, matrix: Matrix) -> "Face":
        """The same face after a 2×3 affine map of the picture; its label map, which has pixels, stays behind."""
        return replace(self, landmarks=transform(self.landmarks, matrix), parsing_png=None)


def face_of(record: Record) -> Face:
    """Return the face of a record, in the pixels of its image."""
    return Face(
        np.asarray(record.landmarks, np.float32),
        record.landmark_scheme,
        record.landmark_finder,
        parsing_png=record.parsing,
        parsed=tuple(record.parsed_regions),
    )


class FaceFinder(Protocol):
    """Finds the faces of a photo. One seam for embedded, learned and precomputed landmarks."""

    name: str

    def find(self, photo: Rgb, photo_path: str) -> list[Face] | None:
        """Return the faces of an RGB uint8 H×W×3 photo; None if this finder knows nothing about it."""
        ...


def transform(points: npt.NDArray[Any], matrix: Matrix) -> Points:
    """Apply a 2×3 affine matrix to points N×2."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32)


def similarity(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> Matrix:
    """Return the 2×3 rotation, scale and shift that best moves N×2 points onto others (least squares).

    The two-dimensional case of Umeyama, "Least-squares estimation of transformation parameters",
    1991, without reflection; written with complex numbers it is one division.
    """
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    a = (source - mean_source).astype(np.float64) @ np.array([1, 1j])
    b = (target - mean_target).astype(np.float64) @ np.array([1, 1j])
    turn = np.vdot(a, b) / max(np.vdot(a, a).real, 1e-12)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, mean_target - linear @ mean_source]).astype(np.float64)


def align(photo: Rgb, face: Face, template: str, size_px: int) -> tuple[Rgb, Matrix]:
    """Cut the aligned face out of a photo.

    Returns the crop, RGB uint8 size×size×3, and the 2×3 matrix from photo to crop pixels. Large faces are
    first reduced by a whole factor with area averaging (a plain warp would alias), then resampled once.
    Beyond the photo's edge the picture is mirrored.

    Raises:
        Rejected: `face_too_small`, when the landmarks are all but one point.
    """
    goal = TEMPLATES[template] * size_px - 0.5
    matrix = similarity(face.five_points, goal)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not np.isfinite(scale) or scale <= 0 or scale > size_px:
        raise Rejected("face_too_small", "the landmarks do not span a face")
    photo, small = _reduce(photo, matrix, size_px, max(1, int(1 / scale)))
    crop = cv2.warpAffine(photo, small, (size_px, size_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(crop, dtype=np.uint8), matrix


def _reduce(photo: Rgb, matrix: Matrix, size_px: int, factor: int) -> tuple[Rgb, Matrix]:
    """Cut out what the crop can see and shrink it by a whole factor; the matrix follows."""
    if factor == 1:
        return photo, matrix
    corners = transform(np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]]), invert(matrix))
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2 * factor, 0) // factor * factor
    high = np.ceil(corners.max(axis=0)).astype(int) + 2 * factor
    window = photo[low[1] : max(high[1], low[1] + factor), low[0] : max(high[0], low[0] + factor)]
    height, width = (side // factor * factor for side in window.shape[:2])
    if not height or not width:
        return photo, matrix
    reduced = cv2.resize(window[:height, :width], (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    # Centre of reduced pixel i lies at factor·i + (factor − 1)/2 + low in the photo.
    back = np.array([[factor, 0, (factor - 1) / 2 + low[0]], [0, factor, (factor - 1) / 2 + low[1]], [0, 0, 1]])
    return np.asarray(reduced, dtype=np.uint8), np.asarray(matrix @ back, dtype=np.float64)


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse of a 2×3 affine matrix."""
    return np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float64)


def outside_share(face: Face, hw: tuple[int, int]) -> float:
    """Return the share of a face's landmarks that lie outside a frame of that height and width, 0–1."""
    x, y = face.landmarks[:, 0], face.landmarks[:, 1]
    inside = (x >= 0) & (y >= 0) & (x <= hw[1] - 1) & (y <= hw[0] - 1)
    return float(1 - inside.mean())
