"""Checkpoints: whole or absent, strict, and never unpickled."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from baselines.forgerytalker import checkpoint
from baselines.forgerytalker.checkpoint import State
from baselines.forgerytalker.writing import save_tensors
from mmtt.errors import UserError

ROOT = Path(__file__).parents[2]


class Tied(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, width)
        self.last.weight = self.first.weight
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


def stepped(model: nn.Module) -> torch.optim.AdamW:
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    optimizer.step()
    return optimizer


@pytest.fixture
def written(tmp_path):
    torch.manual_seed(0)
    model = Tied()
    optimizer = stepped(model)
    state = State(stage="stage1", step=7, epoch=1, position=12, config="c", dataset="d")
    moments = checkpoint.moments_of(optimizer, dict(model.named_parameters()))
    files = {"model": checkpoint.tensors_of(model), "optimizer": moments}
    return checkpoint.write(tmp_path / "stage1", state, files, writes=True), model, optimizer


def load(folder: Path, model: nn.Module) -> None:
    checkpoint.put(checkpoint.tensors_of(model), checkpoint.read(folder, "model"), folder)


def test_a_checkpoint_brings_back_weights_buffers_and_moments_bit_for_bit(written):
    folder, model, optimizer = written
    again = Tied()
    load(folder, again)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    fresh, named = torch.optim.AdamW(again.parameters()), dict(again.named_parameters())
    checkpoint.put_moments(fresh, named, checkpoint.read(folder, "optimizer"), folder)
    before = checkpoint.moments_of(optimizer, dict(model.named_parameters()))
    after = checkpoint.moments_of(fresh, named)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert checkpoint.read_state(folder) == State(stage="stage1", step=7, epoch=1, position=12, config="c", dataset="d")


def test_shared_weights_are_stored_once_and_stay_shared(written):
    folder, _, _ = written
    names = [name for name, _ in checkpoint.read(folder, "model")]
    assert "first.weight" in names
    assert "last.weight" not in names
    assert "scratch" not in names
    again = Tied()
    load(folder, again)
    assert again.first.weight is again.last.weight


def test_a_truncated_file_is_one_sentence(written):
    folder, model, _ = written
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(
        UserError,
        match=r"truncated or damaged.*Remove .*step-000007: training goes on from the checkpoint before it, or",
    ):
        load(folder, model)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="truncated or damaged"):
        load(folder, model)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_never_opened_whatever_its_name(written, zipped, tmp_path):
    folder, model, _ = written
    trap = tmp_path / "sprung"
    torch.save(Trap(trap), folder / "model.safetensors", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"is a pickle.*never opened"):
        load(folder, model)
    assert not trap.exists()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_safetensors_is_named(written):
    folder, model, _ = written
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"safetensors is missing \(pytorch_model.bin is a pickle, which is never"):
        load(folder, model)


def test_a_checkpoint_of_another_config_names_what_differs(written):
    folder, _, _ = written
    with pytest.raises(UserError, match=r"another config: 'first.bias' is 3 there and 4 in this model"):
        load(folder, Tied(4))
    with pytest.raises(UserError, match=r"another config: 'first.bias' is not in this model"):
        load(folder, nn.Linear(3, 3))
    larger = nn.Sequential(Tied())
    tensors = ((f"0.{name}", tensor) for name, tensor in checkpoint.read(folder, "model") if name != "first.bias")
    with pytest.raises(UserError, match=r"another config: '0.first.bias' is missing there"):
        checkpoint.put(checkpoint.tensors_of(larger), tensors, folder)


def test_moments_of_other_parameters_are_refused(written):
    folder, model, _ = written
    named = dict(model.named_parameters())
    model.first.bias.requires_grad_(False)
    with pytest.raises(UserError, match=r"'first.bias:exp_avg' belongs to nothing that learns"):
        checkpoint.put_moments(
            torch.optim.AdamW([named["first.weight"]]), named, checkpoint.read(folder, "optimizer"), folder
        )
    model.first.bias.requires_grad_(True)
    some = [(name, tensor) for name, tensor in checkpoint.read(folder, "optimizer") if name != "first.bias:exp_avg"]
    with pytest.raises(UserError, match="some moments are missing"):
        checkpoint.put_moments(torch.optim.AdamW(model.parameters()), named, iter(some), folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is damaged"),
        ('{"format": 2}', "has format 2; this version of MMTT reads format 1"),
        ("[]", r"no checkpoint of ours\. Remove .*step-000007: training goes on"),
        ('{"format": 1, "stage": "../..", "config": "c", "dataset": "d"}', "'stage' is"),
        ('{"format": 1, "stage": "stage1", "step": -1, "config": "c", "dataset": "d"}', "'step' is -1"),
        ('{"format": 1, "stage": "stage1"}', "'config' is missing"),
    ],
)
def test_a_damaged_state_is_one_sentence(written, text, told):
    folder, _, _ = written
    (folder / "state.json").write_text(text)
    with pytest.raises(UserError, match=told):
        checkpoint.read_state(folder)


def test_a_folder_without_state_is_no_checkpoint(written):
    folder, _, _ = written
    (folder / "state.json").unlink()
    with pytest.raises(UserError, match=r"no state.json.*Remove .*step-000007: training goes on"):
        checkpoint.read_state(folder)


def test_what_a_kill_left_under_this_process_id_is_written_over(tmp_path):
    """In a container a program that is started again has the same id again."""
    left = tmp_path / "s" / f".step-000003.{os.getpid()}.tmp"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    state = State(stage="stage2", step=3, config="c", dataset="d")
    folder = checkpoint.write(tmp_path / "s", state, {"ema": {"a": torch.zeros(1)}}, writes=True)
    assert sorted(path.name for path in folder.iterdir()) == ["ema.safetensors", "state.json"]
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["step-000003"]


@pytest.mark.parametrize("what", ["model.safetensors", "state.json"])
def test_a_disk_that_is_full_is_a_sentence_and_leaves_what_was_there(written, what):
    """The system itself refuses to write on, as where a disk is full; in a process of its own, for it stays so."""
    folder, _, _ = written
    stage, limit = folder.parent, {"model.safetensors": 4096, "state.json": 100}[what]
    values = 10_000 if what == "model.safetensors" else 0
    code = (
        "import resource, torch\n"
        "from pathlib import Path\n"
        "from baselines.forgerytalker import checkpoint\n"
        "from mmtt.errors import UserError\n"
        f"state = checkpoint.read_state(Path({str(folder)!r})).model_copy(update={{'step': 8}})\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"files = {{'model': {{'a': torch.zeros({values})}}}}\n"
        "try:\n"
        f"    checkpoint.write(Path({str(stage)!r}), state, files, writes=True)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert told.startswith(f"{stage / 'step-000008'} cannot be written: ")
    assert "File too large" in told
    assert told.endswith("Make room and run the command again; checkpoints from before are kept.\n")
    assert [path.name for path in stage.iterdir()] == [folder.name]


def test_whoever_may_read_the_folders_other_files_may_read_the_weights(written):
    folder, _, _ = written
    assert {path.stat().st_mode for path in folder.iterdir()} == {(folder / "state.json").stat().st_mode}
    before = os.umask(0o077)
    try:
        save_tensors(folder / "own.safetensors", {"a": torch.zeros(1)})
    finally:
        os.umask(before)
    assert (folder / "own.safetensors").stat().st_mode & 0o777 == 0o600


def test_only_the_newest_are_kept_and_what_a_kill_left_is_swept(written):
    folder, model, _ = written
    stage = folder.parent
    for step in (8, 1_000_000, 12):
        state = State(stage="stage1", step=step, config="c", dataset="d")
        checkpoint.write(stage, state, {"model": checkpoint.tensors_of(model)}, writes=True)
    shutil.copytree(folder, stage / ".step-000013.4711.tmp")
    (stage / "step-000009x").mkdir()
    assert [path.name for path in checkpoint.all_of(stage)] == [
        "step-000007", "step-000008", "step-000012", "step-1000000",
    ]  # fmt: skip
    checkpoint.prune(stage, 2)
    assert sorted(path.name for path in stage.iterdir()) == ["step-000009x", "step-000012", "step-1000000"]


def test_what_is_no_number_is_stored_as_it_is(tmp_path):
    """A checkpoint judges nothing: the loop refuses such losses before they reach the weights."""
    tensors = {"odd": torch.tensor([float("nan"), float("inf"), -0.0])}
    state = State(stage="stage2", config="c", dataset="d")
    folder = checkpoint.write(tmp_path / "s", state, {"model": tensors}, writes=True)
    ((_, found),) = checkpoint.read(folder, "model")
    assert found.numpy().tobytes() == tensors["odd"].numpy().tobytes()
    assert json.loads((folder / "state.json").read_text())["format"] == 1


def test_a_header_that_looks_like_a_pickle_is_still_read(tmp_path):
    """The first byte of safetensors is a length, and may be that of a pickle."""
    for width in range(1, 200):
        save_file({"a" * width: torch.zeros(1)}, tmp_path / "model.safetensors")
        if (tmp_path / "model.safetensors").read_bytes()[:1] == b"\x80":
            break
    else:
        pytest.fail("no such header was met")
    assert [len(name) for name, _ in checkpoint.read(tmp_path, "model")] == [width]
