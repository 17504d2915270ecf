"""InsightFace's pack `buffalo_l`: detector (SCRFD), 106 landmarks and the ArcFace embedding, from the user's folder.

The files lie under `models/buffalo_l/`, which is also where InsightFace's own code looks under its root. Each is
opened by its path with `insightface.model_zoo.get_model`, never by the pack's name: a missing pack would be
downloaded. Everything runs on the CPU in one thread, so that the same photo gives the same points on any machine
with as many workers as one likes.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from mmtt.errors import MissingDependency, UserError
from mmtt.faces import TEMPLATES, Face, similarity
from mmtt.images import Rgb
from mmtt.landmarks import Points
from mmtt.weights import Weights, require, sha256

from .. import onnx_sessions

LICENCE = "LicenseRef-InsightFace-NonCommercial"
_ORIGIN = "buffalo_l.zip at https://github.com/deepinsight/insightface/releases/tag/v0.7"
DETECTION = Weights(
    "models/buffalo_l/det_10g.onnx",
    LICENCE,
    _ORIGIN,
    "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
)
LANDMARKS = Weights(
    "models/buffalo_l/2d106det.onnx",
    LICENCE,
    _ORIGIN,
    "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
)
RECOGNITION = Weights(
    "models/buffalo_l/w600k_r50.onnx",
    LICENCE,
    _ORIGIN,
    "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
)
WEIGHTS = (DETECTION, LANDMARKS, RECOGNITION)
PACKAGES = ("insightface", "onnxruntime")
INSTALL = "pip install 'mmtt[insightface]'"
_NO_PINS: Mapping[str, str] = MappingProxyType({})
_TASKS = {DETECTION.path: "detection", LANDMARKS.path: "landmark_2d_106", RECOGNITION.path: "recognition"}
# Both sizes that InsightFace 2.1 looks at: the small one finds faces that fill the picture.
_SIZES_PX = ((128, 128), (640, 640))
_SLIVER = 100  # a photo this many times as long as wide has no width left at 128 px


class InsightFaceFinder:
    """Finds every face of a photo with 106 points each."""

    name = "insightface"

    def __init__(self, pinned: Mapping[str, str] = _NO_PINS) -> None:
        self._pinned = pinned

    def find(self, photo: Rgb, photo_path: str) -> list[Face]:
        """Return the faces of an RGB uint8 H×W×3 photo, left to right.

        Raises:
            UserError: weights that are missing, other than expected, or no such network.
            MissingDependency: insightface or onnxruntime is not installed.
        """
        detector, landmarks = _model(DETECTION, self._pinned), _model(LANDMARKS, self._pinned)
        if max(photo.shape[:2]) > _SLIVER * min(photo.shape[:2]):
            return []
        bgr = np.ascontiguousarray(photo[:, :, ::-1])
        faces = [_face(bgr, box, landmarks) for box in detector.detect(bgr)[0]]
        return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))


def embedding(photo: Rgb, face: Face, pinned: Mapping[str, str] = _NO_PINS) -> Points:
    """Return who a face is, float32 512 of unit length, by ArcFace (Deng et al., 2019).

    A network that answers only zeros or NaN says of nobody who they are: so is what is returned then.

    The face is cut out as ArcFace wants it: its five points on the 112 px template, bilinear, black outside.

    Args:
        photo: RGB uint8 H×W×3.
        face: a face of that photo, by any finder.
        pinned: digests to trust in place of the known one, by the weights' path.

    Raises:
        UserError: weights that are missing, other than expected, or no such network.
        MissingDependency: insightface or onnxruntime is not installed.
    """
    model = _model(RECOGNITION, pinned)
    matrix = similarity(face.five_points, TEMPLATES["arcface_112"] * 112)
    crop = cv2.warpAffine(photo, matrix, (112, 112))
    found = np.asarray(model.get_feat(np.ascontiguousarray(crop[:, :, ::-1])), np.float64).ravel()
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12), dtype=np.float32)


def missing(reason: object) -> MissingDependency:
    """Return the error that says how to install what this file needs."""
    return MissingDependency(f"InsightFace's networks need insightface and onnxruntime ({reason}): {INSTALL}.")


def _face(bgr: Rgb, box: Any, landmarks: Any) -> Face:
    from insightface.app.common import Face as Found

    points = landmarks.get(bgr, Found(bbox=box[:4]))
    finder = f"insightface {version('insightface')} buffalo_l {LICENCE}"
    return Face(np.asarray(points, np.float32), "insightface_106", finder, float(np.clip(box[4], 0, 1)))


def _model(weights: Weights, pinned: Mapping[str, str]) -> Any:
    path = require(weights, pinned.get(weights.path))
    return _loaded(path, sha256(path), _TASKS[weights.path])


@lru_cache(maxsize=8)
def _loaded(path: Path, digest: str, task: str) -> Any:
    """The digest is there so that another file under the same name is loaded anew."""
    try:
        from insightface import model_zoo

        options = onnx_sessions.options()
    except ImportError as error:
        raise missing(error) from error
    try:
        model = model_zoo.get_model(str(path), providers=list(onnx_sessions.PROVIDERS), sess_options=options)
    except Exception as error:  # whatever a broken file makes onnx and onnxruntime raise
        raise UserError(f"{path} (SHA-256 {digest}) cannot be read as an ONNX network: {error}.") from error
    if model is None or getattr(model, "taskname", None) != task:
        raise UserError(f"{path} is no network for {task}. Put the file of buffalo_l there.")
    model.prepare(0, input_size=list(_SIZES_PX), det_thresh=0.5)
    return model
