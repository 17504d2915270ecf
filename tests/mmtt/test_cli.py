import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmtt.cli import main
from mmtt.executors import serial
from mmtt.files import lock
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.schema import card_table
from pipelines.ingest import ingest
from tests.factories import tiny_dataset, tiny_recipe

REPO = Path(__file__).parents[2]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def in_a_process(*arguments):
    command = [sys.executable, "-m", "mmtt", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def mmtt(*arguments):
    """The same command line inside this process, a second faster; a bug would raise through it."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["mmtt", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
    finally:
        sys.argv = before
    return Done(left.value.code or 0, out.getvalue(), err.getvalue())


def users_mistake(*arguments, run=mmtt):
    """Run a command that must end with exit code 2 and sentences on standard error alone; return them."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("mmtt: ")
    return done.stderr.removeprefix("mmtt: ").strip()


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    layout = tiny_dataset(tmp_path_factory.mktemp("cli") / "data", photos=2)
    ingest(layout, Recipe.load(layout.recipe), serial, silent)
    return layout


@pytest.fixture
def with_recipe(tmp_path):
    def write(text):
        (tmp_path / "recipe.yaml").write_text(text if isinstance(text, str) else yaml.safe_dump(text))
        return tmp_path

    return write


def test_a_folder_without_a_recipe_says_how_to_start(tmp_path):
    assert users_mistake("plan", tmp_path, run=in_a_process) == (
        f"{tmp_path}/recipe.yaml does not exist. `mmtt init {tmp_path}` starts a dataset there."
    )


def test_a_wrong_key_is_one_sentence(with_recipe):
    folder = with_recipe(tiny_recipe() | {"ingets": {}})
    told = users_mistake("plan", folder, run=in_a_process)
    assert told == f"{folder}/recipe.yaml: 'ingets' is not a key here. Did you mean 'ingest'?"


def test_every_fault_of_a_recipe_is_told_at_once(with_recipe):
    wrong = tiny_recipe() | {"ingest": {"size_px": 300, "faces": "larges"}, "plan": {"splits": {"train": 0.5}}}
    told = users_mistake("plan", with_recipe(wrong)).splitlines()
    assert len(told) == 3
    assert all("recipe.yaml: '" in line for line in told)


def test_what_is_no_yaml_is_one_sentence(with_recipe):
    assert "is not YAML" in users_mistake("plan", with_recipe("a: [1,\nb: }"))


def test_unknown_manipulators_are_named_before_anything_is_done(with_recipe):
    recipe = tiny_recipe(["face_swp", {"use": "recolour", "options": {"strenght": 3}}])
    told = users_mistake("ingest", with_recipe(recipe))
    assert "There is no manipulator 'face_swp'. Did you mean 'face_swap'?" in told
    assert "'strenght' is not a key here" in told


def test_planning_before_ingesting_says_what_is_missing(with_recipe):
    assert "pristine has no manifest.json" in users_mistake("plan", with_recipe(tiny_recipe()))


def test_two_commands_cannot_write_one_directory(ingested):
    with lock(ingested.pristine):
        assert "is being written by another process" in users_mistake("ingest", ingested.root)


@pytest.mark.parametrize(
    "command", [["plan"], ["frobnicate"], ["plan", "x", "--workers", "0"], ["plan", "x", "--nope"]]
)
def test_a_wrong_command_line_exits_with_2_and_prints_usage(command):
    done = mmtt(*command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_version_and_schema_need_no_dataset():
    assert mmtt("--version").stdout.startswith("mmtt ")
    assert all(verb in mmtt("--help").stdout for verb in ("demo", "init", "build", "verify", "shards"))
    assert mmtt("shards", "schema").stdout == card_table()


def test_verify_of_a_whole_dataset_ends_with_0(ingested):
    done = in_a_process("verify", ingested.root, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"records": 2, "faults": []})


def test_verify_of_a_broken_dataset_ends_with_2_and_names_the_shard(ingested, tmp_path):
    broken = tmp_path / "pristine"
    broken.mkdir()
    for path in ingested.pristine.glob("[a-z]*.*"):
        (broken / path.name).write_bytes(path.read_bytes())
    shard = sorted(broken.glob("bucket*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    done = mmtt("verify", tmp_path)
    assert done.returncode == 2
    assert f"pristine/{shard.name}: has another SHA-256" in done.stderr
    assert "pristine: 1 fault" in done.stdout


def test_a_name_cannot_steer_the_terminal(tmp_path):
    assert "\\x1b[2J is not a folder" in users_mistake("verify", tmp_path / "\x1b[2J")


def test_verify_of_nothing_is_a_sentence(tmp_path):
    assert "is not a folder" in users_mistake("verify", tmp_path / "absent")
    assert "has no manifest.json" in users_mistake("verify", tmp_path)


def test_inspect_says_what_a_shard_was_made_from(ingested):
    told = json.loads(mmtt("shards", "inspect", ingested.pristine, "--json").stdout)
    assert sum(item["rows"] for item in told) == 2
    assert {item["stage"] for item in told} == {"ingest"}


def test_inspect_of_what_is_no_shard_is_a_sentence(tmp_path):
    assert "does not exist" in users_mistake("shards", "inspect", tmp_path / "absent.parquet")
    assert "holds no shards" in users_mistake("shards", "inspect", tmp_path)
    (tmp_path / "text.parquet").write_text("text")
    assert "is not a whole Parquet file" in users_mistake("shards", "inspect", tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    assert "no footer of ours" in users_mistake("shards", "inspect", tmp_path / "foreign.parquet")


def test_a_folder_of_weights_that_is_no_folder_stops_only_who_names_it(ingested, tmp_path, monkeypatch):
    told = users_mistake("--models", tmp_path / "nowhere", "verify", ingested.root)
    assert told == f"--models names {tmp_path}/nowhere, which is not a folder."
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "nowhere"))
    assert mmtt("verify", ingested.root).returncode == 0
    found = json.loads(mmtt("doctor", "--json").stdout)
    assert [one["status"] for one in found if one["kind"] == "models"] == ["absent"]


@pytest.mark.parametrize("option", [[], ["--models", "weights"]], ids=["variable", "option"])
def test_a_relative_folder_of_weights_is_the_same_for_every_process(ingested, tmp_path, monkeypatch, option):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMTT_MODELS", "elsewhere" if option else "weights")
    assert mmtt(*option, "verify", ingested.root).returncode == 0
    assert os.environ["MMTT_MODELS"] == str(tmp_path / "weights")
