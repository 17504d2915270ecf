"""Desks: a tiny dataset of drawn people, and a log filled as `push` and `pull` fill it. All that is said is made up.

layout = dataset(tmp_path)
enrol(layout, person("ann", 1), person("ben", 2, writes="model"))
tasks = push(layout)
answer(layout, tasks[0], by=1, at=MORNING, regions=("nose",), report="The nose has a seam.")
with open_desk(layout.root) as desk: ...
"""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from annotation import history
from annotation.desk import Desk, open_desk
from annotation.log import New
from annotation.people import MAP, Person
from annotation.private import private_folder, write_private
from annotation.protocols import CONTROLS, Control
from annotation.sync import projects
from annotation.sync.pull import FULL, Place, Position
from annotation.tasks import Task, wanted
from mmtt.layout import Layout
from tests.factories import build, tiny_dataset

MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)
_TYPES = {Control.REPORT: ("textarea", "text"), Control.DIFFICULTY: ("rating", "rating")}


class Said(NamedTuple):
    """One answer: to which task, by which account, when it was submitted, and what was filled in.

    `controls`: what each control holds, by its name. `seconds`: what the browser claims. `uid`: of an answer that is
    given anew. `changes`: of what the server says of it, such as `updated_by`.
    """

    task: Task
    by: int
    at: datetime
    controls: Mapping[str, Any]
    seconds: float = 90.0
    skipped: bool = False
    uid: str | None = None
    changes: Mapping[str, Any] = {}


@cache
def _built(photos: int) -> Path:
    layout = tiny_dataset(Path(tempfile.mkdtemp(prefix="mmtt-desks-")) / "tiny", photos, ("recolour", "self_blend"))
    build(layout)
    return layout.root


def dataset(root: Path, photos: int = 6, **annotate: Any) -> Layout:
    """Return a built dataset in a new directory; its `annotate` section is what is given. Built once a process."""
    shutil.copytree(_built(photos), root, dirs_exist_ok=True)
    layout = Layout(root)
    recipe = yaml.safe_load(layout.recipe.read_text(encoding="utf-8"))
    section = {"qualification_tasks": 0, "overlap_share": 1.0, "catch_share": 0.0, "gold_share": 0.0} | annotate
    layout.recipe.write_text(yaml.safe_dump({**recipe, "annotate": section}), encoding="utf-8")
    return layout


def person(pseudonym: str, user_id: int, **changes: str) -> Person:
    """Return one annotator; their texts are made up from templates."""
    known = {"login": f"{pseudonym}@annotators.invalid", "email": "", "name": "", "language": "en", "status": "active"}
    return Person(pseudonym=pseudonym, user_id=user_id, **{**known, "writes": "template", **changes})


def enrol(layout: Layout, *people: Person) -> None:
    """Write `people.csv`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Person)])
    writer.writeheader()
    writer.writerows(asdict(one) for one in people)
    write_private(private_folder(layout.root) / MAP, text.getvalue())


def push(layout: Layout) -> list[Task]:
    """Log every task that is wanted now and was not sent before, as a push does; return all that are wanted."""
    with open_desk(layout.root, write=True) as desk:
        tasks, sent = due(desk), history.tasks(desk.log)
        fresh = sorted({task.project for task in tasks} - set(projects.known(desk.log)))
        made = [New("project", name, {"number": 100 + n, "interface_sha256": "0" * 64}) for n, name in enumerate(fresh)]
        new = [New("task", t.key, {"project": t.project}, t.facts) for t in tasks if t.key not in sent]
        desk.log.append([*made, *new])
    return tasks


def due(desk: Desk) -> list[Task]:
    """Return every task that is wanted now."""
    return wanted(desk.chosen, desk.standing, desk.settings, desk.secret)


def answer(layout: Layout, task: Task, by: int, at: datetime = MORNING, **controls: Any) -> str:
    """Log one answer, as a pull does, and return its uid; what is not said is a plain report of the nose."""
    return pull(layout, [Said(task, by, at, controls)])[0]


def pull(layout: Layout, answers: Iterable[Said]) -> list[str]:
    """Log answers, as a pull does, and return their uids."""
    with open_desk(layout.root, write=True) as desk:
        first = sum(1 for _ in desk.log.events("answer"))
        events = [
            _event(said, f"{first + place:08d}-0000-4000-8000-{said.by:012d}") for place, said in enumerate(answers)
        ]
        desk.log.append(events)
        newest = max(event.payload["updated_at"] for event in events if event.payload)
        read = Position(datetime.fromisoformat(newest), {}).to_json()
        desk.log.set_marks(
            {Place(name, number).mark: read for name, number in projects.known(desk.log).items()} | {FULL: newest}
        )
    return [event.subject for event in events]


def _event(said: Said, uid: str) -> New:
    at, header = said.at.isoformat(), {"task": said.task.key, "project": said.task.project}
    payload = {
        "unique_id": said.uid or uid,
        "completed_by": said.by,
        "updated_by": said.by,
        "result": [] if said.skipped else results(said.task, said.controls),
        "was_cancelled": said.skipped,
        "ground_truth": False,
        "created_at": at,
        "updated_at": at,
        "draft_created_at": (said.at - timedelta(seconds=said.seconds * 0.7)).isoformat(),
        "lead_time": said.seconds,
        "parent_annotation": None,
        "last_action": "submitted",
        **said.changes,
    }
    return New("answer", payload["unique_id"], header, payload)


def results(task: Task, controls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return an annotation's `result`, as Label Studio writes it."""
    plain = {
        "verdict": "visible", "regions": ("nose",), "report": "The nose has a seam where it meets the left cheek.",
        "difficulty": 2, "match": "yes",
    }  # fmt: skip
    held = {**{name: plain[name] for name in plain if name in CONTROLS[task.stage]}, **controls}
    return [_result(name, value) for name, value in held.items() if value not in (None, (), "")]


def _result(name: str, value: Any) -> dict[str, Any]:
    kind, key = _TYPES.get(Control(name), ("choices", "choices"))
    shown: Sequence[Any] | int = value if kind == "rating" else [value] if isinstance(value, str) else list(value)
    return {"from_name": name, "to_name": "image", "type": kind, "value": {key: shown}}
