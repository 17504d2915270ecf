"""How a run tells a person that it moves."""

import sys
from collections.abc import Callable, Iterator, Sized
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

# Takes what is due and its results as they come; passes the results through.
Progress = Callable[[Sized, Iterator[Any]], Iterator[Any]]


def silent(due: Sized, results: Iterator[Any]) -> Iterator[Any]:  # noqa: ARG001 - the callers' signature
    """Pass results through."""
    yield from results


def bar(title: str) -> Progress:
    """Return a progress that draws a bar on standard error, a step for each result."""

    def show(due: Sized, results: Iterator[Any]) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as drawn:
            task = drawn.add_task(title, total=len(due))
            for result in results:
                drawn.advance(task)
                yield result

    return show


def for_person(title: str) -> Progress:
    """Return a bar where somebody watches standard error, else silence."""
    return bar(title) if sys.stderr.isatty() else silent
