"""Label maps: which part of a face each pixel shows. Their numbers, their words, and how they are moved.

The numbers are those of CelebAMask-HQ's own merged maps (Lee et al., "MaskGAN", 2020; the table in `face_parsing`
of https://github.com/switchablenorms/CelebAMask-HQ). The many networks that descend from face-parsing.PyTorch
number the same labels otherwise; whoever runs one renumbers its answer.

The dataset does not say whose left `l_…` is. Those who looked found it on the picture's left, which is the right of
a person who faces the camera. Nothing here depends on it: words take both sides, and sides come from landmarks.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Gray

# In the order in which the dataset's `g_mask.py` draws the parts: where two overlap, the later one is seen.
LABELS = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth",
    "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(LABELS)}

# Which labels make up those of the paper's region words that a map can outline.
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "eye": ("l_eye", "r_eye"),
    "lip": ("u_lip", "l_lip"),
    "mouth": ("u_lip", "l_lip", "mouth"),
    "nose": ("nose",),
    "ear": ("l_ear", "r_ear"),
    "eyebrow": ("l_brow", "r_brow"),
    "skin": ("skin", "nose"),
    "hair": ("hair",),
})  # fmt: skip

# What may lie over a face and is no region word: glasses, hat, ear rings, necklace, clothes.
OCCLUDERS = ("eye_g", "hat", "ear_r", "neck_l", "cloth")

_MIN_SHARE = 2.0**-13  # 8 pixels at 256 px, 32 at 512: less is a speck

Mask = npt.NDArray[np.bool_]


def label_mask(labels: Gray, *names: str) -> Mask:
    """Return where a label map, uint8 H×W, shows any of some labels: bool H×W.

    Raises:
        KeyError: a name that is none of `LABELS`.
    """
    wanted = np.zeros(256, np.bool_)
    wanted[[_NUMBERS[name] for name in names]] = True
    return wanted[labels]


def parsed_words(labels: Gray) -> tuple[str, ...]:
    """Return the region words that a label map, uint8 H×W, outlines by more than a speck (1/8192 of the frame)."""
    counts = np.bincount(labels.ravel(), minlength=len(LABELS))
    return tuple(
        word for word, names in WORDS.items() if counts[[_NUMBERS[n] for n in names]].sum() >= _MIN_SHARE * labels.size
    )


def warp(labels: Gray, matrix: npt.NDArray[np.floating[Any]], hw: tuple[int, int]) -> Gray:
    """Move a label map by an affine map without inventing labels.

    Each pixel of the result gets the label that covers most of it; of equals, the one drawn later. Beyond the edge
    of the map lies background.

    Args:
        labels: uint8 H×W.
        matrix: 2×3, from the map's pixels (x y, centres at integers) to the result's.
        hw: height and width of the result.

    Returns:
        uint8, of shape `hw`.
    """
    factors = _factors(labels, matrix)
    small = _of_reduced(matrix, factors)
    best, rest = np.zeros(hw, np.float32), np.ones(hw, np.float32)
    moved = np.zeros(hw, np.uint8)
    for number in np.unique(labels[labels > 0]):
        reduced = _coverage(labels == number, factors)
        # The border's value is 0: no label covers anything out there.
        cover = np.asarray(cv2.warpAffine(reduced, small, hw[::-1], flags=cv2.INTER_LINEAR), dtype=np.float32)
        more = (cover >= best) & (cover > 0)
        best[more], moved[more] = cover[more], number
        rest -= cover
    moved[rest > best] = 0
    return moved


def _factors(labels: Gray, matrix: npt.NDArray[np.floating[Any]]) -> tuple[int, int]:
    """By which whole numbers the map's width and height may shrink before it is warped: a plain warp would alias."""
    scales = np.maximum(np.hypot(*np.asarray(matrix)[:, :2]), 1e-6)
    across, down = (max(1, min(int(1 / scale), side)) for scale, side in zip(scales, labels.shape[::-1], strict=True))
    return across, down


def _of_reduced(matrix: npt.NDArray[np.floating[Any]], factors: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The matrix for a map that was reduced: its pixel i has its centre at factor·i + (factor − 1)/2."""
    (across, down), linear = factors, np.asarray(matrix, np.float64)
    back = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return np.asarray(linear @ back, dtype=np.float64)


def _coverage(shown: Mask, factors: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The share of each block of pixels that a label covers, float32, 0–1."""
    across, down = factors
    share = shown.astype(np.float32)
    if factors == (1, 1):
        return share
    height, width = shown.shape
    padded = cv2.copyMakeBorder(share, 0, -height % down, 0, -width % across, cv2.BORDER_CONSTANT, value=0)
    size = (padded.shape[1] // across, padded.shape[0] // down)
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
