import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt.errors import LockedError, SchemaError, UserError
from mmtt.files import lock, replacing, write_atomically
from mmtt.ids import derived_id, digest
from mmtt.manifest import Manifest, assemble_manifest, read, read_columns
from mmtt.record import IMAGE, SCHEMA_VERSION, Lineage, Record, Rejection
from mmtt.schema import arrow_schema
from mmtt.shards import Footer, Lookup, Shard, ShardWriter, leaf, read_footer, read_table, side_path, write_table
from tests.factories import make_forged_record, make_record

REPO = Path(__file__).parents[2]
FOOTER = Footer("ingest", "inputs", "fingerprint", side={"Rejection": "0" * 64})


def write_shard(path, records, footer=FOOTER, **options):
    writer = ShardWriter(path, Record, **options)
    for record in records:
        writer.add(record)
    writer.close(footer)
    return path


def rewritten(path, *, drop=(), footer=None, version=None):
    """The same shard with columns dropped, another footer, or another version in every row."""
    table = pq.read_table(path)
    if version is not None:
        place = table.column_names.index("schema_version")
        table = table.set_column(place, "schema_version", pa.array([version] * table.num_rows, pa.int32()))
    table = table.drop_columns(list(drop))
    known = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"mmtt"}
    pq.write_table(table.replace_schema_metadata(known | ({b"mmtt": footer} if footer else {})), path)
    return path


def finished(directory, names, records_of):
    for name in names:
        directory.mkdir(exist_ok=True)
        write_shard(directory / f"{name}.parquet", records_of(name))
        write_table(side_path(directory, name, Rejection), [], Rejection)
    return assemble_manifest(directory, "ingest", names)


def test_records_survive_a_shard(tmp_path):
    records = [make_record(0), make_forged_record(1, intent=b"x", split="train", report_regions=[0, 1] * 10 + [1])]
    (back, forged) = Shard(write_shard(tmp_path / "a.parquet", records)).records()
    exact = {"image", "mask", "pristine", "alpha", "change", "intent", "parameters", "regions", "report_regions"}
    assert {name: getattr(forged, name) for name in exact} == {name: getattr(records[1], name) for name in exact}
    assert np.allclose(forged.landmarks, records[1].landmarks)
    assert forged.mask_share == pytest.approx(records[1].mask_share)
    rest = {"landmarks", "mask_share", "change_mean", "region_shares"}
    assert replace(back, **{n: getattr(records[0], n) for n in rest}) == records[0]


def test_footer_round_trip(tmp_path):
    path = write_shard(tmp_path / "a.parquet", [make_record()])
    assert read_footer(path) == FOOTER
    assert FOOTER.schema_version == SCHEMA_VERSION


def test_what_is_absent_torn_or_foreign_has_no_footer(tmp_path):
    whole = write_shard(tmp_path / "a.parquet", [make_record()]).read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[:-20])
    (tmp_path / "text.parquet").write_text("text")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    for name in ("absent", "torn", "text", "foreign"):
        assert read_footer(tmp_path / f"{name}.parquet") is None


def test_an_exception_while_writing_leaves_nothing_and_keeps_what_was_there(tmp_path):
    old = write_shard(tmp_path / "old.parquet", [make_record()]).read_bytes()
    for name in ("new", "old"):
        with pytest.raises(ZeroDivisionError), replacing(tmp_path / f"{name}.parquet") as temporary:
            writer = ShardWriter(temporary, Record, rows_per_group=1)
            writer.add(make_record(1))
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["old.parquet"]
    assert (tmp_path / "old.parquet").read_bytes() == old


def test_a_shard_in_the_making_is_matched_by_no_pattern_for_shards(tmp_path):
    with replacing(tmp_path / "a.parquet") as temporary:
        write_shard(temporary, [make_record()])
        assert list(tmp_path.glob("*.parquet")) == list(tmp_path.rglob("**/*.parquet")) == []
        assert temporary.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_killed_writer_leaves_no_shard(tmp_path):
    """Killed, not stopped: no `finally` runs, and still the final name is absent."""
    code = f"""
import os, pathlib
from mmtt.files import replacing
with replacing(pathlib.Path({str(tmp_path / "a.parquet")!r})) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == -9
    assert list(tmp_path.glob("*.parquet")) == []


def test_bytes_are_replaced_whole(tmp_path):
    path = tmp_path / "manifest.json"
    for data in (b"first", b"second, longer"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_row_groups_are_small(tmp_path):
    tiny = make_record(0, 16)
    shard = pq.read_metadata(
        write_shard(tmp_path / "many.parquet", (replace(tiny, origin_id=str(i)) for i in range(450)))
    )
    assert max(shard.row_group(i).num_rows for i in range(shard.num_row_groups)) <= 200
    assert shard.num_rows == 450
    noise = np.random.default_rng(0).bytes(7_000_000)
    large = pq.read_metadata(write_shard(tmp_path / "large.parquet", [replace(tiny, image=noise)] * 8))
    assert max(large.row_group(i).total_byte_size for i in range(large.num_row_groups)) <= 100_000_000
    assert [large.row_group(i).num_rows for i in range(large.num_row_groups)] == [3, 3, 2]


def test_columns_are_stored_as_the_hub_wants_them(tmp_path):
    metadata = pq.read_metadata(write_shard(tmp_path / "a.parquet", [make_forged_record(i) for i in range(3)]))
    group = metadata.row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    images = {f.name for f in arrow_schema() if f.type == IMAGE}
    for path, chunk in chunks.items():
        assert chunk.has_offset_index, path
        assert chunk.compression == ("UNCOMPRESSED" if path.split(".")[0] in images else "ZSTD"), path
    assert chunks["record_id"].has_column_index
    assert {leaf(f.name, f.type) for f in arrow_schema() if pa.types.is_list(f.type)} <= set(chunks)
    assert not any(chunks[f"{name}.bytes"].statistics for name in images)


def test_the_same_records_give_the_same_bytes(tmp_path):
    paths = [write_shard(tmp_path / name, [make_record(0), make_forged_record(1)]) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_null_where_a_value_must_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Record.licence must not be null"):
        write_shard(tmp_path / "a.parquet", [make_record(licence=None)])


def test_a_newer_schema_is_refused_with_the_advice_to_upgrade(tmp_path):
    path = write_shard(tmp_path / "a.parquet", [make_record()], replace(FOOTER, schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(
        SchemaError, match=rf"a.parquet has schema version {SCHEMA_VERSION + 1}.*Upgrade mmtt"
    ) as caught:
        Shard(path)
    assert "\n" not in str(caught.value)
    finished(tmp_path / "d", ["s"], lambda _: [make_record()])
    manifest = tmp_path / "d" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99, "new": 1}))
    with pytest.raises(SchemaError, match="Upgrade mmtt"):
        list(read(tmp_path / "d"))


@pytest.mark.parametrize("footer", [b"{", b"[]", b"{}", b'{"schema_version": "x"}', b'{"schema_version": 0}'])
def test_a_footer_without_a_version_is_a_sentence(tmp_path, footer):
    path = rewritten(write_shard(tmp_path / "a.parquet", [make_record()]), footer=footer)
    with pytest.raises(SchemaError, match=r"a.parquet has .*Run the stage again"):
        Shard(path)


def test_a_shard_of_version_1_is_migrated(tmp_path):
    records = [make_forged_record(i, obligations=[]) for i in range(3)]
    footer = json.dumps({"stage": "forge", "input_digest": "i", "fingerprint": "f", "schema_version": 1}).encode()
    path = write_shard(tmp_path / "a.parquet", records)
    expected = list(Shard(path).records())
    old = Shard(rewritten(path, drop=["obligations", "mask_tau"], footer=footer, version=1))
    assert old.version == 1
    assert list(old.records()) == expected
    assert old.column("obligations") == [[[], [], []]]
    assert old.column("mask_tau") == [[0, 0, 0]]


ADDED = {2: ["obligations", "mask_tau"], 3: ["raw", "parsing", "parser", "parsed_regions", "code_sha256"]}


@pytest.mark.parametrize("version", [1, 2])
def test_a_shard_of_an_older_version_gets_the_columns_added_since(tmp_path, version):
    path = write_shard(tmp_path / "a.parquet", [make_forged_record(i, obligations=[]) for i in range(2)])
    expected = list(Shard(path).records())
    footer = json.dumps({"schema_version": version}).encode()
    added = [name for since, names in ADDED.items() if since > version for name in names]
    assert list(Shard(rewritten(path, drop=added, footer=footer, version=version)).records()) == expected


def test_a_missing_column_is_named(tmp_path):
    footer = json.dumps({"schema_version": SCHEMA_VERSION}).encode()
    path = rewritten(write_shard(tmp_path / "a.parquet", [make_record()]), drop=["licence"], footer=footer)
    with pytest.raises(SchemaError, match="licence"):
        list(Shard(path).records())


@pytest.mark.parametrize("data", [b"", b"text", b"PAR1PAR1"])
def test_what_is_no_shard_is_a_sentence(tmp_path, data):
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"a.parquet is not a whole Parquet file"):
        Shard(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"b.parquet does not exist"):
        Shard(tmp_path / "b.parquet")


def test_the_manifest_comes_last_and_counts_what_is_there(tmp_path, monkeypatch):
    order = []
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, goal: (order.append(Path(goal).name), rename(self, goal))[1])
    refused = Rejection(stage="ingest", code="empty", detail="the file has no bytes", path="a.png")
    (tmp_path / "d").mkdir()
    for name, rejections in (("a", [refused]), ("b", [])):
        write_shard(tmp_path / "d" / f"{name}.parquet", [make_record()])
        write_table(side_path(tmp_path / "d", name, Rejection), rejections, Rejection)
    manifest = assemble_manifest(tmp_path / "d", "ingest", ["b", "a"], [replace(refused, code="no_licence")])
    assert order[-1] == "manifest.json"
    assert manifest == Manifest.load(tmp_path / "d")
    assert (manifest.rows, manifest.rejections) == (2, {"empty": 1, "no_licence": 1})
    assert [shard.name for shard in manifest.shards] == ["a", "b"]
    assert [r.code for r in read_table(tmp_path / "d" / "rejections.parquet", Rejection)] == ["empty", "no_licence"]


def test_equal_inputs_give_equal_manifests(tmp_path):
    for name, shards in (("one", ["x", "y"]), ("two", ["y", "x"])):
        finished(tmp_path / name, shards, lambda shard: [make_record(ord(shard))])
    one, two = ((tmp_path / name / "manifest.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_no_manifest_no_dataset(tmp_path):
    write_shard(tmp_path / "a.parquet", [make_record()])
    with pytest.raises(UserError, match=r"has no manifest.json"):
        list(read(tmp_path))
    write_table(side_path(tmp_path, "a", Rejection), [], Rejection)
    with pytest.raises(UserError, match=r"b.parquet vanished"):
        assemble_manifest(tmp_path, "ingest", ["a", "b"])
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shards": 3}', '{"schema_version": "x"}', "\x00"])
def test_a_manifest_that_cannot_be_read_is_a_sentence(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest.json cannot be read"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", ".hidden", "a\\b", ""])
def test_a_manifest_leads_to_no_shard_outside_its_folder(tmp_path, name):
    finished(tmp_path / "d", ["a"], lambda _: [make_record(0)])
    path = tmp_path / "d" / "manifest.json"
    path.write_text(path.read_text().replace('"name": "a"', f'"name": {json.dumps(name)}'))
    with pytest.raises(UserError, match="is no name of a shard"):
        Manifest.load(tmp_path / "d")


def test_read_gives_what_the_manifest_lists_and_nothing_else(tmp_path):
    finished(tmp_path / "d", ["a", "b"], lambda name: [make_record(ord(name)), make_record(ord(name) + 9)])
    write_shard(tmp_path / "d" / "stray.parquet", [make_record(1)])
    expected = [make_record(seed).record_id for seed in (97, 106, 98, 107)]
    assert [record.record_id for record in read(tmp_path / "d")] == expected
    rows = read_columns(tmp_path / "d", ["record_id", "origin"])
    assert rows == [{"record_id": record_id, "origin": "drawn people"} for record_id in expected]


def test_lookup_fetches_single_records_from_any_row_group(tmp_path):
    records = [make_record(seed, 16) for seed in range(12)]
    paths = [
        write_shard(tmp_path / f"{part}.parquet", records[part * 6 : part * 6 + 6], rows_per_group=1) for part in (0, 1)
    ]
    lookup = Lookup(paths)
    for record in [*records, *records[::-1]]:
        assert lookup.get(record.record_id).image_sha256 == record.image_sha256
    assert lookup.place(records[7].record_id) == (1, 1, 0)
    assert records[0].record_id in lookup
    assert "absent" not in lookup
    with pytest.raises(KeyError):
        lookup.get("absent")


def test_narrow_tables_survive_and_say_what_they_lack(tmp_path):
    rows = [Rejection(stage="plan", code=f"c{i}", detail="why", record_id=None) for i in range(3)]
    write_table(tmp_path / "new" / "a=b" / "r.parquet", rows, Rejection)
    assert read_table(tmp_path / "new" / "a=b" / "r.parquet", Rejection) == rows
    with pytest.raises(SchemaError, match="lacks the column"):
        read_table(tmp_path / "new" / "a=b" / "r.parquet", Lineage)
    with pytest.raises(UserError, match=r"absent.parquet does not exist"):
        read_table(tmp_path / "absent.parquet", Rejection)
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_table(tmp_path / "text.parquet", Rejection)


def test_a_second_writer_of_a_directory_is_refused(tmp_path):
    code = f"""
import pathlib, time
from mmtt.files import lock
with lock(pathlib.Path({str(tmp_path / "d")!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        with pytest.raises(LockedError, match="is being written by another process"), lock(tmp_path / "d"):
            pass
        assert time.monotonic() - began < 2
    finally:
        holder.kill()
        holder.communicate()
    with lock(tmp_path / "d"):  # the killed holder's lock is free at once
        with pytest.raises(LockedError), lock(tmp_path / "d"):
            pass
        with lock(tmp_path / "other"):
            pass
    with lock(tmp_path / "d"):
        pass


def test_what_a_killed_writer_left_is_swept_by_the_next_and_nothing_else_is(tmp_path):
    private = tmp_path.parent / "private" / tmp_path.name
    private.mkdir(parents=True)
    leftovers = [tmp_path / ".a.parquet.123.tmp", private / ".a.lineage.parquet.9.tmp"]
    theirs = [tmp_path / "notes.txt", tmp_path / ".hidden", tmp_path / "a.1.tmp", tmp_path / "a.parquet"]
    for path in (*leftovers, *theirs):
        path.write_text("x")
    with lock(tmp_path):
        assert not any(path.exists() for path in leftovers)
        assert all(path.exists() for path in theirs)
        with replacing(tmp_path / "b") as temporary:
            temporary.touch()
            with pytest.raises(LockedError), lock(tmp_path):
                pass
            assert temporary.exists()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_a_digest_depends_on_content_and_not_on_order(value):
    assert digest(value) == digest(dict(reversed(value.items())))
    assert digest(value) != digest([value])
    assert len(derived_id(value)) == 24


def test_ids_do_not_run_into_each_other():
    assert derived_id("a", "bc") != derived_id("ab", "c")
    assert derived_id("a", None) != derived_id("a")
    assert derived_id(os.fsdecode(b"\xff.jpg")) == derived_id("\udcff.jpg")


def test_ids_stay_what_they_were():
    """Published ids: a change here would orphan every report."""
    assert derived_id("pristine", "0" * 64, 0, "ffhq_512", 512) == "5a6f770138a3b58a3c575023"


FULL = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from mmtt.record import Record
from mmtt.shards import ShardWriter
from tests.factories import make_record
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
writer, record, rng = ShardWriter(Path(sys.argv[1]), Record), make_record(0), np.random.default_rng(0)
for _ in range(60):
    writer.add(replace(record, image=rng.bytes(300_000)))
writer.close()
"""


@pytest.mark.parametrize("most_bytes", [10_000, 3_000_000])
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, most_bytes):
    path = tmp_path / "a.parquet"
    command = [sys.executable, "-c", FULL, str(path), str(most_bytes)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "Arrow aborts with -6 where it sees the error in the middle of a column"
    assert done.stderr.strip().endswith(f"OSError: [Errno 27] File too large: '{path}'")
