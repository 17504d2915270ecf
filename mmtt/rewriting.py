"""Rewriting: a Parquet file without some of its rows. All others stay as they are, cell by cell, in their order."""

import json
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmtt.errors import UserError
from mmtt.files import PatientFile
from mmtt.record import IMAGE
from mmtt.shards import FOOTER_KEY, READ_BYTES, ROW_GROUP_BYTES, ROW_GROUP_ROWS, Footer, parquet_writer

IDS = ("record_id", "target_id", "source_id")
_NARROW_ROWS = 10_000
Goes = Callable[[pa.Table], npt.NDArray[np.bool_]]


def names_any(gone: Collection[str], columns: Collection[str] = IDS) -> Goes:
    """Return what says of each row whether one of some columns names one of some ids: bool, one each."""
    ids = pa.array(sorted(gone), pa.string())

    def goes(table: pa.Table) -> npt.NDArray[np.bool_]:
        found = np.zeros(table.num_rows, bool)
        for name in set(columns) & set(table.column_names):
            found |= pc.is_in(table.column(name).cast(pa.string()), value_set=ids).to_numpy().astype(bool)
        return found

    return goes


def count(path: Path, goes: Goes, columns: Collection[str] = IDS) -> tuple[int, int]:
    """Return how many rows of a Parquet file go, and how many it has; only some columns are read.

    `goes` says so of a table, bool, one for each row.

    Raises:
        UserError: it cannot be read.
    """
    with _opened(path) as file:
        wanted = [name for name in file.schema_arrow.names if name in columns]
        groups = range(file.num_row_groups)
        going = sum(int(goes(file.read_row_group(i, columns=wanted)).sum()) for i in groups) if wanted else 0
        return going, file.metadata.num_rows


def rewrite(source: Path, target: Path, goes: Goes, footer: Footer | None = None) -> int:
    """Write a Parquet file without some of its rows, one row group in memory at a time; return how many went.

    Row groups are cut as a shard's are, so that a stage that never had those rows would write the same bytes.

    Args:
        source: what is read.
        target: what is written; the caller gives it its name.
        goes: says of a table whether a row goes: bool, one for each.
        footer: takes the place of the footer; by default that stays.

    Raises:
        UserError: it cannot be read. OSError: it cannot be written.
    """
    with _opened(source) as file:
        stored = dict(file.metadata.metadata or {})
        told = stored.get(FOOTER_KEY) if footer is None else json.dumps(asdict(footer), sort_keys=True).encode()
        schema, written = _schema(file, stored), 0
        out = PatientFile(target)
        writer = parquet_writer(out, schema)
        for table in _regrouped(_remaining(file, goes), schema):
            writer.write_table(table.cast(schema), row_group_size=table.num_rows)
            out.require()
            written += table.num_rows
        if told is not None:
            writer.add_key_value_metadata({FOOTER_KEY: told})
        writer.close()
        out.close()
        out.require()
        return int(file.metadata.num_rows) - written


def _schema(file: pq.ParquetFile, stored: dict[bytes, bytes]) -> pa.Schema:
    """The schema as it was handed to the writer: Parquet calls the items of lists otherwise."""
    if (written := stored.get(b"ARROW:schema")) is not None:
        return pa.ipc.read_schema(pa.py_buffer(b64decode(written)))
    schema = file.schema_arrow
    return schema.with_metadata({k: v for k, v in (schema.metadata or {}).items() if k != FOOTER_KEY})


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}). Restore or download it again.") from error


def _remaining(file: pq.ParquetFile, goes: Goes) -> Iterator[pa.Table]:
    for index in range(file.num_row_groups):
        table = file.read_row_group(index, use_threads=False)
        gone = goes(table)
        yield table.filter(pa.array(~gone)) if gone.any() else table


def _regrouped(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cut rows into groups by the rule of `ShardWriter`."""
    pictures = [item.name for item in schema if item.type == IMAGE]
    most_rows = ROW_GROUP_ROWS if pictures else _NARROW_ROWS
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        start = 0
        for place, heavy in enumerate(_weights(table, pictures).tolist()):
            rows, size = rows + 1, size + heavy
            if rows >= most_rows or size >= ROW_GROUP_BYTES:
                yield _joined([*waiting, table.slice(start, place + 1 - start)])
                waiting, rows, size, start = [], 0, 0, place + 1
        if start < table.num_rows:
            waiting.append(table.slice(start))
    if waiting:
        yield _joined(waiting)


def _weights(table: pa.Table, pictures: Collection[str]) -> npt.NDArray[np.int64]:
    """Bytes of the pictures of each row."""
    total = np.zeros(table.num_rows, np.int64)
    for name in pictures:
        lengths = pc.binary_length(pc.struct_field(table.column(name), "bytes"))
        total += pc.fill_null(lengths, 0).to_numpy()
    return total


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()
