"""Which 64-bit hashes lie close together: every pair within some bits, exactly, in blocks that fit into memory.

Two hashes that differ in at most r bits, cut into r + m bands, agree in at least m of them. So each choice of m bands
is a key; hashes are sorted by it, and only those with equal keys are compared (Manku, Jain, Das Sarma, "Detecting
near-duplicates for web crawling", 2007). Hashes of aligned faces are much alike, which makes keys collide: so bits are
dealt to the bands by how much they tell, m is chosen for the hashes at hand, and where no m pays, all are compared.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

HASH_BITS = 64
BLOCK_PAIRS = 1 << 20  # compared at once: 8 MB of differences
_LEAST_BLOCK = 1 << 16  # pairs that are worth a caller's while
# What is estimated from: so many hashes, all their pairs. It decides how fast the search is, never what it finds.
_SAMPLE = 1024
_MOST_KEYS = 500
_LONG_RUN = 64
# Nanoseconds, measured; only their ratios matter.
_SORT_COST, _RUN_COST, _PLAIN_COST = 20.0, 12.0, 1.0
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it carries every bit of a key to the upper half
_LOWER = np.uint64(0xFFFFFFFF)


class Near(NamedTuple):
    """Some pairs, `first` < `second` as positions, and in how many bits they differ."""

    first: Indices
    second: Indices
    distance: npt.NDArray[np.uint8]

    def chosen(self, which: npt.NDArray[np.bool_]) -> "Near":
        """Return some of the pairs."""
        return Near(self.first[which], self.second[which], self.distance[which])


_NONE = Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))


def near_hashes(hashes: Hashes, bits: int) -> Iterator[Near]:
    """Yield the pairs of hashes (uint64, N < 2³²) that differ in at most `bits` bits, each pair once, in no order.

    A block holds at most `BLOCK_PAIRS` pairs and as many as there are hashes besides, however many pairs are near.
    """
    waiting: list[Near] = []
    count = 0
    for block in _blocks(hashes, bits):
        waiting.append(block)
        count += len(block.first)
        if count >= _LEAST_BLOCK:
            yield _joined(waiting)
            waiting, count = [], 0
    if count:
        yield _joined(waiting)


def _joined(blocks: Iterable[Near]) -> Near:
    return Near(*(np.concatenate(parts) for parts in zip(_NONE, *blocks, strict=True)))


def _blocks(hashes: Hashes, bits: int) -> Iterator[Near]:
    plan = _plan(hashes, bits)
    if plan is None:
        every = np.arange(len(hashes))
        yield from (_close(hashes, first, second, bits) for first, second in _all_pairs(every))
        return
    bands, match = plan
    for chosen in combinations(range(len(bands)), match):
        for first, second in _same_key(hashes, np.bitwise_or.reduce(bands[list(chosen)])):
            found = _close(hashes, first, second, bits)
            yield found.chosen(_first_choice(hashes[found.first] ^ hashes[found.second], bands, chosen))


def collect(blocks: Iterable[Near]) -> Near:
    """Return all pairs of some blocks, ordered by first and second."""
    found = _joined(blocks)
    return Near(*(column[np.lexsort((found.second, found.first))] for column in found))


def _plan(hashes: Hashes, bits: int) -> tuple[Hashes, int] | None:
    """The bands (masks) and how many of them make a key, for the least work; None where plain comparison is that."""
    count = len(hashes)
    lots = np.random.default_rng(0).permutation(count)[:_SAMPLE]
    sample = hashes[np.sort(lots)]
    differences = (sample[:, None] ^ sample)[np.triu_indices(len(sample), 1)]
    pairs = count * (count - 1) / 2
    best, plan = pairs * _PLAIN_COST, None
    for match in range(1, 6):
        keys = comb(bits + match, match)
        if keys > _MOST_KEYS or bits + match > HASH_BITS or keys * count * _SORT_COST >= best:
            continue
        bands = _bands(sample, bits + match)
        agreeing = np.zeros(len(differences), np.int64)
        for band in bands:
            agreeing += (differences & band) == 0
        met = np.array([comb(number, match) for number in range(len(bands) + 1)])[agreeing].mean()
        cost = keys * count * _SORT_COST + pairs * float(met) * _RUN_COST
        if cost < best:
            best, plan = cost, (bands, match)
    return plan


def _bands(sample: Hashes, count: int) -> Hashes:
    """Masks of so many bands that share 64 bits, each with about as much entropy as the next."""
    shares = ((sample[:, None] >> np.arange(HASH_BITS, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    order = np.argsort(np.abs(shares - 0.5), kind="stable")
    bands = np.zeros(count, np.uint64)
    for place, bit in enumerate(order.tolist()):
        turn, lap = place % count, place // count
        bands[turn if lap % 2 == 0 else count - 1 - turn] |= np.uint64(1) << np.uint64(bit)
    return bands


def _same_key(hashes: Hashes, mask: np.uint64) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of positions whose hashes agree under a mask, and a few that do not, block by block."""
    mixed = ((hashes & mask) * _SPREAD) & ~_LOWER
    mixed |= np.arange(len(hashes), dtype=np.uint64)
    mixed.sort()
    ids = (mixed & _LOWER).astype(np.int64)
    keys = mixed >> np.uint64(32)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    lengths = np.diff(np.append(starts, len(keys)))
    long = lengths > _LONG_RUN
    for start, length in zip(starts[long].tolist(), lengths[long].tolist(), strict=True):
        yield from _all_pairs(ids[start : start + length])
    later = np.repeat(starts + lengths, lengths) - np.arange(len(keys)) - 1  # members of the run behind this one
    at = np.flatnonzero(np.repeat(~long, lengths) & (later > 0))
    for step in range(1, _LONG_RUN):
        at = at[later[at] >= step]
        if not len(at):
            return
        yield ids[at], ids[at + step]


def _all_pairs(ids: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Every pair of some positions; as arrays that broadcast: a column of a few against a row of the rest."""
    step = max(1, BLOCK_PAIRS // max(len(ids), 1))
    for start in range(0, len(ids) - 1, step):
        yield ids[start : start + step, None], ids[start:]


def _close(hashes: Hashes, first: Indices, second: Indices, bits: int) -> Near:
    """Those of the pairs that are close; a position is never paired with itself."""
    distance = np.bitwise_count(hashes[first] ^ hashes[second]).ravel()
    found = np.flatnonzero(distance <= bits)
    if first.ndim == 1:
        left, right = first[found], second[found]
    else:
        row, column = np.divmod(found, len(second))
        once = column > row
        found, left, right = found[once], first[row[once], 0], second[column[once]]
    return Near(np.minimum(left, right), np.maximum(left, right), distance[found])


def _first_choice(differences: Hashes, bands: Hashes, chosen: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether the chosen bands are the first in which a pair agrees: so it is yielded for one choice only."""
    first = (differences & np.bitwise_or.reduce(bands[list(chosen)])) == 0
    for number in range(chosen[-1]):
        if number not in chosen:
            first &= (differences & bands[number]) != 0
    return np.asarray(first, dtype=np.bool_)
