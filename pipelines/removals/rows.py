"""Rows: every row of every shard of a dataset and of its releases, as far as a removal has to know it."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmtt import images
from mmtt.errors import UserError
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS
from mmtt.record import IMAGE, Lineage
from mmtt.release import DATA
from mmtt.removal import Removal
from mmtt.rewriting import count, names_any
from mmtt.shards import READ_BYTES

from ..embeddings import read_lineage

NARROW = ("record_id", "target_id", "source_id", "image_sha256", "origin_id")


class Row(NamedTuple):
    """A row of a shard: who it is, what it was made from."""

    record_id: str
    target_id: str | None
    source_id: str | None
    image_sha256: str
    origin_id: str


def shards(folder: Path) -> list[Path]:
    """Return every shard of a folder, whether or not a manifest lists it."""
    return [path for path in sorted(folder.glob("*.parquet")) if path.name != REJECTIONS]


def folders(layout: Layout) -> list[Path]:
    """Return the folders of shards that are there: masters first, then variants."""
    return [folder for folder in (layout.forged, layout.pristine, layout.degraded) if folder.is_dir()]


def releases(root: Path) -> list[Path]:
    """Return every folder of a release, staged, or left half-done by a killed run."""
    return sorted(path for path in (root / "releases").glob("*") if path.is_dir())


def holding(root: Path, removal: Removal) -> list[Path]:
    """Return the folders of releases that hold any of the records; half-done ones, of which nobody can tell, too."""
    goes = names_any(removal.records)
    return [
        folder
        for folder in releases(root)
        if folder.name.startswith(".") or any(count(path, goes)[0] for path in (folder / DATA).glob("*.parquet"))
    ]


def everywhere(layout: Layout) -> list[Path]:
    """Return every shard of records, those of releases included."""
    staged = [release / DATA for release in releases(layout.root)]
    return [path for folder in (*folders(layout), *staged) for path in shards(folder)]


def read(path: Path) -> list[Row]:
    """Return the rows of a shard.

    Raises:
        UserError: it cannot be read, so that nobody knows whom it holds.
    """
    try:
        return [Row(**row) for row in pq.read_table(path, columns=list(NARROW)).to_pylist()]
    except (pa.ArrowException, OSError, TypeError) as error:
        hint = "Nobody knows whom it holds: build again, or remove it"
        raise UserError(f"{path} cannot be read as a shard ({error}). {hint}; then ask again.") from error


def lineage(layout: Layout) -> list[Lineage]:
    """Return the lineage of every pristine record, from the gathered table and from those of the shards."""
    found: dict[str, Lineage] = {}
    sides = sorted((layout.lineage.parent / layout.pristine.name).glob("*.lineage.parquet"))
    for path in [layout.lineage, *sides]:
        with suppress(FileNotFoundError):
            if path.exists():
                found |= {row.record_id: row for row in read_lineage(path)[0]}
    return list(found.values())


def image_digests(path: Path, records: Collection[str]) -> Iterator[str]:
    """Yield the SHA-256 of each picture that the named records hold; blank masks of pristine ones are everybody's."""
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES)
    pictures = [item.name for item in file.schema_arrow if item.type == IMAGE]
    wanted = pa.array(sorted(records), pa.string())
    for group in range(file.num_row_groups):
        narrow = file.read_row_group(group, columns=["record_id", "manipulation"])
        which = pc.is_in(narrow.column("record_id"), value_set=wanted)
        if pc.any(which).as_py():
            table = file.read_row_group(group, columns=["manipulation", *pictures]).filter(which)
            for row in table.to_pylist():
                shown = (name for name in pictures if name != "mask" or row["manipulation"] is not None)
                yield from (images.sha256(row[name]["bytes"]) for name in shown if row[name] is not None)
