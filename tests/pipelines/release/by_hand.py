"""A release made by hand: what readers need of one, and no more."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtt.layout import Layout
from mmtt.manifest import passed, read
from mmtt.record import SCHEMA_VERSION, Assignment, Record
from mmtt.release import DATA, RELEASE, REPORTS, Release
from mmtt.reports import Report, attach
from mmtt.shards import read_table, write_table
from tests.factories import store_shards


def released(layout: Layout) -> list[Record]:
    """Return the records of a dataset that count, each with its split, as a release holds them."""
    split_of = {row.record_id: row.split for row in read_table(layout.splits, Assignment)}
    accepted = passed(layout.forged)
    forged = [record for record in read(layout.forged) if record.record_id in accepted]
    rows = [*read(layout.pristine), *forged]
    return [replace(record, split=split_of[record.target_id or record.record_id]) for record in rows]


def stage(root: Path, records: Sequence[Record], reports: Sequence[Report] = (), **changes: Any) -> Path:
    """Write records as a release, their reports joined and in two tables; return its folder."""
    store_shards(root / DATA, list(attach(records, reports, {})))
    for number, part in enumerate((reports[::2], reports[1::2])):
        if part:
            write_table(root / REPORTS / f"part-{number}.parquet", part, Report)
    known: dict[str, Any] = {
        "name": "tiny", "version": "1.0.0", "date": "2026-11-27", "previous": None, "licence": "CC-BY-4.0",
        "schema_version": SCHEMA_VERSION, "recipe_sha256": "0" * 64, "buckets": 2, "rows": {},
    }  # fmt: skip
    (root / RELEASE).write_text(Release(**known | changes).to_json(), encoding="utf-8")
    return root
