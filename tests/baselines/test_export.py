"""Exported models: one folder that loads back, says what it is, and tells nothing about this machine."""

import getpass
import json
import re
import resource
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
import yaml
from safetensors import safe_open
from torch import Tensor
from typer.testing import CliRunner

from baselines.cli import register
from baselines.forgerytalker import checkpoint, runs
from baselines.forgerytalker.card import Facts, card
from baselines.forgerytalker.config import Config
from baselines.forgerytalker.export import Trained, export, load
from baselines.forgerytalker.model import build
from mmtt.devices import steady
from mmtt.errors import LockedError, UserError
from mmtt.files import lock
from mmtt.layout import Layout
from tests.baselines.small_runs import forked
from tests.baselines.untrained import reported_dataset, small_config, untrained_run

PREDICTIONS = ("mask_BHW", "regions_BR", "verdict_B")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with steady(exact_gpu=False):
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return reported_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory) -> Trained:
    return load(untrained_run(tmp_path_factory.mktemp("runs") / "run", root, small_config(verdict=True)))


@pytest.fixture(scope="module")
def exported(trained, root, tmp_path_factory) -> Path:
    return export(trained, root, tmp_path_factory.mktemp("exports") / "model")


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def facts(**changes) -> Facts:
    known = {"manipulations": {"face_swap": 2}, "origins": {"ffhq": 2}, "licences": {"CC-BY-4.0": 2}}
    return replace(Facts(samples=2, groups=1, text_origins={"human": 2}, obligations=("BY",), **known), **changes)


def card_of(config: Config, told: Facts, scores: Path | None = None, stage: str = "stage2") -> str:
    return card(config, {"stage": stage, "step": 7, "weights": "0" * 64}, "f" * 64, 1000, told, scores)


def test_an_exported_folder_loads_back_and_predicts_the_same(trained, exported, pixels):
    back = load(exported)
    assert (back.stage, back.step, back.config) == (trained.stage, trained.step, trained.config)
    before, after = (one.model.predict(pixels, trained.config.generation) for one in (trained, back))
    for name in PREDICTIONS:
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert before.reports == after.reports


def test_averaged_weights_are_those_that_are_exported(root, tmp_path):
    config = small_config()
    stage = config.training.stage2.model_copy(update={"ema": 0.9})
    config = config.model_copy(update={"training": config.training.model_copy(update={"stage2": stage})})
    folder = untrained_run(tmp_path / "run", root, config)
    run = runs.Run.open(folder)
    newest = run.newest("stage2")
    weights = dict(checkpoint.read(newest, "model"))
    learning = runs.averaged(run, build(run.config, run.tokens), "stage2")
    shifted = {name: weights[name] + 1 for name in learning}
    state = checkpoint.read_state(newest).model_copy(update={"step": 4})
    checkpoint.write(folder / "stage2", state, {"model": weights, "ema": shifted}, writes=True)
    with safe_open(export(load(folder), root, tmp_path / "model") / "model.safetensors", "pt") as file:
        for name, value in weights.items():
            assert torch.equal(file.get_tensor(name), value + 1 if name in shifted else value), name


def test_only_json_yaml_markdown_and_safetensors_are_exported(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {"README.md", "config.yaml", "export.json", "model.safetensors", "run.json", "tokenizers"}
    suffixes = {path.suffix for path in exported.rglob("*") if path.is_file()}
    assert suffixes <= {".md", ".yaml", ".json", ".safetensors"}
    for path in exported.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_nothing_about_this_machine_is_exported(exported, root, trained):
    texts = [path.read_bytes().decode("utf-8", "replace") for path in exported.rglob("*") if path.is_file()]
    paths = [str(root), str(trained.run.folder), str(exported), str(Path.home()), str(Path.cwd())]
    machine = [word for word in (*paths, socket.gethostname()) if len(word) > 3]
    assert len(machine) >= 3
    for text in texts:
        assert not [word for word in machine if word in text]
        assert not re.search(rf"\b{re.escape(getpass.getuser())}\b[:/@]", text)


def test_the_card_says_what_the_data_obliges_to_and_who_wrote_the_texts(exported, trained):
    text = (exported / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "other"
    assert "\n- BY\n" in body  # the program that recoloured is under a permissive licence
    assert "CC0-1.0" in body
    assert "| template |" in body
    assert "written by a template or a model, not by a person" in body
    assert trained.run.dataset in body
    assert "estimate nothing about real ones" in body
    assert json.loads((exported / "export.json").read_text())["weights"] in body


def test_the_card_claims_no_more_than_is_known():
    plain = card_of(small_config(), facts())
    assert "takes every face for a forged one" in plain
    assert "written by a template" not in plain
    assert "None were made for this card" in plain
    assert "masks and reports are noise" in card_of(small_config(), facts(), stage="prompter")
    assert "takes every face" not in card_of(small_config(verdict=True), facts())
    assert "learnt from no report at all" in card_of(small_config(), facts(text_origins={"none": 2}))
    mixed = card_of(small_config(), facts(text_origins={"human": 1, "template": 1}))
    assert "1 of these reports" in mixed


def test_strangers_words_are_text_in_the_card():
    hostile = "<script>alert(1)</script> [x](javascript:y) | a\n\n# b `c`"
    text = card_of(small_config(), facts(origins={hostile: 2}, obligations=(hostile,), licences={hostile: 2}))
    assert "<script" not in text.replace("\\<script", "")
    assert "\n# b" not in text
    assert "[x](" not in text.replace("\\", "§")
    rows = [line for line in text.splitlines() if "alert" in line]
    assert len(rows) == 3
    assert all("\\|" in row for row in rows)


def test_scores_come_into_the_card_where_they_were_made(tmp_path):
    with pytest.raises(UserError, match=r"scores\.md does not exist"):
        card_of(small_config(), facts(), tmp_path)
    (tmp_path / "scores.md").write_text("| score | model |\n|---|---|\n| IoU | 0.5 |\n")
    assert "| IoU | 0.5 |" in card_of(small_config(), facts(), tmp_path)


def test_the_commands_lead_from_a_run_to_a_card_with_scores(trained, root, tmp_path):
    run, scores, model = str(trained.run.folder), tmp_path / "scores", tmp_path / "model"

    def mmtt(*words: str) -> str:
        app = typer.Typer()
        register(app)
        done = CliRunner().invoke(app, ["baseline", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    told = json.loads(mmtt("evaluate", run, str(root), str(scores), "--split", "train", "--json"))
    assert told["standings"][0]["name"] == "model"
    before = (scores / "predictions" / "predictions.jsonl").stat().st_mtime_ns
    assert "landmark box" in mmtt("evaluate", run, str(root), str(scores), "--split", "train")
    assert (scores / "predictions" / "predictions.jsonl").stat().st_mtime_ns == before
    assert str(model) in mmtt("export", run, str(root), str(model), "--scores", str(scores))
    assert "landmark box" in (model / "README.md").read_text(encoding="utf-8")
    asked = ("--split", "validation", "--regions", "eye", "--batch", "2", "-j", "1")
    mmtt("predict", str(model), str(root), str(tmp_path / "said"), *asked)
    assert json.loads((tmp_path / "said" / "meta.json").read_text())["regions"] == ["eye"]


def test_a_run_whose_later_stages_are_not_trained_says_so(root, tmp_path):
    run = untrained_run(tmp_path / "run", root, small_config(), stage="prompter")
    assert load(run).lacking == (
        f"{run}: stage1 and stage2 are not trained; what follows is what prompter had learnt after step 3."
    )
    (state,) = (run / "prompter").glob("step-*/state.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"finished": False}))
    assert "prompter is not finished and stage1 and stage2 are not trained" in load(run).lacking
    model = export(load(run), root, tmp_path / "model")
    assert "model: stage1 and stage2 are not trained" in load(model).lacking
    app = typer.Typer()
    register(app)
    words = ["baseline", "export", str(run), str(root)]
    told = CliRunner().invoke(app, [*words, str(tmp_path / "a")])
    assert told.stderr.startswith(f"{run}: prompter is not finished")
    assert CliRunner().invoke(app, [*words, str(tmp_path / "b"), "--stage", "prompter"]).stderr == ""


def test_a_trained_run_lacks_nothing(trained, exported):
    assert trained.lacking is None
    assert load(exported).lacking is None


def test_an_export_that_somebody_else_makes_is_left_alone_and_what_a_kill_left_is_written_over(
    trained, exported, root, tmp_path
):
    left = tmp_path / ".model.export"
    (left / "tokenizers").mkdir(parents=True)
    (left / "tokenizers" / "half").write_bytes(b"half")
    with lock(left), pytest.raises(LockedError, match="being written by another process"):
        export(trained, root, tmp_path / "model")
    assert (left / "tokenizers" / "half").exists()
    made = export(trained, root, tmp_path / "model")
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (made, exported)]
    assert names[0] == names[1]
    assert not left.exists()


def test_an_export_that_the_system_refuses_is_a_sentence_and_leaves_nothing(trained, root, tmp_path):
    """In a process of its own: how much it may write cannot be raised again."""
    said = tmp_path / "said"
    process = forked(_export_in_little, trained.run.folder, root, tmp_path / "model", said)
    process.join(60)
    told = said.read_text()
    assert told.startswith(f"{tmp_path / 'model'} cannot be written: ")
    assert "File too large" in told
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def _export_in_little(run, root, folder, said):
    model = load(run)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with pytest.raises(UserError) as refused:
        export(model, root, folder)
    said.write_text(str(refused.value))


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_word_that_is_no_region_is_told_before_anything_is_loaded(command, tmp_path):
    app = typer.Typer()
    register(app)
    with pytest.raises(UserError, match=r"'nos' is no region of the face\. Did you mean 'nose'"):
        CliRunner().invoke(
            app, ["baseline", command, "no run", "no data", str(tmp_path), "--regions", "nos"], catch_exceptions=False
        )


def test_a_folder_that_is_there_and_another_dataset_are_refused(trained, exported, root, tmp_path):
    with pytest.raises(UserError, match="exists"):
        export(trained, root, exported)
    other = shutil.copytree(root, tmp_path / "data")
    Layout(other).splits.write_bytes(Layout(other).splits.read_bytes() + b" ")
    with pytest.raises(UserError, match="not what the run was trained on"):
        export(trained, other, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.safetensors", b"\x80\x04pickle", "pickle"),
        ("model.safetensors", b"\x10\x00", "truncated or damaged"),
        ("export.json", b"{", "damaged"),
        ("export.json", b'{"format": 2, "stage": "stage2", "step": 1, "weights": ""}', "'format'"),
    ],
)
def test_a_damaged_folder_is_a_sentence(exported, tmp_path, file, content, told):
    folder = shutil.copytree(exported, tmp_path / "model")
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=told):
        load(folder)


def test_weights_that_were_changed_since_are_refused(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match=r"has another SHA-256 than export\.json says"):
        load(folder)


def test_a_stage_that_a_folder_does_not_hold_is_refused(exported, trained):
    with pytest.raises(UserError, match="weights of stage2, not of stage1"):
        load(exported, "stage1")
    with pytest.raises(UserError, match="'stage9' is no stage"):
        load(trained.run.folder, "stage9")
