"""Erase: take a person, a photo or a record out of all that the pipelines wrote, and out of what was brought to them.

Surgery, not a new build: rows go, all others and their splits stay as they are. Killed at any moment and called again,
each function completes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path
from typing import Any

from mmtt.errors import UserError
from mmtt.files import file_sha256, lock, write_atomically
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS
from mmtt.recipe import Recipe
from mmtt.record import Assignment, Lineage, PlanRow, Rejection
from mmtt.release import REMOVED
from mmtt.removal import KINDS, Removal, Step, Trace, journal, needles
from mmtt.rewriting import count, names_any
from mmtt.shards import read_table, write_table
from mmtt.traces import search

from . import denied
from .embeddings import gather_lineage
from .fingerprints import FOLDER
from .plan import BASIS, basis
from .removals import rows, sidecars, surgery
from .removals.closure import close
from .removals.inputs import Inputs

__all__ = ["apply", "close", "deny", "plan", "spared", "traces"]

_UNDER_WAY = b"a removal is under way"
_COMMANDS = {"overview.html": "overview", "audits.html": "audit", "audits.json": "audit", "identities.html": "plan"}


def deny(directory: Path, removal: Removal, on: date) -> None:
    """Put what goes on the deny-list, before anything goes: no build brings it back, whenever this one is killed."""
    layout = Layout(directory)
    known = rows.lineage(layout)
    ours = {row.photo_sha256 for row in known if row.path in removal.photos}
    phashes = [int(phash, 16) for phash in removal.phashes]
    stay = [row for row in known if row.path not in removal.photos]
    kept = {row.photo_sha256 for row in stay if denied.nearest(row.photo_phash, phashes) <= denied.NEAR_BITS}
    named = [removal.asked] if removal.asked in removal.subjects else []
    found = [
        *((denied.PHOTO, sha256) for sha256 in {*ours, *_photo_digests(layout, removal)}),
        *((denied.PHASH, phash) for phash in removal.phashes),
        *((denied.SUBJECT, name) for name in named),
        *((denied.RECORD, record_id) for record_id in removal.records),
        *((denied.KEPT, sha256) for sha256 in kept),
    ]
    denied.add(directory, on, found)


def _photo_digests(layout: Layout, removal: Removal) -> Iterator[str]:
    yield from (file_sha256(path) for path in sidecars.photo_files(layout, removal) if path.is_file())


def plan(directory: Path, removal: Removal) -> Sequence[Step]:
    """Return what `apply` would do; nothing is changed.

    Raises:
        UserError: a file cannot be read, so that nobody knows whom it holds.
    """
    layout = Layout(directory)
    return [
        *_of_shards(layout, removal),
        *_of_tables(layout, removal),
        *sidecars.plan(layout, removal),
        *_of_files(layout, removal),
        *_of_others(layout, removal),
    ]


def _of_shards(layout: Layout, removal: Removal) -> Iterator[Step]:
    goes = names_any(removal.records, ["record_id"])
    for name in removal.buckets:
        path = layout.root / f"{name}.parquet"
        if path.is_file():
            going, there = count(path, goes, ["record_id"])
            yield Step(name, f"rows that go: {going} of {there}" if going else "what vouches for it is written anew")


def _of_tables(layout: Layout, removal: Removal) -> Iterator[Step]:
    going = surgery.Going(removal)
    for folder in rows.folders(layout):
        path = folder / REJECTIONS
        if gone := sum(map(going.takes, read_table(path, Rejection) if path.exists() else ())):
            yield Step(_named(layout, path), f"rows that go: {gone}")
    if gone := sum(row.record_id in going.records for row in rows.lineage(layout)):
        yield Step(_named(layout, layout.lineage), f"rows that go: {gone}")
    for path, row_class in _tables(layout):
        if gone := len(_split(path, row_class, going)[1]):
            yield Step(_named(layout, path), f"rows that go: {gone}")


def _tables(layout: Layout) -> Iterator[tuple[Path, type]]:
    """Tables beside the shards that are there, with what their rows are."""
    tables = {"plan.parquet": PlanRow, REJECTIONS: Rejection}
    found = [*((layout.plan / name, row_class) for name, row_class in tables.items()), (layout.splits, Assignment)]
    yield from ((path, row_class) for path, row_class in found if path.exists())


def _split(path: Path, row_class: type, going: surgery.Going) -> tuple[list[Any], list[Any]]:
    """The rows of a table that stay, and those that go."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for row in read_table(path, row_class):
        parts[going.takes(row) or _uses(row, going.records)].append(row)
    return parts


def _named(layout: Layout, path: Path) -> str:
    return path.relative_to(layout.root).as_posix()


def _of_files(layout: Layout, removal: Removal) -> Iterator[Step]:
    for folder, paths in (
        ("photos", sidecars.photo_files(layout, removal)),
        ("parsing", sidecars.part_masks(layout, removal)),
    ):
        if paths:
            yield Step(folder, f"files that go: {len(paths)}; backups are yours to look after")
    for name, command in _COMMANDS.items():
        for path in (layout.root / name, layout.lineage.parent / name):
            if path.exists():
                yield Step(_named(layout, path), f"the page goes; `mmtt {command} {layout.root}` writes it anew")


def _of_others(layout: Layout, removal: Removal) -> Iterator[Step]:
    listed = denied.path_of(layout.root)
    yield Step(
        _named(layout, listed), "notes hashes of photos and names, and the ids, so that no build brings them back"
    )
    phashes = [int(phash, 16) for phash in removal.phashes]
    for row in rows.lineage(layout):
        if row.path not in removal.photos and denied.nearest(row.photo_phash, phashes) <= denied.NEAR_BITS:
            yield Step(
                f"photos/{row.path}", "looks like a photo that goes, and stays; if it shows them, ask for it, too"
            )
    for folder in rows.holding(layout.root, removal):
        yield Step(f"releases/{folder.name}", "the staged folder goes, once the next version is staged without them")


def apply(directory: Path, removal: Removal) -> Sequence[Step]:
    """Take it out, and return what was done.

    Raises:
        UserError: a file cannot be read. LockedError: another command writes.
    """
    layout = Layout(directory)
    with ExitStack() as held:
        private = layout.lineage.parent / FOLDER
        for folder in (*rows.folders(layout), layout.plan, private):
            if folder.is_dir():
                held.enter_context(lock(folder))
        _begin(layout)
        done = [*_cut_shards(layout, removal), *_cut_tables(layout, removal)]
        _end(layout)
    _sweep(layout)
    return [*done, *_cut_files(layout, removal)]


def _begin(layout: Layout) -> None:
    """Mark a plan that fits what it was made for, so that it is known, after a kill, that it may be made to fit."""
    path = layout.plan / BASIS
    with suppress(UserError, FileNotFoundError):
        if path.read_text(encoding="ascii") == basis(layout, Recipe.load(layout.recipe)):
            write_atomically(path, _UNDER_WAY)


def _end(layout: Layout) -> None:
    path = layout.plan / BASIS
    if path.exists() and path.read_bytes() == _UNDER_WAY:
        with suppress(UserError):  # a program that is not here: `mmtt plan` says what to do
            write_atomically(path, basis(layout, Recipe.load(layout.recipe)).encode())


def _cut_shards(layout: Layout, removal: Removal) -> Iterator[Step]:
    """Cut forged shards, then pristine ones, which the digests of the former follow from, then variants of both."""
    going = surgery.Going(removal)
    inputs = Inputs(layout, going)
    named = {name.partition("/")[0] for name in removal.buckets}
    changed = [f for f in rows.folders(layout) if f.name in named or surgery.is_changed(f, going)]
    for folder in changed:
        surgery.hide_manifest(folder)
        for path in rows.shards(folder):
            name = f"{folder.name}/{path.stem}"
            if name in removal.buckets:
                yield Step(name, f"rows that went: {surgery.cut(path, going, inputs.after)}")
                (layout.lineage.parent / FOLDER / f"{folder.name}-{path.stem}.parquet").unlink(missing_ok=True)
    for folder in changed:
        surgery.show_manifest(folder, going)


def _cut_tables(layout: Layout, removal: Removal) -> Iterator[Step]:
    yield from sidecars.cut_identities(layout, removal)
    going = surgery.Going(removal)
    if layout.lineage.exists():
        sides = sorted((layout.lineage.parent / layout.pristine.name).glob("*.lineage.parquet"))
        if any(going.takes(row) for row in read_table(layout.lineage, Lineage)):
            gather_lineage(sides, layout.lineage)
            yield Step("private/lineage.parquet", "rows went")
    for path, row_class in _tables(layout):
        kept, gone = _split(path, row_class, going)
        if gone:
            write_table(path, kept, row_class)
            yield Step(_named(layout, path), f"rows that went: {len(gone)}")


def _uses(row: object, records: Collection[str]) -> bool:
    return getattr(row, "target_id", None) in records or getattr(row, "source_id", None) in records


def _sweep(layout: Layout) -> None:
    """Remove what killed writers of pages and tables left."""
    for home in (layout.root, layout.lineage.parent):
        for path in home.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def _cut_files(layout: Layout, removal: Removal) -> Iterator[Step]:
    """Delete pages that show or name them, then photos, then what the tables say of those."""
    for name in _COMMANDS:
        for path in (layout.root / name, layout.lineage.parent / name):
            path.unlink(missing_ok=True)
    masks, photos = sidecars.part_masks(layout, removal), sidecars.photo_files(layout, removal)
    sidecars.remove_files(layout.parsing, masks)
    sidecars.remove_files(layout.photos, photos)
    for folder, paths in (("parsing", masks), ("photos", photos)):
        if paths:
            yield Step(folder, f"files that went: {len(paths)}")
    yield from sidecars.cut_tables(layout, removal)


def spared(directory: Path) -> dict[str, set[str]]:
    """Return what may stay, by file: deny-list and lists of removals name records; the journal goes last of all."""
    record, phash = KINDS["records"], KINDS["phashes"]
    removed = [path for path in rows.releases(directory) if (path / REMOVED).is_file()]
    lists = {path.relative_to(directory).as_posix(): {record} for path in (folder / REMOVED for folder in removed)}
    return lists | {
        denied.path_of(directory).relative_to(directory).as_posix(): {record, phash},
        journal(directory).relative_to(directory).as_posix(): set(KINDS.values()),
    }


def traces(directory: Path, removal: Removal) -> Iterable[Trace]:
    """Search every file of the dataset, those that others brought included, for what is left."""
    layout, sought, allowed = Layout(directory), needles(removal), spared(directory)
    yield from search(directory, sought, allowed)
    for folder in (layout.photos, layout.parsing):
        if folder.is_symlink():
            yield from (Trace(f"{folder.name}/{found.where}", found.what) for found in search(folder, sought))
