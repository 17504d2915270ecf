"""Publish: branch, upload, verify, one commit on `main`, tag.

Readers of `main` see the version before or the new one: the bytes are on a branch before the one commit that names
them. Killed anywhere and run again it goes on, since each step looks at what is there:

    no tag, `main` as before   the branch is made or taken up, what it lacks is uploaded
    no tag, `main` is ours     the tag
    tag                        the branch goes; with other content: refused
"""

from collections.abc import Callable

from mmtt.errors import UserError

from .hub import KIND, MAIN, Remote
from .plan import Gate, Plan, plan
from .staged import Staged, several

Say = Callable[[str], object]


def publish(
    staged: Staged,
    remote: Remote,
    *,
    private: bool = False,
    gated: Gate | None = None,
    replace: bool = False,
    dry_run: bool = False,
    say: Say = print,
) -> Plan:
    """Publish a release; return what was planned, and is now done unless it was a dry run.

    Args:
        staged: the release. Whether its records may be published is not asked here.
        remote: where to.
        private: see `plan`.
        gated: see `plan`.
        replace: whether what somebody changed on `main` may be overwritten.
        dry_run: whether to change nothing.
        say: is told each line of the plan, then each step.

    Raises:
        UserError: no token or a wrong one, no rights, no space, what `plan` refuses, `main` changed by somebody. Then
            `main` is as it was.
    """
    remote.require_rights()
    planned = plan(staged, remote, private=private, gated=gated)
    for line in planned.lines():
        say(line)
    if planned.foreign and not replace:
        raise UserError(
            f"'{MAIN}' of {remote.repo} was changed since the newest version: {several([*planned.foreign])}. Bring "
            "the change into the dataset and release again, or publish with --replace to overwrite it."
        )
    if not dry_run:
        _prepare(remote, planned)
        commit = _merge(staged, remote, planned, say) if planned.state == "new" else planned.base
        if planned.state != "published":
            _tag(staged, remote, str(commit), say)
        if staged.branch in remote.refs().branches:
            with remote.said("to delete the branch"):
                remote.api.delete_branch(remote.repo, repo_type=KIND, branch=staged.branch)
    return planned


def _prepare(remote: Remote, planned: Plan) -> None:
    """Make the repository and close its gate, before there is anything in it."""
    if planned.creates:
        remote.create(bool(planned.private))
    settings = {"gated": {"off": False}.get(planned.gated, planned.gated)} if planned.gated else {}
    if planned.private and not planned.creates:
        settings["private"] = True
    if settings:
        remote.configure(**settings)


def _merge(staged: Staged, remote: Remote, planned: Plan, say: Say) -> str:
    """Bring `main` to the release; return the commit that does."""
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete

    base = planned.base or remote.refs().branches[MAIN]
    if staged.branch not in planned.branches:
        with remote.said("to make a branch"):
            remote.api.create_branch(remote.repo, repo_type=KIND, branch=staged.branch, revision=base)
    sent = [*planned.new, *planned.changed]
    lacking = _others(staged, remote, staged.branch, sent)
    say(f"uploading {len(lacking)} files to the branch {staged.branch}")
    if lacking:
        remote.upload(staged.folder, lacking, staged.branch, staged.title)
    _verify(staged, remote, staged.branch, sent)
    say(f"one commit on {MAIN}")
    # Copied there from the branch: what was verified is what is published.
    copies = [CommitOperationCopy(path, path, src_revision=staged.branch) for path in sent]
    with remote.said("to commit"):
        done = remote.api.create_commit(
            remote.repo,
            repo_type=KIND,
            operations=[*copies, *(CommitOperationDelete(path) for path in planned.gone)],
            commit_message=f"Release {staged.version}",
            revision=MAIN,
            parent_commit=base,
        )
    return done.oid


def _verify(staged: Staged, remote: Remote, revision: str, paths: list[str]) -> None:
    if wrong := _others(staged, remote, revision, paths):
        raise UserError(
            f"On the Hub {several(wrong)} is not what was uploaded; {MAIN} is as it was. "
            "Run the command again: it is uploaded anew."
        )


def _others(staged: Staged, remote: Remote, revision: str, paths: list[str]) -> list[str]:
    tree = remote.tree(revision)
    return [path for path in paths if not staged.is_same(path, tree.get(path))]


def _tag(staged: Staged, remote: Remote, commit: str, say: Say) -> None:
    """Tag that very commit: `main` may have gone on since."""
    _verify(staged, remote, commit, sorted(staged.sha256))
    say(f"tag {staged.tag}")
    with remote.said("to tag"):
        remote.api.create_tag(remote.repo, repo_type=KIND, tag=staged.tag, revision=commit)
