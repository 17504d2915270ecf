"""Region F1: whether a model names the regions that the reference names.

A word is named from a probability of 0.5 on. Counted over samples that have a reference: per word, true positives,
false positives and false negatives; F1 = 2 TP / (2 TP + FP + FN). Micro F1 takes the sums over all words, macro F1 the
plain mean over the words that at least one reference names.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mmtt.regions import REGIONS

NAMED_FROM = 0.5
Floats = npt.NDArray[np.float64]


def named(probabilities: Mapping[str, float]) -> tuple[str, ...]:
    """Return the words that a model names, in the paper's order."""
    return tuple(word for word in REGIONS if probabilities.get(word, 0.0) >= NAMED_FROM)


def region_counts(predicted: Sequence[Collection[str]], true: Sequence[Collection[str]]) -> Floats:
    """Return true positives, false positives and false negatives of each word in each sample: float64 N×3×21."""
    said, real = _vectors(predicted), _vectors(true)
    return np.stack([said & real, said & ~real, ~said & real], axis=1).astype(np.float64)


def _vectors(words: Sequence[Collection[str]]) -> npt.NDArray[np.bool_]:
    rows = [[word in chosen for word in REGIONS] for chosen in words]
    return np.asarray(rows, dtype=bool).reshape(len(words), len(REGIONS))


def region_f1(counts: Floats) -> Floats:
    """Return F1 of each word from summed counts, float64 …×3×21 → …×21; NaN where no reference names it."""
    hits, false, missed = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    with np.errstate(invalid="ignore"):
        found = 2 * hits / (2 * hits + false + missed)
    return np.where(hits + missed > 0, found, np.nan)


def micro_f1(counts: Floats) -> Floats:
    """Return F1 over all words from summed counts, float64 …×3×21 → …; NaN where nothing was named by anybody."""
    hits, false, missed = (counts[..., kind, :].sum(axis=-1) for kind in range(3))
    with np.errstate(invalid="ignore"):
        found: Floats = 2 * hits / (2 * hits + false + missed)
    return found


def macro_f1(counts: Floats) -> Floats:
    """Return the mean F1 over the words that some reference names, float64 …×3×21 → …; NaN where there is none."""
    each = region_f1(counts)
    with np.errstate(invalid="ignore"):
        found: Floats = np.nansum(each, axis=-1) / np.isfinite(each).sum(axis=-1)
    return found
