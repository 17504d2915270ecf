"""Which pristine records belong together, and which split they go to.

Groups (one subject, or one photo) that show the same picture twice are tied into components; whole
components are assigned to splits, so that no face crosses a split. Assigned stays assigned.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Rgb
from mmtt.record import Assignment, Lineage, Rejection
from mmtt.shards import derived_id

# Two crops of one picture, recompressed or resized, correlate above this; two people do not.
SAME_PICTURE = 0.985


class Candidate(NamedTuple):
    """A pristine record as grouping sees it."""

    record_id: str
    group_id: str


def near_duplicates(lineage: Iterable[Lineage], bits: int) -> list[tuple[str, str]]:
    """Return pairs of record ids (of different groups) whose photos' hashes differ in at most `bits` bits.

    Hashes are compared within bands: hashes that differ in fewer bits than there are bands agree in
    one of them, so that no pair is missed and few are looked at.
    """
    rows = sorted(lineage, key=lambda row: row.record_id)
    bands = bits + 1
    edges = np.linspace(0, 64, bands + 1).astype(int)
    values = [int(row.photo_phash, 16) for row in rows]
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    pairs = set()
    for position, value in enumerate(values):
        for band in range(bands):
            low, high = int(edges[band]), int(edges[band + 1])
            key = (band, (value >> low) & ((1 << (high - low)) - 1))
            for other in buckets[key]:
                near = (value ^ values[other]).bit_count() <= bits
                if near and rows[other].group_id != rows[position].group_id:
                    pairs.add((rows[other].record_id, rows[position].record_id))
            buckets[key].append(position)
    return sorted(pairs)


def same_picture(first: Rgb, second: Rgb) -> bool:
    """Whether two aligned crops (RGB uint8) are of one picture: correlation of their 64-px versions."""
    return float((_standard(first) * _standard(second)).mean()) > SAME_PICTURE


def _standard(image: Rgb) -> npt.NDArray[np.float32]:
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    centred = small - small.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)


class Ties(NamedTuple):
    """Groups tied into components, each named by its smallest group id, and the groups that were refused."""

    component: dict[str, str]
    refused: set[str]


def tie(groups: Iterable[str], ties: Iterable[tuple[str, str]], known: Mapping[str, str]) -> Ties:
    """Tie groups into components (union-find), never joining two splits.

    `known` maps groups assigned earlier to their splits. A new group that would tie two splits together is
    refused; a tie between two old groups of different splits is left open, because assigned stays assigned.
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
    known = {row.group_id: row.split for row in before}
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
    refused = [
        Rejection(
            stage="plan",
            code="bridges_splits",
            detail="its photo is a near duplicate of photos in two splits; remove one of them or this one",
            record_id=candidate.record_id,
        )
        for candidate in sorted(candidates)
        if candidate.group_id in tied.refused
    ]
    return sorted(rows, key=lambda row: row.record_id), refused


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
    for name in sorted(set(sizes) - set(fixed), key=lambda name: derived_id(seed, "split", name)):
        wanted = [split for split in shares if shares[split] > 0]
        split = max(wanted, key=lambda s: (shares[s] * total - have[s], -wanted.index(s)))
        split_of[name] = split
        have[split] += sizes[name]
    return split_of
