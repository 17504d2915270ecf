"""A search for what must be gone that shares no code with ours: every file as it lies, and all that it packs.

Packed are cells of Parquet (decoded by pyarrow), cells of SQLite, gzip and zip, texts of PNG, and base64 in pages.
"""

import base64
import gzip
import html
import io
import json
import re
import sqlite3
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
from PIL import Image

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def spellings(word: str) -> set[bytes]:
    """Return how tables, pages, addresses and JSON may spell a word."""
    doubled = word.replace('"', '""')
    escaped = {json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1], html.escape(word), quote(word)}
    return {told.encode() for told in {word, doubled, *escaped}} | {word.encode("utf-16-le")}


def find(roots: Iterable[Path], sought: Mapping[str, Iterable[bytes]]) -> dict[str, set[Path]]:
    """Return the files below some folders that hold what is sought, by the kind of it; their names count, too."""
    found: dict[str, set[Path]] = defaultdict(set)
    for root in roots:
        for path in (path for path in root.rglob("*") if path.is_file() or path.is_symlink()):
            said = [str(path.relative_to(root)).encode(), *(unpacked(path.read_bytes()) if path.is_file() else ())]
            told = b"\0".join(said)
            for kind, words in sought.items():
                if any(word in told for word in words):
                    found[kind].add(path)
    return dict(found)


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield some bytes, and everything that is packed in them."""
    yield data
    for magic, inner in _PACKED.items():
        if data.startswith(magic):
            yield from inner(data)
    if b"base64," in data:
        for match in _BASE64.finditer(data):
            with suppress(ValueError):
                yield from unpacked(base64.b64decode(match[0]))


def _of_parquet(data: bytes) -> Iterator[bytes]:
    table = pq.read_table(io.BytesIO(data))
    yield from _cells(dict(table.schema.metadata or {}))
    for column in table.columns:
        yield from _cells(column.to_pylist())


def _cells(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield from _cells([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _cells(item)
    elif isinstance(value, bytes):
        yield from unpacked(value)
    elif value is not None and not isinstance(value, int | float):
        yield str(value).encode()


def _of_sqlite(data: bytes) -> Iterator[bytes]:
    with closing(sqlite3.connect(":memory:")) as base:
        # A file in write-ahead mode cannot be opened from memory: its header says so in two bytes.
        base.deserialize(data[:18] + b"\x01\x01" + data[20:])
        base.text_factory = bytes
        for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in base.execute(f'SELECT * FROM "{table.decode()}"'):
                yield from _cells(row)


def _of_gzip(data: bytes) -> Iterator[bytes]:
    yield from unpacked(gzip.decompress(data))


def _of_zip(data: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name.encode()
            yield from unpacked(archive.read(name))


def _of_png(data: bytes) -> Iterator[bytes]:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        yield from _cells({name: value for name, value in picture.info.items() if isinstance(value, str | bytes)})


_PACKED = {
    b"PAR1": _of_parquet, b"SQLite format 3\0": _of_sqlite, b"\x1f\x8b": _of_gzip, b"PK\x03\x04": _of_zip,
    b"\x89PNG": _of_png,
}  # fmt: skip
