"""What is said of records goes out of tables, log and pictures, where no server is asked; all of it is made up."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from annotation import erase, reports
from annotation.desk import open_desk
from annotation.erase.server import Found, Place, _bases, owed, purge, rebuild
from annotation.quality import RULES
from annotation.server.connection import Connection
from annotation.sync.delivery import due
from annotation.sync.studio import Remote
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.removal import Removal, begin, finish
from mmtt.reports import Report
from mmtt.shards import read_table, write_table
from tests.annotation import desks


def closure(*records, **changes) -> Removal:
    empty = dict.fromkeys(("pristine", "photos", "subjects", "origin_ids", "digests", "phashes", "texts"), ())
    return Removal(asked="one", records=records, **(empty | changes))


def files_of(root):
    return {str(path.relative_to(root)): file_sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Every record described by two people in words of their own, and reports written."""
    root = tmp_path_factory.mktemp("described") / "data"
    made = desks.dataset(root, photos=3, overlap=2, overlap_share=1.0, quality={"ignore": list(RULES)})
    desks.enrol(made, desks.person("ann", 1), desks.person("ben", 2))
    desks.pull(made, [_said(task, by) for task in desks.push(made) for by in (1, 2)])
    with open_desk(made.root, write=True) as desk:
        reports.write(desk)
    return made.root


def _said(task, by) -> desks.Said:
    regions = ("nose",) if by == 1 or int(task.key, 16) % 2 else ("chin",)
    controls = {"regions": regions, "report": f"The nose of {task.key} has a seam, says {by}."}
    return desks.Said(task, by, desks.MORNING, controls)


@pytest.fixture
def layout(described, tmp_path, monkeypatch):
    """A copy of it, whose server is gone for good."""
    monkeypatch.setenv("LABEL_STUDIO_URL", "none")
    return Layout(shutil.copytree(described, tmp_path / "data"))


def rows(layout, name=reports.REPORTS):
    return read_table(layout.root / "reports" / name, Report)


def agreement_of(layout):
    return json.loads((layout.root / "reports" / reports.AGREEMENT).read_text())


def test_rows_of_other_records_stay_as_they_are(layout):
    before, agreed = rows(layout), agreement_of(layout)
    write_table(layout.root / "reports" / reports.DERIVED, before, Report)
    one = before[0].record_id
    erase.apply(layout.root, closure(one))
    left = [row for row in before if row.record_id != one]
    assert rows(layout) == rows(layout, reports.DERIVED) == left and len(left) == len(before) - 2
    told = agreement_of(layout)
    assert told["overall"] == agreed["overall"] and one in agreed["records"]
    assert told["records"] == {name: share for name, share in agreed["records"].items() if name != one}
    assert [*erase.traces(layout.root, closure(one, texts=(before[0].text,)))] == []


def test_what_people_wrote_goes_out_of_the_log_and_its_chain_stays(layout):
    one, text = rows(layout)[0].record_id, rows(layout)[0].text
    assert text.encode() in (layout.root / "private" / "annotation" / "log.sqlite").read_bytes()
    with open_desk(layout.root) as desk:
        answers, links = len(desk.answers), [(e.seq, e.at, e.subject) for e in desk.log.events()]
    erase.apply(layout.root, closure(one))
    held = (layout.root / "private" / "annotation" / "log.sqlite").read_bytes()
    assert text.encode() not in held and one.encode() not in held
    with open_desk(layout.root) as desk:
        assert desk.log.faults() == [] and len(desk.answers) == answers - 2
        assert [(e.seq, e.at, e.subject) for e in desk.log.events()][: len(links)] == links


def test_planning_changes_nothing_and_tells_the_same(layout):
    removal, before = closure(rows(layout)[0].record_id), files_of(layout.root)
    planned = erase.plan(layout.root, removal)
    assert files_of(layout.root) == before
    assert set(planned) == set(erase.apply(layout.root, removal))
    assert {step.where for step in planned} >= {"reports/reports.parquet", "private/annotation/log.sqlite"}
    assert erase.apply(layout.root, removal) == []


def test_texts_are_told_but_for_those_that_others_share(layout):
    first, second = sorted({row.record_id for row in rows(layout)})[:2]
    with open_desk(layout.root) as desk:
        mine = sorted(answer.text for answer in desk.answers if answer.record_id == first)
    assert erase.texts(layout.root, {first}) == mine and len(mine) == 2
    shared = [row for row in rows(layout) if row.record_id == second]
    write_table(layout.root / "reports" / reports.REPORTS, [replace(shared[0], text=mine[0])], Report)
    assert erase.texts(layout.root, {first}) == mine[1:]


def test_pictures_go_by_the_key_of_their_task_and_by_what_they_show(layout):
    one = rows(layout)[0].record_id
    task = next(task for task in desks.push(layout) if task.record_id == one)
    folder = layout.root / "private" / "annotation" / "pictures" / "tasks" / "ab"
    folder.mkdir(parents=True)
    shown = {f"{task.key}-image.png": b"1", f"{'0' * 24}-image.png": b"seen", f"{'0' * 24}-zoom.png": b"2"}
    for name, data in (shown | {f"{'1' * 24}-image.png": b"another"}).items():
        (folder / name).write_bytes(data)
    erase.apply(layout.root, closure(one, digests=(hashlib.sha256(b"seen").hexdigest(),)))
    assert [path.name for path in folder.iterdir()] == [f"{'1' * 24}-image.png"]


def test_a_server_that_nobody_knows_stops_it_before_anything_is_changed(layout, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_URL")
    removal, before = closure(rows(layout)[0].record_id), files_of(layout.root)
    for step in (erase.plan, erase.apply):
        with pytest.raises(UserError, match=r"tasks were sent to it\. If it is gone for good, set LABEL_STUDIO_URL"):
            step(layout.root, removal)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    for step in (erase.plan, erase.apply):
        with pytest.raises(UserError, match=r"http://127.0.0.1:9 does not answer") as told:
            step(layout.root, removal)
        assert "0" * 40 not in str(told.value)
    assert files_of(layout.root) == before


def test_imported_texts_go_where_nobody_was_ever_asked(tmp_path):
    layout = desks.dataset(tmp_path / "data", photos=3)
    assert erase.plan(layout.root, closure("0" * 24)) == erase.apply(layout.root, closure("0" * 24)) == []
    assert not (layout.root / "private" / "annotation" / "log.sqlite").exists()


def test_agreement_is_written_beside_the_reports_with_the_same_bytes(layout):
    told, path = agreement_of(layout), layout.root / "reports" / reports.AGREEMENT
    before = path.read_bytes()
    with open_desk(layout.root, write=True) as desk:
        reports.write(desk)
    assert path.read_bytes() == before
    assert told["overall"]["repeated"] == len(told["records"]) > 0
    assert all(-1 <= share <= 1 for share in told["records"].values()) and len(set(told["records"].values())) > 1


def test_logs_and_exports_of_the_server_here_are_emptied(tmp_path):
    studio = tmp_path / "studio"
    (studio / "export").mkdir(parents=True)
    (studio / "media" / "export" / "1").mkdir(parents=True)
    for name in ("studio.log", "studio.before.log", "export/all.json", "media/export/1/copy.json"):
        (studio / name).write_text("what somebody said")
    with (studio / "studio.log").open("a") as running:
        purge(tmp_path)
        running.write("later")
    assert {path.name: path.read_text() for path in studio.rglob("*") if path.is_file()} == {"studio.log": "later"}


def test_a_rebuilt_database_holds_nothing_that_was_deleted_though_it_is_open_elsewhere(tmp_path):
    path, secret = tmp_path / "label_studio.sqlite3", "what somebody said " * 500
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE task (data TEXT)")
        other.executemany("INSERT INTO task VALUES (?)", [(secret,), ("kept",)])
        other.execute("DELETE FROM task WHERE data != 'kept'")
        held = {file.name for file in tmp_path.iterdir() if b"what somebody said" in file.read_bytes()}
        assert held
        rebuild(path)
        assert [file.name for file in tmp_path.iterdir() if b"what somebody said" in file.read_bytes()] == []
        assert other.execute("SELECT data FROM task").fetchall() == [("kept",)]


def test_a_database_that_is_damaged_is_told_in_a_sentence(tmp_path):
    (tmp_path / "label_studio.sqlite3").write_bytes(b"no database " * 1000)
    with pytest.raises(UserError, match=r"could not be rebuilt .*it still holds deleted rows"):
        rebuild(tmp_path / "label_studio.sqlite3")


def test_pictures_that_were_uploaded_elsewhere_are_named():
    key = "ab" + "0" * 22
    data = {"key": key, "image": f"s3://bucket/tasks/ab/{key}-image.png"}
    remote = Remote(1, key, data, 1, 0, desks.MORNING)
    local = Remote(2, key, {"key": key, "image": f"/data/local-files/?d=tasks/ab/{key}-image.png"}, 1, 0, desks.MORNING)
    assert [*_bases(remote)] == ["s3://bucket/tasks/"] and [*_bases(local)] == []
    where = Place(Connection("https://label.example.org", "0" * 40), here=False, runs=True)
    steps = [*owed(where, Found({}, (), frozenset(_bases(remote)), {}), [key])]
    assert [step.where for step in steps] == ["https://label.example.org", "s3://bucket/tasks/"]
    assert "VACUUM FULL" in steps[0].what and f"ab/{key}-*.png" in steps[1].what


def test_nothing_is_asked_anew_while_a_removal_is_under_way(layout):
    removal = closure(rows(layout)[0].record_id)
    begin(layout.root, removal)
    with open_desk(layout.root) as desk:
        with pytest.raises(UserError, match=r"A removal is not completed in .*completes it first"):
            due(desk)
        finish(layout.root)
        assert due(desk)


def test_records_go_while_a_killed_removal_has_put_the_manifests_aside(layout):
    (layout.forged / "manifest.json").rename(layout.forged / ".manifest.json.removal")
    one = rows(layout)[0].record_id
    assert erase.plan(layout.root, closure(one))
    erase.apply(layout.root, closure(one))
    assert [*erase.traces(layout.root, closure(one))] == []
    with open_desk(layout.root) as desk, pytest.raises(UserError, match=r"manifest"):
        _ = desk.subjects
