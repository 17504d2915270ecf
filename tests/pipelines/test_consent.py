"""Consent in a build: minors are left out at ingest; whoever did not agree to be forged, at plan."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, read_columns
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Lineage, Rejection
from mmtt.shards import read_table
from pipelines import demo, sources
from pipelines.forge import forge
from pipelines.ingest import ingest
from pipelines.photos import Photo
from pipelines.plan import Planned, plan, require_fresh
from pipelines.sources import Source
from tests.factories import TODAY, source_row, tiny_dataset, write_sources

PHOTOS = 6
MENU = ("face_swap", "recolour")
ALL = {"plan": {"splits": {"train": 1.0}, "donors": {"nearest": 5}}}  # one split: everybody may give to everybody


def dataset(root: Path, **rows: Mapping[str, str]) -> Layout:
    """A dataset of six people, some of whose source rows say more: by photo, without its suffix."""
    layout = tiny_dataset(root, PHOTOS, MENU, **ALL)
    state(layout, **rows)
    return layout


def state(layout: Layout, **rows: Mapping[str, str]) -> None:
    names = [f"drawn_{number:02d}" for number in range(PHOTOS)]
    columns = {column: "" for row in rows.values() for column in row}
    told = [source_row(f"{name}.png", f"person {n}", **(columns | {"consent": "none"} | rows.get(name, {})))
            for n, name in enumerate(names)]  # fmt: skip
    write_sources(layout.root, told)


def recipe(layout: Layout, **sections: object) -> Recipe:
    layout.recipe.write_text(yaml.safe_dump(yaml.safe_load(layout.recipe.read_text()) | sections))
    return Recipe.load(layout.recipe)


def ingested(layout: Layout) -> list[Rejection]:
    ingest(layout, Recipe.load(layout.recipe), serial, silent)
    return read_table(layout.pristine / REJECTIONS, Rejection)


def planned(layout: Layout, today: date = TODAY) -> Planned:
    ingested(layout)
    return plan(layout, Recipe.load(layout.recipe), today)


def ids(layout: Layout) -> dict[str, str]:
    return {Path(row.path).stem: row.record_id for row in read_table(layout.lineage, Lineage)}


def used(made: Planned) -> set[str]:
    """Everybody who is forged, or gives a face."""
    return {row.target_id for row in made.rows} | {row.source_id for row in made.rows if row.source_id}


# --- ingest ---


def test_a_minor_is_refused_unless_the_recipe_keeps_minors(tmp_path):
    layout = dataset(tmp_path, drawn_00={"age": "17"}, drawn_01={"age": "10-19"}, drawn_02={"age": "18"})
    refused = ingested(layout)
    assert {(row.path, row.code) for row in refused} == {("drawn_00.png", "minor"), ("drawn_01.png", "minor")}
    assert all("under 18" in row.detail for row in refused)
    assert set(ids(layout)) == {"drawn_02", "drawn_03", "drawn_04", "drawn_05"}
    recipe(layout, consent={"minors": "keep"})
    assert not ingested(layout)
    assert len(ids(layout)) == PHOTOS
    recipe(layout, consent={"minors": "refuse"})
    ingested(layout)  # and out again
    assert len(ids(layout)) == PHOTOS - 2


def test_a_wrong_word_of_consent_or_age_costs_that_photo_alone(tmp_path):
    layout = dataset(tmp_path, drawn_00={"consent": "manipulaton"}, drawn_01={"age": "young"})
    refused = {row.path: row for row in ingested(layout)}
    assert {path: row.code for path, row in refused.items()} == {
        "drawn_00.png": "bad_consent", "drawn_01.png": "bad_age"
    }  # fmt: skip
    assert "Did you mean 'manipulation'?" in refused["drawn_00.png"].detail


def test_a_row_without_an_age_has_the_digest_that_it_had_before_there_was_that_column():
    source = Source("a.png", "ffhq", "CC-BY-4.0", subject="Ann", consent="manipulation")
    before = {
        "file": "a.png", "origin": "ffhq", "licence": "CC-BY-4.0", "origin_id": "", "subject": "Ann",
        "consent": "manipulation", "consent_expiry": "", "consent_evidence_sha256": "", "withdrawal": "",
    }  # fmt: skip
    photo = Photo("a.png", "a.png", "0" * 64, source, None)
    assert photo.item_digest == digest(["a.png", "0" * 64, before, None, ()])
    assert replace(photo, source=replace(source, age="34")).item_digest != photo.item_digest


def test_the_demos_drawings_show_nobody_and_its_portraits_people_whom_nobody_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "DRAWN", 1)
    rows = sources.load(demo.prepare(tmp_path, serial).root)
    assert {name: row.consent for name, row in rows.items()} == {
        "drawn_00.png": "nobody", "eileen_collins.png": "none", "grace_hopper.jpg": "none"
    }  # fmt: skip
    for row in rows.values():
        row.require_usable()


# --- plan ---

OVER = {"consent": "manipulation redistribution", "consent_expiry": "2026-11-26"}
LAST_DAY = OVER | {"consent_expiry": TODAY.isoformat()}


def test_whoever_did_not_agree_is_neither_target_nor_donor(tmp_path):
    layout = dataset(
        tmp_path,
        drawn_00={"consent": "redistribution"},
        drawn_01=OVER,
        drawn_02=LAST_DAY,
        drawn_03={"consent": "manipulation"},
        drawn_04={"consent": "nobody"},
    )
    made, known = planned(layout), ids(layout)
    assert {row.record_id: row.code for row in made.rejections} == {
        known["drawn_00"]: "no_consent", known["drawn_01"]: "consent_expired"
    }  # fmt: skip
    assert used(made) == {known[f"drawn_0{number}"] for number in (2, 3, 4, 5)}
    assert Counter(row.entry for row in made.rows) == {"face_swap": 4, "recolour": 4}
    assert {row.record_id for row in made.splits} == set(known.values())  # a split is theirs all the same
    assert any("does not cover manipulation" in row.detail for row in made.rejections)


def test_people_whom_nobody_asked_are_refused_where_the_recipe_says_so(tmp_path):
    layout = dataset(tmp_path, drawn_02={"consent": "manipulation"}, drawn_04={"consent": "nobody"})
    lenient, known = planned(layout), ids(layout)
    assert used(lenient) == set(known.values())
    strict = recipe(layout, consent={"unasked": "refuse"})
    with pytest.raises(UserError, match="Run `mmtt plan` first"):
        require_fresh(layout, strict)
    made = plan(layout, strict, TODAY)
    require_fresh(layout, strict)
    assert used(made) == {known["drawn_02"], known["drawn_04"]}
    assert Counter(row.code for row in made.rejections) == {"not_asked": PHOTOS - 2}


def test_a_consent_that_ends_takes_its_forgeries_along_and_moves_no_other(tmp_path):
    layout = dataset(tmp_path, drawn_02=LAST_DAY)
    before, known = planned(layout), ids(layout)
    after = plan(layout, Recipe.load(layout.recipe), TODAY + timedelta(days=1))
    assert known["drawn_02"] in used(before)
    assert known["drawn_02"] not in used(after)
    assert after.splits == before.splits
    kept = {row.record_id for row in before.rows if known["drawn_02"] not in (row.target_id, row.source_id)}
    assert kept <= {row.record_id for row in after.rows}
    swaps = [row for row in after.rows if row.entry == "face_swap"]
    assert len(swaps) == PHOTOS - 1  # whoever took that face gets another


def test_a_consent_that_is_narrowed_takes_the_forgeries_away_and_one_that_is_widened_brings_them_back(tmp_path):
    layout = dataset(tmp_path, drawn_00={"consent": "manipulation"})
    first = planned(layout)
    forge(layout, Recipe.load(layout.recipe), serial, silent)
    state(layout, drawn_00={"consent": "redistribution"})
    narrowed, out = planned(layout), ids(layout)["drawn_00"]
    forge(layout, Recipe.load(layout.recipe), serial, silent)
    assert out not in used(narrowed)
    rows = list(read_columns(layout.forged, ["target_id", "source_id", "record_id"]))
    assert out not in {row[name] for row in rows for name in ("target_id", "source_id")}
    state(layout, drawn_00={"consent": "manipulation redistribution"})
    again = planned(layout)
    assert {row.record_id for row in first.rows if row.target_id == out} <= {row.record_id for row in again.rows}


EDITED = {
    "another consent": {"drawn_01": {"consent": "redistribution"}},
    "another last day": {"drawn_01": {"consent": "manipulation", "consent_expiry": "2026-12-01"}},
    "an age": {"drawn_01": {"consent": "manipulation", "age": "12"}},
}


@pytest.mark.parametrize("edited", EDITED)
def test_a_plan_is_refused_while_the_source_table_says_something_else_than_was_ingested(edited, tmp_path):
    layout = dataset(tmp_path, drawn_01={"consent": "manipulation"})
    before = planned(layout)
    state(layout, **EDITED[edited])
    with pytest.raises(UserError, match=r"other consents or ages .* of 1 photo, such as 'drawn_01.png'. Run `mmtt bui"):
        plan(layout, Recipe.load(layout.recipe), TODAY)
    assert planned(layout).rows != before.rows or edited == "another last day"


def test_a_photo_whose_row_is_gone_stops_the_plan_and_a_dataset_without_a_table_does_not(tmp_path):
    layout = dataset(tmp_path)
    before = planned(layout)
    write_sources(tmp_path, [source_row(f"drawn_{number:02d}.png", f"person {number}") for number in range(1, PHOTOS)])
    with pytest.raises(UserError, match=r"such as 'drawn_00\.png'"):
        plan(layout, Recipe.load(layout.recipe), TODAY)
    (tmp_path / "sources.csv").unlink()
    assert plan(layout, Recipe.load(layout.recipe), TODAY) == before


def test_where_nobody_may_be_forged_the_plan_says_so_of_each(tmp_path):
    layout = dataset(tmp_path, **{f"drawn_{number:02d}": {"consent": "redistribution"} for number in range(PHOTOS)})
    made = planned(layout)
    assert (made.rows, len(made.rejections), len(made.splits)) == ([], PHOTOS, PHOTOS)
    forge(layout, Recipe.load(layout.recipe), serial, silent)
    assert not read_columns(layout.forged, ["record_id"])
