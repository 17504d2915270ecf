"""Ingest: photos of strangers become aligned pristine records. Nothing is changed, nothing vanishes.

Photos are hashed, matched with their source rows, and bucketed by group; each bucket becomes one shard.
A photo already ingested in the same way is carried over from the old shard, so adding photos never
touches an existing record.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.executors import Executor
from mmtt.faces import Face, align, outside_share
from mmtt.files import file_sha256, lock
from mmtt.ids import derived_id, digest
from mmtt.layout import Layout, salt
from mmtt.licences import obligations
from mmtt.manifest import Manifest
from mmtt.parsing import parsed_words
from mmtt.progress import Progress
from mmtt.recipe import IngestSection, Recipe
from mmtt.record import Lineage, Record, Rejection
from mmtt.shards import Footer, Lookup, read_footer, read_table, side_path
from mmtt.stage import ShardJob, conclude, run

from . import denied, finders, parsers
from .denied import Denied
from .embeddings import gather_lineage, read_lineage
from .finders import sidecar
from .fingerprints import keep, sweep
from .photos import STAGE, Photo, read_photo, scan

VERSION = "1"


@dataclass(frozen=True)
class Payload:
    """What a worker needs for one bucket."""

    root: str
    directory: str
    secret: str
    section: IngestSection
    photos: tuple[Photo, ...]
    parsing: str
    barred: Denied


def ingest(layout: Layout, recipe: Recipe, executor: Executor, progress: Progress) -> Manifest:
    """Make the pristine shards and the private lineage of a dataset.

    Raises:
        UserError: no photos, a source table that cannot be read, a directory being written, missing weights.
    """
    weights = {**finders.digests(recipe.ingest, parsers.WEIGHTS), **parsers.digests(recipe.ingest)}
    with lock(layout.pristine):
        barred = denied.load(layout.root)
        usable, refused = scan(layout, recipe.ingest, recipe.consent, barred)
        usable = parsers.with_parts(usable, layout, recipe.ingest, refused)
        jobs = _jobs(layout, recipe, usable, weights, barred)
        run(pristine_rows, jobs, layout.pristine, executor, progress, keep)
        sweep(layout.root)
        gather_lineage([side_path(layout.pristine, job.name, Lineage) for job in jobs], layout.lineage)
        return conclude(STAGE, jobs, layout.pristine, refused)


def group_id(secret: str, photo: Photo) -> str:
    """Return the salted hash of the photo's subject where known, else of the photo: 24 hex digits."""
    key = f"subject:{photo.source.subject}" if photo.source.subject else f"photo:{photo.sha256}"
    return hmac.new(secret.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:24]


def bucket_of(group: str, buckets: int) -> int:
    """Return the bucket, 0 to buckets − 1, of a group; the same from ingest to release."""
    return int(group[:8], 16) % buckets


def gathered(secret: str, photos: Iterable[Photo], buckets: int) -> dict[str, list[Photo]]:
    """Return the photos of each pristine shard by its name, in order."""
    by_bucket: dict[int, list[Photo]] = {}
    for photo in photos:
        by_bucket.setdefault(bucket_of(group_id(secret, photo), buckets), []).append(photo)
    return {f"bucket-{bucket:04d}": members for bucket, members in sorted(by_bucket.items())}


def input_digest(members: Iterable[Photo]) -> str:
    """Return the digest of all that a pristine shard is made from, but for the recipe."""
    return digest([photo.item_digest for photo in members])


def _jobs(
    layout: Layout, recipe: Recipe, photos: Iterable[Photo], weights: Mapping[str, str], barred: Denied
) -> list[ShardJob]:
    secret = salt(layout)
    # Pins only say which weights are trusted; `weights` are those that are used.
    section = recipe.ingest.model_dump(exclude={"models"})
    fingerprint = digest([STAGE, VERSION, section, digest(secret), weights])
    places = (str(layout.photos), str(layout.pristine))
    return [
        ShardJob(
            name=name,
            stage=STAGE,
            input_digest=input_digest(members),
            fingerprint=fingerprint,
            payload=Payload(*places, secret, recipe.ingest, tuple(members), str(layout.parsing), barred),
        )
        for name, members in gathered(secret, photos, recipe.buckets).items()
    ]


def pristine_rows(job: ShardJob) -> Iterator[Record | Rejection | Lineage]:
    """Yield the records, lineage and rejections of one bucket."""
    payload: Payload = job.payload
    old = _carried(Path(payload.directory), job)
    for photo in payload.photos:
        if photo.item_digest in old:
            yield from old[photo.item_digest]
            continue
        try:
            yield from _photo_rows(photo, payload)
        except Rejected as reason:
            yield Rejection(stage=STAGE, code=reason.code, detail=reason.detail, path=photo.path)


def _carried(directory: Path, job: ShardJob) -> dict[str, Iterator[Record | Lineage]]:
    """What the old shard made from photos that did not change, by item digest, read only when asked for.

    Photos with any rejection are done again: they are few, and their rows are of three kinds.
    """
    path = directory / f"{job.name}.parquet"
    footer = read_footer(path)
    if footer is None or footer.fingerprint != job.fingerprint:
        return {}
    try:
        noted, embeddings = read_lineage(_vouched(directory, job.name, footer, Lineage))
        refused = {row.path for row in read_table(_vouched(directory, job.name, footer, Rejection), Rejection)}
        lookup = Lookup([path])
    except UserError:
        return {}
    by_item: dict[str, list[Lineage]] = {}
    for row, embedding in zip(noted, embeddings, strict=True):
        if row.path not in refused and row.record_id in lookup:
            by_item.setdefault(row.item_digest, []).append(replace(row, embedding=embedding))
    return {item: _pairs(rows, lookup) for item, rows in by_item.items()}


def _vouched(directory: Path, shard: str, footer: Footer, row_class: type) -> Path:
    """A shard's side table as its footer knows it: a killed run leaves newer ones beside an old shard."""
    path = side_path(directory, shard, row_class)
    if not path.exists() or file_sha256(path) != footer.side.get(row_class.__name__):
        raise UserError(f"{path} was not written together with its shard.")
    return path


def _pairs(rows: list[Lineage], lookup: Lookup) -> Iterator[Record | Lineage]:
    for row in rows:
        yield lookup.get(row.record_id)
        yield row


def find_faces(photo: images.Rgb, path: str, listed: list[dict[str, Any]] | None, section: IngestSection) -> list[Face]:
    """Return the faces of a photo that the recipe wants: the first finder that finds any decides.

    A sidecar that lists a photo with no face decides as well: somebody looked.

    Raises:
        Rejected: `no_face`, `too_many_faces`.
    """
    for name in section.finders:
        if name == "sidecar":
            faces = sidecar.SidecarFinder({} if listed is None else {path: listed}).find(photo, path)
        else:
            faces = finders.make(name, section.models).find(photo, path)
        if faces or (name == "sidecar" and faces is not None):
            break
    else:
        faces = []
    if not faces:
        raise Rejected("no_face", f"none of the finders ({', '.join(section.finders)}) found a face")
    if len(faces) > section.max_faces:
        raise Rejected("too_many_faces", f"{len(faces)} faces are more than {section.max_faces}")
    return faces


def _photo_rows(photo: Photo, payload: Payload) -> Iterator[Record | Rejection | Lineage]:
    section = payload.section
    folder = Path(payload.root)
    data = read_photo(folder / photo.file, folder, section.max_file_bytes)
    if images.sha256(data) != photo.sha256:
        raise Rejected("changed_meanwhile", "the file changed while it was being ingested; run ingest again")
    pixels = images.decode_photo(data, max_pixels=section.max_pixels)
    if max(pixels.shape[:2]) > section.max_side_px:
        raise Rejected("too_wide", f"{pixels.shape[1]}×{pixels.shape[0]} has a side over {section.max_side_px} px")
    faces = find_faces(pixels, photo.path, photo.faces, section)
    hashed = images.perceptual_hash(pixels)
    payload.barred.require_new(photo.sha256, hashed)
    chosen = list(enumerate(faces))
    if section.faces == "largest":
        chosen = [max(chosen, key=lambda item: (item[1].interocular, -item[0]))]
    for index, face in chosen:
        try:
            record = _record(photo, payload, pixels, index, face)
        except Rejected as reason:
            detail = f"face {index}: {reason.detail}"
            yield Rejection(stage=STAGE, code=reason.code, detail=detail, path=photo.path)
        else:
            yield record
            yield _lineage_row(photo, record, index, finders.embedded(face, pixels, section), hashed)


def _record(photo: Photo, payload: Payload, pixels: images.Rgb, index: int, face: Face) -> Record:
    section = payload.section
    _require_whole(face, pixels, section)
    crop, matrix = align(pixels, face, section.template, section.size_px)
    inside = face.moved(matrix)
    hw = (pixels.shape[0], pixels.shape[1])
    parsed = parsers.parse(parsers.Cropped(photo, hw, crop, inside, matrix, Path(payload.parsing)), section)
    image = images.encode_png(crop)
    return Record(
        record_id=derived_id("pristine", photo.sha256, index, section.template, section.size_px),
        image_sha256=images.sha256(image),
        image=image,
        mask=images.encode_png(np.zeros(crop.shape[:2], np.uint8)),
        parsing=None if parsed is None else images.encode_png(parsed.labels),
        parser=None if parsed is None else parsed.parser,
        landmarks=inside.landmarks.tolist(),
        landmark_scheme=face.scheme,
        landmark_finder=face.finder,
        parsed_regions=[] if parsed is None else list(parsed_words(parsed.labels)),
        align_matrix=matrix.ravel().tolist(),
        template=section.template,
        origin=photo.source.origin,
        origin_id=photo.source.origin_id or photo.sha256,
        licence=photo.source.licence,
        consent=photo.source.consent,
        group_id=group_id(payload.secret, photo),
        obligations=sorted(obligations(photo.source.licence)),
    )


def _require_whole(face: Face, pixels: images.Rgb, section: IngestSection) -> None:
    outside = outside_share(face, (pixels.shape[0], pixels.shape[1]))
    if outside > section.max_outside_share:
        raise Rejected("face_cut_off", f"{outside:.0%} of the landmarks lie outside the photo")
    if face.interocular < section.min_interocular_px:
        raise Rejected(
            "face_too_small",
            f"{face.interocular:.1f} px between the eyes, at least {section.min_interocular_px:g} wanted",
        )


def _lineage_row(photo: Photo, record: Record, index: int, face: Face, hashed: str) -> Lineage:
    """A row whose embedding stays float32: as Python numbers those of one bucket would take gigabytes."""
    source = photo.source
    return Lineage(
        item_digest=photo.item_digest,
        record_id=record.record_id,
        path=photo.path,
        photo_sha256=photo.sha256,
        photo_phash=hashed,
        face_index=index,
        bbox_xyxy=face.bbox_xyxy.tolist(),
        subject=source.subject or None,
        group_id=record.group_id,
        consent_expiry=source.consent_expiry or None,
        consent_evidence_sha256=source.consent_evidence_sha256 or None,
        withdrawal=source.withdrawal or None,
        embedding=face.embedding,
    )
