"""A small release for the documents: shards of true records, and the facts and answers that belong to them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from mmtt.evidence import NARROW
from mmtt.files import file_sha256
from mmtt.recipe import SPLITS, Recipe
from mmtt.record import Record
from mmtt.release import DATA, REPORTS, Release
from mmtt.reports import Report, attach
from mmtt.schema import to_table
from mmtt.shards import Footer, Shard, ShardWriter, write_table
from pipelines.release import croissant, datasheet
from pipelines.release.answers import Answers
from pipelines.release.facts import Facts, File
from pipelines.release.questions import questions
from tests.factories import make_forged_record, make_record, make_report, tiny_recipe

VERSION = "1.2.0"
CONSENT = "manipulation redistribution"
ABOUT = {
    "title": "Drawn faces",
    "summary": "Forged faces, for testing.",
    "licence": "CC-BY-NC-4.0",
    "authors": ["Ada Moss", "Ben Reed"],
    "contact": "curators@example.org",
    "repository": "moss/drawn",
}


def told(**changes: Any) -> dict[str, Any]:
    """Return what a complete `datasheet.toml` says, as plain data, with some answers changed."""
    needed = {code: f"Our words on {code}." for code, asked in questions().items() if asked.is_for_people}
    return {"about": dict(ABOUT), "answers": needed | changes}


def answers(**changes: Any) -> Answers:
    """Return complete answers, with some changed."""
    return Answers.model_validate(told(**changes))


@cache
def records(consent: str = CONSENT) -> tuple[Record, ...]:
    """Return six people, two in each split: a pristine picture of each, and a forgery of it."""
    found = []
    for seed in range(6):
        common = {"split": SPLITS[seed % 3], "consent": consent}
        found += [make_record(seed, **common), make_forged_record(seed, **common)]
    return tuple(found)


def reports(found: Sequence[Record], **changes: Any) -> list[Report]:
    """Return a text about each forged record."""
    return [make_report(record, **changes) for record in found if record.manipulation is not None]


def facts(found: Sequence[Record], texts: Sequence[Report] = (), files: Sequence[File] = (), **changes: Any) -> Facts:
    """Return what a release of some records knows of itself."""
    rows = to_table(found).select(list(NARROW)).to_pandas()
    known = {
        "release": release(found, texts),
        "recipe": Recipe.model_validate(tiny_recipe()),
        "rows": rows.sort_values("record_id", ignore_index=True),
        "reports": list(texts),
        "audits": [],
        "refused": {"ingest": {"no_face": 2}},
        "agreement": None,
        "ages": {"adult": 4, "minor": 0, "unknown": 2},
        "removed": [],
        "files": list(files),
        "size_px": 64,
    }
    return Facts(**(known | changes))


def release(found: Sequence[Record], texts: Sequence[Report] = (), **changes: Any) -> Release:
    """Return what such a release says of itself."""
    counts = {split: sum(record.split == split for record in found) for split in SPLITS}
    made = Release(
        name="tiny",
        version=VERSION,
        date=date(2026, 11, 27).isoformat(),
        previous="1.1.0",
        licence=ABOUT["licence"],
        schema_version=4,
        recipe_sha256="ab" * 32,
        buckets=2,
        rows={"default": counts, **({"raw_reports": counts} if texts else {})},
        environment={"mmtt": "0.1.0", "numpy": "2.2.0"},
    )
    return replace(made, **changes)


def staged(folder: Path, found: Sequence[Record], texts: Sequence[Report] = ()) -> list[File]:
    """Write the shards of a release; return what is known of them."""
    for split in SPLITS:
        of = [record for record in found if record.split == split]
        said = [report for report in texts if report.record_id in {record.record_id for record in of}]
        (folder / DATA).mkdir(parents=True, exist_ok=True)
        writer = ShardWriter(folder / DATA / f"{split}-00000-of-00002.parquet", Record)
        for record in attach(of, said, {}):
            writer.add(record)
        writer.close(Footer("release", "", ""))
        if said:
            (folder / REPORTS).mkdir(exist_ok=True)
            write_table(folder / REPORTS / f"{split}-00000-of-00002.parquet", said, Report)
    paths = sorted(path for path in folder.rglob("*.parquet"))
    return [
        File(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path), Shard(path).rows)
        for path in paths
    ]


def documents() -> str:
    """Return both documents of the same release, one after the other."""
    found = records()
    known = facts(found, reports(found))
    return croissant.text(known, answers()) + datasheet.render(known, answers())
