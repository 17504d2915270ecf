"""Bootstrap: how far a score would move, had other groups of people been drawn.

Groups are drawn with replacement, as many as there are, all samples of a group together: samples of one person are no
independent evidence. Every score is computed from sums over groups, so that a draw is a row of counts and nothing is
scored twice. All scores share the same draws; a difference of two is therefore paired. Intervals are the 2.5th and
97.5th percentile (Efron, 1979); they are None where fewer than two groups contribute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 1000
LEVEL = 0.95
_CHUNK = 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score and its interval; None where it has no value."""

    value: float | None
    low: float | None
    high: float | None


class Resampling:
    """Draws of groups, fixed by a seed. Row 0 is no draw, but every group once: the score itself."""

    def __init__(self, groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        """Draw `draws` times from the distinct names in `groups` (one name a sample, N of them)."""
        names, self.of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        count, rng = len(names), np.random.default_rng(seed)
        drawn = (np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(draws))
        rows = [np.ones(count, np.int64), *drawn]
        self.counts = np.stack(rows).astype(np.int32)

    def sums(self, values: Floats, members: npt.NDArray[np.intp]) -> Floats:
        """Return the sums of the members' values in every draw, float64 (1 + draws)×K.

        Args:
            values: float64 M×K, a row for each member.
            members: places of those samples among the N.
        """
        present, inner = np.unique(self.of[members], return_inverse=True)
        by_group = np.stack([np.bincount(inner, column, minlength=len(present)) for column in values.T], axis=1)
        counts = self.counts[:, present]
        return np.concatenate([chunk @ by_group for chunk in _chunks(counts)])

    def weights(self, members: npt.NDArray[np.intp]) -> Iterator[Floats]:
        """Yield how often each member is drawn, float64 (1 + draws)×M, in chunks of draws."""
        return (chunk[:, self.of[members]] for chunk in _chunks(self.counts))

    def groups(self, members: npt.NDArray[np.intp]) -> int:
        """Return how many groups the members belong to."""
        return int(np.count_nonzero(np.bincount(self.of[members])))


def _chunks(counts: npt.NDArray[np.int32]) -> Iterator[Floats]:
    return (counts[start : start + _CHUNK].astype(np.float64) for start in range(0, len(counts), _CHUNK))


def estimate(drawn: Floats, groups: int) -> Estimate:
    """Return the score (row 0) and the interval of its draws (all others); draws without a value are left out."""
    if not np.isfinite(drawn[0]):
        return Estimate(None, None, None)
    finite = drawn[1:][np.isfinite(drawn[1:])]
    if groups < 2 or not len(finite):
        return Estimate(float(drawn[0]), None, None)
    low, high = np.percentile(finite, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Estimate(float(drawn[0]), float(low), float(high))
