"""Pull: brings what people answered into the log. Reading a window twice does no harm: what is known is passed over.

Usually only tasks that changed are asked for, by the server's own clock, with a look back in case that clock was set.
Once a day everything is: deletions and quiet changes of ownership do not show in a task's time.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from mmtt.errors import UserError
from mmtt.ids import digest

from ..log import Log, New
from .projects import known, require_marked
from .studio import Remote, Studio

LOOK_BACK = timedelta(minutes=10)
FULL_EVERY = timedelta(days=1)
FULL = "reconciled"

# What is kept of an annotation: what was said, by whom, when, and what tells of tampering. Never names or addresses.
_KEPT = (
    "unique_id", "completed_by", "updated_by", "result", "was_cancelled", "ground_truth", "created_at", "updated_at",
    "draft_created_at", "lead_time", "parent_annotation", "last_action",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull came to: annotations read, new, changed, vanished; tasks that are not ours, that were not read."""

    read: int = 0
    new: int = 0
    changed: int = 0
    vanished: int = 0
    foreign: int = 0
    unread: int = 0
    full: bool = False


def pull(
    studio: Studio,
    log: Log,
    marker: str,
    *,
    full: bool = False,
    now: datetime | None = None,
    nobody: Collection[int] = (),
) -> Pulled:
    """Read every project that the log knows; return what was found.

    Args:
        studio: the server.
        log: where to append.
        marker: what tells the dataset's projects from others.
        full: read everything, whatever changed.
        now: our own time, which only decides whether the daily full read is due.
        nobody: accounts of people who were erased: what is still theirs there is not read.

    Raises:
        UserError: there is no project yet, or one was deleted on the server. What was read before is in the log.
    """
    projects = require_marked(studio, log, marker)
    if not projects:
        raise UserError(f"{log.path.parent} knows no project. `mmtt annotate push DIR` makes them first.")
    now = now or datetime.now(UTC)
    full = full or _is_due(log.mark(FULL), now)
    keys = {event.subject for event in log.events("task") if event.payload is not None}  # erased ones do not come back
    last = _last(log)
    read = [_Reader(studio, log, Place(name, number), keys, last, nobody) for name, number in projects.items()]
    for reader in read:
        reader.read(full)
    if full:
        log.set_marks({FULL: now.isoformat()})
    names = ("seen", "new", "changed", "vanished", "foreign", "unread")
    return Pulled(*(sum(getattr(reader, name) for reader in read) for name in names), full)


def progress(log: Log) -> tuple[str | None, str | None]:
    """Return until when all was read, by the server's clock, and when everything was read last, by ours; ISO 8601."""
    places = [Position.from_json(log.mark(Place(name, number).mark)) for name, number in known(log).items()]
    moments = [found.moment for found in places if found is not None]
    return (max(moments).isoformat() if moments else None, log.mark(FULL))


class Place(NamedTuple):
    """A project: our name for it, and its number on the server."""

    name: str
    number: int

    @property
    def mark(self) -> str:
        """The name of the mark that says how far it was read."""
        return f"position {self.name} {self.number}"


def _is_due(mark: str | None, now: datetime) -> bool:
    return mark is None or abs(now - datetime.fromisoformat(mark)) >= FULL_EVERY


@dataclass(frozen=True, slots=True)
class Position:
    """How far a project was read: up to which moment of its server's clock.

    seen: when each task of the window before that had changed last, so that looking back reads only what is newer.
    """

    moment: datetime
    seen: Mapping[int, datetime]

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps([self.moment.isoformat(), {i: t.isoformat() for i, t in self.seen.items()}])

    @classmethod
    def from_json(cls, text: str | None) -> "Position | None":
        """Read what `to_json` wrote; None for none."""
        if text is None:
            return None
        moment, seen = json.loads(text)
        return cls(datetime.fromisoformat(moment), {int(i): datetime.fromisoformat(t) for i, t in seen.items()})


def position(remotes: Sequence[Remote], before: Position | None) -> Position:
    """Return how far a project is read after a listing.

    Without an earlier position it may lie before that: a clock that once ran ahead must not blind us for good.
    """
    moment = max(remote.updated for remote in remotes)
    if before is not None:
        moment = max(moment, before.moment)
    return Position(moment, {r.id: r.updated for r in remotes if r.updated >= moment - LOOK_BACK})


@dataclass(slots=True)
class _Last:
    """What the log last said of one annotation. `version` is None where it vanished; `erased` once and for all."""

    task: str = ""
    project: int = 0
    version: str | None = None
    erased: bool = False


def _last(log: Log) -> dict[str, _Last]:
    found: dict[str, _Last] = defaultdict(_Last)
    for event in log.events("answer", "vanished"):
        last = found[event.subject]
        if event.kind == "vanished":
            last.version = None
            continue
        last.task, last.project = event.header["task"], event.header["project"]
        last.erased = last.erased or event.payload is None
        last.version = digest(event.payload)
    return dict(found)


class _Reader:
    """Reads one project."""

    def __init__(
        self, studio: Studio, log: Log, place: Place, keys: set[str], last: dict[str, _Last], nobody: Collection[int]
    ) -> None:
        self._studio, self._log, self._place, self._number = studio, log, place, place.number
        self._keys, self._last, self._nobody = keys, last, nobody
        self._uids: set[str] = set()
        self._unread: set[str] = set()
        self.new = self.changed = self.vanished = self.foreign = 0

    @property
    def seen(self) -> int:
        return len(self._uids)

    @property
    def unread(self) -> int:
        return len(self._unread)

    def read(self, full: bool) -> None:
        before = Position.from_json(self._log.mark(self._place.mark))
        if full or before is None:
            remotes = self._studio.index(self._number)
        else:
            remotes = self._studio.changed(self._number, before.moment - LOOK_BACK)
        self.foreign = sum(remote.key not in self._keys for remote in remotes)
        seen = {} if full or before is None else before.seen
        due = [r for r in remotes if r.annotations and r.key in self._keys and seen.get(r.id) != r.updated]
        self._read_tasks(due)
        if full:
            self._log.append(self._vanished())
        if remotes:
            # Only now: a pull that was killed reads this window again; and what was not read, the next one.
            read = [remote for remote in remotes if remote.key not in self._unread]
            self._log.set_marks({self._place.mark: position(read or remotes, None if full else before).to_json()})

    def _read_tasks(self, due: Sequence[Remote]) -> None:
        left = {remote.id: remote.key or "" for remote in due}
        for tasks in self._studio.export(self._number, [*left]):
            self._log.append(self._news(tasks))
            for task in tasks:
                left.pop(task["id"], None)
        self._unread = set(left.values())

    def _news(self, tasks: Iterable[Mapping[str, Any]]) -> list[New]:
        events = []
        for task in sorted(tasks, key=lambda task: int(task["id"])):
            key = task["data"].get("key")
            told = task["annotations"] if key in self._keys else []  # anybody there may edit a task's data
            for annotation in sorted(told, key=lambda a: (a["created_at"], a["unique_id"])):
                uid = annotation["unique_id"]
                self._uids.add(uid)
                payload = {name: annotation.get(name) for name in _KEPT}
                if payload["completed_by"] not in self._nobody and self._is_news(uid, key, payload):
                    events.append(New("answer", uid, {"task": key, "project": self._number}, payload))
        return events

    def _is_news(self, uid: str, key: str, payload: Mapping[str, Any]) -> bool:
        last = self._last.get(uid)
        if last is None:
            self.new += 1
            return True
        if last.erased or (last.task == key and last.version == digest(payload)):
            return False  # what was erased does not come back, whatever becomes of it there
        self.changed += 1
        return True

    def _vanished(self) -> list[New]:
        """Answers of this project that a full read did not find, each told once; those of unread tasks are open."""
        mine = [uid for uid, last in self._last.items() if last.project == self._number and last.version is not None]
        gone = [uid for uid in sorted(set(mine) - self._uids) if self._last[uid].task not in self._unread]
        self.vanished = len(gone)
        return [New("vanished", uid, {"project": self._number}) for uid in gone]
