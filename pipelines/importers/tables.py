"""Tables of pictures as others write them: CSV, TSV, JSON, JSON lines, Parquet; and IMDLBenCo's JSON of pairs."""

import csv
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmtt.errors import UserError
from mmtt.record import Rejection

from .folders import refusal

SUFFIXES = frozenset((".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"))
MAX_JSON_BYTES = 512_000_000  # held in memory whole; the other forms are streamed
MAX_LINE = 10_000_000
_BATCH_ROWS = 1000
_PIECE_BYTES = 65_536


class Table(NamedTuple):
    """A table: the names of its columns, and its rows as they come (their number from 1, and cells by column).

    A row that cannot be read is a rejection.
    """

    columns: Sequence[str]
    rows: Iterator[tuple[int, Mapping[str, Any]] | Rejection]


def read(path: Path) -> Table:
    """Open a table by its suffix, in any case.

    A JSON list of pairs [picture, mask] has the columns `image` and `mask`.

    Raises:
        UserError: no such table, no table, or more JSON than is held in memory.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    return _json(path)


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _csv(path: Path, delimiter: str) -> Table:
    # Not Arrow's reader: it takes the id 007 for the number 7, and does not say in which line a quote is missing.
    with _open(path) as file:
        try:
            columns = next(csv.reader(_bounded(path, file), delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise UserError(f"{path} cannot be read as a table: {error}.") from error
    return Table(columns, _csv_rows(path, delimiter))


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]] | Rejection]:
    with _open(path) as file:
        reader = csv.DictReader(_bounded(path, file), delimiter=delimiter, strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise UserError(f"{path} cannot be read after line {reader.line_num}: {error}.") from error
            if row is None:
                return
            if None in row:
                yield _bad_row(path, reader.line_num, "longer than the header; quote a field that holds a comma")
            else:
                yield reader.line_num, row


def _json_lines(path: Path) -> Table:
    columns: dict[str, None] = {}
    for _, row in zip(range(_BATCH_ROWS), _lines(path), strict=False):
        if not isinstance(row, Rejection):
            columns.update(dict.fromkeys(row[1]))
    return Table(list(columns), _lines(path))


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | Rejection]:
    with _open(path) as file:
        for number, line in enumerate(_bounded(path, file), 1):
            if line.strip():
                yield _line(path, number, line)


def _bounded(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file; as Python reads them, one without an end would be held in memory whole."""
    for number in itertools.count(1):
        try:
            line = file.readline(MAX_LINE)
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is no UTF-8 at line {number}: {error}.") from error
        if len(line) >= MAX_LINE:
            raise UserError(f"{path}, line {number} has {MAX_LINE:,} characters or more; is that a table?")
        if not line:
            return
        yield line


def _line(path: Path, number: int, line: str) -> tuple[int, Mapping[str, Any]] | Rejection:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _bad_row(path, number, f"no JSON: {str(error)[:200]}")
    return (number, row) if isinstance(row, dict) else _bad_row(path, number, "no JSON object")


def _json(path: Path) -> Table:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path} has more than {MAX_JSON_BYTES:,} bytes. Write it as JSON lines (.jsonl).")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, list):
        raise UserError(f"{path} holds no JSON list. Wanted are pairs [picture, mask], or objects.")
    named = {key: None for row in data if isinstance(row, dict) for key in row}
    columns = [*named, *(("image", "mask") if any(isinstance(row, list) for row in data) else ())]
    return Table(list(dict.fromkeys(columns)), (_entry(path, number, row) for number, row in enumerate(data, 1)))


def _entry(path: Path, number: int, entry: Any) -> tuple[int, Mapping[str, Any]] | Rejection:
    if isinstance(entry, dict):
        return number, entry
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(cell, str) for cell in entry):
        return number, {"image": entry[0], "mask": entry[1]}
    return _bad_row(path, number, "neither an object nor a pair [picture, mask]")


def _parquet(path: Path) -> Table:
    with open_parquet(path) as file:
        fields = list(file.schema_arrow)
    # Whole pictures are not to be read beside the paths of others.
    columns = [field.name for field in fields if not (pa.types.is_struct(field.type) or _is_bytes(field.type))]
    if any(field.name == "image" for field in fields) and "image" not in columns:
        raise UserError(f"{path} holds pictures, not their paths. `mmtt import hub` reads such.")
    return Table(columns, enumerate(parquet_rows(path, columns, _BATCH_ROWS), 1))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for reading in pieces.

    Raises:
        UserError: it cannot be read.
    """
    try:
        # In pieces, so that memory does not follow the size of row groups.
        return pq.ParquetFile(path, buffer_size=_PIECE_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {str(error)[:200]}. Get it again.") from error


def parquet_rows(path: Path, columns: Sequence[str], rows: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, some columns as plain values; at most `rows` of them are in memory.

    Raises:
        UserError: it is damaged.
    """
    with open_parquet(path) as file:
        batches = file.iter_batches(batch_size=rows, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
                plain = [] if batch is None else batch.to_pylist()
            except (pa.ArrowException, OSError, ValueError) as error:
                raise UserError(f"{path} is damaged: {str(error)[:200]}. Get it again.") from error
            if batch is None:
                return
            yield from plain


def _bad_row(path: Path, number: int, why: str) -> Rejection:
    return refusal(f"{path.name}:{number}", "bad_row", f"line or entry {number} is {why}")
