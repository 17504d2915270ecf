"""Krippendorff's alpha: agreement beyond chance, for any number of raters, any values, and gaps.

α = 1 − D_o / D_e: the disagreement within units over that between any two ratings (K. Krippendorff, *Computing
Krippendorff's Alpha-Reliability*, 2011; *Content Analysis*, 4th edition 2018, chapter 12). 1 is perfect, 0 is chance,
below 0 is worse. A distance here stands where Krippendorff writes δ²: it is used as it is, never squared.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .bootstrap import Floats, interval, value

Unit = Sequence[Hashable | None]  # what each rater said of one thing; None: said nothing
# From V values, and how often each was given (float64 …×V): the distances between them, float64 V×V, or …×V×V where
# they depend on the counts. Symmetric, 0 on the diagonal.
Distance = Callable[[Sequence[Any], Floats], Floats]

Ints = npt.NDArray[np.int64]
_ROWS = 256  # of a matrix between sets, at once: bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An alpha, and what it rests on.

    Attributes:
        value: None where nothing was rated twice, or all ratings are the same.
        low, high: ends of the 95 % bootstrap interval, by unit; None where the data cannot say.
        units: how many things were rated twice or more. pairs: of ratings of one thing.
        ratings: all of them, those without a counterpart too.
        prevalence: the share, in `ratings`, of the value in question, or else of the commonest one. Near 0 or 1 the
            data are one-sided, and a low alpha may mean nothing else.
    """

    value: float | None
    low: float | None
    high: float | None
    units: int
    pairs: int
    ratings: int
    prevalence: float | None


def nominal(values: Sequence[Any], _counts: Floats) -> Floats:
    """Return 1 between values that differ."""
    return 1 - np.eye(len(values))


def ordinal(values: Sequence[Any], counts: Floats) -> Floats:
    """Return the squared difference of mid-ranks, for values in an order.

    Krippendorff writes (Σ n_g, g from c to k, − (n_c + n_k) / 2)², which is the same.
    """
    order = np.argsort(np.asarray(values))
    ranks = np.empty_like(counts)
    ranks[..., order] = np.cumsum(counts[..., order], axis=-1) - counts[..., order] / 2
    return np.asarray((ranks[..., :, None] - ranks[..., None, :]) ** 2)


def jaccard(values: Sequence[frozenset[Any]], _counts: Floats) -> Floats:
    """Return 1 − |A∩B| / |A∪B| (P. Jaccard, 1901); 0 between two empty sets."""
    return _between_sets(values, lambda shared, _smaller, union: _similarity(shared, union))


def masi(values: Sequence[frozenset[Any]], _counts: Floats) -> Floats:
    """Return the MASI distance: 1 − |A∩B| / |A∪B| · m; 0 between two empty sets.

    m is 1 for equal sets, 2/3 where one holds the other, 1/3 where they overlap, else 0 (R. Passonneau, *Measuring
    Agreement on Set-valued Items (MASI) for Semantic and Pragmatic Annotation*, LREC 2006).
    """

    def similarity(shared: Floats, smaller: Floats, union: Floats) -> Floats:
        monotonicity = np.select([shared == union, shared == smaller, shared > 0], [1, 2 / 3, 1 / 3], 0)
        return np.asarray(_similarity(shared, union) * monotonicity)

    return _between_sets(values, similarity)


def _similarity(shared: Floats, union: Floats) -> Floats:
    return np.asarray(np.divide(shared, union, out=np.ones_like(union), where=union > 0))


def _between_sets(values: Sequence[frozenset[Any]], similarity: Callable[[Floats, Floats, Floats], Floats]) -> Floats:
    """Return 1 − similarity, V×V, from the sizes of two sets' intersection, of the smaller one, and of their union."""
    column = {member: number for number, member in enumerate(set(chain(*values)))}
    members = np.zeros((len(values), len(column)))
    for row, held in zip(members, values, strict=True):
        row[[column[member] for member in held]] = 1
    size = members.sum(axis=1)
    distances = np.empty((len(values), len(values)))
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        shared, sizes = members[rows] @ members.T, size[rows, None]
        distances[rows] = 1 - similarity(shared, np.minimum(sizes, size), sizes + size - shared)
    return distances


def alpha(units: Iterable[Unit], distance: Distance) -> float | None:
    """Return Krippendorff's alpha, at most 1; None where no unit was rated twice, or all ratings are the same.

    Memory: a V×V matrix of float64, for V different values.
    """
    ratings = _ratings(units)
    return value(lambda weights: _alphas(ratings, distance, weights), ratings.units)


def estimate(
    units: Iterable[Unit],
    distance: Distance,
    rng: np.random.Generator,
    draws: int,
    of: Hashable | None = None,
) -> Estimate:
    """Return alpha with its interval and what it rests on; `of` is the value whose prevalence is told."""
    units = list(units)
    ratings, given = _ratings(units), Counter(rating for unit in units for rating in unit if rating is not None)

    def alphas(weights: Floats) -> Floats:
        return _alphas(ratings, distance, weights)

    found = value(alphas, ratings.units)
    low, high = (None, None) if found is None else interval(alphas, ratings.units, rng, draws)
    told = given[of] if of is not None else max(given.values(), default=0)
    return Estimate(
        value=found,
        low=low,
        high=high,
        units=int(ratings.units.sum()),
        pairs=int(ratings.units[ratings.pair_kind].sum()),
        ratings=given.total(),
        prevalence=told / given.total() if given else None,
    )


def contributions(units: Iterable[Unit], distance: Distance) -> list[float | None]:
    """Return how each unit agrees: 1 − the mean distance of its pairs over D_e, at most 1.

    Their mean, weighted by the ratings of each unit, is alpha. None for a unit without pairs, for all where alpha is.
    """
    ratings = _ratings(units)
    if not ratings.units.size:
        return [None] * len(ratings.given)
    counts = _counts(ratings, ratings.units[None])
    distances = distance(ratings.values, counts[0])
    total, expected = counts.sum(), _expected(counts, distances)[0]
    if expected == 0:
        return [None] * len(ratings.given)
    apart = ratings.share * distances[ratings.first, ratings.second]
    means = np.bincount(ratings.pair_kind, weights=apart) / np.bincount(ratings.kind)
    agreeing = 1 - means * total * (total - 1) / expected
    by_kind = dict(zip(ratings.kinds, agreeing.tolist(), strict=True))
    return [by_kind.get(unit) for unit in ratings.given]


class _Ratings(NamedTuple):
    """Units as numbers. Units with the same ratings, in any order, are one of K kinds; those without pairs are none."""

    given: list[tuple[int, ...]]  # the values of each unit, sorted
    kinds: list[tuple[int, ...]]  # K of these
    values: list[Any]  # V of them: what the numbers stand for
    units: Floats  # K: how many units are of each kind
    kind: Ints  # R: the kind of each rating, and its value
    value: Ints
    pair_kind: Ints  # P: the kind of each unordered pair, and its two values
    first: Ints
    second: Ints
    share: Floats  # P: 2 / (m − 1), what a pair of a unit with m ratings counts in the coincidences


def _ratings(units: Iterable[Unit]) -> _Ratings:
    number: dict[Hashable, int] = {}
    given = [tuple(sorted(number.setdefault(v, len(number)) for v in unit if v is not None)) for unit in units]
    kinds = Counter(unit for unit in given if len(unit) >= 2)
    kind, value = _columns(2, [(k, v) for k, unit in enumerate(kinds) for v in unit])
    pairs = [(k, a, b, len(unit)) for k, unit in enumerate(kinds) for a, b in combinations(unit, 2)]
    pair_kind, first, second, ratings = _columns(4, pairs)
    counted = np.array(list(kinds.values()), dtype=np.float64)
    share = 2 / (ratings - 1)
    return _Ratings(given, list(kinds), list(number), counted, kind, value, pair_kind, first, second, share)


def _columns(width: int, rows: Sequence[tuple[int, ...]]) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, width).T


def _alphas(ratings: _Ratings, distance: Distance, weights: Floats) -> Floats:
    """Return alpha for each row of `weights`, B×K: how many units there are of each kind. NaN where D_e is 0."""
    counts = _counts(ratings, weights)
    distances = distance(ratings.values, counts)
    apart = ratings.share * distances[..., ratings.first, ratings.second]
    observed = (weights[:, ratings.pair_kind] * apart).sum(axis=1)
    expected = _expected(counts, distances)
    # D_o is observed / n and D_e expected / n(n − 1).
    ratio = np.divide(observed, expected, out=np.full_like(observed, np.nan), where=expected > 0)
    return np.asarray(1 - (counts.sum(axis=1) - 1) * ratio)


def _counts(ratings: _Ratings, weights: Floats) -> Floats:
    """Return how often each value was given, B×V."""
    draws, values = len(weights), len(ratings.values)
    cells = np.arange(draws)[:, None] * values + ratings.value
    counted = np.bincount(cells.ravel(), weights[:, ratings.kind].ravel(), minlength=draws * values)
    return counted.astype(np.float64, copy=False).reshape(draws, values)


def _expected(counts: Floats, distances: Floats) -> Floats:
    """Return Σ n_c n_k δ²_ck over all c and k, for each row of counts."""
    # einsum would do both, but without BLAS: far slower for thousands of values.
    mixed = counts @ distances if distances.ndim == 2 else np.einsum("bv,bvw->bw", counts, distances)
    return np.asarray((mixed * counts).sum(axis=1))
