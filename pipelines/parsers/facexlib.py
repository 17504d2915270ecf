"""facexlib: BiSeNet (Yu et al., 2018) as face-parsing.PyTorch trained it on CelebAMask-HQ, from the user's folder.

The network is built from facexlib's class and filled here, with `weights_only=True`: facexlib's own loader leaves
that to a default that an environment variable can turn off, and would download a missing file. It runs on the CPU
in one thread, so that the same crop gives the same map on any machine with any number of workers.
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
from mmtt.images import Gray, Rgb
from mmtt.parsing import LABELS, warp
from mmtt.weights import Weights, require, sha256

from .seam import Cropped

PARSING = Weights(
    "facexlib/parsing_bisenet.pth",
    "LicenseRef-CelebAMask-HQ-NonCommercial",  # the code is MIT; the weights follow from the dataset, which is not
    "https://github.com/xinntao/facexlib/releases/download/v0.2.0/parsing_bisenet.pth",
    "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
)
WEIGHTS = (PARSING,)
PACKAGES = ("facexlib", "torch")
INSTALL = "pip install 'mmtt[facexlib]'"
_NO_PINS: Mapping[str, str] = MappingProxyType({})
_SIDE_PX = 512
# ImageNet's means and deviations, as facexlib's `inference_parsing.py` normalises.
_MEAN, _STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
# The same file's comment says what the network's numbers mean.
_ITS_LABELS = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
    "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
_OURS = np.array([LABELS.index(name) for name in _ITS_LABELS], np.uint8)


class FacexlibParser:
    """Parses every crop; seconds for each on a CPU. Made for faces aligned as CelebA-HQ and FFHQ are."""

    name = "facexlib"

    def __init__(self, pinned: Mapping[str, str] = _NO_PINS) -> None:
        self._pinned = pinned

    @property
    def described(self) -> str:
        """The package and its version, the network, the licence of its weights."""
        return f"facexlib {version('facexlib')} bisenet {PARSING.licence}"

    def parse(self, cropped: Cropped) -> Gray | None:
        """Return the crop's label map, uint8 H×W.

        Raises:
            UserError: weights that are missing, other than expected, or of another network.
            MissingDependency: facexlib, torch or torchvision is not installed.
        """
        path = require(PARSING, self._pinned.get(PARSING.path))
        labels = _labels(_loaded(path, sha256(path)), cropped.crop)
        height, width = cropped.crop.shape[:2]
        x, y = width / _SIDE_PX, height / _SIDE_PX
        return warp(labels, np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]]), (height, width))


def missing(reason: object) -> MissingDependency:
    """Return the error that says how to install what this file needs."""
    return MissingDependency(f"facexlib's networks need facexlib, torch and torchvision ({reason}): {INSTALL}.")


def _labels(network: Any, crop: Rgb) -> Gray:
    """Return uint8 512×512, numbered as `mmtt.parsing.LABELS`."""
    import torch

    reading = cv2.INTER_AREA if crop.shape[0] > _SIDE_PX else cv2.INTER_LINEAR
    small = cv2.resize(crop, (_SIDE_PX, _SIDE_PX), interpolation=reading)
    normal = (small.astype(np.float32) / 255 - _MEAN) / _STD
    with torch.inference_mode():
        scores = network(torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))[None])[0]
        numbers = scores[0].argmax(dim=0).numpy()
    return np.asarray(_OURS[numbers], dtype=np.uint8)


@lru_cache(maxsize=2)
def _loaded(path: Path, digest: str) -> Any:
    """The digest is there so that another file under the same name is loaded anew."""
    try:
        import torch
        from facexlib.parsing.bisenet import BiSeNet
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises the latter
        raise missing(error) from error
    torch.set_num_threads(1)
    model = BiSeNet(num_class=len(_ITS_LABELS))
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    except Exception as error:  # whatever a broken or foreign file makes torch raise
        raise UserError(f"{path} (SHA-256 {digest}) cannot be read as weights of BiSeNet: {error}.") from error
    return model.eval()
