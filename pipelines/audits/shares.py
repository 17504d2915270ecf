"""Shares with intervals, where what is counted comes in groups: several texts by one person, of one face."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

_Z = 1.959964  # of a 95 % interval
_NOTHING = 1e-20  # a variance that is but the error of rounding


class Share(NamedTuple):
    """A share, 0–1, and its 95 % interval."""

    value: float
    low: float
    high: float


def grouped_share(hits: Sequence[float] | Any, of: Sequence[float] | Any, groups: Sequence[str] | Any) -> Share:
    """Return the share sum(hits) / sum(of), and Wilson's interval for as many independent cases as it is worth.

    The variance is that of a ratio over whole groups (Cochran, *Sampling Techniques*, 1977, 6.13), so that cases of one
    group count as no more than they tell; Wilson's interval (JASA 1927) is then that of the number of independent cases
    that have this variance, fewer where few groups tell it (Korn and Graubard, *Survey Methodology* 24, 1998). That is
    at most the number of cases; and that of the groups where these do not differ, or where there is but one.

    Args:
        hits: for each of N things, how many of its cases hit.
        of: for each, how many cases it has.
        groups: a name for each of N things.

    Raises:
        ValueError: there is no case.
    """
    _, place = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    hit, cases = (np.bincount(place, weights=np.asarray(column, np.float64)) for column in (hits, of))
    total = float(cases.sum())
    if total <= 0:
        raise ValueError("a share of nothing")
    value = float(hit.sum() / total)
    return Share(value, *_wilson(value, _independent(hit - value * cases, total, value)))


def _independent(residuals: npt.NDArray[np.float64], total: float, value: float) -> float:
    count = len(residuals)
    variance = count / max(count - 1, 1) * float(np.square(residuals).sum()) / total**2
    if count < 2 or variance < _NOTHING:
        return float(count)
    fewness = (_Z / float(stdtrit(count - 1, 0.975))) ** 2
    return max(fewness * min(value * (1 - value) / variance, total), 1.0)


def _wilson(value: float, count: float) -> tuple[float, float]:
    middle = value + _Z**2 / (2 * count)
    spread = _Z * np.sqrt(value * (1 - value) / count + _Z**2 / (4 * count**2))
    ends = (middle + sign * spread for sign in (-1, 1))
    low, high = (float(np.clip(end / (1 + _Z**2 / count), 0, 1)) for end in ends)
    return (0.0 if value == 0 else low), (1.0 if value == 1 else high)  # but for rounding, so it is
