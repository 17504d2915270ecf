"""Replay: one row is made again from what it says; what is not here, or not the same, is told by name."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from threadpoolctl import threadpool_info

from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import Manifest, environment, read, shard_paths
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Lineage, Record
from mmtt.shards import Shard, ShardWriter, read_footer, read_table
from pipelines import manipulators
from pipelines.forge import forge
from pipelines.ingest import ingest
from pipelines.plan import plan
from pipelines.replay import _elsewhere, _judged, replay
from tests.factories import TODAY, build, make_forged_record, source_row, tiny_dataset, write_sources

ROOT = Path(__file__).parents[2]
TWO_OF_A_KIND = ({"use": "recolour", "name": "faint", "options": {"strength_range": [0.8, 0.8]}},
                 {"use": "recolour", "name": "strong", "options": {"strength_range": [1.4, 1.4]}})  # fmt: skip

PROGRAMS = '''
from itertools import count
from typing import ClassVar

import numpy as np

from mmtt.manipulator import Declaration, Edit, Manipulator
from mmtt.masks import MaskRule
from mmtt.weights import Weights, require, sha256

CALLS = count()


class Learned(Manipulator):
    """Darkens a square by as much as its weights say."""

    weights: str = "dark.bin"
    declaration: ClassVar = Declaration("learned", "1", "retouch", MaskRule.BLEND, ("skin",), "Tests only.")

    def path(self):
        return require(Weights(self.weights, "MIT", "https://example.org/dark"))

    def declare(self):
        return self.declaration._replace(weights_sha256=sha256(self.path()), weights_licence="MIT")

    def plan(self, target, source, rng):
        return {"regions": ["skin"], "left": int(rng.integers(64, 128))}

    def render(self, batch):
        by = self.path().read_bytes()[0]
        return [self.square(job, by) for job in batch]

    def square(self, job, by):
        alpha = np.zeros(job.target.shape[:2], np.float32)
        left = job.parameters["left"]
        alpha[100:160, left : left + 60] = 1
        return Edit(job.target // np.uint8(2) + np.uint8(by), alpha)


class Unsteady(Learned):
    """Never gives the same pixels twice, and says so."""

    declaration: ClassVar = Learned.declaration._replace(name="unsteady", deterministic=False)

    def declare(self):
        return self.declaration

    def render(self, batch):
        return [self.square(job, 10 + next(CALLS) % 7) for job in batch]
'''


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Two installed manipulators, found by their entry points, and a folder of weights."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "replayed-1.0.dist-info"
    info.mkdir()
    (folder / "replayed_programs.py").write_text(PROGRAMS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: replayed\nVersion: 1.0\n")
    entries = "learned = replayed_programs:Learned\nunsteady = replayed_programs:Unsteady\n"
    (info / "entry_points.txt").write_text(f"[mmtt.manipulators]\n{entries}")
    models = tmp_path_factory.mktemp("models")
    (models / "dark.bin").write_bytes(b"\x09")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("MMTT_MODELS", str(models))
        _forget_programs()
        yield models
    _forget_programs()


def _forget_programs():
    manipulators._installed.cache_clear()
    manipulators.find.cache_clear()


@pytest.fixture(scope="module")
def built(programs, tmp_path_factory):  # noqa: ARG001
    used = ("face_swap", *TWO_OF_A_KIND, "learned", "unsteady")
    layout = tiny_dataset(tmp_path_factory.mktemp("built"), 4, used, plan={"splits": {"train": 1.0}})
    build(layout)
    return layout


@pytest.fixture
def copy(built, tmp_path):
    """A copy of the dataset that a test may spoil."""
    shutil.copytree(built.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def replayed(layout: Layout, *record_ids: str):
    outcomes = list(replay(layout, Recipe.load(layout.recipe), record_ids))
    return {outcome.record_id: outcome for outcome in outcomes}


def one_of(layout: Layout, manipulator: str) -> Record:
    return next(record for record in read(layout.forged) if record.manipulator == manipulator)


def the_only(outcomes):
    (outcome,) = outcomes.values()
    return outcome


def rewrite(folder: Path, record_id: str, **changes) -> None:
    """Change one stored record in place, as nobody should."""
    for path in shard_paths(folder):
        records = list(Shard(path).records())
        if record_id not in {record.record_id for record in records}:
            continue
        footer, writer = read_footer(path), ShardWriter(path.with_suffix(".new"), Record)
        for record in records:
            writer.add(replace(record, **changes) if record.record_id == record_id else record)
        writer.close(footer)
        path.with_suffix(".new").replace(path)


def edit_recipe(layout: Layout, change) -> None:
    data = yaml.safe_load(layout.recipe.read_text())
    change(data)
    layout.recipe.write_text(yaml.safe_dump(data))


def brightened(data: bytes, levels: int) -> bytes:
    pixels = images.decode_rgb(data)
    pixels[10:20, 10:20] = np.clip(pixels[10:20, 10:20].astype(int) - levels, 0, 255)
    return images.encode_png(pixels)


def test_every_deterministic_forgery_replays_to_the_same_bytes(built):
    outcomes = replayed(built)
    assert len(outcomes) == sum(1 for _ in read(built.forged)) == 20
    for record in read(built.forged):
        outcome = outcomes[record.record_id]
        assert outcome.held
        assert (outcome.verdict, outcome.detail) == ("same", "") or record.manipulator == "unsteady"


def test_a_program_that_says_that_it_is_unsteady_is_within_what_it_strayed(built):
    record = one_of(built, "unsteady")
    outcome = the_only(replayed(built, record.record_id))
    levels = int(outcome.verdict.removeprefix("within "))
    assert 0 < levels < 7
    assert f"image differs by up to {levels} in" in outcome.detail and "not deterministic" in outcome.detail


def test_only_the_records_that_are_named_are_replayed(built):
    wanted = [record.record_id for record in read(built.forged)][1:6:2]
    assert list(replayed(built, *wanted)) == wanted


def test_two_entries_of_one_program_are_told_apart_without_the_plan(copy):
    shutil.rmtree(copy.plan)
    recolored = {r.record_id for r in read(copy.forged) if r.manipulator == "recolour"}
    assert len(recolored) == 8
    assert {outcome.verdict for outcome in replayed(copy, *recolored).values()} == {"same"}
    assert len(replayed(copy)) == 20


def test_an_entry_that_was_renamed_since_is_found_by_its_program(copy):
    def rename(data):
        data["forge"]["manipulators"] = [{"use": "face_swap", "name": "swap"}]

    edit_recipe(copy, rename)
    assert the_only(replayed(copy, one_of(copy, "face_swap").record_id)).verdict == "same"
    outcome = the_only(replayed(copy, one_of(copy, "recolour").record_id))
    assert outcome.verdict == "absent" and not outcome.held
    assert outcome.detail == "it was made by the manipulator 'recolour', of which the recipe names none"


def test_an_entry_that_cannot_be_told_is_not_guessed(copy):
    def rename(data):
        data["forge"]["manipulators"] = [{"use": "recolour", "name": name} for name in ("one", "two")]

    edit_recipe(copy, rename)
    outcome = the_only(replayed(copy, one_of(copy, "recolour").record_id))
    assert outcome.verdict == "absent" and "names several (one, two), and none of them is 'faint'" in outcome.detail


def test_a_plan_made_for_another_recipe_is_not_replayed_as_a_whole(copy):
    edit_recipe(copy, lambda data: data.update(seed=99))
    with pytest.raises(UserError, match="does not fit the recipe"):
        replayed(copy)
    assert the_only(replayed(copy, one_of(copy, "recolour").record_id)).verdict == "same"


def test_weights_that_are_absent_are_named_with_the_digest_that_is_wanted(built, programs, monkeypatch, tmp_path):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path))
    outcomes = replayed(built)
    record = one_of(built, "learned")
    detail = outcomes[record.record_id].detail
    assert "'dark.bin' is missing. Get it from https://example.org/dark" in detail
    assert detail.endswith(f"The row was made with SHA-256 {file_sha256(programs / 'dark.bin')}.")
    verdicts = {outcomes[r.record_id].verdict for r in read(built.forged) if r.manipulator != "unsteady"}
    assert verdicts == {"same", "absent"}


def test_other_weights_are_told_by_both_digests(built, monkeypatch, tmp_path):
    (tmp_path / "dark.bin").write_bytes(b"\x0a")
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path))
    record = one_of(built, "learned")
    outcome = the_only(replayed(built, record.record_id))
    assert outcome.verdict == "absent"
    here = file_sha256(tmp_path / "dark.bin")
    assert f"weights of SHA-256 {record.weights_sha256}; here is {here}" in outcome.detail


def test_another_version_of_the_program_is_told(built, monkeypatch):
    learned = manipulators.find("learned")
    monkeypatch.setattr(learned, "declaration", learned.declaration._replace(version="2"))
    outcome = the_only(replayed(built, one_of(built, "learned").record_id))
    assert outcome.detail == "it was made by 'learned' with version 1; here is 2"


def test_a_program_that_is_not_installed_is_told_for_its_own_rows_only(copy, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site0" not in path])
    _forget_programs()
    try:
        record_ids = [one_of(copy, name).record_id for name in ("learned", "recolour")]
        absent, same = replayed(copy, *record_ids).values()
    finally:
        monkeypatch.undo()
        _forget_programs()
    assert absent.verdict == "absent" and "There is no manipulator 'learned'" in absent.detail
    assert same.verdict == "same"


def test_a_donor_that_was_taken_out_is_named(copy):
    record = one_of(copy, "face_swap")
    lineage = read_table(copy.lineage, Lineage)
    kept = [source_row(row.path, str(row.subject)) for row in lineage if row.record_id != record.source_id]
    assert len(kept) == 3
    write_sources(copy.root, kept)
    ingest(copy, Recipe.load(copy.recipe), serial, silent)
    outcome = the_only(replayed(copy, record.record_id))
    assert outcome.verdict == "absent"
    assert outcome.detail == f"its donor {record.source_id} is not among the pristine records"


def test_a_target_that_is_another_picture_now_is_told(copy):
    record = one_of(copy, "recolour")
    rewrite(copy.pristine, record.target_id, image=brightened(record.pristine, 50))
    outcome = the_only(replayed(copy, record.record_id))
    assert outcome.verdict == "absent" and "is another picture now" in outcome.detail


@pytest.mark.parametrize(("name", "at_least"), [("image", 1), ("mask", 255), ("alpha", 255), ("change", 200)])
def test_what_was_changed_afterwards_differs_and_is_named(copy, name, at_least):
    record = one_of(copy, "recolour")
    if name == "image":
        changed = brightened(record.image, 1)
    else:
        pixels = images.decode_gray(getattr(record, name))
        pixels[10:20, 10:20] = 255
        changed = images.encode_png(pixels)
    rewrite(copy.forged, record.record_id, **{name: changed})
    outcome = the_only(replayed(copy, record.record_id))
    assert outcome.verdict == "differs" and not outcome.held
    assert outcome.detail.startswith(f"{name} differs by up to ") and ";" not in outcome.detail
    assert int(outcome.detail.split()[5]) >= at_least
    assert f"in 100 of {256**2} pixels" in outcome.detail


def test_other_bytes_of_the_same_pixels_are_told_as_such(copy):
    record = one_of(copy, "recolour")
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(images.decode_rgb(record.image)).save(out, "PNG", compress_level=9)
    rewrite(copy.forged, record.record_id, image=out.getvalue())
    assert the_only(replayed(copy, record.record_id)).detail == "image has other bytes, but the same pixels"


def test_a_damaged_picture_differs(copy):
    record = one_of(copy, "recolour")
    rewrite(copy.forged, record.record_id, image=b"no picture")
    outcome = the_only(replayed(copy, record.record_id))
    assert outcome.verdict == "differs" and "image is damaged, missing or of another size" in outcome.detail


def made_elsewhere(layout: Layout) -> None:
    path = layout.forged / "manifest.json"
    data = json.loads(path.read_text())
    data["environment"]["numpy"] = "1.99"
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(("levels", "verdict"), [(2, "within 2"), (40, "differs")])
def test_another_machine_may_round_otherwise_but_not_show_another_picture(copy, levels, verdict):
    record = one_of(copy, "recolour")
    rewrite(copy.forged, record.record_id, image=brightened(record.image, levels))
    made_elsewhere(copy)
    outcome = the_only(replayed(copy, record.record_id))
    assert outcome.verdict == verdict
    assert f"made elsewhere: numpy 1.99 there, {np.__version__} here" in outcome.detail


def test_another_machine_is_no_excuse_for_another_mask(copy):
    record = one_of(copy, "recolour")
    rewrite(copy.forged, record.record_id, mask=images.encode_png(255 - images.decode_gray(record.mask)))
    made_elsewhere(copy)
    assert the_only(replayed(copy, record.record_id)).verdict == "differs"


def test_an_older_manifest_that_does_not_say_where_is_held_to_the_bytes(copy):
    path = copy.forged / "manifest.json"
    data = json.loads(path.read_text())
    del data["environment"]
    path.write_text(json.dumps(data))
    assert Manifest.load(copy.forged).environment == {}
    record = one_of(copy, "recolour")
    rewrite(copy.forged, record.record_id, image=brightened(record.image, 2))
    assert the_only(replayed(copy, record.record_id)).verdict == "differs"


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("unknown", "There is no record 'ffff' in"),
        ("pristine", "is a pristine record; only forgeries can be replayed"),
        ("refused", "was refused when it was forged (manipulator_failed: "),
    ],
)
def test_an_id_that_cannot_be_replayed_is_told_at_once(copy, which, sentence, monkeypatch):
    record_id = "ffff"
    if which == "pristine":
        record_id = next(iter(read(copy.pristine))).record_id
    if which == "refused":
        learned = manipulators.find("learned")
        record_id = one_of(copy, "learned").record_id
        monkeypatch.setattr(learned, "square", lambda *_: 1 / 0)
        for path in copy.forged.glob("learned-*.parquet"):
            path.unlink()
        plan(copy, Recipe.load(copy.recipe), TODAY)
        forge(copy, Recipe.load(copy.recipe), serial, silent)
    with pytest.raises(UserError) as told:
        replay(copy, Recipe.load(copy.recipe), [record_id])
    assert sentence in str(told.value) and record_id in str(told.value)


@pytest.mark.parametrize("stage", ["pristine", "forged"])
def test_a_manifest_says_where_its_shards_were_made(built, stage):
    told = Manifest.load(built.root / stage).environment
    assert told == dict(environment())
    assert {"python", "mmtt", "numpy", "opencv", "machine", "cpu"} <= told.keys() and all(told.values())


def test_shards_that_another_cpu_made_replay_within_rounding_and_stay_that_cpus(tmp_path):
    layout = tiny_dataset(tmp_path, 2, ("ageing", "attribute_warp"), plan={"splits": {"train": 1.0}})
    code = "import sys; from pathlib import Path; from tests.factories import build; from mmtt.layout import Layout"
    run = [sys.executable, "-c", f"{code}; build(Layout(Path(sys.argv[1])))", str(tmp_path)]
    subprocess.run(run, check=True, cwd=ROOT, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"})
    there = Manifest.load(layout.forged).environment
    assert "AVX2" not in there["cpu"] and "AVX2" in environment()["cpu"]
    outcomes = replayed(layout)
    assert len(outcomes) == 4 and all(outcome.held for outcome in outcomes.values()), outcomes

    build(layout)
    assert Manifest.load(layout.forged).environment == there
    edit_recipe(layout, lambda data: data["forge"]["manipulators"].append({"use": "recolour"}))
    build(layout)
    both = Manifest.load(layout.forged).environment
    assert set(both["cpu"].split(" | ")) == {there["cpu"], environment()["cpu"]}
    assert both["numpy"] == np.__version__


def test_replaying_uses_one_thread_as_forging_does(built, monkeypatch):
    learned, seen = manipulators.find("learned"), []
    square = learned.square
    monkeypatch.setattr(learned, "square", lambda *job: seen.append(threadpool_info()) or square(*job))
    replayed(built, one_of(built, "learned").record_id)
    assert {pool["num_threads"] for pools in seen for pool in pools} == {1}


def spoiled(record: Record, name: str, side: int) -> Record:
    pixels = images.decode_gray(getattr(record, name))
    pixels[:side, :side] = 255 - pixels[:side, :side]
    return replace(record, **{name: images.encode_png(pixels)})


@pytest.mark.parametrize("name", ["mask", "alpha"])
def test_an_unsteady_program_has_no_say_in_the_hole(name):
    first = make_forged_record(rule="hole")
    again = replace(first, image=brightened(first.image, 90))
    outcome = _judged(first, again, deterministic=False, elsewhere="")
    levels = int(outcome.verdict.removeprefix("within "))
    assert levels > 16 and f"image differs by up to {levels} in" in outcome.detail
    assert _judged(first, spoiled(again, name, 3), deterministic=False, elsewhere="").verdict == "differs"
    assert _judged(first, spoiled(again, name, 3), deterministic=False, elsewhere="another CPU").held
    assert not _judged(first, spoiled(again, name, 9), deterministic=False, elsewhere="another CPU").held
    blended = replace(first, mask_rule="blend")
    assert _judged(blended, spoiled(again, name, 3), deterministic=False, elsewhere="").held


def test_a_gpu_there_is_no_excuse_for_what_needs_no_torch(monkeypatch):
    there = {**environment(), "accelerator": "NVIDIA H200"}
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert _elsewhere(there) == ""
    monkeypatch.undo()
    pytest.importorskip("torch")
    assert _elsewhere(there).startswith("accelerator NVIDIA H200 there, ")


def test_an_imported_dataset_is_refused_in_one_sentence(tmp_path):
    recipe = Recipe(name="x", imported={"format": "pairs", "digest": "0" * 64})
    with pytest.raises(UserError, match=r"was imported: its forgeries were not made here"):
        replay(Layout(tmp_path), recipe)
