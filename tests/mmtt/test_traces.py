"""The search for what must not be there: through packing, across blocks, and only whole words."""

import bz2
import csv
import gzip
import html
import io
import json
import lzma
import re
import sqlite3
import unicodedata
import zipfile
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape
from PIL import Image, PngImagePlugin

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


STAYS = {b"Jane Doe": "a name", b"doe/1.png": "a path", b"Jane Doe-Smith": "", b"old/doe/1.png": "", b"Mr Jane Doe": ""}


@pytest.mark.parametrize(("text", "there"), [
    (b"Jane Doe-Smith", set()), (b"Mr Jane Doe", set()), (b"x, Jane Doe-Smith, y", set()), (b"Jane Doe", {"a name"}),
    (b"Jane Doe-Smithy", {"a name"}), (b"Jane Doe-Jones", {"a name"}), (b"Jane Doe-Smith\nJane Doe", {"a name"}),
    (b"Jane Doe\nJane Doe-Smith", {"a name"}), (b"old/doe/1.png", set()), (b"new/doe/1.png", {"a path"}),
])  # fmt: skip
def test_a_name_is_not_met_in_a_longer_one_that_stays(tmp_path, monkeypatch, text, there):
    for block in (1 << 24, 40, 7, 1):
        monkeypatch.setattr(traces, "_BLOCK", block)
        for before in (b"", b"." * 33, b"." * 80):
            (tmp_path / "a.txt").write_bytes(before + text)
            (tmp_path / "a.gz").write_bytes(gzip.compress(before + text + b"." * 50))
            assert {trace.what for trace in search(tmp_path, STAYS)} == there, (block, before)
    table = pa.table({"who": text.decode().split("\n")})
    pq.write_table(table, tmp_path / "a.txt")
    assert {trace.what for trace in search(tmp_path, STAYS)} == there


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


def test_what_is_found_everywhere_by_chance_is_not_sought():
    removal = Removal(asked="", records=(), pristine=(), photos=(), subjects=("Li", "2880"),
                      origin_ids=("00003", "id-7"), digests=(), phashes=())  # fmt: skip
    assert needles(removal) == {b"id-7": "an id at an origin"}


NAME = 'Zoë "Z" O\'Neill <é>'


def csv_line(text: str) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([text])
    return out.getvalue()


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inside", data)
    return out.getvalue()


def png(how: str) -> bytes:
    out, texts = io.BytesIO(), PngImagePlugin.PngInfo()
    (texts.add_text if how in ("tEXt", "zTXt") else texts.add_itxt)("who", NAME, zip=how.startswith("z"))
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=texts)
    return out.getvalue()


def parquet(array: pa.Array, **how) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": array}), out, write_statistics=False, **how)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("data", [
    *(spell(NAME) for spell in (json.dumps, repr, html.escape, quote, csv_line, lambda text: str(escape(text)))),
    json.dumps(NAME, ensure_ascii=False), NAME.replace("'", "''"), unicodedata.normalize("NFD", NAME),
    *(NAME.encode(encoding) for encoding in ("utf-8", "latin-1", "utf-16")),
    *(pack(NAME.encode()) for pack in (gzip.compress, bz2.compress, lzma.compress, zipped)),
    *map(png, ("tEXt", "zTXt", "iTXt", "ziTXt")),
    *map(parquet, (
        pa.array([NAME], pa.large_string()), pa.array([NAME.encode()]), pa.array([NAME], pa.string_view()),
        pa.array([{"x": NAME}]), pa.array([{"x": NAME}], pa.struct([("x", pa.string_view())])), pa.array([[NAME]]),
        pa.array([[NAME]], pa.large_list(pa.string())), pa.array([[NAME]], pa.list_(pa.string(), 1)),
        pa.array([[(NAME, 1)]], pa.map_(pa.string(), pa.int64())), pa.array([NAME]).dictionary_encode(),
    )),
    parquet(pa.array([NAME, "x" * 65]), compression="none", use_dictionary=False),
    parquet(pa.array([NAME]), compression="none", use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}),
])  # fmt: skip
def test_a_name_is_found_however_it_is_spelt_and_packed(tmp_path, data):
    (tmp_path / "file").write_bytes(data if isinstance(data, bytes) else data.encode())
    removal = Removal(asked="", records=(), pristine=(), photos=(), subjects=(NAME,), origin_ids=(), digests=(),
                      phashes=())  # fmt: skip
    assert [trace.what for trace in search(tmp_path, needles(removal))] == ["a name"]


@pytest.mark.parametrize(("data", "what"), [
    (gzip.compress(b"x" * 100_000)[:40], r"cannot be unpacked \(EOFError\)"),
    (gzip.compress(b"hello" * 999)[:14] + b"\x07\xff\xff\xff" * 9, r"cannot be unpacked \(error\)"),
    (zipped(b"hello")[:-9], r"cannot be unpacked \(BadZipFile\)"),
    (parquet(pa.array(["hello"]))[:-9], r"cannot be unpacked \(ArrowInvalid\)"),
    (b"SQLite format 3\0" + b"\xff" * 5000, r"cannot be unpacked \(DatabaseError\)"),
    (zipped(gzip.compress(b"hello")), "is packed twice, and was not searched"),
])  # fmt: skip
def test_what_cannot_be_searched_is_told(tmp_path, data, what):
    (tmp_path / "file").write_bytes(data)
    (found,) = search(tmp_path, WANTED)
    assert re.fullmatch(what, found.what)
