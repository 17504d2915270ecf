"""What the tests of training share: a small dataset with reports, runs of a few steps, and how to read them."""

import contextlib
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from baselines.cli import register
from baselines.forgerytalker.config import STAGES, Config
from baselines.forgerytalker.logs import read_log
from tests.baselines.untrained import reported_dataset, small_config

TIMES = ("seconds", "samples_per_s")
PHOTOS = 10


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of drawn people with reports; every module that imports this shares the same one."""
    root = tmp_path_factory.getbasetemp() / "small_runs"
    return root if (root / "reports").is_dir() else reported_dataset(root, PHOTOS)


@contextlib.contextmanager
def one_thread():
    """One thread, so that sums are added in one order, and small ones quickly."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def steady_config(**stage: Any) -> Config:
    """Return a config in which nothing depends on how a batch is divided: no dropout, no contrast."""
    data = small_config().model_dump(mode="json")
    data["model"]["prompter"]["dropout"] = 0
    data["model"]["language"]["dropout_rate"] = 0
    data["model"]["qformer"] |= {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    for name in STAGES:
        data["training"][name] |= {"epochs": 2, "batch": 4, "lr": 1e-3, "warmup_steps": 1} | stage
        data["training"][name]["loss"].pop("contrast", None)
    return Config.model_validate(data)


def changed(config: Config, **training: Any) -> Config:
    """Return a config with other stages, or other values in `training`; a dict changes a stage's values."""
    data = config.model_dump(mode="json")
    for name, value in training.items():
        data["training"][name] = data["training"][name] | value if isinstance(value, dict) else value
    return Config.model_validate(data)


def command(root: Path, run: Path, config: Config, *more: str) -> list[str]:
    """Return the arguments of `mmtt` that train a run of that config."""
    path = run.parent / f"{run.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config.to_yaml(), encoding="utf-8")
    return ["baseline", "train", str(root), str(run), "--config", str(path), *more]


def trained(root: Path, run: Path, config: Config, *more: str) -> str:
    """Train a run in this process, as the command does, and return what it printed."""
    import typer

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    with one_thread():
        result = CliRunner().invoke(app, command(root, run, config, *more), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def lines(run: Path) -> list[dict[str, Any]]:
    """Return a run's log without its times."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in read_log(run)]


def weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    """Return every tensor of a stage's newest checkpoint, by file and name."""
    newest = sorted((run / stage).glob("step-*"))[-1]
    files = sorted(newest.glob("*.safetensors"))
    return {f"{path.name}:{name}": tensor for path in files for name, tensor in load_file(path).items()}


def require_same_weights(one: Path, other: Path, stage: str) -> None:
    """Compare two checkpoints bit for bit."""
    expected, found = weights(one, stage), weights(other, stage)
    assert list(expected) == list(found)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def forked(target: Any, *arguments: Any) -> Any:
    """Start a function in a process of its own, of a server that has already imported what is slow to import."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.baselines.small_runs", "baselines.forgerytalker.train"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def train_here(arguments: list[str]) -> None:
    """Run `mmtt` with these arguments in this process, on one thread."""
    from mmtt import cli

    sys.argv = ["mmtt", *arguments]
    with one_thread(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        cli.main()
