"""The search for what must not be there: through packing, across blocks, and only whole words."""

import gzip
import sqlite3
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmtt import traces
from mmtt.removal import Removal, needles
from mmtt.traces import Needles, search

SHA256 = "0123456789abcdef" * 4
WANTED = {SHA256.encode(): "a digest", b"Grace Hopper": "a name", b"ab12": "a number"}


def met(tmp_path) -> dict[str, str]:
    return {trace.where: trace.what for trace in search(tmp_path, WANTED)}


@pytest.mark.parametrize("codec", ["none", "zstd", "snappy", "gzip"])
def test_parquet_is_searched_whatever_packs_it(tmp_path, codec):
    table = pa.table({"deep": [[{"a": ["x", f"by {SHA256}."]}]] * 50, "n": range(50)})
    pq.write_table(table, tmp_path / "deep.parquet", compression=codec)
    names = pa.table({"name": pa.array(["somebody", "Grace Hopper"] * 50).dictionary_encode()})
    pq.write_table(names, tmp_path / "name.parquet", compression=codec)
    assert met(tmp_path) == {"deep.parquet": "a digest", "name.parquet": "a name"}


def test_gzip_zip_and_long_cells_of_sqlite_are_searched(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 100 + b" Grace Hopper "))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inside.txt", SHA256)
    with sqlite3.connect(tmp_path / "c.sqlite") as base:
        base.execute("CREATE TABLE t (said TEXT)")
        # Across the page's end, where SQLite cuts a long cell.
        base.executemany(
            "INSERT INTO t VALUES (?)", [("." * n + " Grace Hopper" + "." * 9000,) for n in range(4030, 4100)]
        )
    base.close()
    assert met(tmp_path) == {"a.gz": "a name", "b.zip": "a digest", "c.sqlite": "a name"}


@pytest.mark.parametrize("place", [0, 90, 95, 99, 100, 101, 195, 300])
def test_a_word_across_the_end_of_a_block_is_found(tmp_path, monkeypatch, place):
    monkeypatch.setattr(traces, "_BLOCK", 100)
    (tmp_path / "a.txt").write_bytes(b"." * place + b"Grace Hopper" + b"." * 50)
    (tmp_path / "b.txt").write_bytes(b"." * place + b"Grace Hoppers" + b"." * 50)
    assert met(tmp_path) == {"a.txt": "a name"}


@pytest.mark.parametrize(("text", "there"), [
    (b"ab12", True), (b"(ab12)", True), (b"xab12", False), (b"ab123", False), (b"ab123 ab12", True), (b"", False),
])  # fmt: skip
def test_a_word_is_met_only_where_it_stands_alone(text, there):
    assert bool(Needles(WANTED).met(text)) is there


def test_short_words_are_not_sought_in_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n.ab12.")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n.Grace Hopper.")
    (tmp_path / "c.txt").write_bytes(b".ab12.")
    assert met(tmp_path) == {"b.png": "a name", "c.txt": "a number"}


def test_names_of_files_and_folders_and_ends_of_links_are_searched(tmp_path):
    (tmp_path / "Grace Hopper").mkdir()
    (tmp_path / "link").symlink_to("Grace Hopper")
    assert met(tmp_path) == {"Grace Hopper": "a name in its name", "link": "a name"}


def test_what_a_file_may_hold_is_spared(tmp_path):
    (tmp_path / "removed.csv").write_text(f"{SHA256} Grace Hopper")
    found = search(tmp_path, WANTED, {"removed.csv": {"a digest"}})
    assert [trace.what for trace in found] == ["a name"]


def test_noise_holds_nothing(tmp_path):
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(1_000_000))
    assert "noise" not in {k for k, v in met(tmp_path).items() if v != "a number"}


def test_a_name_is_sought_as_json_html_and_addresses_spell_it():
    removal = Removal(asked="", records=(), pristine=(), photos=(), subjects=("Zoë O'Neill & Co",), origin_ids=("12",),
                      digests=(), phashes=())  # fmt: skip
    assert {word.decode() for word in needles(removal)} == {
        "Zoë O'Neill & Co", "Zo\\u00eb O'Neill & Co", "Zoë O&#x27;Neill &amp; Co", "Zo%C3%AB%20O%27Neill%20%26%20Co",
    }  # fmt: skip
