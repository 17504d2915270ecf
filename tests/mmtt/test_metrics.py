"""Each score against its definition, written out as slowly as it can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmtt.metrics.aggregate import blocks_of, cell_of, draw, parts_of
from mmtt.metrics.bootstrap import Resampling, estimate
from mmtt.metrics.detection import auc
from mmtt.metrics.localization import localize
from mmtt.metrics.regions import macro_f1, micro_f1, named, region_counts, region_f1
from mmtt.metrics.rows import ScoreRow
from mmtt.metrics.tables import Estimate as Score
from mmtt.metrics.tables import Table, escape_latex, escape_markdown, latex, markdown, number
from mmtt.regions import REGIONS


def as_the_authors_script(mask, truth):
    """IoU, precision, recall of one image as `paper.md` D has them, with Pillow and sets of pixels."""
    height, width = truth.shape
    resized = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    predicted = {place for place in itertools.product(range(height), range(width)) if resized[place] > 127}
    true = {place for place in itertools.product(range(height), range(width)) if truth[place] > 127}
    both, either = len(predicted & true), len(predicted | true)
    if not either:
        return 1.0, 1.0, 1.0
    return both / either, both / len(predicted) if predicted else 0.0, both / len(true) if true else 0.0


def pairs_in_order(high, low):
    """Share of the pairs in which the first is higher; ties half."""
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low)
    return won / (len(high) * len(low))


def random_mask(rng, hw):
    kind = rng.integers(5)
    if kind < 2:
        return np.full(hw, (0, 255)[kind], np.uint8)
    return rng.integers(0, 256, hw, dtype=np.uint8) if kind == 2 else (rng.random(hw) < 0.3).astype(np.uint8) * 255


def test_overlap_is_that_of_the_authors_script_on_random_masks_of_any_size():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        sizes = rng.integers(1, 24, 4)
        mask, truth = random_mask(rng, tuple(sizes[:2])), random_mask(rng, tuple(sizes[2:]))
        found = localize(mask, truth)
        assert (found.iou, found.precision, found.recall) == as_the_authors_script(mask, truth)
        assert found.f1 == pytest.approx(harmonic(found.precision, found.recall))


def harmonic(one, other):
    return 2 * one * other / (one + other) if one + other else 0.0


def test_empty_masks_score_as_the_table_says():
    none, some = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8) * 255
    scores = {}
    for name, mask, truth in (("both", none, none), ("predicted", none, some), ("true", some, none)):
        found = localize(mask, truth)
        scores[name] = (found.iou, found.precision, found.recall, found.f1, found.auc)
    assert scores == {"both": (1, 1, 1, 1, None), "predicted": (0, 0, 0, 0, 0.5), "true": (0, 0, 0, 0, None)}


def test_the_threshold_lies_between_127_and_128():
    found = localize(np.array([[127, 128]], np.uint8), np.array([[128, 127]], np.uint8))
    assert (found.intersection, found.predicted, found.true) == (0, 1, 1)


def test_a_mask_without_pixels_is_refused():
    with pytest.raises(ValueError, match="without pixels"):
        localize(np.zeros((0, 3), np.uint8), np.zeros((2, 2), np.uint8))


def test_pixel_auc_counts_pairs_of_pixels():
    rng = np.random.default_rng(2)
    for _ in range(30):
        mask = rng.choice(np.array([0, 3, 100, 255], np.uint8), (6, 7))
        truth = (rng.random((6, 7)) < 0.4).astype(np.uint8) * 255
        truth[0, :2] = 0, 255
        expected = pairs_in_order(mask[truth > 0].tolist(), mask[truth == 0].tolist())
        assert localize(mask, truth).auc == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20
    )
)
def test_detection_auc_counts_pairs_of_faces_each_as_often_as_it_is_drawn(faces):
    scores, forged, weights = (np.asarray(column) for column in zip(*faces, strict=True))
    drawn = [(s, f) for s, f, w in faces for _ in range(w)]
    high, low = [s for s, f in drawn if f], [s for s, f in drawn if not f]
    found = auc(scores, forged, weights[None].astype(float))
    if high and low:
        assert found[0] == pytest.approx(pairs_in_order(high, low), abs=1e-12)
    else:
        assert np.isnan(found[0])


def naive_f1(predicted, true, words):
    hits = sum(word in p and word in t for p, t in zip(predicted, true, strict=True) for word in words)
    false = sum(word in p and word not in t for p, t in zip(predicted, true, strict=True) for word in words)
    missed = sum(word not in p and word in t for p, t in zip(predicted, true, strict=True) for word in words)
    return 2 * hits / (2 * hits + false + missed) if hits + false + missed else None


SETS = st.lists(st.tuples(*[st.sets(st.sampled_from(REGIONS[:6]), max_size=4)] * 2), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(SETS)
def test_region_f1_is_the_one_that_counting_gives(pairs):
    predicted, true = zip(*pairs, strict=True)
    sums = region_counts(predicted, true).sum(axis=0)
    supported = [word for word in REGIONS if any(word in words for words in true)]
    each = dict(zip(REGIONS, region_f1(sums), strict=True))
    assert {word: each[word] for word in supported} == pytest.approx(
        {word: naive_f1(predicted, true, [word]) for word in supported}
    )
    assert all(np.isnan(each[word]) for word in REGIONS if word not in supported)
    expected = naive_f1(predicted, true, REGIONS)
    assert np.isnan(micro_f1(sums)) if expected is None else micro_f1(sums) == pytest.approx(expected)
    if supported:
        assert macro_f1(sums) == pytest.approx(np.mean([each[word] for word in supported]))
    else:
        assert np.isnan(macro_f1(sums))


def test_a_word_is_named_from_one_half_on_and_in_the_papers_order():
    assert named({"nose": 0.5, "eye": 0.9, "lip": 0.499}) == tuple(w for w in REGIONS if w in ("nose", "eye"))


def test_sums_of_draws_are_those_of_drawing_samples_one_by_one():
    rng = np.random.default_rng(3)
    groups = [f"group {number}" for number in rng.integers(0, 9, 40)]
    values, members = rng.normal(size=(40, 2)), np.flatnonzero(rng.random(40) < 0.6)
    drawn = Resampling(groups, draws=20, seed=5)
    sums = drawn.sums(values[members], members)
    assert sums[0] == pytest.approx(values[members].sum(axis=0))
    for row, counts in enumerate(drawn.counts):
        assert counts.sum() == len(set(groups))
        expected = sum(counts[drawn.of[place]] * values[place] for place in members)
        assert sums[row] == pytest.approx(expected)
    weights = np.concatenate(list(drawn.weights(members)))
    assert weights @ values[members] == pytest.approx(sums)


def test_the_same_seed_draws_the_same_groups_whatever_the_order_of_samples():
    one, other = Resampling(list("abcab"), draws=9, seed=1), Resampling(list("bacba"), draws=9, seed=1)
    assert (one.counts == other.counts).all()
    assert (one.counts != Resampling(list("abcab"), draws=9, seed=2).counts).any()


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(4), 0
    for seed in range(200):
        by_group = rng.normal(size=40)
        values = np.repeat(by_group, 5)[:, None]
        drawn = Resampling([str(n) for n in np.repeat(np.arange(40), 5)], draws=200, seed=seed)
        found = estimate(drawn.sums(values, np.arange(200))[:, 0] / 200, 40)
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_group_alone_has_no_interval_and_no_value_has_none_either():
    assert estimate(np.array([0.4, 0.4, 0.4]), 1) == Score(0.4, None, None)
    assert estimate(np.array([np.nan, 0.4]), 5) == Score(None, None, None)
    assert estimate(np.array([0.5, np.nan, 0.5]), 5) == Score(0.5, 0.5, 0.5)


def test_a_score_that_rests_on_one_group_has_no_interval_whoever_else_is_in_the_part():
    common = {"predictor": "model", "record_id": "", "variant": "master", "manipulator": None, "mask_share": 0.1}
    common |= {"edited": [], "answer": "given", "lacking": []}
    forged = [ScoreRow(**common, group="one", manipulation="swap", iou=iou, union=9) for iou in (0.2, 0.6)]
    faces = [ScoreRow(**common, group=g, manipulation=None, false_alarm=a) for g, a in (("two", 0.0), ("three", 0.5))]
    rows = [*forged, *faces]
    part = next(part for part in parts_of(rows) if part.dimension == "family")
    resampling = Resampling([row.group for row in rows], draws=50)
    cell = cell_of(part, rows, draw(blocks_of(rows), resampling, part.members), resampling)
    assert cell.scores["iou"] == Score(pytest.approx(0.4), None, None)
    assert cell.scores["pooled_iou"] == Score(0.0, None, None)
    assert (cell.scores["false_alarm"].low, cell.scores["false_alarm"].high) == (0.0, 0.5)


def test_deciles_of_the_area_hold_as_many_samples_each_and_equal_shares_together():
    common = {"predictor": "model", "record_id": "", "variant": "master", "manipulation": "swap", "manipulator": None}
    common |= {"edited": [], "answer": "given", "lacking": [], "group": "g"}
    rows = [ScoreRow(**common, mask_share=0.1 * (place / 100) ** 3) for place in range(100)]
    assert [len(part.members) for part in parts_of(rows) if part.dimension == "area"] == [10] * 10
    same = [ScoreRow(**common, mask_share=0.2) for _ in range(30)]
    assert [(part.name, len(part.members)) for part in parts_of(same) if part.dimension == "area"] == [
        ("10: 20.0%–20.0%", 30)
    ]


HOSTILE = r"a_b & 50% $x$ \cmd{y} | <script> [link](http://x) #1 ^~"


def test_names_mean_nothing_to_markdown_and_latex():
    table = Table(HOSTILE, ("", HOSTILE), ((HOSTILE, Score(0.5, 0.25, 0.75)),))
    text = markdown([table])
    assert "<script>" not in text.replace(r"\<script\>", "")
    assert len({line.replace(r"\|", "").count("|") for line in text.splitlines()[2:]}) == 1
    assert "0.500 [0.250, 0.750]" in text
    escaped = escape_latex(HOSTILE)
    assert escaped.count(r"\&") == escaped.count("&") == 1
    assert r"\textbackslash{}cmd\{y\}" in escaped
    assert escape_markdown("a\n|b") == r"a \|b"
    assert latex([table]).count(r"\begin{tabular}{lr}") == 1


def test_what_has_no_value_is_a_dash():
    assert (number(None), number(Score(None, None, None)), number(Score(0.1, None, None))) == ("–", "–", "0.100")
