"""Photos as strangers leave them: every file below `photos/` is found, read with care, and accounted for."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.recipe import ConsentSection, IngestSection
from mmtt.record import Rejection

from . import sources
from .denied import Denied
from .finders import sidecar

STAGE = "ingest"


@dataclass(frozen=True)
class Photo:
    """One usable photo: where it is, what its bytes are, what the sidecars say of it.

    `file` is the path below the photo folder as the system knows it, `path` the same as readable text, `parts` its
    part masks: paths below their own folder, and SHA-256.
    """

    file: str
    path: str
    sha256: str
    source: sources.Source
    faces: list[dict[str, Any]] | None
    parts: tuple[tuple[str, str], ...] = ()

    @cached_property
    def item_digest(self) -> str:
        """Digest of all that its records are made from, but for the recipe."""
        return digest([self.path, self.sha256, self.source.content, self.faces, self.parts])


def scan(
    layout: Layout, section: IngestSection, consent: ConsentSection, barred: Denied
) -> tuple[list[Photo], list[Rejection]]:
    """Hash every file below `photos/` and match it with its source row and sidecar landmarks.

    Returns usable photos, sorted by path, and a rejection for each that is not.

    Raises:
        UserError: no folder, no file in it, or a sidecar that cannot be read.
    """
    if not layout.photos.is_dir():
        raise UserError(f"{layout.photos} is not a folder. Put the photos there.")
    rows, landmarks = sources.load(layout.root), sidecar.load(layout.landmarks)
    usable: list[Photo] = []
    refused: list[Rejection] = []
    seen: set[str] = set()
    for path in _walk(layout.photos, refused):
        name = _shown(path, layout.photos)
        seen.add(name)
        try:
            photo = _photo(path, name, layout.photos, section, rows, landmarks, consent.minors)
            barred.require_photo(photo.sha256, photo.source.subject)
            usable.append(photo)
        except Rejected as reason:
            refused.append(_refusal(name, reason.code, reason.detail))
    if not seen and not refused:
        raise UserError(f"{layout.photos} holds no files. Put the photos there.")
    for name in sorted(set(rows) - seen - {"*"}):
        refused.append(_refusal(name, "photo_missing", "the source table names it, but it is not there"))
    return _without_copies(usable, _ingested(layout), refused), refused


def _refusal(path: str, code: str, detail: str) -> Rejection:
    return Rejection(stage=STAGE, code=code, detail=detail, path=path)


def _ingested(layout: Layout) -> set[tuple[str, str]]:
    """Path and SHA-256 of every photo that has a record already."""
    columns = ("path", "photo_sha256")
    try:
        table = pq.read_table(layout.lineage, columns=list(columns))
        return set(zip(*(table.column(name).to_pylist() for name in columns), strict=True))
    except (OSError, KeyError, pa.ArrowException):  # none yet; or torn, and about to be written again
        return set()


def _without_copies(photos: list[Photo], ingested: set[tuple[str, str]], refused: list[Rejection]) -> list[Photo]:
    """One photo for each content: the one that has a record already, so that a new copy cannot take its place."""
    kept: dict[str, Photo] = {}
    for photo in sorted(photos, key=lambda photo: ((photo.path, photo.sha256) not in ingested, photo.path)):
        first = kept.setdefault(photo.sha256, photo)
        if first is not photo:
            refused.append(_refusal(photo.path, "duplicate_photo", f"the same bytes as '{first.path}'"))
    return sorted(kept.values(), key=lambda photo: photo.path)


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file below a photo folder as `scan` finds it: its path there as readable text, and where it lies.

    Raises:
        UserError: the folder is there, and cannot be read.
    """
    if folder.is_dir():
        yield from ((_shown(path, folder), path) for path in _walk(folder, []))


def _walk(folder: Path, refused: list[Rejection]) -> Iterator[Path]:
    """Every file below a folder, in the order of their bytes; links to folders are not entered."""

    def unreadable(error: OSError) -> None:
        if Path(os.fsdecode(error.filename)) == folder:
            raise UserError(f"{folder} cannot be read: {error.strerror}. Nothing was changed.")
        name = _shown(Path(os.fsdecode(error.filename)), folder)
        refused.append(_refusal(name, "unreadable", error.strerror or "unreadable folder"))

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort(key=os.fsencode)
        linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted([*files, *linked], key=os.fsencode):
            yield Path(parent, name)


def _shown(path: Path, folder: Path) -> str:
    """The path below the folder, with `/`, as readable text."""
    return readable(path.relative_to(folder).as_posix())


def readable(name: str) -> str:
    """Return a name of the file system as text that can be written: bytes that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _photo(
    path: Path,
    name: str,
    folder: Path,
    section: IngestSection,
    rows: Mapping[str, sources.Source],
    landmarks: Mapping[str, list[dict[str, Any]]],
    minors: Literal["refuse", "keep"],
) -> Photo:
    source = rows.get(name) or rows.get("*")
    if source is None:
        raise Rejected("no_source", "no row of the source table names it, and there is no row for *")
    source.require_usable()
    source.require_admitted(minors)
    data = read_photo(path, folder, section.max_file_bytes)
    if not data:
        raise Rejected("empty", "the file has no bytes")
    faces = landmarks.get(name) if "sidecar" in section.finders else None
    return Photo(str(path.relative_to(folder)), name, images.sha256(data), source, faces)


def read_photo(path: Path, folder: Path, max_bytes: int) -> bytes:
    """Read a file that a stranger put there: never out of its folder, never a device, never too much.

    Raises:
        Rejected: `unreadable`, `outside_folder`, `not_a_file`, `file_too_large`.
    """
    try:
        found = path.resolve(strict=True)
        if not found.is_relative_to(folder.resolve(strict=True)):
            raise Rejected("outside_folder", "a link that leads out of the photo folder is not followed")
        _require_usable(found.stat(), max_bytes)
        with open(found, "rb", opener=_open_without_following) as file:
            # Again, of what was opened: the name may have come to mean a link, a pipe or a longer file.
            _require_usable(os.fstat(file.fileno()), max_bytes)
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise Rejected("file_too_large", f"it grows beyond {max_bytes:,} bytes while it is read")
        return data
    except (OSError, RuntimeError) as error:
        # A loop of links is a RuntimeError whose words hold the whole path.
        reason = error.strerror if isinstance(error, OSError) else "a loop of links"
        raise Rejected("unreadable", str(reason)) from error


def _require_usable(state: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise Rejected("not_a_file", "neither a file nor a link to one")
    if state.st_size > max_bytes:
        raise Rejected("file_too_large", f"{state.st_size:,} bytes are more than {max_bytes:,}")


def _open_without_following(path: str, flags: int) -> int:
    """Open without waiting for who writes a pipe, and without following a link; where the system can."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
