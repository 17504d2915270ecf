"""Logs: one JSON object a line in RUN/log.jsonl; TensorBoard where it is installed; W&B where it is asked for."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from mmtt.errors import MissingDependency, UserError
from mmtt.files import write_atomically
from mmtt.ids import digest

from .config import STAGES

LOG = "log.jsonl"


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, the oldest first; one that a kill cut short is left out.

    A line has `stage`, `step` (steps made, from 1) and `epoch`; then either `loss`, `losses`, `lr`, `grad_norm`,
    `samples_per_s` and `seconds` of a training step; or after an epoch `validation`, mean losses and `mask_iou`, and
    `samples`: how many each split has, how many of train have no text, and how many were left out for want of a label.
    """
    path = run / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


class Summary(NamedTuple):
    """What became of a stage: steps, seconds spent in them, loss of the first and last epoch, the last validation.

    samples: as in the log.
    """

    stage: str
    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    validation: dict[str, float]
    samples: dict[str, int]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value:.4g}" for name, value in self.validation.items())
        moved = f"loss {self.first_loss:.4g} → {self.last_loss:.4g} (means of an epoch)"
        count = f"{self.steps} steps in {self.seconds:.1f} s over {self.samples['train']} samples"
        without = (
            f"{self.samples['unreported']} without a text, {self.samples['left_out']} left out for want of a label"
        )
        return f"{self.stage}: {count} ({without}), {moved}; validation: {told}"


def summary(run: Path, stage: str) -> Summary:
    """Return what a run's log tells of a finished stage.

    Raises:
        UserError: it tells nothing of it.
    """
    lines = [line for line in read_log(run) if line["stage"] == stage]
    steps, found = [line for line in lines if "loss" in line], [line for line in lines if "validation" in line]
    if not steps or not found:
        raise UserError(f"{run / LOG} tells nothing of {stage}, which is finished. Bring it back, or begin a new run.")
    # Epochs that it does not tell of were lost with a part of the log.
    ends = steps[0]["epoch"], steps[-1]["epoch"]
    first, last = (fmean(line["loss"] for line in steps if line["epoch"] == epoch) for epoch in ends)
    seconds, ended = sum(line["seconds"] for line in steps), found[-1]
    return Summary(stage, len(steps), seconds, first, last, ended["validation"], ended["samples"])


def rewind(run: Path, stage: str, step: int) -> None:
    """Forget what was logged after a step: that will be done again."""
    now = (STAGES.index(stage), step)
    kept = [line for line in read_log(run) if (STAGES.index(line["stage"]), line["step"]) <= now]
    write_atomically(run / LOG, "".join(_line(line) for line in kept).encode())


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


class Log:
    """Writes what happens in one stage, line by line."""

    def __init__(self, run: Path, stage: str, writer: Any, tracker: Any) -> None:
        self._file = (run / LOG).open("a", encoding="utf-8")
        self._stage, self._writer, self._tracker = stage, writer, tracker

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one line; `stage` is added. Numbers go to TensorBoard and W&B too, as `losses/mask`."""
        self._file.write(_line({"stage": self._stage, **record}))
        self._file.flush()
        numbers = {name: value for name, value in _numbers(record) if math.isfinite(value)}
        for name, value in numbers.items() if self._writer else ():
            self._writer.add_scalar(name, value, record["step"])
        if self._tracker:
            # With the step, for the tracker's own count goes on where a killed run is taken up earlier.
            told = {"step": record["step"], **numbers}
            self._tracker.log({f"{self._stage}/{name}": value for name, value in told.items()})

    def sync(self) -> None:
        """Make what was written outlast a power cut; a checkpoint must not know more than the log."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and TensorBoard's."""
        self._file.close()
        if self._writer:
            self._writer.close()


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif name != "step":
            yield f"{prefix}{name}", float(value)


@contextmanager
def opened(run: Path, stage: str, step: int, tracker: Any = None) -> Iterator[Log]:
    """Open the log of a stage at a step; whatever was logged later is forgotten."""
    rewind(run, stage, step)
    log = Log(run, stage, _tensorboard(run / "tensorboard" / stage, step), tracker)
    try:
        yield log
    finally:
        log.close()


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


@contextmanager
def weights_and_biases(project: str | None, run: Path, config: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a W&B run of that project, or None where none is named.

    Raises:
        MissingDependency: wandb is not installed.
    """
    if project is None:
        yield None
        return
    try:
        import wandb
    except ImportError as error:
        raise MissingDependency(f"--wandb needs wandb ({error}): pip install wandb.") from error
    known = digest([str(run.resolve()), config])[:16]  # the same run again goes on in the same place
    tracker = wandb.init(project=project, name=run.name, id=known, resume="allow", dir=run, config=dict(config))
    try:
        yield tracker
    finally:
        tracker.finish()
