"""Surgery: shards without some of their rows, and all that vouches for them. Nothing is made again.

What a footer says of its inputs follows where it was true before, so that a later build keeps what is left. Each step
can be told to be done from what lies there, so that a killed run is completed by another.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmtt.files import file_sha256, replacing, write_atomically
from mmtt.manifest import MANIFEST, REJECTIONS, assemble_manifest, environment_path
from mmtt.record import Lineage, Note, Rejection
from mmtt.removal import Removal, needles
from mmtt.rewriting import count, names_any, rewrite
from mmtt.shards import Footer, ShardWriter, read_footer, read_table, side_path
from mmtt.traces import Needles

from ..embeddings import read_lineage

_HIDDEN = ".manifest.removal.json"
_SIDES = (Rejection, Lineage, Note)
Inputs = Callable[[Path, str], str]  # the input digest that a shard has afterwards, from the one that it has


@dataclass(frozen=True)
class Going:
    """What goes: tells it of rows of every kind."""

    removal: Removal

    @cached_property
    def records(self) -> frozenset[str]:
        """Ids of the records."""
        return frozenset(self.removal.records)

    @cached_property
    def _needles(self) -> Needles:
        """A name may be a common word: it is looked for in quotes."""
        quoted = tuple(f"{mark}{name}{mark}" for name in self.removal.subjects for mark in "'\"`")
        return Needles(needles(replace(self.removal, subjects=quoted)))

    def says(self, text: str) -> bool:
        """Whether a text names anything that goes; a person's name, whether it is that or quotes that."""
        named = text.strip() in self.removal.subjects
        return named or bool(self._needles.met(text.encode("utf-8", "surrogatepass")))

    def takes(self, row: Any) -> bool:
        """Whether a private row goes: it is about a record or a photo, or names one."""
        about = getattr(row, "record_id", None) in self.records or getattr(row, "path", None) in self.removal.photos
        return about or self.says(getattr(row, "detail", None) or getattr(row, "text", None) or "")


def hide_manifest(folder: Path) -> None:
    """Put a manifest aside, so that no reader trusts one that lies; it says what the shards were before."""
    with suppress(FileNotFoundError):
        (folder / MANIFEST).replace(folder / _HIDDEN)


def before(folder: Path) -> dict[str, str]:
    """Return the SHA-256 that each shard of a folder had before, by name."""
    path = folder / _HIDDEN
    if not path.exists():
        path = folder / MANIFEST
    with suppress(OSError, ValueError, TypeError, KeyError):
        return {shard["name"]: shard["sha256"] for shard in json.loads(path.read_text(encoding="utf-8"))["shards"]}
    return {}


def show_manifest(folder: Path, going: Going) -> None:
    """Assemble a manifest that was put aside anew, from the shards that are left."""
    hidden = folder / _HIDDEN
    if not hidden.exists():
        return
    told = json.loads(hidden.read_text(encoding="utf-8"))
    names = [shard["name"] for shard in told["shards"] if (folder / f"{shard['name']}.parquet").exists()]
    kept = [row for row in read_table(folder / REJECTIONS, Rejection) if not going.takes(row)]
    of_shards = Counter(row for name in names for row in _side(folder, name, Rejection))
    assemble_manifest(folder, told["stage"], names, list((Counter(kept) - of_shards).elements()))
    hidden.unlink()


def is_changed(folder: Path, going: Going) -> bool:
    """Whether a folder's own table of rejections, or a killed run, has something of it."""
    path = folder / REJECTIONS
    return (folder / _HIDDEN).exists() or (path.exists() and any(map(going.takes, read_table(path, Rejection))))


def cut(path: Path, going: Going, inputs: Inputs) -> int:
    """Take rows out of a shard and its side tables; return how many went. A shard of which nothing is left goes.

    Raises:
        UserError: it cannot be read. OSError: it cannot be written.
    """
    goes, kept = names_any(going.records, ["record_id"]), _kept(path, going)
    going_rows, all_rows = count(path, goes, ["record_id"])
    if going_rows == all_rows and not kept[Rejection]:
        _drop(path)
        return going_rows
    footer = _footer(path, kept, inputs)
    if not going_rows and footer == read_footer(path) and not _any_goes(path, kept):
        return 0
    old = file_sha256(path)
    with ExitStack() as written:  # closed in reverse: the shard takes its name first, and its side tables follow
        for row_class, found in kept.items():
            if _present(path, row_class):
                temporary = written.enter_context(replacing(side_path(path.parent, path.stem, row_class)))
                _write(temporary, found, row_class)
        temporary = written.enter_context(replacing(path))
        rewrite(path, temporary, goes, footer)
        _follow_environment(path, old, file_sha256(temporary))
    notes = side_path(path.parent, path.stem, Note)
    if not kept[Note]:
        notes.unlink(missing_ok=True)
    return going_rows


def _kept(path: Path, going: Going) -> dict[type, list[Any]]:
    return {
        row_class: [row for row in _side(path.parent, path.stem, row_class) if not going.takes(row)]
        for row_class in _SIDES
    }


def _side(folder: Path, name: str, row_class: type) -> list[Any]:
    path = side_path(folder, name, row_class)
    if not path.exists():
        return []
    if row_class is not Lineage:
        return read_table(path, row_class)
    found, embeddings = read_lineage(path)
    # As ingest carries them over: as Python numbers they would take gigabytes.
    return [replace(row, embedding=embedding) for row, embedding in zip(found, embeddings, strict=True)]


def _present(path: Path, row_class: type) -> bool:
    return side_path(path.parent, path.stem, row_class).exists()


def _any_goes(path: Path, kept: Mapping[type, list[Any]]) -> bool:
    counted = {row_class: len(_side(path.parent, path.stem, row_class)) for row_class in kept}
    empty_notes = _present(path, Note) and not kept[Note]
    return empty_notes or any(len(found) != counted[row_class] for row_class, found in kept.items())


def _write(path: Path, found: list[Any], row_class: type) -> None:
    writer = ShardWriter(path, row_class, rows_per_group=10_000)
    for row in found:
        writer.add(row)
    writer.close()


def _footer(path: Path, kept: Mapping[type, list[Any]], inputs: Inputs) -> Footer | None:
    """The footer that fits afterwards: what it vouched for before, or since a killed run, it vouches for."""
    old = read_footer(path)
    if old is None:
        return None
    side = dict(old.side)
    for row_class, found in kept.items():
        there = side_path(path.parent, path.stem, row_class)
        if there.exists() and side.get(row_class.__name__) == file_sha256(there):
            side[row_class.__name__] = _sha256_of(found, row_class)
    return replace(old, input_digest=inputs(path, old.input_digest), side=side)


def _sha256_of(found: list[Any], row_class: type) -> str:
    """SHA-256 of the side table that some rows make."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "side.parquet"
        _write(path, found, row_class)
        return file_sha256(path)


def _follow_environment(path: Path, old: str, new: str) -> None:
    """Have the note of where a shard was made name its new bytes, if it named the old ones."""
    note = environment_path(path.parent, path.stem)
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        told = json.loads(note.read_text(encoding="utf-8"))
        if told["sha256"] == old:
            write_atomically(note, json.dumps(told | {"sha256": new}, indent=1, sort_keys=True).encode())


def _drop(path: Path) -> None:
    for row_class in _SIDES:
        side_path(path.parent, path.stem, row_class).unlink(missing_ok=True)
    environment_path(path.parent, path.stem).unlink(missing_ok=True)
    path.unlink()
