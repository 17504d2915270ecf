"""Records: take some out of annotation, with all that people wrote about them, on the server and here.

Server first, since the log knows by which keys to look there; then files, the log's payloads, the tables. The chain of
the log stays whole. Killed at any moment and run again, it completes: keys of erased tasks stay in the log.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from mmtt.files import lock
from mmtt.layout import Layout
from mmtt.removal import Removal, Step, Trace

from ..desk import Desk, open_desk
from ..private import folder, private_folder
from ..server.connection import URL
from . import search, server, tables
from .told import LOG, Told, told

_WHY = "records were taken out"


def plan(directory: Path, removal: Removal) -> Sequence[Step]:
    """Return what `apply` would do, and what somebody else has to; nothing is changed.

    Raises:
        UserError: tasks were sent to a server, and it cannot be reached.
    """
    steps = [*_of_tables(directory, removal)]
    if (folder(directory) / LOG).is_file():
        with open_desk(directory) as desk:
            known = told(desk.log, removal.records)
            steps += [*_on_server(desk, known), *_in_files(desk, known, removal)]
    return steps


def _of_tables(directory: Path, removal: Removal) -> Iterator[Step]:
    for name, rows in tables.count(directory / "reports", set(removal.records)).items():
        yield Step(f"reports/{name}", f"rows that go: {rows}")


def _in_files(desk: Desk, known: Told, removal: Removal) -> Iterator[Step]:
    root, shown = desk.layout.root, tables.pictures(desk.folder / "pictures", known, set(removal.digests))
    if shown:
        yield Step(_named(desk.folder / "pictures", root), f"pictures that go: {len(shown)}")
    if known.seqs:
        events = f"events whose words are erased: {len(known.seqs)}, of {len(known.uids)} answers; the chain stays"
        yield Step(_named(desk.folder / LOG, root), events)
    if desk.layout.annotation_page.exists():
        yield Step(_named(desk.layout.annotation_page, root), "the page goes; `mmtt annotate page` writes it anew")


def _named(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _on_server(desk: Desk, known: Told) -> Iterator[Step]:
    where = server.place(desk.layout.root, desk.log) if known.keys else None
    if where is None:
        return
    if where.here and not where.runs:
        yield Step("Label Studio", f"is started for the while; tasks that go with their answers: {len(known.keys)}")
        return
    found = None
    if where.connection is not None:
        with server.reached(desk.layout.root, where) as studio:
            ours = server.numbers(studio, desk.log, desk.marker)
            found = server.find(studio, known.sought, ours.values())
        if not ours:
            told = f"has none of this dataset's projects; if they lie on another server, name that in {URL}"
            yield Step(where.connection.url, told)
        yield from _found(where.connection.url, found)
    yield from server.owed(where, found, known.keys)


def _found(url: str, found: server.Found) -> Iterator[Step]:
    for number, remotes in found.tasks.items():
        yield Step(f"{url} {found.titles[number]}", f"tasks that go, with their answers and drafts: {len(remotes)}")
    for number in sorted({number for number, _ in found.snapshots}):
        count = sum(project == number for project, _ in found.snapshots)
        yield Step(f"{url} {found.titles[number]}", f"snapshots that go: {count}")


def apply(directory: Path, removal: Removal) -> Sequence[Step]:
    """Take the records out, and return what was done, and what is left to somebody else.

    Raises:
        UserError: as `plan`, or the server or a file refuses; what was done stays done, and the same again goes on.
        LockedError: another command writes.
    """
    steps: list[Step] = []
    if (folder(directory) / LOG).is_file():
        with open_desk(directory, write=True) as desk:
            known = told(desk.log, removal.records)
            steps += _off_server(desk, known)
            steps += _off_files(desk, known, removal)
    steps += _of_tables(directory, removal)
    reports = Layout(directory).root / "reports"
    # No desk, no reader of it: the folder of an import is locked as one of annotation's would be.
    with lock(private_folder(directory)) if reports.is_dir() else nullcontext():
        if reports.is_dir():
            tables.drop(reports, set(removal.records))
    return steps


def _off_server(desk: Desk, known: Told) -> list[Step]:
    # Facts are erased after the server was: where none are left, there is nothing to do there.
    where = server.place(desk.layout.root, desk.log) if known.keys else None
    if where is None:
        return []
    found = None
    if where.connection is not None:
        with server.reached(desk.layout.root, where) as studio:
            ours = server.numbers(studio, desk.log, desk.marker)
            found = server.delete(studio, known.sought, ours.values())
    if where.here or where.connection is None:
        server.purge(desk.folder)
    told = [] if found is None or where.connection is None else [*_found(where.connection.url, found)]
    return [*told, *server.owed(where, found, known.keys)]


def _off_files(desk: Desk, known: Told, removal: Removal) -> list[Step]:
    steps = [*_in_files(desk, known, removal)]
    for torn in (desk.folder / "pictures").rglob(".*.tmp"):
        torn.unlink(missing_ok=True)
    for path in tables.pictures(desk.folder / "pictures", known, set(removal.digests)):
        path.unlink(missing_ok=True)
    desk.layout.annotation_page.unlink(missing_ok=True)
    desk.log.erase(known.seqs, _WHY)
    return steps


def traces(directory: Path, removal: Removal) -> Iterator[Trace]:
    """Yield what is left of the records in annotation: on the server, in its data, in every file and table here.

    The data of a server that `serve` ran are files here, whether it runs or not.

    Raises:
        UserError: a server that tasks were sent to cannot be reached.
    """
    known = Told()
    if (folder(directory) / LOG).is_file():
        with open_desk(directory) as desk:
            known = told(desk.log, removal.records)
            yield from search.log(known)
            yield from _left_on_server(desk, known)
    yield from search.files(directory, removal, known)


def _left_on_server(desk: Desk, known: Told) -> Iterator[Trace]:
    where = server.place(desk.layout.root, desk.log)
    if where is None or where.connection is None or not where.runs:
        return
    with server.reached(desk.layout.root, where) as studio:
        ours = server.numbers(studio, desk.log, desk.marker)
        found = server.find(studio, known.sought, ours.values())
    for number, remotes in found.tasks.items():
        yield Trace(f"{where.connection.url} {found.titles[number]}", f"tasks that are still there: {len(remotes)}")
