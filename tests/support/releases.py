"""Small releases written by hand, for what reads or publishes one."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmtt.files import file_sha256
from mmtt.manifest import Manifest, ShardInfo
from mmtt.record import SCHEMA_VERSION, Record
from mmtt.release import Release, Tombstone, checksums, write_checksums, write_removed
from mmtt.shards import Footer, ShardWriter
from tests.factories import make_forged_record, make_record

_CARD = """---
license: cc-by-4.0
configs:
- config_name: default
  data_files:
  - {{split: train, path: data/train-*.parquet}}
  - {{split: test, path: data/test-*.parquet}}
---
# Drawn faces {version}
"""


def some_records(split: str, count: int = 2, start: int = 0, size_px: int = 64) -> list[Record]:
    """Return records of drawn noise, half of them forged, in the order of their ids."""
    kinds = (make_record, make_forged_record)
    made = [kinds[number % 2](seed=start + number, size_px=size_px, split=split) for number in range(count)]
    return sorted(made, key=lambda record: record.record_id)


def write_release(
    folder: Path,
    version: str = "1.0.0",
    shards: Mapping[str, Sequence[Record]] | None = None,
    removed: Sequence[Tombstone] = (),
    previous: str | None = None,
    repository: str = "lab/faces",
) -> Path:
    """Write a release, with a shard for each name given; return its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    if shards is None:
        shards = {"train-00000-of-00002": some_records("train"), "test-00001-of-00002": some_records("test", start=9)}
    infos, rows = [], {}
    for name, records in sorted(shards.items()):
        path = folder / "data" / f"{name}.parquet"
        writer = ShardWriter(path, Record)
        for record in records:
            writer.add(record)
        writer.close(Footer("release", "", ""))
        infos.append(ShardInfo(name, len(records), path.stat().st_size, file_sha256(path)))
        rows[name.split("-")[0]] = rows.get(name.split("-")[0], 0) + len(records)
    manifest = Manifest("release", SCHEMA_VERSION, sum(rows.values()), {}, infos)
    about = Release(
        name="drawn", version=version, date="2026-11-27", previous=previous, licence="CC-BY-4.0",
        schema_version=SCHEMA_VERSION, recipe_sha256="0" * 64, buckets=2, rows={"default": rows},
        repository=repository,
    )  # fmt: skip
    texts = {
        "data/manifest.json": manifest.to_json(), "release.json": about.to_json(),
        "README.md": _CARD.format(version=version), "removed.csv": write_removed(removed),
        "overview.html": f"<p>{version}</p>",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "SHA256SUMS").write_text(write_checksums(checksums(folder)), encoding="ascii")
    return folder
