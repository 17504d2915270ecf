"""Ingest: a function of the photos and what is said of them; what is there already stays, byte for byte."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from mmtt import images
from mmtt.check import verify
from mmtt.errors import LockedError
from mmtt.executors import processes, serial
from mmtt.files import file_sha256, lock
from mmtt.layout import Layout
from mmtt.manifest import Manifest, assemble_manifest, read, shard_paths
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Lineage, Record, Rejection
from mmtt.shards import ShardWriter, read_footer, read_table, side_path, write_table
from pipelines.ingest import bucket_of, ingest
from tests.factories import drawn, source_row, tiny_dataset, write_sources


def run(layout: Layout, executor=serial) -> Manifest:
    return ingest(layout, Recipe.load(layout.recipe), executor, silent)


def records(layout: Layout) -> dict[str, Record]:
    return {record.record_id: record for record in read(layout.pristine)}


def files(layout: Layout) -> dict[str, bytes]:
    """Every byte that ingest wrote, but for locks; of fingerprints the names alone: they bear the times of shards."""
    folders = (layout.pristine, layout.root / "private")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    timed = layout.root / "private" / "fingerprints"
    return {str(path.relative_to(layout.root)): b"" if path.parent == timed else path.read_bytes() for path in found}


def lineage(layout: Layout) -> dict[str, Lineage]:
    return {row.path: row for row in read_table(layout.lineage, Lineage)}


def made_anew(layout: Layout) -> list[str]:
    """Run ingest; return the names of the shards that it wrote."""
    before = {path.name: path.stat().st_ino for path in layout.pristine.glob("bucket-*.parquet")}
    run(layout)
    return [p.name for p in sorted(layout.pristine.glob("bucket-*")) if before.get(p.name) != p.stat().st_ino]


def test_records_can_be_trusted_and_say_where_they_come_from(tmp_path):
    layout = tiny_dataset(tmp_path, photos=3)
    manifest = run(layout)
    assert (manifest.rows, manifest.rejections) == (3, {})
    assert list(verify(layout.pristine)) == []
    rows = lineage(layout)
    for name, row in rows.items():
        record = records(layout)[row.record_id]
        data = (layout.photos / name).read_bytes()
        assert row.photo_sha256 == images.sha256(data) == record.origin_id
        assert (record.origin, record.licence, record.landmark_finder) == ("drawn people", "CC0-1.0", "sidecar")
        assert record.group_id == row.group_id
    assert len({row.group_id for row in rows.values()}) == 3


def test_more_photos_leave_every_record_as_it_was(tmp_path):
    layout = tiny_dataset(tmp_path, photos=4, buckets=1)
    run(layout)
    before = records(layout)
    tiny_dataset(tmp_path, photos=7, buckets=1)
    assert made_anew(layout) == ["bucket-0000.parquet"]
    after = records(layout)
    assert len(after) == 7
    assert {record_id: after[record_id] for record_id in before} == before


def test_photos_that_are_in_already_are_carried_over_and_not_made_again(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2, buckets=1)
    run(layout)
    (shard,) = shard_paths(layout.pristine)
    marked = [replace(record, consent="seen in the old shard") for record in read(layout.pristine)]
    footer, writer = read_footer(shard), ShardWriter(shard, Record)
    for record in marked:
        writer.add(record)
    writer.close(footer)
    # Only a shard that the manifest vouches for is carried over from.
    assemble_manifest(layout.pristine, "ingest", [shard.stem])
    run(tiny_dataset(tmp_path, photos=3, buckets=1))
    assert sorted(record.consent for record in records(layout).values()) == ["none", *["seen in the old shard"] * 2]


def test_the_history_of_a_dataset_leaves_no_trace_in_its_bytes(tmp_path):
    grown, fresh = tmp_path / "grown", tmp_path / "fresh"
    for photos in (2, 4, 5):
        run(tiny_dataset(grown, photos=photos))
    assert files(Layout(grown)) == files_after_one_run(fresh, photos=5)


def files_after_one_run(root: Path, executor=serial, **options) -> dict[str, bytes]:
    layout = tiny_dataset(root, **options)
    run(layout, executor)
    return files(layout)


def test_two_processes_write_the_same_bytes_as_one(tmp_path):
    one = files_after_one_run(tmp_path / "one", photos=4)
    assert files_after_one_run(tmp_path / "two", processes(2), photos=4) == one


def test_the_order_of_photos_and_rows_is_irrelevant(tmp_path):
    one = files_after_one_run(tmp_path / "one", photos=5)
    layout = tiny_dataset(tmp_path / "other", photos=5)
    kept = {path.name: path.read_bytes() for path in layout.photos.iterdir()}
    shutil.rmtree(layout.photos)
    layout.photos.mkdir()
    for name in sorted(kept, reverse=True):
        (layout.photos / name).write_bytes(kept[name])
    header, *rows = (layout.root / "sources.csv").read_text().splitlines()
    (layout.root / "sources.csv").write_text("\n".join([header, *rows[::-1]]))
    run(layout)
    assert files(layout) == one


def test_a_changed_source_row_changes_that_record_alone(tmp_path):
    layout = tiny_dataset(tmp_path, photos=4, buckets=1)
    run(layout)
    before, changed = records(layout), lineage(layout)["drawn_02.png"].record_id
    write_sources(
        tmp_path,
        [source_row(f"drawn_0{n}.png", f"person {n}", **({"origin": "x"} if n == 2 else {})) for n in range(4)],
    )
    run(layout)
    after = records(layout)
    assert {i for i in before if before[i] != after[i]} == {changed}
    assert after[changed].origin == "x"
    assert after[changed].image == before[changed].image


def test_changed_landmarks_change_that_record_alone(tmp_path):
    layout = tiny_dataset(tmp_path, photos=3, buckets=1)
    run(layout)
    before, changed = records(layout), lineage(layout)["drawn_01.png"].record_id
    data = json.loads(layout.landmarks.read_text())
    data["drawn_01.png"][0]["landmarks"][0][0] += 1
    layout.landmarks.write_text(json.dumps(data))
    run(layout)
    assert {i for i, record in records(layout).items() if record != before[i]} == {changed}


def test_a_run_killed_between_tables_and_shard_leaves_no_old_facts(tmp_path):
    """New lineage beside an old shard must not vouch for the old record: its licence is out of date."""
    layout = tiny_dataset(tmp_path, photos=2, buckets=1)
    run(layout)
    (shard,) = shard_paths(layout.pristine)
    old = shard.read_bytes()
    write_sources(tmp_path, [source_row(f"drawn_0{n}.png", f"person {n}", licence="CC-BY-4.0") for n in range(2)])
    run(layout)
    shard.write_bytes(old)
    (layout.pristine / "manifest.json").unlink()
    run(layout)
    assert {record.licence for record in records(layout).values()} == {"CC-BY-4.0"}


def test_nothing_is_made_when_nothing_changed_and_only_what_must_be_when_something_did(tmp_path):
    layout = tiny_dataset(tmp_path, photos=4)
    run(layout)
    first = files(layout)
    assert made_anew(layout) == []
    assert files(layout) == first
    home = bucket_of(lineage(layout)["drawn_00.png"].group_id, 2)
    data = json.loads(layout.landmarks.read_text())
    data["drawn_00.png"][0]["landmarks"][0][0] += 1
    layout.landmarks.write_text(json.dumps(data))
    assert made_anew(layout) == [f"bucket-{home:04d}.parquet"]


def test_a_copy_that_comes_later_never_takes_a_photos_place(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)
    run(layout)
    before = records(layout)
    shutil.copy(layout.photos / "drawn_01.png", layout.photos / "a copy.png")
    rows = [source_row(f"drawn_0{n}.png", f"person {n}") for n in range(2)]
    write_sources(tmp_path, [*rows, source_row("a copy.png", "somebody else", licence="CC-BY-4.0")])
    assert run(layout).rejections == {"duplicate_photo": 1}
    assert records(layout) == before
    (row,) = read_table(layout.pristine / "rejections.parquet", Rejection)
    assert (row.path, row.detail) == ("a copy.png", "the same bytes as 'drawn_01.png'")


def test_a_removed_photo_takes_its_record_along(tmp_path):
    layout = tiny_dataset(tmp_path, photos=3)
    run(layout)
    before = records(layout)
    (layout.photos / "drawn_02.png").unlink()
    assert run(layout).rejections == {"photo_missing": 1}
    assert set(lineage(layout)) == {"drawn_00.png", "drawn_01.png"}
    assert records(layout).items() < before.items()


def test_photos_of_one_subject_share_a_group_and_nothing_private_is_in_the_shards(tmp_path):
    subjects = ["Xanthippe Quill", "Xanthippe Quill", "", "Zebedee Wright"]
    layout = tiny_dataset(tmp_path, photos=4, subjects=subjects)
    for number in range(4):
        source = layout.photos / f"drawn_0{number}.png"
        source.rename(layout.photos / f"secret_name_{number}.png")
    layout.landmarks.write_text(
        layout.landmarks.read_text().replace("drawn_", "secret_name_").replace("name_0", "name_")
    )
    rows = [
        source_row(f"secret_name_{n}.png", s, withdrawal="mail@example.org", origin_id=f"id {n}")
        for n, s in enumerate(subjects)
    ]
    write_sources(tmp_path, rows)
    assert run(layout).rows == 4
    known = lineage(layout)
    groups = [known[f"secret_name_{n}.png"].group_id for n in range(4)]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    hashes = [word for row in known.values() for word in (row.photo_phash, row.photo_sha256, row.item_digest)]
    private = ["secret_name", "Xanthippe", "Zebedee", "mail@example", str(tmp_path), *hashes]
    shards = list(layout.pristine.glob("bucket-*.parquet"))
    # Compressed columns hide from a search of raw bytes, hence the values too.
    searched = [path.read_bytes() for path in [*shards, layout.pristine / "manifest.json"]]
    searched += [repr(pq.read_table(path).drop(["image", "mask"]).to_pylist()).encode() for path in shards]
    assert any(b"drawn people" in data for data in searched)
    assert [word for word in private if any(word.encode() in data for data in searched)] == []


def test_another_salt_hides_the_same_subjects_otherwise(tmp_path):
    groups = []
    for word in ("one", "two"):
        layout = tiny_dataset(tmp_path / word, photos=2)
        (layout.root / "private" / "salt").write_text(word)
        run(layout)
        groups.append({row.group_id for row in lineage(layout).values()})
    assert not groups[0] & groups[1]


@pytest.mark.parametrize(("wanted", "count"), [("largest", 1), ("all", 3)])
def test_all_faces_of_a_photo_or_the_largest(tmp_path, wanted, count):
    layout = tiny_dataset(tmp_path, photos=1, ingest={"finders": ["sidecar"], "size_px": 256, "faces": wanted})
    large = drawn(0).landmarks
    small = (large - 256) * 0.5 + 256
    faces = [{"scheme": "openpose_70", "landmarks": points.tolist()} for points in (small, large, small + 2)]
    layout.landmarks.write_text(json.dumps({"drawn_00.png": faces}))
    run(layout)
    rows = sorted(read_table(layout.lineage, Lineage), key=lambda row: row.face_index)
    assert [row.face_index for row in rows] == ([1] if count == 1 else [0, 1, 2])
    assert len({row.record_id for row in rows}) == count


def test_the_id_of_a_record_follows_from_photo_face_template_and_size_alone(tmp_path):
    ids = {}
    for word, changes in {
        "plain": {},
        "finder": {"finders": ["sidecar", "mediapipe"]},
        "size": {"size_px": 512},
        "template": {"template": "arcface_112"},
    }.items():
        layout = tiny_dataset(tmp_path / word, photos=1, ingest={"finders": ["sidecar"], "size_px": 256} | changes)
        run(layout)
        (ids[word],) = records(layout)
    assert ids["plain"] == ids["finder"]
    assert len({ids["plain"], ids["size"], ids["template"]}) == 3


def test_a_section_of_the_recipe_that_changed_makes_everything_anew(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2, buckets=1)
    run(layout)
    recipe = yaml.safe_load(layout.recipe.read_text())
    layout.recipe.write_text(yaml.safe_dump(recipe | {"tolerate": {"ingest": 0.1}}))
    assert made_anew(layout) == []
    recipe["ingest"]["template"] = "arcface_112"
    layout.recipe.write_text(yaml.safe_dump(recipe))
    assert made_anew(layout) == ["bucket-0000.parquet"]
    assert {record.template for record in records(layout).values()} == {"arcface_112"}


def test_trusting_weights_that_are_not_read_makes_nothing_anew(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)
    run(layout)
    recipe = yaml.safe_load(layout.recipe.read_text(encoding="utf-8"))
    recipe["ingest"]["models"] = {"facexlib/parsing_bisenet.pth": "0" * 64}
    layout.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert made_anew(layout) == []


def test_embeddings_are_carried_over_as_they_were_written(tmp_path):
    layout = tiny_dataset(tmp_path, photos=3, buckets=1)
    run(layout)
    (shard,) = shard_paths(layout.pristine)
    side, given = side_path(layout.pristine, shard.stem, Lineage), [[0.6, 0.8], None, [1.0, 0.0]]
    noted = [replace(row, embedding=one) for row, one in zip(read_table(side, Lineage), given, strict=True)]
    write_table(side, noted, Lineage)
    kept, footer = list(read(layout.pristine)), read_footer(shard)
    writer = ShardWriter(shard, Record)
    for record in kept:
        writer.add(record)
    writer.close(replace(footer, side=footer.side | {"Lineage": file_sha256(side)}))
    assemble_manifest(layout.pristine, "ingest", [shard.stem])
    wanted = {row.path: row for row in read_table(side, Lineage)}
    tiny_dataset(tmp_path, photos=4, buckets=1)
    assert made_anew(layout) == [shard.name]
    assert {path: row for path, row in lineage(layout).items() if path in wanted} == wanted
    assert len(lineage(layout)) == 4


def test_a_lineage_that_is_torn_or_of_other_columns_is_written_again(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)
    run(layout)
    whole = layout.lineage.read_bytes()
    pq.write_table(pq.read_table(layout.lineage).drop_columns(["photo_sha256"]), layout.lineage)
    run(layout)
    assert layout.lineage.read_bytes() == whole
    layout.lineage.write_bytes(whole[:-9])
    run(layout)
    assert layout.lineage.read_bytes() == whole


def test_one_process_writes_at_a_time(tmp_path):
    layout = tiny_dataset(tmp_path, photos=1)
    with lock(layout.pristine), pytest.raises(LockedError, match="is being written by another process"):
        run(layout)


def test_photos_in_folders_and_behind_links_inside_are_found(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)
    (layout.photos / "deep" / "down").mkdir(parents=True)
    (layout.photos / "drawn_01.png").rename(layout.photos / "deep" / "down" / "x.png")
    (layout.photos / "link.png").symlink_to("deep/down/x.png")
    points = json.loads(layout.landmarks.read_text())
    layout.landmarks.write_text(
        json.dumps({"drawn_00.png": points["drawn_00.png"], "deep/down/x.png": points["drawn_01.png"]})
    )
    write_sources(tmp_path, [source_row("*")])
    assert run(layout).rejections == {"duplicate_photo": 1}
    assert set(lineage(layout)) == {"drawn_00.png", "deep/down/x.png"}


def test_a_row_for_all_speaks_only_where_no_other_does(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)
    write_sources(tmp_path, [source_row("*", origin="the rest"), source_row("drawn_01.png", origin="named")])
    run(layout)
    origins = {row.path: records(layout)[row.record_id].origin for row in read_table(layout.lineage, Lineage)}
    assert origins == {"drawn_00.png": "the rest", "drawn_01.png": "named"}
