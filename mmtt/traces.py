"""Traces: a search of every file below a folder for words that must not be there, through whatever packs them.

Raw bytes of each file, its name, the decoded columns of Parquet files (their pages are compressed), the cells of SQLite
files (long ones are cut into pages), compressed texts of PNG, and what is inside gzip, bzip2, xz and zip files. What is
packed twice, or cannot be unpacked, is told: nobody knows what it holds.
"""

import bz2
import gzip
import lzma
import os
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmtt.removal import STAYS, Trace

_BLOCK = 1 << 24  # bytes that are searched at once
_UNPACKED = 1 << 32  # a packed file is read this far
_SURE = 8  # shorter words are met in pictures by chance
_HEX = np.zeros(256, bool)
_HEX[list(b"0123456789abcdef")] = True
_LEAST_HEX = 16
_LARGE = 1 << 10  # bytes of a value on average
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}
_PICTURES = (b"PAR1", b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
_PNG = b"\x89PNG\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
_PACKED = (*_COMPRESSED, _ZIP, b"PAR1", b"SQLite format 3\0")
_UNREADABLE = (
    OSError, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, sqlite3.Error, pa.ArrowException,
)  # fmt: skip


class Needles:
    """Words to be found in bytes, each with the name of its kind. A word is met where no letter or digit touches it.

    Words of the kind `STAYS` are not sought: where one of them stands, a shorter word inside it is not met.
    """

    def __init__(self, needles: Mapping[bytes, str]) -> None:
        sought = {word: kind for word, kind in needles.items() if kind != STAYS}
        hexes = {word: kind for word, kind in sought.items() if len(word) >= _LEAST_HEX and _is_hex(word)}
        self._hexes = hexes
        self._lengths = sorted({len(word) for word in hexes})
        self._words = {word: kind for word, kind in sought.items() if word not in hexes}
        stay = [word for word, kind in needles.items() if kind == STAYS]
        self._around = {word: _around(word, stay) for word in self._words}
        self.longest = max(map(len, needles), default=0)

    def met(self, data: bytes, *, first: bool = True, last: bool = True, sure: bool = False) -> set[str]:
        """Return the kinds of the words in a piece of bytes.

        Args:
            data: the piece.
            first: whether nothing comes before it; else a word that touches that end is left for another piece.
            last: whether nothing comes behind it.
            sure: whether short words are passed over.
        """
        kinds = self._met_hexes(data)
        for word, kind in self._words.items():
            if kind not in kinds and not (sure and len(word) < _SURE):
                around = self._around[word]
                if any(not _is_inside(at, around, data, first, last) for at in _standing(word, data, first, last)):
                    kinds.add(kind)
        return kinds

    def _met_hexes(self, data: bytes) -> set[str]:
        kinds: set[str] = set()
        if not self._hexes:
            return kinds
        ok = _HEX[np.frombuffer(data, np.uint8)]
        for shift in (1, 2, 4, 8):  # runs of 2, 4, 8, then 16 digits
            ok = ok[:-shift] & ok[shift:]
        for start in np.flatnonzero(ok).tolist():
            for length in self._lengths:
                kind = self._hexes.get(data[start : start + length])
                if kind is not None:
                    kinds.add(kind)
        return kinds


def _is_hex(word: bytes) -> bool:
    return bool(_HEX[np.frombuffer(word, np.uint8)].all())


def _around(word: bytes, stay: Iterable[bytes]) -> list[tuple[bytes, int]]:
    """The longer words that hold a word, and where in each."""
    starts = ((longer, start) for longer in stay if longer != word for start in range(len(longer)))
    return [(longer, start) for longer, start in starts if longer.startswith(word, start)]


def _standing(word: bytes, data: bytes, first: bool, last: bool) -> Iterator[int]:
    """Yield where a word is there as a word: `person 1` is not met in `person 12`."""
    at = data.find(word)
    while at >= 0:
        if _stands(word, at, data, first, last):
            yield at
        at = data.find(word, at + 1)


def _stands(word: bytes, at: int, data: bytes, first: bool, last: bool) -> bool:
    end = at + len(word)
    if (not at and not first) or (end >= len(data) and not last):
        return False  # another piece tells
    ends = (data[at - 1 : at], word[:1]), (word[-1:], data[end : end + 1])
    return not any(left.isalnum() and right.isalnum() for left, right in ends)


def _is_inside(at: int, around: Iterable[tuple[bytes, int]], data: bytes, first: bool, last: bool) -> bool:
    """Whether a word that stands somewhere is a part of a longer one that stays, or another piece tells."""
    for longer, place in around:
        start = at - place
        if (start < 1 and not first) or (start + len(longer) >= len(data) and not last):
            return True
        if start >= 0 and data.startswith(longer, start) and _stands(longer, start, data, first, last):
            return True
    return False


def search(
    root: Path, needles: Mapping[bytes, str], spared: Mapping[str, Collection[str]] | None = None
) -> list[Trace]:
    """Return what every file below a folder, and its name, holds of some words; a trace for each file and kind.

    Links are not followed, but `root` may be one.

    Args:
        root: the folder; nothing is found where there is none.
        needles: words, each with the name of its kind.
        spared: kinds that a file may hold, by its path below the folder with `/`.
    """
    wanted, found = Needles(needles), []
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        allowed = (spared or {}).get(name, ())
        shown = {f"{kind} in its name" for kind in wanted.met(os.fsencode(name))}
        found += [Trace(name, kind) for kind in sorted(shown | (_in_file(path, wanted) - set(allowed)))]
    return found


def _files(root: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*files, *(name for name in folders if os.path.islink(os.path.join(parent, name)))]):
            yield Path(parent, name)
        if not files and not folders:
            yield Path(parent)  # an empty folder still has a name


def _in_file(path: Path, needles: Needles) -> set[str]:
    if path.is_symlink():
        return needles.met(os.fsencode(path.readlink()))
    if not path.is_file():
        return set()
    try:
        with path.open("rb") as handle:
            start = handle.read(16)
            handle.seek(0)
            kinds = _in_stream(handle, needles, start.startswith(_PICTURES))
        return kinds | _unpacked(path, start, needles)
    except OSError as error:
        return {f"cannot be read ({error.strerror})"}


def _in_stream(handle: IO[bytes], needles: Needles, sure: bool = False, most: int | None = None) -> set[str]:
    """Search a file block by block; what ends a block begins the next, so that nothing is cut."""
    kinds: set[str] = set()
    tail, read = b"", 0
    block = handle.read(_BLOCK)
    if most is not None and block.startswith(_PACKED):
        kinds.add("is packed twice, and was not searched")
    while block:
        read += len(block)
        following = handle.read(_BLOCK)
        piece = tail + block
        kinds |= needles.met(piece, first=len(piece) == read, last=not following, sure=sure)
        tail = piece[-2 * (needles.longest + 1) :]
        if most is not None and read > most and following:
            return kinds | {"is too large to be searched to its end"}
        block = following
    return kinds


def _unpacked(path: Path, start: bytes, needles: Needles) -> set[str]:
    try:
        if start.startswith(b"PAR1"):
            return _in_texts(_parquet_texts(path), needles)
        if start.startswith(b"SQLite format 3\0"):
            return _in_texts(_sqlite_texts(path), needles)
        if start.startswith(_PNG):
            return _in_texts(_png_texts(path), needles)
        if start.startswith(_ZIP):
            return _in_zip(path, needles)
        for magic, opened in _COMPRESSED.items():
            if start.startswith(magic):
                with opened(path) as handle:
                    return _in_stream(handle, needles, most=_UNPACKED)
    except _UNREADABLE as error:
        return {f"cannot be unpacked ({type(error).__name__})"}
    return set()


def _in_zip(path: Path, needles: Needles) -> set[str]:
    kinds: set[str] = set()
    with zipfile.ZipFile(path) as packed:
        for item in packed.infolist():
            kinds |= needles.met(os.fsencode(item.filename))
            with packed.open(item) as handle:
                kinds |= _in_stream(handle, needles, most=_UNPACKED)
    return kinds


def _png_texts(path: Path) -> Iterator[list[bytes]]:
    """Yield the texts of a PNG file, unpacked: in the file itself a checksum touches their ends."""
    with path.open("rb") as handle:
        handle.seek(len(_PNG))
        while len(head := handle.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind not in (b"tEXt", b"zTXt", b"iTXt"):
                handle.seek(length + 4, os.SEEK_CUR)
                continue
            keyword, _, text = handle.read(length + 4)[:-4].partition(b"\0")
            packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
            if kind != b"tEXt":
                text = text[1:] if kind == b"zTXt" else text[2:].split(b"\0", 2)[-1]
            yield [keyword, zlib.decompressobj().decompress(text, _BLOCK) if packed else text]


def _in_texts(texts: Iterable[list[bytes]], needles: Needles) -> set[str]:
    kinds: set[str] = set()
    for group in texts:
        kinds |= needles.met(b"\n".join(group))
    return kinds


def _parquet_texts(path: Path) -> Iterator[list[bytes]]:
    """Yield the values of each column chunk whose bytes do not lie open in the file."""
    with closing(pq.ParquetFile(path, pre_buffer=False)) as file:
        for group in range(file.num_row_groups):
            packed = [name for name, column in _chunks(file, group) if not _lies_open(column)]
            if packed:
                yield from _values(file.read_row_group(group, columns=packed, use_threads=False))


def _chunks(file: pq.ParquetFile, group: int) -> Iterator[tuple[str, Any]]:
    described = file.metadata.row_group(group)
    for number in range(described.num_columns):
        column = described.column(number)
        if column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
            yield column.path_in_schema, column


def _lies_open(column: Any) -> bool:
    """Whether the values are pictures as they are; the lengths of shorter ones may touch what precedes them."""
    large = column.total_uncompressed_size > _LARGE * column.num_values
    return large and column.compression == "UNCOMPRESSED" and set(column.encodings) <= _PLAIN


def _values(table: pa.Table) -> Iterator[list[bytes]]:
    for column in table.columns:
        for chunk in column.chunks:
            yield [_encoded(value) for value in _leaves(chunk).to_pylist() if value is not None]


def _leaves(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _leaves(array.dictionary_decode())
    if pa.types.is_struct(kind):
        parts = [part.cast(pa.large_binary()) for part in map(_leaves, array.flatten()) if _is_text(part.type)]
        return pa.concat_arrays([pa.array([], pa.large_binary()), *parts])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(array.flatten())
    return array


def _is_text(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    )  # fmt: skip
    return any(test(kind) for test in tests)


def _encoded(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else str(value).encode("utf-8", "surrogatepass")


def _sqlite_texts(path: Path) -> Iterator[list[bytes]]:
    """Yield the cells of each row; the file is not written to, nor is anything beside it."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as base:
        base.text_factory = bytes
        names = [name.decode() for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            quoted = name.replace('"', '""')
            with suppress(sqlite3.OperationalError):  # a virtual table; what it shows lies in others
                for row in base.execute(f'SELECT * FROM "{quoted}"'):
                    yield [_encoded(cell) for cell in row if cell is not None]
