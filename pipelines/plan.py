"""Plan: split first, then decide every forgery before any pixel is touched.

The plan is data, one row a forgery; `forge` only executes it. Rows that an earlier plan decided stay,
as long as their recipe entry is the same: adding photos only adds rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmtt import images
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.licences import combine
from mmtt.manipulator import Manipulator
from mmtt.recipe import Entry, Recipe
from mmtt.record import Assignment, Lineage, PlanRow, Rejection
from mmtt.shards import Lookup, derived_id, digest, lock, read_columns, read_table, shard_paths, write_table

from . import grouping, manipulators
from .donors import Candidate, Donors
from .ingest import bucket_of
from .layout import Layout

STAGE = "plan"
VERSION = "1"

_COLUMNS = ["record_id", "group_id", "origin", "licence", "landmarks", "landmark_scheme"]


@dataclass(frozen=True)
class Planned:
    """What a plan decided, and what it refused."""

    splits: list[Assignment]
    rows: list[PlanRow]
    rejections: list[Rejection]


@dataclass(frozen=True)
class _Pristine:
    """A pristine record as the plan sees it: never its pixels."""

    record_id: str
    group_id: str
    origin: str
    licence: str
    face: Face


def plan(layout: Layout, recipe: Recipe) -> Planned:
    """Decide splits and forgeries of a dataset and write both tables.

    Raises:
        UserError: nothing ingested yet. RecipeError: a manipulator's name or option.
    """
    made = manipulators.from_recipe(recipe.forge.manipulators)
    with lock(layout.plan):
        pristine = _pristine(layout)
        splits, refused = _split(layout, recipe, pristine)
        before = _earlier(layout.plan / "plan.parquet", PlanRow)
        rows, unplanned = decide(recipe, made, pristine, splits, before)
        planned = Planned(splits, rows, [*refused, *unplanned])
        write_table(layout.plan / "splits.parquet", planned.splits, Assignment)
        write_table(layout.plan / "rejections.parquet", planned.rejections, Rejection)
        write_table(layout.plan / "plan.parquet", planned.rows, PlanRow)
        return planned


def _earlier(path: Any, row_class: Any) -> list[Any]:
    return read_table(path, row_class) if path.exists() else []


def _pristine(layout: Layout) -> dict[str, _Pristine]:
    rows = read_columns(layout.pristine, _COLUMNS)
    return {
        row["record_id"]: _Pristine(
            row["record_id"],
            row["group_id"],
            row["origin"],
            row["licence"],
            Face(np.asarray(row["landmarks"], np.float32), row["landmark_scheme"]),
        )
        for row in sorted(rows, key=lambda row: str(row["record_id"]))
    }


def _split(
    layout: Layout, recipe: Recipe, pristine: Mapping[str, _Pristine]
) -> tuple[list[Assignment], list[Rejection]]:
    lineage = [row for row in read_table(layout.lineage, Lineage) if row.record_id in pristine]
    lookup = Lookup(shard_paths(layout.pristine))
    ties = sorted(
        {
            (pristine[a].group_id, pristine[b].group_id)
            for a, b in grouping.near_duplicates(lineage, recipe.plan.near_duplicate_bits)
            if grouping.same_picture(*(images.decode_rgb(lookup.get(record_id).image) for record_id in (a, b)))
        }
    )
    before = _earlier(layout.plan / "splits.parquet", Assignment)
    candidates = [grouping.Candidate(row.record_id, row.group_id) for row in pristine.values()]
    return grouping.assign(candidates, ties, before, recipe.plan.splits, recipe.seed)


def entry_digest(recipe: Recipe, entry: Entry, manipulator: Manipulator) -> str:
    """Return the digest of all that decides an entry's rows; a changed entry is planned anew."""
    declared = manipulator.declaration
    donors = recipe.plan.donors.model_dump() if declared.needs_source else None
    decided = [VERSION, recipe.seed, entry.per_target, entry.share, manipulator.model_dump(), declared, donors]
    return digest([entry.label, *decided])


def decide(
    recipe: Recipe,
    made: Mapping[str, Manipulator],
    pristine: Mapping[str, _Pristine],
    splits: Sequence[Assignment],
    before: Sequence[PlanRow],
) -> tuple[list[PlanRow], list[Rejection]]:
    """Return one row for each forgery to be made, and a rejection for each that cannot be.

    Rows of `before` are kept where entry, target and donor are still there.
    """
    kept = {(row.entry_digest, row.target_id, row.index): row for row in before}
    candidates = {r.record_id: Candidate(r.record_id, r.origin, r.face) for r in pristine.values()}
    donors = Donors(candidates, splits, recipe.plan.donors)
    split_of = {row.record_id: row.split for row in splits}
    rows, refused = [], []
    for entry in recipe.forge.manipulators:
        manipulator = made[entry.label]
        mark = entry_digest(recipe, entry, manipulator)
        for target_id, split in split_of.items():
            if not _drawn(recipe.seed, entry, target_id):
                continue
            for index in range(entry.per_target):
                old = kept.get((mark, target_id, index))
                if old is not None and (old.source_id is None or split_of.get(old.source_id) == split):
                    rows.append(old)
                    continue
                try:
                    rows.append(_row(recipe, entry, manipulator, mark, pristine, donors, target_id, split, index))
                except Rejected as reason:
                    refused.append(
                        Rejection(
                            stage=STAGE,
                            code=reason.code,
                            detail=reason.detail,
                            record_id=target_id,
                            manipulator=entry.label,
                        )
                    )
    return sorted(rows, key=lambda row: (row.entry, row.bucket, row.target_id, row.index)), refused


def _drawn(seed: int, entry: Entry, target_id: str) -> bool:
    """Whether an entry takes a target: by digest, so that other targets and entries have no say."""
    return int(derived_id(seed, "share", entry.label, target_id)[:8], 16) < entry.share * 2**32


def _row(
    recipe: Recipe,
    entry: Entry,
    manipulator: Manipulator,
    mark: str,
    pristine: Mapping[str, _Pristine],
    donors: Donors,
    target_id: str,
    split: str,
    index: int,
) -> PlanRow:
    declared = manipulator.declaration
    target = pristine[target_id]
    rng = np.random.default_rng(int(digest([recipe.seed, STAGE, target_id, entry.label, index]), 16))
    source = _donor(donors, pristine, target_id, rng) if declared.needs_source else None
    obliged = combine([
        target.licence, source.licence if source else None, declared.code_licence, declared.weights_licence
    ])  # fmt: skip
    parameters = manipulator.plan(target.face, source.face if source else None, rng)
    written = json.dumps(parameters, sort_keys=True)
    seed = digest([recipe.seed, "forge", target_id, entry.label, index])[:32]
    source_id = source.record_id if source else None
    return PlanRow(
        record_id=derived_id("forged", target_id, source_id, declared.name, declared.version, written, seed),
        entry=entry.label,
        entry_digest=mark,
        index=index,
        target_id=target_id,
        source_id=source_id,
        bucket=bucket_of(target.group_id, recipe.buckets),
        split=split,
        manipulation=declared.family,
        manipulator=declared.name,
        manipulator_version=declared.version,
        parameters=written,
        seed=seed,
        regions=list(parameters.get("regions", [])),
        obligations=obliged,
    )


def _donor(donors: Donors, pristine: Mapping[str, _Pristine], target_id: str, rng: np.random.Generator) -> _Pristine:
    near = donors.nearest(target_id)
    if not near:
        raise Rejected("no_donor", "its split holds no face of another group (see plan.donors in the recipe)")
    return pristine[near[int(rng.integers(len(near)))]]
