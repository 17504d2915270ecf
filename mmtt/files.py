"""Files that are whole or absent, and directories that one process writes at a time."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
