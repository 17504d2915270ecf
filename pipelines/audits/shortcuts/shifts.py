"""Shifts: how far the distribution of a trace differs between two classes, without training anything.

The distance is that of Kolmogorov and Smirnov: the largest difference of two cumulative distributions, 0–1. Of several
traces the largest counts. Its interval is the distance plus and minus what chance alone reaches in samples of that
size (Smirnov's limit; Bonferroni over traces), so it holds for every distribution. Components are counted, not rows:
rows of one component may be as good as copies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shift:
    """The largest distance among some traces (`value`), its interval, and the distance of each trace."""

    value: float
    low: float
    high: float
    by_trace: Mapping[str, float]


def shift(traces: pd.DataFrame, labels: Bools, groups: Sequence[str], *, level: float) -> Shift:
    """Return how far traces differ between two classes.

    Args:
        traces: numbers, a row each; no NaN.
        labels: bool N, the class of each row.
        groups: N names of components.
        level: of the interval.
    """
    from scipy.stats import ks_2samp, kstwobign  # here, or every worker that measures would load it

    by_trace = {
        str(name): float(ks_2samp(values[labels], values[~labels], method="asymp").statistic)
        for name, values in traces.items()
    }
    names = np.asarray(groups, dtype=object)
    counts = [len(set(names[side])) for side in (labels, ~labels)]
    reach = float(kstwobign.isf((1 - level) / len(by_trace)) * np.sqrt(sum(1 / count for count in counts)))
    value = max(by_trace.values())
    return Shift(value, max(value - reach, 0.0), min(value + reach, 1.0), by_trace)
