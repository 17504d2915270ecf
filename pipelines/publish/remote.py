"""Remote: whether a version on the Hub is what its checksums say, without fetching what is large."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.manifest import MANIFEST, Manifest
from mmtt.release import CHECKSUMS, DATA, read_checksums

from .hub import MAIN, Remote, RemoteFile


class Verified(NamedTuple):
    """What a version holds: files and records. wrong: (path, what is wrong); empty where it is whole."""

    files: int
    rows: int
    wrong: list[tuple[str, str]]


def verify_remote(repo: str, revision: str | None = None) -> Verified:
    """Compare every file of a version on the Hub with the checksums beside it, and its manifest with them.

    Of large files the Hub itself tells the SHA-256, which it took when they came; small ones are fetched.

    Args:
        repo: OWNER/NAME.
        revision: a tag, branch or commit; `main` by default.

    Raises:
        UserError: no such repository or revision, or none that this token may read; no release was published there.
    """
    remote, at = Remote(repo), revision or MAIN
    tree = remote.tree(at)
    for name in (CHECKSUMS, f"{DATA}/{MANIFEST}"):
        if name not in tree:
            raise UserError(f"{repo} at {at} has no {name}: no release was published there.")
    with remote.fetched(CHECKSUMS, at) as folder:
        listed = read_checksums(folder)
    with remote.fetched(f"{DATA}/{MANIFEST}", at) as folder:
        manifest = Manifest.load(folder / DATA)
    wrong = [*_differing(remote, at, tree, listed), *_contradicting(manifest, listed)]
    return Verified(len(tree), manifest.rows, wrong)


def _differing(
    remote: Remote, revision: str, tree: Mapping[str, RemoteFile], listed: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    yield from ((path, "is missing") for path in listed if path not in tree)
    for path, found in sorted(tree.items()):
        if path == CHECKSUMS:
            continue
        if path not in listed:
            yield path, f"is not listed in {CHECKSUMS}"
        elif (found.sha256 or _fetched(remote, path, revision)) != listed[path]:
            yield path, f"has another SHA-256 than {CHECKSUMS} says"


def _contradicting(manifest: Manifest, listed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    named = {f"{DATA}/{shard.name}.parquet": shard.sha256 for shard in manifest.shards}
    there = {
        path: sha256 for path, sha256 in listed.items() if path.startswith(f"{DATA}/") and path.endswith(".parquet")
    }
    for path in sorted(named.keys() | there.keys()):
        if named.get(path) != there.get(path):
            yield path, f"is not the shard that {DATA}/{MANIFEST} lists"


def _fetched(remote: Remote, path: str, revision: str) -> str:
    with remote.fetched(path, revision) as folder:
        return file_sha256(folder / path)
