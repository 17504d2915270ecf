"""Gather: the facts of a release, out of the dataset that it is made from and the shards that were staged."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mmtt import images
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest
from mmtt.record import Lineage, Rejection
from mmtt.release import DATA, MARKED, REPORTS
from mmtt.reports import Report
from mmtt.shards import Shard, read_table

from .. import sources
from .facts import File


@dataclass(frozen=True)
class Texts:
    """What people wrote: reports about released records, agreement of each record's, and of all together."""

    reports: Sequence[Report]
    by_record: Mapping[str, float | None]
    overall: Mapping[str, Any] | None


def texts(layout: Layout, rows: pd.DataFrame) -> Texts:
    """Read the reports about some records.

    Args:
        layout: the dataset.
        rows: those records.

    Raises:
        UserError: reports/agreement.json cannot be read.
    """
    folder = layout.root / "reports"
    there = set(rows["record_id"])
    path = folder / "reports.parquet"
    reports = [row for row in read_table(path, Report) if row.record_id in there] if path.is_file() else []
    told = _agreement(folder / "agreement.json")
    return Texts(reports, told.get("records", {}), told.get("overall"))


def _agreement(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return dict(told)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}). `mmtt annotate reports` writes it again.") from error


def refused(layout: Layout) -> dict[str, dict[str, int]]:
    """Return what each stage of a dataset refused: stage → code → count."""
    counted: dict[str, Counter[str]] = {}
    for folder in (layout.pristine, layout.plan, layout.forged, layout.root / "reports"):
        path = folder / REJECTIONS
        for row in read_table(path, Rejection) if path.is_file() else ():
            counted.setdefault(row.stage, Counter())[row.code] += 1
    return {stage: dict(sorted(found.items())) for stage, found in sorted(counted.items())}


def ages(layout: Layout, rows: pd.DataFrame) -> dict[str, int]:
    """Count the photos behind some records by what the source table says of the people's age."""
    if not layout.lineage.is_file():
        return {}
    released = set(rows["record_id"])
    told = sources.load(layout.root)
    paths = {row.path for row in read_table(layout.lineage, Lineage) if row.record_id in released}
    counted = Counter(_age(told.get(path) or told.get("*")) for path in paths)
    return {name: counted[name] for name in ("adult", "minor", "unknown")}


def _age(source: sources.Source | None) -> str:
    years = None if source is None else source.years
    return "unknown" if years is None else "adult" if years >= sources.ADULT else "minor"


def environment(layout: Layout) -> dict[str, str]:
    """Return where the shards of a dataset were made: its forged ones', which passed through everything."""
    return Manifest.load(layout.forged).environment if (layout.forged / MANIFEST).is_file() else {}


def files(staged: Path) -> list[File]:
    """Return every shard of a staged release."""
    paths = [path for folder in (DATA, MARKED, REPORTS) for path in sorted((staged / folder).glob("*.parquet"))]
    return [_file(staged, path) for path in paths]


def _file(staged: Path, path: Path) -> File:
    rows = pq.read_metadata(path).num_rows
    return File(path.relative_to(staged).as_posix(), path.stat().st_size, file_sha256(path), rows)


def size_px(staged: Path) -> int | None:
    """Return width and height of a release's pictures, as the first of each shard shows; None where they differ."""
    sizes = set()
    for info in Manifest.load(staged / DATA).shards:
        first = Shard(staged / DATA / f"{info.name}.parquet").group(0, ["image"]).slice(0, 1).to_pylist()[0]
        sizes.add(images.decode_photo(first["image"]["bytes"]).shape[:2])
    (height, width) = next(iter(sizes))
    return width if len(sizes) == 1 and height == width else None
