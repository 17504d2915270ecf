"""Purge: after a removal, take out of the Hub what its older versions hold. Nothing of it can be undone.

Deleting a file, or publishing a version without it, takes nothing away: tags, branches, pull requests and the history
of `main` still lead to it, and large files are kept apart from git. So all of them go that lead to a version which may
hold somebody whom the newest one names as erased, in this order: the version without the records; tags; branches; pull
requests; the viewer's history; large files; the history of `main`; and then it is looked whether an old shard can still
be fetched. Each step looks at what is there, so a purge that was stopped goes on when it is run again, and one that was
done does nothing to later versions.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.release import REMOVED, Version, read_removed
from mmtt.removal import NOTICES, Step, Trace

from ..release.draft import RELEASES
from .hub import KIND, MAIN, Refs, Remote, RemoteFile
from .plan import plan
from .publish import publish
from .ready import require_ready
from .staged import Staged, several

Say = Callable[[str], object]
Confirm = Callable[[str], bool]


class Due(NamedTuple):
    """A step that is to be done: what, as a sentence without a full stop, and how."""

    what: str
    do: Callable[[], object]


class _Past:
    """Which commits of a repository may hold somebody whom the newest version names as erased."""

    def __init__(self, remote: Remote, erased: Collection[str]) -> None:
        self._remote, self._erased = remote, erased
        self._trees: dict[str, Mapping[str, RemoteFile]] = {}
        self._known: dict[str, bool] = {}

    def leads(self, ref: str) -> bool:
        """Whether a commit that leads to a revision may hold them."""
        return not all(self._without(commit) for commit, _ in self._remote.commits(ref))

    def holding(self) -> set[str]:
        """Return every commit that may hold them and that a ref leads to."""
        commits = {commit for ref in self._remote.refs().everything() for commit, _ in self._remote.commits(ref)}
        return {commit for commit in commits if not self._without(commit)}

    def leading(self) -> Refs:
        """Return the refs that lead to such a commit."""
        kinds = self._remote.refs()
        return Refs(*({ref: at for ref, at in kind.items() if self.leads(ref)} for kind in kinds))

    def kept(self) -> set[str | None]:
        """Return the digests of the large files that `main` and every commit without them name."""
        commits = {commit for ref in self._remote.refs().everything() for commit, _ in self._remote.commits(ref)}
        trees = [self._tree(commit) for commit in commits if self._without(commit)]
        return {file.sha256 for tree in (self._remote.tree(MAIN), *trees) for file in tree.values()}

    def _without(self, commit: str) -> bool:
        """Whether its own `removed.csv` names them all, or it holds nothing."""
        tree = self._tree(commit)
        named = tree.get(REMOVED)
        if named is None:
            return not tree
        if named.blob not in self._known:
            with self._remote.fetched(REMOVED, commit) as folder:
                self._known[named.blob] = self._names_all(folder / REMOVED)
        return self._known[named.blob]

    def _tree(self, commit: str) -> Mapping[str, RemoteFile]:
        if commit not in self._trees:
            self._trees[commit] = self._remote.tree(commit)
        return self._trees[commit]

    def _names_all(self, removed: Path) -> bool:
        try:
            return {stone.record_id for stone in read_removed(removed)}.issuperset(self._erased)
        except UserError:  # it was no release of ours
            return False


class Purged(NamedTuple):
    """What came of a purge.

    by_hand: what only a person can do. left: what can still be fetched. readers: how many people were let in, who are
    to be told.
    """

    by_hand: list[Step]
    left: list[Trace]
    readers: int


def purge_hub(dataset: Path, repo: str, confirm: Confirm, say: Say = print, *, on: date | None = None) -> Purged:
    """Publish the newest release of a dataset, and take out of the Hub whatever may hold those whom it names as erased.

    Args:
        dataset: its folder.
        repo: OWNER/NAME.
        confirm: is asked before each step, with what it does.
        say: is told what was done.
        on: the day, for the consents; today by default.

    Raises:
        UserError: no release, or one that names nobody as erased; a removal is not completed; a step was not confirmed;
            whatever may go wrong with the Hub.
    """
    versions = [Version.parse(path.name) for path in (dataset / RELEASES).glob("[0-9]*") if path.is_dir()]
    if not versions:
        raise UserError(f"{dataset} has no release. `mmtt release` makes the version without the records.")
    staged = Staged(dataset / RELEASES / str(max(versions)))
    require_ready(dataset, staged.folder, on or date.today())
    private = dataset / "private"
    done = purge(staged, Remote(repo), private / "purge" / f"{repo.replace('/', '__')}.json", confirm, say)
    if any((private / NOTICES).glob("*.md")):
        say(f"{private / NOTICES} holds what everybody who has a copy is to be told: send it, nothing here does")
    return done


def purge(staged: Staged, remote: Remote, notes: Path, confirm: Confirm, say: Say = print) -> Purged:
    """Do every step that is due, each once it is confirmed.

    Args:
        staged: the newest release, which says whom no other may hold.
        remote: the repository.
        notes: where it is kept which commits led to old shards, until none can be fetched.
        confirm: as for `purge_hub`.
        say: as for `purge_hub`.

    Raises:
        UserError: as for `purge_hub`.
    """
    erased = frozenset(stone.record_id for stone in read_removed(staged.folder / REMOVED) if stone.reason == "erasure")
    if not erased:
        raise UserError(
            f"{staged.folder / REMOVED} names no erasure, so there is nothing to purge. "
            "`mmtt forget apply` makes the version that does."
        )
    remote.require_rights()
    past = _Past(remote, erased)
    for due in _due(staged, remote, past, notes, say):
        if not confirm(due.what):
            raise UserError(f"Stopped before this step: {due.what}. Run the command again to go on there.")
        due.do()
        say(f"done: {due.what}")
    left = list(_left(remote, past, notes))
    if not left:
        notes.unlink(missing_ok=True)
        say(f"{remote.repo}: no large file of a version that may hold them is kept or given out")
    return Purged(list(_by_hand(remote)), left, _readers(remote))


def _due(staged: Staged, remote: Remote, past: _Past, notes: Path, say: Say) -> Iterator[Due]:
    if remote.info() is None:
        raise UserError(f"{remote.repo} is not on the Hub, or this token may not see it: there is nothing to purge.")
    planned = plan(staged, remote)
    if planned.state != "published":
        foreign = f", over what somebody changed: {several([*planned.foreign])}" if planned.foreign else ""
        yield Due(f"publish {staged.version}{foreign}", lambda: publish(staged, remote, replace=True, say=say))
    _require_on_main(staged, remote)
    _note(remote, past, notes)
    refs = past.leading()
    for tag in sorted(refs.tags.keys() - {staged.tag}):
        yield Due(f"delete the tag {tag}", _call(remote, "delete_tag", tag=tag))
    for branch in sorted(refs.branches.keys() - {MAIN}):
        yield Due(f"delete the branch {branch}", _call(remote, "delete_branch", branch=branch))
    yield from _close_pulls(remote, refs.pulls)
    for ref in sorted(refs.converts):
        if len(remote.commits(ref)) > 1:
            yield Due(f"squash the history of {ref}", _call(remote, "super_squash_history", branch=ref))
    yield from _delete_large(remote, past)
    _note(remote, past, notes)  # again: what took large files out of the history gave its commits new names
    if past.leads(MAIN):
        if staged.tag in remote.refs().tags:  # while it leads to the history of `main`, no squash lets that go
            yield Due(f"delete the tag {staged.tag}, to be set anew", _call(remote, "delete_tag", tag=staged.tag))
        squash = _call(remote, "super_squash_history", branch=MAIN, commit_message=f"Release {staged.version}")
        yield Due(f"squash the history of {MAIN} into one commit", squash)
    refs = remote.refs()
    if refs.tags.get(staged.tag) != refs.branches[MAIN]:
        yield Due(f"set the tag {staged.tag} to that commit", lambda: _move_tag(remote, staged.tag))


def _require_on_main(staged: Staged, remote: Remote) -> None:
    """Refuse where `main` is no longer the release: the tag is to be set to what is there."""
    main = remote.tree(MAIN)
    if differing := sorted({*staged.differing(main), *(main.keys() - staged.sha256.keys())}):
        raise UserError(
            f"'{MAIN}' of {remote.repo} was changed since {staged.tag}: {several(differing)}. "
            "Release and publish the next version first."
        )


def _call(remote: Remote, name: str, **options: object) -> Callable[[], None]:
    def call() -> None:
        with remote.said("to purge"):
            getattr(remote.api, name)(remote.repo, repo_type=KIND, **options)

    return call


def _close_pulls(remote: Remote, leading: Collection[str]) -> Iterator[Due]:
    with remote.said("to list its pull requests"):
        opened = list(
            remote.api.get_repo_discussions(
                remote.repo, repo_type=KIND, discussion_type="pull_request", discussion_status="open"
            )
        )
    for pull in (found for found in opened if f"refs/pr/{found.num}" in leading):
        close = _call(remote, "change_discussion_status", discussion_num=pull.num, new_status="closed")
        yield Due(f"close pull request {pull.num}", close)


def _delete_large(remote: Remote, past: _Past) -> Iterator[Due]:
    """Delete what no version without them names, and with it every pointer to it in every commit."""
    named = past.kept()
    with remote.said("to list its large files"):
        stale = [file for file in remote.api.list_lfs_files(remote.repo, repo_type=KIND) if file.file_oid not in named]
    if stale:
        delete = _call(remote, "permanently_delete_lfs_files", lfs_files=stale, rewrite_history=True)
        names = several(sorted({file.filename for file in stale}))
        yield Due(f"delete {len(stale)} large files that only older versions use, for good: {names}", delete)


def _move_tag(remote: Remote, tag: str) -> None:
    if tag in remote.refs().tags:
        _call(remote, "delete_tag", tag=tag)()
    _call(remote, "create_tag", tag=tag, revision=MAIN)()


def _note(remote: Remote, past: _Past, notes: Path) -> None:
    """Note for each commit that may hold them a file that is to go, so that it can be asked for afterwards.

    A large one where there is any; small ones stay in a history until that is let go.
    """
    named, noted = past.kept(), dict(_noted(notes))
    small = {file.blob for file in remote.tree(MAIN).values()}
    for commit in past.holding() - noted.keys():
        tree = remote.tree(commit).items()
        old = [(not file.sha256, path) for path, file in tree if (file.sha256 or file.blob) not in {*named, *small}]
        noted.update((commit, path) for _, path in sorted(old)[:1])
    if not noted:
        return
    notes.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(notes, json.dumps(noted, indent=1, sort_keys=True).encode())


def _noted(notes: Path) -> Mapping[str, str]:
    return json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}


def _left(remote: Remote, past: _Past, notes: Path) -> Iterator[Trace]:
    """Yield what of the old versions can still be fetched, or is still kept."""
    named = past.kept()
    for ref in remote.refs().everything():
        for path, file in remote.tree(ref).items():
            if file.sha256 and file.sha256 not in named:
                yield Trace(f"{remote.repo}@{ref}: {path}", "a file of an older version")
    # Of the closed pull requests' commits a person is told instead: only by hand can they go.
    told = {commit for ref in remote.refs().pulls for commit, _ in remote.commits(ref)}
    for commit, path in ((commit, path) for commit, path in _noted(notes).items() if commit not in told):
        with remote.said("to ask for an old file"):
            there = remote.api.file_exists(remote.repo, path, repo_type=KIND, revision=commit)
        if there:
            yield Trace(f"{remote.repo}@{commit}: {path}", "a file of an older version")
    with remote.said("to list its large files"):
        kept = [file for file in remote.api.list_lfs_files(remote.repo, repo_type=KIND) if file.file_oid not in named]
    yield from (Trace(f"{remote.repo}: large file {file.filename}", "kept by the Hub") for file in kept)


def _by_hand(remote: Remote) -> Iterator[Step]:
    """Yield the refs of pull requests that still hold the old history: the Hub lets only a person delete them."""
    root = remote.commits(MAIN)[-1][0]
    for ref in remote.refs().pulls:
        if remote.commits(ref)[-1][0] != root:
            page = f"{remote.api.endpoint}/datasets/{remote.repo}/discussions/{ref.rsplit('/', 1)[-1]}"
            yield Step(page, f"delete the git ref of this closed pull request ({ref}): small old files are still in it")


def _readers(remote: Remote) -> int:
    info = remote.info()
    if info is None or not info.gated:
        return 0
    with remote.said("to count who was let in"):
        return sum(1 for _ in remote.api.list_accepted_access_requests(remote.repo, repo_type=KIND))
