"""The forge pass: facts about every row, the same bytes however it is run, and nothing redone without need."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import Field

from mmtt import images
from mmtt.check import check, verify
from mmtt.errors import Rejected, UserError
from mmtt.executors import processes, serial
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import passed, read
from mmtt.manipulator import Declaration, Edit, Manipulator, decisive
from mmtt.masks import MaskRule
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Lineage, Note, Rejection
from mmtt.shards import read_table
from pipelines import manipulators
from pipelines.forge import forge
from pipelines.replay import replay
from tests.factories import build, tiny_dataset

ALL = tuple(manipulators.WEIGHT_FREE)
FEW = ("face_swap", "attribute_warp", "recolour")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A dataset of drawn people with every built-in manipulator, forged serially."""
    layout = tiny_dataset(tmp_path_factory.mktemp("built"), photos=8, manipulators=ALL)
    build(layout)
    return layout


def shards_of(layout: Layout) -> dict[str, str]:
    """SHA-256 of every file that a stage writes for readers."""
    folders = (layout.pristine, layout.plan, layout.forged)
    files = (p for folder in folders for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(layout.root)): file_sha256(p) for p in files}


def shuffled(function, items):
    order = random.Random(4).sample(range(len(items)), len(items))
    for position in order:
        yield position, function(items[position])


def test_every_record_keeps_the_facts(built):
    records = [*read(built.pristine), *read(built.forged)]
    assert {r.manipulator for r in records} == {None, *ALL}
    assert [fault for record in records for fault in check(record)] == []
    for record in (r for r in records if r.manipulation):
        target, image = images.decode_rgb(record.pristine), images.decode_rgb(record.image)
        alpha, mask = images.decode_gray(record.alpha), images.decode_gray(record.mask)
        changed = (target != image).any(axis=2)
        assert (alpha[changed] > 0).all()
        assert mask.any() and set(np.unique(mask)) <= {0, 255}
        assert image.shape[:2] == mask.shape == alpha.shape == (256, 256)
    assert [*verify(built.pristine), *verify(built.forged)] == []


def test_every_forgery_replays_to_the_same_bytes(built):
    outcome = {o.record_id: o.verdict for o in replay(built, Recipe.load(built.recipe))}
    assert len(outcome) == sum(1 for _ in read(built.forged)) > 40
    assert set(outcome.values()) == {"same"}


def test_no_path_and_no_name_is_in_any_shard(built):
    secrets = [word for row in read_table(built.lineage, Lineage) for word in (row.path, row.subject, row.photo_phash)]
    shards = b"".join(p.read_bytes() for f in (built.pristine, built.forged) for p in f.glob("*-*.parquet"))
    assert secrets and not [word for word in secrets if word.encode() in shards]
    assert str(built.root).encode() not in shards


@pytest.mark.parametrize("executor", [processes(2), shuffled], ids=["two processes", "shuffled"])
def test_any_executor_writes_the_same_bytes(built, tmp_path, executor):
    other = tiny_dataset(tmp_path / "other", photos=8, manipulators=ALL)
    build(other, executor)
    assert shards_of(other) == shards_of(built)


def test_a_second_run_makes_nothing(built):
    before = {p: p.stat().st_mtime_ns for p in built.forged.glob("*-*.parquet")}
    build(built)
    assert before == {p: p.stat().st_mtime_ns for p in built.forged.glob("*-*.parquet")}


def edit_recipe(layout: Layout, change) -> Recipe:
    data = yaml.safe_load(layout.recipe.read_text())
    change(data)
    layout.recipe.write_text(yaml.safe_dump(data))
    return Recipe.load(layout.recipe)


def made_again(layout: Layout, before: dict[Path, int]) -> set[str]:
    now = {p: p.stat().st_mtime_ns for p in layout.forged.glob("*-*.parquet")}
    return {p.name.rpartition("-")[0] for p in now if before.get(p) != now[p]}


def test_an_edited_gate_reforges_nothing_and_refuses_more(tmp_path):
    layout = tiny_dataset(tmp_path, photos=6, manipulators=FEW)
    build(layout)
    before = {p: p.stat().st_mtime_ns for p in layout.forged.glob("*-*.parquet")}
    accepted = passed(layout.forged)
    recipe = edit_recipe(layout, lambda d: d["forge"].update(gate={"min_change_mean": 15.0}))
    forge(layout, recipe, serial, silent)
    assert made_again(layout, before) == set()
    assert passed(layout.forged) < accepted
    codes = {r.code for r in read_table(layout.forged / "rejections.parquet", Rejection) if r.stage == "gate"}
    assert "change_too_small" in codes


def test_an_edited_option_reforges_its_own_shards_only(tmp_path):
    layout = tiny_dataset(tmp_path, photos=6, manipulators=FEW)
    build(layout)
    before = {p: p.stat().st_mtime_ns for p in layout.forged.glob("*-*.parquet")}
    ids = {r.manipulator: set() for r in read(layout.forged)}
    for record in read(layout.forged):
        ids[record.manipulator].add(record.record_id)
    edit_recipe(layout, lambda d: d["forge"]["manipulators"][1].update(options={"attributes": ["jaw_width"]}))
    build(layout)
    assert made_again(layout, before) == {"attribute_warp"}
    after = {r.record_id for r in read(layout.forged)}
    assert ids["face_swap"] | ids["recolour"] <= after
    # A forgery that the new options decide just as the old ones did is the same forgery, with the same id.
    assert ids["attribute_warp"] - after
    warps = [r for r in read(layout.forged) if r.manipulator == "attribute_warp"]
    assert {json.loads(r.parameters)["attribute"] for r in warps} == {"jaw_width"}


def test_adding_photos_changes_no_existing_record(tmp_path):
    layout = tiny_dataset(tmp_path, photos=6, manipulators=FEW)
    build(layout)
    before = {r.record_id: r for f in (layout.pristine, layout.forged) for r in read(f)}
    tiny_dataset(tmp_path, photos=9, manipulators=FEW)
    build(layout)
    after = {r.record_id: r for f in (layout.pristine, layout.forged) for r in read(f)}
    assert len(after) > len(before)
    assert all(after[record_id] == record for record_id, record in before.items())


def torn(layout: Layout) -> list[str]:
    """Shards that a reader could see and not read to the end."""
    bad = []
    for path in layout.root.rglob("*.parquet"):
        try:
            pq.read_table(path)
        except Exception as error:
            bad.append(f"{path}: {error}")
    return bad


WORKER = """
import sys
from pathlib import Path
from pipelines import manipulators
from mmtt.layout import Layout
from mmtt.executors import executor
from mmtt.recipe import Recipe
from tests.factories import build
layout = Layout(Path(sys.argv[1]))
manipulators.from_recipe(Recipe.load(layout.recipe).forge.manipulators)
print("ready", flush=True)
build(layout, executor(int(sys.argv[2])))
"""


def start_over(layout: Layout) -> None:
    for folder in (layout.pristine, layout.plan, layout.forged):
        shutil.rmtree(folder, ignore_errors=True)


def run_and_kill(layout: Layout, workers: int, after_s: float) -> bool:
    """Build in another process and kill it that many seconds into its work; whether it was still working."""
    command = [sys.executable, "-c", WORKER, str(layout.root), str(workers)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"ready\n"
        try:
            assert run.wait(timeout=after_s) == 0
        except subprocess.TimeoutExpired:
            run.kill()
            return True
    return False


def test_killed_twenty_times_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    whole = tiny_dataset(tmp_path / "whole", photos=8, manipulators=FEW)
    began = time.monotonic()
    build(whole)
    full_s = time.monotonic() - began
    layout = tiny_dataset(tmp_path / "killed", photos=8, manipulators=FEW)
    chance, kills = random.Random(1), 0
    while kills < 20:
        workers = 1 + kills % 2
        if run_and_kill(layout, workers, chance.uniform(0, full_s) + 2 * (workers - 1)):
            kills += 1
        else:
            assert shards_of(layout) == shards_of(whole)
            start_over(layout)
        assert torn(layout) == []
    build(layout)
    assert shards_of(layout) == shards_of(whole)


class Misbehaving(Manipulator):
    """Raises, shrinks, blinds or breaks, by the face it gets."""

    declaration = Declaration("misbehaving", "1", "retouch", MaskRule.BLEND, ("skin",), "Tests only.")

    def plan(self, target, source, rng):
        return {"how": int(rng.integers(5)), "regions": ["skin"]}

    def render(self, batch):
        return [self._edit(job) for job in batch]

    def _edit(self, job):
        alpha = np.full(job.target.shape[:2], 0.7, np.float32)
        image = job.rng.integers(0, 256, job.target.shape, np.uint8)
        return {
            0: lambda: Edit(image, alpha),
            1: lambda: 1 / 0,
            2: lambda: Edit(image[::2], alpha),
            3: lambda: Edit(image, 0 * alpha),
            4: lambda: Edit(image, alpha * np.float32(np.nan)),
        }[job.parameters["how"]]()


@pytest.fixture
def install(monkeypatch):
    """Offer a class as an installed manipulator, until the test ends."""

    def offer(made: type[Manipulator]) -> str:
        name = made.declaration.name
        monkeypatch.setitem(manipulators._installed(), name, EntryPoint(name, "tests:x", "mmtt"))
        monkeypatch.setattr(EntryPoint, "load", lambda _: made)
        return name

    yield offer
    manipulators.find.cache_clear()


def test_a_misbehaving_manipulator_costs_its_own_rows_only(tmp_path, install):
    install(Misbehaving)
    layout = tiny_dataset(tmp_path, photos=8, manipulators=("recolour", {"use": "misbehaving", "per_target": 8}))
    recipe = build(layout)
    # Its batches failed and were rendered one by one: each row must be what it is when it is forged alone.
    assert {outcome.verdict for outcome in replay(layout, recipe)} == {"same"}
    refused = Counter(r.code for r in read_table(layout.forged / "rejections.parquet", Rejection))
    made = Counter(r.manipulator for r in read(layout.forged))
    assert set(refused) >= {"manipulator_failed", "bad_edit", "empty_mask"}
    assert made["recolour"] == 8 and made["misbehaving"] > 0
    assert made["misbehaving"] + sum(refused.values()) == 64
    assert [*verify(layout.forged)] == []


class Replaced(Misbehaving):
    """Somebody puts other weights (or other code) into its folder while it works."""

    declaration = Misbehaving.declaration._replace(name="replaced", weights_licence="MIT")
    digests: ClassVar[dict[str, str]] = {}
    what: str = "weights_sha256"

    def plan(self, target, source, rng):
        return {"how": 0, "regions": ["skin"]}  # drawn, all six could fail: another CPU draws other people

    def declare(self):
        return self.declaration._replace(**{"weights_sha256": "0" * 64} | self.digests)

    def render(self, batch):
        self.digests[self.what] = "1" * 64
        return super().render(batch)


@pytest.mark.parametrize("what", ["weights_sha256", "code_sha256"])
def test_no_shard_holds_rows_of_two_programs(tmp_path, install, monkeypatch, what):
    monkeypatch.setattr(Replaced, "digests", {})
    layout = tiny_dataset(tmp_path, manipulators=({"use": install(Replaced), "options": {"what": what}},))
    with pytest.raises(
        UserError, match=rf"'replaced' changed while it was forging: {what} was .*, and is 1+\..*mmtt plan"
    ):
        build(layout)
    assert not list(layout.forged.glob("*-*.parquet"))
    # From the next plan on it is one program again.
    build(layout)
    assert {getattr(record, what) for record in read(layout.forged)} == {"1" * 64}


class Talks(Misbehaving):
    """Says what no table could hold, of every second face before it refuses it."""

    declaration = Misbehaving.declaration._replace(name="talks")
    timeout_s: int = Field(60, exclude=True)

    def _edit(self, job):
        said = "early" + "x" * 100_000 + "/home/someone/secret \udcff end"
        if job.parameters["how"] % 2:
            return Rejected("program_failed", "it \udcff said nothing useful", log=said)
        alpha = np.full(job.target.shape[:2], 0.7, np.float32)
        return Edit(job.rng.integers(0, 256, job.target.shape, np.uint8), alpha, log=said)


def test_what_programs_say_is_noted_in_private_for_forgeries_and_refusals_alike(tmp_path, install):
    layout = tiny_dataset(tmp_path, manipulators=({"use": install(Talks), "per_target": 2},))
    build(layout)
    refused = read_table(layout.forged / "rejections.parquet", Rejection)
    assert {r.detail for r in refused} == {"it ? said nothing useful"}
    notes = [row for path in (tmp_path / "private" / "forged").glob("*.note.parquet") for row in read_table(path, Note)]
    made = {record.record_id for record in read(layout.forged)}
    assert made and {note.record_id for note in notes} == made | {r.record_id for r in refused}
    assert all(note.text.endswith("/home/someone/secret ? end") and len(note.text) == 20_000 for note in notes)
    public = b"".join(path.read_bytes() for path in layout.forged.rglob("*") if path.is_file())
    assert b"someone" not in public


def test_an_option_that_decides_no_byte_makes_nothing_again():
    assert decisive(Talks(timeout_s=1)) == decisive(Talks())
    assert decisive(Replaced(what="code_sha256")) != decisive(Replaced())
    told = Talks.declaration._replace(summary="Told otherwise.")
    assert decisive(type("Reworded", (Talks,), {"declaration": told})()) == decisive(Talks())
