"""Plan: split first, then decide every forgery before any pixel is touched.

The plan is data, one row a forgery; `forge` only executes it. Rows that an earlier plan decided stay,
as long as their recipe entry, target and donor are the same: adding photos only adds rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.faces import Face
from mmtt.files import lock, write_atomically
from mmtt.ids import derived_id, digest
from mmtt.layout import Layout
from mmtt.licences import combine
from mmtt.manifest import MANIFEST, Manifest, shard_paths
from mmtt.manipulator import Manipulator, blame, decisive
from mmtt.recipe import Entry, Recipe
from mmtt.record import Assignment, PlanRow, Rejection
from mmtt.regions import REGIONS
from mmtt.shards import Lookup, Shard, read_table, write_table

from . import consents, denied, grouping, manipulators
from .donors import Candidate, Donors
from .embeddings import faces_of, read_lineage
from .identities import IdentitySummary, identify, mark
from .ingest import bucket_of

STAGE = "plan"
VERSION = "1"
BASIS = "basis"
_COLUMNS = ["record_id", "group_id", "origin", "licence", "landmark_scheme", "parsed_regions"]


@dataclass(frozen=True)
class Planned:
    """What a plan decided, and what it refused. `crossing`: one picture in two splits of an earlier plan."""

    splits: list[Assignment]
    rows: list[PlanRow]
    rejections: list[Rejection]
    identity: IdentitySummary | None = None
    largest: grouping.Component | None = None
    crossing: grouping.Crossing | None = None


@dataclass(frozen=True)
class _Pristine:
    """A pristine record as the plan sees it: never its pixels. `content` is the digest of all that the plan reads."""

    record_id: str
    group_id: str
    origin: str
    licence: str
    face: Face
    content: str


def plan(layout: Layout, recipe: Recipe, today: date) -> Planned:
    """Decide splits and forgeries of a dataset and write both tables.

    Whoever did not agree to be forged, or did so until before today, keeps a split, but is neither target nor donor.

    Raises:
        UserError: nothing ingested yet, or with other consents. RecipeError: a manipulator's name or option.
    """
    made = manipulators.from_recipe(recipe.forge.manipulators)
    with lock(layout.plan):
        barred = consents.refusals(layout, recipe.consent, today)
        pristine = _pristine(layout)
        divided = _split(layout, recipe, pristine)
        usable = [row for row in divided.splits if row.record_id not in barred]
        decided = decide(recipe, made, pristine, usable, _earlier_rows(layout))
        rows, refused = denied.sift(layout.root, *decided)
        planned = replace(divided, rows=rows, rejections=[*divided.rejections, *barred.values(), *refused])
        write_table(layout.splits, planned.splits, Assignment)
        write_table(layout.plan / "rejections.parquet", planned.rejections, Rejection)
        write_table(layout.plan / "plan.parquet", planned.rows, PlanRow)
        write_atomically(layout.plan / BASIS, basis(layout, recipe).encode())
        return planned


def basis(layout: Layout, recipe: Recipe) -> str:
    """Return the digest of all that a plan follows from but the day: recipe, programs, pristine records, people."""
    made = manipulators.from_recipe(recipe.forge.manipulators)
    programs = [
        [entry.label, entry.use, entry.per_target, entry.share, decisive(made[entry.label])]
        for entry in recipe.forge.manipulators
    ]
    # Where the shards were made is a private note, which may get lost.
    whole = (layout.pristine / MANIFEST).exists()
    pristine = [asdict(shard) for shard in Manifest.load(layout.pristine).shards] if whole else None
    said = [VERSION, recipe.seed, recipe.buckets, recipe.plan.model_dump(), programs, pristine, mark(layout)]
    # Only where it differs from the default, so that plans from before that section stay fresh.
    return digest([*said, *(["unasked"] if recipe.consent.unasked != "forge" else [])])


def require_fresh(layout: Layout, recipe: Recipe) -> None:
    """Refuse to execute a plan that was made for another recipe or other pristine records.

    Raises:
        UserError: it was, or there is none.
    """
    path = layout.plan / BASIS
    if not path.exists() or path.read_text(encoding="ascii") != basis(layout, recipe):
        what = "the recipe and the pristine shards, or a program, its weights or who is who changed since"
        raise UserError(f"{layout.plan} does not fit {what}. Run `mmtt plan` first.")


def _earlier_rows(layout: Layout) -> list[PlanRow]:
    """The rows of the last plan; a torn table counts as none, since a plan can be drawn anew."""
    try:
        return read_table(layout.plan / "plan.parquet", PlanRow)
    except UserError:
        return []


def _earlier_splits(layout: Layout) -> list[Assignment]:
    path = layout.splits
    if not path.exists():
        return []
    try:
        return read_table(path, Assignment)
    except UserError as error:
        hint = "Restore it, or remove it to have every split drawn anew."
        raise UserError(f"{path} says which face is in which split, and cannot be read. {hint}") from error


def _pristine(layout: Layout) -> dict[str, _Pristine]:
    """Every pristine record by id, in the order of the ids; one row group at a time."""
    found: dict[str, _Pristine] = {}
    for shard in map(Shard, shard_paths(layout.pristine)):
        for index in range(shard.groups):
            group = shard.group(index, [*_COLUMNS, "landmarks"])
            rows = group.select(_COLUMNS).to_pylist()
            for row, points in zip(rows, _landmarks(group.column("landmarks")), strict=True):
                content = digest([row, points.tobytes().hex()])
                face = Face(points, row.pop("landmark_scheme"), parsed=tuple(row.pop("parsed_regions")))
                found[row["record_id"]] = _Pristine(**row, face=face, content=content)
    return dict(sorted(found.items()))


def _landmarks(column: pa.ChunkedArray) -> list[npt.NDArray[np.float32]]:
    """One float32 N×2 array a row; a Python object for each number would take gigabytes."""
    nested = column.combine_chunks()
    points = nested.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, 2)
    return np.split(points, np.cumsum(nested.value_lengths().to_numpy(zero_copy_only=False))[:-1])


def _split(layout: Layout, recipe: Recipe, pristine: Mapping[str, _Pristine]) -> Planned:
    faces = faces_of(*read_lineage(layout.lineage), pristine)
    pairs = grouping.near_duplicates(faces.rows, recipe.plan.near_duplicate_bits)
    small = _thumbnails(layout, {record_id for pair in pairs for record_id in pair})
    alike = [(a, b) for a, b in pairs if grouping.same_picture(small[a], small[b])]
    candidates = [grouping.Candidate(row.record_id, row.group_id) for row in pristine.values()]
    before = _earlier_splits(layout)
    split_of = grouping.earlier_splits(candidates, before)
    people, identity = identify(layout, faces, recipe.plan.identity, split_of)
    ties = sorted({(pristine[a].group_id, pristine[b].group_id) for a, b in alike}.union(people))
    splits, refused = grouping.assign(candidates, ties, before, recipe.plan.splits, recipe.seed)
    crossing = grouping.crossing(alike, split_of)
    return Planned(splits, [], refused, identity, grouping.largest(splits), crossing)


def _thumbnails(layout: Layout, record_ids: set[str]) -> dict[str, images.Rgb]:
    """Thumbnails of some records; each is read once, neighbours after one another."""
    lookup = Lookup(shard_paths(layout.pristine))
    wanted = sorted(record_ids, key=lookup.place)
    return {record_id: grouping.thumbnail(images.decode_rgb(lookup.get(record_id).image)) for record_id in wanted}


def entry_digest(recipe: Recipe, entry: Entry, manipulator: Manipulator) -> str:
    """Return the digest of all that decides what an entry does to a face; how many it takes has no say."""
    donors = recipe.plan.donors.model_dump() if manipulator.declare().needs_source else None
    return digest([VERSION, recipe.seed, recipe.buckets, entry.label, decisive(manipulator), donors])


def decide(
    recipe: Recipe,
    made: Mapping[str, Manipulator],
    pristine: Mapping[str, _Pristine],
    splits: Sequence[Assignment],
    before: Sequence[PlanRow],
) -> tuple[list[PlanRow], list[Rejection]]:
    """Return one row for each forgery to be made, and a rejection for each that cannot be.

    Rows of `before` are kept where the entry, the target and the donor are what they were.
    """
    kept = {(row.entry, row.target_id, row.index): row for row in before}
    candidates = {r.record_id: Candidate(r.record_id, r.origin, r.face) for r in pristine.values()}
    donors = Donors(candidates, splits, recipe.plan.donors)
    placed = {row.record_id: row for row in splits}
    rows, refused = [], []
    for entry in recipe.forge.manipulators:
        manipulator = made[entry.label]
        mark = entry_digest(recipe, entry, manipulator)
        for target_id in placed:
            if not _drawn(recipe.seed, entry, target_id):
                continue
            for index in range(entry.per_target):
                old = kept.get((entry.label, target_id, index))
                if old is not None and _holds(old, mark, pristine, placed):
                    rows.append(old)
                    continue
                try:
                    split = placed[target_id].split
                    rows.append(_row(recipe, entry, manipulator, mark, pristine, donors, target_id, split, index))
                except Rejected as reason:
                    refused.append(_refusal(target_id, entry, reason))
    return sorted(rows, key=lambda row: (row.entry, row.bucket, row.target_id, row.index)), refused


def _refusal(target_id: str, entry: Entry, reason: Rejected) -> Rejection:
    return Rejection(stage=STAGE, code=reason.code, detail=reason.detail, record_id=target_id, manipulator=entry.label)


def _holds(old: PlanRow, mark: str, pristine: Mapping[str, _Pristine], placed: Mapping[str, Assignment]) -> bool:
    """Whether an earlier row is still true: same entry, faces and licences; a donor of its split, another component."""
    target = placed[old.target_id]
    if old.source_id is not None:
        donor = placed.get(old.source_id)
        if donor is None or donor.split != target.split or donor.component_id == target.component_id:
            return False
    source = pristine[old.source_id] if old.source_id is not None else None
    return old.entry_digest == _basis(mark, target.split, pristine[old.target_id], source)


def _basis(mark: str, split: str, target: _Pristine, source: _Pristine | None) -> str:
    """The digest of all that one row follows from."""
    return digest([mark, split, target.content, source.content if source else None])


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
    declared = manipulator.declare()
    target = pristine[target_id]
    rng = np.random.default_rng(int(digest([recipe.seed, STAGE, target_id, entry.label, index]), 16))
    source = _donor(donors, pristine, target_id, rng) if declared.needs_source else None
    donor_licence = source.licence if source else None
    obliged = combine({
        "photo": target.licence, "donor": donor_licence, "code": declared.code_licence,
        "weights": declared.weights_licence,
    })  # fmt: skip
    parameters = _parameters(manipulator, target, source, rng)
    written = json.dumps(parameters, sort_keys=True)
    seed = digest([recipe.seed, "forge", target_id, entry.label, index])[:32]
    source_id = source.record_id if source else None
    learned = [declared.code_sha256, declared.weights_sha256] if declared.code_sha256 or declared.weights_sha256 else []
    return PlanRow(
        record_id=derived_id("forged", target_id, source_id, declared.name, declared.version, written, seed, *learned),
        entry=entry.label,
        entry_digest=_basis(mark, split, target, source),
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


def _parameters(
    manipulator: Manipulator, target: _Pristine, source: _Pristine | None, rng: np.random.Generator
) -> dict[str, Any]:
    try:
        planned = manipulator.plan(target.face, source.face if source else None, rng)
        parameters: dict[str, Any] = json.loads(json.dumps(planned, allow_nan=False))
    except Exception as error:
        raise blame(error) from error
    words = parameters.get("regions")
    if not isinstance(words, list) or not words or set(words) - set(REGIONS):
        raise Rejected("bad_plan", f"'regions' is {words!r}; it must list some of the 21 words")
    return parameters


def _donor(donors: Donors, pristine: Mapping[str, _Pristine], target_id: str, rng: np.random.Generator) -> _Pristine:
    near = donors.nearest(target_id)
    if not near:
        raise Rejected("no_donor", "its split holds no face of another group (see plan.donors in the recipe)")
    return pristine[near[int(rng.integers(len(near)))]]
