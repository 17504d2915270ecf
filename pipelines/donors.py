"""Who gives a face to whom: near in pose and shape, of another component, inside the same split."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.faces import Face
from mmtt.recipe import DonorSection
from mmtt.record import Assignment

# Distances held at once: 64 MB as float32.
_BLOCK_VALUES = 1 << 24


class Candidate(NamedTuple):
    """What decides whether a pristine record may give its face."""

    record_id: str
    origin: str
    face: Face


def _shape(face: Face) -> npt.NDArray[np.float32]:
    """The 68 points about their centre, in interocular units: float32 136, comparable across schemes and sizes."""
    points = face.points_68
    return np.asarray((points - points.mean(axis=0)).ravel() / max(face.interocular, 1e-6), dtype=np.float32)


class Donors:
    """The possible donors of each target, nearest first."""

    def __init__(
        self, candidates: Mapping[str, Candidate], assignments: Sequence[Assignment], section: DonorSection
    ) -> None:
        pools: dict[tuple[str, str], list[Assignment]] = defaultdict(list)
        for row in sorted(assignments, key=lambda row: row.record_id):
            origin = candidates[row.record_id].origin if section.same_origin else ""
            pools[row.split, origin].append(row)
        self._place: dict[str, tuple[_Pool, int]] = {}
        for rows in pools.values():
            shapes = np.stack([_shape(candidates[row.record_id].face) for row in rows])
            pool = _Pool([row.record_id for row in rows], [row.component_id for row in rows], shapes, section.nearest)
            self._place.update({row.record_id: (pool, position) for position, row in enumerate(rows)})

    def nearest(self, target_id: str) -> list[str]:
        """Return up to `nearest` donors for a target, nearest in shape first; ties by id."""
        pool, position = self._place[target_id]
        return pool.nearest(position)


class _Pool:
    """Records that may give to one another, in the order of their ids; shapes float32 N×136.

    Distances are taken for a block of targets at once, on first need, and only the winners are kept.
    """

    def __init__(self, ids: list[str], components: list[str], shapes: npt.NDArray[np.float32], count: int) -> None:
        self._ids, self._shapes, self._count = ids, shapes, min(count, len(ids))
        self._components = np.unique(components, return_inverse=True)[1]
        self._squares = np.square(shapes).sum(axis=1)
        self._rows = max(1, _BLOCK_VALUES // len(ids))
        self._blocks: dict[int, list[list[int]]] = {}

    def nearest(self, position: int) -> list[str]:
        block, row = divmod(position, self._rows)
        if block not in self._blocks:
            self._blocks[block] = self._search(block * self._rows)
        return [self._ids[other] for other in self._blocks[block][row]]

    def _search(self, low: int) -> list[list[int]]:
        """For each target of a block, its nearest.

        The matrix product rounds as it likes, so it only says who may be among the nearest; who is, and in
        what order, follows from exact differences.
        """
        rows = slice(low, low + self._rows)
        distance = self._squares - 2 * (self._shapes[rows] @ self._shapes.T)
        distance[self._components[rows, None] == self._components] = np.inf
        limit = np.partition(distance, self._count - 1, axis=1)[:, self._count - 1]
        limit += 1e-4 * self._squares.max()
        return [self._ranked(low + i, np.flatnonzero(line <= limit[i])) for i, line in enumerate(distance)]

    def _ranked(self, position: int, near: npt.NDArray[np.intp]) -> list[int]:
        near = near[self._components[near] != self._components[position]]
        exact = np.square(self._shapes[near].astype(np.float64) - self._shapes[position]).sum(axis=1)
        return [int(other) for other in near[np.argsort(exact, kind="stable")][: self._count]]
