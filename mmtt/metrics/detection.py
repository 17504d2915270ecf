"""Detection: how well verdicts tell forged from pristine faces.

AUC is the share of pairs, one forged and one pristine, in which the forged has the higher probability; ties count half
(Mann and Whitney, 1947). With weights a pair counts as often as the product of both.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def auc(scores: Floats, forged: npt.NDArray[np.bool_], weights: Floats | None = None) -> Floats:
    """Return the AUC for each row of weights, float64 D; NaN where a class has no weight.

    Args:
        scores: verdicts, float64 N; infinite ones are allowed.
        forged: bool N.
        weights: float64 D×N, not negative; by default one row of ones.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    positive = np.add.reduceat(weights[:, order] * forged[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~forged[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore"):
        found: Floats = (positive * (below + negative / 2)).sum(axis=1) / pairs
    return found
