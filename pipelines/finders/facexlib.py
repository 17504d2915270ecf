"""facexlib: RetinaFace and the 98 landmarks of WFLW (AdaptiveWing), from the user's folder.

The files lie directly under `facexlib/`. Where both detectors are there, the larger one (ResNet-50) is used. The
networks are built from facexlib's classes and filled here, with `weights_only=True`: facexlib's own loaders leave
that to a default that an environment variable can turn off, and would download a missing file. Everything runs on
the CPU in one thread, so that the same photo gives the same points on any machine with any number of workers.
"""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.errors import MissingDependency, UserError
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import Points
from mmtt.weights import Weights, find, require, sha256

_RELEASE = "https://github.com/xinntao/facexlib/releases/download/v0.1.0"
DETECTION = Weights(
    "facexlib/detection_Resnet50_Final.pth",
    "MIT",
    f"{_RELEASE}/detection_Resnet50_Final.pth",
    "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
)
DETECTION_SMALL = Weights(
    "facexlib/detection_mobilenet0.25_Final.pth",
    "MIT",
    f"{_RELEASE}/detection_mobilenet0.25_Final.pth",
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
)
LANDMARKS = Weights(
    "facexlib/alignment_WFLW_4HG.pth",
    "Apache-2.0",
    f"{_RELEASE}/alignment_WFLW_4HG.pth",
    "bbfd137307a4c7debd5c283b9b0ce539466cee417ac0a155e184d857f9f2899c",
)
WEIGHTS = (DETECTION, DETECTION_SMALL, LANDMARKS)
PACKAGES = ("facexlib", "torch")
INSTALL = "pip install 'mmtt[facexlib]'"
_NO_PINS: Mapping[str, str] = MappingProxyType({})
_NETWORKS = {DETECTION.path: "resnet50", DETECTION_SMALL.path: "mobile0.25", LANDMARKS.path: "awing_fan"}
_LONGEST_PX = 1280  # the detector's memory and time grow with the area
_SURE = 0.97  # as facexlib's own face helper asks for
_MARGIN = 1.25  # WFLW's practice: the box, made square, and a quarter more
_CROP_PX, _MAP = 256, 64


class FacexlibFinder:
    """Finds every face of a photo with 98 points each; slow: seconds for each face on a CPU."""

    name = "facexlib"

    def __init__(self, pinned: Mapping[str, str] = _NO_PINS) -> None:
        self._pinned = pinned

    def find(self, photo: Rgb, photo_path: str) -> list[Face]:
        """Return the faces of an RGB uint8 H×W×3 photo, left to right.

        Raises:
            UserError: weights that are missing, other than expected, or of another network.
            MissingDependency: facexlib, torch or torchvision is not installed.
        """
        detection = detector()
        finder = " ".join((
            "facexlib", version("facexlib"), Path(detection.path).stem, detection.licence,
            Path(LANDMARKS.path).stem, LANDMARKS.licence,
        ))  # fmt: skip
        boxes = _detect(_model(detection, self._pinned), photo)
        network = _model(LANDMARKS, self._pinned)
        faces = [
            Face(_landmarks(network, photo, box[:4]), "wflw_98", finder, float(np.clip(box[4], 0, 1))) for box in boxes
        ]
        return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))


def detector() -> Weights:
    """Return the detector that is used: the large one, unless only the small one is there."""
    return DETECTION_SMALL if find(DETECTION.path) is None and find(DETECTION_SMALL.path) else DETECTION


def missing(reason: object) -> MissingDependency:
    """Return the error that says how to install what this file needs."""
    return MissingDependency(f"facexlib's networks need facexlib, torch and torchvision ({reason}): {INSTALL}.")


def _detect(network: Any, photo: Rgb) -> npt.NDArray[np.float64]:
    """Return boxes N×5, left top right bottom score, in the photo's pixels with edges at whole numbers."""
    import torch

    factor = max(max(photo.shape[:2]) / _LONGEST_PX, 1.0)
    wh = [max(1, round(side / factor)) for side in photo.shape[1::-1]]
    small = photo if factor == 1.0 else cv2.resize(photo, wh, interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        found = network.detect_faces(np.ascontiguousarray(small[:, :, ::-1]), conf_threshold=_SURE)
    boxes = np.asarray(found, np.float64).reshape(-1, 15)[:, :5]
    boxes[:, :4] *= factor
    # Boxes without an area, or beyond the photo, have no face in them.
    inside = (boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (boxes[:, 0] < photo.shape[1]) & (boxes[:, 1] < photo.shape[0])
    return boxes[inside & (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)]


def _landmarks(network: Any, photo: Rgb, box: npt.NDArray[np.float64]) -> Points:
    import torch

    side = max(2, round(_MARGIN * float(max(box[2] - box[0], box[3] - box[1]))))
    corner = np.round((box[:2] + box[2:]) / 2 - side / 2).astype(int)
    crop = cv2.resize(
        _window(photo, corner, side),
        (_CROP_PX, _CROP_PX),
        interpolation=cv2.INTER_AREA if side > _CROP_PX else cv2.INTER_LINEAR,
    )
    tensor = torch.from_numpy(crop.transpose(2, 0, 1).astype(np.float32) / 255)[None]
    with torch.inference_mode():
        maps = network(tensor)[0][-1][0, :-1].numpy()
    # The maps' cells have their middles at halves, the photo's pixels at whole numbers.
    return np.asarray(peaks(maps) * (side / _MAP) + corner - 0.5, dtype=np.float32)


def _window(photo: Rgb, corner: npt.NDArray[np.int_], side: int) -> Rgb:
    """A square of the photo, black where it reaches beyond the edge."""
    window = np.zeros((side, side, 3), np.uint8)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, photo.shape[1::-1])
    if (high > low).all():
        seen = photo[low[1] : high[1], low[0] : high[0]]
        at = low - corner
        window[at[1] : at[1] + seen.shape[0], at[0] : at[0] + seen.shape[1]] = seen
    return window


def peaks(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return where heat maps, float32 N×H×W, peak: N×2 x y in cells, edges at whole numbers.

    The procedure of stacked hourglasses (Newell et al., 2016): the highest cell, and a quarter of a cell towards
    the higher neighbour. facexlib's own function needs `numpy.float`, which NumPy 1.24 removed.
    """
    count = len(maps)
    y, x = np.divmod(maps.reshape(count, -1).argmax(axis=1), maps.shape[2])
    framed = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    n = np.arange(count)
    lean_x = np.sign(framed[n, y + 1, x + 2] - framed[n, y + 1, x])
    lean_y = np.sign(framed[n, y + 2, x + 1] - framed[n, y, x + 1])
    return np.stack([x + 0.5 + 0.25 * lean_x, y + 0.5 + 0.25 * lean_y], axis=1).astype(np.float64)


def _model(weights: Weights, pinned: Mapping[str, str]) -> Any:
    path = require(weights, pinned.get(weights.path))
    return _loaded(path, sha256(path), _NETWORKS[weights.path])


@lru_cache(maxsize=4)
def _loaded(path: Path, digest: str, network: str) -> Any:
    """The digest is there so that another file under the same name is loaded anew."""
    try:
        import torch
        from facexlib.alignment import FAN
        from facexlib.detection.retinaface import RetinaFace
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises the latter
        raise missing(error) from error
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # facexlib asks torchvision for a network in a way that is deprecated
        if network == "awing_fan":
            model = FAN(num_modules=4, num_landmarks=98, device="cpu")
        else:
            model = RetinaFace(network_name=network, device="cpu")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state["state_dict"] if network == "awing_fan" else state
        model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()}, strict=True)
    except Exception as error:  # whatever a broken or foreign file makes torch raise
        raise UserError(f"{path} (SHA-256 {digest}) cannot be read as weights of {network}: {error}.") from error
    return model.eval()
