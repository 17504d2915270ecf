"""Facts: what the documents of a release say without anybody having to write it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from mmtt.recipe import Recipe
from mmtt.release import Release, Tombstone
from mmtt.reports import Report


class File(NamedTuple):
    """A file of the release: path with `/`, bytes, SHA-256, rows where it is a shard."""

    path: str
    bytes: int
    sha256: str
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known of a release.

    rows: a row for each released record (masters), the columns of `mmtt.evidence.NARROW` (no pictures, no landmarks),
        `split` filled; in the order of `record_id`. reports: every released text. audits: rows of `audits.json`, as
        `pipelines.audits.run.Outcome.to_dict` gives them. refused: what each stage refused, stage → code → count.
    agreement: what `reports/agreement.json` says of all reports together; None where nobody measured it.
    ages: how many of the photos' people are known to be adult, and of how many nobody said.
    removed: tombstones. files: every shard of the release, in the order of their paths.
    size_px: width and height of the pictures; None where they differ.
    """

    release: Release
    recipe: Recipe
    rows: pd.DataFrame
    reports: Sequence[Report]
    audits: Sequence[Mapping[str, Any]]
    refused: Mapping[str, Mapping[str, int]]
    agreement: Mapping[str, Any] | None
    ages: Mapping[str, int]
    removed: Sequence[Tombstone]
    files: Sequence[File]
    size_px: int | None
