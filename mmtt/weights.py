"""Weights: files that a user brings. They lie in one folder, are known by their digest, and are never fetched.

The folder is what `MMTT_MODELS` (or `mmtt --models DIR`) names; a recipe names files in it by relative path,
or a repository of the Hugging Face Hub that is in the local cache: `hub:OWNER/NAME@REVISION`.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmtt.errors import MissingDependency, UserError
from mmtt.files import file_sha256
from mmtt.ids import digest

FOLDER = "MMTT_MODELS"
HUB = "hub:"
_SKIPPED = ("__pycache__", "venv", "node_modules")


class Weights(NamedTuple):
    """One file (or folder) of weights: where it lies in the user's folder, and what is known of it.

    `licence` is an SPDX id, `LicenseRef-…` where SPDX lists none; `origin` says where a user gets it.
    """

    path: str
    licence: str
    origin: str
    sha256: str | None = None


def find(name: str) -> Path | None:
    """Return where weights lie, or None when they are absent.

    Raises:
        UserError: a name that leads out of the folder, or a Hub name without a revision.
    """
    if name.startswith(HUB):
        return _cached(name.removeprefix(HUB))
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise UserError(f"Weights are named by their path inside the folder of {FOLDER}, not '{name}'.")
    folder = os.environ.get(FOLDER)
    path = Path(folder) / parts if folder else None
    return path if path is not None and path.exists() else None


def require(weights: Weights, pinned: str | None = None) -> Path:
    """Return where weights lie, checked against the digest that the recipe pins, or else the one that is known.

    Raises:
        UserError: absent, or other bytes than expected; the message says where they come from.
    """
    path = find(weights.path)
    if path is None:
        where = os.environ.get(FOLDER) or f"a folder, and name that folder: mmtt --models DIR, or {FOLDER}=DIR"
        raise UserError(f"'{weights.path}' is missing. Get it from {weights.origin} and put it into {where}.")
    expected = pinned or weights.sha256
    if expected and sha256(path) != expected:
        hint = f"Get it again from {weights.origin}, or pin the digest that you trust in the recipe."
        raise UserError(f"'{weights.path}' has SHA-256 {sha256(path)}, expected {expected}. {hint}")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of its files' names and digests. 64 hex digits.

    Hidden files, caches and virtual environments do not count.
    """
    return _digest(path, _state(path))


@lru_cache(maxsize=64)
def _digest(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    """The state (names, sizes, times) is only there so that a changed folder is read again."""
    if path.is_file():
        return file_sha256(path)
    return digest([[name, file_sha256(path / name)] for name, _, _ in state])


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    files = [path] if path.is_file() else sorted(_files(path))
    stats = ((file, file.stat()) for file in files)
    return tuple((file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns) for file, stat in stats)


def _files(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Links are followed, but for one that leads back to a folder that it lies in."""
    above |= {folder.resolve()}
    for item in folder.iterdir():
        if item.name.startswith(".") or item.name in _SKIPPED:
            continue
        if item.is_dir():
            if item.resolve() not in above:
                yield from _files(item, above)
        elif item.is_file():
            yield item


def _cached(name: str) -> Path | None:
    """Where the Hub's client keeps a repository at a revision; nothing is ever downloaded."""
    repository, _, revision = name.partition("@")
    if not revision:
        raise UserError(f"'{HUB}{name}' names no revision. Write {HUB}{name}@COMMIT, so that the bytes are fixed.")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependency(f"Names with '{HUB}' need huggingface_hub: pip install huggingface_hub.") from error
    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise UserError(f"'{HUB}{name}' is no name of a Hub repository: {error}") from error
