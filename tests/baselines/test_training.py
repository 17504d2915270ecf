"""Training: every stage learns, the loop does what it says, and what goes wrong is a sentence."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from baselines.forgerytalker import checkpoint, runs
from baselines.forgerytalker.config import LOSSES, STAGES, StageConfig
from baselines.forgerytalker.distributed import Ranks
from baselines.forgerytalker.learner import Job, Means, prepare, split
from baselines.forgerytalker.logs import LOG, opened, read_log, summary
from baselines.forgerytalker.optim import Average, learning_rate, make_optimizer
from baselines.forgerytalker.runs import Run, load_model
from baselines.forgerytalker.train import train_step
from mmtt.errors import MissingDependency, UserError
from mmtt.files import lock
from tests.baselines.small_runs import (
    changed,
    command,
    dataset,
    forked,
    one_thread,
    steady_config,
    train_here,
    trained,
    weights,
)
from tests.baselines.untrained import small_config
from tests.factories import build, tiny_dataset

ROOT = Path(__file__).parents[2]
ALONE = Ranks(0, 1, torch.device("cpu"))
__all__ = ["dataset"]


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A run of all three stages that repeats its few samples until it knows them."""
    config = small_config()
    learning = {"epochs": 8, "batch": 8, "lr": 5e-3, "warmup_steps": 2, "ema": 0.5}
    config = changed(config, **dict.fromkeys(STAGES, learning))
    config = changed(config, prompter={"loss": {"regions": 1, "patches": 1}})
    run = tmp_path_factory.mktemp("finished") / "run"
    return run, config, trained(dataset, run, config)


def test_every_loss_of_every_stage_falls(finished):
    run, config, _ = finished
    for stage in STAGES:
        steps = [line for line in read_log(run) if line["stage"] == stage and "losses" in line]
        for loss in set(getattr(config.training, stage).loss) - {"contrast"}:  # a handful of texts that are alike
            first, last = steps[:3], steps[-3:]
            assert sum(s["losses"][loss] for s in last) < sum(s["losses"][loss] for s in first), (stage, loss)


def test_the_log_tells_every_step_and_every_epoch(finished):
    run, config, _ = finished
    for stage in STAGES:
        plan = getattr(config.training, stage)
        lines = [line for line in read_log(run) if line["stage"] == stage]
        steps = [line for line in lines if "losses" in line]
        assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
        assert [line["epoch"] for line in lines if "validation" in line] == list(range(plan.epochs))
        assert steps[-1].keys() == {
            "stage", "step", "epoch", "loss", "losses", "lr", "grad_norm", "samples_per_s", "seconds",
        }  # fmt: skip
        assert steps[-1]["loss"] == pytest.approx(sum(plan.loss[k] * v for k, v in steps[-1]["losses"].items()))
        assert steps[-1]["losses"].keys() == set(plan.loss) <= set(LOSSES[stage])
    assert 0 <= lines[-1]["validation"]["mask_iou"] <= 1
    assert list((run / "tensorboard" / "stage2").glob("events.*"))


def test_a_line_for_each_stage_is_printed_and_a_finished_run_stays_as_it_is(finished, dataset):
    run, config, printed = finished
    assert [line.split(":")[0] for line in printed.splitlines()] == list(STAGES)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    assert trained(dataset, run, config) == printed
    found = json.loads(trained(dataset, run, config, "--json"))
    assert [stage["stage"] for stage in found] == list(STAGES)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")} == before


def test_a_model_comes_out_as_it_predicts_with_the_averaged_weights(finished):
    run, config, _ = finished
    found_config, model = load_model(run)
    assert found_config == config
    assert not model.training
    stored, named = weights(run, "stage2"), dict(model.named_parameters())
    learnt = [name for name in named if f"ema.safetensors:{name}" in stored]
    assert learnt
    assert all(torch.equal(named[name], stored[f"ema.safetensors:{name}"]) for name in learnt)
    assert any(not torch.equal(named[name], stored[f"model.safetensors:{name}"]) for name in learnt)
    assert load_model(run, "prompter")[1] is not model
    with pytest.raises(UserError, match=r"no stage 'stage3'. Did you mean 'stage2'"):
        load_model(run, "stage3")


def test_frozen_parts_do_not_move(finished):
    """The prompter learns in its own stage; afterwards the averaged one is the frozen one, to the last bit."""
    run, _, _ = finished
    prompter, stage2 = weights(run, "prompter"), weights(run, "stage2")
    names = [name.split(":")[1] for name in prompter if name.startswith("ema.")]
    assert names
    assert all(name.startswith("prompter.") for name in names)
    assert all(torch.equal(prompter[f"ema.safetensors:{n}"], stage2[f"model.safetensors:{n}"]) for n in names)


def test_a_run_says_what_it_was_trained_on_and_with_what(finished):
    run, _, _ = finished
    told = json.loads((run / "run.json").read_text())
    assert told["versions"]["torch"] == torch.__version__
    assert len(told["dataset"]) == 64
    assert [Run.open(run).state(stage).finished for stage in STAGES] == [True] * len(STAGES)


def test_a_finished_stage_keeps_one_checkpoint(finished):
    run, _, _ = finished
    assert all(len(list((run / stage).iterdir())) == 1 for stage in STAGES)


@pytest.fixture
def begun(dataset, tmp_path):
    """A run that has begun, and the job of its stage 1."""

    def begin(config, stage="stage1"):
        from baselines.forgerytalker.tokens import tokens_for

        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        texts = ["The nose is smeared.", "The eye has another colour than the rest of the face."]
        runs.begin(folder, config, "0" * 64, lambda: tokens_for(config.model, texts))
        return Job(Run.open(folder), stage, dataset, Means(), ALONE)

    return begin


def only(**stage):
    """Stage 1 alone."""
    return changed(steady_config(**stage), prompter=None, stage2=None)


def gradients(job, batch):
    with one_thread():
        learner = prepare(job)
        told = train_step(job, learner, batch)
    return told, {name: p.grad for name, p in learner.named.items() if p.grad is not None}


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_gradients_do_not_depend_on_the_parts_of_a_batch(begun, accumulate):
    """Sums in another order: equal to 1e-4 of each parameter's largest gradient. Fillers count for nothing."""
    whole = begun(only(batch=10, clip_norm=None))
    parts = begun(only(batch=10, clip_norm=None, accumulate=accumulate))
    batch = next(whole.batches(whole.data("train"), 10))
    real = math.ceil(len(batch) / 2)
    batch = replace(batch, weight_B=(torch.arange(len(batch)) < real).float())
    told, expected = gradients(whole, batch)
    told_again, found = gradients(parts, batch)
    assert told.real == told_again.real == real
    assert told.losses == pytest.approx(told_again.losses, rel=1e-5)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert torch.allclose(gradient, found[name], rtol=0, atol=1e-4 * float(gradient.abs().max()) + 1e-7), name
    _, without = gradients(begun(only(batch=real, clip_norm=None)), split(batch, 2)[0])
    for name, gradient in without.items():
        assert torch.allclose(gradient, expected[name], rtol=0, atol=1e-4 * float(gradient.abs().max()) + 1e-7), name


def test_gradient_checkpointing_changes_no_gradient(begun):
    plain = begun(only(batch=4))
    saving = begun(changed(only(batch=4), gradient_checkpointing=True))
    batch = next(plain.batches(plain.data("train"), 4))
    _, expected = gradients(plain, batch)
    _, found = gradients(saving, batch)
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)


def test_bfloat16_computes_roughly_the_same_and_keeps_weights_in_float32(begun):
    plain, short = begun(only(batch=4)), begun(changed(only(batch=4), precision="bf16"))
    batch = next(plain.batches(plain.data("train"), 4))
    told, _ = gradients(plain, batch)
    told_short, found = gradients(short, batch)
    assert told.losses != told_short.losses
    assert told.losses == pytest.approx(told_short.losses, rel=0.05)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}


def test_the_learning_rate_is_a_function_of_the_step():
    plan = StageConfig(epochs=1, batch=1, lr=1.0, min_lr=0.1, warmup_steps=10, train=("heads",), loss={"mask": 1})
    rates = [learning_rate(step, 110, plan) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1, abs=1e-3)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert learning_rate(3, 4, plan.model_copy(update={"warmup_steps": 0})) > 0.1


def test_biases_and_norms_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    model[0].bias.requires_grad_(False)
    plan = StageConfig(epochs=1, batch=1, lr=1.0, weight_decay=0.3, train=("heads",), loss={"mask": 1})
    groups = make_optimizer(dict(model.named_parameters()), plan).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.3), (2, 0.0)]


def test_the_average_is_lent_and_taken_back_bit_for_bit():
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    average = Average(dict(model.named_parameters()), 0.75)
    start = model.weight.detach().float().clone()
    with torch.no_grad():
        model.weight += 1
    average.update()
    own = model.weight.detach().clone()
    assert average.values["weight"].dtype == torch.float32
    assert torch.allclose(average.values["weight"], start + 0.25 * (own.float() - start))
    with average.in_place():
        assert not torch.equal(model.weight, own)
    assert torch.equal(model.weight, own)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(dataset, tmp_path):
    config = changed(steady_config(epochs=3, lr=1e30, warmup_steps=0, clip_norm=None), prompter=None, stage2=None)
    told = r"In step \d+ of stage1, the (loss '\w+'.*|gradient) is no finite number, at record\(s\) [0-9a-f]{24}.*kept"
    with pytest.raises(UserError, match=told):
        trained(dataset, tmp_path / "run", config, "--checkpoint-every", "1")
    (newest,) = (tmp_path / "run" / "stage1").glob("step-*")
    stored = dict(checkpoint.read(newest, "model"))
    assert stored
    assert all(math.isfinite(line["loss"]) for line in read_log(tmp_path / "run"))


def test_a_stage_of_which_no_part_has_a_say_in_its_losses_is_refused(begun):
    job = begun(changed(only(batch=4), stage1={"train": ["heads"], "loss": {"report": 1}}))
    with pytest.raises(UserError, match=r"No part in 'stage1\.train' has a say in the losses"):
        gradients(job, next(job.batches(job.data("train"), 4)))


def test_a_last_step_that_breaks_the_weights_is_met_by_validation_and_not_kept(dataset, tmp_path):
    config = changed(steady_config(epochs=1, batch=64, lr=1e30, clip_norm=None), prompter=None, stage2=None)
    with pytest.raises(UserError, match=r"After epoch 1 of stage1, the validation's '\w+'.* is no finite number.*kept"):
        trained(dataset, tmp_path / "run", config)
    assert not (tmp_path / "run" / "stage1").exists()


def test_a_log_that_lost_its_beginning_still_tells_of_the_rest_and_an_empty_one_is_a_sentence(finished, tmp_path):
    run, _, _ = finished
    lines = [line for line in (run / LOG).read_text().splitlines() if '"epoch": 0,' not in line]
    (tmp_path / LOG).write_text("\n".join(lines) + "\n")
    assert 0 < summary(tmp_path, "stage2").steps < summary(run, "stage2").steps
    (tmp_path / LOG).unlink()
    with pytest.raises(UserError, match="tells nothing of stage2"):
        summary(tmp_path, "stage2")


def test_a_run_of_another_config_or_dataset_is_refused(finished, dataset, tmp_path):
    run, config, _ = finished
    with pytest.raises(UserError, match=r"another config: 'training.stage1.lr' is 0.005 there and 0.1 now"):
        trained(dataset, run.parent / "run", changed(config, stage1={"lr": 0.1}))
    (run / "run.json").rename(tmp_path / "kept")
    about = json.loads((tmp_path / "kept").read_text())
    try:
        (run / "run.json").write_text(json.dumps(about | {"dataset": "0" * 64}))
        with pytest.raises(UserError, match="begun on another dataset"):
            trained(dataset, run, config)
    finally:
        (tmp_path / "kept").rename(run / "run.json")


def test_a_folder_that_holds_other_things_is_refused(dataset, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"not empty and no run \(it holds thesis.tex\)"):
        trained(dataset, tmp_path / "run", steady_config())
    with pytest.raises(UserError, match="holds no run"):
        load_model(tmp_path / "run")


def test_a_run_that_somebody_else_trains_is_refused(finished, dataset):
    run, config, _ = finished
    with lock(run), pytest.raises(UserError, match="written by another process"):
        trained(dataset, run, config)


def test_a_stage_begins_where_the_one_before_ends(dataset, tmp_path):
    config = steady_config(epochs=1)
    with pytest.raises(UserError, match="stage1 begins where prompter ends, and that is not finished"):
        trained(dataset, tmp_path / "run", config, "--stage", "stage1")
    with pytest.raises(UserError, match="no checkpoint of stage2 yet"):
        load_model(tmp_path / "run")
    assert trained(dataset, tmp_path / "run", config, "--stage", "prompter").startswith("prompter: ")
    assert trained(dataset, tmp_path / "run", config, "--stage", "stage1").startswith("stage1: ")
    with pytest.raises(UserError, match="'stage7' is no stage of this config"):
        trained(dataset, tmp_path / "run", config, "--stage", "stage7")


def test_shards_without_reports_are_refused_before_anything_is_written(tmp_path):
    root = build_without_reports(tmp_path / "data")
    with pytest.raises(UserError, match="lack a report"):
        trained(root, tmp_path / "run", steady_config())
    assert not (tmp_path / "run" / "config.yaml").exists()


def build_without_reports(root):
    build(tiny_dataset(root, 6))
    return root


def test_too_little_memory_is_a_sentence_that_says_what_to_lower(dataset, tmp_path):
    """A true failure of a true allocation: the process may take no more memory than it has, and a little."""
    greedy = steady_config(batch=4).model_dump(mode="json")
    greedy["model"]["prompter"] |= {"patch_px": 2, "mlp": 65536}
    config = changed(type(steady_config()).model_validate(greedy), stage1=None, stage2=None)
    process = forked(_train_in_little, command(dataset, tmp_path / "run", config), tmp_path / "said")
    process.join(60)
    told = (tmp_path / "said").read_text()
    assert process.exitcode == 2
    assert told.startswith("mmtt: Out of memory in prompter with batches of 4 in 1 part(s). Raise prompter.accumulate")
    assert told.count("\n") == 1


def _train_in_little(arguments, said):
    sys.stderr = said.open("w")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # Threads that Arrow starts reserve 64 MB each, as many as it happens to need; one layer alone asks for 2.4 GB.
    resource.setrlimit(resource.RLIMIT_AS, (held + 1000 * 2**20,) * 2)
    train_here(arguments)


@pytest.mark.parametrize("absent", ["torch", "transformers"])
def test_without_its_extra_the_command_is_a_sentence_and_its_help_works(absent):
    """Only an absent module counts; the help needs none of them."""
    code = (
        f"import sys; sys.modules['{absent}'] = None\n"
        "import typer\n"
        "from baselines.cli import register\n"
        "from mmtt.errors import MissingDependency\n"
        "app = typer.Typer()\n"
        "app.callback()(lambda: None)\n"
        "register(app)\n"
        "try:\n"
        "    app(['baseline', 'train', 'a', 'b', '--config', 'tiny'], standalone_mode=False)\n"
        "except MissingDependency as error:\n"
        "    print(error)\n"
        "app(['baseline', 'train', '--help'])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.startswith(f"Training needs {absent}: pip install 'mmtt[baselines]'.\n")
    assert "DATASET" in found.stdout


def test_what_transformers_does_not_name_is_named_all_the_same():
    """It imports late, and tells of its own class in place of the package that it missed."""
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from baselines.cli_use import extra_told\n"
        "from mmtt.errors import MissingDependency\n"
        "late, inner = ModuleNotFoundError('Could not import module'), ModuleNotFoundError(name='safetensors.torch')\n"
        "for error in (late, inner):\n"
        "    try:\n"
        "        with extra_told('Training'):\n"
        "            raise error\n"
        "    except MissingDependency as told:\n"
        "        print(told)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    needed = [f"Training needs {name}: pip install 'mmtt[baselines]'." for name in ("tokenizers", "safetensors")]
    assert found.stdout.splitlines() == needed


def test_ctrl_c_is_a_sentence_and_the_same_command_goes_on(dataset, tmp_path):
    run, said = tmp_path / "run", tmp_path / "said"
    arguments = command(dataset, run, steady_config(epochs=40))
    process, deadline = forked(_train_and_say, arguments, said), time.monotonic() + 60
    while not (run / "log.jsonl").exists() or not list(run.glob("prompter/step-*")):
        assert time.monotonic() < deadline and process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    *epochs, last = said.read_text().splitlines()
    assert last == "Stopped. The same command goes on."
    assert all(line.startswith("prompter, epoch ") for line in epochs)


def _train_and_say(arguments, said):
    sys.stderr = said.open("w")
    train_here(arguments)


def test_weights_and_biases_is_asked_for_and_named_where_it_is_absent(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependency, match="pip install wandb"):
        trained(dataset, tmp_path / "run", steady_config(), "--wandb", "faces")


def test_a_tracker_is_told_numbers_with_their_stage_and_step(tmp_path):
    class Tracker:
        def __init__(self):
            self.told = []

        def log(self, numbers):
            self.told.append(numbers)

    tracker = Tracker()
    with opened(tmp_path, "stage1", 0, tracker) as log:
        log.write({"step": 7, "losses": {"mask": 0.5}, "lr": 0.1})
    assert tracker.told == [{"stage1/step": 7, "stage1/losses/mask": 0.5, "stage1/lr": 0.1}]


def test_sharding_needs_ranks(dataset, tmp_path):
    with pytest.raises(UserError, match="--fsdp shards over the processes that torchrun starts"):
        trained(dataset, tmp_path / "run", steady_config(), "--fsdp")
