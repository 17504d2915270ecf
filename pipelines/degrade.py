"""Degrade: copies of every record as the world would pass them on. Variants, never masters.

The image goes through the chain in order. Mask, alpha, change, pristine, intent, label map, landmarks and alignment
matrix move with the chain's one composed matrix, from the master in one resample, and nothing else touches them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmtt import images, parsing, regions
from mmtt.errors import Rejected, UserError
from mmtt.executors import Executor
from mmtt.faces import face_of, transform
from mmtt.files import file_sha256, lock
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, Manifest, ShardInfo
from mmtt.progress import Progress
from mmtt.recipe import Recipe
from mmtt.record import MASTER, Record, Rejection
from mmtt.shards import Shard
from mmtt.stage import ShardJob, conclude, run

from .degradations.chain import Chain, chains, draw, from_json, through, to_json
from .degradations.geometry import coverage, is_identity, warp_image, warp_mask
from .degradations.operation import Move

STAGE = "degrade"
VERSION = "1"


@dataclass(frozen=True)
class Payload:
    """What a worker needs for one shard: the chain, the seed, and the shard of masters with its SHA-256."""

    chain: Chain
    seed: int
    source: str
    sha256: str


def degrade(layout: Layout, recipe: Recipe, executor: Executor, progress: Progress) -> Manifest:
    """Make the degraded shards of a dataset: each variant of every pristine and forged record.

    Forgeries that a gate refused are degraded too, because an edited gate re-makes nothing; they share their
    master's `record_id`, so that whoever leaves the master out leaves them out.

    Raises:
        UserError: the recipe asks for no variant or for one that cannot be, or the masters are not finished.
    """
    made = chains(recipe.degrade)
    if not made:
        raise UserError(f"{layout.recipe} asks for no variant. Name some under `degrade`, such as `presets: [jpeg]`.")
    with lock(layout.degraded):
        jobs = shard_jobs(layout, recipe.seed, made)
        run(degraded_rows, jobs, layout.degraded, executor, progress)
        return conclude(STAGE, jobs, layout.degraded)


def shard_jobs(layout: Layout, seed: int, made: Sequence[Chain]) -> list[ShardJob]:
    """Return one job for each variant and shard of masters, with the digests that decide its bytes."""
    masters = [
        (folder, shard)
        for folder, stage in ((layout.pristine, "ingest"), (layout.forged, "forge"))
        for shard in _finished(folder, stage, layout).shards
    ]
    return [_shard_job(seed, chain, folder, shard) for chain in made for folder, shard in masters]


def _finished(folder: Path, stage: str, layout: Layout) -> Manifest:
    if not (folder / MANIFEST).exists():
        raise UserError(f"{folder} has no {MANIFEST}: its shards are not all made. Run `mmtt {stage} {layout.root}`.")
    return Manifest.load(folder)


def _shard_job(seed: int, chain: Chain, folder: Path, shard: ShardInfo) -> ShardJob:
    said = [[made.op, made.model_dump(), made.version()] for made in chain.operations]
    return ShardJob(
        name=f"{chain.name}-{folder.name}-{shard.name}",
        stage=STAGE,
        input_digest=shard.sha256,
        fingerprint=digest([STAGE, VERSION, chain.name, said, seed]),
        payload=Payload(chain, seed, str(folder / f"{shard.name}.parquet"), shard.sha256),
    )


def degraded_rows(job: ShardJob) -> Iterator[Record | Rejection]:
    """Yield one variant of every record of a shard, or why there is none, in the shard's order.

    Raises:
        UserError: the shard is not the one that the manifest lists.
    """
    payload: Payload = job.payload
    path = Path(payload.source)
    if not path.exists() or file_sha256(path) != payload.sha256:
        raise UserError(f"{path} is not what its manifest lists. `mmtt verify {path.parent}` tells more; build again.")
    for record in Shard(path).records():
        try:
            yield degraded(record, payload.chain, payload.seed)
        except Rejected as reason:
            detail = f"variant '{payload.chain.name}': {reason.detail}"
            yield Rejection(
                stage=STAGE,
                code=reason.code,
                detail=detail,
                record_id=record.record_id,
                manipulator=record.manipulator,
            )


def degraded(record: Record, chain: Chain, seed: int) -> Record:
    """Return a master's variant, with parameters drawn for this record.

    Raises:
        Rejected: as `apply`.
    """
    return apply(record, chain.name, [to_json(step) for step in draw(chain, seed, record.record_id)])


def apply(record: Record, variant: str, degradations: Sequence[str]) -> Record:
    """Return the variant of a master that recorded degradations make: the same bytes whenever they are applied.

    Raises:
        Rejected: `already_degraded` (no master), `mask_vanished`, `unchanged`, `too_small` or `too_large`.
        UserError: a degradation cannot be read.
    """
    if record.variant != MASTER or record.degradations:
        raise Rejected("already_degraded", f"the record is the variant '{record.variant}', not a master")
    before = images.decode_rgb(record.image)
    image, move = through(before, [from_json(text) for text in degradations])
    if np.array_equal(image, before):
        raise Rejected("unchanged", "the chain leaves every pixel of the image as it was")
    encoded = images.encode_png(image)
    moved = record if is_identity(move, before.shape[:2]) else _moved(record, move)
    return replace(
        moved,
        variant=variant,
        degradations=list(degradations),
        image=encoded,
        image_sha256=images.sha256(encoded),
        raw=None,
        face_score=None,
    )


def _moved(record: Record, move: Move) -> Record:
    """The record with all that lies on the image moved, and what follows from it derived again."""
    mask = warp_mask(images.decode_gray(record.mask), move)
    if record.manipulation is not None and not mask.any():
        raise Rejected("mask_vanished", "nothing of the forged area is left in the frame")
    photo = np.vstack([np.reshape(record.align_matrix, (2, 3)), [0, 0, 1]])
    moved = replace(
        record,
        mask=images.encode_png(mask),
        mask_share=np.count_nonzero(mask) / mask.size,
        landmarks=transform(np.asarray(record.landmarks, np.float32), move.matrix).tolist(),
        align_matrix=(move.matrix @ photo).ravel().tolist(),
        **_moved_planes(record, move),
    )
    moved = replace(moved, parsed_regions=_still_parsed(moved))
    return replace(moved, **_features(moved, mask))


def _moved_planes(record: Record, move: Move) -> dict[str, bytes | None]:
    """What a record holds besides image and mask, moved; what it does not hold stays null."""
    made: dict[str, images.Array] = {}
    if record.pristine is not None:
        made["pristine"] = warp_image(images.decode_rgb(record.pristine), move)
    if record.alpha is not None:
        # Rounded up, so that no pixel that covers a touched one becomes 0; but not for the last digit of a float.
        made["alpha"] = np.ceil(coverage(images.decode_gray(record.alpha), move) - np.float32(1e-3))
    if record.change is not None:
        made["change"] = np.rint(coverage(images.decode_gray(record.change), move))
    if record.intent is not None:
        made["intent"] = warp_mask(images.decode_gray(record.intent), move)
    if record.parsing is not None:
        made["parsing"] = parsing.warp(images.decode_gray(record.parsing), move.matrix, (move.height, move.width))
    return {name: images.encode_png(pixels.astype(np.uint8)) for name, pixels in made.items()}


def _still_parsed(record: Record) -> list[str]:
    """The words that the moved label map still shows; a crop may have cut some away."""
    words = () if record.parsing is None else parsing.parsed_words(images.decode_gray(record.parsing))
    return [word for word in record.parsed_regions if word in words]


def _features(record: Record, mask: images.Gray) -> dict[str, Any]:
    shares = {} if record.manipulation is None else regions.edited_shares(face_of(record), mask)
    inside = None if record.change is None else images.decode_gray(record.change)[mask > 0]
    return {
        "regions": list(shares),
        "region_shares": list(shares.values()),
        "change_mean": None if inside is None else float(inside.mean()),
    }
