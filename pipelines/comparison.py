"""Comparison: every face with every other of another group.

Names come before embeddings: two subjects that the sources tell apart are never tied by a cosine, since a
share of all known-different pairs lies above any threshold; people are asked instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.recipe import SPLITS
from mmtt.record import Lineage

from .decisions import Decisions
from .embeddings import Faces
from .neighbours import Block, Cosines, Indices, exact_cosines, near_pairs

# Pairs of each kind that are kept for people to look at.
SHOWN = 60
# A product of float32 is off by less than this.
_UNSURE = 1e-5
_NOWHERE: Mapping[str, str] = MappingProxyType({})


class Pair(NamedTuple):
    """Two records that people should look at, and the cosine of their embeddings."""

    first: Lineage
    second: Lineage
    cosine: float


@dataclass(frozen=True)
class Compared:
    """What the embeddings say: ties of group ids, how many pairs were compared, and pairs for people to look at.

    `doubtful` are near the threshold, nearest first; `contested` lie above it though the sources name two
    subjects, most alike first; `crossing` are tied though an earlier plan put them into two splits, most alike
    first. Each list is cut, its count is not.
    """

    ties: list[tuple[str, str]]
    pairs: int
    doubtful: list[Pair]
    doubtful_count: int
    contested: list[Pair]
    contested_count: int
    crossing: list[Pair]
    crossing_count: int


def compare(
    faces: Faces, threshold: float, doubt: float, decisions: Decisions, split_of: Mapping[str, str] = _NOWHERE
) -> Compared:
    """Compare every face with every other of another group, but for pairs that the curator has decided.

    `split_of` says the split of each record that an earlier plan put into one.
    """
    doubtful = _Shortlist(faces, lambda cosine: np.abs(cosine - threshold))
    contested, crossing = (_Shortlist(faces, lambda cosine: -cosine) for _ in range(2))
    lies = np.array([SPLITS.index(split_of[r.record_id]) if r.record_id in split_of else -1 for r in faces.rows])
    tied = np.zeros(0, np.int64)
    for block in near_pairs(faces.vectors, threshold - doubt - _UNSURE):
        block = _open_questions(
            faces, _settled(faces, block, (threshold - doubt, threshold, threshold + doubt)), decisions
        )
        first, second = faces.at[block.first], faces.at[block.second]
        above, names = block.cosine > threshold, _named_apart(faces, first, second)
        contested.add(block, above & names)
        crossing.add(block, above & ~names & _apart(lies[first], lies[second]))
        doubtful.add(block, ~names & (np.abs(block.cosine - threshold) <= doubt + 1e-9))
        pairs = np.sort(np.stack([faces.group[first], faces.group[second]])[:, above & ~names], axis=0)
        tied = np.union1d(tied, pairs[0] << 32 | pairs[1])
    named = {int(number): row.group_id for number, row in zip(faces.group, faces.rows, strict=True)}
    return Compared(
        ties=[(named[key >> 32], named[key & 0xFFFFFFFF]) for key in tied.tolist()],
        pairs=comparable(faces),
        doubtful=doubtful.pairs(),
        doubtful_count=doubtful.count,
        contested=contested.pairs(),
        contested_count=contested.count,
        crossing=crossing.pairs(),
        crossing_count=crossing.count,
    )


def _apart(one: Indices, other: Indices) -> npt.NDArray[np.bool_]:
    """Whether both lie in a split (−1 is none), and not in the same."""
    return np.asarray((one >= 0) & (other >= 0) & (one != other), bool)


def _settled(faces: Faces, block: Block, edges: Sequence[float]) -> Block:
    """A block whose cosines say alike on every machine on which side of these edges they lie."""
    cosine = block.cosine.astype(np.float64)
    unsure = np.flatnonzero(np.any([np.abs(cosine - edge) < _UNSURE for edge in edges], axis=0))
    cosine[unsure] = exact_cosines(faces.vectors, block.first[unsure], block.second[unsure])
    return Block(block.first, block.second, cosine)


def _open_questions(faces: Faces, block: Block, decisions: Decisions) -> Block:
    """The pairs of two groups that nobody has decided."""
    first, second = faces.at[block.first], faces.at[block.second]
    wanted = (faces.group[first] != faces.group[second]) & ~decisions.decided(first, second)
    return block.chosen(wanted)


def _named_apart(faces: Faces, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
    return np.asarray(faces.named[first] & faces.named[second] & (faces.person[first] != faces.person[second]), bool)


def comparable(faces: Faces) -> int:
    """Return how many pairs of faces there are of which the sources do not say whether they show one person."""

    def across(labels: Indices) -> int:
        sizes = np.unique(labels, return_counts=True)[1].astype(np.int64)
        return int((sizes.sum() ** 2 - np.square(sizes).sum()) // 2)

    return across(faces.group[faces.at]) - across(faces.person[faces.at[faces.named[faces.at]]])


class _Shortlist:
    """The pairs with the smallest keys, a key following from the cosine, out of blocks."""

    def __init__(self, faces: Faces, key: Callable[[Cosines], Cosines]) -> None:
        self._faces, self._key, self.count = faces, key, 0
        self._kept = Block(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def add(self, block: Block, chosen: npt.NDArray[np.bool_]) -> None:
        self.count += int(np.count_nonzero(chosen))
        merged = self._kept.with_more(block.chosen(chosen))
        keys = self._key(merged.cosine)
        # Products only say who may be among the smallest; who is, exact cosines decide.
        limit = np.partition(keys, SHOWN - 1)[SHOWN - 1] + 2 * _UNSURE if len(keys) > SHOWN else np.inf
        self._kept = merged.chosen(keys <= limit)

    def pairs(self) -> list[Pair]:
        """Those kept, smallest key first, ties by record id."""
        first, second = self._kept.first, self._kept.second
        cosine = exact_cosines(self._faces.vectors, first, second)
        order = np.lexsort((second, first, self._key(cosine).round(6)))[:SHOWN]
        rows = [self._faces.rows[place] for place in self._faces.at]
        return [Pair(rows[first[i]], rows[second[i]], float(cosine[i])) for i in order]
