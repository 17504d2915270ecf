"""Compare two builds row by row, by record and variant.

A shard that both manifests know by the same SHA-256 holds the same rows, and is not read beyond its keys.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt.executors import Executor
from mmtt.progress import Progress
from mmtt.record import MASTER

from ..builds import KEY, Build
from .causes import PROGRAM, Absences, causes, why_changed
from .contents import compared, contents

TOLD = ("text", "language", "text_origin", "protocol", "regions")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that one build has and the other has not, and why; and which photo or picture it is of."""

    record_id: str
    variant: str
    manipulation: str | None
    why: str
    origin_id: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that both have, with other contents: the columns by their section of a record, and why."""

    record_id: str
    variant: str
    manipulation: str | None
    columns: Mapping[str, Sequence[str]]
    why: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A row that both have, whose split or acceptance another one is."""

    record_id: str
    variant: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ReportChange:
    """A report that only one build has, or that says something else: which columns."""

    record_id: str
    report_id: str | None
    what: str
    columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How build B differs from build A.

    because: what differs in recipe, programs, environment, photos, plan. strays: how many reports of each, by its
    letter, are about records that it lacks.
    """

    a: str
    b: str
    rows_a: int
    rows_b: int
    added: list[Row]
    removed: list[Row]
    changed: list[Changed]
    splits: list[Moved]
    gates: list[Moved]
    reports: list[ReportChange]
    because: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    strays: Mapping[str, int] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether rows, splits, acceptance or reports differ; a recipe alone makes no difference."""
        return any((self.added, self.removed, self.changed, self.splits, self.gates, self.reports))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {"differs": self.differs} | asdict(self)


def diff(a: Path, b: Path, executor: Executor, progress: Callable[[str], Progress]) -> Difference:
    """Compare two datasets, releases, or folders of released shards.

    Rows that a gate refuses are no part of a release, so against a release they count as absent.

    Args:
        a: the build before.
        b: the build after.
        executor: where shards that differ are read.
        progress: how that tells that it moves.

    Raises:
        UserError: one of them is no build. SchemaError: a newer mmtt wrote it.
    """
    builds = Build(a), Build(b)
    mixed = builds[0].released != builds[1].released
    before, after = (_keys(build, accepted_only=mixed) for build in builds)
    both = before.merge(after, on=KEY, suffixes=("_a", "_b"))
    section_of = compared(texts=all(build.released for build in builds))
    changed = _changed(builds, both, section_of, executor, progress)
    return Difference(
        a=str(a),
        b=str(b),
        rows_a=len(before),
        rows_b=len(after),
        added=_only(after, before, Absences(builds[1], builds[0], "A")),
        removed=_only(before, after, Absences(builds[0], builds[1], "B")),
        changed=changed,
        splits=_moved(both, "split", "none"),
        gates=_moved(both, "refused", "accepted"),
        reports=_reports(*builds),
        because=causes(builds, (before, after)),
        notes=_notes(builds),
        strays=_strays(builds),
    )


def _keys(build: Build, accepted_only: bool) -> pd.DataFrame:
    rows = build.rows(["source_id", "origin", "origin_id", "manipulator", *PROGRAM]).drop_duplicates(KEY)
    rows["sha256"] = pd.Series(list(build.shards.values()))[rows["shard"]].to_numpy()
    return rows[rows["refused"].isna()] if accepted_only else rows


def _notes(builds: Sequence[Build]) -> list[str]:
    return [
        f"{letter}: {name}/ has not come to its end, so it is left out"
        for letter, build in zip("AB", builds, strict=True)
        for name in build.unfinished
    ]


def _strays(builds: Sequence[Build]) -> dict[str, int]:
    found = {}
    for letter, build in zip("AB", builds, strict=True):
        there = set(build.rows(())["record_id"])
        found[letter] = int((~build.texts()["record_id"].isin(there)).sum())
    return {letter: count for letter, count in found.items() if count}


def _only(rows: pd.DataFrame, others: pd.DataFrame, absences: Absences) -> list[Row]:
    merged = rows.merge(others[KEY], on=KEY, how="left", indicator=True)
    alone = _plain(merged[merged["_merge"] == "left_only"])
    there = set(others["record_id"]) if alone else set()
    variants = set(others["variant"])
    return [
        Row(
            row["record_id"],
            row["variant"],
            row["manipulation"],
            absences.why(row, there, variants),
            row["origin_id"],
        )
        for row in alone
    ]


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings, with None where nothing is."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def _changed(
    builds: tuple[Build, Build],
    both: pd.DataFrame,
    section_of: Mapping[str, str],
    executor: Executor,
    progress: Callable[[str], Progress],
) -> list[Changed]:
    due = both[both["sha256_a"] != both["sha256_b"]]
    if due.empty:
        return []
    names = tuple(section_of)
    paths = [
        list(build.shards)[number]
        for build, side in zip(builds, "ab", strict=True)
        for number in sorted(due[f"shard_{side}"].unique())
    ]
    tasks = [(path, names) for path in paths]
    read = dict(progress("diff: shards that differ")(tasks, executor(contents, tasks)))
    count = due["shard_a"].nunique()
    sides = [pd.concat([read[n] for n in part]) for part in (range(count), range(count, len(paths)))]
    aligned = [due[KEY].merge(side.drop_duplicates(KEY), on=KEY, how="left", validate="1:1") for side in sides]
    unequal = _unequal(*(side[list(names)] for side in aligned))
    return _told(due, unequal, section_of)


def _unequal(one: Any, other: Any) -> Any:
    """Whether values of two tables, or two columns, differ; two that are both absent do not."""
    return (one != other) & ~(one.isna() & other.isna())


def _told(due: pd.DataFrame, unequal: pd.DataFrame, section_of: Mapping[str, str]) -> list[Changed]:
    differing = unequal.any(axis=1).to_numpy()
    rows = _plain(due[differing])
    columns = [[name for name, differs in row.items() if differs] for row in unequal[differing].to_dict("records")]
    altered = {
        row["record_id"]
        for row, names in zip(rows, columns, strict=True)
        if row["variant"] == MASTER and "image_sha256" in names
    }
    return [
        Changed(
            row["record_id"],
            row["variant"],
            row["manipulation_b"],
            _by_section(names, section_of),
            why_changed(row, names, altered, section_of),
        )
        for row, names in zip(rows, columns, strict=True)
    ]


def _by_section(names: Sequence[str], section_of: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(section_of[name], []).append(name)
    return found


def _moved(both: pd.DataFrame, column: str, absent: str) -> list[Moved]:
    before, after = (both[f"{column}_{side}"].fillna(absent) for side in "ab")
    rows = both[KEY].assign(before=before, after=after)[before != after]
    return [Moved(*row) for row in rows.itertuples(index=False)]


def _reports(before: Build, after: Build) -> list[ReportChange]:
    """Compare texts: by report where both sides name reports, else by record, the one that stands for it."""
    by_report = before.names_reports and after.names_reports
    key = "report_id" if by_report else "record_id"
    sides = [build.texts() for build in (before, after)]
    sides = sides if by_report else [texts[texts["rank"] == 0] for texts in sides]
    columns = [key, *dict.fromkeys(("record_id", *TOLD))] if by_report else [key, *TOLD]
    merged = sides[0][columns].merge(
        sides[1][columns], on=key, how="outer", suffixes=("_a", "_b"), indicator=True, sort=True
    )
    unequal = pd.DataFrame({name: _unequal(merged[f"{name}_a"], merged[f"{name}_b"]) for name in TOLD})
    merged = merged.join(unequal)[(merged["_merge"] != "both") | unequal.any(axis=1)]
    return [_report_change(row, by_report) for row in _plain(merged)]


def _report_change(row: Mapping[str, Any], by_report: bool) -> ReportChange:
    what = {"left_only": "removed", "right_only": "added"}.get(row["_merge"], "changed")
    record_id = row["record_id"] if not by_report else row["record_id_b" if what == "added" else "record_id_a"]
    columns = [name for name in TOLD if row[name]] if what == "changed" else []
    return ReportChange(record_id, row["report_id"] if by_report else None, what, columns)
