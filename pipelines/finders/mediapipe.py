"""The embedded default: MediaPipe's short-range detector and face mesh, models inside its wheel.

One whole-picture call finds none of six faces in a group photo, because the detector sees 128 px. So
the detector runs on half-overlapping tiles of a pyramid, the mesh on an enlarged crop of each find, and
finds whose meshes share a centre are one face (measured: 6 of 6).
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmtt.errors import MissingDependency
from mmtt.faces import Face
from mmtt.images import Rgb

VERSION = "0.10.21"
INSTALL = f"pip install --no-deps mediapipe=={VERSION} && pip install absl-py flatbuffers attrs protobuf==6.33.1"
_LEVELS_PX = (448, 896, 1792, 3584)
_TILE_PX = 448
_MESH_PX = 384


class _Box(NamedTuple):
    x: float
    y: float
    side: float
    score: float


class _Models(NamedTuple):
    detector: Any
    mesh: Any


@cache
def _models() -> _Models:
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence():
        try:
            from mediapipe.python.solutions import face_detection, face_mesh
        except ImportError as error:
            raise MissingDependency(
                f"The finder 'mediapipe' needs mediapipe {VERSION} ({error}). Install it with: {INSTALL}. "
                "Or bring landmarks, with ingest.finders: [sidecar] and forge.find_faces: false in the recipe."
            ) from error
        models = _Models(
            face_detection.FaceDetection(model_selection=0, min_detection_confidence=0.5),
            face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1),
        )
        blank = np.zeros((64, 64, 3), np.uint8)
        models.detector.process(blank)
        models.mesh.process(blank)
    return models


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what the C++ side prints (warnings of no use): it writes to the descriptor, past Python's streams."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class MediapipeFinder:
    """Finds every face of a photo with 478 points each."""

    name = "mediapipe"

    def find(self, photo: Rgb, photo_path: str) -> list[Face]:
        """Return the faces of an RGB uint8 H×W×3 photo, left to right."""
        boxes = _suppress([box for level in _pyramid(photo) for box in _detect_level(*level)])
        faces: list[Face] = []
        for box in boxes:
            face = _mesh(photo, box)
            if face is not None and not any(_same(face, other) for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))

    def score(self, crop: Rgb) -> float:
        """Return how sure the detector is of a face in an aligned crop, 0–1; 0 when it finds none."""
        small = np.asarray(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
        return max((box.score for box in _detect(small)), default=0.0)


def _pyramid(photo: Rgb) -> list[tuple[Rgb, float]]:
    """The photo at each size that adds something, with the factor back to its own pixels."""
    longest = max(photo.shape[:2])
    levels = []
    for size_px in _LEVELS_PX:
        factor = max(longest / size_px, 1.0)
        hw = [max(1, round(side / factor)) for side in photo.shape[:2]]
        small = photo if factor == 1.0 else cv2.resize(photo, (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
        levels.append((np.asarray(small, np.uint8), factor))
        if factor == 1.0:
            break
    return levels


def _detect_level(small: Rgb, factor: float) -> Iterator[_Box]:
    height, width = small.shape[:2]
    for top in range(0, max(height - _TILE_PX // 2, 1), _TILE_PX // 2):
        for left in range(0, max(width - _TILE_PX // 2, 1), _TILE_PX // 2):
            tile = np.ascontiguousarray(small[top : top + _TILE_PX, left : left + _TILE_PX])
            for box in _detect(tile):
                yield _Box((box.x + left) * factor, (box.y + top) * factor, box.side * factor, box.score)


def _detect(picture: Rgb) -> Iterator[_Box]:
    height, width = picture.shape[:2]
    for found in _models().detector.process(picture).detections or ():
        box = found.location_data.relative_bounding_box
        side = max(box.width * width, box.height * height)
        centre = ((box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height)
        yield _Box(*centre, side, min(max(float(found.score[0]), 0.0), 1.0))


def _suppress(boxes: list[_Box]) -> list[_Box]:
    """Keep the surest of boxes that lie on one another."""
    kept: list[_Box] = []
    for box in sorted(boxes, key=lambda b: (-b.score, b.x, b.y)):
        if all(np.hypot(box.x - k.x, box.y - k.y) > 0.5 * min(box.side, k.side) for k in kept):
            kept.append(box)
    return kept


def _mesh(photo: Rgb, box: _Box) -> Face | None:
    side = 2.0 * box.side
    scale = _MESH_PX / side
    matrix = np.array([[scale, 0, _MESH_PX / 2 - scale * box.x], [0, scale, _MESH_PX / 2 - scale * box.y]])
    crop = cv2.warpAffine(photo, matrix, (_MESH_PX, _MESH_PX), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    models = _models()
    with _silence():
        found = models.mesh.process(crop).multi_face_landmarks
    if not found:
        return None
    points = np.array([[p.x, p.y] for p in found[0].landmark], np.float64) * _MESH_PX - 0.5
    moved = (points - matrix[:, 2]) / scale
    return Face(moved.astype(np.float32), "mediapipe_478", f"mediapipe {VERSION}", box.score)


def _same(face: Face, other: Face) -> bool:
    apart = np.hypot(*(face.landmarks.mean(axis=0) - other.landmarks.mean(axis=0)))
    return bool(apart < 0.5 * max(face.interocular, other.interocular))
