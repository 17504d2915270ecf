"""Staged: a release on the disk, ready to be compared with what is on the Hub."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.release import CHECKSUMS, Release, Version, checksums, read_checksums

from .hub import RemoteFile


def several(names: list[str]) -> str:
    """Return a few names, and how many more there are."""
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


class Staged:
    """A release on the disk that is what its checksums say.

    Raises:
        UserError: it is no release, or a file is not what it was when it was made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release = Release.load(folder)
        self.version = Version.parse(self.release.version)
        found, listed = checksums(folder), read_checksums(folder)
        wrong = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
        if wrong:
            raise UserError(
                f"{folder} is not what its {CHECKSUMS} says: {several(wrong)}. Delete it and make it again."
            )
        self.sha256 = {**found, CHECKSUMS: file_sha256(folder / CHECKSUMS)}

    @property
    def tag(self) -> str:
        """The tag that the release gets."""
        return f"v{self.version}"

    @property
    def branch(self) -> str:
        """The branch that it is uploaded to."""
        return f"release-{self.version}"

    @property
    def title(self) -> str:
        """Title of the commits on that branch, by which they are known to be ours."""
        return f"Upload release {self.version}"

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {path: (self.folder / path).stat().st_size for path in self.sha256}

    def is_same(self, path: str, remote: RemoteFile | None) -> bool:
        """Whether a file on the Hub has the bytes of the one here."""
        if remote is None or path not in self.sha256 or remote.size != self.sizes[path]:
            return False
        if remote.sha256 is not None:
            return remote.sha256 == self.sha256[path]
        data = (self.folder / path).read_bytes()
        return remote.blob == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    def differing(self, tree: Mapping[str, RemoteFile]) -> list[str]:
        """Return which files are not on the Hub, or are others there."""
        return sorted(path for path in self.sha256 if not self.is_same(path, tree.get(path)))
