"""What a new user broke first: each of these once passed quietly, and must never again."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from mmtt import images
from mmtt.check import verify_all
from mmtt.cli import app, mount
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.files import replacing
from mmtt.manifest import shard_paths
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Record
from mmtt.shards import Lookup, Shard, ShardWriter, read_footer
from pipelines.forge import forge, render_job
from pipelines.plan import plan
from pipelines.replay import replay
from tests.factories import TODAY, build, source_row, tiny_dataset, write_sources

mount("pipelines")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    layout = tiny_dataset(tmp_path_factory.mktemp("finished"), photos=6, manipulators=("recolour", "attribute_warp"))
    build(layout)
    return layout


@pytest.fixture
def copy(finished, tmp_path):
    """A finished dataset that a test may spoil."""
    shutil.copytree(finished.root, tmp_path / "copy")
    return type(finished)(tmp_path / "copy")


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_build_tells_what_the_plan_refused_and_stops_there(tmp_path):
    layout = tiny_dataset(tmp_path, photos=3)
    write_sources(tmp_path, [source_row(f"drawn_{n:02d}.png", licence="CC-BY-ND-4.0") for n in range(3)])
    told = run("build", tmp_path)
    assert told.exit_code == 3
    assert "3 plan/licence_conflict" in told.output and "allows no derivatives" in told.output
    assert not layout.forged.exists()


@pytest.mark.parametrize(
    "step", [lambda at, recipe: forge(at, recipe, serial, silent), lambda at, recipe: list(replay(at, recipe))]
)
def test_a_plan_made_for_another_recipe_is_not_executed(copy, step):
    data = yaml.safe_load(copy.recipe.read_text()) | {"seed": 99}
    copy.recipe.write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match=r"does not fit the recipe .* Run `mmtt plan` first"):
        step(copy, Recipe.load(copy.recipe))


def test_a_torn_plan_is_drawn_anew_and_torn_splits_are_not(copy):
    recipe = Recipe.load(copy.recipe)
    before = plan(copy, recipe, TODAY).rows
    (copy.plan / "plan.parquet").write_bytes(b"PAR1 torn")
    assert plan(copy, recipe, TODAY).rows == before
    (copy.plan / "splits.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match="Restore it, or remove it"):
        plan(copy, recipe, TODAY)


def test_verify_names_a_stage_that_did_not_end(copy):
    assert run("verify", copy.root).exit_code == 0
    (copy.forged / "manifest.json").unlink()
    told = run("verify", copy.root)
    assert told.exit_code == 2 and "forged: has no manifest.json" in told.output


def test_verify_compares_forgeries_with_the_pristine_records_they_name(copy, tmp_path):
    other = tiny_dataset(tmp_path / "other", photos=6, first_seed=6)
    build(other)
    shutil.rmtree(copy.pristine)
    shutil.copytree(other.pristine, copy.pristine)
    faults = [what for _, what in verify_all([copy.pristine, copy.forged])]
    assert any("is no pristine record of this dataset" in what for what in faults)


def test_a_rotten_shard_is_made_again(copy):
    path = next(copy.forged.glob("recolour-*.parquet"))
    whole = path.read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 3] ^= 1
    path.write_bytes(bytes(spoiled))
    assert run("verify", copy.root).exit_code == 2
    build(copy)
    assert path.read_bytes() == whole


def test_a_manipulator_cannot_write_to_its_target(finished):
    recipe = Recipe.load(finished.recipe)
    row = plan(finished, recipe, TODAY).rows[0]
    target = Lookup(shard_paths(finished.pristine)).get(row.target_id)
    job = render_job(row, target, None)
    with pytest.raises(ValueError, match="read-only"):
        job.target[:] = 0
    assert np.array_equal(job.target, images.decode_rgb(target.image))


def test_names_of_people_and_files_stay_out_of_the_folders_one_hands_on(finished):
    for folder in (finished.pristine, finished.forged):
        assert {path.name for path in folder.iterdir() if path.is_dir()} == set()
    assert list((finished.root / "private" / "pristine").glob("*.lineage.parquet"))


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    command = [sys.executable, "-m", "mmtt", "init", str(blocked / "dataset")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr.startswith("mmtt: ") and "Not a directory" in done.stderr and "Traceback" not in done.stderr


def test_a_lost_salt_is_told_before_anything_changes(copy):
    (copy.root / "private" / "salt").unlink()
    with pytest.raises(UserError, match="every group id, bucket and split would change"):
        build(copy)


def test_an_edited_pristine_shard_is_made_again_from_the_photos_not_from_itself(copy):
    path = next(copy.pristine.glob("bucket-*.parquet"))
    whole = path.read_bytes()
    rows = list(Shard(path).records())
    with replacing(path) as temporary:
        writer = ShardWriter(temporary, Record)
        for row in rows:
            writer.add(replace(row, licence="PD"))
        writer.close(read_footer(path))
    assert run("verify", copy.root).exit_code == 2
    build(copy)
    assert path.read_bytes() == whole
