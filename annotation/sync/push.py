"""Push: brings the tasks that should be on the server there, each once, whatever fails on the way.

A task's facts are logged before it is sent, so that every answer can be told what it answers. What is there is read
from the server, never remembered: after a request that was not answered it is read again, and what is still missing is
sent. A task is known by its key, because the server gives numbers of deleted tasks to new ones.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.progress import Progress

from ..log import Log, New
from ..tasks import REWORK_PREFIX, Task
from .calls import Ambiguous
from .studio import Project, Remote, Studio, keyed

BATCH = 1000
_ROUNDS = 6
_SETTLING_S = 1.0
_DERIVED = ("verify", "adjudicate", REWORK_PREFIX)  # tasks that follow from answers, and go when they no longer do


class Queue(NamedTuple):
    """Where tasks go: our name for it, its project, the log, what the address of every picture begins with."""

    name: str
    studio: Studio
    log: Log
    project: Project
    base: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Difference:
    """What a push has to do in one project.

    lost: keys that have answers in the log but are gone from the server; they are told, and not asked again.
    """

    create: Sequence[Task] = ()
    change: Sequence[tuple[Remote, Mapping[str, str]]] = ()
    people: Sequence[tuple[Remote, int]] = ()
    delete: Sequence[Remote] = ()
    doubled: Sequence[str] = ()
    unwanted: Sequence[str] = ()
    lost: Sequence[str] = ()
    foreign: int = 0
    kept: int = 0

    @property
    def open(self) -> int:
        """How many changes the server still needs."""
        return len(self.create) + len(self.change) + len(self.people) + len(self.delete)

    def counts(self) -> dict[str, int]:
        """Return how much of each there is."""
        named = {name: len(getattr(self, name)) for name in ("create", "change", "people", "delete")}
        told = {name: len(getattr(self, name)) for name in ("doubled", "unwanted", "lost")}
        return {**named, **told, "foreign": self.foreign, "kept": self.kept}


@dataclass(frozen=True, slots=True)
class Answered:
    """What the log knows of the tasks of one project: those with answers, and all that were ever ours."""

    keys: frozenset[str] = field(default_factory=frozenset)
    ours: frozenset[str] = field(default_factory=frozenset)


def difference(
    name: str, tasks: Sequence[Task], remotes: Sequence[Remote], answered: Answered, base: str, *, retire: bool = False
) -> Difference:
    """Compare what should be on the server with what is.

    Args:
        name: our name for the project.
        tasks: all that it should hold.
        remotes: what its server lists.
        answered: what the log knows.
        base: what every address of a picture begins with.
        retire: whether tasks that nobody answered go when they are no longer wanted; derived ones always do.
    """
    there, by_key = keyed(remotes), {task.key: task for task in tasks}
    ours = {*by_key, *answered.ours}
    firsts = {key: _first(found) for key, found in there.items()}
    both = [(by_key[key], remote) for key, remote in firsts.items() if key in by_key]
    unwanted = [remote for key, remote in firsts.items() if key not in by_key and key in answered.ours]
    goes = [r for r in unwanted if not r.annotations and (retire or name.startswith(_DERIVED))]
    going = {remote.id for remote in goes}
    spare = [r for key, found in there.items() for r in found if r is not firsts[key]]
    missing = [task for task in tasks if task.key not in there]
    return Difference(
        create=[task for task in missing if task.key not in answered.keys],
        change=[(r, task.data(base)) for task, r in both if not r.annotations and dict(r.data) != task.data(base)],
        people=[(remote, task.people) for task, remote in both if remote.overlap != task.people],
        delete=[*goes, *(remote for remote in spare if not remote.annotations)],
        doubled=[remote.key or "" for remote in spare if remote.annotations],
        unwanted=[remote.key or "" for remote in unwanted if remote.id not in going],
        lost=[task.key for task in missing if task.key in answered.keys],
        foreign=sum(remote.key not in ours for remote in remotes),
        kept=len(both),
    )


def _first(found: Sequence[Remote]) -> Remote:
    """Of several tasks with one key the one that counts: answered before not, then the oldest."""
    return min(found, key=lambda remote: (not remote.annotations, remote.id))


def push(queue: Queue, tasks: Sequence[Task], answered: Answered, *, retire: bool = False) -> Difference:
    """Make one project hold exactly its tasks; return what had to be done.

    Raises:
        UserError: the server refuses, or keeps failing; what is there stays there, and the next push goes on.
    """
    first = done = _compare(queue, tasks, answered, retire)
    for _ in range(_ROUNDS):
        if not done.open:
            return first
        try:
            _apply(queue, done)
        except Ambiguous:
            _settle(queue)
        done = _compare(queue, tasks, answered, retire)
    hint = f"{done.open} changes of '{queue.project.title}' are open. Run the push again."
    raise UserError(f"{queue.studio.url} keeps failing: {hint}")


def _compare(queue: Queue, tasks: Sequence[Task], answered: Answered, retire: bool) -> Difference:
    return difference(queue.name, tasks, queue.studio.index(queue.project.id), answered, queue.base, retire=retire)


def _settle(queue: Queue) -> None:
    """Wait until the server's count stands still: a request that was given up may still be at work there."""
    before = -1
    while (now := queue.studio.project(queue.project.id).tasks) != before:
        before = now
        time.sleep(_SETTLING_S)


def _apply(queue: Queue, todo: Difference) -> None:
    for remote in todo.delete:
        if not queue.studio.is_answered(remote.id):  # meanwhile
            queue.studio.delete_task(remote.id)
    for remote, data in todo.change:
        queue.studio.set_data(remote.id, data)
    _create(queue, todo.create)
    for remote, people in todo.people:
        queue.studio.set_overlap(remote.id, people)


def _create(queue: Queue, tasks: Sequence[Task]) -> None:
    """Send tasks, those for one person first.

    The server gives every new task the project's maximum, and changing one task takes it a tenth of a second. But a
    changed maximum touches only tasks that are for several people already, as soon as there is one. So: the single ones
    while the maximum is 1, one shared task and its own overlap, then the maximum, then the other shared ones.
    """
    single = [task for task in tasks if task.people == 1]
    shared = [task for task in tasks if task.people > 1]
    _send(queue, single)
    if shared:
        _send(queue, shared[_open_for_several(queue, shared) :])


def _open_for_several(queue: Queue, shared: Sequence[Task]) -> int:
    """Raise the project's maximum without touching tasks for one person; return how many tasks were sent for that."""
    most, number, studio = max(task.people for task in shared), queue.project.id, queue.studio
    now = studio.project(number)
    if now.maximum == most:
        return 0
    if now.tasks:
        _send(queue, shared[:1])
        studio.set_overlap(keyed(studio.index(number))[shared[0].key][0].id, most)
    studio.configure(number, maximum_annotations=most)
    return 1 if now.tasks else 0


def _send(queue: Queue, tasks: Sequence[Task]) -> None:
    batches = [tasks[start : start + BATCH] for start in range(0, len(tasks), BATCH)]
    for _ in queue.progress(batches, (_send_batch(queue, batch) for batch in batches)):
        pass


def _send_batch(queue: Queue, batch: Sequence[Task]) -> None:
    queue.log.append(New("task", task.key, {"project": task.project}, task.facts) for task in batch)
    queue.studio.add(queue.project.id, [task.data(queue.base) for task in batch])
