"""Audits of blind answers: the figures move with what can be guessed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mmtt import images
from mmtt.audit import Verdict
from tests.factories import make_forged_record, make_record, make_report, stored_dataset
from tests.pipelines.audits.sentences import invented
from tests.pipelines.audits.verdicts import outcome

COUNT = 45
FAMILIES = ("recolour", "retouch", "self_blend")


@cache
def pairs():
    return tuple(zip(*((make_record(seed), make_forged_record(seed)) for seed in range(COUNT)), strict=True))


def square(left: int, top: int) -> bytes:
    mask = np.zeros((64, 64), np.uint8)
    mask[top : top + 16, left : left + 16] = 255
    return images.encode_png(mask)


def masks(root, place_of):
    pristine, forged = pairs()
    placed = [replace(record, mask=square(*place_of(number))) for number, record in enumerate(forged)]
    return stored_dataset(root, pristine, placed)


def reports(root, text_of):
    pristine, forged = pairs()
    families = [
        replace(r, manipulation=FAMILIES[n // 3 % 3], mask=square(n // 3 % 3 * 20, 8)) for n, r in enumerate(forged)
    ]
    told = [make_report(record, text_of(number)) for number, record in enumerate(families)]
    return stored_dataset(root, pristine, families, reports=told)


def scattered(number):
    x, y = np.random.default_rng(number).integers(0, 48, 2)
    return int(x), int(y)


def test_masks_that_lie_at_one_place_are_guessed_and_scattered_ones_are_not(tmp_path):
    one = outcome(masks(tmp_path / "one", lambda _: (20, 30)), "S5")
    assert one.verdict is Verdict.TOLD and one.finding.statistic > 0.95
    many = outcome(masks(tmp_path / "many", scattered), "S5").finding
    assert many.statistic < 0.3 and many.low < many.statistic < many.high
    assert set(many.details["mean IoU"]) == {"mean mask", "mean mask, family known", "landmark box"}


def test_reports_that_are_copies_are_guessed_and_varied_ones_are_not(tmp_path):
    sentences = invented()
    same = outcome(reports(tmp_path / "same", lambda _: sentences[0]), "S6")
    assert same.verdict is Verdict.TOLD and same.finding.statistic == 1
    own = outcome(reports(tmp_path / "own", lambda number: sentences[number]), "S6").finding
    assert own.statistic < 0.4


def test_reports_that_follow_from_family_or_mask_are_guessed_by_those_alone(tmp_path):
    sentences = invented()
    found = outcome(reports(tmp_path, lambda number: sentences[number // 3 % 3]), "S6").finding
    assert found.statistic == 1
    for name in ("report, family known", "report of the most similar mask"):
        assert found.details[name]["ROUGE-L"] == 1 and found.details[name]["BLEU-4"] > 0.999
    assert found.details["central report"]["ROUGE-L"] < 0.7 < 5 < found.details["report, family known"]["CIDEr"]


@pytest.mark.parametrize("audit", ["S5", "S6"])
def test_without_a_test_split_nothing_is_guessed(tmp_path, audit):
    pristine, forged = pairs()
    layout = stored_dataset(tmp_path, pristine[:4], forged[:4], splits={r.record_id: "train" for r in pristine[:4]})
    assert outcome(layout, audit).reason == "No forged record is in the test split."


def test_reports_are_guessed_only_where_there_are_some(tmp_path):
    pristine, forged = pairs()
    assert "no English reports" in outcome(stored_dataset(tmp_path, pristine, forged), "S6").reason


def test_a_damaged_picture_stops_no_audit(tmp_path):
    pristine, forged = pairs()
    torn = [replace(r, mask=b"torn", image=b"torn") if n % 3 == 1 and n < 10 else r for n, r in enumerate(forged)]
    found = outcome(stored_dataset(tmp_path / "test", pristine, torn), "S5").finding
    assert found.n == COUNT // 3 - 3
    torn = [replace(r, mask=b"torn") if n == 0 else r for n, r in enumerate(forged)]
    assert "cannot be decoded" in outcome(stored_dataset(tmp_path / "train", pristine, torn), "S5").reason
