"""Purge: after a removal, take out of the Hub what its older versions hold. Nothing of it can be undone.

Deleting a file, or publishing a version without it, takes nothing away: tags, branches, pull requests and the history
of `main` still lead to it, and large files are kept apart from git. So all of them go, in this order: the version
without the records; tags; branches; pull requests; the viewer's history; large files; the history of `main`; and then
it is looked whether an old shard can still be fetched. Each step looks at what is there, so a purge that was stopped
goes on when it is run again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.release import Version
from mmtt.removal import Step, Trace

from ..release.draft import RELEASES
from ..release.selection import require_publishable
from .hub import KIND, MAIN, Remote
from .plan import Staged, plan, several
from .publish import publish

Say = Callable[[str], object]
Confirm = Callable[[str], bool]


class Due(NamedTuple):
    """A step that is to be done: what, as a sentence without a full stop, and how."""

    what: str
    do: Callable[[], object]


class Purged(NamedTuple):
    """What came of a purge.

    by_hand: what only a person can do. left: what can still be fetched. readers: how many people were let in, who are
    to be told.
    """

    by_hand: list[Step]
    left: list[Trace]
    readers: int


def purge_hub(dataset: Path, repo: str, confirm: Confirm, say: Say = print, *, on: date | None = None) -> Purged:
    """Publish the newest release of a dataset, and take every older one out of the Hub.

    Args:
        dataset: its folder.
        repo: OWNER/NAME.
        confirm: is asked before each step, with what it does.
        say: is told what was done.
        on: the day, for the consents; today by default.

    Raises:
        UserError: no release; a step was not confirmed; whatever may go wrong with the Hub.
    """
    versions = [Version.parse(path.name) for path in (dataset / RELEASES).glob("[0-9]*") if path.is_dir()]
    if not versions:
        raise UserError(f"{dataset} has no release. `mmtt release` makes the version without the records.")
    staged = Staged(dataset / RELEASES / str(max(versions)))
    require_publishable(dataset, staged.folder, on or date.today())
    notes = dataset / "private" / "purge" / f"{repo.replace('/', '__')}.json"
    return purge(staged, Remote(repo), notes, confirm, say)


def purge(staged: Staged, remote: Remote, notes: Path, confirm: Confirm, say: Say = print) -> Purged:
    """Do every step that is due, each once it is confirmed.

    Args:
        staged: the release that is to be the only one.
        remote: the repository.
        notes: where it is kept which commits led to old shards, until none can be fetched.
        confirm: as for `purge_hub`.
        say: as for `purge_hub`.

    Raises:
        UserError: as for `purge_hub`.
    """
    remote.account()
    for due in _due(staged, remote, notes, say):
        if not confirm(due.what):
            raise UserError(f"Stopped before this step: {due.what}. Run the command again to go on there.")
        due.do()
        say(f"done: {due.what}")
    left = list(_left(remote, notes))
    if not left:
        notes.unlink(missing_ok=True)
    return Purged(list(_by_hand(remote)), left, _readers(remote))


def _due(staged: Staged, remote: Remote, notes: Path, say: Say) -> Iterator[Due]:
    if remote.info() is None:
        raise UserError(f"{remote.repo} is not on the Hub, or this token may not see it: there is nothing to purge.")
    planned = plan(staged, remote)
    if planned.state != "published":
        foreign = f", over what somebody changed: {several([*planned.foreign])}" if planned.foreign else ""
        yield Due(f"publish {staged.version}{foreign}", lambda: publish(staged, remote, replace=True, say=say))
    _require_on_main(staged, remote)
    _note(remote, notes)
    refs = remote.refs()
    for tag in sorted(refs.tags.keys() - {staged.tag}):
        yield Due(f"delete the tag {tag}", _call(remote, "delete_tag", tag=tag))
    for branch in sorted(refs.branches.keys() - {MAIN}):
        yield Due(f"delete the branch {branch}", _call(remote, "delete_branch", branch=branch))
    yield from _close_pulls(remote)
    for ref in sorted(refs.converts):
        if len(remote.commits(ref)) > 1:
            yield Due(f"squash the history of {ref}", _call(remote, "super_squash_history", branch=ref))
    yield from _delete_large(remote)
    if len(remote.commits(MAIN)) > 1:
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


def _close_pulls(remote: Remote) -> Iterator[Due]:
    with remote.said("to list its pull requests"):
        opened = list(
            remote.api.get_repo_discussions(
                remote.repo, repo_type=KIND, discussion_type="pull_request", discussion_status="open"
            )
        )
    for pull in opened:
        close = _call(remote, "change_discussion_status", discussion_num=pull.num, new_status="closed")
        yield Due(f"close pull request {pull.num}", close)


def _delete_large(remote: Remote) -> Iterator[Due]:
    """Delete what `main` does not name, and with it every pointer to it in every commit."""
    named = {file.sha256 for file in remote.tree(MAIN).values()}
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


def _note(remote: Remote, notes: Path) -> None:
    """Note for each commit a file that is not on `main` any more, so that it can be asked for afterwards."""
    named = {file.blob for file in remote.tree(MAIN).values()}
    noted = dict(_noted(notes))
    for ref in remote.refs().everything():
        for commit, _ in remote.commits(ref):
            if commit not in noted:
                tree = remote.tree(commit).items()
                old = sorted(path for path, file in tree if file.blob not in named and file.sha256)
                noted.update((commit, path) for path in old[:1])
    notes.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(notes, json.dumps(noted, indent=1, sort_keys=True).encode())


def _noted(notes: Path) -> Mapping[str, str]:
    return json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}


def _left(remote: Remote, notes: Path) -> Iterator[Trace]:
    """Yield what of the old versions can still be fetched, or is still kept."""
    named = {file.sha256 for file in remote.tree(MAIN).values()}
    for ref in remote.refs().everything():
        for path, file in remote.tree(ref).items():
            if file.sha256 and file.sha256 not in named:
                yield Trace(f"{remote.repo}@{ref}: {path}", "a file of an older version")
    for commit, path in _noted(notes).items():
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
