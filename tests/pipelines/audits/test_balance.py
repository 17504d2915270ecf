"""Audits of balance: a family that one split lacks, and a model that fails on one family."""

from dataclasses import replace
from functools import cache

import pytest

from mmtt.audit import Verdict
from mmtt.errors import UserError
from mmtt.ids import derived_id
from mmtt.metrics.rows import ScoreRow
from mmtt.shards import write_table
from tests.factories import make_forged_record, make_record, stored_dataset
from tests.pipelines.audits.verdicts import outcome

COUNT = 30
FAMILIES = ("recolour", "retouch", "self_blend")


@cache
def pairs():
    return tuple(zip(*((make_record(seed), make_forged_record(seed)) for seed in range(COUNT)), strict=True))


def forgeries(families_of):
    """Return forgeries of each target: one of each family that its number, from which its split follows, gives."""
    _, forged = pairs()
    return [
        replace(record, record_id=derived_id(family, number), manipulation=family)
        for number, record in enumerate(forged)
        for family in families_of(number)
    ]


def dataset(root, families_of=lambda _: FAMILIES):
    return stored_dataset(root, pairs()[0], forgeries(families_of))


def scored(layout, iou_of, predictor="model"):
    """Write what `mmtt score` writes of a model's masks."""
    folder = layout.root / "scores"
    folder.mkdir()
    rows = [
        ScoreRow(
            predictor=predictor, record_id=record.record_id, variant="master", group="",
            manipulation=record.manipulation, manipulator="", mask_share=0.1, edited=[], answer="given", lacking=[],
            iou=iou_of(record.manipulation, place),
        )
        for place, record in enumerate(forgeries(lambda _: FAMILIES))
    ]  # fmt: skip
    write_table(folder / "scores.parquet", rows, ScoreRow)
    return layout


def test_families_that_lie_in_the_splits_alike_pass(tmp_path):
    found = outcome(dataset(tmp_path), "F1")
    assert found.verdict is Verdict.PASSES
    assert found.finding.details["effective number of families"] == pytest.approx(3)
    assert found.finding.details["records by family and split"]["retouch"] == {
        "train": 10, "validation": 10, "test": 10,
    }  # fmt: skip


def test_chance_alone_does_not_fail_a_small_dataset(tmp_path):
    odd = dataset(tmp_path, lambda number: [FAMILIES[number * number * 7 // 5 % 3]])
    assert outcome(odd, "F1").verdict is not Verdict.FAILS


def test_a_family_that_is_only_in_test_fails(tmp_path):
    late = dataset(tmp_path, lambda number: ("attribute_edit",) if number % 3 == 1 else FAMILIES[:2])
    found = outcome(late, "F1")
    assert found.verdict is Verdict.FAILS
    assert (
        found.finding.worst[0].why.endswith("none in train or validation")
        or "none in test" in found.finding.worst[0].why
    )
    assert found.finding.details["records by family and split"]["attribute_edit"] == {
        "train": 0, "validation": 0, "test": 10,
    }  # fmt: skip


def test_where_no_region_is_known_only_families_are_compared(tmp_path):
    bare = [replace(r, regions=[], region_shares=[]) for r in forgeries(lambda _: FAMILIES)]
    found = outcome(stored_dataset(tmp_path, pairs()[0], bare), "F1")
    assert found.verdict is Verdict.PASSES and found.finding.sentence.startswith("Cramér's V between split and family ")


def test_one_split_alone_cannot_be_compared_nor_can_nothing(tmp_path):
    pristine, forged = pairs()
    assert outcome(stored_dataset(tmp_path / "none", pristine, []), "F1").reason == "Nothing is forged here."
    layout = stored_dataset(tmp_path / "one", pristine, forged, splits={r.record_id: "train" for r in pristine})
    assert outcome(layout, "F1").reason == "All forged records are in one split, so nothing can be compared."


def test_a_model_that_is_bad_on_one_family_shows_a_gap_and_an_even_one_none(tmp_path):
    even = outcome(scored(dataset(tmp_path / "even"), lambda _, place: 0.6 + place % 5 / 50), "F2")
    assert even.verdict is Verdict.TOLD and even.finding.statistic < 0.05
    bad = outcome(
        scored(dataset(tmp_path / "bad"), lambda family, _: 0.2 if family == "retouch" else 0.8), "F2"
    ).finding
    assert bad.statistic == pytest.approx(0.6) and "0.20 on retouch" in bad.sentence
    assert bad.details["mean IoU, every family counting alike"] == pytest.approx(0.6)
    assert bad.worst[0].why == "retouch: IoU 0.20"


def test_an_origin_is_not_blamed_for_the_families_that_it_has_more_of(tmp_path):
    _, forged = pairs()
    hard_share = {"A": 1, "B": 3}  # of origin B's faces, three hard forgeries for each easy one
    records = [
        replace(record, record_id=derived_id(origin, kind, number, copy), manipulation=kind, origin=origin)
        for number, record in enumerate(forged)
        for origin in ("AB"[number % 2],)
        for kind in ("recolour", "retouch")
        for copy in range(hard_share[origin] if kind == "retouch" else 1)
    ]
    layout = stored_dataset(tmp_path, pairs()[0], records)
    (tmp_path / "scores").mkdir()
    rows = [
        ScoreRow(
            predictor="model", record_id=r.record_id, variant="master", group="", manipulation=r.manipulation,
            manipulator="", mask_share=0.1, edited=[], answer="given", lacking=[],
            iou=0.2 if r.manipulation == "retouch" else 0.8,
        )
        for r in records
    ]  # fmt: skip
    write_table(tmp_path / "scores" / "scores.parquet", rows, ScoreRow)
    assert outcome(layout, "F2").finding.details["gap between origins"] == pytest.approx(0)


def test_without_scores_or_with_those_of_others_the_gap_says_what_is_missing(tmp_path):
    layout = dataset(tmp_path)
    assert "mmtt score PREDICTIONS" in outcome(layout, "F2").reason
    scored(layout, lambda *_: 0.5, predictor="landmark box")
    assert outcome(layout, "F2").verdict is Verdict.ABSENT
    (layout.root / "scores" / "scores.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match="holds no scores"):
        outcome(layout, "F2")
