"""Shards: Parquet files that are whole or absent, and say what they were made from.

A shard is written beside its final name, synced, and renamed. Its footer carries the digest of its
inputs and the fingerprint of the stage that made it: a shard whose footer matches is current, nothing
else is trusted.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmtt.errors import SchemaError, UserError
from mmtt.files import PatientFile, replacing
from mmtt.record import IMAGE, SCHEMA_VERSION, Record
from mmtt.schema import arrow_schema, from_mapping, from_table, to_table

Row = TypeVar("Row")
FOOTER_KEY = b"mmtt"
# The Hub's viewer wants about 100 rows and at most 100 MB; small groups also make one donor cheap to fetch.
ROW_GROUP_ROWS = 100
ROW_GROUP_BYTES = 16_000_000
READ_BYTES = 65_536  # read in pieces: a group read whole is first held twice, and fresh pages cost more than calls


@dataclass(frozen=True)
class Footer:
    """What a shard says of itself: what it was made from, how, and the SHA-256 of each side table."""

    stage: str
    input_digest: str
    fingerprint: str
    schema_version: int = SCHEMA_VERSION
    side: dict[str, str] = field(default_factory=dict)


def require_known_version(path: Path, version: int) -> None:
    """Refuse what a newer mmtt wrote.

    Raises:
        SchemaError: the version is newer than this one, or never existed.
    """
    if version > SCHEMA_VERSION:
        raise SchemaError(f"{path} has schema version {version}; this mmtt reads up to {SCHEMA_VERSION}. Upgrade mmtt.")
    if version < 1:
        raise SchemaError(f"{path} has schema version {version}, which no mmtt ever wrote. Run the stage again.")


def parquet_writer(file: PatientFile, schema: pa.Schema) -> pq.ParquetWriter:
    """Return what writes every Parquet file of ours."""
    plain = [leaf(f.name, f.type) for f in schema if f.type != IMAGE]
    return pq.ParquetWriter(
        file,
        schema,
        # PNGs do not shrink any further.
        compression=dict.fromkeys(plain, "zstd"),
        use_dictionary=plain,
        write_page_index=True,
        write_statistics=plain,
        use_content_defined_chunking=True,
    )


class ShardWriter:
    """Streams rows of one class into one shard. Memory stays at one row group, whatever the shard's size."""

    def __init__(self, path: Path, row_class: type, *, rows_per_group: int = ROW_GROUP_ROWS) -> None:
        self._row_class, self._rows_per_group = row_class, rows_per_group
        self._rows: list[Any] = []
        self._bytes = 0
        # Arrow ends the process where its content-defined chunking meets an error in the middle of a column.
        self._file = PatientFile(path)
        self._writer = parquet_writer(self._file, arrow_schema(row_class))

    def add(self, row: Any) -> None:
        """Append one row.

        Raises:
            OSError: something could not be written, such as on a full disk.
        """
        self._rows.append(row)
        self._bytes += sum(len(v) for f in row.__slots__ if isinstance(v := getattr(row, f), bytes))
        if len(self._rows) >= self._rows_per_group or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self, footer: Footer | None = None) -> None:
        """Write what is left, and the footer.

        Raises:
            OSError: as for `add`.
        """
        if self._rows:
            self._flush()
        if footer is not None:
            self._writer.add_key_value_metadata({FOOTER_KEY: json.dumps(asdict(footer), sort_keys=True)})
        self._writer.close()
        self._file.close()
        self._file.require()

    def _flush(self) -> None:
        self._writer.write_table(to_table(self._rows, self._row_class), row_group_size=len(self._rows))
        self._file.flush()
        self._file.require()
        self._rows.clear()
        self._bytes = 0


def leaf(name: str, arrow_type: pa.DataType) -> str:
    """Return the path of a column's values inside Parquet: `regions` → `regions.list.element`."""
    return leaf(f"{name}.list.element", arrow_type.value_type) if pa.types.is_list(arrow_type) else name


def write_table(path: Path, rows: Sequence[Any], row_class: type) -> None:
    """Write a narrow table (splits, plan, rejections, lineage) so that it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        writer = ShardWriter(temporary, row_class, rows_per_group=10_000)
        for row in rows:
            writer.add(row)
        writer.close()


def read_table(path: Path, row_class: type[Row]) -> list[Row]:
    """Read a narrow table.

    Raises:
        UserError: no such table; SchemaError: other columns.
    """
    try:
        table = pq.read_table(path, schema=None)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Run the stage that writes it first.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}). Run the stage that writes it again.") from error
    missing = _required(row_class) - set(table.column_names)
    if missing:
        raise SchemaError(f"{path} lacks the column(s) {', '.join(sorted(missing))}; another version wrote it.")
    return from_table(table, row_class)


def _required(row_class: type) -> set[str]:
    """Columns without a default: a table written before a column with one was added can still be read."""
    return {f.name for f in fields(row_class) if f.default is MISSING and f.default_factory is MISSING}


def read_footer(path: Path) -> Footer | None:
    """Return a shard's footer; None when the file is absent, torn, or not a shard of ours."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return Footer(**json.loads(metadata[FOOTER_KEY]))
    except (FileNotFoundError, KeyError, pa.ArrowInvalid, OSError, ValueError, TypeError):
        return None


def side_path(directory: Path, shard: str, row_class: type) -> Path:
    """Return where a shard's side table of that row class lies: outside the folder that one would hand on."""
    return directory.parent / "private" / directory.name / f"{shard}.{row_class.__name__.lower()}.parquet"


def _add_columns_of_version_2(table: pa.Table) -> pa.Table:
    """Version 1 knew neither `obligations` nor `mask_tau`."""
    return _migrated(table, 2, {"obligations": [], "mask_tau": 0})


def _add_columns_of_version_3(table: pa.Table) -> pa.Table:
    """Version 2 knew neither `raw`, `parsing`, `parser`, `parsed_regions` nor `code_sha256`."""
    added: dict[str, Any] = {"raw": None, "parsing": None, "parser": None, "parsed_regions": [], "code_sha256": None}
    return _migrated(table, 3, added)


def _add_columns_of_version_4(table: pa.Table) -> pa.Table:
    """Version 3 knew neither `origin_mask` nor `report_language`, and its reports were English."""
    english = pa.array(["en"] * table.num_rows, pa.string())
    if "report" in table.column_names and "report_language" not in table.column_names:
        told = pc.if_else(pc.is_valid(table["report"]), english, pa.scalar(None, pa.string()))
        table = table.append_column("report_language", told)
    return _migrated(table, 4, {"origin_mask": None, "report_language": None})


def _migrated(table: pa.Table, version: int, added: Mapping[str, Any]) -> pa.Table:
    """Append columns that hold one value in every row, and note the version."""
    types = {field.name: field.type for field in arrow_schema(Record)}
    for name, value in added.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, types[name]))
    if "schema_version" in table.column_names:
        place = table.column_names.index("schema_version")
        table = table.set_column(place, "schema_version", pa.array([version] * table.num_rows, pa.int32()))
    return table


# From each older version to the next.
MIGRATIONS: Mapping[int, Callable[[pa.Table], pa.Table]] = {
    1: _add_columns_of_version_2,
    2: _add_columns_of_version_3,
    3: _add_columns_of_version_4,
}


class Shard:
    """An open shard of records: rows by position, without reading more than their row group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist.") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path} is not a whole Parquet file ({error}). Run the stage again.") from error
        self.version = self._version()
        self.groups = self._file.num_row_groups
        self.rows = self._file.metadata.num_rows

    def _version(self) -> int:
        footer = (self._file.metadata.metadata or {}).get(FOOTER_KEY)
        try:
            version = int(json.loads(footer)["schema_version"]) if footer else SCHEMA_VERSION
        except (ValueError, TypeError, KeyError) as error:
            raise SchemaError(f"{self.path} has a footer that says no schema version. Run the stage again.") from error
        require_known_version(self.path, version)
        return version

    def group(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one row group, migrated to the present schema; `columns` limits what is read."""
        stored = self._file.schema_arrow.names
        wanted = None if columns is None else [name for name in columns if name in stored]
        # One group is too little to share among threads, and who reads many does it in processes.
        table = self._file.read_row_group(index, columns=wanted, use_threads=False)
        for version in range(self.version, SCHEMA_VERSION):
            table = MIGRATIONS[version](table)
        expected = list(columns) if columns is not None else arrow_schema(Record).names
        missing = [name for name in expected if name not in table.column_names]
        if missing:
            raise SchemaError(f"{self.path} lacks the column(s) {', '.join(missing)}.")
        return table.select(expected)

    def column(self, name: str) -> list[list[Any]]:
        """Return the values of one column, a list for each row group."""
        return [self.group(index, [name]).column(name).to_pylist() for index in range(self.groups)]

    def records(self) -> Iterator[Record]:
        """Yield every record, one row group in memory at a time."""
        for index in range(self.groups):
            for row in self.group(index).to_pylist():
                yield from_mapping(row, Record)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield some columns of every row of a shard, one mapping a row, one row group in memory at a time."""
    shard = Shard(path)
    for index in range(shard.groups):
        yield from shard.group(index, columns).to_pylist()


def placed(shard: Shard, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some columns of each row group, and besides `row_group` and `row`: where each row lies."""
    for index in range(shard.groups):
        table = shard.group(index, columns)
        count = table.num_rows
        table = table.append_column("row_group", pa.array([index] * count, pa.int32()))
        yield table.append_column("row", pa.array(range(count), pa.int32()))


class Lookup:
    """Fetches single records by id out of shards, keeping the row groups last used in memory."""

    KEPT_GROUPS = 4

    def __init__(self, paths: Iterable[Path]) -> None:
        self._shards = [Shard(path) for path in paths]
        self._places: dict[str, tuple[int, int, int]] = {}
        for number, shard in enumerate(self._shards):
            for group, ids in enumerate(shard.column("record_id")):
                self._places.update({record_id: (number, group, row) for row, record_id in enumerate(ids)})
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._places

    def place(self, record_id: str) -> tuple[int, int, int]:
        """Return (shard, row group, row): records near in place are cheap to fetch one after another."""
        return self._places[record_id]

    def get(self, record_id: str) -> Record:
        """Return one record.

        Raises:
            KeyError: no shard holds it.
        """
        number, group, row = self._places[record_id]
        key = (number, group)
        if key not in self._groups:
            self._groups[key] = self._shards[number].group(group)
            while len(self._groups) > self.KEPT_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return from_mapping(self._groups[key].slice(row, 1).to_pylist()[0], Record)
