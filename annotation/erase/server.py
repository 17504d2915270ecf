"""Server: what Label Studio knows of some tasks, and how it goes: tasks, answers, drafts, snapshots, database pages.

Tasks are looked for in every project that the token may see, by our opaque key: somebody may have copied a project. A
deleted row stays in the pages of its database until that is rebuilt. For the server that `mmtt annotate serve` runs, we
do so, whether it runs or not; for any other a sentence tells what its administrator has to do.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.removal import Step

from ..log import Log
from ..private import folder
from ..server import connection as connections
from ..server.connection import URL, Connection
from ..server.environment import DATABASE
from ..server.serve import LOG, answers, clear_exports, running
from ..sync.calls import Ambiguous
from ..sync.projects import known, marked
from ..sync.studio import Remote, Studio

NONE = "none"  # what LABEL_STUDIO_URL says where there is no server any more
_KEY = re.compile(r"[0-9a-f]{24}")
_LOCAL_FILES = "/data/local-files/"
_WAIT_S = 120.0
_TRIES = 3


class Found(NamedTuple):
    """What a server has of ours: tasks, by project; snapshots, as project and number; addresses of pictures elsewhere.

    titles: of the projects.
    """

    tasks: Mapping[int, tuple[Remote, ...]]
    snapshots: tuple[tuple[int, int], ...]
    elsewhere: frozenset[str]
    titles: Mapping[int, str]


class Place(NamedTuple):
    """Where a dataset's tasks are: the server, and whether it is the one that `serve` runs, and runs now.

    connection: None where there is no server any more.
    """

    connection: Connection | None
    here: bool
    runs: bool


def place(directory: Path, log: Log) -> Place | None:
    """Return where a dataset's tasks are; None where none were ever sent.

    Raises:
        UserError: nobody knows the server, or its token.
    """
    if not known(log):
        return None
    if os.environ.get(URL, "").strip().lower() == NONE:
        return Place(None, False, False)
    try:
        connection = connections.find(directory)
    except UserError as error:
        hint = f"The log says that tasks were sent to it. If it is gone for good, set {URL}={NONE}."
        raise UserError(f"{error} {hint}") from None
    home = folder(directory)
    noted = connections.read_file(home / connections.FILE)
    here = (home / "studio" / DATABASE).is_file() and noted is not None and noted["url"] == connection.url
    return Place(connection, here, not here or answers(connection))


@contextlib.contextmanager
def reached(directory: Path, where: Place) -> Iterator[Studio]:
    """Connect to a server; the one of this dataset is started for the while, if it does not run.

    Raises:
        UserError: it does not answer, or cannot be started.
    """
    assert where.connection is not None
    with contextlib.ExitStack() as stack:
        connection = where.connection if where.runs else stack.enter_context(running(directory))
        # Whichever version: what cannot be taken out of a newer server is told, and what can goes.
        yield stack.enter_context(Studio(connection, any_version=True))


def find(studio: Studio, keys: Collection[str], ours: Collection[int]) -> Found:
    """Return what a server has of some tasks.

    Args:
        studio: the server.
        keys: of the tasks.
        ours: numbers of the dataset's own projects, whose snapshots may hold any task.
    """
    titles = {project.id: project.title for project in studio.projects()}
    shown = {n: tuple(r for r in studio.index(n) if _named(r) & set(keys)) for n in sorted(titles)}
    tasks = {number: remotes for number, remotes in shown.items() if remotes}
    concerned = sorted({*tasks, *ours} & set(titles))
    snapshots = tuple((number, pk) for number in concerned for pk in studio.snapshots(number))
    addresses = {base for found in tasks.values() for remote in found for base in _bases(remote)}
    return Found(tasks, snapshots, frozenset(addresses), titles)


def _named(remote: Remote) -> set[str]:
    """Every key that a task names: its own, and those of its pictures; anybody there may have edited either."""
    return {key for value in remote.data.values() for key in _KEY.findall(str(value))}


def _bases(remote: Remote) -> Iterator[str]:
    """What the addresses of a task's pictures begin with, where the server does not show our own folder."""
    for value in remote.data.values():
        text = str(value)
        if remote.key and text.endswith(".png") and remote.key in text and not text.startswith(_LOCAL_FILES):
            yield text.partition(f"{remote.key[:2]}/{remote.key}")[0]


def numbers(studio: Studio, log: Log, marker: str) -> dict[str, int]:
    """Return the numbers of a dataset's own projects on a server, by name."""
    return marked(studio, marker, known(log))


def delete(studio: Studio, keys: Collection[str], ours: Collection[int]) -> Found:
    """Delete all that a server has of some tasks, and see that it is gone; return what there was.

    Raises:
        UserError: it does not answer, refuses, or still has some.
    """
    first = found = find(studio, keys, ours)
    for _ in range(_TRIES):
        if not found.tasks and not found.snapshots:
            return first
        with contextlib.suppress(Ambiguous):
            for number, snapshot in found.snapshots:  # before the tasks: by those we know where to look
                studio.delete_snapshot(number, snapshot)
            for remote in (remote for remotes in found.tasks.values() for remote in remotes):
                studio.delete_task(remote.id)
        found = find(studio, keys, ours)
    raise UserError(f"{studio.url} still has {len(found.tasks)} projects with tasks to delete. Run the command again.")


def purge(home: Path) -> None:
    """Take what was deleted out of the files of the server that `serve` runs: database pages, exports, logs.

    Safe to be killed and run again, and while the server runs. `home` is the folder of a dataset's annotation.

    Raises:
        UserError: the database is busy for minutes, or damaged.
    """
    clear_exports(home)
    studio = home / "studio"
    for copy in (studio / "media" / "export").rglob("*"):  # a snapshot's file outlives it
        if copy.is_file() and not copy.is_symlink():
            copy.unlink(missing_ok=True)
    for log in studio.glob(f"{Path(LOG).stem}*.log"):
        if log.name == LOG:
            os.truncate(log, 0)  # a server that runs goes on writing in it
        else:
            log.unlink(missing_ok=True)
    if (studio / DATABASE).is_file():
        rebuild(studio / DATABASE)


def rebuild(path: Path) -> None:
    """Rebuild a SQLite file, so that no page of it holds what was deleted; and empty its write-ahead log, if any.

    Raises:
        UserError: it is busy for minutes, damaged, or there is no room.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as database:
            database.execute("PRAGMA temp_store=MEMORY")  # the copy must not lie in a folder of temporary files
            database.execute("VACUUM")
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise UserError(f"{path} could not be rebuilt ({error}); it still holds deleted rows. Run it again.") from error
    if busy:
        raise UserError(f"{path} is in use; its log still holds deleted rows. End Label Studio and run it again.")


def owed(where: Place, found: Found | None, keys: Iterable[str]) -> Iterator[Step]:
    """Yield what others have to do: a team's administrator, whoever uploaded pictures, who has a gone server's data."""
    if where.connection is None:
        yield Step(
            "Label Studio",
            f"{URL} says that there is no server any more: whoever has copies of its data, or backups, must erase these"
            " tasks in them",
        )
        return
    if not where.here:
        yield Step(
            where.connection.url,
            "its administrator must rebuild the tables (VACUUM FULL in PostgreSQL, VACUUM in SQLite), empty its folders"
            " `export` and `media/export` and its logs, and erase the tasks from backups",
        )
    names = ", ".join(f"{key[:2]}/{key}-*.png" for key in sorted(keys))
    for base in sorted(found.elsewhere) if found else ():
        yield Step(base, f"whoever uploaded the pictures there must delete {names}")
