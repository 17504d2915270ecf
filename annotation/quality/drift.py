"""Drift: whether an annotator's work changes, by an exponentially weighted moving average (Roberts 1959).

The first answers are the baseline. Limits take into account that mean and spread of a baseline are estimates.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..answers import Answer
from .finding import Case, Found, by_annotator
from .regions import agreement, claimed_of, precision_of, words_of
from .time import Spell, spells

_BASELINE = 30  # answers
# A steady annotator's first thirty answers may all be the same: no spread is taken to be smaller than this.
_SPREAD = {"dwell": 0.15, "length": 0.15, "grounding": 0.2, "choices": 0.2}
_EITHER_WAY = ("length",)  # the others are faults only when they fall


def drift(case: Case) -> Iterator[Found]:
    """Say whose latest answers are faster, shorter or longer, or fit worse than their first ones."""
    times = spells(case.answers)
    for answers in by_annotator(case.standing).values():
        for language in sorted({answer.language for answer in answers}):
            own = [answer for answer in answers if answer.language == language]
            for name, series in _series(own, times).items():
                sigmas = drifted(series, case.quality.drift_lambda, _SPREAD[name])
                if (abs(sigmas) if name in _EITHER_WAY else -sigmas) > case.quality.drift_sigmas:
                    yield Found(own[-1], f"{name} has moved by {sigmas:+.1f} sigma", sigmas, whole=True)


def _series(answers: Sequence[Answer], times: Mapping[str, Spell]) -> dict[str, list[float]]:
    """What is watched, of each answer where it is known; times and lengths as logarithms."""
    dwells = [times[answer.uid].dwell for answer in answers]
    precisions = [precision_of(answer) for answer in answers]
    return {
        "dwell": [math.log1p(spent) for spent in dwells if spent is not None],
        "length": [math.log1p(len(words_of(answer))) for answer in answers],
        "grounding": [value for value in precisions if value is not None],
        "choices": [agreement(claimed_of(answer), frozenset(answer.regions)) for answer in answers],
    }


def drifted(series: Sequence[float], weight: float, least_spread: float) -> float:
    """Return by how many sigmas the moving average lies beside the baseline's mean; 0 while there is only that.

    Args:
        series: values, the oldest first.
        weight: of the newest value, in (0, 1].
        least_spread: what the baseline's standard deviation is taken to be at least.
    """
    baseline, later = np.asarray(series[:_BASELINE]), series[_BASELINE:]
    if not later:
        return 0.0
    mean = average = float(baseline.mean())
    for value in later:
        average += weight * (value - average)
    settled = 1 - (1 - weight) ** (2 * len(later))
    spread = max(float(baseline.std(ddof=1)), least_spread)
    return (average - mean) / (spread * math.sqrt(weight / (2 - weight) * settled + 1 / _BASELINE))
