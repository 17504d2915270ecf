"""Records are taken out of a real Label Studio, of its files, and of ours; all that is said is made up."""

import json
import os
import signal
import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annotation import erase, history, reports
from annotation.desk import open_desk
from annotation.page import write_page
from annotation.quality import RULES
from annotation.server.serve import running
from annotation.sync.delivery import Delivery, deliver, local_gallery, render
from annotation.sync.projects import known
from annotation.sync.pull import pull
from annotation.sync.studio import Studio
from mmtt.executors import serial
from mmtt.manifest import read_columns
from mmtt.removal import Removal
from mmtt.reports import Report
from mmtt.shards import read_table
from tests.annotation import desks

QUIET = {"ignore": list(RULES)}  # one account writes everything, in words that say nothing
UNPULLED, BEGUN = "Never pulled: the forehead has a seam of its own.", "Begun, never submitted: the chin is soft."


class World:
    """A dataset, its server, and one account that writes all answers."""

    def __init__(self, root: Path) -> None:
        self.layout = desks.dataset(root, photos=3, overlap=1, overlap_share=0.0, quality=QUIET)
        self.root, self.said = root, {}
        self._stack = ExitStack()
        self.connection = self._stack.enter_context(running(root))
        self.studio = self._stack.enter_context(Studio(self.connection))
        desks.enrol(self.layout, desks.person("ann", self.studio.user_id, writes="template"))

    def stop(self) -> None:
        self._stack.close()

    def push(self) -> None:
        with open_desk(self.root, write=True) as desk:
            folder = render(desk, serial)
            deliver(Delivery(desk, self.studio, local_gallery(str(folder.resolve()))))

    def pull(self, full=False) -> None:
        with open_desk(self.root, write=True) as desk:
            pull(self.studio, desk.log, desk.marker, full=full)

    def write(self) -> list[Report]:
        with open_desk(self.root, write=True) as desk:
            return reports.write(desk)[0]

    def facts(self):
        with open_desk(self.root) as desk:
            return history.tasks(desk.log)

    def answer(self, project: str, **controls) -> None:
        """Answer every task of a project that has no answer, each in words of its own; some in Chinese."""
        facts = self.facts()
        with open_desk(self.root) as desk:
            number = known(desk.log)[project]
        for remote in self.studio.index(number):
            if not remote.annotations:
                text = f"{project}: the nose has a seam of kind {remote.key}, 鼻梁上有一条接缝{remote.key}。"
                self.said.setdefault(facts[remote.key]["record_id"], set()).add(text)
                self.submit(remote.id, text, **controls)

    def submit(self, task: int, text: str, draft=False, **controls) -> None:
        held = {"verdict": "visible", "regions": ("nose",), "report": text, "difficulty": 2} | controls
        results = [desks._result(name, value) for name, value in held.items() if value]
        if draft:
            create = f"/api/tasks/{task}/drafts"
            self.studio._http.post(
                self.connection.url + create,
                json={"result": results, "lead_time": 3.0},
                headers={"Authorization": f"Token {self.connection.token}"},
            ).raise_for_status()
        else:
            self.studio.api.annotations.create(id=task, result=results, lead_time=90.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Described, pulled, verified by halves, reported, shown on the curator's page, in a snapshot, and drafted."""
    made = World(tmp_path_factory.mktemp("erased") / "data")
    try:
        fill(made)
        yield made
    finally:
        made.stop()


def fill(made: World) -> None:
    made.push()
    made.answer("describe")
    made.pull()
    made.push()
    made.answer("verify", verdict=None, regions=None, difficulty=None, match="yes")
    made.pull()
    made.write()
    with open_desk(made.root, write=True) as desk:
        write_page(desk)
        number = known(desk.log)["describe"]
    made.studio.api.projects.exports.create(number, title="a copy")


def removal_of(world, place) -> Removal:
    """The closure of one photo: its pristine record, and all that was forged from it."""
    pristine = sorted(row["record_id"] for row in read_columns(world.layout.pristine, ["record_id"]))[place]
    rows = read_columns(world.layout.forged, ["record_id", "target_id", "source_id", "image_sha256"])
    forged = [row for row in rows if pristine in (row["target_id"], row["source_id"])]
    first = next(
        r for r in read_columns(world.layout.pristine, ["record_id", "image_sha256"]) if r["record_id"] == pristine
    )
    records = (pristine, *sorted(row["record_id"] for row in forged))
    return Removal(
        asked="one", records=records, pristine=(pristine,), photos=(), subjects=(), origin_ids=(), phashes=(),
        digests=(first["image_sha256"], *sorted(row["image_sha256"] for row in forged)),
        texts=tuple(erase.texts(world.root, records)),
    )  # fmt: skip


def found(world, words) -> set[str]:
    """The files below the folders of annotation in which some words stand, in the bytes or in a cell."""
    sought = {word.encode() for word in words} | {json.dumps(word)[1:-1].encode() for word in words}
    roots = [world.root / "private" / "annotation", world.root / "reports", world.layout.annotation_page]
    paths = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file()]
    return {path.name for path in paths if any(word in told for told in contents(path) for word in sought)}


def contents(path: Path):
    yield path.read_bytes() + str(path).encode()
    if path.suffix == ".parquet":
        yield repr(pq.read_table(path).to_pylist()).encode()
    if ".sqlite" in path.name and not path.name.endswith(("-wal", "-shm", "-journal")):
        with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as base:
            base.text_factory = bytes
            for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in base.execute(f'SELECT * FROM "{table.decode()}"'):
                    yield b" ".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)


def keys_of(world, removal) -> set[str]:
    return {key for key, fact in world.facts().items() if fact["record_id"] in removal.records}


def test_records_are_taken_out_of_a_server_that_runs(world, monkeypatch):
    removal = removal_of(world, 0)
    keys, mine = keys_of(world, removal), {t for r in removal.records for t in world.said.get(r, ())}
    others = {text for record, texts in world.said.items() if record not in removal.records for text in texts}
    assert set(removal.texts) == mine and len(mine) >= 4 and others
    tasks = [r for p in world.studio.projects() for r in world.studio.index(p.id) if r.key in keys]
    world.submit(tasks[0].id, UNPULLED)
    world.submit(tasks[1].id, BEGUN, draft=True)
    before = {row.report_id: row for row in read_table(world.root / "reports" / "reports.parquet", Report)}
    assert {"label_studio.sqlite3", "log.sqlite", "reports.parquet", "annotation.html"} <= found(world, mine)

    planned = erase.plan(world.root, removal)
    assert {"reports/reports.parquet", "private/annotation/log.sqlite"} <= {step.where for step in planned}
    assert any("snapshots" in step.what for step in planned)
    assert found(world, mine) >= {"label_studio.sqlite3", "log.sqlite"}  # nothing is changed by planning
    assert [*erase.traces(world.root, removal)]

    away = elsewhere(world, removal, monkeypatch)
    assert [step.where for step in away if "its administrator must rebuild the tables" in step.what] == [
        world.connection.url.replace("127.0.0.1", "localhost")
    ]

    done = erase.apply(world.root, removal)
    assert {step.where for step in done} == {step.where for step in planned}
    assert found(world, {*mine, UNPULLED, BEGUN, *removal.records, *removal.digests}) == set()
    assert found(world, keys) == {"log.sqlite"}  # opaque names in the chain, and nowhere else
    assert [*erase.traces(world.root, removal)] == []
    assert found(world, others) >= {"label_studio.sqlite3", "log.sqlite", "reports.parquet"}

    after = {row.report_id: row for row in read_table(world.root / "reports" / "reports.parquet", Report)}
    assert after == {name: row for name, row in before.items() if row.record_id not in removal.records}
    with open_desk(world.root) as desk:
        assert desk.log.faults() == []
    world.pull(full=True)
    assert found(world, {*mine, UNPULLED, BEGUN, *removal.records}) == set()
    assert erase.apply(world.root, removal) == []


def elsewhere(world, removal, monkeypatch):
    """What is planned where the server is a team's, not the one of this dataset."""
    with monkeypatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", world.connection.url.replace("127.0.0.1", "localhost"))
        patch.setenv("LABEL_STUDIO_API_KEY", world.connection.token)
        return erase.plan(world.root, removal)


POINTS = (
    ("delete_snapshot", "return"), ("delete_task", "return"), ("rebuild", "call"), ("rebuild", "return"),
    ("erase", "call"), ("erase", "return"), ("write_table", "return"),
)  # fmt: skip


def killed(world, removal, point) -> bool:
    """Whether a process that takes records out came to a point, where it was killed; else it has come to its end."""
    child = os.fork()
    if not child:
        try:
            sys.setprofile(lambda frame, event, _: _die(frame.f_code.co_name, event) if event in EVENTS else None)
            _die.point = point
            erase.apply(world.root, removal)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


EVENTS = ("call", "return")


def _die(name, event) -> None:
    if (name, event) == _die.point:
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_at_any_point_it_completes(world):
    removal = removal_of(world, 1)
    with open_desk(world.root) as desk:
        number = known(desk.log)["describe"]
    world.studio.api.projects.exports.create(number, title="another copy")
    assert removal.texts
    assert [point for point in POINTS if not killed(world, removal, point)] == []
    erase.apply(world.root, removal)
    assert [*erase.traces(world.root, removal)] == []
    assert found(world, {*removal.texts, *removal.records, *removal.digests}) == set()
    with open_desk(world.root) as desk:
        assert desk.log.faults() == []


def test_a_server_that_does_not_run_is_started_for_the_while(world):
    world.stop()
    removal = removal_of(world, 2)
    (step,) = [step for step in erase.plan(world.root, removal) if step.where == "Label Studio"]
    assert "is started for the while" in step.what
    assert [*erase.traces(world.root, removal)]
    erase.apply(world.root, removal)
    assert [*erase.traces(world.root, removal)] == []
    assert found(world, {*removal.texts, *removal.records, *removal.digests}) == set()
