"""The audits that go with a release: asked of what is published, and of the dataset where only that can answer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmtt.audit import gather
from mmtt.errors import RecipeError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import silent
from mmtt.samples import digest_of
from pipelines.overview.audited import read_audits
from pipelines.release.audited import KNOWS_MORE, audit_release
from tests.factories import make_forged_record, make_record, make_report, stored_dataset
from tests.pipelines.release.by_hand import released, stage

PRISTINE, FORGED = [make_record(seed) for seed in range(6)], [make_forged_record(seed) for seed in range(6)]
REPORTS = [make_report(record, f"The nose of number {number} looks blurred.") for number, record in enumerate(FORGED)]
SECRET = "holiday/anna_2019.jpg"


def set_of(root: Path, **gates: float) -> Layout:
    """A dataset whose faces lie where no template has them, so that M5 is only told."""
    return stored_dataset(root, PRISTINE, FORGED, reports=REPORTS, audit={"gates": {"M5": None, **gates}})


def note_audits(layout: Layout, *rows: dict[str, Any], **changes: Any) -> None:
    """Write what an earlier `mmtt audit` found of the dataset."""
    known = {"digest": digest_of(layout.root), "variant": "master", "rows": 12, "sampled": 12, "audits": list(rows)}
    layout.audits.write_text(json.dumps(known | changes), encoding="utf-8")


def row(name: str, statistic: float | None = 0.0, **changes: Any) -> dict[str, Any]:
    worst = {"record_id": FORGED[0].record_id, "why": f"{SECRET} is another", "other_id": None}
    known: dict[str, Any] = {
        "id": name, "verdict": "passes", "statistic": statistic, "interval": None, "n": 10, "of": "forgeries",
        "sentence": "So it is.", "details": {"photos": {SECRET: 1}}, "worst": [worst],
    }  # fmt: skip
    return known | changes


def audited(staged: Path, layout: Layout) -> tuple[dict[str, dict[str, Any]], list[str], str]:
    text, failed = audit_release(staged, layout.root, serial, lambda _: silent)
    return {told["id"]: told for told in json.loads(text)["audits"]}, failed, text


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    layout = set_of(tmp_path_factory.mktemp("first"))
    return stage(tmp_path_factory.mktemp("out") / "1.0.0", released(layout), REPORTS)


def test_each_row_says_what_it_is_about_and_nothing_private_comes_along(staged, tmp_path):
    layout = set_of(tmp_path)
    note_audits(layout, row("M4"), row("M5"), row("M1", 0.5, verdict="fails"))
    told, failed, text = audited(staged, layout)
    about = {name: one["about"] for name, one in told.items()}
    assert list(told) == list(gather())
    assert {name for name, what in about.items() if what == "dataset"} == {"M4", "M5"}
    assert told["M4"]["sentence"] == "So it is."
    assert (told["M4"]["details"], told["M4"]["worst"]) == ({}, [])
    assert told["M1"]["verdict"] == "passes", "what the release can answer is not asked of the dataset"
    assert SECRET not in text
    assert not failed


def test_a_row_that_only_the_dataset_answers_is_judged_by_todays_gate(staged, tmp_path):
    layout = set_of(tmp_path, M4=0.2)
    note_audits(layout, row("M4", 0.1, verdict="fails"))
    assert audited(staged, layout)[0]["M4"]["verdict"] == "passes"
    note_audits(layout, row("M4", 0.3, verdict="passes"))
    told, failed, _ = audited(staged, layout)
    assert (told["M4"]["verdict"], told["M4"]["gate"]) == ("fails", 0.2)
    assert failed == ["M4"]
    note_audits(layout, row("M4", 0.3, interval=[0.1, 0.5]))
    assert audited(staged, layout)[0]["M4"]["verdict"] == "doubtful"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"digest": "0" * 64}, "The dataset has changed since it was audited."),
        ({"audits": "none"}, "The dataset's audits.json cannot be read."),
        ({"variant": "small"}, "The dataset was audited as another variant."),
        (None, "The dataset was not audited."),
    ],
)
def test_audits_of_another_state_are_not_told_and_why_is(staged, tmp_path, changes, said):
    layout = set_of(tmp_path)
    if changes is not None:
        note_audits(layout, row("M4"), **changes)
    told, _, _ = audited(staged, layout)
    assert (told["M4"]["verdict"], told["M4"]["about"]) == ("absent", "release")
    assert told["M4"]["reason"].endswith(said)


def test_what_is_published_is_audited_though_the_dataset_passes(tmp_path):
    layout = set_of(tmp_path / "set")
    note_audits(layout, row("L1"), row("M1"))
    rows = released(layout)
    moved = [
        replace(record, split="test" if record.split == "train" else "train") if record.target_id else record
        for record in rows
    ]
    damaged = [replace(record, image=b"no picture") if record is moved[-1] else record for record in moved]
    told, failed, _ = audited(stage(tmp_path / "out", damaged, REPORTS), layout)
    assert {"L1", "M1"} <= set(failed)
    assert (told["L1"]["about"], told["L1"]["verdict"]) == ("release", "fails")


def test_no_annotator_is_named_as_the_worst(staged, tmp_path):
    layout = set_of(tmp_path)
    note_audits(layout, row("X5", 0.4, sentence="'a1' sees a forgery in 4 of 10 pictures that nobody touched."))
    told, _, text = audited(staged, layout)
    assert told["X5"]["sentence"] == "One annotator sees a forgery in 4 of 10 pictures that nobody touched."
    assert "'a1'" not in text


def test_nor_does_the_releases_own_answer_single_one_out(tmp_path):
    layout = set_of(tmp_path / "set", X6=None)
    names = ["moth-4", "lark-7"]
    text = "The nose looks blurred, as it does in every one of these. " * 10
    said = [make_report(record, text, annotator=names[n % 2]) for n, record in enumerate(FORGED)]
    staged = stage(tmp_path / "out", released(layout), said)
    told, _, text = audited(staged, layout)
    assert "of 3 texts that one annotator wrote say little new" in told["X6"]["sentence"]
    assert not [name for name in names if name in text]


def test_worst_rows_of_texts_and_files_are_named_without_their_words(tmp_path):
    layout = set_of(tmp_path / "set")
    wrong = [replace(report, text="The left ear of the hat looks wrong.", text_origin="nobody") for report in REPORTS]
    told, _, text = audited(stage(tmp_path / "out", released(layout), wrong), layout)
    named = [example for name in ("X1", "X7", "L5") for example in told[name].get("worst", [])]
    assert named
    assert {example["why"] for example in named} == {""}
    assert "left ear of the hat" not in text


def test_the_text_is_the_same_for_anybody_and_its_digest_is_that_of_the_release(staged, tmp_path):
    layout = set_of(tmp_path)
    note_audits(layout, row("M4"))
    first = audited(staged, layout)[2]
    assert audited(staged, layout)[2] == first
    assert json.loads(first)["digest"] == digest_of(staged)
    assert json.loads(first)["name"] == "tiny 1.0.0"
    Layout(staged).audits.write_text(first, encoding="utf-8")
    found = read_audits(Layout(staged))
    assert found.state == "current"
    assert {one["about"] for one in found.rows if one["id"] == "M4"} == {"dataset"}


def test_a_gate_on_no_audit_is_told_by_the_recipe(staged, tmp_path):
    with pytest.raises(RecipeError, match=r"audit\.gates.*Z9"):
        audited(staged, set_of(tmp_path, Z9=1.0))


def test_what_the_dataset_knows_more_of_are_audits():
    assert set(KNOWS_MORE) <= set(gather())
