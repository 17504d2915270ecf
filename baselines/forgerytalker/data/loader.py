"""Loader: batches of one epoch, the same whatever the number of workers, each sample once over all ranks.

A step's jobs are planned in this process and handed whole to a worker, so a worker holds no list of samples, and
nothing is decoded that is not used.
"""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmtt.errors import MmttError, UserError

from ..batch import Batch
from .decode import Example, Job, stack
from .geometry import drawn
from .opening import Data, Source
from .order import FILLER, Indices, generator, grouped, shares, shuffled
from .sides import mirrored


def batches(
    data: Data,
    *,
    batch: int,
    seed: int,
    epoch: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    train: bool,
) -> Iterator[Batch]:
    """Yield one rank's batches of an epoch, all of the same size; what fills the last one up has weight 0.

    Args:
        data: a split.
        batch: samples of one step on all ranks together; no more than `data` has, but for what the ranks share evenly.
        seed: decides, with `epoch`, the order, crops and flips; a sample's own depend on nothing else.
        epoch: from 0.
        start: samples of this epoch that all ranks together have seen already; they are not read.
        rank: 0 … world - 1.
        world: number of ranks.
        workers: processes that decode; 0 decodes here. The batches are the same.
        train: False takes the whole frame of every sample, in the order in which they lie.

    Raises:
        UserError: a batch that the ranks cannot share, or a worker that died; DamagedError: a damaged picture or shard.
    """
    order = _order(data, seed, epoch) if train else np.arange(len(data))
    mine = shares(order, batch, rank, world, start)
    steps = _Steps(data, mine, order, (seed, epoch) if train else None)
    source = Source(data.config, data.cache, data.config.window if train else 1)
    yield from _made(_Maker(source), steps, workers)


def _order(data: Data, seed: int, epoch: int) -> Indices:
    rng = generator("order", seed, epoch)
    if data.config.order == "shuffled":
        return shuffled(len(data), rng)
    return grouped(data.groups, data.config.window, rng)


def job_of(data: Data, index: int, seed: int, epoch: int) -> Job:
    """Return what is done to one sample in one epoch of training: its crop, and whether picture and text are mirrored.

    A sample whose text cannot be mirrored safely never is.
    """
    job = data.job(index)
    draw = drawn(generator("look", seed, epoch, *job.sample.key), data.config.crop, flip=data.config.flip == "sides")
    report = mirrored(job.report, data.config.language) if draw.flip else job.report
    if report is None:
        return job._replace(draw=draw._replace(flip=False))
    return job._replace(draw=draw, report=report)


class _Steps:
    """The jobs of each step, planned when they are asked for; `look` is seed and epoch, None for whole frames."""

    def __init__(self, data: Data, mine: Indices, order: Indices, look: tuple[int, int] | None) -> None:
        self._data, self._mine, self._order, self._look = data, mine, order, look

    def __len__(self) -> int:
        return len(self._mine)

    def __iter__(self) -> Iterator[list[Job]]:
        for step in self._mine:
            yield [self._job(int(index)) for index in step]

    def _job(self, index: int) -> Job:
        if index == FILLER:
            # Any picture will do: see `_Maker`.
            return self._data.job(int(self._order[-1]))._replace(report="", weight=0.0)
        return job_of(self._data, index, *self._look) if self._look else self._data.job(index)


class _Maker:
    """Makes a step's batch; an error is handed back as a value, for torch would bury it in a worker's traceback."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, jobs: list[Job]) -> Batch | MmttError:
        examples: list[Example] = []
        try:
            for job in jobs:
                # Nothing is decoded just to fill up, unless this rank has nothing else.
                spare = examples and not job.weight
                made = examples[0]._replace(report="", weight=0.0) if spare else self._source(job)
                examples.append(made)
            return stack(examples)
        except MmttError as error:
            return error


def _made(maker: _Maker, steps: _Steps, workers: int) -> Iterator[Batch]:
    loader: Any = DataLoader(
        maker,
        sampler=steps,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context=_context() if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else it would advance the global one
    )
    found = iter(loader)
    while True:
        try:
            made = next(found, None)
        except (RuntimeError, OSError, EOFError) as error:
            # "Caught …" is what a worker raised; all else is how torch, or a pipe, notices that one is gone.
            if not workers or str(error).startswith("Caught "):
                raise
            told = "A process that decodes pictures died, for want of memory or of shared memory (/dev/shm), or killed"
            raise UserError(f"{told}. Take fewer workers, or none.") from error
        if made is None:
            return
        if isinstance(made, MmttError):
            raise made
        yield made


def _as_it_is(made: Any) -> Any:
    return made


def _context() -> Any:
    """A server that starts clean and forks: forking here would copy the locks of Arrow's and torch's threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
