"""Plan: what publishing a release would change on the Hub, decided before anything is changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mmtt.errors import UserError
from mmtt.release import Version

from . import following
from .hub import MAIN, Remote, RemoteFile
from .staged import Staged, several

State = Literal["new", "merged", "published"]
Gate = Literal["manual", "auto", "off"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done. base: the commit of `main` that it follows. state: `merged` where only the tag is missing.

    private, gated: what the repository is to be; None where that stays as it is.
    foreign: which of the files to be touched somebody changed on `main` since the newest version.
    newest: the newest version there.
    """

    repo: str
    version: str
    state: State = "new"
    base: str | None = None
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    newest: str | None = None
    bytes: int = 0
    private: bool | None = None
    gated: Gate | None = None
    branches: frozenset[str] = field(default=frozenset())

    @property
    def creates(self) -> bool:
        """Whether there is no such repository yet."""
        return self.base is None

    def lines(self) -> list[str]:
        """Return the plan as lines for a person."""
        told = [f"make {self.repo}{' (private)' if self.private else ''}"] if self.creates else []
        told += ["make it private"] if self.private and not self.creates else []
        told += [f"set access to: {self.gated}"] if self.gated else []
        if self.state == "published":
            same = f"{self.repo} has v{self.version} already, with the same content"
            later = f" (the newest there is v{self.newest})" if self.newest != self.version else ""
            return [*told, f"{same}{later}: nothing {'else ' if told else ''}to do"]
        somebody = dict.fromkeys(self.foreign, f" (somebody changed it on {MAIN})")
        for kind, paths in (("new", self.new), ("changed", self.changed), ("deleted", self.gone)):
            told += [f"{kind}: {path}{somebody.get(path, '')}" for path in paths]
        sent = f"{len(self.new)} new, {len(self.changed)} changed ({self.bytes / 1e6:.1f} MB)"
        counts = f"{sent}, {len(self.kept)} kept, {len(self.gone)} deleted"
        commit = f"one commit on {MAIN}, and " if self.state == "new" else ""
        return [*told, counts, f"then {commit}the tag v{self.version}"]


def plan(staged: Staged, remote: Remote, *, private: bool = False, gated: Gate | None = None) -> Plan:
    """Compare a release with the repository.

    Args:
        staged: the release.
        remote: the repository.
        private: whether it is to be private; a repository that is stays so.
        gated: who is let in; None keeps the gate that there is, and sets `manual` where there is none.

    Raises:
        UserError: the version, or a newer one, is already there with other content; a branch of that name is not ours;
            the release names another repository, or does not follow what is published there.
    """
    following.require_address(staged, remote.repo)
    info = remote.info()
    if info is None:
        files = tuple(sorted(staged.sha256))
        told: dict[str, Any] = {
            "new": files,
            "bytes": sum(staged.sizes.values()),
            "private": private,
            "gated": gated or "manual",
        }
        return Plan(repo=remote.repo, version=str(staged.version), **told)
    refs, main = remote.refs(), remote.tree(info.sha)
    published = _published(refs.tags)
    newest = f"{published[-1]}" if published else None
    settings = _settings(info, private, gated)
    about = {
        "repo": remote.repo,
        "version": str(staged.version),
        "base": info.sha,
        "branches": frozenset(refs.branches),
    }
    if staged.tag in refs.tags:
        _require_same(staged, remote)
        return Plan(**about, state="published", newest=newest, **(settings if gated or private else {}))
    if published and published[-1] > staged.version:
        raise UserError(f"{remote.repo} already has v{published[-1]}, which is newer than {staged.version}.")
    if staged.branch in refs.branches:
        _require_ours(staged, remote)
    changes = _changes(staged, main)
    if not changes["new"] and not changes["changed"] and not changes["gone"]:
        return Plan(**about, state="merged", **changes, **settings)
    before = remote.tree(f"v{newest}") if newest else {}
    following.require_stones(staged, remote, {MAIN: main, **({f"v{newest}": before} if newest else {})})
    if published:
        following.require_previous(staged, remote, published[-1])
    touched = sorted({*changes["new"], *changes["changed"], *changes["gone"]})
    foreign = tuple(path for path in touched if main.get(path) != before.get(path))
    return Plan(**about, **changes, **settings, foreign=foreign)


def _changes(staged: Staged, main: Mapping[str, RemoteFile]) -> dict[str, Any]:
    differing = staged.differing(main)
    return {
        "new": tuple(path for path in differing if path not in main),
        "changed": tuple(path for path in differing if path in main),
        "kept": tuple(sorted(staged.sha256.keys() - set(differing))),
        "gone": tuple(sorted(main.keys() - staged.sha256.keys())),
        "bytes": sum(staged.sizes[path] for path in differing),
    }


def _settings(info: Any, private: bool, gated: Gate | None) -> dict[str, Any]:
    now: Gate = info.gated or "off"
    wanted = gated or ("manual" if now == "off" else now)
    return {"private": True if private and not info.private else None, "gated": wanted if wanted != now else None}


def _published(tags: Mapping[str, str]) -> list[Version]:
    """Return the versions that tags name, oldest first."""
    found = []
    for tag in tags:
        try:
            found.append(Version.parse(tag.removeprefix("v")))
        except UserError:  # a tag of somebody else's
            continue
    return sorted(found)


def _require_same(staged: Staged, remote: Remote) -> None:
    tree = remote.tree(staged.tag)
    differing = sorted({*staged.differing(tree), *(tree.keys() - staged.sha256.keys())})
    if differing:
        raise UserError(
            f"{remote.repo} has {staged.tag} already, with other content: {several(differing)}. "
            "A published version never changes: release the next one."
        )


def _require_ours(staged: Staged, remote: Remote) -> None:
    """Refuse a branch with commits that this command did not make: it would be overwritten and deleted."""
    known = {commit for commit, _ in remote.commits(MAIN)}
    added = [(commit, title) for commit, title in remote.commits(staged.branch) if commit not in known]
    if any(not title.startswith(staged.title) for _, title in added):
        raise UserError(
            f"The branch {staged.branch} of {remote.repo} holds commits that are not of this upload. "
            "Rename or delete it there, then publish again."
        )
