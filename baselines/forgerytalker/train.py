"""Training: prompter, stage 1, stage 2, each by the same loop; they differ by what learns and by their losses.

A step: every rank takes its share of `batch` samples, in `accumulate` parts one after another. The loss of a part is

    Σ_k weight_k · Σ_b (weight_b · loss_kb) / (real samples of the step on all ranks) · ranks

so that gradients, added over parts and averaged over ranks, are those of the whole batch on one rank: but for
`contrast`, whose negatives are the samples of the same part, and for dropout, which each rank draws for itself.

Resume is exact because nothing is remembered but what a checkpoint holds: each step seeds torch's generators from
(seed, stage, step, rank), the data's order follows from (seed, stage, epoch), the learning rate from the step.

Legend: B samples, K losses.
"""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmtt.errors import UserError
from mmtt.files import lock
from mmtt.progress import for_person, silent
from mmtt.record import MASTER
from mmtt.samples import digest_of

from . import logs, runs
from .batch import Batch
from .checkpoint import State
from .config import STAGES, Config
from .data import Data, open_data
from .distributed import averaging, joined, whole
from .learner import Job, Learner, Means, needs_reports, prepare, save, split
from .memory import shortage_told
from .optim import learning_rate, set_learning_rate
from .runs import Run
from .tokens import tokens_for
from .validation import validate

_NAMED_RECORDS = 8


def train(root: Path, folder: Path, config: Config, means: Means, stage: str | None = None) -> Iterator[logs.Summary]:
    """Train a run, or go on with it, and yield what became of each stage, on the rank that writes.

    Args:
        root: as for `mmtt.samples.read_samples`.
        folder: RUN; made where missing.
        config: everything that decides the run.
        means: where and how fast.
        stage: one stage only; by default all that the config has, in their order.

    Raises:
        UserError: a dataset or folder that cannot be used, a loss that is no number, too little memory.
    """
    dataset = digest_of(root)
    with joined() as ranks, lock(folder) if ranks.writes else nullcontext():
        if ranks.writes:
            runs.begin(folder, config, dataset, lambda: tokens_for(config.model, _texts(root, config)))
        ranks.wait()
        run, project = Run.open(folder), means.wandb if ranks.writes else None
        with logs.weights_and_biases(project, folder, config.model_dump(mode="json")) as tracker:
            for name in _wanted(run, stage):
                if not run.state(name).finished:
                    with shortage_told(_how_to_save_memory(run, name)):
                        run_stage(Job(run, name, root, means, ranks), tracker)
                if ranks.writes:
                    yield logs.summary(folder, name)


def run_stage(job: Job, tracker: Any = None) -> None:
    """Train one stage to its end, from its newest checkpoint or from the end of the stage before."""
    run, plan, ranks, state = job.run, job.plan, job.ranks, job.run.state(job.stage)
    train_data, validation_data = job.data("train"), job.data("validation")
    learner = prepare(job)
    steps = plan.epochs * math.ceil(len(train_data) / plan.batch)
    with logs.opened(run.folder, job.stage, state.step, tracker) if ranks.writes else nullcontext() as log:
        for epoch in range(state.epoch, plan.epochs):
            for batch in _shown(job, train_data, state):
                started, rate = time.perf_counter(), learning_rate(state.step, steps, plan)
                torch.manual_seed(job.seed(state.step, ranks.rank))
                told = train_step(job, learner, batch)
                _require_finite(told, job, state)
                set_learning_rate(learner.optimizer, rate)
                learner.optimizer.step()
                if learner.average:
                    learner.average.update()
                state = state.after(told.real)
                if log:
                    log.write(_line(job, state, told, rate, time.perf_counter() - started))
                if state.step % job.means.checkpoint_every == 0 and state.position < len(train_data):
                    save(job, learner, state, log)
            found = validate(job, learner, validation_data)
            _require_sound(found, job, state)
            state = state.next_epoch(plan.epochs)
            if log:
                samples = {"train": len(train_data), "validation": len(validation_data)}
                without = {"unreported": train_data.unreported, "left_out": train_data.left_out}
                log.write({"step": state.step, "epoch": epoch, "validation": found, "samples": samples | without})
                _tell(job, state, found)
            save(job, learner, state, log)


def _tell(job: Job, state: State, found: Mapping[str, float]) -> None:
    """Say how an epoch ended, where no bar shows that training moves."""
    if not sys.stderr.isatty():
        told = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        print(f"{job.stage}, epoch {state.epoch} of {job.plan.epochs}: validation {told}", file=sys.stderr, flush=True)


class Told(NamedTuple):
    """What a step found. Over all ranks: mean losses, the norm of the gradient before clipping, how many samples.

    keys, losses_KB: what this rank saw, and its losses.
    """

    losses: dict[str, float]
    norm: float
    real: int
    keys: tuple[tuple[str, str], ...]
    losses_KB: Tensor


def train_step(job: Job, learner: Learner, batch: Batch) -> Told:
    """Leave the gradients of one step in the parameters, averaged over the ranks and clipped."""
    ranks, plan = job.ranks, job.plan
    batch = batch.to(ranks.device)
    real = float(ranks.total(batch.weight_B.sum()))
    learner.optimizer.zero_grad()
    parts, told = split(batch, plan.accumulate), []
    for number, part in enumerate(parts, 1):
        with averaging(learner.objective, learner.model, number == len(parts)):
            loss, losses_KB = learner.objective(part, ranks.world / real)
            if not loss.requires_grad:
                raise UserError(f"No part in '{job.stage}.train' has a say in the losses of that stage. Name others.")
            loss.backward()
        told.append(losses_KB)
    norm = whole(nn.utils.clip_grad_norm_(learner.named.values(), plan.clip_norm or math.inf))
    losses_KB = torch.cat(told, 1)
    means = (ranks.total(losses_KB.sum(1)) / real).tolist()
    return Told(dict(zip(job.active, means, strict=True)), float(norm), round(real), batch.keys, losses_KB)


def _shown(job: Job, data: Data, state: State) -> Iterator[Batch]:
    """Return what is left of an epoch, with a bar where somebody watches."""
    batch, epochs = job.plan.batch, job.plan.epochs
    due = range(math.ceil((len(data) - state.position) / batch))
    show = for_person(f"{job.stage}, epoch {state.epoch + 1} of {epochs}") if job.ranks.writes else silent
    return show(due, job.batches(data, batch, epoch=state.epoch, start=state.position, train=True))


def _line(job: Job, state: State, told: Told, rate: float, seconds: float) -> dict[str, Any]:
    return {
        "step": state.step,
        "epoch": state.epoch,
        "loss": sum(job.plan.loss[name] * value for name, value in told.losses.items()),
        "losses": told.losses,
        "lr": rate,
        "grad_norm": told.norm,
        "samples_per_s": round(told.real / seconds, 2),
        "seconds": round(seconds, 4),
    }


def _require_finite(told: Told, job: Job, state: State) -> None:
    """Stop before a loss or a gradient that is no number reaches the weights; all ranks stop at once."""
    bad = [name for name, value in told.losses.items() if not math.isfinite(value)]
    if not bad and math.isfinite(told.norm):
        return
    own = told.losses_KB.isfinite().all(0).tolist()
    guilty = job.ranks.everybodys([_named(key) for key, fine in zip(told.keys, own, strict=True) if not fine])
    records = guilty or job.ranks.everybodys([_named(key) for key in told.keys])
    what = f"the loss {' and the loss '.join(map(repr, bad))}" if bad else "the gradient"
    more = f" and {len(records) - _NAMED_RECORDS} more" if len(records) > _NAMED_RECORDS else ""
    raise UserError(
        f"In step {state.step + 1} of {job.stage}, {what} is no finite number, at record(s) "
        f"{', '.join(records[:_NAMED_RECORDS])}{more}. Checkpoints from before are kept: look at these records, "
        "or begin a new run with a lower learning rate."
    )


def _require_sound(found: Mapping[str, float], job: Job, state: State) -> None:
    """Stop before weights are kept that predict nothing any more; the last step may have broken them."""
    bad = [name for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"After epoch {state.epoch + 1} of {job.stage}, the validation's {' and '.join(map(repr, bad))} is no "
            "finite number. Checkpoints from before are kept: begin a new run with a lower learning rate."
        )


def _named(key: tuple[str, str]) -> str:
    return key[0] if key[1] == MASTER else "@".join(key)


def _how_to_save_memory(run: Run, stage: str) -> str:
    plan, checkpointing = run.plan(stage), run.config.training.gradient_checkpointing
    assert plan is not None
    also = "" if checkpointing else ", set training.gradient_checkpointing to true"
    return (
        f"Out of memory in {stage} with batches of {plan.batch} in {plan.accumulate} part(s). "
        f"Raise {stage}.accumulate{also}, or lower {stage}.batch; --fsdp shares the weights among GPUs."
    )


def _wanted(run: Run, stage: str | None) -> Sequence[str]:
    """Return the stages to train; one that is asked for must begin where the one before has ended."""
    if stage is None:
        return run.stages()
    if stage not in run.stages():
        known = STAGES if stage not in STAGES else run.stages()
        raise UserError(f"'{stage}' is no stage of this config. It has: {', '.join(known)}.")
    before = run.before(stage)
    if before and not run.state(before).finished:
        raise UserError(f"{stage} begins where {before} ends, and that is not finished. Leave --stage out.")
    return [stage]


def _texts(root: Path, config: Config) -> tuple[str, ...]:
    """Return what tokenizers are learnt from: the reports of the train split."""
    plans = [plan for name in STAGES if (plan := getattr(config.training, name))]
    needed = any(needs_reports(plan) for plan in plans)
    return open_data(root, config.data, "train", need_reports=needed, need_regions=False).reports
