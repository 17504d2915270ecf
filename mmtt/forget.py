"""Forget: one removal through all applications, in an order that any kill leaves mendable.

check that all can be done → journal → deny-list → each application's files → the next release → search → journal goes
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from mmtt.applications import APPLICATIONS, load
from mmtt.errors import UserError
from mmtt.removal import Eraser, Removal, Step, Trace, begin, journal

Restage = Callable[[Removal], Sequence[Step]]
Between = Callable[[str], object]  # told of each step before it begins


def erasers() -> dict[str, Eraser]:
    """Return what each application offers, by its name."""
    found = {name: load(name, "erase") for name in APPLICATIONS}
    return {name: module for name, module in found.items() if module is not None}


def part(name: str) -> Any:
    """Return a module of the pipelines that a removal needs.

    Raises:
        UserError: this installation has no pipelines.
    """
    module = load("pipelines", name)
    if module is None:
        raise UserError("This installation of mmtt has no pipelines, so nobody can be taken out. Install it whole.")
    return module


def close(directory: Path, whom: str, runs: Sequence[str] = ()) -> Removal:
    """Return everything that has to go with a record, a photo or a person, the texts about them included.

    Args:
        directory: the dataset.
        whom: a record_id, a photo's path below `photos/`, or a name.
        runs: folders of runs and predictions that are to be looked in, too.

    Raises:
        UserError: nothing of that name is here, or a file cannot be read.
    """
    removal: Removal = part("erase").close(directory, whom)
    annotation = load("annotation", "erase")
    texts: Collection[str] = annotation.texts(directory, removal.records) if annotation is not None else ()
    return replace(removal, texts=tuple(sorted(texts)), runs=tuple(runs))


def under_way(directory: Path, whom: str | None, runs: Sequence[str] = ()) -> Removal | None:
    """Return the removal that was begun and not completed, with more folders of runs; None where there is none.

    Raises:
        UserError: it is about somebody else.
    """
    path = journal(directory)
    if not path.exists():
        return None
    begun = Removal.load(path)
    if whom not in (None, begun.asked):
        raise UserError(f"Another removal is not completed. `mmtt forget apply {directory}` completes it first.")
    return replace(begun, runs=tuple(sorted({*begun.runs, *runs})))


def plan(directory: Path, removal: Removal) -> list[Step]:
    """Return what has to be done, application by application; nothing is changed.

    Raises:
        UserError: something has to be there first.
    """
    return [step for eraser in erasers().values() for step in eraser.plan(directory, removal)]


def apply(
    directory: Path, removal: Removal, on: date, restage: Restage, between: Between = lambda _: None
) -> Iterator[Step]:
    """Take it out; yield what was done when it is. Killed at any moment and called again, it completes.

    The journal stays: `mmtt.removal.finish` ends the removal, once a search finds nothing.

    Args:
        directory: the dataset.
        removal: what goes.
        on: the day.
        restage: stages the next release where there was one.
        between: is told of each step before it begins.

    Raises:
        UserError: something has to be there first, or another removal is under way.
    """
    plan(directory, removal)
    between("journal")
    begin(directory, removal)
    between("deny-list")
    part("erase").deny(directory, removal, on)
    # Last of all what tells who has to go: photos and their tables.
    for name in sorted(erasers(), key=lambda name: name == "pipelines"):
        between(name)
        yield from erasers()[name].apply(directory, removal)
    between("release")
    yield from restage(removal)
    between("end")


def verify(directory: Path, removal: Removal) -> list[Trace]:
    """Return what a search of all applications' files, servers and logs still finds, each once."""
    found = [trace for eraser in erasers().values() for trace in eraser.traces(directory, removal)]
    return list(dict.fromkeys(found))
