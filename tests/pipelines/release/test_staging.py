"""A release, whole: made of a built dataset, loaded by strangers, the same bytes again, killed and run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import datasets
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from mmtt.errors import UserError
from mmtt.executors import processes, serial
from mmtt.layout import Layout
from mmtt.manifest import read
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.release import CHECKSUMS, DATA, MARKED, RELEASE, Release, Version, checksums, read_checksums, write_checksums
from mmtt.release_check import verify_release
from pipelines import cli_release, denied
from pipelines.release import history
from pipelines.release.staging import release
from pipelines.template_reports import write_template_reports
from tests.factories import answered, build, source_row, tiny_dataset, write_sources

ROOT = Path(__file__).parents[3]
ON = date(2026, 11, 27)
# A dozen drawn people say nothing about shortcuts, and their texts are templates.
GATES = dict.fromkeys(["S1", "S2", "S3", "S4", "S7", "L1", "L2", "L3", "F1", "X1", "X2", "X6", "X7", "M2", "R2"])


def dataset(root: Path, photos: int = 8):
    layout = tiny_dataset(root, photos, ("recolour", "face_swap"), audit={"gates": GATES, "sample": 20})
    write_sources(root, [source_row(f"drawn_{n:02d}.png", f"person {n}", consent="nobody") for n in range(photos)])
    build(layout)
    answered(root)
    return layout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    layout = dataset(tmp_path_factory.mktemp("built"))
    write_template_reports(layout)
    return layout


@pytest.fixture(scope="module")
def released(built) -> Path:
    return made(built, "1.0.0")


def made(layout, version, executor=serial, on=ON) -> Path:
    folder = release(layout, Recipe.load(layout.recipe), Version.parse(version), on, executor, lambda _: silent).folder
    assert folder == layout.root / "releases" / version
    return folder


def copied(layout, tmp_path):
    """A copy of the dataset without its releases."""
    shutil.copytree(layout.root, tmp_path / "copy", ignore=shutil.ignore_patterns("releases"))
    return replace(layout, root=tmp_path / "copy")


def test_it_holds_every_file_and_verifies(released):
    names = {path.name for path in released.iterdir()}
    assert names == {
        "README.md", "DATASHEET.md", "LICENSE", "CHANGELOG.md", "croissant.json", "audits.json", "overview.html",
        "contact-sheet.png", "removed.csv", "data", "reports", "release.json", CHECKSUMS,
    }  # fmt: skip
    assert list(verify_release(released)) == []
    assert read_checksums(released) == checksums(released)


def test_every_link_of_its_documents_leads_to_a_file_of_it(released):
    for name in ("README.md", "DATASHEET.md", "LICENSE", "CHANGELOG.md"):
        targets = re.findall(r"\]\(<?(?!<|https?:|mailto:|#)([^)#>]+)", (released / name).read_text())
        assert [target for target in targets if not (released / target).exists()] == [], name


def test_every_record_that_counts_is_in_it_with_its_split_and_report(released):
    rows = {record.record_id: record for record in read(released / DATA)}
    forged = [record for record in rows.values() if record.manipulation]
    assert len(rows) == sum(Release.load(released).rows["default"].values()) > len(forged) > 8
    assert all(record.report and record.text_origin == "template" for record in forged)
    assert all(record.split == rows[record.target_id].split for record in forged)


def test_datasets_loads_it_from_its_card(released, tmp_path):
    loaded = datasets.load_dataset(str(released), cache_dir=str(tmp_path))
    about = Release.load(released)
    assert {name: split.num_rows for name, split in loaded.items()} == about.rows["default"]
    row = next(row for row in loaded["train"] if row["manipulation"])
    assert row["image"].size == row["mask"].size == (256, 256) and row["report"]
    said = datasets.load_dataset(str(released), "raw_reports", cache_dir=str(tmp_path), streaming=True)
    assert next(iter(said["train"]))["text"]


def test_nothing_private_is_in_it(built, released):
    for path in released.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for word in (b"person 3", str(built.root).encode(), b"drawn_03.png"):
            assert word not in data, (path.name, word)


def test_an_extension_keeps_records_splits_and_untouched_shards(built, released, tmp_path):
    layout = copied(built, tmp_path)
    shutil.copytree(released, layout.root / "releases" / "1.0.0")
    (layout.root / "reports" / "reports.parquet").unlink()
    shutil.copytree(dataset(tmp_path / "larger", 9).photos, layout.photos, dirs_exist_ok=True)
    shutil.copy(tmp_path / "larger" / "landmarks.json", layout.landmarks)
    shutil.copy(tmp_path / "larger" / "sources.csv", layout.root / "sources.csv")
    build(layout)
    write_template_reports(layout)
    with pytest.raises(UserError, match=r"asks for version 1\.1\.0 or later, not 1\.0\.1"):
        made(layout, "1.0.1")
    extended = made(layout, "1.1.0")
    before, after = ({r.record_id: r for r in read(folder / DATA)} for folder in (released, extended))
    assert {name: after[name] for name in before} == before and len(after) > len(before)
    new = {record.record_id for record in after.values()} - before.keys()
    kept = [path for path in (extended / DATA).glob("*.parquet") if not new & ids(path)]
    assert kept and all(path.read_bytes() == (released / DATA / path.name).read_bytes() for path in kept)
    assert Release.load(extended).previous == "1.0.0"
    assert list(verify_release(extended)) == []
    assert "## 1.0.0 (2026-11-27)" in (extended / history.CHANGELOG).read_text()


def ids(path: Path) -> set[str]:
    return {row["record_id"] for row in datasets.Dataset.from_parquet(str(path)).select_columns("record_id")}


def test_a_fault_anywhere_is_found(released, tmp_path):
    for name in ("README.md", "croissant.json", next((released / DATA).glob("*.parquet")).relative_to(released)):
        folder = tmp_path / Path(name).name
        shutil.copytree(released, folder)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).unlink()  # else the fault would lie in the release that it was linked from
        (folder / name).write_bytes(data)
        assert any("SHA-256" in what for _, what in verify_release(folder)), name
    folder = tmp_path / "more"
    shutil.copytree(released, folder)
    (folder / "notes.txt").write_text("x")
    (folder / "LICENSE").unlink()
    assert {where for where, _ in verify_release(folder)} == {"notes.txt", "LICENSE"}


def test_a_shard_that_no_manifest_lists_is_found_though_the_checksums_name_it(released, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(released, folder)
    shard = next((folder / "reports").glob("train-*.parquet"))
    shutil.copy(next((folder / DATA).glob("train-*.parquet")), folder / DATA / "train-extra.parquet")
    shutil.copy(shard, shard.with_name("train-extra.parquet"))
    (folder / CHECKSUMS).unlink()
    (folder / CHECKSUMS).write_text(write_checksums(checksums(folder)))
    told = [what for where, what in verify_release(folder) if where == RELEASE]
    assert ["rows of default by split" in told[0], "rows of raw_reports by split" in told[1], len(told)] == [
        True,
        True,
        2,
    ]


def unasked(root: Path) -> None:
    """Nobody was asked, and the build is made anew."""
    write_sources(root, [source_row(f"drawn_{n:02d}.png", f"person {n}") for n in range(8)])
    (root / "reports" / "reports.parquet").unlink()
    build(Layout(root))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "datasheet.toml").unlink(), "`mmtt datasheet"),
        (lambda root: answered(root, licence="CC0-1.0"), "licence"),
        (lambda root: blank(root, "M1"), "leaves 1 required answer blank"),
        (unasked, r"may be released: \d+ not_asked"),
    ],
    ids=["no answers", "a licence that asks for less than its rows", "a blank", "nobody was asked"],
)  # fmt: skip
def test_what_cannot_be_released_is_a_sentence_and_leaves_nothing(built, tmp_path, spoil, told):
    layout = copied(built, tmp_path)
    spoil(layout.root)
    with pytest.raises(UserError, match=told):
        made(layout, "1.0.0")
    assert not list((layout.root / "releases").glob("[0-9]*"))


def blank(root: Path, code: str) -> None:
    path = answered(root)
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith(f"{code} =")))


def test_a_failing_audit_keeps_it_from_being_released_and_what_is_left_of_that_is_not_taken_later(built, tmp_path):
    layout = copied(built, tmp_path)
    recipe = layout.recipe.read_text()
    layout.recipe.write_text(recipe.replace("X6: null", "S5: 0.1"))
    with pytest.raises(UserError, match="fails the audits S5"):
        made(layout, "1.0.0")
    left = next((layout.root / "releases").glob(".*.partial"))
    (left / "stray.txt").write_text("of the run before")
    layout.recipe.write_text(recipe)
    answered(layout.root, title="Another title")
    folder = made(layout, "1.0.0", on=date(2026, 12, 1))
    assert Release.load(folder).date == "2026-12-01" and "Another title" in (folder / "README.md").read_text()
    assert json.loads((folder / "croissant.json").read_text())["datePublished"] == "2026-12-01"
    assert not (folder / "stray.txt").exists() and list(verify_release(folder)) == []


def run(*words: object) -> Result:
    app = typer.Typer()
    cli_release.register(app)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_marked_pictures_do_not_end_unless_that_is_asked_for_and_told(built, released, tmp_path):
    layout = copied(built, tmp_path)
    shutil.copytree(released, layout.root / "releases" / "1.0.0")
    (layout.root / "releases" / "1.0.0" / MARKED).mkdir()
    answered(layout.root, repository="someone/tiny")
    asked = ("release", layout.root, "--version", "1.0.1", "--date", ON)
    with pytest.raises(UserError, match=r"has marked pictures\. Give --certificate and --key, .* or --without-marks"):
        raise run(*asked).exception
    done = run(*asked, "--without-marks")
    assert done.exit_code == 0, done.output
    folder = layout.root / "releases" / "1.0.1"
    assert "- It has no marked pictures any more" in (folder / history.CHANGELOG).read_text().split("## 1.0.0")[0]
    assert Release.load(folder).repository == "someone/tiny"


def test_after_a_removal_the_first_release_has_to_be_called_so_and_what_lacks_is_told(tmp_path):
    halves = {"splits": {"train": 0.5, "test": 0.5}}
    layout = tiny_dataset(tmp_path, 8, ("recolour",), audit={"gates": GATES, "sample": 20}, plan=halves)
    write_sources(tmp_path, [source_row(f"drawn_{n:02d}.png", consent="nobody" if n else "none") for n in range(8)])
    build(layout)
    answered(tmp_path)
    denied.add(tmp_path, ON, [(denied.RECORD, "0" * 24)])
    asked = ("release", tmp_path, "--version", "1.0.0", "--date", ON)
    with pytest.raises(UserError, match=r"1 record of .* left for good"):
        raise run(*asked).exception
    done = run(*asked, "--first")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("The split 'validation' holds no row.")
    assert re.search(r"records; left out: \d+ not_asked\n", done.stdout)


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from mmtt import files
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.release import Version
left = int(sys.argv[2])
replace_ = Path.replace
def dying(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace_(self, target)
Path.replace = dying
from pipelines.release.staging import release
layout = Layout(Path(sys.argv[1]))
release(layout, Recipe.load(layout.recipe), Version(1, 0, 0), date(2026, 11, 27), serial, lambda _: silent)
"""


def test_killed_anywhere_and_run_again_on_two_workers_it_comes_to_the_same_bytes(built, released, tmp_path):
    layout = copied(built, tmp_path)
    for moment in (4, 15):  # among the shards, among the documents
        command = [sys.executable, "-c", KILLED, str(layout.root), str(moment)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (layout.root / "releases" / "1.0.0").exists()
    (torn := layout.root / "releases" / ".0.9.0.partial").mkdir()  # of another version, refused by an audit
    assert checksums(made(layout, "1.0.0", processes(2))) == checksums(released)
    assert not torn.exists()
