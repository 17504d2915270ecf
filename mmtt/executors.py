"""Executors: each one is a map over shards. Results come in the order of the items.

A cluster's executor is one more function of this shape.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any, Protocol, TypeVar

from mmtt.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """A map: calls a picklable function on each item, yields (item's position, result) as they finish."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield (position, result) for every item."""
        ...


def serial(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
    """Run in this process, in order."""
    for position, item in enumerate(items):
        yield position, function(item)


def processes(workers: int) -> Executor:
    """Return an executor that runs on that many fresh processes."""

    def run(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        # Spawned, not forked: image libraries keep threads that do not survive a fork.
        context = multiprocessing.get_context("spawn")
        count = max(1, min(workers, len(items)))
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
        try:
            yield from _finished(pool, function, items)
        except BrokenProcessPool as error:
            raise UserError(
                "A worker died (killed, or out of memory). Finished shards are kept: run the command again, "
                "with fewer --workers if memory was short."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return run


def _end_with_parent() -> None:
    """Make this worker end when its parent is killed, so that it never writes beside a later run."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _finished(pool: ProcessPoolExecutor, function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
    waiting: dict[Any, int] = {pool.submit(function, item): position for position, item in enumerate(items)}
    for future in as_completed(waiting):
        yield waiting.pop(future), future.result()


def executor(workers: int) -> Executor:
    """Return `serial` for one worker, `processes` for more.

    Raises:
        UserError: fewer than one worker.
    """
    if workers < 1:
        raise UserError(f"--workers is {workers}; it must be 1 or more.")
    return serial if workers == 1 else processes(workers)
