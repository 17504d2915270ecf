"""Checkpoints: a folder each, whole or absent, that one rank or many, DDP or FSDP, write and read alike.

    step-000120/  model.safetensors      weights and buffers under their names in the model, shared ones once
                  optimizer.safetensors  AdamW's moments as `NAME:exp_avg`, `NAME:exp_avg_sq`, `NAME:step`
                  ema.safetensors        the averaged weights, where they are kept
                  state.json             how far training had come; written last

Only safetensors and JSON: nothing is ever unpickled. No generator's state is stored, because there is none to store:
every step seeds torch anew from (seed, stage, step, rank), and the data's order is a function of (seed, epoch).
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmtt.errors import UserError
from mmtt.files import sync
from mmtt.settings import Section, parse

from .distributed import placed_like, whole
from .writing import save_tensors, whole_or_absent

FORMAT = 1
_FOLDER = re.compile(r"^step-(\d{6,})$")
_UNFINISHED = re.compile(r"^\.step-\d+\.\d+\.tmp$")
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
Count = Annotated[int, Field(ge=0)]


class State(Section):
    """How far a stage has come.

    step: steps made. epoch, position: the epoch under way, and how many of its samples all ranks have used.
    finished: whether the stage is at its end. config, dataset: digests of what the run follows from.
    """

    format: Literal[1] = FORMAT
    stage: Literal["prompter", "stage1", "stage2"]
    step: Count = 0
    epoch: Count = 0
    position: Count = 0
    finished: bool = False
    config: str
    dataset: str

    def after(self, samples: int) -> Self:
        """Return the state after one more step, of that many samples."""
        return self.model_copy(update={"step": self.step + 1, "position": self.position + samples})

    def next_epoch(self, epochs: int) -> Self:
        """Return the state at the end of an epoch, out of that many."""
        ended = {"epoch": self.epoch + 1, "position": 0, "finished": self.epoch + 1 == epochs}
        return self.model_copy(update=ended)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return weights and stored buffers by name; what two modules share comes once, under its first name."""
    stored = set(model.state_dict(keep_vars=True))
    return dict(model.named_parameters()) | {name: b for name, b in model.named_buffers() if name in stored}


def moments_of(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return AdamW's moments by the name of their parameter; one that has had no gradient yet has none."""
    known = {name: optimizer.state.get(p, {}) for name, p in named.items()}
    return {f"{name}:{key}": value for name, state in known.items() for key, value in state.items()}


def write(folder: Path, state: State, files: Mapping[str, Mapping[str, Tensor]], *, writes: bool) -> Path:
    """Write one checkpoint below a stage's folder, whole or absent.

    Args:
        folder: of the stage.
        state: what `state.json` holds.
        files: tensors by file name without suffix; sharded ones are put together, which takes every rank.
        writes: whether this rank is the one that writes.

    Raises:
        UserError: the disk is full, or refuses.
    """
    final = folder / f"step-{state.step:06d}"
    temporary = folder / f".{final.name}.{os.getpid()}.tmp"
    with whole_or_absent(temporary, final, "checkpoints from before are kept") if writes else nullcontext():
        if writes:
            shutil.rmtree(temporary, ignore_errors=True)  # in a container every start may have the same process id
            temporary.mkdir(parents=True)
        for name, tensors in files.items():
            gathered = {key: kept for key, value in tensors.items() if (kept := _kept(value, writes)) is not None}
            if writes:
                save_tensors(temporary / f"{name}.safetensors", gathered)
        if writes:
            (temporary / "state.json").write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
            for path in (*temporary.iterdir(), temporary):
                sync(path)
            temporary.replace(final)
            sync(folder)
    return final


def _kept(tensor: Tensor, writes: bool) -> Tensor | None:
    gathered = whole(tensor)  # every rank takes part, whoever writes
    return gathered.contiguous() if writes else None


def all_of(folder: Path) -> list[Path]:
    """Return a stage's checkpoints, the oldest first."""
    found = [path for path in folder.iterdir() if _FOLDER.match(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def prune(folder: Path, keep: int) -> None:
    """Remove all but a stage's newest checkpoints, and what a killed writer left."""
    leftovers = [path for path in folder.iterdir() if _UNFINISHED.match(path.name)] if folder.is_dir() else []
    for old in all_of(folder)[:-keep]:
        doomed = old.with_name(f".{old.name}.{os.getpid()}.tmp")
        old.replace(doomed)  # so that a kill leaves no half of one under a good name
        leftovers.append(doomed)
    for path in leftovers:
        shutil.rmtree(path)


def read_state(folder: Path) -> State:
    """Return a checkpoint's `state.json`.

    Raises:
        UserError: there is none, or one of another version.
    """
    path = folder / "state.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no state.json, so it is {_not_ours(folder)}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). {_remedy(folder)}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object, so {folder} is {_not_ours(folder)}")
    if data.get("format") != FORMAT:
        raise UserError(f"{path} has format {data.get('format')!r}; this version of MMTT reads format {FORMAT}.")
    return parse(State, data, str(path))


def read(folder: Path, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of one file of a checkpoint, by name.

    Raises:
        UserError: it is missing, truncated, or a pickle.
    """
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise UserError(f"{path} is missing{_pickle_hint(folder)}. {_remedy(folder)}")
    if _is_pickle(path):
        raise UserError(f"{path} is a pickle, which could run any code and is never opened. Bring safetensors.")
    try:
        with safe_open(path, framework="pt") as file:
            yield from ((key, file.get_tensor(key)) for key in sorted(file.keys()))
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or damaged ({error}). {_remedy(folder)}") from error


def _not_ours(folder: Path) -> str:
    return f"no checkpoint of ours{_pickle_hint(folder)}. {_remedy(folder)}"


def _remedy(folder: Path) -> str:
    if not _FOLDER.match(folder.name):
        return "Export the run again, or get it again."
    return f"Remove {folder}: training goes on from the checkpoint before it, or begins the stage anew."


def _is_pickle(path: Path) -> bool:
    """Torch's zip archives and bare pickles, by their first bytes; safetensors begins with the length of its header."""
    with path.open("rb") as handle:
        head = handle.read(9)
    return head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[8:9] != b"{")


def _pickle_hint(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES) if folder.is_dir() else []
    return f" ({pickles[0]} is a pickle, which is never opened)" if pickles else ""


@torch.no_grad()
def put(into: Mapping[str, Tensor], tensors: Iterator[tuple[str, Tensor]], where: Path) -> None:
    """Copy tensors into those of a model, in place and strictly: exactly these names, exactly these shapes.

    Args:
        into: the model's, by name.
        tensors: what was read.
        where: for messages.

    Raises:
        UserError: a name or a shape is another one: the checkpoint belongs to another config.
    """
    missing = set(into)
    for name, tensor in tensors:
        if name not in into:
            raise _other_config(where, f"'{name}' is not in this model")
        if into[name].shape != tensor.shape:
            raise _other_config(where, f"'{name}' is {_shape(tensor)} there and {_shape(into[name])} in this model")
        into[name].copy_(placed_like(tensor, into[name]))
        missing.discard(name)
    if missing:
        raise _other_config(where, f"'{min(missing)}' is missing there")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _other_config(where: Path, what: str) -> UserError:
    return UserError(f"{where} was written under another config: {what}.")


def put_moments(
    optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], tensors: Iterator[tuple[str, Tensor]], at: Path
) -> None:
    """Give AdamW the moments that were read, strictly.

    Raises:
        UserError: they belong to other parameters, or to parameters of another shape.
    """
    learning = {name: p for name, p in named.items() if p.requires_grad}
    for key, tensor in tensors:
        name, _, kind = key.rpartition(":")
        if name not in learning or kind not in _MOMENTS:
            raise _other_config(at, f"'{key}' belongs to nothing that learns in this stage")
        parameter = learning[name]
        if kind != "step" and tensor.shape != parameter.shape:
            raise _other_config(at, f"'{key}' is {_shape(tensor)} there and {_shape(parameter)} in this model")
        # AdamW counts steps in main memory, whatever the device.
        optimizer.state[parameter][kind] = tensor if kind == "step" else placed_like(tensor, parameter)
    for parameter in learning.values():
        if optimizer.state.get(parameter) and len(optimizer.state[parameter]) != len(_MOMENTS):
            raise _other_config(at, "some moments are missing")
