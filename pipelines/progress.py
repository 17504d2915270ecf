"""How a run tells a person that it moves."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mmtt.stage import ShardJob

Progress = Callable[[Sequence[ShardJob], Iterator[Any]], Iterator[Any]]


def silent(due: Sequence[ShardJob], results: Iterator[Any]) -> Iterator[Any]:  # noqa: ARG001 - the callers' signature
    """Pass results through."""
    yield from results


def bar(title: str) -> Progress:
    """Return a progress that draws a bar on standard error, a step for each shard."""

    def show(due: Sequence[ShardJob], results: Iterator[Any]) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as drawn:
            task = drawn.add_task(f"{title}: shards", total=len(due))
            for result in results:
                drawn.advance(task)
                yield result

    return show
