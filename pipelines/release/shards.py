"""Shards of a release: records with their split and reports, in the buckets of their groups.

A shard whose rows are those of the version before is that version's very file, so an upload of the next version sends
what changed and nothing else, whatever wrote the older one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from mmtt.evidence import chunks, records_of
from mmtt.executors import Executor
from mmtt.files import file_sha256, replacing, take, write_atomically
from mmtt.ids import digest
from mmtt.manifest import MANIFEST, Manifest, ShardInfo
from mmtt.progress import Progress
from mmtt.record import SCHEMA_VERSION, Record
from mmtt.release import DATA, REPORTS
from mmtt.reports import Report, attach
from mmtt.shards import Footer, Shard, ShardWriter, read_footer, write_table

from ..ingest import bucket_of

STAGE = "release"
VERSION = "1"


@dataclass(frozen=True)
class ShardJob:
    """One shard of a release: name, split, where its rows lie (columns `shard`, `row_group`, `row`), their reports."""

    name: str
    split: str
    rows: pd.DataFrame
    reports: tuple[Report, ...]
    agreement: Mapping[str, float | None]


def jobs(
    rows: pd.DataFrame, reports: Sequence[Report], agreement: Mapping[str, float | None], buckets: int
) -> list[ShardJob]:
    """Return a job for each split and bucket that holds a row; a record's bucket is that of its target's group.

    Args:
        rows: the released ones, with `split`, `group_id` and where they lie.
        reports: about released records.
        agreement: of each record's reports.
        buckets: how many there are in all.
    """
    said: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        said[report.record_id].append(report)
    bucket = rows["group_id"].map(lambda group: bucket_of(group, buckets))
    made = []
    for (split, number), lot in rows.groupby([rows["split"], bucket]):
        placed = lot.sort_values(["shard", "row_group", "row"])
        mine = [report for name in placed["record_id"] for report in said.get(name, ())]
        known = {name: agreement[name] for name in placed["record_id"] if name in agreement}
        name = f"{split}-{number:05d}-of-{buckets:05d}"
        where = placed[["shard", "row_group", "row"]].reset_index(drop=True)
        made.append(ShardJob(name, str(split), where, tuple(mine), known))
    return made


def write_shards(
    todo: Sequence[ShardJob], staged: Path, previous: Path | None, executor: Executor, progress: Progress
) -> None:
    """Write `data/` and `reports/` of a release; shards that lie there are kept, because they were begun for this.

    Args:
        todo: the shards.
        staged: the folder of the release.
        previous: the version before, if there is one.
        executor: a map over shards.
        progress: shows them.

    Raises:
        UserError: a report was written about another picture.
    """
    (staged / DATA).mkdir(exist_ok=True)
    due = [job for job in todo if read_footer(staged / DATA / f"{job.name}.parquet") is None]
    for _ in progress(due, executor(partial(_write, staged / DATA, previous), due)):
        pass
    for job in todo:
        if job.reports:
            said = sorted(job.reports, key=lambda report: (report.record_id, report.rank, report.report_id))
            write_table(staged / REPORTS / f"{job.name}.parquet", said, Report)


def write_manifest(todo: Sequence[ShardJob], staged: Path, environment: Mapping[str, str]) -> Manifest:
    """Write `data/manifest.json`; its shards are all there."""
    folder = staged / DATA
    infos = []
    for name in sorted(job.name for job in todo):
        path = folder / f"{name}.parquet"
        infos.append(ShardInfo(name, Shard(path).rows, path.stat().st_size, file_sha256(path)))
    rows = sum(info.rows for info in infos)
    manifest = Manifest(STAGE, SCHEMA_VERSION, rows, {}, infos, dict(environment))
    write_atomically(folder / MANIFEST, manifest.to_json().encode())
    return manifest


def _write(folder: Path, previous: Path | None, job: ShardJob) -> str:
    path = folder / f"{job.name}.parquet"
    with threadpool_limits(limits=1), replacing(path) as temporary:
        writer, content = ShardWriter(temporary, Record), sha256()
        for record in attach(_records(job), job.reports, job.agreement):
            writer.add(record)
            content.update(row_digest(record).encode())
        footer = Footer(STAGE, content.hexdigest(), digest([STAGE, VERSION]))
        writer.close(footer)
        before = None if previous is None else previous / DATA / path.name
        if before is not None and read_footer(before) == footer:
            temporary.unlink()
            take(before, temporary)
    return job.name


def _records(job: ShardJob) -> Iterator[Record]:
    for chunk in chunks(job.rows):
        yield from (replace(record, split=job.split) for record in records_of(chunk))


def row_digest(record: Record) -> str:
    """Return the digest of all that a row holds, pictures included, 64 hex digits."""
    values: dict[str, Any] = {item.name: getattr(record, item.name) for item in fields(record)}
    return digest({name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    return sha256(value).hexdigest() if isinstance(value, bytes) else value
