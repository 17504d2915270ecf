"""Bootstrap: how far a number might lie from what other records would have given.

Percentile intervals over resampled units (Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13).
Units that are alike are counted, not listed: drawing how often each kind appears is the same as drawing units one by
one, and much faster.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# From how often each kind of unit appears, float64 draws×kinds, a number for each draw; NaN where it is undefined.
Statistic = Callable[[Floats], Floats]

_PERCENTILES = (2.5, 97.5)
_CHUNK = 200  # draws at once: bounds memory


def value(statistic: Statistic, kinds: Floats) -> float | None:
    """Return the number that the units themselves give, of which there are `kinds` of each kind; None if undefined."""
    if not kinds.size:
        return None
    found = float(statistic(kinds[None])[0])
    return found if np.isfinite(found) else None


def interval(
    statistic: Statistic, kinds: Floats, rng: np.random.Generator, draws: int
) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of `value`; both None where there is no saying.

    That is: undefined in so many draws that the outer 5 % cannot be told; or the same in all draws, as for a single
    unit, or where all agree: what the data never show, no draw will.
    """
    drawn = np.concatenate([statistic(weights) for weights in _resampled(kinds, rng, draws)])
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < 0.95 * draws:
        return None, None
    low, high = np.percentile(defined, _PERCENTILES)
    return (float(low), float(high)) if low < high else (None, None)


def _resampled(kinds: Floats, rng: np.random.Generator, draws: int) -> Iterator[Floats]:
    total = int(kinds.sum())
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        yield rng.multinomial(total, kinds / total, size=size).astype(np.float64)
