"""Order: which samples come when, on which rank. A function of seed and epoch, the same on every machine.

Legend: N samples, n of them that are left of this epoch, T steps, L samples of one step on one rank.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmtt.errors import UserError
from mmtt.ids import digest

Indices = npt.NDArray[np.int64]
FILLER = -1


def generator(*derivation: int | str) -> np.random.Generator:
    """Return the generator that belongs to a derivation, and to no other."""
    return np.random.default_rng(int(digest(list(derivation))[:32], 16))


def shuffled(count: int, rng: np.random.Generator) -> Indices:
    """Return 0 … N-1, every permutation alike."""
    return rng.permutation(count)


def grouped(groups: Sequence[int], window: int, rng: np.random.Generator) -> Indices:
    """Return 0 … N-1 with row groups shuffled, then rows shuffled among each `window` of them.

    Whoever keeps `window` row groups in memory reads each of them once.

    Args:
        groups: the row group of each sample.
        window: row groups that are mixed.
        rng: decides both.
    """
    numbers = np.asarray(groups, np.int64)
    by_group = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[by_group], prepend=-1))
    parts = np.split(by_group, starts[1:])
    mixed = [parts[at] for at in rng.permutation(len(parts))]
    blocks = [np.concatenate(mixed[at : at + window]) for at in range(0, len(mixed), window)]
    return np.concatenate([rng.permutation(block) for block in blocks]) if blocks else by_group


def shares(order: Indices, batch: int, rank: int, world: int, start: int = 0) -> npt.NDArray[np.int64]:
    """Return one rank's samples, int64 T×L; `FILLER` fills the last step up, so that all ranks take T steps of L.

    Args:
        order: the epoch, int64 (N,).
        batch: samples of one step on all ranks together; where N is less, a step has N, and what the ranks need to
            share them evenly.
        rank: 0 … world - 1.
        world: number of ranks.
        start: how many of them are done, so that n = N - start are left.

    Raises:
        UserError: a batch that the ranks cannot share evenly.
    """
    if batch % world:
        raise UserError(f"A batch of {batch} cannot be shared by {world} ranks; make it a multiple of {world}.")
    # By N, not by n: an epoch that is taken up goes on with steps of the same size.
    size = min(batch, world * max(1, math.ceil(len(order) / world)))
    left = order[start:]
    filled = np.concatenate([left, np.full(-len(left) % size, FILLER, np.int64)])
    return filled.reshape(-1, size)[:, rank::world]
