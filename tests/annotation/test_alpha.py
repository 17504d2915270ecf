"""Alpha against published examples, another implementation, its own definition, and what must hold for any ratings."""

from itertools import combinations, permutations

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.agreement import bootstrap
from annotation.agreement.alpha import alpha, contributions, estimate, jaccard, masi, nominal, ordinal

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), examples A to D. A row is a rater, a dot a gap.
BINARY = ["0100000010", "1110010000"]
NAMES = ["aabbdcccedda", "babbbccceddd"]
FOUR_RATERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]

SETS = (jaccard, masi)
choices = st.frozensets(st.sampled_from("abcdef"))
ratings = st.lists(st.lists(st.none() | st.integers(1, 5), max_size=5), max_size=20)
set_ratings = st.lists(st.lists(st.none() | choices, max_size=4), max_size=12)
any_case = st.one_of(
    st.tuples(ratings, st.sampled_from([nominal, ordinal])), st.tuples(set_ratings, st.sampled_from(SETS))
)


def by_unit(raters):
    return [[None if mark == "." else mark for mark in unit] for unit in zip(*raters, strict=True)]


def between(distance, a, b):
    return float(distance([a, b], np.ones(2))[0, 1])


def pairable(units):
    found = [[v for v in unit if v is not None] for unit in units]
    return [unit for unit in found if len(unit) >= 2]


def defined_alpha(units, distance):
    """The definition, pair by pair."""
    units = pairable(units)
    pooled = [v for unit in units for v in unit]
    n = len(pooled)
    expected = sum(distance(a, b) for a, b in permutations(pooled, 2)) / (n * (n - 1)) if n else 0
    observed = sum(2 * distance(a, b) / (len(u) - 1) for u in units for a, b in combinations(u, 2)) / max(n, 1)
    return 1 - observed / expected if expected else None


def other_alpha(units, level):
    domain = [1, 2, 3, 4, 5]
    counts = [[unit.count(value) for value in domain] for unit in units]
    return krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level)


@pytest.mark.parametrize(
    ("raters", "distance", "published"),
    [(BINARY, nominal, 0.095), (NAMES, nominal, 0.692), (FOUR_RATERS, nominal, 0.743), (FOUR_RATERS, ordinal, 0.815)],
)
def test_alpha_is_the_published_one(raters, distance, published):
    assert alpha(by_unit(raters), distance) == pytest.approx(published, abs=5e-4)


@settings(max_examples=150, deadline=None)
@given(ratings, st.sampled_from([(nominal, "nominal"), (ordinal, "ordinal")]))
def test_alpha_is_that_of_the_krippendorff_package(units, pair):
    distance, level = pair
    found = alpha(units, distance)
    pooled = {v for unit in pairable(units) for v in unit}
    assert (found is None) == (len(pooled) < 2)
    if found is not None:
        assert found == pytest.approx(other_alpha(units, level), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(set_ratings, st.sampled_from(SETS))
def test_alpha_of_sets_is_that_of_the_krippendorff_package(units, distance):
    domain = sorted({v for unit in units for v in unit if v is not None}, key=sorted)
    table = np.array([[between(distance, a, b) for b in domain] for a in domain])

    def metric(_v1, _v2, *, i1, i2, **_):
        return table[i1, i2]

    found = alpha(units, distance)
    if found is not None:
        counts = [[unit.count(value) for value in domain] for unit in units]
        assert found == pytest.approx(krippendorff.alpha(value_counts=counts, level_of_measurement=metric), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(set_ratings, st.sampled_from(SETS))
def test_alpha_follows_the_definition(units, distance):
    assert alpha(units, distance) == pytest.approx(defined_alpha(units, lambda a, b: between(distance, a, b)), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(any_case, st.randoms())
def test_alpha_does_not_depend_on_the_order_of_units_or_raters(case, random):
    units, distance = case
    shuffled = [random.sample(unit, len(unit)) for unit in random.sample(units, len(units))]
    assert alpha(shuffled, distance) == pytest.approx(alpha(units, distance), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(ratings, st.permutations("vwxyz"))
def test_nominal_alpha_does_not_depend_on_what_values_are_called(units, names):
    called = [[None if v is None else names[v - 1] for v in unit] for unit in units]
    assert alpha(called, nominal) == pytest.approx(alpha(units, nominal), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(ratings)
def test_ordinal_alpha_depends_on_order_alone(units):
    stretched = [[None if v is None else 10**v for v in unit] for unit in units]
    assert alpha(stretched, ordinal) == pytest.approx(alpha(units, ordinal), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(any_case)
def test_alpha_is_at_most_one_and_never_nan(case):
    found = alpha(*case)
    assert found is None or found <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(choices, min_size=2, max_size=10), st.integers(2, 4), st.sampled_from([nominal, *SETS]))
def test_identical_ratings_agree_perfectly(values, raters, distance):
    expected = 1 if len(set(values)) > 1 else None
    assert alpha([[value] * raters for value in values], distance) == expected


@pytest.mark.parametrize(
    ("a", "b", "of_jaccard", "of_masi"),
    [
        ("", "", 0, 0),
        ("", "a", 1, 1),
        ("a", "b", 1, 1),
        ("ab", "ab", 0, 0),
        ("a", "ab", 1 / 2, 1 - 1 / 2 * 2 / 3),
        ("abc", "bcd", 1 / 2, 1 - 2 / 4 * 1 / 3),
    ],
)
def test_distances_between_sets(a, b, of_jaccard, of_masi):
    a, b = frozenset(a), frozenset(b)
    assert between(jaccard, a, b) == pytest.approx(of_jaccard)
    assert between(masi, a, b) == pytest.approx(of_masi)


@settings(max_examples=200, deadline=None)
@given(choices, choices)
def test_masi_is_a_symmetric_distance_that_is_never_less_than_jaccard(a, b):
    found = between(masi, a, b)
    assert between(jaccard, a, b) <= found <= 1
    assert found == between(masi, b, a)
    assert (found == 0) == (a == b)


def test_a_matrix_of_many_sets_is_that_of_each_two():
    rng = np.random.default_rng(0)
    many = list({frozenset(np.flatnonzero(row).tolist()) for row in rng.random((600, 12)) < 0.4})
    found = masi(many, np.ones(len(many)))
    assert len(many) > 300
    for i, j in rng.integers(len(many), size=(200, 2)):
        assert found[i, j] == pytest.approx(between(masi, many[i], many[j]))


@pytest.mark.parametrize(
    ("units", "rated", "pairs", "ratings", "prevalence"),
    [
        ([], 0, 0, 0, None),
        ([[None], []], 0, 0, 0, None),
        ([[True], [False], [True], [True]], 0, 0, 4, 0.75),  # one rater, or no overlap
        ([[True, True], [True, True, True], [None, True]], 2, 4, 6, 1.0),  # one-sided
        ([[False, False]] * 3, 3, 3, 6, 0.0),
    ],
)
def test_where_there_is_no_alpha_it_is_said_what_there_is(units, rated, pairs, ratings, prevalence):
    found = estimate(units, nominal, np.random.default_rng(0), 50, of=True)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert (found.units, found.pairs, found.ratings, found.prevalence) == (rated, pairs, ratings, prevalence)


def test_prevalence_is_that_of_the_commonest_value_where_none_is_named():
    assert estimate([["a", "a"], ["b", "c"]], nominal, np.random.default_rng(0), 50).prevalence == 0.5


def test_the_mean_contribution_is_alpha():
    rng = np.random.default_rng(3)
    units = [
        [frozenset(rng.choice(list("abcd"), rng.integers(0, 4), replace=False)) for _ in range(n)] for n in range(5)
    ] * 6
    found = contributions(units, masi)
    told = [(one, len(unit)) for one, unit in zip(found, units, strict=True) if one is not None]
    assert [one is None for one in found] == [len(unit) < 2 for unit in units]
    assert sum(one * n for one, n in told) / sum(n for _, n in told) == pytest.approx(alpha(units, masi))


def test_contributions_are_high_where_a_unit_agrees():
    assert contributions([[1, 1], [1, 2], [2, 2], [1]], nominal) == pytest.approx([1, 1 - 1 / 0.6, 1, None])
    assert contributions([[1, 1], [1, 1]], nominal) == [None, None]
    assert contributions([[1], []], nominal) == [None, None]


@pytest.mark.parametrize("distance", [nominal, ordinal])
def test_the_interval_is_that_of_units_drawn_one_by_one(distance):
    rng = np.random.default_rng(5)
    truth = rng.integers(1, 6, 40)
    units = [[int(t) if rng.random() < 0.6 else int(rng.integers(1, 6)) for _ in range(3)] for t in truth]
    found = estimate(units, distance, np.random.default_rng(1), 3000)
    drawn = [alpha([units[i] for i in rng.integers(40, size=40)], distance) for _ in range(3000)]
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.03)
    assert found.low < found.value < found.high


def test_the_interval_depends_on_the_generator_alone():
    units = [[1, 1], [1, 2], [2, 2], [3, 3], [3, 1]] * 4
    first, again, other = (estimate(units, ordinal, np.random.default_rng(seed), 300) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value and first.low != other.low


@pytest.mark.parametrize(
    "units",
    [
        [[1, 2]],  # one unit
        [[1, 1], [2, 2]] * 10,  # twenty times alike is no proof of never apart
        [[1, 1]] * 99 + [[1, 2]],  # a single event: a third of the draws lack it
    ],
)
def test_no_interval_where_the_data_cannot_tell(units):
    found = estimate(units, nominal, np.random.default_rng(0), 500)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Two raters who report the same coin with probability 0.6, and else each their own: alpha is 0.6."""
    rng, covered = np.random.default_rng(7), 0
    for _ in range(200):
        shared, own = rng.integers(2, size=(100, 1)), rng.integers(2, size=(100, 2))
        found = estimate(np.where(rng.random((100, 1)) < 0.6, shared, own).tolist(), nominal, rng, 400)
        covered += found.low <= 0.6 <= found.high
    assert 180 <= covered <= 199


def test_draws_in_chunks_are_all_there(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK", 7)
    drawn = list(bootstrap._resampled(np.array([3.0, 4.0]), np.random.default_rng(0), 17))
    assert [len(chunk) for chunk in drawn] == [7, 7, 3]
    assert all((chunk.sum(axis=1) == 7).all() for chunk in drawn)
