"""Runs: the folder of one training, and how a model comes out of it.

RUN/config.yaml       the whole config; written last when a run begins
RUN/run.json          digests of dataset and pretrained weights, and the versions it began with
RUN/tokenizers/       of Q-Former and language model
RUN/log.jsonl         one line a step (`logs`)
RUN/tensorboard/      a folder a stage
RUN/STAGE/step-000120/    checkpoints (`checkpoint`): the last two of a stage under way, the last of a finished one
"""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import safetensors
import torch
import transformers
from torch import Tensor, nn

import mmtt
from mmtt.errors import UserError, did_you_mean
from mmtt.files import write_atomically
from mmtt.ids import digest
from mmtt.settings import Section, parse
from mmtt.weights import sha256

from . import checkpoint
from . import config as configs
from .checkpoint import State
from .config import STAGES, Config, StageConfig
from .model import ForgeryTalker, build
from .tokens import Tokens, pretrained_folder
from .writing import whole_or_absent

KEPT = 2
# These come from the pretrained folder again, unless a stage trains them; no checkpoint repeats them.
_PRETRAINED = ("vision", "vision_norm", "qformer", "queries", "language")


class About(Section):
    """What `run.json` holds: what the run was trained on, and with what."""

    format: int = 1
    dataset: str
    pretrained: str | None = None
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    known = {module.__name__: module.__version__ for module in (mmtt, torch, transformers, safetensors)}
    return {"python": platform.python_version(), **known}


@dataclass(frozen=True)
class Run:
    """An opened run."""

    folder: Path
    config: Config
    dataset: str
    tokens: Tokens

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what a run is.

        Raises:
            UserError: the folder holds no run, or a damaged one, or its pretrained weights are others now.
        """
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder} holds no run (no config.yaml). Make one with `mmtt baseline train`.")
        config = configs.load(str(folder / "config.yaml"))
        about = _about(folder)
        if about.pretrained != _pretrained(config):
            raise UserError(
                f"'{config.model.pretrained}' holds other weights than those that {folder} began with, and no "
                "checkpoint repeats them. Bring those back."
            )
        return cls(folder, config, about.dataset, Tokens.load(folder / "tokenizers"))

    @property
    def config_digest(self) -> str:
        """The digest that ties checkpoints to the config, 64 hex digits."""
        return digest(self.config.model_dump(mode="json"))

    def plan(self, stage: str) -> StageConfig | None:
        """Return the config of a stage; None where it is left out."""
        found: StageConfig | None = getattr(self.config.training, stage)
        return found

    def stages(self) -> list[str]:
        """Return the stages that the config has, in their order."""
        return [stage for stage in STAGES if self.plan(stage)]

    def before(self, stage: str) -> str | None:
        """Return the stage before one of them, None for the first."""
        at = self.stages().index(stage)
        return self.stages()[at - 1] if at else None

    def newest(self, stage: str) -> Path | None:
        """Return the newest checkpoint of a stage."""
        found = checkpoint.all_of(self.folder / stage)
        return found[-1] if found else None

    def state(self, stage: str) -> State:
        """Return how far a stage has come; nowhere yet where it has no checkpoint.

        Raises:
            UserError: a damaged checkpoint, or one of another config or dataset.
        """
        newest = self.newest(stage)
        if newest is None:
            return State.model_validate({"stage": stage, "config": self.config_digest, "dataset": self.dataset})
        state = checkpoint.read_state(newest)
        if (state.config, state.dataset, state.stage) != (self.config_digest, self.dataset, stage):
            raise UserError(f"{newest} belongs to another config, dataset or stage than {self.folder}. Take it out.")
        return state


def begin(folder: Path, config: Config, dataset: str, tokens: Callable[[], Tokens]) -> None:
    """Make a run's folder, or see that it is the run of that config and dataset.

    Args:
        folder: RUN; the caller holds its lock.
        config: everything that decides the run.
        dataset: digest of what it is trained on.
        tokens: called for the tokenizers of a new run.

    Raises:
        UserError: the folder is the run of something else, or holds other things.
    """
    if (folder / "config.yaml").is_file():
        _require_same(folder, config, dataset)
        return
    ours = {"config.yaml", "run.json", "tokenizers"}
    strangers = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.startswith("."))
    if strangers:
        raise UserError(f"{folder} is not empty and no run (it holds {strangers[0]}). Name a new folder.")
    _save_tokens(tokens(), folder / "tokenizers")
    about = About(dataset=dataset, pretrained=_pretrained(config), versions=versions())
    write_atomically(folder / "run.json", (about.model_dump_json(indent=1) + "\n").encode())
    write_atomically(folder / "config.yaml", config.to_yaml().encode())


def _pretrained(config: Config) -> str | None:
    """Return the digest of the pretrained folder that a config names."""
    name = config.model.pretrained
    return sha256(pretrained_folder(name)) if name else None


def _save_tokens(tokens: Tokens, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    with whole_or_absent(temporary, folder, "nothing was trained yet"):
        tokens.save(temporary)
        if folder.exists():
            shutil.rmtree(folder)  # of a run that was killed before it began
        temporary.replace(folder)


def _require_same(folder: Path, config: Config, dataset: str) -> None:
    before = configs.load(str(folder / "config.yaml"))
    if before != config:
        old, new = (dict(_leaves(c.model_dump(mode="json"))) for c in (before, config))
        key = next(key for key in [*old, *new] if old.get(key) != new.get(key))
        told = f"{folder} was begun with another config: '{key}' is {old.get(key)!r} there and {new.get(key)!r} now"
        raise UserError(f"{told}. Name a new folder for the other run.")
    if _about(folder).dataset != dataset:
        raise UserError(f"{folder} was begun on another dataset, or the dataset was changed since. Name a new folder.")


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{key}.{name}" if key else name)


def _about(folder: Path) -> About:
    path = folder / "run.json"
    try:
        return parse(About, json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing, so {folder} is no whole run.") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}).") from error


def stored(run: Run, model: ForgeryTalker, stage: str) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint of a stage holds: all but pretrained ones that nothing has trained yet."""
    tensors = checkpoint.tensors_of(model)
    if run.config.model.pretrained is None:
        return tensors
    so_far = [run.plan(name) for name in run.stages()[: run.stages().index(stage) + 1]]
    trained = {part for plan in so_far if plan for part in plan.train}
    again = [p for part, ps in model.parts().items() if part in _PRETRAINED and part not in trained for p in ps]
    left_out = {id(p) for p in again}
    return {name: tensor for name, tensor in tensors.items() if id(tensor) not in left_out}


def averaged(run: Run, model: ForgeryTalker, stage: str) -> dict[str, nn.Parameter]:
    """Return the weights that learn in a stage, by name: those that have an average where one is kept."""
    plan = run.plan(stage)
    learning = {id(p) for part, ps in model.parts().items() if plan and part in plan.train for p in ps}
    return {name: p for name, p in model.named_parameters() if id(p) in learning}


def put_best(run: Run, model: ForgeryTalker, stage: str) -> None:
    """Load the newest checkpoint of a stage as it predicts: its weights, the averaged ones where they are kept.

    Raises:
        UserError: there is none, it is damaged, or it is one of another config.
    """
    run.state(stage)
    folder, plan = run.newest(stage), run.plan(stage)
    if folder is None:
        raise UserError(f"{run.folder} has no checkpoint of {stage} yet. Train it first.")
    checkpoint.put(stored(run, model, stage), checkpoint.read(folder, "model"), folder)
    if plan and plan.ema:
        checkpoint.put(averaged(run, model, stage), checkpoint.read(folder, "ema"), folder)


def load_model(folder: Path, stage: str | None = None) -> tuple[Config, ForgeryTalker]:
    """Return a run's config and its model as it predicts, on the CPU, in evaluation mode.

    Args:
        folder: RUN.
        stage: by default the last one that has a checkpoint; of that, the newest is taken.

    Raises:
        UserError: no run, no checkpoint, or a damaged one.
    """
    run = Run.open(folder)
    begun = [name for name in run.stages() if run.newest(name)]
    last = stage or (begun[-1] if begun else run.stages()[-1])
    if last not in run.stages():
        raise UserError(f"{folder} has no stage '{last}'.{did_you_mean(last, run.stages())}")
    model = build(run.config, run.tokens)
    put_best(run, model, last)
    return run.config, model.eval()
