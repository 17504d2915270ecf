"""Inputs: what each shard is made from once a removal is done, so that a later build finds it current.

A digest is set right only where it was right before: what was stale stays so, and is made again by its stage.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from mmtt.errors import Rejected, UserError
from mmtt.files import file_sha256
from mmtt.layout import Layout, salt
from mmtt.recipe import Recipe
from mmtt.record import PlanRow
from mmtt.shards import read_table

from .. import denied, forge, ingest, parsers
from ..denied import Denied
from ..photos import Photo, scan
from . import rows, shard_names
from .surgery import Going, before


class Inputs:
    """The input digests before and after, by folder; computed from tables and photos, never with a model."""

    def __init__(self, layout: Layout, going: Going) -> None:
        self._layout, self._going = layout, going
        self._recipe = Recipe.load(layout.recipe)
        self._before = {folder.name: before(folder) for folder in rows.folders(layout)}
        self._contents, _ = forge.pristine_index(rows.shards(layout.pristine))

    def after(self, path: Path, stored: str) -> str:
        """Return the digest that a shard's footer has to hold, from the one that it holds."""
        told: Mapping[str, Callable[[Path], tuple[str | None, str | None]]] = {
            self._layout.pristine.name: self._of_pristine,
            self._layout.forged.name: self._of_forged,
            self._layout.degraded.name: self._of_degraded,
        }
        was, will_be = told[path.parent.name](path)
        return will_be if will_be is not None and stored == was else stored

    def _of_pristine(self, path: Path) -> tuple[str | None, str | None]:
        members = self._photos.get(path.stem, [])
        left = [photo for photo in members if photo.path not in self._going.removal.photos]
        return ingest.input_digest(members), ingest.input_digest(left)

    def _of_forged(self, path: Path) -> tuple[str | None, str | None]:
        planned = self._planned.get(path.stem, [])
        left = [row for row in planned if row.record_id not in self._going.records]
        return _or_none(planned, self._contents), _or_none(left, self._contents)

    def _of_degraded(self, path: Path) -> tuple[str | None, str | None]:
        folder, _, name = (shard_names.master(path) or "/").partition("/")
        there = self._layout.root / folder / f"{name}.parquet"
        return self._before.get(folder, {}).get(name), file_sha256(there) if there.is_file() else None

    @cached_property
    def _photos(self) -> dict[str, list[Photo]]:
        """The photos of each pristine shard, those that go included, as the last ingest may have found them."""
        try:
            usable, _ = scan(self._layout, self._recipe.ingest, self._recipe.consent, Denied())
            usable = parsers.with_parts(usable, self._layout, self._recipe.ingest, [])
        except UserError:  # imported, or nothing is left: there is no ingest that could be current
            return {}
        barred, ours = denied.load(self._layout.root), self._going.removal.photos
        usable = [photo for photo in usable if photo.path in ours or not _is_barred(photo, barred)]
        return ingest.gathered(salt(self._layout), usable, self._recipe.buckets)

    @cached_property
    def _planned(self) -> dict[str, list[PlanRow]]:
        path = self._layout.plan / "plan.parquet"
        found: dict[str, list[PlanRow]] = {}
        for row in read_table(path, PlanRow) if path.exists() else []:
            found.setdefault(forge.shard_name(row.entry, row.bucket), []).append(row)
        return found


def _is_barred(photo: Photo, barred: Denied) -> bool:
    try:
        barred.require_photo(photo.sha256, photo.source.subject)
    except Rejected:
        return True
    return False


def _or_none(planned: Sequence[PlanRow], contents: Mapping[str, str]) -> str | None:
    used: Collection[str] = {name for row in planned for name in (row.target_id, row.source_id) if name}
    return forge.input_digest(planned, contents) if used <= contents.keys() else None
