"""Traces on the Hub: a search of every revision of a repository for what must not be there."""

from collections.abc import Collection, Iterator, Mapping

from mmtt.errors import UserError
from mmtt.removal import Trace
from mmtt.traces import Needles, search

from .hub import KIND, Remote


def remote_traces(
    repo: str, needles: Mapping[bytes, str], spared: Mapping[str, Collection[str]] | None = None
) -> Iterator[Trace]:
    """Yield what branches, tags, pull requests, their histories and the list of large files hold of some words.

    Each content is fetched once, whatever number of revisions name it.

    Args:
        repo: OWNER/NAME.
        needles: words, each with the name of its kind; as `mmtt.removal.needles` gives them.
        spared: kinds that a file may hold, by its path.

    Raises:
        UserError: no such repository, or none that this token may read.
    """
    remote, words, seen, contents = Remote(repo), Needles(needles), set[str](), set[str]()
    for ref in remote.refs().everything():
        yield from _said(words, ref, f"{repo}@{ref}", "its name")
        for commit, title in remote.commits(ref):
            if commit in seen:
                continue
            seen.add(commit)
            where = f"{repo}@{ref} ({commit[:12]})"
            yield from _said(words, title, where, "its title")
            yield from _in_commit(remote, commit, where, needles, spared, contents)
    yield from _in_lists(remote, words, contents)


def _said(words: Needles, text: str, where: str, what: str) -> Iterator[Trace]:
    yield from (Trace(where, f"{kind} in {what}") for kind in sorted(words.met(text.encode("utf-8", "surrogatepass"))))


def _in_commit(
    remote: Remote,
    commit: str,
    where: str,
    needles: Mapping[bytes, str],
    spared: Mapping[str, Collection[str]] | None,
    contents: set[str],
) -> Iterator[Trace]:
    for path, file in remote.tree(commit).items():
        content = file.sha256 or file.blob
        if content in contents:
            continue
        contents.add(content)
        try:
            with remote.fetched(path, commit) as folder:
                found = search(folder, needles, spared)
        except UserError:
            found = [Trace(path, "cannot be fetched, so it was not searched")]
        yield from (Trace(f"{where}: {trace.where}", trace.what) for trace in found)


def _in_lists(remote: Remote, words: Needles, contents: set[str]) -> Iterator[Trace]:
    """Search what lies beside the revisions: large files that none of them names, and the titles of discussions."""
    with remote.said("to list its large files"):
        listed = list(remote.api.list_lfs_files(remote.repo, repo_type=KIND))
    for file in listed:
        if file.file_oid not in contents:
            yield Trace(f"{remote.repo}: large file {file.filename}", "no revision names it, so it was not searched")
    with remote.said("to list its discussions"):
        titles = [(item.num, item.title) for item in remote.api.get_repo_discussions(remote.repo, repo_type=KIND)]
    for number, title in titles:
        yield from _said(words, title, f"{remote.repo}, discussion {number}", "its title")
