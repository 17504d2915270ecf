"""Sidecars: what a curator brought for photos that go. Lines of others stay as they were typed."""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.recipe import Recipe
from mmtt.removal import Removal, Step

from ..denied import Denied
from ..parsers import celebamask_hq
from ..photos import files_below, scan

Edit = Callable[[str], tuple[str, int]]


def plan(layout: Layout, removal: Removal) -> list[Step]:
    """Return how many rows `cut_identities` and `cut_tables` would take out.

    Raises:
        UserError: one of the tables cannot be read.
    """
    return _cut(layout, _of_identities(layout, removal) | _of_tables(layout, removal), "rows that go", write=False)


def cut_identities(layout: Layout, removal: Removal) -> list[Step]:
    """Take decisions about records that go out of `identities.csv`.

    Raises:
        UserError: it cannot be read.
    """
    return _cut(layout, _of_identities(layout, removal))


def _of_identities(layout: Layout, removal: Removal) -> dict[Path, Edit]:
    records = set(removal.pristine)

    def goes(row: Mapping[str, Any]) -> bool:
        return any(_told(row, name) in records for name in ("first", "second"))

    return {layout.identities: lambda text: cut_csv(text, goes)}


def cut_tables(layout: Layout, removal: Removal) -> list[Step]:
    """Take rows about photos that go out of the source table and `landmarks.json`.

    Raises:
        UserError: one of them cannot be read.
    """
    return _cut(layout, _of_tables(layout, removal))


def _of_tables(layout: Layout, removal: Removal) -> dict[Path, Edit]:
    photos, subjects = set(removal.photos), set(removal.subjects)

    def goes(row: Mapping[str, Any]) -> bool:
        return _told(row, "file") in photos or _told(row, "subject") in subjects

    return {
        layout.root / "sources.csv": lambda text: cut_csv(text, goes),
        layout.root / "sources.jsonl": lambda text: _cut_jsonl(text, goes),
        layout.landmarks: lambda text: _cut_landmarks(text, photos),
    }


def _cut(layout: Layout, edits: Mapping[Path, Edit], told: str = "rows that went", *, write: bool = True) -> list[Step]:
    done = [(path, _edit(path, edit, write)) for path, edit in edits.items() if path.is_file()]
    return [Step(path.relative_to(layout.root).as_posix(), f"{told}: {gone}") for path, gone in done if gone]


def _told(row: Mapping[str, Any], column: str) -> str:
    return str(row.get(column) or "").strip()


def _edit(path: Path, edit: Edit, write: bool) -> int:
    try:
        data = path.read_bytes()
        text, gone = edit(data.decode("utf-8"))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}). Mend it, then go on with the removal.") from error
    if gone and write:
        write_atomically(path, text.encode())
    return gone


def cut_csv(text: str, goes: Callable[[Mapping[str, Any]], bool]) -> tuple[str, int]:
    """Return a CSV table without some rows, the others as they were typed, and how many went."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    reader = csv.DictReader(lines(), skipinitialspace=True, strict=True)
    reader.fieldnames = [name.strip().removeprefix("\ufeff") for name in reader.fieldnames or ()]
    kept, gone = "".join(taken), 0
    taken.clear()
    for row in reader:
        if goes(row):
            gone += 1
            kept += "".join(takewhile(str.isspace, taken))  # lines between rows
        else:
            kept += "".join(taken)
        taken.clear()
    return kept + "".join(taken), gone


def _cut_jsonl(text: str, goes: Callable[[Mapping[str, Any]], bool]) -> tuple[str, int]:
    lines = text.split("\n")
    kept = [line for line in lines if not line.strip() or not goes(json.loads(line))]
    return "\n".join(kept), len(lines) - len(kept)


def _cut_landmarks(text: str, photos: Collection[str]) -> tuple[str, int]:
    """Without the entries of some photos: under their path, or in FFHQ's form, where an entry names two of one face."""
    told = json.loads(text)
    kept = {key: value for key, value in told.items() if key not in photos and not _views(value) & set(photos)}
    return json.dumps(kept, ensure_ascii=text.isascii()), len(told) - len(kept)


def _views(entry: Any) -> set[str]:
    views = [entry.get(name) for name in ("image", "in_the_wild")] if isinstance(entry, dict) else []
    return {str(view.get("file_path")) for view in views if isinstance(view, dict)}


def part_masks(layout: Layout, removal: Removal) -> list[Path]:
    """Return the part masks that the origin ships of photos that go, as far as they are there."""
    if not layout.parsing.is_dir():
        return []
    recipe = Recipe.load(layout.recipe)
    with suppress(UserError):  # no photos any more, or masks of none
        usable, _ = scan(layout, recipe.ingest, recipe.consent, Denied())
        named = celebamask_hq.with_parts(usable, layout.parsing, [])
        return [layout.parsing / file for photo in named if photo.path in removal.photos for file, _ in photo.parts]
    return []


def remove_files(folder: Path, paths: Collection[Path]) -> None:
    """Remove files, and folders that are empty without them: their names may be those of people."""
    for path in paths:
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == folder or not parent.is_relative_to(folder):
                break
            with suppress(OSError):  # others lie there
                parent.rmdir()


def photo_files(layout: Layout, removal: Removal) -> list[Path]:
    """Return the photos that go, as far as they are there."""
    return [path for name, path in files_below(layout.photos) if name in removal.photos]
