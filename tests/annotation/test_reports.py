from dataclasses import replace
from statistics import median

import pytest
import yaml

from annotation import reports
from annotation.desk import open_desk
from annotation.people import load
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.manifest import read, read_columns
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Rejection
from mmtt.reports import DWELL_EDGES_S, Report, attach, region_vector
from mmtt.shards import read_table, write_table
from pipelines.forge import forge
from tests.annotation import desks
from tests.annotation.planted import report as sentence
from tests.pipelines.importers.strangers import bring, pictures, table

QUIET = {"ignore": ["dwell", "parallel", "pasted"]}


def written(root):
    with open_desk(root, write=True) as desk:
        return reports.write(desk)


@pytest.fixture
def layout(tmp_path):
    """A dataset of which every record was described by one of two people, one of whom is said to be a person."""
    made = desks.dataset(tmp_path / "data", photos=3, overlap=1, overlap_share=0.0, quality=QUIET)
    desks.enrol(made, desks.person("ann", 1, writes="human"), desks.person("bot", 2, writes="model"))
    with open_desk(made.root) as desk:
        truth = {subject.record_id: [*subject.region_shares] for subject in desk.subjects}
    tasks = [task for task in desks.push(made) if task.project == "describe"]
    for number, task in enumerate(tasks):
        regions = tuple(truth[task.record_id][:2])
        desks.answer(made, task, by=1 + number % 2, regions=regions, report=sentence(number, "en", regions))
    return made


def test_reports_are_joined_to_the_very_pictures_that_were_seen(layout):
    made, _ = written(layout.root)
    assert made == read_table(layout.root / "reports" / "reports.parquet", Report)
    joined = [record for record in attach(read(layout.forged), made, {}) if record.report is not None]
    assert {record.record_id for record in joined} == {row.record_id for row in made} and joined
    first = {row.record_id: row for row in made if row.rank == 0}
    assert all(record.report == first[record.record_id].text for record in joined)
    assert all(record.report_regions == region_vector(first[record.record_id].regions) for record in joined)


def test_a_report_about_another_picture_is_refused(layout):
    made, _ = written(layout.root)
    with pytest.raises(
        UserError, match=r"was written about a picture 0000.*Write the reports again.*or restore the record"
    ):
        list(attach(read(layout.forged), [replace(made[0], image_sha256="0" * 64)], {}))


def test_whose_words_they_are_is_on_every_row(layout):
    made, _ = written(layout.root)
    writes = {person.pseudonym: person.writes for person in load(layout.root).persons}
    assert {row.annotator: row.text_origin for row in made} == {"ann": "human", "bot": "model"}
    assert set(writes.values()) == {"human", "model"}


def test_times_are_coarse(layout):
    for row in written(layout.root)[0]:
        assert len(row.submitted) == len("2026-01-01") and row.dwell_s in DWELL_EDGES_S


def test_the_same_log_gives_the_same_bytes(layout):
    written(layout.root)
    before = {path.name: path.read_bytes() for path in (layout.root / "reports").iterdir()}
    written(layout.root)
    assert {path.name: path.read_bytes() for path in (layout.root / "reports").iterdir()} == before


def test_what_does_not_count_is_a_row_with_its_reason(layout):
    short = next(task for task in desks.push(layout) if task.project == "describe")
    desks.answer(layout, short, by=1, report="Too short.", regions=("nose",))
    _, refused = written(layout.root)
    assert refused == read_table(layout.root / "reports" / "rejections.parquet", Rejection)
    mine = [row for row in refused if row.code == "returned"]
    assert len(mine) == 1 and "words" in mine[0].detail and mine[0].record_id == short.record_id


def test_a_later_change_of_what_counted_is_held(layout):
    made, _ = written(layout.root)
    with open_desk(layout.root, write=True) as desk:
        event = next(e for e in desk.log.events("answer") if e.subject in {a.uid for a in desk.answers})
        payload = {**event.payload, "result": event.payload["result"][:-1]}
        desk.log.append([desks.New("answer", event.subject, event.header, payload)])
    again, refused = written(layout.root)
    assert len(again) == len(made) - 1
    assert any("tampered" in row.detail for row in refused)


def test_what_was_derived_stands_beside_the_same_words_only(layout):
    made, _ = written(layout.root)
    derived = [replace(row, derived_text="译文", derived_kind="translation", derived_language="zh") for row in made[:2]]
    derived[1] = replace(derived[1], text="other words")
    write_table(layout.root / "reports" / reports.DERIVED, derived, Report)
    again, _ = written(layout.root)
    assert [row.derived_text for row in again[:2]] == ["译文", None]
    assert [row.text for row in again] == [row.text for row in made]


def test_a_record_that_is_gone_costs_its_own_reports_only(layout):
    made, _ = written(layout.root)
    strict = yaml.safe_load(layout.recipe.read_text(encoding="utf-8"))
    changes = [row["change_mean"] for row in read_columns(layout.forged, ["change_mean"])]
    strict["forge"]["gate"] = {"min_change_mean": median(changes)}
    layout.recipe.write_text(yaml.safe_dump(strict), encoding="utf-8")
    forge(layout, Recipe.load(layout.recipe), serial, silent)
    again, refused = written(layout.root)
    assert 0 < len(again) < len(made)
    gone = {row.record_id for row in made} - {row.record_id for row in again}
    assert {row.record_id for row in refused if row.code == "record_gone"} == gone
    desks.push(layout)  # and nothing more is asked about it
    with open_desk(layout.root) as desk:
        assert not gone & {task.record_id for task in desks.due(desk)}


def test_a_sound_report_of_nothing_is_a_row_too(layout):
    task = next(task for task in desks.push(layout) if task.project == "describe")
    desks.answer(layout, task, by=2, verdict="none_visible", regions=(), report="", difficulty=None)
    _, refused = written(layout.root)
    assert ("none_visible", task.record_id) in {(row.code, row.record_id) for row in refused}


def test_texts_that_were_imported_are_not_replaced(tmp_path):
    pictures(tmp_path / "in", range(2))
    rows = [{"image": f"Tp/p{n}.png", "mask": f"Gt/p{n}.png", "text": "The nose is blurred."} for n in range(2)]
    layout, _ = bring(table(tmp_path / "in", rows), tmp_path / "d")
    before = (layout.root / "reports" / "reports.parquet").read_bytes()
    with pytest.raises(UserError, match="holds texts that were imported"):
        written(layout.root)
    with open_desk(layout.root, write=True) as desk:
        reports.rewrite(desk)  # as an erasure does: none of these words is an annotator's
    assert (layout.root / "reports" / "reports.parquet").read_bytes() == before
