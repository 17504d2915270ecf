"""Forge: execute the plan.

One shard for each recipe entry and bucket, so that an edited entry re-forges its own shards and no others.

Fused on decoded arrays: manipulate, composite, mask, features, one encode for each published image.
Gates read the stored features afterwards; they change no byte.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmtt import images, manipulator
from mmtt.errors import Rejected, UserError
from mmtt.executors import Executor
from mmtt.faces import face_of
from mmtt.files import lock
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import Manifest, shard_paths
from mmtt.manipulator import Declaration, Edit, Job, Manipulator, blame
from mmtt.progress import Progress
from mmtt.recipe import Entry, Recipe
from mmtt.record import Note, PlanRow, Record, Rejection
from mmtt.shards import Lookup, read_rows, read_table
from mmtt.stage import ShardJob, conclude, run

from . import manipulators
from .fingerprints import keep, sweep
from .forged import forged_record
from .gates import gate
from .plan import require_fresh

STAGE = "forge"
VERSION = "1"
BATCH = 8
_TOLD_CHARS = 20_000

# What a forgery reads of its target and donor, and copies from them.
_READ = (
    "record_id", "image_sha256", "landmarks", "landmark_scheme", "landmark_finder", "parsing", "parser",
    "parsed_regions", "align_matrix", "template", "origin", "origin_id", "licence", "consent", "group_id",
)  # fmt: skip


@dataclass(frozen=True)
class Payload:
    """What a worker needs for one shard: the entry, its plan rows, their pristine shards, the program's digests.

    No shard holds rows of two programs: one whose code or weights have other digests is refused.
    """

    entry: Entry
    rows: tuple[PlanRow, ...]
    pristine: tuple[str, ...]
    mask_tau: int
    find_faces: bool
    code_sha256: str | None = None
    weights_sha256: str | None = None


def forge(layout: Layout, recipe: Recipe, executor: Executor, progress: Progress) -> Manifest:
    """Make the forged shards of a dataset.

    Raises:
        UserError: no plan yet, or the plan names records that are not ingested any more.
    """
    require_fresh(layout, recipe)
    with lock(layout.forged):
        jobs = shard_jobs(layout, recipe)
        run(forged_rows, jobs, layout.forged, executor, progress, keep)
        sweep(layout.root)
        refused = gate(layout, recipe.forge.gate, jobs)
        return conclude(STAGE, jobs, layout.forged, refused)


def shard_jobs(layout: Layout, recipe: Recipe) -> list[ShardJob]:
    """Return one job for each entry and bucket of the plan, with the digests that decide its bytes."""
    made = manipulators.from_recipe(recipe.forge.manipulators)
    entries = {entry.label: entry for entry in recipe.forge.manipulators}
    contents, homes = pristine_index(shard_paths(layout.pristine))
    shards: dict[tuple[str, int], list[PlanRow]] = {}
    for row in read_table(layout.plan / "plan.parquet", PlanRow):
        if row.entry not in entries or {row.target_id, row.source_id or row.target_id} - contents.keys():
            raise UserError(f"{layout.plan} does not fit the recipe and the pristine shards. Run `mmtt plan` first.")
        shards.setdefault((row.entry, row.bucket), []).append(row)
    return [
        _shard_job(recipe, entries[label], made[label], bucket, rows, contents, homes)
        for (label, bucket), rows in sorted(shards.items())
    ]


def pristine_index(paths: Iterable[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """For each record of pristine shards, the digest of what a forgery reads of it, and the shard that holds it."""
    contents, homes = {}, {}
    for path in paths:
        for row in read_rows(path, _READ):
            parsing = row.pop("parsing")
            contents[row["record_id"]] = digest([row, parsing and images.sha256(parsing["bytes"])])
            homes[row["record_id"]] = str(path)
    return contents, homes


def _shard_job(
    recipe: Recipe,
    entry: Entry,
    made: Manipulator,
    bucket: int,
    rows: Sequence[PlanRow],
    contents: dict[str, str],
    homes: dict[str, str],
) -> ShardJob:
    section, (options, declared) = recipe.forge, manipulator.decisive(made)
    return ShardJob(
        name=shard_name(entry.label, bucket),
        stage=STAGE,
        input_digest=input_digest(rows, contents),
        fingerprint=digest([STAGE, VERSION, section.mask_tau, section.find_faces, options, declared]),
        payload=Payload(
            entry,
            tuple(rows),
            tuple(sorted({homes[record_id] for record_id in _used(rows)})),
            section.mask_tau,
            section.find_faces,
            declared.code_sha256,
            declared.weights_sha256,
        ),
    )


def shard_name(entry: str, bucket: int) -> str:
    """Return the name of the shard that holds an entry's forgeries of a bucket."""
    return f"{entry}-{bucket:04d}"


def _used(rows: Sequence[PlanRow]) -> list[str]:
    return sorted({row.target_id for row in rows} | {row.source_id for row in rows if row.source_id})


def input_digest(rows: Sequence[PlanRow], contents: Mapping[str, str]) -> str:
    """Return the digest of all that a forged shard is made from: plan rows, and what they read of pristine records."""
    return digest([[_row_digest(row) for row in rows], [contents[record_id] for record_id in _used(rows)]])


def _row_digest(row: PlanRow) -> list[Any]:
    return [row.record_id, row.target_id, row.source_id, row.parameters, row.seed, row.obligations]


def forged_rows(job: ShardJob) -> Iterator[Record | Rejection | Note]:
    """Yield the forged records and the rejections of one shard, in the plan's order, and what programs said.

    Raises:
        UserError: the program is not the one that the shard was planned with, or changed while it was forging.
    """
    payload: Payload = job.payload
    made, declared = _program(payload)
    lookup = Lookup([Path(path) for path in payload.pristine])
    for start in range(0, len(payload.rows), BATCH):
        yield from _forge_batch(made, declared, payload, lookup, payload.rows[start : start + BATCH])
    _program(payload)


def _program(payload: Payload) -> tuple[Manipulator, Declaration]:
    """Make the program anew (one that was made before may remember its digests), and compare it with the job's."""
    made = manipulators.make(payload.entry.use, payload.entry.options, payload.entry.label)
    declared = made.declare()
    for name in ("code_sha256", "weights_sha256"):
        there, here = getattr(payload, name), getattr(declared, name)
        if there != here:
            told = f"{name} was {there}, and is {here}"
            raise UserError(f"'{payload.entry.label}' changed while it was forging: {told}. Run `mmtt plan` again.")
    return made, declared


def _forge_batch(
    made: Manipulator, declared: Declaration, payload: Payload, lookup: Lookup, rows: Sequence[PlanRow]
) -> Iterator[Record | Rejection | Note]:
    targets = [lookup.get(row.target_id) for row in rows]
    sources = [lookup.get(row.source_id) if row.source_id else None for row in rows]
    jobs = [render_job(row, t, s) for row, t, s in zip(rows, targets, sources, strict=True)]
    for row, target, source, job, edit in zip(rows, targets, sources, jobs, _render(made, rows, jobs), strict=True):
        try:
            if isinstance(edit, Rejected):
                raise edit
            forged = manipulator.finish(job.target, edit, declared.mask_rule, payload.mask_tau)
            yield forged_record(declared, row, target, source, edit, forged, payload.find_faces)
            said = edit.log or ""
        except Rejected as reason:
            yield _rejection(row, reason)
            said = reason.log
        if said:
            yield Note(record_id=row.record_id, manipulator=row.entry, text=_storable(said))


def _rejection(row: PlanRow, reason: Rejected) -> Rejection:
    return Rejection(
        stage=STAGE,
        code=reason.code,
        detail=_storable(reason.detail),
        record_id=row.record_id,
        manipulator=row.entry,
    )


def _storable(text: str) -> str:
    """The end of what a stranger's program said, without the halves of characters that no table can hold."""
    return text[-_TOLD_CHARS:].encode("utf-8", "replace").decode("utf-8")


def _render(made: Manipulator, rows: Sequence[PlanRow], jobs: Sequence[Job]) -> Sequence[Edit | Rejected]:
    """Render a batch; when it fails, render one by one to learn which job is to blame."""
    try:
        edits = made.render(jobs)
        if len(edits) == len(jobs):
            return edits
    except Exception as error:
        blame(error)
    # With generators of their own again: the failed batch has drawn from these.
    return [_render_one(made, job._replace(rng=_generator(row))) for row, job in zip(rows, jobs, strict=True)]


def _render_one(made: Manipulator, job: Job) -> Edit | Rejected:
    try:
        (edit,) = made.render([job])
    except Exception as error:
        return blame(error)
    return edit


def forge_row(made: Manipulator, row: PlanRow, lookup: Lookup, payload: Payload) -> Record:
    """Return the record that one plan row describes, forged on its own.

    Raises:
        Rejected: as the manipulator or the composite refuses it.
    """
    target = lookup.get(row.target_id)
    source = lookup.get(row.source_id) if row.source_id else None
    job = render_job(row, target, source)
    edit = _render_one(made, job)
    if isinstance(edit, Rejected):
        raise edit
    declared = made.declare()
    forged = manipulator.finish(job.target, edit, declared.mask_rule, payload.mask_tau)
    return forged_record(declared, row, target, source, edit, forged, payload.find_faces)


def render_job(row: PlanRow, target: Record, source: Record | None) -> Job:
    """Return the job that a plan row describes: everything decided, pixels decoded."""
    return Job(
        target=_frozen(target.image),
        target_face=face_of(target),
        source=_frozen(source.image) if source else None,
        source_face=face_of(source) if source else None,
        parameters=json.loads(row.parameters),
        rng=_generator(row),
    )


def _generator(row: PlanRow) -> np.random.Generator:
    return np.random.default_rng(int(row.seed, 16))


def _frozen(data: bytes) -> images.Rgb:
    """A decoded image that a manipulator cannot write to: alpha 0 must mean untouched."""
    pixels = images.decode_rgb(data)
    pixels.setflags(write=False)
    return pixels
