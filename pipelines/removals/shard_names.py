"""Which shards a removal changes: those that hold a row of it, or a private note, and variants of those."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from mmtt.layout import Layout
from mmtt.record import Lineage, Note, Rejection
from mmtt.shards import side_path

from . import rows

_VARIANT = re.compile(r".+?-(pristine|forged)-(.+)")


def touched(layout: Layout, records: Collection[str], photos: Collection[str]) -> list[str]:
    """Return the shards to be rewritten, with their folder (`pristine/bucket-0003`), sorted."""
    found: list[str] = []
    for folder in rows.folders(layout):
        for path in rows.shards(folder):
            name = f"{folder.name}/{path.stem}"
            if master(path) in found or _holds(path, records) or _notes(path, records, photos):
                found.append(name)
    return sorted(found)


def master(path: Path) -> str | None:
    """Return the shard that a shard of variants was made from, with its folder; None of a master."""
    matched = _VARIANT.fullmatch(path.stem) if path.parent.name == "degraded" else None
    return None if matched is None else f"{matched[1]}/{matched[2]}"


def _holds(path: Path, records: Collection[str]) -> bool:
    return any(row.record_id in records for row in rows.read(path))


def _notes(path: Path, records: Collection[str], photos: Collection[str]) -> bool:
    return any(
        (row.get("record_id") in records) or (row.get("path") in photos)
        for row_class in (Rejection, Lineage, Note)
        for row in _narrow(side_path(path.parent, path.stem, row_class))
    )


def _narrow(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        file = pq.ParquetFile(path)
        wanted = [name for name in ("record_id", "path") if name in file.schema_arrow.names]
        yield from file.read(columns=wanted).to_pylist()
