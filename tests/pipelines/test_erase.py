"""Taking people out: what goes, what stays as it was, and what a later build finds. All of them are drawn."""

import gzip
import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmtt.check import verify_all
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import Manifest, read_columns
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Assignment, PlanRow, Rejection
from mmtt.removal import Removal, begin
from mmtt.shards import Lookup, read_table, write_table
from mmtt.stage import is_current
from pipelines import denied, erase, forge, ingest
from pipelines.degrade import degrade
from pipelines.plan import plan, require_fresh
from pipelines.removals.sidecars import cut_csv
from pipelines.removals.surgery import Going
from tests.factories import build, source_row, tiny_dataset, write_sources

ROOT = Path(__file__).parents[2]
ON = date(2026, 11, 27)
NAME = "Zoë O'Neill"
FILES = [f"{NAME}/first.png", "drawn_01.png", "drawn_02.png", "drawn_03.png", "drawn_04.png", f"{NAME}/second.png"]
SUBJECTS = [NAME, "person 1", "person 2", f"{NAME}-Smith", "person 4", NAME]


def dataset(root: Path, keep=range(6), **sections) -> Layout:
    """Six photos, two of one person in a folder of her name, a copy of one of them, and a file that is no photo."""
    layout = tiny_dataset(root, 6, ("recolour", "face_swap"), degrade={"presets": ["jpeg"]}, **sections)
    landmarks = json.loads(layout.landmarks.read_text())
    (layout.photos / NAME).mkdir(exist_ok=True)
    for number, file in enumerate(FILES):
        (layout.photos / f"drawn_{number:02d}.png").replace(layout.photos / file)
    layout.landmarks.write_text(json.dumps({f: landmarks[f"drawn_{n:02d}.png"] for n, f in enumerate(FILES)}))
    rows = [source_row(FILES[n], SUBJECTS[n], origin_id=f"origin-{n}-of-them", consent="nobody") for n in range(6)]
    write_sources(
        root, [*rows, source_row("copy.png", consent="nobody"), source_row("torn.png", NAME, consent="nobody")]
    )
    shutil.copy(layout.photos / FILES[0], layout.photos / "copy.png")
    (layout.photos / "torn.png").write_bytes(b"no picture")
    for number in set(range(6)) - set(keep):
        (layout.photos / FILES[number]).unlink()
    return layout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Layout:
    layout = dataset(tmp_path_factory.mktemp("erase") / "dataset")
    recipe = build(layout)
    degrade(layout, recipe, serial, silent)
    ours = sorted(row["record_id"] for row in read_columns(layout.pristine, ["record_id"]))
    layout.identities.write_text(f"first,second,same\n{ours[0]},{ours[1]},no\n{ours[2]}, {ours[3]} ,no\n")
    plan(layout, recipe, ON)
    layout.overview.write_text(f"<p>{NAME}</p>")
    (layout.root / ".overview.html.99.tmp").write_text(f"<p>{NAME}</p>")
    (layout.forged / ".face_swap-0000.parquet.99.tmp").write_text(f"{NAME}")
    return layout


@pytest.fixture
def copy(built, tmp_path) -> Layout:
    shutil.copytree(built.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def forget(layout: Layout, whom: str) -> Removal:
    removal = erase.close(layout.root, whom)
    erase.deny(layout.root, removal, ON)
    erase.apply(layout.root, removal)
    return removal


def tree(root: Path) -> dict[str, str]:
    """Every file but locks, by digest."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in files}


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Every cell of every record."""
    rows = [row for path in sorted(folder.glob("*.parquet")) if path.stem != "rejections"
            for row in pq.read_table(path).to_pylist()]  # fmt: skip
    return {f"{row['record_id']} {row['variant']}": row for row in rows}


def test_the_closure_of_a_person_holds_every_photo_copy_and_forgery(built):
    removal = erase.close(built.root, NAME)
    assert removal.photos == tuple(sorted([FILES[0], FILES[5], "copy.png", "torn.png"]))
    assert (len(removal.pristine), removal.subjects) == (2, (NAME,))
    made = [row for row in read_columns(built.forged, ["record_id", "target_id", "source_id"])
            if {row["target_id"], row["source_id"]} & set(removal.pristine)]  # fmt: skip
    assert {row["record_id"] for row in made} | set(removal.pristine) == set(removal.records)
    assert any(row["source_id"] in removal.pristine for row in made), "she was a donor, too"
    assert file_sha256(built.photos / FILES[0]) in removal.digests
    assert removal.origin_ids == ("origin-0-of-them", "origin-5-of-them")


def test_somebody_whose_longer_name_holds_theirs_stays_and_is_no_trace(copy):
    removal = erase.close(copy.root, NAME)
    assert removal.stay == tuple(sorted([f"{NAME}-Smith", "drawn_03.png"]))
    forget(copy, NAME)
    assert f"{NAME}-Smith" in (copy.root / "sources.csv").read_text()
    assert list(erase.traces(copy.root, removal)) == []
    (copy.root / "notes.txt").write_text(f"{NAME}-Smith and {NAME}")
    (copy.root / f"{NAME} with others.txt").touch()
    assert {trace.where for trace in erase.traces(copy.root, removal)} == {"notes.txt", f"{NAME} with others.txt"}


def test_the_plan_names_every_table_that_changes(copy):
    removal, before = erase.close(copy.root, NAME), tree(copy.root)
    planned = [step.where for step in erase.plan(copy.root, removal)]
    assert len(set(planned)) == len(planned) and tree(copy.root) == before
    forget(copy, NAME)
    after = tree(copy.root)
    changed = {name for name in before if after.get(name) != before[name]}
    told = {"sources.csv", "landmarks.json", "identities.csv", "plan/plan.parquet", "plan/splits.parquet",
            "private/lineage.parquet", "pristine/rejections.parquet", "overview.html"}  # fmt: skip
    assert told <= changed & set(planned)
    # Of a shard, what vouches for it goes without saying.
    beside = (
        "private/pristine/",
        "private/forged/",
        "private/degraded/",
        "private/fingerprints/",
        "photos/",
        "plan/basis",
    )
    rest = {n.removesuffix(".parquet") for n in changed - set(planned) if not n.startswith(beside)}
    assert {n for n in rest if not n.endswith((".rejections", ".json", ".tmp"))} <= set(planned)


def test_a_person_called_like_a_common_word_takes_no_rejections_of_others():
    removal = Removal(asked="face", records=("0" * 24,), pristine=(), photos=("face/1.png",), subjects=("face",),
                      origin_ids=(), digests=(), phashes=())  # fmt: skip
    going = Going(removal)
    told = {
        "face 0: 30% of the landmarks lie outside the photo": False, "none of the finders found a face": False,
        "the row of 'face' names no licence": True, "face": True, "as face/1.png": True, f"of {'0' * 24}": True,
    }  # fmt: skip
    rows = [Rejection(stage="ingest", code="x", detail=detail, path="other.png") for detail in told]
    assert [going.takes(row) for row in rows] == [*told.values()]
    assert going.takes(Rejection(stage="ingest", code="x", detail="", path="face/1.png"))


def test_a_photo_takes_its_copies_but_not_the_other_photos_of_its_person(built):
    by_photo, by_record = erase.close(built.root, FILES[0]), None
    assert by_photo.photos == tuple(sorted([FILES[0], "copy.png"]))
    assert by_photo.subjects == ()
    by_record = erase.close(built.root, by_photo.pristine[0])
    assert by_record.records == by_photo.records


def test_a_forged_record_goes_alone(built):
    forged = read_columns(built.forged, ["record_id"])[0]["record_id"]
    removal = erase.close(built.root, forged)
    assert (removal.records, removal.pristine, removal.photos) == ((forged,), (), ())


def test_somebody_who_is_not_there_is_told_in_a_sentence(built):
    with pytest.raises(UserError, match=r"no record, photo or person .* Give a record_id"):
        erase.close(built.root, "Nobody")


def test_somebody_who_left_is_told_to_have_left(copy):
    removal = forget(copy, NAME)
    for whom in (NAME, removal.records[0]):
        with pytest.raises(UserError, match=r"was taken out of .* already"):
            erase.close(copy.root, whom)


def test_nothing_is_left_and_nothing_else_is_touched(copy, built):
    removal = erase.close(copy.root, NAME)
    assert len({trace.where for trace in erase.traces(copy.root, removal)}) > 10, "the search finds what is there"
    before = {folder: contents(folder) for folder in (copy.pristine, copy.forged, copy.degraded)}
    splits = {row.record_id: row for row in read_table(copy.splits, Assignment)}
    old = tree(copy.root)
    forget(copy, NAME)
    assert list(erase.traces(copy.root, removal)) == []
    for folder, rows in before.items():
        kept = {key: value for key, value in rows.items() if key.split()[0] not in removal.records}
        assert contents(folder) == kept
    left = {row.record_id: row for row in read_table(copy.splits, Assignment)}
    assert left == {key: row for key, row in splits.items() if key not in removal.records}
    new = tree(copy.root)
    shards = {name.removesuffix(".parquet") for name in old
              if name.split("/")[0] in ("pristine", "forged", "degraded") and name.endswith(".parquet")
              and "rejections" not in name and new.get(name) != old[name]}  # fmt: skip
    assert shards == set(removal.buckets), "only the planned buckets changed"
    assert not (copy.photos / NAME).exists(), "a folder of her name does not stay"
    assert list(verify_all([copy.pristine, copy.forged, copy.degraded])) == []
    assert tree(built.root) == old, "the original was only read"


def test_all_that_is_left_is_current_so_that_a_build_makes_nothing_again(copy):
    forget(copy, NAME)
    recipe = Recipe.load(copy.recipe)
    require_fresh(copy, recipe)
    jobs = forge.shard_jobs(copy, recipe)
    assert jobs and all(is_current(job, copy.forged) for job in jobs)
    before = {path: file_sha256(path) for path in copy.pristine.glob("bucket-*.parquet")}
    degraded = {path: file_sha256(path) for path in copy.degraded.glob("*.parquet")}
    stamps = {path: path.stat().st_mtime_ns for path in before}
    ingest.ingest(copy, recipe, serial, silent)
    degrade(copy, recipe, serial, silent)
    assert {path: path.stat().st_mtime_ns for path in copy.pristine.glob("bucket-*.parquet")} == stamps
    assert {path: file_sha256(path) for path in copy.degraded.glob("*.parquet")} == degraded


def test_the_shards_are_those_that_a_dataset_without_her_would_have(copy, tmp_path):
    forget(copy, NAME)
    other = dataset(tmp_path / "other", keep=range(1, 5))
    for name in ("copy.png", "torn.png"):
        (other.photos / name).unlink()
    write_sources(other.root, [source_row(FILES[n], SUBJECTS[n], origin_id=f"origin-{n}-of-them", consent="nobody")
                               for n in range(1, 5)])  # fmt: skip
    ingest.ingest(other, Recipe.load(other.recipe), serial, silent)
    shards = sorted(path.name for path in other.pristine.glob("bucket-*.parquet"))
    assert shards == sorted(path.name for path in copy.pristine.glob("bucket-*.parquet"))
    for name in shards:
        assert file_sha256(copy.pristine / name) == file_sha256(other.pristine / name)
    assert file_sha256(copy.lineage) == file_sha256(other.lineage)


def test_what_was_stale_stays_stale(copy):
    (copy.photos / "new.png").write_bytes((copy.photos / "drawn_01.png").read_bytes() + b"\0")
    with (copy.root / "sources.csv").open("a") as table:
        table.write("new.png,drawn people,CC0-1.0,person 1,nobody,origin-new\n")
    landmarks = json.loads(copy.landmarks.read_text())
    copy.landmarks.write_text(json.dumps(landmarks | {"new.png": landmarks["drawn_01.png"]}))
    forget(copy, NAME)
    rows = ingest.ingest(copy, Recipe.load(copy.recipe), serial, silent).rows
    assert rows == 5, "a photo that waited to be ingested is not taken for done"


def test_a_build_brings_nobody_back(copy, tmp_path):
    shutil.copytree(copy.photos, tmp_path / "backup")
    tables = {name: (copy.root / name).read_bytes() for name in ("sources.csv", "landmarks.json")}
    removal = forget(copy, NAME)
    shutil.copytree(tmp_path / "backup", copy.photos, dirs_exist_ok=True)
    for name, data in tables.items():
        (copy.root / name).write_bytes(data)
    copy.identities.unlink()
    build(copy)
    there = {row["record_id"] for folder in (copy.pristine, copy.forged) for row in read_columns(folder, ["record_id"])}
    assert not there & set(removal.records)
    refused = [row for row in read_table(copy.pristine / "rejections.parquet", Rejection) if row.code == "denied"]
    assert {row.path for row in refused} == set(removal.photos)


def test_a_forgery_that_went_is_not_planned_again(copy):
    forged = read_columns(copy.forged, ["record_id"])[0]["record_id"]
    removal = forget(copy, forged)
    build(copy)
    assert forged not in {row.record_id for row in read_table(copy.plan / "plan.parquet", PlanRow)}
    assert any(row.code == "denied" for row in read_table(copy.plan / "rejections.parquet", Rejection))
    degrade(copy, Recipe.load(copy.recipe), serial, silent)
    assert [trace for trace in erase.traces(copy.root, removal) if "sources" not in trace.where] == []


def test_sidecars_keep_the_lines_of_others_as_they_were_typed(copy):
    forget(copy, "drawn_02.png")
    text = (copy.root / "sources.csv").read_text()
    assert "drawn_02" not in text and "drawn_01.png,drawn people" in text
    assert set(json.loads(copy.landmarks.read_text())) == set(FILES) - {"drawn_02.png"}
    typed = 'first, "second",same\r\n"a\nb",x,yes\r\n\r\n# c,d,no\n'
    assert cut_csv(typed, lambda row: row["first"] == "# c") == ('first, "second",same\r\n"a\nb",x,yes\r\n\r\n', 1)


def test_old_traces_in_packed_files_are_found(copy):
    removal = forget(copy, NAME)
    (copy.root / "old.json.gz").write_bytes(gzip.compress(json.dumps({"name": NAME}).encode()))
    write_table(copy.root / "old.parquet", [Rejection(stage="x", code="y", detail=removal.records[0])], Rejection)
    found = {trace.where: trace.what for trace in erase.traces(copy.root, removal)}
    assert found == {"old.json.gz": "a name", "old.parquet": "a record_id"}


def test_a_shard_that_cannot_be_read_stops_it_before_anything_goes(copy):
    path = sorted(copy.forged.glob("face_swap-*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-9])
    before = tree(copy.root)
    with pytest.raises(UserError, match=r"cannot be read as a shard .* build again"):
        erase.close(copy.root, NAME)
    assert tree(copy.root) == before


def test_manifests_are_what_they_were_but_for_the_rows(copy):
    old = {folder.name: Manifest.load(folder) for folder in (copy.pristine, copy.forged, copy.degraded)}
    forget(copy, FILES[0])
    for folder in (copy.pristine, copy.forged, copy.degraded):
        new = Manifest.load(folder)
        assert (new.stage, new.environment) == (old[folder.name].stage, old[folder.name].environment)
        assert new.rows < old[folder.name].rows
    assert "duplicate_photo" not in Manifest.load(copy.pristine).rejections, "it named the photo that is gone"


def test_the_lookup_still_finds_every_donor(copy):
    forget(copy, NAME)
    lookup = Lookup(copy.pristine.glob("bucket-*.parquet"))
    used = read_columns(copy.forged, ["target_id", "source_id"])
    assert all(name in lookup for row in used for name in row.values() if name)


def test_killed_at_any_moment_and_run_again_it_ends_the_same(tmp_path):
    """Every rename and every deletion is a moment; a process is killed before each of a spread of them."""
    layout = dataset(tmp_path / "dataset", keep=(0, 1), buckets=1)
    recipe = build(layout)
    degrade(layout, recipe, serial, silent)
    removal = tmp_path / "removal.json"
    removal.write_text(erase.close(layout.root, NAME).to_json())
    script = ROOT / "tests" / "support" / "killed_removal.py"
    done = subprocess.run(
        [sys.executable, str(script), str(layout.root), str(removal), str(tmp_path), "6"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["moments"] > 25 and told["killed"] == 6
    assert told["other_ends"] == []


def test_a_second_removal_waits_for_the_first(copy):
    first, second = erase.close(copy.root, NAME), erase.close(copy.root, "drawn_01.png")
    begin(copy.root, first)
    begin(copy.root, first)
    with pytest.raises(UserError, match="Another removal is under way"):
        begin(copy.root, second)


def test_a_near_duplicate_that_the_curator_kept_stays_in_later_builds(copy):
    row = ingest.read_lineage(copy.lineage)[0][0]
    erase_phash = Removal(asked="x", records=(), pristine=(), photos=(), subjects=(), origin_ids=(), digests=(),
                          phashes=(row.photo_phash,))  # fmt: skip
    erase.deny(copy.root, erase_phash, ON)
    barred = denied.load(copy.root)
    barred.require_new(row.photo_sha256, row.photo_phash)
    with pytest.raises(Exception, match="denied: it looks like a photo"):
        barred.require_new("0" * 64, row.photo_phash)
