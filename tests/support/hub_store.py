"""What the loopback Hub keeps: repositories of commits, refs and large files; contents lie on the disk."""

import fnmatch
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

MAIN = "refs/heads/main"
LARGE = ("*.parquet", "*.png", "*.jpg", "*.zip", "*.tar", "*.bin")
ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE).encode()
REGULAR_MAX = 10 * 2**20


class Refusal(Exception):
    """An answer that is no success: status, the Hub's word for it, and its sentence."""

    def __init__(self, status: int, code: str | None = None, message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Entry(NamedTuple):
    """A file of a commit. sha256: of a large file's content; None for one that git holds itself."""

    blob: str
    size: int
    sha256: str | None


class Commit(NamedTuple):
    id: str
    parent: str | None
    tree: dict[str, Entry]
    title: str
    message: str
    number: int


def commit_id(parent: str | None, tree: dict[str, Entry], title: str, number: int) -> str:
    said = json.dumps([parent, sorted(tree.items()), title, number])
    return hashlib.sha1(said.encode()).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_large(path: str, size: int) -> bool:
    name = path.rsplit("/", 1)[-1]
    return size > REGULAR_MAX or any(fnmatch.fnmatch(name, pattern) for pattern in LARGE)


@dataclass
class Repo:
    """A dataset on the Hub. pushed: large files by digest, with the name that they were pushed under first."""

    name: str
    folder: Path
    private: bool = False
    gated: str | bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    pushed: dict[str, str] = field(default_factory=dict)
    requests: dict[str, list[str]] = field(default_factory=lambda: {"pending": [], "accepted": [], "rejected": []})
    discussions: list[dict] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        (self.folder / "lfs").mkdir(parents=True, exist_ok=True)
        (self.folder / "git").mkdir(exist_ok=True)
        self.commit(MAIN, self.put({}, ".gitattributes", ATTRIBUTES), "initial commit")

    @property
    def head(self) -> str:
        return self.refs[MAIN]

    @property
    def tags(self) -> dict[str, str]:
        return self.named("refs/tags/")

    @property
    def branches(self) -> dict[str, str]:
        return self.named("refs/heads/")

    def named(self, prefix: str) -> dict[str, str]:
        return {ref.removeprefix(prefix): target for ref, target in self.refs.items() if ref.startswith(prefix)}

    def large(self, sha256: str) -> Path:
        return self.folder / "lfs" / sha256

    def put(self, tree: dict[str, Entry], path: str, data: bytes) -> dict[str, Entry]:
        """Return a tree with one more file that git holds itself."""
        blob = git_blob(data)
        (self.folder / "git" / blob).write_bytes(data)
        return {**tree, path: Entry(blob, len(data), None)}

    def put_large(self, tree: dict[str, Entry], path: str, sha256: str) -> dict[str, Entry]:
        if not self.large(sha256).is_file():
            raise Refusal(400, None, f"LFS pointer pointed to a file that does not exist: {path}")
        size = self.large(sha256).stat().st_size
        self.pushed.setdefault(sha256, path)
        return {**tree, path: Entry(git_blob(pointer(sha256, size)), size, sha256)}

    def drop_large(self, sha256: str) -> None:
        self.large(sha256).unlink(missing_ok=True)
        self.pushed.pop(sha256, None)

    def content(self, entry: Entry) -> Path:
        return self.large(entry.sha256) if entry.sha256 else self.folder / "git" / entry.blob

    def read(self, revision: str, path: str) -> bytes:
        return self.content(self.at(revision).tree[path]).read_bytes()

    def at(self, revision: str) -> Commit:
        """Return a commit by branch, tag, full ref or id."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if revision in self.commits:
            return self.commits[revision]
        raise Refusal(404, "RevisionNotFound", "Invalid rev id: " + revision)

    def commit(self, ref: str, tree: dict[str, Entry], title: str, message: str = "", parent: bool = True) -> Commit:
        before = self.refs.get(ref) if parent else None
        number = next(self._numbers)
        made = Commit(commit_id(before, tree, title, number), before, tree, title, message, number)
        self.commits[made.id] = made
        self.refs[ref] = made.id
        return made

    def history(self, revision: str) -> Iterator[Commit]:
        found: Commit | None = self.at(revision)
        while found is not None:
            yield found
            found = self.commits[found.parent] if found.parent else None

    def rewrite(self, keep: Callable[[Entry], bool]) -> None:
        """Write every commit anew without some files, and point the refs at the new ones."""
        new: dict[str | None, str | None] = {None: None}
        commits: dict[str, Commit] = {}
        for old in sorted(self.commits.values(), key=lambda commit: commit.number):
            tree = {path: entry for path, entry in old.tree.items() if keep(entry)}
            parent = new[old.parent]
            made = replace_id(old, parent, tree)
            new[old.id], commits[made.id] = made.id, made
        self.commits = commits
        self.refs = {ref: str(new[target]) for ref, target in self.refs.items()}

    def forget_unreachable(self) -> None:
        """Drop what no ref leads to, as the Hub does when it collects garbage."""
        reachable = {commit.id for ref in self.refs for commit in self.history(ref)}
        self.commits = {name: commit for name, commit in self.commits.items() if name in reachable}
        blobs = {entry.blob for commit in self.commits.values() for entry in commit.tree.values()}
        for path in (self.folder / "git").iterdir():
            if path.name not in blobs:
                path.unlink()


def replace_id(old: Commit, parent: str | None, tree: dict[str, Entry]) -> Commit:
    if parent == old.parent and tree == old.tree:
        return old
    return old._replace(id=commit_id(parent, tree, old.title, old.number), parent=parent, tree=tree)


@dataclass(frozen=True)
class Account:
    """Who a token belongs to. role: what it may do; `write` or `read`. namespaces: where they may write."""

    name: str
    role: str = "write"
    namespaces: tuple[str, ...] = ()

    def may_write(self, repo: str) -> bool:
        return self.role == "write" and repo.split("/")[0] in (self.name, *self.namespaces)

    def reading_of(self, repo: str) -> bool:
        """Whether a repository is theirs, so that neither privacy nor a gate keeps them out."""
        return repo.split("/")[0] in (self.name, *self.namespaces)

    def reading(self) -> "Account":
        return replace(self, role="read")
