"""History: what a release follows, what changed since, which version that asks for, and which records are gone."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt.errors import UserError
from mmtt.manifest import read_columns
from mmtt.record import SCHEMA_VERSION
from mmtt.release import DATA, MARKED, REMOVED, Part, Release, Tombstone, Version, is_release, read_removed

from .markdown import so_many

CHANGELOG = "CHANGELOG.md"
_HEADING = "# Changelog\n"
# What a reader would call another row; all else follows from these.
_CONTENT = ("image_sha256", "report", "text_origin", "mask_share", "consent", "licence")


@dataclass(frozen=True)
class Changes:
    """How a release differs from the one before, by record id; all of it is new where there was none.

    schema: whether the columns changed. unmarked: whether marked pictures ended.
    """

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    schema: bool = False
    unmarked: bool = False

    @property
    def least(self) -> Part:
        """Which part of the version has to grow: major, minor or patch."""
        return "major" if self.moved or self.schema else "minor" if self.added else "patch"

    def sentences(self) -> list[str]:
        """Return what changed, a sentence each."""
        told = [
            (self.added, "added"), (self.removed, "removed; `removed.csv` names them"),
            (self.changed, "changed: their picture, text or rights"), (self.moved, "moved to another split"),
        ]  # fmt: skip
        found = [f"{len(ids):,} record{'s' * (len(ids) != 1)} {what}." for ids, what in told if ids]
        found += ["The columns of a row changed."] if self.schema else []
        found += ["It has no marked pictures any more; the release before had them."] if self.unmarked else []
        return found or ["No record changed; what stands beside them was put right."]


def releases(root: Path) -> dict[Version, Path]:
    """Return the finished releases of a dataset, oldest first."""
    found = {}
    for folder in (root / "releases").glob("*"):
        if not folder.name.startswith(".") and is_release(folder):
            found[Version.parse(Release.load(folder).version)] = folder
    return dict(sorted(found.items()))


def previous(root: Path, version: Version) -> Path | None:
    """Return the newest release before a version.

    Raises:
        UserError: there is a release of that version, or a later one.
    """
    found = releases(root)
    if version in found:
        hint = f"Give the next version, or look at it: `mmtt verify {found[version]}`."
        raise UserError(f"Release {version} is there already, in {found[version]}. {hint}")
    if later := [known for known in found if known > version]:
        raise UserError(f"Release {later[-1]} is there already; {version} would be older. Give a later version.")
    return found[max(found)] if found else None


def require_known(root: Path, before: Path | None, denied: Collection[str], *, first: bool) -> None:
    """Refuse to make a first release of a dataset that records were taken out of, unless it is said to be the first.

    Without the releases before nobody knows which of those records readers hold, so `removed.csv` would not name them.

    Args:
        root: the dataset.
        before: the release before.
        denied: records that were taken out for good.
        first: whether nothing was ever published.

    Raises:
        UserError: nobody said so; or it was said, and there is a release.
    """
    if first and before is not None:
        raise UserError(f"{before} is a release, so this is not the first. Leave out --first.")
    if denied and before is None and not first:
        folder = root / "releases"
        hint = f"download the newest into {folder / 'X.Y.Z'}, or give --first if nothing was ever published"
        gone = f"{so_many(len(denied), 'record')} of {root} left for good"
        raise UserError(f"{gone}, and no release in {folder} tells whether readers hold them: {hint}.")


def compare(
    rows: pd.DataFrame, texts: Mapping[str, tuple[str, str]], before: Path | None, *, marked: bool = False
) -> Changes:
    """Compare the rows of a release with those of the one before.

    Args:
        rows: the released ones, with `split`.
        texts: report and text_origin of each record that has one.
        before: the release before.
        marked: whether it has marked pictures.
    """
    now = {row["record_id"]: row for row in rows[["record_id", "split", *_stored()]].to_dict("records")}
    if before is None:
        return Changes(frozenset(now), frozenset())
    then = {row["record_id"]: row for row in read_columns(before / DATA, ["record_id", "split", *_CONTENT])}
    both = now.keys() & then.keys()
    return Changes(
        added=frozenset(now.keys() - then.keys()),
        removed=frozenset(then.keys() - now.keys()),
        changed=frozenset(name for name in both if _other(now[name], texts.get(name), then[name])),
        moved=frozenset(name for name in both if now[name]["split"] != then[name]["split"]),
        schema=Release.load(before).schema_version != SCHEMA_VERSION,
        unmarked=(before / MARKED).is_dir() and not marked,
    )


def _stored() -> list[str]:
    return [name for name in _CONTENT if name not in ("report", "text_origin")]


def _other(now: Mapping[str, Any], text: tuple[str, str] | None, then: Mapping[str, Any]) -> bool:
    said = (then["report"], then["text_origin"]) if then["report"] is not None else None
    return said != text or any(now[name] != then[name] for name in _stored())


def require_version(version: Version, before: Path | None, changes: Changes) -> None:
    """Refuse a version that grows less than what changed asks for.

    Raises:
        UserError: it does.
    """
    if before is None:
        return
    last = Version.parse(Release.load(before).version)
    least = last.after(changes.least)
    if version < least:
        why = " ".join(changes.sentences())
        raise UserError(f"Since release {last}: {why} That asks for version {least} or later, not {version}.")


def tombstones(
    before: Path | None, changes: Changes, version: Version, denied: Collection[str], there: Collection[str]
) -> list[Tombstone]:
    """Return the records that an earlier release held and this one does not.

    Args:
        before: the release before.
        changes: since then.
        version: this one.
        denied: records that were taken out for good.
        there: records that this one holds.

    Raises:
        UserError: a record that was taken out for good is back.
    """
    known = read_removed(before / REMOVED) if before is not None else []
    back = sorted(stone.record_id for stone in known if stone.reason == "erasure" and stone.record_id in there)
    if back:
        raise UserError(f"Record {back[0]} was erased in an earlier release and is back. `mmtt forget` takes it out.")
    new = [Tombstone(name, str(version), "erasure" if name in denied else "curation") for name in changes.removed]
    return sorted({stone.record_id: stone for stone in [*new, *known] if stone.record_id not in there}.values())


def changelog(before: Path | None, version: Version, day: str, sentences: Iterable[str]) -> str:
    """Return the changelog: what this release changed, above what the earlier ones did."""
    path = None if before is None else before / CHANGELOG
    older = path.read_text(encoding="utf-8").removeprefix(_HEADING) if path is not None and path.is_file() else ""
    told = "".join(f"- {sentence}\n" for sentence in sentences)
    return f"{_HEADING}\n## {version} ({day})\n\n{told}{older}"
