"""Import any folder or table of pictures and masks: a table, IMDLBenCo's layouts, FaceForensics++.

Files are read twice: once to know the digest of all of them, which the recipe holds, and once to be stored.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmtt.errors import Rejected, UserError
from mmtt.executors import Executor, serial
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.manifest import Manifest
from mmtt.progress import Progress, silent
from mmtt.recipe import ImportedSection
from mmtt.record import Rejection

from . import by_name, faceforensics, tables
from .arguments import require_consent, require_licence, shortened
from .columns import PRISTINE, Told, facts, word
from .folders import Folder, is_own_file, refusal, stamps, unchanged
from .pair import NEGATIVE, Pair, Reader
from .writing import require_folder, write_import

Read = Callable[[], Iterator[Pair | Rejection]]


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What the user answers for: the licence of the pictures (SPDX or `LicenseRef-…`), what people agreed to."""

    licence: str
    consent: str = "none"

    def __post_init__(self) -> None:
        require_licence(self.licence)
        require_consent(self.consent)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import came to. told: what a summary says besides counts, for `pair.lines`."""

    manifest: Manifest
    told: Mapping[str, Any]


def import_pairs(
    source: Path,
    directory: Path,
    told: Told,
    rights: Rights,
    *,
    splits: Path | None = None,
    find_faces: bool = False,
    executor: Executor = serial,
    bars: tuple[Progress, Progress] = (silent, silent),
) -> Imported:
    """Import a table, or a folder of pictures and masks, into a new dataset.

    Args:
        source: a table, a folder with one table in it, or a folder laid out as one of those that are known.
        directory: the new dataset.
        told: what the user says of columns, families and texts.
        rights: licence and consent.
        splits: FaceForensics++'s folder of split lists.
        find_faces: whether landmarks are looked for.
        executor: decodes pictures.
        bars: tell how far the first pass is, which hashes, and the second.

    Raises:
        UserError: nothing to import, no layout that is known, a table that cannot be read, or what `write_import` says.
    """
    recipe_name = slug(told.name)
    require_folder(directory)
    folder, read, decisive = _source(source, told, splits)
    before = stamps(decisive)
    names, count = [], 0
    for pair in read():
        count += 1
        names += [] if isinstance(pair, Rejection) else pair.names
    if not names:
        raise UserError(f"{source} holds no picture that could be imported.{_first_reason(read())}")
    found = digest([folder.digest_of(names, bars[0]), [file_sha256(path) for path in decisive]])
    reader = Reader(told.name)
    lists = {"lists": [path.name for path in decisive]} if splits is not None else {}
    options = options_of(told, rights, find_faces, reader, **lists)
    section = ImportedSection(format="pairs", digest=found, options=options)
    items = bars[1](range(count), unchanged(decisive, before, reader.items(folder, read())))
    manifest = write_import(
        directory, recipe_name, section, items,
        origin=told.name, licence=rights.licence, consent=rights.consent, find_faces=find_faces, executor=executor,
    )  # fmt: skip
    return Imported(manifest=manifest, told=reader.told())


def options_of(told: Told, rights: Rights, find_faces: bool, reader: Reader, **more: Any) -> dict[str, Any]:
    """Return everything that decides an import besides the files, as plain JSON."""
    return {
        "name": told.name, "columns": dict(told.columns), "families": dict(told.families),
        "text_origin": told.text_origin, "language": told.language, "licence": rights.licence,
        "consent": rights.consent, "find_faces": find_faces,
        "splits": {"untold": "by the digest of the group", "shares": dict(reader.splits.shares)},
        **more,
    }  # fmt: skip


def slug(name: str) -> str:
    """Return a name as a recipe may bear it.

    Raises:
        UserError: it has no letter or digit of ASCII.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    made = "-".join("".join(letter if letter.isalnum() or letter == "_" else " " for letter in plain).split())
    if not made.strip("_-"):
        raise UserError(f"--name '{name}' has no letter of a to z and no digit.")
    return made.lstrip("_-")


def _first_reason(pairs: Iterator[Pair | Rejection]) -> str:
    reasons = [pair for pair in pairs if isinstance(pair, Rejection)]
    listed = "; ".join(f"'{shortened(row.path or '')}': {shortened(row.detail, 200)}" for row in reasons[:5])
    return f" Of {len(reasons)} refused: {listed}." if reasons else ""


def _source(source: Path, told: Told, splits: Path | None) -> tuple[Folder, Read, list[Path]]:
    """Return the folder that is read, how, and which other files decide what comes out."""
    if not source.exists():
        raise UserError(f"{source} does not exist.")
    table = source if source.is_file() else None
    folder = Folder(source.parent if table else source)
    forensic = table is None and faceforensics.is_laid_out(source)
    if splits is not None and not forensic:
        raise UserError(f"--splits is for FaceForensics++'s layout, which {source} has not.")
    if forensic:
        lists = faceforensics.lists_in(splits) if splits else []
        return folder, partial(faceforensics.read, folder, told, splits), lists
    if table is None and by_name.layouts(folder):
        return folder, partial(by_name.read, folder), []
    table = table or _only_table(source)
    if table.suffix.lower() not in tables.SUFFIXES:
        raise UserError(f"{table} is no table that is known: {', '.join(sorted(tables.SUFFIXES))}.")
    return folder, partial(_read_table, folder, table, told), [table]


def _only_table(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in tables.SUFFIXES and is_own_file(path))
    if len(found) != 1:
        state = f"{len(found)} tables ({', '.join(path.name for path in found[:5])})" if found else "no table"
        raise UserError(
            f"{folder} has {state}, and neither Tp/ and Gt/ (or images/ and masks/) nor manipulated_sequences/. "
            "Name one table, or one of these folders."
        )
    return found[0]


def _read_table(folder: Folder, path: Path, told: Told) -> Iterator[Pair | Rejection]:
    table = tables.read(path)
    columns = told.found_in(table.columns, str(path))
    for entry in table.rows:
        if isinstance(entry, Rejection):
            yield entry
            continue
        number, cells = entry
        row = {ours: cells.get(theirs) for ours, theirs in columns.items()}
        try:
            yield _row_pair(folder, row, told)
        except Rejected as reason:
            name = word(row.get("image")) or f"{path.name}:{number}"
            yield refusal(name, reason.code, f"line or entry {number}: {reason.detail}")


def _row_pair(folder: Folder, row: dict[str, Any], told: Told) -> Pair:
    image, mask, said = row.get("image"), row.get("mask"), facts(row, told)
    if not isinstance(image, str) or not image.strip():
        raise Rejected("bad_row", "it names no picture")
    negative = isinstance(mask, str) and mask.strip().casefold() == NEGATIVE
    if negative:
        if said.family not in (None, PRISTINE):
            raise Rejected("bad_row", f"its mask says pristine, its label '{said.label}'")
        said = replace(said, family=PRISTINE)
    named = isinstance(mask, str) and mask.strip() and not negative
    return Pair(
        image=folder.place(image),
        mask=folder.place(str(mask)) if named else None,
        facts=said,
        id=word(row.get("id")),
    )
