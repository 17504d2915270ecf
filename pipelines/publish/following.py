"""Following: whether a release may come after what is published, without loss to those who have that."""

from collections.abc import Mapping
from pathlib import Path

from mmtt.errors import UserError
from mmtt.release import REMOVED, Release, Version, is_release, read_removed

from .hub import Remote, RemoteFile
from .staged import Staged, several


def require_address(staged: Staged, repo: str) -> None:
    """Refuse a release whose card tells readers to load another repository, or none.

    Raises:
        UserError: it is so.
    """
    told = staged.release.repository
    if told != repo:
        names = f"names {told} as its repository" if told else "names no repository"
        raise UserError(
            f"{staged.folder} {names}, and its card tells readers what to load: to publish to {repo}, set "
            "about.repository in datasheet.toml and release again."
        )


def require_stones(staged: Staged, remote: Remote, trees: Mapping[str, Mapping[str, RemoteFile]]) -> None:
    """Refuse a release that no longer names a record which its readers must take out of their copies.

    Args:
        staged: the release.
        remote: the repository.
        trees: files of the revisions to compare with, by revision.

    Raises:
        UserError: `removed.csv` of a revision names a record that the release's own does not, or cannot be read.
    """
    here = _removed(staged.folder)
    for revision, tree in trees.items():
        if REMOVED not in tree or staged.is_same(REMOVED, tree[REMOVED]):
            continue
        with remote.fetched(REMOVED, revision) as folder:
            try:
                lost = sorted(_removed(folder) - here)
            except UserError:
                raise UserError(
                    f"{REMOVED} of {remote.repo} at {revision} cannot be read, so nobody knows which records its "
                    "readers must take out. Put the one of the newest release there, then publish again."
                ) from None
        if lost:
            raise UserError(
                f"{REMOVED} of {remote.repo} at {revision} names {several(lost)}, and the one of {staged.version} "
                f"does not: readers could not take these records out any more. {_again(staged, remote)}"
            )


def require_previous(staged: Staged, remote: Remote, newest: Version) -> None:
    """Refuse a release that was made without the newest that is published, whose folder was not there.

    Versions between the two may have been made and never published.

    Raises:
        UserError: it is so.
    """
    if not _follows(staged, newest):
        raise UserError(
            f"{staged.version} does not follow v{newest}, the newest on {remote.repo}, but "
            f"{staged.release.previous or 'nothing'}: it was made without that. {_again(staged, remote, newest)}"
        )


def _follows(staged: Staged, newest: Version) -> bool:
    release = staged.release
    while release.previous and newest < Version.parse(release.previous) < Version.parse(release.version):
        folder = staged.folder.parent / release.previous
        if not is_release(folder):  # a removal takes releases away
            return True
        release = Release.load(folder)
    return release.previous == str(newest)


def _again(staged: Staged, remote: Remote, newest: Version | None = None) -> str:
    """Say how to make it anew after the newest release."""
    version = newest or "NEWEST"
    place = staged.folder.parent / str(version)
    download = f"hf download {remote.repo} --repo-type dataset --revision v{version} --local-dir {place}"
    return f"Delete {staged.folder}, download the newest release (`{download}`) and release again."


def _removed(folder: Path) -> set[str]:
    return {stone.record_id for stone in read_removed(folder / REMOVED)}
