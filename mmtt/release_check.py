"""What must hold for a release as a whole: its digests, its rows, its tombstones, and that they fit one another."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmtt.check import verify_all
from mmtt.errors import MmttError
from mmtt.manifest import Manifest, read_columns
from mmtt.release import (
    CHECKSUMS,
    CONFIGS,
    DATA,
    MARKED,
    RELEASE,
    REMOVED,
    REPORTS,
    Release,
    checksums,
    read_checksums,
    read_removed,
)
from mmtt.reports import Report, strays
from mmtt.shards import read_table


def verify_release(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (where, what is wrong) for every fault of a release; nothing where it is as it was made.

    Args:
        folder: a release, staged or downloaded.
    """
    try:
        yield from _verify_files(folder)
        yield from _verify_rows(folder)
        yield from _verify_counts(folder)
        yield from _verify_marked(folder)
    except (MmttError, pa.ArrowException, OSError) as error:
        yield folder.name, str(error)
    yield from verify_all([folder / DATA])


def _verify_files(folder: Path) -> Iterator[tuple[str, str]]:
    listed, there = read_checksums(folder), checksums(folder)
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            yield name, "is missing"
        elif name not in listed:
            yield name, f"is not listed in {CHECKSUMS}"
        elif listed[name] != there[name]:
            yield name, f"has another SHA-256 than {CHECKSUMS} says"


def _verify_rows(folder: Path) -> Iterator[tuple[str, str]]:
    about, manifest = Release.load(folder), Manifest.load(folder / DATA)
    if manifest.rows != (said := sum(about.rows.get("default", {}).values())):
        yield RELEASE, f"says {said} records, {DATA}/manifest.json {manifest.rows}"
    rows = read_columns(folder / DATA, ["record_id", "target_id", "source_id", "image_sha256", "split"])
    gone = {stone.record_id for stone in read_removed(folder / REMOVED)}
    counted: dict[str, int] = {}
    for row in rows:
        counted[row["split"]] = counted.get(row["split"], 0) + 1
        if back := gone & {row["record_id"], row["target_id"], row["source_id"]}:
            yield f"{DATA}:{row['record_id']}", f"{REMOVED} says that {min(back)} is gone"
    if counted != about.rows.get("default", {}):
        yield RELEASE, f"says {about.rows.get('default', {})} records by split, the rows {counted}"
    seen = {row["record_id"]: row["image_sha256"] for row in rows}
    for path in sorted((folder / REPORTS).glob("*.parquet")):
        for report, told in strays(read_table(path, Report), seen):
            yield f"{REPORTS}/{path.name}:{report.report_id}", told


def _verify_counts(folder: Path) -> Iterator[tuple[str, str]]:
    """The files that a reader of a config would find hold as many rows as the release says, in each split."""
    about = Release.load(folder)
    for config, where in CONFIGS.items():
        counted: Counter[str] = Counter()
        for path in (folder / where).glob("[!.]*.parquet"):
            counted[path.name.partition("-")[0]] += pq.read_metadata(path).num_rows
        if counted != Counter(about.rows.get(config, {})):  # an empty shard of a pruned copy counts for nothing
            yield (
                RELEASE,
                f"says {about.rows.get(config, {})} rows of {config} by split, the files hold {dict(counted)}",
            )


def _verify_marked(folder: Path) -> Iterator[tuple[str, str]]:
    """Every record is marked, where any is, and nothing else."""
    paths = sorted((folder / MARKED).glob("*.parquet"))
    if not paths:
        return
    rows = read_columns(folder / DATA, ["record_id", "image_sha256"])
    masters = {row["record_id"]: row["image_sha256"] for row in rows}
    found: dict[str, str] = {}
    for path in paths:
        table = pq.read_table(path, columns=["record_id", "master_sha256"])
        found |= dict(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))
    for name in sorted(masters.keys() | found.keys()):
        if found.get(name) != masters.get(name):
            yield f"{MARKED}:{name}", f"is not the picture of that record in {DATA}"
