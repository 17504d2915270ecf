"""Files that are whole or absent, and directories that one process writes at a time."""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from mmtt.errors import LockedError

_TEMPORARY = re.compile(r"^\..+\.\d+\.tmp$")  # as `replacing` names them


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that it is whole or absent."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes the final name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a directory for writing, and sweep what a killed writer left there; a killed process frees it.

    Raises:
        LockedError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(directory / ".lock")
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        raise LockedError(f"{directory} is being written by another process. Wait until it ends.") from None
    try:
        _sweep(directory)
        yield
    finally:
        held.release()


def _sweep(directory: Path) -> None:
    """Remove temporary files; the lock says that nobody is writing them."""
    for path in [*directory.iterdir(), *(directory.parent / "private" / directory.name).glob(".*.tmp")]:
        if _TEMPORARY.match(path.name):
            path.unlink(missing_ok=True)


def take(path: Path, to: Path) -> None:
    """Give a finished file a second name, or copy it where the system cannot; nobody writes into a finished file."""
    with contextlib.suppress(OSError):
        os.link(path, to)
        return
    shutil.copyfile(path, to)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class PatientFile:
    """A new file to be written, for callers that must not meet an error in the middle: it is kept, and told when asked.

    Once something could not be written, nothing more is.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._told = path, path.open("wb"), 0
        self._error: OSError | None = None
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write, or seem to."""
        self._try(lambda: self._file.write(data))
        self._told += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were given."""
        return self._told

    def flush(self) -> None:
        """Hand what was given to the system, or seem to."""
        self._try(self._file.flush)

    def close(self) -> None:
        """Close it; what cannot be written even then counts as any other error."""
        self._try(self._file.flush)
        if not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):  # of what was buffered, which is known
                self._file.close()

    def require(self) -> None:
        """Raise the error that was kept.

        Raises:
            OSError: something could not be written, such as on a full disk.
        """
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self._path)) from self._error

    def __del__(self) -> None:
        """Close it where its writer was given up."""
        if not getattr(self, "closed", True):
            self.close()

    def _try(self, action: Callable[[], object]) -> None:
        if self._error is None and not self.closed:
            try:
                action()
            except OSError as error:
                self._error = error
