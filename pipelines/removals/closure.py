"""Closure: from a name, a photo or a record to everything that has to go with it.

photo → pristine records → plan → forgeries, as target or as donor → variants → releases. A photo goes as a
whole, with every copy of its bytes, since whoever stays in it would keep the one who goes.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.layout import Layout, locate
from mmtt.recipe import Recipe
from mmtt.record import Lineage, PlanRow
from mmtt.removal import Removal
from mmtt.shards import read_table

from .. import denied, sources
from ..photos import files_below, read_photo
from . import rows, shard_names

_RECORD_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Whom:
    """Who was asked for: one forged record alone; or photos, and a name where one was given."""

    record: str | None = None
    photos: frozenset[str] = frozenset()
    subject: str | None = None


class Known:
    """Everything that a dataset's files say about who is in it."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.recipe = layout, Recipe.load(layout.recipe)
        self.lineage: list[Lineage] = rows.lineage(layout)

    @cached_property
    def sources(self) -> Mapping[str, sources.Source]:
        """Rows of the source table by photo; none where there is no table, as in an imported dataset."""
        names = ("sources.csv", "sources.jsonl")
        return sources.load(self.layout.root) if any((self.layout.root / name).exists() for name in names) else {}

    @cached_property
    def on_disk(self) -> Mapping[str, str | None]:
        """SHA-256 of each file below `photos/` by its path; None of one that is not to be read."""
        found: dict[str, str | None] = {}
        for name, path in files_below(self.layout.photos):
            found[name] = None
            with suppress(Rejected):
                found[name] = images.sha256(read_photo(path, self.layout.photos, self.recipe.ingest.max_file_bytes))
        return found

    def subject(self, photo: str) -> str:
        """Return whom the source table, or else the lineage, names for a photo; empty if nobody."""
        row = self.sources.get(photo) or (self.sources.get("*") if photo in self.on_disk else None)
        told = (line.subject for line in self.lineage if line.path == photo and line.subject)
        return row.subject if row is not None and row.subject else next(told, "")

    @cached_property
    def photos(self) -> frozenset[str]:
        """Every photo that is anywhere: on disk, in the source table, in the lineage."""
        return frozenset({*self.on_disk, *self.sources, *(row.path for row in self.lineage)} - {"*"})

    @cached_property
    def subjects(self) -> Mapping[str, frozenset[str]]:
        """The photos of each person who is named."""
        found: dict[str, set[str]] = {}
        for photo in self.photos:
            if name := self.subject(photo):
                found.setdefault(name, set()).add(photo)
        return {name: frozenset(photos) for name, photos in found.items()}

    def with_copies(self, photos: Collection[str]) -> frozenset[str]:
        """Return photos and all that hold the same bytes."""
        digests = {row.photo_sha256 for row in self.lineage if row.path in photos}
        digests |= {sha256 for name, sha256 in self.on_disk.items() if name in photos and sha256}
        copies = {name for name, sha256 in self.on_disk.items() if sha256 in digests}
        return frozenset({*photos, *copies, *(row.path for row in self.lineage if row.photo_sha256 in digests)})


def close(directory: Path, whom: str) -> Removal:
    """Return everything that has to go with a record, a photo (its path below `photos/`), or a person (a name).

    Texts are left out: whoever asked people for them knows them.

    Raises:
        UserError: nothing of that name is here, or a file cannot be read.
    """
    known = Known(locate(directory))
    asked = _asked(known, whom)
    photos = known.with_copies(asked.photos)
    ours = [row for row in known.lineage if row.path in photos]
    others = [row for row in known.lineage if row.path not in photos]
    pristine = {row.record_id for row in ours} | ({asked.record} if asked.record else set())
    shards = {path: rows.read(path) for path in rows.everywhere(known.layout)}
    records = pristine | _made_from(known.layout, pristine, shards.values())
    digests, origin_ids = _digests(shards, records), _origin_ids(shards.values(), records, pristine)
    subjects = {name for name, theirs in known.subjects.items() if theirs <= photos}
    subjects |= {asked.subject} if asked.subject else set()
    return Removal(
        asked=whom,
        records=tuple(sorted(records)),
        pristine=tuple(sorted(row.record_id for row in ours)) or _alone(known.layout, shards, asked.record),
        photos=tuple(sorted(photos)),
        subjects=tuple(sorted(subjects)),
        origin_ids=tuple(sorted(origin_ids)),
        digests=tuple(sorted(digests | _photo_digests(known, photos))),
        phashes=tuple(sorted({row.photo_phash for row in ours} - {row.photo_phash for row in others})),
        buckets=tuple(shard_names.touched(known.layout, records, photos)),
        stay=tuple(sorted({*_others(known, subjects, photos), *_longer(_ids(known) - origin_ids, origin_ids)})),
    )


def _others(known: Known, subjects: Collection[str], photos: Collection[str]) -> set[str]:
    """Names of others that hold one that goes, what lies under such a name, and paths that hold one that goes.

    The path of somebody else in which a name stands by itself is not among them: it names who goes.
    """
    names = _longer(known.subjects.keys() - subjects, subjects)
    theirs = {photo for name in names for photo in known.subjects[name] if photo not in photos}
    paths = {path for path in _longer(known.photos - set(photos), photos) if not _longer([path], subjects)}
    return {*names, *theirs, *paths}


def _longer(those: Iterable[str], words: Collection[str]) -> set[str]:
    return {that for that in those if any(word in that for word in words)}


def _ids(known: Known) -> set[str]:
    return {row.origin_id for row in known.sources.values() if row.origin_id}


def _asked(known: Known, whom: str) -> Whom:
    of_record = {row.record_id: row.path for row in known.lineage}
    if whom in of_record:
        return Whom(photos=frozenset({of_record[whom]}))
    if _RECORD_ID.fullmatch(whom) and _is_record(known.layout, whom):
        return Whom(record=whom)
    if whom in known.photos:
        return Whom(photos=frozenset({whom}))
    if whom in known.subjects:
        return Whom(photos=known.subjects[whom], subject=whom)
    if denied.load(known.layout.root).is_gone(whom):
        raise UserError(f"'{whom}' was taken out of {known.layout.root} already. Nothing is left to do.")
    where = f"no record, photo or person of {known.layout.root} is called so"
    hint = "Give a record_id, a photo's path below photos/, or a name as the source table has it"
    raise UserError(f"'{whom}': {where}. {hint}.")


def _is_record(layout: Layout, record_id: str) -> bool:
    return any(row.record_id == record_id for path in rows.everywhere(layout) for row in rows.read(path))


def _alone(layout: Layout, shards: Mapping[Path, list[rows.Row]], record_id: str | None) -> tuple[str, ...]:
    """The record that was asked for, if it is a pristine one without lineage, as imported ones are."""
    found = (row.record_id for path, listed in shards.items() if path.parent == layout.pristine for row in listed)
    return (record_id,) if record_id in found and record_id is not None else ()


def _made_from(layout: Layout, pristine: Collection[str], shards: Iterable[list[rows.Row]]) -> set[str]:
    """Records that are planned or made with one of the pristine ones, as target or as donor."""
    plan = layout.plan / "plan.parquet"
    planned = read_table(plan, PlanRow) if plan.exists() else []
    made = [(row.record_id, {row.target_id, row.source_id}) for row in planned]
    made += [(row.record_id, {row.target_id, row.source_id}) for shard in shards for row in shard]
    return {record_id for record_id, used in made if used & set(pristine)}


def _digests(shards: Mapping[Path, list[rows.Row]], records: Collection[str]) -> set[str]:
    """Of every picture that the records hold, but not of those that others hold, too."""
    found: set[str] = set()
    for path, listed in shards.items():
        if any(row.record_id in records for row in listed):
            found |= {row.image_sha256 for row in listed if row.record_id in records}
            found |= set(rows.image_digests(path, records))
    return found - {row.image_sha256 for listed in shards.values() for row in listed if row.record_id not in records}


def _origin_ids(shards: Iterable[list[rows.Row]], records: Collection[str], pristine: Collection[str]) -> set[str]:
    """Ids of the photos at their origin, but for those that others have, too; a forgery has its target's."""
    ours, others = set(), set()
    for row in (row for shard in shards for row in shard):
        if row.record_id in pristine:
            ours.add(row.origin_id)
        elif row.record_id not in records:
            others.add(row.origin_id)
    return ours - others


def _photo_digests(known: Known, photos: Collection[str]) -> set[str]:
    on_disk = {sha256 for name, sha256 in known.on_disk.items() if name in photos and sha256}
    return on_disk | {row.photo_sha256 for row in known.lineage if row.path in photos}
