"""Export: marked pictures as shards of their own, beside those to train on, which stay stripped.

Marks are written once: signing again gives other bytes, so a shard whose records did not change is kept, or taken from
the version before, and its credentials go on to name the release in which they were signed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa

from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.files import replacing, take
from mmtt.ids import digest
from mmtt.manifest import shard_paths
from mmtt.progress import Progress
from mmtt.record import IMAGE, SCHEMA_VERSION, Column, text
from mmtt.release import DATA, MARKED, Release
from mmtt.shards import Footer, Shard, ShardWriter, read_footer, read_rows

from ..audits.containers import container_of, parts
from . import credentials
from .definition import COLUMNS, Picture, definition
from .keys import Signer, load_signer
from .text import add, line

STAGE = "marked"
VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedPicture:
    """One row of a marked shard."""

    record_id: Annotated[str, text("The record, as in the default configuration.")]
    split: Annotated[str, text("`train`, `validation` or `test`.")]
    manipulation: Annotated[str | None, text("Family of the forgery; null if pristine.")]
    image: Annotated[bytes, Column(IMAGE, "The record's pixels as PNG, with content credentials and a text chunk.")]
    image_sha256: Annotated[str, text("SHA-256 of the bytes of `image`.")]
    mask: Annotated[bytes, Column(IMAGE, "PNG, H×W, uint8: 255 where the image was altered, 0 elsewhere.")]
    master_sha256: Annotated[str, text("`image_sha256` of the record in the default configuration.")]
    schema_version: Annotated[int, Column(pa.int32(), "Version of these columns.")] = SCHEMA_VERSION


@dataclass(frozen=True)
class ShardJob:
    """One shard to be marked: where its records lie, what its marks tell, and what it is to say of itself."""

    path: Path
    digests: Mapping[str, str]
    footer: Footer


class Marked(NamedTuple):
    """What came out: rows by split; names of the shards that were signed now, and of those that were kept."""

    rows: dict[str, int]
    signed: list[str]
    kept: list[str]


def write_marked(
    release: Path,
    out: Path,
    signer: Signer,
    executor: Executor,
    progress: Progress,
    previous: Path | None = None,
) -> Marked:
    """Write a marked shard for each shard of a release's records; what else lies in the folder goes.

    Killed and run again, it goes on. Memory stays at a row group for each worker.

    Args:
        release: the folder of a release, staged or finished; its `data/` is read.
        out: the folder to write; made where missing.
        signer: who signs.
        executor: a map over shards.
        progress: shows them.
        previous: the release before; its shards are taken where they still hold.

    Raises:
        UserError: no release, or the certificate cannot sign.
    """
    credentials.require_able(signer)
    told, todo = Release.load(release), jobs(release, signer)
    out.mkdir(parents=True, exist_ok=True)
    _remove_others(out, {job.path.name for job in todo})
    due = [job for job in todo if read_footer(out / job.path.name) != job.footer]
    made = partial(_mark_shard, out, previous, signer, told)
    signed = [due[place].path.stem for place, new in progress(due, executor(made, due)) if new]
    rows: Counter[str] = Counter()
    for job in todo:
        rows.update(row["split"] for row in read_rows(out / job.path.name, ["split"]))
    kept = sorted({job.path.stem for job in todo} - set(signed))
    return Marked(dict(sorted(rows.items())), sorted(signed), kept)


def marker(
    certificate: Path, key: Path, today: date, executor: Executor, progress: Progress
) -> Callable[[Path, Path | None], Marked]:
    """Return what writes `marked/` into a staged release, given the release before.

    Raises:
        UserError: certificate and key cannot sign; before anything is written.
    """
    signer = load_signer(certificate, key, today)
    return lambda staged, before: write_marked(staged, staged / MARKED, signer, executor, progress, before)


def jobs(release: Path, signer: Signer) -> list[ShardJob]:
    """Return a job for each shard of a release's records, in their order."""
    paths = shard_paths(release / DATA)
    digests = pristine_digests(paths)
    fingerprint = digest([STAGE, VERSION, signer.certificate_sha256])
    return [_job(path, digests, fingerprint) for path in paths]


def pristine_digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return `image_sha256` of every pristine record in some shards, by id."""
    rows = (row for path in paths for row in read_rows(path, ["record_id", "image_sha256", "manipulation"]))
    return {row["record_id"]: row["image_sha256"] for row in rows if row["manipulation"] is None}


def _job(path: Path, digests: Mapping[str, str], fingerprint: str) -> ShardJob:
    told = list(pictures(path, digests))
    used = {part.record_id for picture in told for part in (picture.target, picture.donor) if part}
    needed = {name: digests[name] for name in used if name in digests}
    return ShardJob(path, needed, Footer(STAGE, digest(told), fingerprint))


def pictures(path: Path, digests: Mapping[str, str]) -> Iterator[Picture]:
    """Yield what the marks of a shard's records tell, in its order; only masks are read of their pictures."""
    for row in read_rows(path, COLUMNS):
        yield Picture.of(row | {"mask": row["mask"]["bytes"]}, digests)


def _remove_others(out: Path, wanted: set[str]) -> None:
    """Shards of records that are no more, and what a killed writer left."""
    for path in out.glob("*.parquet"):
        if path.name not in wanted:
            path.unlink()
    for path in out.glob(".*.parquet.*.tmp"):
        path.unlink()


def _mark_shard(out: Path, previous: Path | None, signer: Signer, release: Release, job: ShardJob) -> bool:
    """Make one shard; return whether anything had to be signed."""
    before = None if previous is None else previous / MARKED / job.path.name
    with replacing(out / job.path.name) as temporary:
        if before is not None and read_footer(before) == job.footer:
            take(before, temporary)
            return False
        writer = ShardWriter(temporary, MarkedPicture)
        for row in _rows(job.path):
            writer.add(_marked(row, Picture.of(row, job.digests), release, signer))
        writer.close(job.footer)
    return True


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for row in read_rows(path, [*COLUMNS, "image"]):
        yield row | {name: row[name]["bytes"] for name in ("image", "mask")}


def _marked(row: Mapping[str, Any], picture: Picture, release: Release, signer: Signer) -> MarkedPicture:
    image = mark(row["image"], picture, release, signer)
    return MarkedPicture(
        record_id=picture.record_id,
        split=picture.split,
        manipulation=picture.manipulation,
        image=image,
        image_sha256=images.sha256(image),
        mask=row["mask"],
        master_sha256=picture.image_sha256,
    )


def mark(image: bytes, picture: Picture, release: Release, signer: Signer, *, framed: bool = False) -> bytes:
    """Return a picture's pixels as a marked PNG.

    Args:
        image: a record's picture, of any format.
        picture: what is told of it.
        release: what it belongs to.
        signer: who signs.
        framed: whether the frame that tells a forgery to people lies around it already.
    """
    png = image if _is_bare_png(image) else images.encode_png(images.decode_rgb(image))
    return credentials.sign(add(png, line(picture)), definition(picture, release, framed=framed), signer)


def _is_bare_png(image: bytes) -> bool:
    """Whether it is a PNG of pixels alone. What others wrote beside theirs is not for us to sign."""
    return container_of(image) == "PNG" and not any(not part.kind[:1].isupper() for part in parts(image))


def find(release: Path, record_id: str) -> tuple[bytes, Picture]:
    """Return one record's picture, and what its mark tells.

    Raises:
        UserError: the release holds no such record.
    """
    paths = shard_paths(release / DATA)
    for path in paths:
        shard = Shard(path)
        for group, names in enumerate(shard.column("record_id")):
            if record_id in names:
                row = shard.group(group, [*COLUMNS, "image"]).slice(names.index(record_id), 1).to_pylist()[0]
                row |= {name: row[name]["bytes"] for name in ("image", "mask")}
                return row["image"], Picture.of(row, pristine_digests(paths))
    raise UserError(f"{release} holds no record {record_id}.")
