"""Localization: how far a predicted mask covers the true one, as `scripts/evaluation/evaluate_metrics.py` counts it.

A pixel is altered above 127. The prediction is resized to the truth's size by nearest neighbour with
Pillow. With I, P, T the pixels of intersection, prediction and truth, per image:

| | IoU | precision | recall | F1 |
|---|---|---|---|---|
| in general | I / (P + T − I) | I / P | I / T | 2 I / (P + T) |
| P = 0, T = 0 | 1 | 1 | 1 | 1 |
| P = 0, T > 0 | 0 | 0 | 0 | 0 |
| P > 0, T = 0 | 0 | 0 | 0 | 0 |

Over images the plain mean is taken; pooled IoU is the sum of I over the sum of unions. Pixel AUC is the area under the
ROC curve of the soft values 0–255 of one image, ties counted half, and has no value where all pixels are of one class.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmtt.images import Gray

ALTERED_ABOVE = 127


class Localization(NamedTuple):
    """How one predicted mask fits the true one.

    intersection, predicted, true, pixels: counts. auc: None where the truth has one class only.
    """

    intersection: int
    predicted: int
    true: int
    pixels: int
    auc: float | None

    @property
    def union(self) -> int:
        """Pixels of either."""
        return self.predicted + self.true - self.intersection

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def precision(self) -> float:
        """Share of the prediction that is right."""
        return self.intersection / self.predicted if self.predicted else float(not self.true)

    @property
    def recall(self) -> float:
        """Share of the truth that was found."""
        return self.intersection / self.true if self.true else float(not self.predicted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.predicted + self.true
        return 2 * self.intersection / both if both else 1.0


def resize_nearest(mask: Gray, hw: tuple[int, int]) -> Gray:
    """Return a mask, uint8 H×W, at another size, by Pillow as the authors do: others take other pixels at ties."""
    if mask.shape == hw:
        return mask
    resized = Image.fromarray(mask).resize((hw[1], hw[0]), Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=np.uint8)


def localize(mask: Gray, truth: Gray) -> Localization:
    """Compare a predicted mask, uint8 of any size, with the true one, uint8 H×W; both 0–255.

    Raises:
        ValueError: a mask without pixels.
    """
    if not mask.size or not truth.size:
        raise ValueError(f"a mask without pixels: {mask.shape}, {truth.shape}")
    counts = _histogram(resize_nearest(mask, (truth.shape[0], truth.shape[1])), truth)
    above = counts[:, ALTERED_ABOVE + 1 :].sum(axis=1)
    return Localization(int(above[1]), int(above.sum()), int(counts[1].sum()), truth.size, _auc(counts))


def _histogram(mask: Gray, truth: Gray) -> npt.NDArray[np.int64]:
    """Count the 256 values apart for unaltered (0) and altered (1) pixels: int64 2×256; all else follows from it."""
    inside = np.bincount(mask[truth > ALTERED_ABOVE], minlength=256)
    return np.stack([np.bincount(mask.ravel(), minlength=256) - inside, inside]).astype(np.int64)


def _auc(counts: npt.NDArray[np.int64]) -> float | None:
    negative, positive = counts.astype(np.float64)
    pairs = negative.sum() * positive.sum()
    if not pairs:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
