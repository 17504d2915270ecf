"""Shares: how sure one may be of a share of cases that come in groups."""

import numpy as np
import pytest

from pipelines.audits.shares import grouped_share


def names(count):
    return [str(number) for number in range(count)]


def test_cases_of_their_own_have_the_interval_of_wilson():
    found = grouped_share([1] * 20 + [0] * 80, [1] * 100, names(100))
    assert (found.low, found.high) == pytest.approx((0.1334, 0.2888), abs=0.003)


@pytest.mark.parametrize(("hits", "of"), [(15, 22), (13, 23), (1, 2)])
def test_one_group_is_one_case_however_the_share_rounds(hits, of):
    found = grouped_share([hits], [of], ["one"])
    assert found.low < 0.1 and found.high > 0.9


def test_all_groups_alike_count_once_each():
    assert grouped_share([5] * 10, [5] * 10, names(10)) == grouped_share([1] * 10, [1] * 10, names(10))


@pytest.mark.parametrize("groups", [2, 3, 5, 20])
def test_the_interval_covers_the_truth_however_few_groups_there_are(groups):
    """Twenty cases a group, whose own shares scatter around 0.3 (beta, intraclass correlation 0.3)."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        own = rng.beta(0.3 * 7 / 3, 0.7 * 7 / 3, groups)
        found = grouped_share(rng.binomial(20, own), np.full(groups, 20), names(groups))
        covered += found.low <= 0.3 <= found.high
    assert covered > 0.92 * 300


@pytest.mark.parametrize("count", [7, 1200])
def test_none_and_all_have_an_interval_that_ends_there(count):
    assert grouped_share([0] * count, [1] * count, names(count)).low == 0
    assert grouped_share([1] * count, [1] * count, names(count)).high == 1
