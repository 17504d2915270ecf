"""Pruning a copy: rows go, all others stay cell by cell, and what lists the files stays true."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmtt import cli
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.manifest import Manifest
from mmtt.pruning import plan, prune
from mmtt.record import Record
from mmtt.release import (
    CHECKSUMS,
    Release,
    Tombstone,
    checksums,
    read_checksums,
    read_removed,
    write_checksums,
    write_removed,
)  # fmt: skip
from mmtt.release_check import verify_release
from mmtt.rewriting import names_any, rewrite
from mmtt.shards import Footer, ShardWriter, read_footer
from tests.factories import make_forged_record, make_record
from tests.support.releases import write_release

ROOT = Path(__file__).parents[2]


@pytest.fixture
def release(tmp_path) -> Path:
    """A release of four pristine faces and what was forged from each; face 3's forgery has face 0 as donor."""
    people = [make_record(seed, split="train") for seed in range(4)]
    forged = [make_forged_record(seed, split="train") for seed in range(4)]
    forged[3] = make_forged_record(3, split="train", source_id=people[0].record_id)
    folder = write_release(tmp_path / "copy", shards={
        "train-00000-of-00002": [people[0], forged[0], people[1], forged[1]],
        "train-00001-of-00002": [people[2], forged[2], people[3], forged[3]],
        "test-00000-of-00001": [make_record(9, split="test"), make_record(10, split="test")],
    })  # fmt: skip
    name = "data/train-00000-of-00002.parquet"
    distribution = [{"contentUrl": name, "sha256": file_sha256(folder / name), "contentSize": "1 B"}]
    (folder / "croissant.json").write_text(json.dumps({"distribution": distribution}))
    (folder / CHECKSUMS).write_text(write_checksums(checksums(folder)))
    return folder


def stones(*seeds: int, reason: str = "erasure") -> list[Tombstone]:
    return [Tombstone(make_record(seed).record_id, "1.0.1", reason) for seed in seeds]


def left(folder: Path) -> set[str]:
    return {row for path in folder.rglob("*.parquet") for row in pq.read_table(path).column("record_id").to_pylist()}


def test_an_erased_person_goes_as_record_as_target_and_as_donor(release):
    done = prune(release, stones(0))
    assert done.rows == {"data/train-00000-of-00002.parquet": 2, "data/train-00001-of-00002.parquet": 1}
    gone = {make_record(0).record_id, make_forged_record(0).record_id, make_forged_record(3).record_id}
    assert not left(release) & gone and len(left(release)) == 10 - 3


def test_a_record_that_was_wrong_goes_alone(release):
    assert sum(prune(release, stones(0, reason="curation")).rows.values()) == 1
    assert make_forged_record(0).record_id in left(release)


def test_manifest_checksums_croissant_and_counts_stay_true(release):
    prune(release, stones(0))
    assert read_checksums(release) == checksums(release)
    manifest = Manifest.load(release / "data")
    assert manifest.rows == 7
    assert [file_sha256(release / "data" / f"{s.name}.parquet") for s in manifest.shards] == [
        s.sha256 for s in manifest.shards
    ]
    assert Release.load(release).rows["default"] == {"test": 2, "train": 5}
    (item,) = json.loads((release / "croissant.json").read_text())["distribution"]
    assert item["sha256"] == file_sha256(release / item["contentUrl"])
    assert read_removed(release / "removed.csv") == stones(0)
    assert not (release / ".pruned.json").exists()


def test_datasets_loads_what_is_left(release):
    card = release / "README.md"
    sizes = "dataset_info:\n  config_name: default\n  splits:\n  - {name: train, num_examples: 8, num_bytes: 9}\n---\n"
    card.write_text(card.read_text().replace("---\n#", f"{sizes}#", 1))
    prune(release, stones(0, 1))
    loaded = datasets.load_dataset(str(release), split="train", cache_dir=str(release / ".cache"))
    assert len(loaded) == 3 and loaded[0]["image"].size == (64, 64)
    streamed = datasets.load_dataset(str(release), split="train", streaming=True)
    assert len(list(streamed)) == 3


def test_datasets_does_not_take_what_went_from_its_cache(release, tmp_path):
    before = datasets.load_dataset(str(release), split="train", cache_dir=str(tmp_path / "cache"))
    prune(release, stones(0, 1))
    after = datasets.load_dataset(str(release), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(after) < len(before)
    card = (release / "README.md").read_bytes()
    prune(release, stones(0, 1))
    assert (release / "README.md").read_bytes() == card


def test_pages_of_pictures_go_and_the_card_does_without_them(release):
    (release / "contact-sheet.png").write_bytes(b"faces")
    card = release / "README.md"
    card.write_text(
        card.read_text() + "![Sheet: a, b.](contact-sheet.png)\n\nLook at [overview.html](overview.html).\n"
    )
    (release / CHECKSUMS).write_text(write_checksums(checksums(release)))
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    told = plan(release, stones(0))
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before
    done = prune(release, stones(0))
    assert (told.rows, told.pages) == (done.rows, done.pages) and done.pages == ["overview.html", "contact-sheet.png"]
    assert not [path for path in release.iterdir() if path.name in done.pages]
    assert card.read_text().endswith("\n\n\nLook at overview.html (not in this copy).\n")
    assert read_checksums(release) == checksums(release)
    assert list(verify_release(release)) == []


def test_where_no_row_goes_the_pages_stay(release):
    assert prune(release, stones(7)).pages == [] and (release / "overview.html").exists()


def test_it_asks_first_and_a_dry_run_only_tells(release):
    (release.parent / "removed.csv").write_text(write_removed(stones(0)))
    words = ["prune", str(release), "--removed", str(release.parent / "removed.csv")]
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    dry = CliRunner().invoke(cli.app, [*words, "--dry-run"])
    assert dry.exit_code == 0 and "rows that go: 3, in 2 files" in dry.output and "overview.html: pict" in dry.output
    assert CliRunner().invoke(cli.app, words, input="n\n").exit_code == 1
    asked = CliRunner().invoke(cli.app, words)
    assert isinstance(asked.exception, UserError) and "Give --yes" in str(asked.exception)
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before
    done = CliRunner().invoke(cli.app, [*words, "--yes", "--json"])
    assert json.loads(done.stdout)["pages"] == ["overview.html"] and len(left(release)) == 7


def test_a_file_that_did_not_agree_before_is_not_vouched_for(release):
    name = "data/train-00000-of-00002.parquet"
    listed = read_checksums(release) | {name: "0" * 64}
    (release / CHECKSUMS).write_text(write_checksums(listed))
    prune(release, stones(0))
    assert read_checksums(release)[name] == "0" * 64


def test_pruning_again_changes_no_byte(release):
    prune(release, stones(0))
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    assert prune(release, stones(0)).rows == {}
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("moment", [1, 3, 5, 6, 8])
def test_killed_and_run_again_it_completes(release, moment):
    script = f"""
import os, signal, sys
from pathlib import Path
from mmtt.pruning import prune
from mmtt.release import Tombstone
seen = 0
def hook(event, args):
    global seen
    seen += event in ("os.rename", "os.remove")
    if event in ("os.rename", "os.remove") and seen == {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
prune(Path({str(release)!r}), [Tombstone({stones(0)[0].record_id!r}, "1.0.1", "erasure")])
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    prune(release, stones(0))
    assert read_checksums(release) == checksums(release)
    assert Manifest.load(release / "data").rows == 7 and not (release / "overview.html").exists()
    assert not [*release.rglob(".*.tmp")]


def test_any_folder_of_parquet_will_do_and_predictions_are_told(tmp_path):
    gone = make_record(0).record_id
    table = pa.table({"record_id": [gone, "x"], "feature": [1.5, 2.5]}).replace_schema_metadata({"mine": "kept"})
    pq.write_table(table, tmp_path / "features.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "predictions.jsonl").write_text(json.dumps({"image_id": gone}) + "\n")
    (tmp_path / "removed.csv").write_text(write_removed(stones(0)))
    done = prune(tmp_path, stones(0))
    assert done.rows == {"features.parquet": 1}
    after = pq.read_table(tmp_path / "features.parquet")
    assert after.to_pylist() == [{"record_id": "x", "feature": 2.5}]
    assert after.schema.metadata[b"mine"] == b"kept"
    assert [sentence.split()[0] for sentence in done.left] == ["predictions.jsonl"]


def test_a_link_is_told_and_not_followed(tmp_path):
    blobs, copy = tmp_path / "blobs", tmp_path / "copy"
    blobs.mkdir(), copy.mkdir()
    pq.write_table(pa.table({"record_id": [make_record(0).record_id]}), blobs / "a")
    (copy / "a.parquet").symlink_to(blobs / "a")
    before = (blobs / "a").read_bytes()
    done = prune(copy, stones(0))
    assert "is a link, and is not touched" in done.left[0] and (blobs / "a").read_bytes() == before


def test_a_dataset_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    with pytest.raises(UserError, match="is a dataset, not a copy"):
        prune(tmp_path, stones(0))


def test_a_rewritten_shard_has_the_bytes_of_one_that_never_had_the_rows(tmp_path):
    """Row groups are cut anew; so they are where pictures fill one before its rows do."""
    heavy = np.random.default_rng(0).bytes(3_000_000)
    records = [make_record(seed % 3, record_id=hashlib.sha256(bytes([seed])).hexdigest()[:24]) for seed in range(230)]
    records[5:30] = [make_record(seed, image=heavy) for seed in range(25)]
    gone = {record.record_id for record in records[::7]}
    for name, kept in (("all", records), ("some", [r for r in records if r.record_id not in gone])):
        writer = ShardWriter(tmp_path / name, Record)
        for record in kept:
            writer.add(record)
        writer.close(Footer("test", "inputs", "prints"))
    went = rewrite(tmp_path / "all", tmp_path / "cut", names_any(gone, ["record_id"]))
    assert went == len(gone)
    assert read_footer(tmp_path / "cut") == Footer("test", "inputs", "prints")
    assert file_sha256(tmp_path / "cut") == file_sha256(tmp_path / "some")


def test_a_split_of_which_nobody_is_left_is_declared_no_more(release):
    prune(release, stones(9, 10))
    assert list(verify_release(release)) == []
    loaded = datasets.load_dataset(str(release), cache_dir=str(release / ".cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 8}
