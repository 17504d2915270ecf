"""A stranger's folder: files are listed in one order, read whole and within limits, and never followed out of it."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mmtt.errors import Rejected, UserError
from mmtt.ids import digest
from mmtt.images import sha256
from mmtt.progress import Progress, silent
from mmtt.recipe import IngestSection
from mmtt.record import Rejection

from ..photos import read_photo
from .arguments import shortened
from .rows import STAGE, brief, storable

T = TypeVar("T")
PICTURES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
MAX_FILE_BYTES = IngestSection().max_file_bytes
_JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


def refusal(path: str, code: str, detail: str) -> Rejection:
    """Return the rejection of one item."""
    return Rejection(stage=STAGE, code=code, detail=brief(detail), path=brief(path))


class Folder:
    """A folder, and what is known of its files.

    boundary: the folder that no link may lead out of; the folder itself, unless it is a view of a cache.
    """

    def __init__(self, root: Path, boundary: Path | None = None) -> None:
        self.root = root.resolve()
        self._boundary = (boundary or root).resolve()
        self._sha256: dict[str, str | None] = {}

    def files(self, below: str = "", *, suffixes: Iterable[str] = PICTURES) -> Iterator[str | Rejection]:
        """Yield the paths below a folder of files with these suffixes (any case), in the order of their bytes.

        Hidden files are passed over. Links to folders are refused: what they show is to be listed where it lies.

        Raises:
            UserError: a folder in it cannot be read.
        """
        wanted = frozenset(suffixes)
        if (self.root / below).is_symlink():
            yield _linked(below)
        if (self.root / below).is_symlink() or not (self.root / below).is_dir():
            return
        for parent, folders, files in os.walk(self.root / below, onerror=_unreadable):
            folders[:] = sorted((name for name in folders if not _is_junk(name)), key=os.fsencode)
            here = PurePosixPath(Path(parent).relative_to(self.root).as_posix())
            yield from (_linked(str(here / name)) for name in folders if Path(parent, name).is_symlink())
            for name in sorted(files, key=os.fsencode):
                if PurePosixPath(name).suffix.lower() in wanted and not _is_junk(name):
                    yield str(here / name)

    def folders(self, below: str = "") -> list[str]:
        """Return the names of the folders in one folder, links to folders among them, in the order of their bytes."""
        here = self.root / below
        if here.is_symlink() or not here.is_dir():
            return []
        found = (item.name for item in here.iterdir() if item.is_dir())
        return sorted((name for name in found if not _is_junk(name)), key=os.fsencode)

    def place(self, told: str) -> str:
        r"""Return the path below the folder of a file as a table tells it, whether it is there or not.

        An absolute path may name what lies in the folder. `\` counts as `/` where no file is called so.

        Raises:
            Rejected: `outside`.
        """
        unslashed = told.replace("\\", "/")
        name = told if unslashed == told or _exists(self.root / told) else unslashed
        path = os.path.normpath(os.path.join(self.root, name))
        if not Path(path).is_relative_to(self.root):
            raise Rejected("outside", f"'{told}' leads out of the folder")
        return Path(path).relative_to(self.root).as_posix()

    def holds(self, name: str) -> bool:
        """Whether a path below the folder is there and, with all links followed, inside it."""
        path = self.root / name
        return _exists(path) and path.resolve().is_relative_to(self._boundary)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file below the folder.

        Raises:
            Rejected: `missing`, or a reason of `read_photo`.
            UserError: they are not those that `digest_of` saw.
        """
        path = self.root / name
        if not _exists(path):
            raise Rejected("missing", f"'{name}' is not there")
        data = read_photo(path, self._boundary, MAX_FILE_BYTES)
        if self._sha256.get(name, "") not in ("", sha256(data)):
            raise UserError(f"{path} changed while it was imported. Import again.")
        return data

    def digest_of(self, names: Iterable[str], progress: Progress = silent) -> str:
        """Return the digest of the paths and bytes of some files, 64 hex digits; those that cannot be read count too.

        What `read` gives afterwards is held against it.

        Raises:
            UserError: there are names, and none of them is that of a file that can be read.
        """
        unique = sorted(set(names))
        for name, found in zip(unique, progress(unique, map(self._hashed, unique)), strict=True):
            self._sha256[name] = found
        if unique and not any(self._sha256.values()):
            hint = f"Paths count from {self.root}."
            raise UserError(f"None of {len(unique)} files can be read, such as '{shortened(unique[0])}'. {hint}")
        return digest([[storable(name), self._sha256[name]] for name in unique])

    def _hashed(self, name: str) -> str | None:
        try:
            return sha256(self.read(name))
        except Rejected:
            return None


def _linked(name: str) -> Rejection:
    return refusal(name, "link", f"'{name}' is a link to a folder; put the folder itself there")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError, RuntimeError):  # no name of a file, or a loop of links
        return False


def stamps(paths: Iterable[Path]) -> list[tuple[int, ...]]:
    """Return what tells whether files were written to: which ones they are, their sizes and times."""
    return [(told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns) for told in map(os.stat, paths)]


def unchanged(paths: Sequence[Path], before: list[tuple[int, ...]], items: Iterator[T]) -> Iterator[T]:
    """Yield what is read from some files, whose digest was taken after `before`.

    Raises:
        UserError: at the end, where that digest may no longer be theirs.
    """
    yield from items
    if stamps(paths) != before:
        raise UserError(f"{paths[0]} or another file of the source changed while it was imported. Import again.")


def is_own_file(path: Path) -> bool:
    """Whether this is a file, and neither a link, which may lead anywhere, nor a pipe, at which one would wait."""
    return path.is_file() and not path.is_symlink()


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _JUNK


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}. Nothing was imported.")
