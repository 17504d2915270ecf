"""Two builds compared: whatever differs is told, with its reason, and nothing else is."""

import json
import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner

from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.manifest import assemble_manifest
from mmtt.progress import silent
from mmtt.record import PlanRow, Record, Rejection
from mmtt.reports import attach
from mmtt.schema import columns
from mmtt.shards import FOOTER_KEY, Footer, Shard, read_table, write_table
from mmtt.words import printable
from pipelines import cli_look
from pipelines.builds import Build, sections
from pipelines.diff import Difference, as_text, diff
from pipelines.diff.causes import Absences
from pipelines.diff.contents import NEVER, compared
from tests.factories import (
    build,
    make_forged_record,
    make_record,
    make_report,
    store_shards,
    stored_dataset,
    tiny_dataset,
)  # fmt: skip

PRISTINE = [make_record(seed) for seed in range(4)]
FORGED = [make_forged_record(seed) for seed in range(4)]
REPORTS = [make_report(record) for record in FORGED[:2]]
FIRST = FORGED[0].record_id
GATED = Rejection(stage="gate", code="change_too_small", detail="too small", record_id=FIRST)
OTHER_IMAGE = make_forged_record(9).image


def compare(a: Path, b: Path) -> Difference:
    return diff(a, b, serial, quiet)


def quiet(title: str):  # noqa: ARG001 - as `for_person`
    return silent


def stored(root: Path, forged=FORGED, pristine=PRISTINE, reports=REPORTS, **planted) -> Path:
    return stored_dataset(root, pristine, forged, reports=reports, **planted).root


def changed_first(**columns_of_it) -> list[Record]:
    return [replace(FORGED[0], **columns_of_it), *FORGED[1:]]


def told(found: Difference) -> dict[str, list]:
    """What is not the same, shortly."""
    facts = {
        "added": [row.record_id for row in found.added],
        "removed": [row.record_id for row in found.removed],
        "changed": [(row.record_id, row.columns) for row in found.changed],
        "splits": [(row.record_id, row.before, row.after) for row in found.splits],
        "gates": [(row.record_id, row.before, row.after) for row in found.gates],
        "reports": [(row.what, row.record_id, list(row.columns)) for row in found.reports],
    }
    return {name: rows for name, rows in facts.items() if rows}


NEW_IMAGE = {"image": OTHER_IMAGE, "image_sha256": images.sha256(OTHER_IMAGE)}
FAULTS = {
    "nothing": ({}, {}),
    "a forgery taken out": (
        {"forged": FORGED[:3]},
        {"removed": [FORGED[3].record_id]},
    ),
    "an image": (
        {"forged": changed_first(**NEW_IMAGE), "reports": []},
        {
            "changed": [(FIRST, {"pixels": ["image_sha256"]})],
            "reports": [("removed", report.record_id, []) for report in REPORTS],
        },
    ),
    "a mask": (
        {"forged": changed_first(mask=make_forged_record(9, rule="hole").mask)},
        {"changed": [(FIRST, {"pixels": ["mask"]})]},
    ),
    "an alpha that is gone": (
        {"forged": changed_first(alpha=None)},
        {"changed": [(FIRST, {"pixels": ["alpha"]})]},
    ),
    "landmarks and a licence": (
        {"forged": changed_first(landmarks=make_record(9).landmarks, licence="CC-BY-4.0")},
        {"changed": [(FIRST, {"face": ["landmarks"], "provenance": ["licence"]})]},
    ),
    "regions": (
        {"forged": changed_first(regions=["nose"], region_shares=[0.5])},
        {"changed": [(FIRST, {"edit": ["regions", "region_shares"]})]},
    ),
    "a split": (
        {"splits": {PRISTINE[0].record_id: "test"}},
        {"splits": [(PRISTINE[0].record_id, "train", "test"), (FIRST, "train", "test")]},
    ),
    "a gate": (
        {"refused": [GATED]},
        {"gates": [(FIRST, "accepted", "change_too_small")]},
    ),
    "a report's words": (
        {"reports": [replace(REPORTS[0], text="The chin looks blurred."), REPORTS[1]]},
        {"reports": [("changed", FIRST, ["text"])]},
    ),
    "one report more": (
        {"reports": [*REPORTS, make_report(FORGED[2])]},
        {"reports": [("added", FORGED[2].record_id, [])]},
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return stored(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_planted_is_told_and_nothing_else(fault, base, tmp_path):
    planted, expected = FAULTS[fault]
    found = compare(base, stored(tmp_path / "b", **planted))
    shown = told(found)
    assert {name: sorted(rows, key=str) for name, rows in shown.items()} == {
        name: sorted(rows, key=str) for name, rows in expected.items()
    }
    assert found.differs == bool(expected)
    assert ("for example" in as_text(found)) == bool(expected)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"manipulator_version": "2"}, "another program (manipulator_version)"),
        ({"weights_sha256": "f" * 64}, "another program (weights_sha256)"),
        ({"mask_tau": 4}, "other settings (mask_tau)"),
        ({}, "no column says why: see recipe and environment"),
    ],
)
def test_a_changed_row_says_why_as_far_as_its_columns_tell(values, why, base, tmp_path):
    found = compare(base, stored(tmp_path / "b", changed_first(**NEW_IMAGE, **values), reports=[]))
    assert [row.why for row in found.changed] == [why]
    if "manipulator_version" in values:
        assert found.because["programs"] == {"darken manipulator_version": ("1", "1 | 2")}


def test_a_forgery_of_another_target_image_says_so(base, tmp_path):
    pristine = [replace(PRISTINE[0], **NEW_IMAGE), *PRISTINE[1:]]
    found = compare(base, stored(tmp_path / "b", changed_first(mask=OTHER_IMAGE), pristine))
    assert Counter(row.why for row in found.changed) == {
        "no column says why: see recipe and environment": 1,
        "its target's image is another one": 1,
    }


def test_an_edited_recipe_is_told_key_by_key_but_is_no_difference_of_rows(base, tmp_path):
    sections_of = {"seed": 8, "forge": {"manipulators": [{"use": "recolour", "share": 0.5}], "find_faces": False}}
    found = compare(base, stored(tmp_path / "b", **sections_of))
    assert not found.differs
    assert found.because == {"recipe": {"seed": (7, 8), "forge.manipulators[recolour].share": (1.0, 0.5)}}
    assert "seed: 7 → 8" in as_text(found)


def test_a_recipe_that_cannot_be_read_stops_nothing(base, tmp_path):
    other = stored(tmp_path / "b", forged=FORGED[:3])
    Layout(other).recipe.write_text("seed: [", encoding="utf-8")
    found = compare(base, other)
    assert "cannot be read" in found.because["recipe"]
    assert len(found.removed) == 1


def test_environments_of_the_manifests_are_compared(base, tmp_path):
    other = stored(tmp_path / "b")
    path = Layout(other).forged / "manifest.json"
    told_there = json.loads(path.read_text()) | {"environment": {"numpy": "9.9"}}
    path.write_text(json.dumps(told_there))
    assert compare(base, other).because == {"environment": {"forged numpy": (None, "9.9")}}


def test_a_release_is_compared_with_its_dataset_as_far_as_both_can_say(base, tmp_path):
    rows = attach([*PRISTINE, *FORGED], REPORTS, {})
    split_of = {
        record.group_id: split for record, split in zip(PRISTINE, ("train", "test", "validation", "train"), strict=True)
    }
    store_shards(tmp_path / "r", [replace(record, split=split_of[record.group_id]) for record in rows])
    assert not compare(base, tmp_path / "r").differs
    assert not compare(tmp_path / "r", tmp_path / "r").differs
    gated = stored(tmp_path / "gated", refused=[GATED])
    assert told(compare(gated, tmp_path / "r")) == {"added": [FIRST]}


def test_a_shard_of_an_older_schema_holds_the_same_rows(base, tmp_path):
    shutil.copytree(base, tmp_path / "b")
    folder = Layout(tmp_path / "b").forged
    path = folder / "bucket-0000.parquet"
    table = pq.read_table(path).drop_columns(["origin_mask", "report_language"])
    footer = json.dumps(asdict(Footer("forged", "", "", schema_version=3)))
    pq.write_table(table.replace_schema_metadata({FOOTER_KEY: footer}), path)
    assemble_manifest(folder, "forged", ["bucket-0000"])
    assert Shard(path).version == 3
    assert not compare(base, tmp_path / "b").differs


def test_shards_of_equal_digest_are_not_read_again(base, tmp_path):
    shutil.copytree(base, tmp_path / "b")
    seen = []

    def noting(function, items):
        seen.extend(items)
        return serial(function, items)

    assert not diff(base, tmp_path / "b", noting, quiet).differs
    assert seen == []
    other = stored(tmp_path / "c", changed_first(mask=OTHER_IMAGE))
    diff(base, other, noting, quiet)
    assert [path.parent.name for path, _ in seen] == ["forged", "forged"]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    layout = tiny_dataset(tmp_path_factory.mktemp("built"), 5)
    build(layout)
    return layout.root


def rebuilt(root: Path, source: Path, photos: int = 5, **sections_of) -> Path:
    shutil.copytree(source, root)
    layout = tiny_dataset(root, photos, **sections_of)
    build(layout)
    return root


def test_photos_added_and_removed_are_the_reason_for_their_rows(built, tmp_path):
    more = rebuilt(tmp_path / "b", built, photos=7)
    found = compare(built, more)
    assert Counter(row.why for row in found.added) == {"A lacks the photo": 2, "A lacks its target": 2}
    assert (found.removed, found.changed) == ([], [])
    assert found.because["photos"] == {"added": ["drawn_05.png", "drawn_06.png"]}
    back = compare(more, built)
    assert Counter(row.why for row in back.removed) == {"B lacks the photo": 2, "B lacks its target": 2}


def test_an_edited_gate_is_told_as_what_it_refuses(built, tmp_path):
    recipe = yaml.safe_load((built / "recipe.yaml").read_text())
    recipe["forge"]["gate"] = {"min_change_mean": 250.0}
    found = compare(built, rebuilt(tmp_path / "b", built, forge=recipe["forge"]))
    assert {(row.before, row.after) for row in found.gates} == {("accepted", "change_too_small")}
    assert (found.added, found.removed, found.changed) == ([], [], [])
    assert found.because["recipe"] == {"forge.gate.min_change_mean": (2.0, 250.0)}
    assert found.because["refused"] == {"gate/change_too_small": (None, len(found.gates))}


def test_another_seed_plans_otherwise(built, tmp_path):
    shutil.copytree(built, tmp_path / "b", ignore=shutil.ignore_patterns("plan", "forged"))
    layout = tiny_dataset(tmp_path / "b", 5, seed=8)
    build(layout)
    found = compare(built, layout.root)
    whys = {row.why.partition(" (")[0] for row in (*found.added, *found.removed)}
    assert whys == {"A plans it otherwise", "B plans it otherwise"}
    assert found.because["plan"] == {"added": 5, "removed": 5}


def test_another_entry_and_other_bytes_of_a_photo_are_named(built, tmp_path):
    other = tiny_dataset(tmp_path / "b", 5, ("retouch",), first_seed=2)
    build(other)
    found = compare(built, other.root)
    assert Counter(row.why for row in found.removed) == {
        "B has other bytes of the photo": 2,
        "B lacks its target": 2,
        "B plans nothing of the entry 'recolour'": 3,
    }
    assert len(found.because["photos"]["changed"]) == 5


def test_an_unfinished_stage_is_left_out_and_told(built, tmp_path):
    shutil.copytree(built, tmp_path / "b")
    (tmp_path / "b" / "forged" / "manifest.json").unlink()
    found = compare(built, tmp_path / "b")
    assert found.notes == ["B: forged/ has not come to its end, so it is left out"]
    assert {row.why for row in found.removed} == {"B plans it, but has not forged it"}


def test_what_is_no_build_is_refused(base, tmp_path):
    with pytest.raises(UserError, match="neither a built dataset"):
        compare(base, tmp_path)


def test_every_column_is_compared_or_left_out_on_purpose():
    everything = set(columns(Record))
    assert set(compared(texts=True)) == everything - {"record_id", "variant", *NEVER}
    assert list(sections()) == ["ids", "pixels", "edit", "face", "provenance", "text"]


def test_the_command_prints_text_or_json_and_exits_with_3_only_where_asked(base, tmp_path):
    app = typer.Typer()
    cli_look.register(app)
    other = str(stored(tmp_path / "b", forged=FORGED[:3]))
    run = CliRunner().invoke
    plain = run(app, ["diff", str(base), other])
    assert plain.exit_code == 0
    assert "1 × B lacks it" in plain.output
    asked = run(app, ["diff", str(base), other, "--json", "--exit-code"])
    assert asked.exit_code == 3
    assert json.loads(asked.output)["differs"] is True
    assert run(app, ["diff", str(base), str(base), "--exit-code"]).exit_code == 0


def test_a_name_cannot_steer_a_terminal():
    assert printable("a\x1b[2Jb\u202ec → 人") == "a\\x1b[2Jb\\u202ec → 人"


def test_datasets_with_nothing_in_common_have_a_line_for_each_reason_not_for_each_row(base, tmp_path):
    pristine = [make_record(seed) for seed in range(10, 16)]
    other = stored(tmp_path / "b", [make_forged_record(seed) for seed in range(10, 16)], pristine, reports=[])
    found = compare(base, other)
    assert len({row.why for row in found.added}) == 2
    assert {row.origin_id for row in found.added} == {record.origin_id for record in pristine}
    assert sum(line.startswith("  added ") for line in as_text(found).splitlines()) == 2


def test_reports_about_records_that_are_gone_are_told(base, tmp_path):
    found = compare(base, stored(tmp_path / "b", FORGED[1:]))
    assert found.strays == {"B": 1}
    assert "reports of B: 1 report is about records that B lacks; `mmtt annotate reports` writes" in as_text(found)
    assert compare(base, base).strays == {}


def test_what_the_plan_refused_is_the_reason_for_a_forgery_that_is_gone(built, tmp_path):
    plans = read_table(built / "plan" / "plan.parquet", PlanRow)
    other = shutil.copytree(built, tmp_path / "b")
    lost = plans[0]
    refusal = Rejection(stage="plan", code="no_donor", detail="none", record_id=lost.target_id, manipulator=lost.entry)
    write_table(other / "plan" / "plan.parquet", [row for row in plans if row is not lost], PlanRow)
    write_table(other / "plan" / "rejections.parquet", [refusal], Rejection)
    absences = Absences(Build(built), Build(other), "B")
    rows = Build(built).rows(["origin_id"])
    row = rows[rows["record_id"] == lost.record_id].to_dict("records")[0]
    assert absences.why(row, set(rows["record_id"]), {"master"}) == "B does not plan it (no_donor)"
