"""The degrade pass: variants of every record that can be trusted, the same bytes however they are made."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mmtt import images
from mmtt.check import check, verify_all
from mmtt.errors import RecipeError, Rejected, UserError
from mmtt.executors import processes, serial
from mmtt.faces import transform
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import Manifest, read
from mmtt.parsing import parsed_words
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Record, Rejection
from mmtt.schema import from_table, to_table
from mmtt.shards import Shard, ShardWriter, read_table
from mmtt.stage import ShardJob, make_shard
from pipelines.degradations.chain import Chain
from pipelines.degradations.codecs import Jpeg
from pipelines.degradations.geometry import Crop, Resize, Rotate
from pipelines.degradations.photometric import Gamma
from pipelines.degrade import Payload, apply, degrade, degraded, degraded_rows, shard_jobs
from tests.factories import build, make_forged_record, make_record, tiny_dataset

CODED = {"name": "coded", "chain": [{"op": "jpeg", "quality": [60, 90]}, {"op": "noise", "sigma": [2, 4]}]}
MOVED = {
    "name": "moved",
    "chain": [
        {"op": "resize", "scale": [0.7, 0.8]},
        {"op": "jpeg", "quality": 85},
        {"op": "rotate", "degrees": [5, 8]},
        {"op": "crop", "share": [0.9, 0.95], "height_share": 0.85},
    ],
}
TURNED = {"name": "turned", "chain": [{"op": "rotate", "degrees": 90}]}
VARIANTS = [CODED, MOVED, TURNED]
FEW = ("recolour", "attribute_warp")


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """A dataset of drawn people, forged and not yet degraded."""
    layout = tiny_dataset(tmp_path_factory.mktemp("degrade") / "d", 4, FEW, degrade={"variants": VARIANTS})
    build(layout)
    return layout


@pytest.fixture(scope="module")
def timed(forged):
    """The same, degraded serially, and the seconds that it took."""
    layout = copied(forged, forged.root.parent / "made")
    began = time.monotonic()
    return degrade_all(layout), time.monotonic() - began


@pytest.fixture(scope="module")
def made(timed):
    return timed[0]


def copied(layout: Layout, root: Path) -> Layout:
    shutil.copytree(layout.root, root)
    return Layout(root)


def degrade_all(layout: Layout, executor=serial) -> Layout:
    degrade(layout, Recipe.load(layout.recipe), executor, silent)
    return layout


def masters(layout: Layout) -> dict[str, Record]:
    return {r.record_id: r for folder in (layout.pristine, layout.forged) for r in read(folder)}


def edit_recipe(layout: Layout, change) -> None:
    data = yaml.safe_load(layout.recipe.read_text())
    change(data)
    layout.recipe.write_text(yaml.safe_dump(data))


def shards_of(layout: Layout) -> dict[str, str]:
    files = [*layout.degraded.glob("*.parquet"), *(layout.root / "private" / "degraded").iterdir()]
    return {path.name: file_sha256(path) for path in files} | {"m": file_sha256(layout.degraded / "manifest.json")}


def test_every_record_has_every_variant_and_all_may_be_trusted(made):
    records = list(read(made.degraded))
    expected = {(record_id, variant["name"]) for record_id in masters(made) for variant in VARIANTS}
    assert {(r.record_id, r.variant) for r in records} == expected and len(records) == len(expected)
    assert {r.manipulation is None for r in records} == {True, False}
    assert list(verify_all([made.pristine, made.forged, made.degraded])) == []
    assert Manifest.load(made.degraded).rejections == {}


def test_shards_are_named_by_variant_folder_and_shard(made):
    names = {path.stem for path in made.degraded.glob("*-*.parquet")}
    sources = [f"{f.name}-{shard.name}" for f in (made.pristine, made.forged) for shard in Manifest.load(f).shards]
    assert names == {f"{variant['name']}-{source}" for variant in VARIANTS for source in sources}


def test_what_works_on_values_leaves_all_but_the_image_as_it_was(made):
    own = {"variant", "degradations", "image", "image_sha256", "face_score", "raw"}
    known = masters(made)
    for record in (r for r in read(made.degraded) if r.variant == "coded"):
        master = known[record.record_id]
        assert {f.name for f in fields(Record) if getattr(record, f.name) != getattr(master, f.name)} <= own
        assert record.image != master.image and record.image.startswith(b"\x89PNG")
        assert images.decode_rgb(record.image).shape == images.decode_rgb(master.image).shape


def test_what_was_done_is_on_the_record(made):
    for record in read(made.degraded):
        said = [json.loads(text) for text in record.degradations]
        wanted = next(v for v in VARIANTS if v["name"] == record.variant)["chain"]
        assert [one["op"] for one in said] == [one["op"] for one in wanted]
        assert all({"op", "parameters", "library", "version", "seed"} == one.keys() for one in said)
        assert not [v for one in said for v in one["parameters"].values() if isinstance(v, list)]
    seeds = [json.loads(text)["seed"] for record in read(made.degraded) for text in record.degradations]
    assert len(set(seeds)) == len(seeds)
    assert len({r.degradations[0].partition('"version"')[0] for r in read(made.degraded) if r.variant == "coded"}) > 4


def stored(record: Record) -> Record:
    """The record as a shard gives it back: its shares in single precision."""
    return from_table(to_table([record]), Record)[0]


def test_what_was_done_can_be_done_again(made):
    known = masters(made)
    for record in read(made.degraded):
        assert stored(apply(known[record.record_id], record.variant, record.degradations)) == record


def test_a_quarter_turn_turns_everything_exactly(made):
    known = masters(made)
    for record in (r for r in read(made.degraded) if r.variant == "turned"):
        master = known[record.record_id]
        for name in ("image", "mask", "pristine", "alpha", "change"):
            if getattr(master, name) is not None:
                decode = images.decode_rgb if name in ("image", "pristine") else images.decode_gray
                assert np.array_equal(decode(getattr(record, name)), np.rot90(decode(getattr(master, name)), -1)), name
        assert record.mask_share == master.mask_share and record.change_mean == pytest.approx(master.change_mean)
        x, y = np.array(master.landmarks).T
        assert np.allclose(np.array(record.landmarks), np.stack([255 - y, x], axis=1), atol=1e-3)


def test_landmarks_and_alignment_move_alike(made):
    known = masters(made)
    for record in (r for r in read(made.degraded) if r.variant == "moved"):
        master = known[record.record_id]
        before, after = (np.reshape(r.align_matrix, (2, 3)) for r in (master, record))
        photo = (np.array(master.landmarks) - before[:, 2]) @ np.linalg.inv(before[:, :2]).T
        assert np.allclose(transform(photo, after), record.landmarks, atol=1e-2)


def test_what_was_not_forged_looks_the_same_in_image_and_pristine(made):
    """Image, pristine and alpha end in the same place: outside of alpha only the codec tells them apart."""
    for record in (r for r in read(made.degraded) if r.variant == "moved" and r.manipulation):
        image, pristine = images.decode_rgb(record.image), images.decode_rgb(record.pristine)
        alpha = images.decode_gray(record.alpha)
        assert image.shape == pristine.shape and image.shape[0] != image.shape[1]
        apart = np.abs(image.astype(int) - pristine).max(axis=2)
        away = cv2.dilate(alpha, np.ones((9, 9), np.uint8)) == 0
        assert away.any() and apart[away].mean() < 6
        mask = images.decode_gray(record.mask) > 0
        assert apart[mask].mean() > 1.5 * apart[away].mean()


def test_any_executor_writes_the_same_bytes(forged, made, tmp_path):
    assert shards_of(degrade_all(copied(forged, tmp_path / "two"), processes(2))) == shards_of(made)


def test_a_second_run_makes_nothing_and_a_changed_variant_only_its_own_shards(made, tmp_path):
    layout = copied(made, tmp_path / "d")
    stamps = lambda: {p.name: p.stat().st_mtime_ns for p in layout.degraded.glob("*-*.parquet")}  # noqa: E731
    before = stamps()
    degrade_all(layout)
    assert stamps() == before
    edit_recipe(layout, lambda d: d["degrade"]["variants"][0]["chain"][0].update(quality=70))
    degrade_all(layout)
    again = {name.partition("-")[0] for name, stamp in stamps().items() if stamp != before[name]}
    assert again == {"coded"}
    edit_recipe(layout, lambda d: d["degrade"]["variants"].pop(1))
    degrade_all(layout)
    assert {name.partition("-")[0] for name in stamps()} == {"coded", "turned"}
    assert list(verify_all([layout.pristine, layout.forged, layout.degraded])) == []


def test_a_forged_shard_that_changed_has_its_variants_made_again(made, tmp_path):
    layout = copied(made, tmp_path / "d")
    before = {p.name: p.stat().st_mtime_ns for p in layout.degraded.glob("*-*.parquet")}
    edit_recipe(layout, lambda d: d["forge"]["manipulators"][1].update(options={"attributes": ["jaw_width"]}))
    build(layout)
    degrade_all(layout)
    after = {p.name: p.stat().st_mtime_ns for p in layout.degraded.glob("*-*.parquet")}
    again = {name.split("-")[1] + " " + name.split("-")[2] for name in after if after[name] != before.get(name)}
    assert again == {"forged attribute_warp"}
    assert list(verify_all([layout.pristine, layout.forged, layout.degraded])) == []


WORKER = """
import sys
from pathlib import Path
from mmtt.layout import Layout
from pipelines.degrade import degrade
from mmtt.progress import silent
from mmtt.executors import serial
from mmtt.recipe import Recipe
layout = Layout(Path(sys.argv[1]))
recipe = Recipe.load(layout.recipe)
print("ready", flush=True)
degrade(layout, recipe, serial, silent)
"""


def stamps(layout):
    return {(path, path.stat().st_mtime_ns) for path in layout.degraded.glob("*-*.parquet")}


def test_killed_and_resumed_it_ends_with_the_same_bytes(forged, timed, tmp_path):
    layout, chance, kept = copied(forged, tmp_path / "killed"), random.Random(3), set()
    made, full_s = timed
    for _ in range(3):
        command = [sys.executable, "-c", WORKER, str(layout.root)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as run:
            assert run.stdout.readline() == b"ready\n"
            # Not before a shard is made, however slow the machine is today; then at any moment.
            while run.poll() is None and stamps(layout) <= kept:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2) * full_s)
            run.kill()
        kept |= stamps(layout)
    degrade_all(layout)
    assert kept and all(path.stat().st_mtime_ns == stamp for path, stamp in kept)
    assert shards_of(layout) == shards_of(made)


def test_a_mask_that_vanishes_is_a_rejection_and_its_pristine_stays(forged, tmp_path):
    layout = copied(forged, tmp_path / "d")
    corner = {"name": "corner", "chain": [{"op": "crop", "share": 0.1, "x": 0, "y": 1}]}
    edit_recipe(layout, lambda d: d.update(degrade={"variants": [corner]}))
    degrade_all(layout)
    refused = read_table(layout.degraded / "rejections.parquet", Rejection)
    left = list(read(layout.degraded))
    lost = Counter(r.code for r in refused)
    assert lost["mask_vanished"] > 0 and set(lost) == {"mask_vanished"}
    assert len(left) + len(refused) == len(masters(layout))
    assert sum(r.manipulation is None for r in left) == 4
    assert all(r.stage == "degrade" and "'corner'" in r.detail and r.manipulator and r.record_id for r in refused)
    assert list(verify_all([layout.pristine, layout.forged, layout.degraded])) == []


def test_regions_are_those_that_are_left():
    record = make_forged_record(0, 256)
    half = degraded(record, Chain("half", (Crop(share=1.0, height_share=0.5, y=0.0),)), 0)
    assert check(half) == []
    assert half.mask_share != record.mask_share and half.region_shares != record.region_shares
    assert 0 < images.decode_gray(half.mask).size < images.decode_gray(record.mask).size


def labelled(record: Record) -> Record:
    """The record with a label map (hair above, skin below), an intent and a program's own output."""
    labels = np.ones((256, 256), np.uint8)
    labels[:40] = 13
    intent = np.zeros((256, 256), np.uint8)
    intent[100:180, 90:160] = 255
    words = list(parsed_words(labels))
    record = replace(record, parsing=images.encode_png(labels), parsed_regions=words, raw=record.image)
    return replace(record, intent=images.encode_png(intent))


def test_label_map_and_intent_move_along_and_raw_output_stays_behind():
    record = labelled(make_forged_record(0, 256))
    moves = (Resize(scale=0.5), Crop(share=0.75, y=1.0))
    moved = degraded(record, Chain("moved", moves), 0)
    labels, intent = images.decode_gray(moved.parsing), images.decode_gray(moved.intent)
    assert labels.shape == intent.shape == images.decode_rgb(moved.image).shape[:2] == (96, 96)
    assert set(np.unique(intent)) == {0, 255} and (intent > 0).sum() == pytest.approx(80 * 70 / 4, rel=0.03)
    # The crop keeps what lies below 0.25 of the height: the hair above is gone, and so is its word.
    assert set(np.unique(labels)) == {1} and "hair" in record.parsed_regions and "hair" not in moved.parsed_regions
    assert moved.raw is None
    turned = degraded(record, Chain("turned", (Rotate(degrees=90),)), 0)
    assert np.array_equal(images.decode_gray(turned.parsing), np.rot90(images.decode_gray(record.parsing), -1))


def test_a_variant_is_no_master():
    variant = degraded(make_forged_record(0, 64), Chain("a", (Jpeg(quality=50),)), 0)
    with pytest.raises(Rejected, match="already_degraded"):
        degraded(variant, Chain("b", (Jpeg(quality=50),)), 0)


def test_a_shard_of_variants_gives_rejections_only(made):
    path = next(made.degraded.glob("coded-forged-*.parquet"))
    payload = Payload(Chain("again", (Jpeg(quality=50),)), 0, str(path), file_sha256(path))
    rows = list(degraded_rows(ShardJob("x", "degrade", "", "", payload)))
    assert rows and {row.code for row in rows} == {"already_degraded"}


def test_a_chain_that_changes_nothing_is_a_rejection():
    with pytest.raises(Rejected, match="unchanged"):
        degraded(make_record(), Chain("same", (Gamma(exponent=1.0), Crop(share=1.0))), 0)


def test_a_pristine_record_stays_pristine():
    moved = degraded(make_record(0, 64), Chain("m", (Rotate(degrees=20), Jpeg(quality=70))), 0)
    assert check(moved) == []
    assert not images.decode_gray(moved.mask).any() and moved.change_mean is None and moved.regions == []


def test_imported_masks_move_too():
    bare = {"alpha": None, "change": None, "pristine": None, "parameters": None, "change_mean": None}
    record = make_forged_record(mask_rule="imported", exact_mask=False, **bare)
    moved = degraded(record, Chain("m", (Resize(scale=0.6), Jpeg(quality=70))), 0)
    assert check(moved) == [] and moved.change_mean is None
    assert moved.mask_share == pytest.approx(record.mask_share, rel=0.05)


def test_memory_holds_one_row_group(tmp_path, monkeypatch):
    """A shard is read and written group by group: while the first rows come, the later groups are unread."""
    path, groups, group = tmp_path / "a.parquet", [], Shard.group
    writer = ShardWriter(path, Record, rows_per_group=1)
    for seed in range(3):
        writer.add(make_forged_record(seed))
    writer.close()
    monkeypatch.setattr(Shard, "group", lambda self, index, *a: groups.append(index) or group(self, index, *a))
    payload = Payload(Chain("a", (Jpeg(quality=50),)), 0, str(path), file_sha256(path))
    rows = degraded_rows(ShardJob("x", "degrade", "", "", payload))
    next(rows)
    assert groups == [0]
    assert len(list(rows)) == 2 and groups == [0, 1, 2]


def test_unfinished_masters_are_told_with_the_stage_to_run(forged, tmp_path):
    layout = copied(forged, tmp_path / "d")
    (layout.forged / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"forged has no manifest.json.*Run `mmtt forge"):
        degrade_all(layout)
    (layout.pristine / "manifest.json").unlink()
    with pytest.raises(UserError, match="Run `mmtt ingest"):
        degrade_all(layout)


def test_a_rotten_master_shard_is_told(forged, tmp_path):
    layout = copied(forged, tmp_path / "d")
    path = next(layout.forged.glob("recolour-*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="is not what its manifest lists"):
        degrade_all(layout)


def test_a_recipe_without_variants_or_with_bad_ones_is_a_sentence(forged, tmp_path):
    layout = copied(forged, tmp_path / "d")
    edit_recipe(layout, lambda d: d.update(degrade={"presets": ["jepg"]}))
    with pytest.raises(RecipeError, match=r"Did you mean 'jpeg'\?"):
        degrade_all(layout)
    edit_recipe(layout, lambda d: d.pop("degrade"))
    with pytest.raises(UserError, match="asks for no variant"):
        degrade_all(layout)
    assert not layout.degraded.exists()


LOAD = """
import sys
from datasets import load_dataset
rows = load_dataset("parquet", data_files=sys.argv[1], split="train")
sizes = {row["image"].size == row["mask"].size for row in rows}
print(len(rows), sizes, sorted(set(rows["variant"])), {row["image"].mode for row in rows})
"""


def test_the_public_loads_it_without_us(made, tmp_path):
    command = [sys.executable, "-c", LOAD, str(made.degraded / "*-*.parquet")]
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert (
        shown.stdout.strip() == f"{Manifest.load(made.degraded).rows} {{True}} ['coded', 'moved', 'turned'] {{'RGB'}}"
    )


def test_no_name_and_no_path_is_in_any_shard(made):
    shards = b"".join(path.read_bytes() for path in made.degraded.glob("*.parquet"))
    assert str(made.root).encode() not in shards and b"person 0" not in shards


def test_shards_hold_what_their_job_says(made, tmp_path):
    """The fingerprint names variant, chain, seed and versions: none may change and keep a shard current."""
    one = [Chain("a", (Jpeg(quality=50),))]
    jobs = [
        shard_jobs(made, 7, one),
        shard_jobs(made, 8, one),
        shard_jobs(made, 7, [Chain("b", (Jpeg(quality=50),))]),
        shard_jobs(made, 7, [Chain("a", (Jpeg(quality=51),))]),
    ]
    assert len({made_jobs[0].fingerprint for made_jobs in jobs}) == 4
    assert len({job.input_digest for job in jobs[0]}) == len(jobs[0])
    make_shard(degraded_rows, tmp_path, jobs[0][0])
    assert (tmp_path / f"{jobs[0][0].name}.parquet").exists()
