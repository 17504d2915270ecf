"""Learner: what a stage trains, put together from a run's newest checkpoint and taken apart into the next one.

Legend: B samples, K losses.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmtt.ids import digest

from . import checkpoint, runs
from .batch import Batch
from .checkpoint import State
from .config import StageConfig
from .data import Data, batches, open_data
from .distributed import Ranks, shard, wrap
from .logs import Log
from .model import ForgeryTalker, build, select_parts
from .optim import Average, make_optimizer
from .runs import Run

_ABOUT_TEXTS = ("report", "masked_words", "contrast")


@dataclass(frozen=True, slots=True)
class Means:
    """Where and how fast; nothing here changes a result beyond rounding.

    workers: processes that decode pictures, for each rank. fsdp: shard the weights over the ranks. compile: compile the
    model. wandb: a project of Weights & Biases. checkpoint_every: steps; the end of an epoch always has a checkpoint.
    """

    workers: int = 0
    fsdp: bool = False
    compile: bool = False
    wandb: str | None = None
    checkpoint_every: int = 1000


@dataclass(frozen=True)
class Job:
    """One stage of a run, on these ranks, from the dataset at `root`."""

    run: Run
    stage: str
    root: Path
    means: Means
    ranks: Ranks

    @property
    def plan(self) -> StageConfig:
        """The stage's config."""
        plan = self.run.plan(self.stage)
        assert plan is not None
        return plan

    @property
    def active(self) -> tuple[str, ...]:
        """The losses that weigh something, in the order of the config."""
        return tuple(name for name, weight in self.plan.loss.items() if weight)

    def seed(self, *about: int) -> int:
        """Return the seed of something in this stage, 0 ≤ seed < 2⁶⁰."""
        return int(digest([self.run.config.seed, self.stage, *about])[:15], 16)

    def data(self, split: str) -> Data:
        """Open a split as this stage needs it.

        Raises:
            UserError: it lacks something; SchemaError: shards of another schema.
        """
        return open_data(
            self.root,
            self.run.config.data,
            split,
            need_reports=needs_reports(self.plan),
            need_regions="regions" in self.active or self.plan.regions == "truth",
            length=self.run.tokens.report_length,
            cache=self.run.folder / "cache",
        )

    def batches(
        self, data: Data, batch: int, *, epoch: int = 0, start: int = 0, train: bool = False
    ) -> Iterator[Batch]:
        """Return this rank's batches of an epoch; `batch` and `start` count the samples of all ranks."""
        ranks = self.ranks
        return batches(
            data, batch=batch, seed=self.seed(), epoch=epoch, start=start, rank=ranks.rank, world=ranks.world,
            workers=self.means.workers, train=train,
        )  # fmt: skip

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the model computes, in bfloat16 where the config says so."""
        on = self.run.config.training.precision == "bf16"
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=on)


def needs_reports(plan: StageConfig) -> bool:
    """Whether a stage learns from texts."""
    return any(plan.loss.get(name) for name in _ABOUT_TEXTS)


class Learner(NamedTuple):
    """The model, what the loop calls in its place, its parameters by name, and their companions."""

    model: ForgeryTalker
    objective: nn.Module
    named: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    average: Average | None


class Objective(nn.Module):
    """The weighted loss of a part of a batch."""

    def __init__(self, model: ForgeryTalker, job: Job) -> None:
        super().__init__()
        self.model, self._job = model, job

    def forward(self, batch: Batch, scale: float) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar times `scale`, and the losses K×B behind it, float32; those of fillers are 0."""
        job = self._job
        with job.autocast():
            losses = self.model(batch, job.stage, job.plan.regions, job.active)
        losses_KB = torch.stack([losses[name].float() for name in job.active]) * batch.weight_B
        weight_K = losses_KB.new_tensor([job.plan.loss[name] for name in job.active])
        return (weight_K @ losses_KB.sum(1)) * scale, losses_KB.detach()


def split(batch: Batch, parts: int) -> list[Batch]:
    """Return a batch in that many parts of nearly equal size, or in fewer if it has fewer samples."""
    size = math.ceil(len(batch) / parts)
    names = [field.name for field in fields(batch)]
    starts = range(0, len(batch), size)
    return [replace(batch, **{name: getattr(batch, name)[at : at + size] for name in names}) for at in starts]


def prepare(job: Job) -> Learner:
    """Return what a stage trains, as its newest checkpoint left it, or as the stage before would predict with it.

    Raises:
        UserError: a checkpoint that is damaged, or belongs to another config.
    """
    run, ranks, plan, newest = job.run, job.ranks, job.plan, job.run.newest(job.stage)
    model = build(run.config, run.tokens)
    if newest:
        checkpoint.put(runs.stored(run, model, job.stage), checkpoint.read(newest, "model"), newest)
    elif before := run.before(job.stage):
        runs.put_best(run, model, before)
    select_parts(model, plan.train)
    if run.config.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.to(ranks.device)
    if job.means.fsdp:
        shard(model, also=("predict",))
    if job.means.compile:
        model.compile()
    named = dict(model.named_parameters())
    optimizer, average = make_optimizer(named, plan), Average(named, plan.ema) if plan.ema else None
    if newest:
        checkpoint.put_moments(optimizer, named, checkpoint.read(newest, "optimizer"), newest)
        if average:
            checkpoint.put(average.values, checkpoint.read(newest, "ema"), newest)
    return Learner(model, wrap(Objective(model, job), ranks, job.means.fsdp), named, optimizer, average)


def save(job: Job, learner: Learner, state: State, log: Log | None) -> None:
    """Write a checkpoint and remove the stage's older ones; every rank must call it."""
    folder, writes = job.run.folder / job.stage, job.ranks.writes
    files = {
        "model": runs.stored(job.run, learner.model, job.stage),
        "optimizer": checkpoint.moments_of(learner.optimizer, learner.named),
    } | ({"ema": learner.average.values} if learner.average else {})
    if log:
        log.sync()
    checkpoint.write(folder, state, files, writes=writes)
    if writes:
        checkpoint.prune(folder, 1 if state.finished else runs.KEPT)
    job.ranks.wait()
