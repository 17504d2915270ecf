"""Which vectors lie close together: every pair above a cosine, in blocks that fit into memory.

Every pair is looked at, by matrix products: exact, flat in memory, and on every core. An index does not help:
identity embeddings fill so many dimensions that a graph (HNSW) took more than twice as long for 80,000 faces and
missed 7 pairs in 1,000, more the more faces there are (`make bench`). A missed pair is a person in two splits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Cosines = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Products held at once: 64 MB as float32.
BLOCK_VALUES = 1 << 24


class Block(NamedTuple):
    """Some pairs, `first` < `second` as positions, with their cosines (float32, to about 1e-6)."""

    first: Indices
    second: Indices
    cosine: Cosines

    def chosen(self, which: npt.NDArray[np.bool_]) -> "Block":
        """Return some of the pairs."""
        return Block(self.first[which], self.second[which], self.cosine[which])

    def with_more(self, other: "Block") -> "Block":
        """Return these pairs and those of another block."""
        first, second = np.concatenate([self.first, other.first]), np.concatenate([self.second, other.second])
        return Block(first, second, np.concatenate([self.cosine, other.cosine]))


def near_pairs(vectors: Vectors, low: float) -> Iterator[Block]:
    """Yield the pairs of unit vectors (float32 N×D) whose cosine is at least `low`, each pair once."""
    step = max(1, BLOCK_VALUES // max(len(vectors), 1))
    for start in range(0, len(vectors), step):
        cosine = vectors[start : start + step] @ vectors[start:].T
        first, second = np.nonzero(cosine >= low)
        once = second > first
        first, second = first[once], second[once]
        yield Block(first + start, second + start, cosine[first, second])


def exact_cosines(vectors: Vectors, first: Indices, second: Indices) -> npt.NDArray[np.float64]:
    """Return cosines of single pairs in double precision, to 6 digits: the same on every machine."""
    products = vectors[first].astype(np.float64) * vectors[second]
    return np.asarray(products.sum(axis=1).round(6), dtype=np.float64)
