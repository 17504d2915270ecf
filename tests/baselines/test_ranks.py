"""Ranks: two processes that `torchrun` starts learn what one learns, by DDP and by FSDP (gloo, CPU).

The tolerance is that of sums in another order, magnified by AdamW's division by small moments: losses agree to a
relative 1e-4 over a run of a few steps. Dropout is off, for each rank draws its own; contrast, for it looks at a part.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from baselines.forgerytalker.config import STAGES
from baselines.forgerytalker.logs import read_log
from mmtt.samples import of_split, read_samples
from tests.baselines.small_runs import changed, command, dataset, steady_config, trained

__all__ = ["dataset"]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120


def torchrun(keys, arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MMTT_DEVICE": "cpu"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(ROOT / "tests" / "baselines" / "rank.py"), str(keys), *arguments[2:]]
    return subprocess.Popen(
        [*start, *script], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def config():
    """Six train samples by four: the second step of an epoch is short, and one rank's share of it is a filler."""
    return changed(steady_config(batch=4, lr=1e-4, ema=0.9), stage2={"accumulate": 2})


@pytest.fixture(scope="module")
def alone(dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    trained(dataset, run, config())
    return run


def require_close(run, alone, stages=STAGES):
    """Losses, gradients and validation, line by line."""
    expected, found = ([line for line in read_log(r) if line["stage"] in stages] for r in (alone, run))
    assert [(line["stage"], line["step"]) for line in found] == [(line["stage"], line["step"]) for line in expected]
    for line, other in zip(expected, found, strict=True):
        for what, rel in (("losses", 1e-4), ("validation", 1e-4), ("grad_norm", 1e-3)):
            assert (what in line) == (what in other)
            assert what not in line or other[what] == pytest.approx(line[what], rel=rel, abs=1e-5)


def test_two_ranks_see_each_sample_once_and_learn_what_one_learns(dataset, alone, tmp_path):
    run, keys = tmp_path / "run", tmp_path / "keys"
    keys.mkdir()
    process = torchrun(keys, command(dataset, run, config()))
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert [said.count(f"{stage}: ") for stage in STAGES] == [1, 1, 1]  # one rank speaks
    require_close(run, alone)
    first, second = (json.loads((keys / f"{rank}.json").read_text()) for rank in range(2))
    everybody = sorted(sample.record_id for sample in of_split(read_samples(dataset), "train"))
    for epoch, mine in first.items():
        assert len(mine) == len(second[epoch])
        assert sorted(key for batch in [*mine, *second[epoch]] for key in batch) == everybody
    assert len(first) == 2 * len(STAGES)


def test_a_sharded_run_that_was_ended_goes_on_alone(dataset, tmp_path):
    """FSDP writes what one process reads: weights, moments and average are whole in a checkpoint."""
    one_stage = changed(config(), prompter=None, stage1=None, stage2={"epochs": 6})
    run, by_itself = tmp_path / "run", tmp_path / "by_itself"
    trained(dataset, by_itself, one_stage)
    process = torchrun("-", command(dataset, run, one_stage, "--fsdp", "--checkpoint-every", "1"))
    deadline = time.monotonic() + PATIENCE_S
    while not list(run.glob("stage2/step-00000[3-9]")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # torchrun hands it on to its ranks
    said, _ = process.communicate(timeout=PATIENCE_S)
    made = len([line for line in read_log(run) if "losses" in line])
    assert 3 <= made < 12, said
    trained(dataset, run, one_stage)
    require_close(run, by_itself, ("stage2",))
