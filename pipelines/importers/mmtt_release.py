"""`mmtt import mmtt-release`: the published MMTT, as it is distributed, becomes a dataset of ours.

The archive is read twice, as a stream. First the masks are gathered in one temporary file, because a picture's mask may
lie anywhere before or after it; then every picture becomes a row as it comes by. Nothing is unpacked.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmtt.errors import Rejected, UserError, did_you_mean
from mmtt.executors import Executor
from mmtt.files import lock
from mmtt.ids import digest
from mmtt.manifest import Manifest
from mmtt.progress import Progress
from mmtt.recipe import ImportedSection
from mmtt.record import Rejection

from .archive import Archive, Entry, find_parts
from .arguments import require_licence
from .columns import TEXT_ORIGINS
from .item import Item, Text
from .release_lists import Listed, place, read_lists
from .rows import STAGE, brief
from .writing import refuse_other, write_import

NAME = "mmtt-release"
ORIGIN = "MMTT"
MAX_ENTRY = 64_000_000  # bytes of one picture or mask
MAX_ODD = 10_000  # entries that are no files: more has no release, and each is kept in memory


@dataclass
class _Found:
    """What the first pass found.

    masks: offset and length in the spool. images: pictures that are there. bad: why a file cannot be used.
    refused: of records and of other entries; odd: how many entries. unlisted: files that no record names.
    """

    masks: dict[str, tuple[int, int]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    bad: dict[str, Rejected] = field(default_factory=dict)
    refused: list[Rejection] = field(default_factory=list)
    odd: int = 0
    unlisted: int = 0


class Released(NamedTuple):
    """What an import came to: the manifest of its forged folder, and how many files of the archive no record names."""

    manifest: Manifest
    unlisted: int


def import_release(
    source: Path,
    directory: Path,
    executor: Executor,
    bars: tuple[Progress, Progress],
    *,
    licence: str,
    text_origin: str,
    find_faces: bool = False,
) -> Released:
    """Import a folder that holds `dataset.tar.gz.part…` and `dataset_json.tar.gz`.

    Args:
        source: that folder.
        directory: the dataset's, empty or the same import begun before.
        executor: decodes pictures.
        bars: of the two passes, a step for each mask and for each record.
        licence: of the pictures; the release states none.
        text_origin: who wrote the texts, as in `mmtt.reports.Report`.
        find_faces: whether MediaPipe looks for landmarks.

    Raises:
        UserError: a part that is missing or damaged, lists that are no JSON, a directory with other data.
    """
    if text_origin not in TEXT_ORIGINS:
        raise UserError(f"--text-origin is '{text_origin}'.{did_you_mean(text_origin, TEXT_ORIGINS)}")
    require_licence(licence)
    refuse_other(directory, NAME)
    lists, archive = Archive(find_parts(source, "dataset_json.tar.gz")), Archive(find_parts(source, "dataset.tar.gz"))
    records, refused, names = read_lists(lists)
    options = {"lists": names, "licence": licence, "text_origin": text_origin, "find_faces": find_faces}
    with _spool(directory) as spool:
        wanted = {record.mask for record in records}, {record.image for record in records}
        found = _Found(refused=refused)
        for _ in bars[0](wanted[0], _gather(archive, wanted, spool, found)):
            pass
        told = digest([archive.sha256, lists.sha256])
        section = ImportedSection(format="mmtt-release", digest=told, options=options)
        items = _items(archive, records, found, spool, text_origin)
        manifest = write_import(
            directory,
            NAME,
            section,
            bars[1](records, items),
            origin=ORIGIN,
            licence=licence,
            find_faces=find_faces,
            executor=executor,
        )
    return Released(manifest, found.unlisted)


@contextmanager
def _spool(directory: Path) -> Iterator[BinaryIO]:
    """A temporary file in the dataset's folder; the lock sweeps one that a killed run left."""
    folder = directory / "private" / STAGE
    with lock(folder):
        path = folder / f".masks.{os.getpid()}.tmp"
        try:
            with path.open("w+b") as handle:
                yield handle
        finally:
            path.unlink(missing_ok=True)


def _gather(archive: Archive, wanted: tuple[set[str], set[str]], spool: BinaryIO, found: _Found) -> Iterator[str]:
    """Write the wanted masks into the spool, yielding each; note what else there is."""
    masks, images = wanted
    for entry in archive.entries(MAX_ENTRY):
        key = place(entry.name)
        if entry.fault is not None and key not in masks and key not in images:
            _note(entry, entry.fault, found)
        elif key in found.masks or key in found.images or key in found.bad:
            _note(entry, Rejected("duplicate_entry", "an earlier entry has the same name; it was kept"), found)
        elif entry.fault is not None:
            found.bad[key] = entry.fault
        elif key not in masks and key not in images:
            found.unlisted += 1
        else:
            if key in images:
                found.images.add(key)
            if key in masks:
                data = entry.read()
                found.masks[key] = (spool.tell(), len(data))
                spool.write(data)
                yield key


def _note(entry: Entry, reason: Rejected, found: _Found) -> None:
    found.refused.append(
        Rejection(stage=STAGE, code=reason.code, detail=f"entry: {reason.detail}", path=brief(entry.name))
    )
    found.odd += 1
    if found.odd > MAX_ODD:
        raise UserError(f"More than {MAX_ODD:,} entries cannot be used; the last is {brief(entry.name)!r}.")


def _items(
    archive: Archive, records: Iterable[Listed], found: _Found, spool: BinaryIO, text_origin: str
) -> Iterator[Item | Rejection]:
    """Yield the records' items as their pictures come by, then those whose picture never came."""
    yield from found.refused
    before = archive.sha256
    left: dict[str, list[Listed]] = {}
    for record in records:
        left.setdefault(record.image, []).append(record)
    for entry in archive.entries(MAX_ENTRY):
        key = place(entry.name)
        if key in found.images and key in left:
            data = entry.read()
            for record in left.pop(key):
                yield from _made(record, data, found, spool, text_origin)
    if archive.sha256 != before:
        raise UserError(f"{archive.parts[0]} or a part after it changed while it was read. Import again.")
    for key, unseen in left.items():
        reason = found.bad.get(key) or Rejected("missing_image", "the archive has no such file")
        for record in unseen:
            yield _lost(record, record.image, reason)


def _made(record: Listed, data: bytes, found: _Found, spool: BinaryIO, text_origin: str) -> Iterator[Item | Rejection]:
    if record.mask not in found.masks:
        reason = found.bad.get(record.mask) or Rejected("missing_mask", "the archive has no such file")
        yield _lost(record, record.mask, reason)
        return
    offset, length = found.masks[record.mask]
    spool.seek(offset)
    family, program = record.family
    text = Text(text=record.caption, regions=record.words, text_origin=text_origin, protocol="paper")
    yield Item(
        origin_id=record.image_id,
        image=data,
        mask=spool.read(length),
        manipulation=family,
        manipulator=program,
        split=record.split,
        group=record.group,
        texts=(text,) if record.caption.strip() else (),
        parameters=record.told,
    )
    if not record.caption.strip():
        yield _lost(record, "caption", Rejected("empty_text", "it is empty; the picture was kept without a text"))


def _lost(record: Listed, what: str, reason: Rejected) -> Rejection:
    return Rejection(stage=STAGE, code=reason.code, detail=f"{what}: {reason.detail}", path=brief(record.image_id))
