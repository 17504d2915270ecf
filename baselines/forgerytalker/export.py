"""Export: a run as one folder that anybody can load, and the way back from a run or from such a folder.

    FOLDER/README.md           the model card
    FOLDER/config.yaml         the whole config
    FOLDER/model.safetensors   the weights as they predict: averaged ones where the run kept them
    FOLDER/run.json            digests and versions
    FOLDER/export.json         which stage and step, and the digest of the weights
    FOLDER/tokenizers/         of Q-Former and language model

Only JSON, YAML and safetensors: nothing is unpickled, no code is run.
"""

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from mmtt.errors import UserError
from mmtt.files import file_sha256, lock, replacing, write_atomically
from mmtt.samples import digest_of
from mmtt.settings import Section, parse

from . import checkpoint, runs
from .card import Facts, card, facts_of
from .config import STAGES, Config
from .model import ForgeryTalker, build
from .writing import save_tensors, whole_or_absent

WEIGHTS, EXPORT, CARD = "model", "export.json", "README.md"


class Exported(Section):
    """What `export.json` holds: the checkpoint that the weights came from, and their file's SHA-256."""

    format: Literal[1] = 1
    stage: Literal["prompter", "stage1", "stage2"]
    step: int
    weights: str


@dataclass(frozen=True)
class Trained:
    """A trained model, on the CPU as it comes, with what it was made from.

    stage, step: of its checkpoint. files: those that its weights were read from.
    """

    run: runs.Run
    model: ForgeryTalker
    stage: str
    step: int
    files: tuple[Path, ...]

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.run.config

    @property
    def lacking(self) -> str | None:
        """What has not been trained to its end and would change this model, in words; None where nothing is left."""
        stages = self.run.stages()
        later = stages[stages.index(self.stage) + 1 :]
        told = [] if self._finished else [f"{self.stage} is not finished"]
        told += [f"{' and '.join(later)} {'are' if len(later) > 1 else 'is'} not trained"] if later else []
        left = f"what follows is what {self.stage} had learnt after step {self.step}"
        return f"{self.run.folder}: {' and '.join(told)}; {left}." if told else None

    @property
    def _finished(self) -> bool:
        """An export does not say whether its stage was at its end."""
        return (self.run.folder / EXPORT).is_file() or self.run.state(self.stage).finished

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Which model this is: digest of its config, stage, step, digests of its weights."""
        weights = {path.name: file_sha256(path) for path in self.files}
        return {"config": self.run.config_digest, "stage": self.stage, "step": self.step, "weights": weights}


def load(folder: Path, stage: str | None = None) -> Trained:
    """Load a model out of a run or out of an exported folder, as it predicts.

    Args:
        folder: RUN, or what `export` made.
        stage: of a run; by default the last one that has a checkpoint.

    Raises:
        UserError: neither, no such stage, or a damaged folder.
    """
    if stage is not None and stage not in STAGES:
        raise UserError(f"'{stage}' is no stage; there are {', '.join(STAGES)}.")
    if (folder / EXPORT).is_file():
        return _of_export(folder, stage)
    _, model = runs.load_model(folder, stage)
    run = runs.Run.open(folder)
    last = next(name for name in reversed(run.stages()) if run.newest(name) and stage in (None, name))
    newest = run.newest(last)
    assert newest is not None
    plan = run.plan(last)
    names = ("model", "ema") if plan is not None and plan.ema else ("model",)
    files = tuple(newest / f"{name}.safetensors" for name in names)
    return Trained(run, model, last, run.state(last).step, files)


def _of_export(folder: Path, stage: str | None) -> Trained:
    about = _about(folder)
    if stage not in (None, about.stage):
        raise UserError(f"{folder} holds the weights of {about.stage}, not of {stage}.")
    run, weights = runs.Run.open(folder), folder / f"{WEIGHTS}.safetensors"
    model = build(run.config, run.tokens)
    checkpoint.put(runs.stored(run, model, about.stage), checkpoint.read(folder, WEIGHTS), folder)
    # After reading, which says more of what is wrong with a file.
    if file_sha256(weights) != about.weights:
        raise UserError(f"{weights} has another SHA-256 than {EXPORT} says. Export the run again, or get it again.")
    return Trained(run, model.eval(), about.stage, about.step, (weights,))


def _about(folder: Path) -> Exported:
    path = folder / EXPORT
    try:
        return parse(Exported, json.loads(path.read_text(encoding="utf-8")), str(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). Export the run again.") from error


def export(trained: Trained, root: Path, folder: Path, scores: Path | None = None) -> Path:
    """Write a model with its card into a new folder, whole or absent.

    Args:
        trained: the model.
        root: the dataset that it was trained on: the card says what the data obliges to.
        folder: the folder to make.
        scores: what `mmtt baseline evaluate` made, for the card.

    Raises:
        UserError: the folder is there already, the dataset is another one, or the disk is full.
        LockedError: another process exports to it.
    """
    _require_new(folder)
    if digest_of(root) != trained.run.dataset:
        raise UserError(f"{root} is not what the run was trained on, or was changed since. Name the dataset as it was.")
    facts = facts_of(root, trained.config.data)
    # Not the name under which `predict` keeps its work.
    temporary = folder.with_name(f".{folder.name}.export")
    with lock(temporary), whole_or_absent(temporary, folder, "the run is as it was"):
        _require_new(folder)
        shutil.rmtree(temporary / "tokenizers", ignore_errors=True)  # of a kill; all else is written over
        _write(trained, temporary, facts, scores)
        (temporary / ".lock").unlink()
        temporary.replace(folder)
    return folder


def _require_new(folder: Path) -> None:
    if folder.exists():
        raise UserError(f"{folder} exists. Name a new folder.")


def _write(trained: Trained, folder: Path, facts: Facts, scores: Path | None) -> None:
    run, weights = trained.run, folder / f"{WEIGHTS}.safetensors"
    with torch.no_grad():
        tensors = runs.stored(run, trained.model, trained.stage)
        whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        with replacing(weights) as temporary:
            save_tensors(temporary, whole, {"format": "pt"})
    run.tokens.save(folder / "tokenizers")
    about = Exported.model_validate({"stage": trained.stage, "step": trained.step, "weights": file_sha256(weights)})
    size = sum(tensor.numel() for tensor in checkpoint.tensors_of(trained.model).values())
    texts = {
        "config.yaml": trained.config.to_yaml(),
        "run.json": (run.folder / "run.json").read_text(encoding="utf-8"),
        EXPORT: about.model_dump_json(indent=1) + "\n",
        CARD: card(trained.config, about.model_dump(), run.dataset, size, facts, scores),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
