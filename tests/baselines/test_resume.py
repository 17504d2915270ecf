"""Resume: training that was killed at any moment ends as an unbroken run does, bit for bit, on this machine's CPU.

One thread; every run in a process of its own, killed by SIGKILL. Dropout, contrast, crops, flips and an average of the
weights are on, so that nothing is exact by leaving something out.
"""

import json
import random
import time

import pytest

from baselines.forgerytalker import logs
from baselines.forgerytalker.config import STAGES
from mmtt.errors import UserError
from tests.baselines.small_runs import (
    changed,
    command,
    dataset,
    forked,
    lines,
    require_same_weights,
    train_here,
    trained,
)
from tests.baselines.untrained import small_config

__all__ = ["dataset"]
EVERY = ("--checkpoint-every", "2")
PATIENCE_S = 60


def config():
    plan = {"epochs": 2, "batch": 2, "lr": 2e-3, "warmup_steps": 2}
    return changed(small_config(), prompter=plan, stage1=plan | {"accumulate": 2}, stage2=plan | {"ema": 0.8})


@pytest.fixture(scope="module")
def unbroken(dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    process = forked(train_here, command(dataset, run, config(), *EVERY))
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    return run


def require_same(run, unbroken):
    """The whole log but for its times, and everything in the last checkpoint of each stage."""
    assert lines(run) == lines(unbroken)
    for stage in STAGES:
        require_same_weights(run, unbroken, stage)


def wait_for(what):
    """Poll without rest: what is waited for may last a millisecond."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline


def test_a_run_that_is_killed_again_and_again_ends_like_an_unbroken_one(dataset, unbroken, tmp_path):
    run, rng, kills = tmp_path / "run", random.Random(5), 0
    arguments = command(dataset, run, config(), *EVERY)
    while True:
        process, before = forked(train_here, arguments), _length(run)
        further = rng.randint(4, 10)
        wait_for(lambda: _length(run) >= before + further or not process.is_alive())  # noqa: B023
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
        assert process.exitcode == -9
    assert kills >= 2
    require_same(run, unbroken)


def _length(run):
    """How far the log has come: its last line's place in the run; a resumed run rewinds it."""
    log = run / logs.LOG
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(dataset, unbroken, tmp_path):
    run, stage = tmp_path / "run", "stage2"
    arguments = command(dataset, run, config(), *EVERY)
    for _ in range(20):
        process = forked(train_here, arguments)
        wait_for(lambda: _unfinished(run, stage) or not process.is_alive())  # noqa: B023
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run ended before a kill met a checkpoint that was being written"
        if _unfinished(run, stage):
            break
    process = forked(train_here, arguments)
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    assert not _unfinished(run, stage)
    require_same(run, unbroken)


def _unfinished(run, stage):
    """Half-written checkpoints, not those that are being removed."""
    folder = run / stage
    parts = folder.glob(".step-*.tmp") if folder.is_dir() else ()
    return [part for part in parts if not (part / "state.json").exists()]


def test_stages_one_by_one_workers_and_how_often_is_saved_change_nothing(dataset, unbroken, tmp_path):
    run = tmp_path / "run"
    for stage, also in zip(STAGES, (["--workers", "1"], ["--checkpoint-every", "1"], []), strict=True):
        process = forked(train_here, command(dataset, run, config(), "--stage", stage, *also))
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    require_same(run, unbroken)


def test_the_log_goes_back_to_where_the_run_goes_on(tmp_path):
    told = [("prompter", 1), ("prompter", 2), ("stage1", 1), ("stage1", 2), ("stage1", 3), ("stage2", 1)]
    text = "".join(json.dumps({"stage": stage, "step": step}) + "\n" for stage, step in told)
    (tmp_path / logs.LOG).write_text(text + '{"stage": "sta')
    assert len(logs.read_log(tmp_path)) == 6
    logs.rewind(tmp_path, "stage1", 2)
    assert [(line["stage"], line["step"]) for line in logs.read_log(tmp_path)] == told[:4]
    logs.rewind(tmp_path, "prompter", 0)
    assert logs.read_log(tmp_path) == []


def test_a_damaged_newest_checkpoint_is_not_passed_over_in_silence(dataset, tmp_path):
    run, plan = tmp_path / "run", {"epochs": 1, "batch": 2}
    short = changed(small_config(), prompter=plan, stage1=plan, stage2=None)
    trained(dataset, run, short)
    (newest,) = (run / "stage1").iterdir()
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps(state | {"finished": False, "epoch": 0, "position": 2}))
    model = newest / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"truncated or damaged.*Remove .*step-00000\d: training goes on"):
        trained(dataset, run, short)
    (newest / "state.json").write_text(json.dumps(state | {"config": "0" * 64}))
    with pytest.raises(UserError, match="belongs to another config, dataset or stage"):
        trained(dataset, run, short)
