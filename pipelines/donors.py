"""Who gives a face to whom: near in pose and shape, of another component, inside the same split."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.faces import Face
from mmtt.recipe import DonorSection
from mmtt.record import Assignment


class Candidate(NamedTuple):
    """What decides whether a pristine record may give its face."""

    record_id: str
    origin: str
    face: Face


class Donors:
    """The possible donors of each target, nearest first."""

    def __init__(
        self, candidates: Mapping[str, Candidate], assignments: Sequence[Assignment], section: DonorSection
    ) -> None:
        self._section = section
        self._component = {row.record_id: row.component_id for row in assignments}
        self._pool: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self._key: dict[str, tuple[str, ...]] = {}
        for row in assignments:
            origin = (candidates[row.record_id].origin,) if section.same_origin else ()
            self._key[row.record_id] = (row.split, *origin)
            self._pool[self._key[row.record_id]].append(row.record_id)
        self._shapes = {
            key: np.stack([_shape(candidates[record_id].face) for record_id in ids]) for key, ids in self._pool.items()
        }

    def nearest(self, target_id: str) -> list[str]:
        """Return up to `nearest` donors for a target, nearest in shape first; ties by id."""
        key = self._key[target_id]
        ids, shapes = self._pool[key], self._shapes[key]
        distance = np.square(shapes - shapes[ids.index(target_id)]).sum(axis=1)
        ranked = sorted(zip(distance.tolist(), ids, strict=True))
        own = self._component[target_id]
        return [record_id for _, record_id in ranked if self._component[record_id] != own][: self._section.nearest]


def _shape(face: Face) -> npt.NDArray[np.float32]:
    """The 68 points about their centre, in interocular units: float32 136, comparable across schemes and sizes."""
    points = face.points_68
    return np.asarray((points - points.mean(axis=0)).ravel() / max(face.interocular, 1e-6), dtype=np.float32)
