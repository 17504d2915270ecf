"""Which pristine records belong together, and which split they go to.

Groups (one subject, or one photo) that show one picture or one face twice are tied into components; whole
components are assigned to splits, so that no face crosses a split. Assigned stays assigned.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.ids import derived_id
from mmtt.images import Rgb
from mmtt.recipe import SPLITS
from mmtt.record import Assignment, Lineage, Rejection

from .near import collect, near_hashes

# Two crops of one picture, recompressed or resized, correlate above this; two people do not.
SAME_PICTURE = 0.985
THUMBNAIL_PX = 64


class Candidate(NamedTuple):
    """A pristine record as grouping sees it."""

    record_id: str
    group_id: str


class Crossing(NamedTuple):
    """Pairs of records that belong together, yet lie in two splits: how many, and one of them with its splits."""

    count: int
    first: str
    second: str
    splits: tuple[str, str]


def near_duplicates(lineage: Iterable[Lineage], bits: int) -> list[tuple[str, str]]:
    """Return pairs of record ids (of different groups) whose photos' hashes differ in at most `bits` bits, sorted."""
    rows = sorted(lineage, key=lambda row: row.record_id)
    hashes = np.array([int(row.photo_phash, 16) for row in rows], np.uint64)
    groups = np.unique([row.group_id for row in rows], return_inverse=True)[1]
    found = collect(block.chosen(groups[block.first] != groups[block.second]) for block in near_hashes(hashes, bits))
    return [(rows[a].record_id, rows[b].record_id) for a, b in zip(found.first, found.second, strict=True)]


def thumbnail(image: Rgb) -> Rgb:
    """Return the small version of a crop: RGB uint8 64×64×3."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def same_picture(first: Rgb, second: Rgb) -> bool:
    """Whether two thumbnails (RGB uint8 64×64×3) of aligned crops are of one picture."""
    return correlation(first, second) > SAME_PICTURE


def correlation(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    """Return the correlation of two arrays of one shape, −1–1; 0 where one is constant."""
    one, other = (values.astype(np.float64).ravel() for values in (first, second))
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).mean() / max(one.std() * other.std(), 1e-6))


class Ties(NamedTuple):
    """Groups tied into components, each named by its smallest group id, and the groups that were refused."""

    component: dict[str, str]
    refused: set[str]


def tie(groups: Iterable[str], ties: Iterable[tuple[str, str]], known: Mapping[str, str]) -> Ties:
    """Tie groups into components (union-find), never joining two splits.

    `known` maps groups assigned earlier to their splits. A new group that would tie two splits together is
    refused; a tie between two old groups of different splits is left open, because assigned stays assigned
    (`crossing` finds such ties, for people to be told of).
    """
    neighbours: dict[str, list[str]] = defaultdict(list)
    for first, second in ties:
        neighbours[first].append(second)
        neighbours[second].append(first)
    parent: dict[str, str] = {}
    split_at: dict[str, str] = {}
    refused = set()

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for group in sorted(groups, key=lambda g: (g not in known, g)):
        roots = {root(other) for other in neighbours[group] if other in parent}
        splits = {split_at[r] for r in roots if r in split_at}
        if group in known:
            roots = {r for r in roots if split_at.get(r, known[group]) == known[group]}
            splits = {known[group]}
        if len(splits) > 1:
            refused.add(group)
            continue
        parent[group] = group
        parent.update(dict.fromkeys(roots, group))
        split_at.update(dict.fromkeys([group], splits.pop()) if splits else {})
    smallest: dict[str, str] = {}
    for group in sorted(parent):
        smallest.setdefault(root(group), group)
    return Ties({group: smallest[root(group)] for group in parent}, refused)


def assign(
    candidates: Sequence[Candidate],
    ties: Sequence[tuple[str, str]],
    before: Sequence[Assignment],
    shares: Mapping[str, float],
    seed: int,
) -> tuple[list[Assignment], list[Rejection]]:
    """Assign every candidate to a split.

    `ties` are pairs of group ids; `before` are the assignments of an earlier plan, which stay. A new group
    that would tie two splits together is refused by name. New components go, in an order drawn from the
    seed, to the split that lacks most; so the shares are met as closely as whole components allow.
    """
    known = _known(candidates, before)
    tied = tie({c.group_id for c in candidates}, ties, known)
    members: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates):
        if candidate.group_id in tied.component:
            members[tied.component[candidate.group_id]].append(candidate)
    split_of = _fill({name: len(m) for name, m in members.items()}, _already(members, known), shares, seed)
    rows = [
        Assignment(record_id=c.record_id, group_id=c.group_id, component_id=name, split=split_of[name])
        for name, group in members.items()
        for c in group
    ]
    rows.sort(key=lambda row: row.record_id)
    matched = _matched(rows, ties, tied.refused)
    refused = [
        Rejection(
            stage="plan",
            code="bridges_splits",
            detail=f"its face or photo matches records in two splits ({matched[candidate.group_id]}); remove one of "
            "them or this one, or say in identities.csv whose face only looks alike",
            record_id=candidate.record_id,
        )
        for candidate in sorted(candidates)
        if candidate.group_id in tied.refused
    ]
    return rows, refused


def _matched(rows: Iterable[Assignment], ties: Iterable[tuple[str, str]], refused: set[str]) -> dict[str, str]:
    """For each refused group, one record of every split that it was tied to."""
    of_group: dict[str, Assignment] = {}
    for row in rows:
        of_group.setdefault(row.group_id, row)
    found: dict[str, dict[str, str]] = {group: {} for group in refused}
    for group, other in (pair for tie in ties for pair in (tie, tie[::-1])):
        if group in refused and other in of_group:
            match = of_group[other]
            found[group][match.split] = min(match.record_id, found[group].get(match.split, match.record_id))
    return {group: ", ".join(f"{ids[s]} in {s}" for s in SPLITS if s in ids) for group, ids in found.items()}


class Component(NamedTuple):
    """Groups tied together: how many records and groups, and the share of all assigned records, 0–1."""

    component_id: str
    records: int
    groups: int
    share: float


def largest(rows: Sequence[Assignment]) -> Component | None:
    """Return the component with the most records, the first by id among equals; None without any record."""
    records = Counter(row.component_id for row in rows)
    if not records:
        return None
    name = min(records, key=lambda name: (-records[name], name))
    groups = {row.group_id for row in rows if row.component_id == name}
    return Component(name, records[name], len(groups), records[name] / len(rows))


def earlier_splits(candidates: Sequence[Candidate], before: Sequence[Assignment]) -> dict[str, str]:
    """Return the split of each record that has one by an earlier plan, its own or its group's."""
    known = _known(candidates, before)
    return {c.record_id: known[c.group_id] for c in candidates if c.group_id in known}


def crossing(pairs: Iterable[tuple[str, str]], split_of: Mapping[str, str]) -> Crossing | None:
    """Return how many of these pairs of record ids lie in two splits, and the first; None where none does."""
    found = [(a, b) for a, b in pairs if a in split_of and b in split_of and split_of[a] != split_of[b]]
    if not found:
        return None
    first, second = found[0]
    return Crossing(len(found), first, second, (split_of[first], split_of[second]))


def _known(candidates: Sequence[Candidate], before: Sequence[Assignment]) -> dict[str, str]:
    """The split of each group that has one.

    A group that was renamed (a subject's name mended, say) keeps the split that all its records had.
    """
    known = {row.group_id: row.split for row in before}
    split_of = {row.record_id: row.split for row in before}
    renamed: dict[str, set[str]] = defaultdict(set)
    for candidate in candidates:
        if candidate.group_id not in known and candidate.record_id in split_of:
            renamed[candidate.group_id].add(split_of[candidate.record_id])
    return known | {group: splits.pop() for group, splits in renamed.items() if len(splits) == 1}


def _already(members: Mapping[str, Sequence[Candidate]], known: Mapping[str, str]) -> dict[str, str]:
    return {
        name: known[candidate.group_id]
        for name, group in members.items()
        for candidate in group
        if candidate.group_id in known
    }


def _fill(sizes: Mapping[str, int], fixed: dict[str, str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    split_of = dict(fixed)
    have: Counter[str] = Counter()
    for name, split in fixed.items():
        have[split] += sizes[name]
    total = sum(sizes.values())
    wanted = [split for split in SPLITS if shares.get(split, 0) > 0]
    for name in sorted(set(sizes) - set(fixed), key=lambda name: derived_id(seed, "split", name)):
        split = max(wanted, key=lambda s: (shares[s] * total - have[s], -wanted.index(s)))
        split_of[name] = split
        have[split] += sizes[name]
    return split_of
