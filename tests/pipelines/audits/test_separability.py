"""The classifier learns nothing from a person, a distance counts people, and no cell sees the forgery."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from mmtt import images
from mmtt.evidence import Pixels
from pipelines.audits.shortcuts.answers import beside_chance, by_classifier, by_shift
from pipelines.audits.shortcuts.outside import gathered, names, shared_cells
from pipelines.audits.shortcuts.separability import Separation, alone, enough, importances, separate
from pipelines.audits.shortcuts.shifts import shift
from pipelines.audits.shortcuts.traces import outside_traces
from tests.factories import make_forged_record


def _table(count: int = 240, **columns) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    rng = np.random.default_rng(3)
    labels = np.arange(count) % 2 == 0
    return pd.DataFrame({"noise": rng.normal(size=count)} | columns), labels, [f"g{n // 2}" for n in range(count)]


def test_a_column_that_tells_is_found_and_named():
    features, labels, groups = _table()
    features["telling"] = np.where(labels, 1.0, 0.0) + np.random.default_rng(4).normal(0, 0.3, len(labels))
    found = separate(features, labels, groups, seed=0, level=0.95)
    assert found.low > 0.95 and found.scores.corr(features["telling"]) > 0.9
    assert next(iter(importances(features, labels, groups, seed=0))) == "telling"
    assert next(iter(alone(features, labels))) == "telling"


def test_what_only_tells_people_apart_tells_nothing():
    """Six rows of each person, all of one class: folds that cut through people reach an AUC above 0.9."""
    people = np.repeat(np.random.default_rng(5).normal(size=60), 6)
    labels = np.repeat(np.arange(60) % 2 == 0, 6)
    groups = [f"person {number // 6}" for number in range(360)]
    found = separate(pd.DataFrame({"person": people}), labels, groups, seed=0, level=0.95)
    assert found.low < 0.55
    lone = [str(number) for number in range(360)]
    assert separate(pd.DataFrame({"person": people}), labels, lone, seed=0, level=0.95).low > 0.85


@pytest.mark.parametrize("values", [np.full(240, 7.0), np.arange(240.0)], ids=["one value", "a value each"])
def test_a_gap_in_a_column_tells_nothing(values):
    features, labels, groups = _table(240, gap=np.where(np.arange(240) % 2 == 0, np.nan, values))
    assert separate(features[["gap"]], labels, groups, seed=0, level=0.95).low <= 0.5
    assert "gap" not in alone(features, labels)


def _numbers(noise: np.ndarray, forged: np.ndarray) -> pd.DataFrame:
    groups = [f"g{n // 2}" for n in range(len(forged))]
    family = np.where(forged, "recolour", None)
    names = [f"{n:03d}" for n in range(len(forged))]
    return pd.DataFrame({"noise": noise, "manipulation": family, "component": groups, "record_id": names})


@pytest.mark.parametrize("seed", range(6))
def test_a_sentence_beside_chance_fits_a_pass_and_a_doubt(seed):
    """Both verdicts may come of an interval that holds 0.5, and of one below it nothing but chance is told."""
    rng = np.random.default_rng(seed)
    rows = _numbers(rng.normal(size=60), rng.permutation(60) % 2 == 0)
    trained = by_classifier(rows, lambda one, _: one.rows[["noise"]], "Numbers", seed=seed)
    told = f"{trained.statistic:.0%} of all pairs of recolour and pristine rows in the right order"
    assert told in trained.sentence.replace("forged", "recolour")
    if trained.low <= 0.5:
        assert ("fewer than by chance" if trained.high < 0.5 else "which may be chance.") in trained.sentence
    shifted = by_shift(rows, lambda one, _: one.rows[["noise"]], "Numbers", seed=seed)
    assert f"differs by {100 * shifted.statistic:.0f} percentage points" in shifted.sentence
    assert ("which may be chance" in shifted.sentence) == (shifted.low == 0)


def test_an_auc_that_lies_below_a_coins_says_so():
    seen = Separation(0.33, 0.24, 0.43, pd.Series(dtype=float))
    assert "fewer than by chance" in beside_chance(seen)
    assert beside_chance(replace(seen, high=0.6)) == "which may be chance"


def test_shares_of_classes_do_not_order_the_scores():
    """A class of one in eight, with features of nothing: pooled scores would otherwise fall well below one half."""
    rng = np.random.default_rng(6)
    labels = np.arange(320) % 8 == 0
    features = pd.DataFrame(rng.integers(0, 2, (320, 3)).astype(float))
    found = separate(features, labels, [str(n) for n in range(320)], seed=0, level=0.95)
    assert found.low < 0.5 < found.high


def test_any_seed_that_a_recipe_may_name_is_taken():
    features, labels, groups = _table(80)
    assert separate(features, labels, groups, seed=2**63 - 1, level=0.95).low < 0.5


@pytest.mark.parametrize(("rows", "people", "is_enough"), [(19, 19, False), (40, 9, False), (40, 10, True)])
def test_few_rows_or_few_people_are_not_enough(rows, people, is_enough):
    labels = np.repeat([False, True], rows)
    assert enough(labels, [str(number % people) for number in range(2 * rows)]) is is_enough


def test_copies_of_a_few_people_are_no_evidence_of_a_shift():
    rng = np.random.default_rng(7)
    traces = pd.DataFrame({"trace": np.concatenate([rng.normal(0, 1, 200), rng.normal(1, 1, 200)])})
    labels = np.repeat([False, True], 200)
    many = shift(traces, labels, [str(number) for number in range(400)], level=0.95)
    few = shift(traces, labels, [str(number % 10) for number in range(400)], level=0.95)
    assert many.value == few.value and many.low > 0.15 and few.low == 0


def test_no_cell_that_counts_sees_the_forgery_or_4_px_around_it():
    record = make_forged_record(1, 128)
    pixels = Pixels(record)
    near = cv2.dilate(pixels.mask, np.ones((9, 9), np.uint8)) > 0
    spoilt = pixels.image.copy()
    spoilt[near] = np.random.default_rng(0).integers(0, 256, (np.count_nonzero(near), 3))
    other = Pixels(replace(record, image=images.encode_png(spoilt)))
    rows = pd.DataFrame([outside_traces(pixels), outside_traces(other)])
    free = shared_cells(rows, np.array([True, False]), np.random.default_rng(0))
    assert 20 < free[0].sum() < 64
    for name in names(rows):
        first, second = gathered(rows, name)
        np.testing.assert_allclose(first[free[0]], second[free[0]], atol=1e-5)
    assert not np.allclose(gathered(rows, "noise")[0], gathered(rows, "noise")[1])


def test_the_order_of_rows_decides_nothing():
    """Another cut into shards puts them in another order."""
    features, labels, groups = _table(160)
    features["telling"] = labels + np.random.default_rng(8).normal(0, 1, 160)
    families = np.where(labels, np.where(np.arange(160) % 3 == 0, "face_swap", "recolour"), None)
    rows = features.assign(record_id=[f"{n:03}" for n in range(160)], component=groups, manipulation=families)

    def build(contrast, _):
        return contrast.rows[["noise", "telling"]]

    shuffled = rows.sample(frac=1, random_state=1)
    found, other = (by_classifier(some, build, "Numbers", seed=0) for some in (rows, shuffled))
    assert found == other and found.low > 0.5
