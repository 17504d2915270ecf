"""Centrality: how much a text is like the others of its kind, in CIDEr's terms (Vedantam et al., 2015).

Two texts are as alike as their n-grams: the cosine of their tf-idf vectors, mean over n = 1–4, with document
frequencies over the same texts. That is CIDEr as published; the clipping and the length penalty of CIDEr-D, which
guard a score against gaming, have nothing to guard here.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log

import numpy as np
import numpy.typing as npt

NGRAMS = 4
Floats = npt.NDArray[np.float64]
_Gram = tuple[str, ...]


def centrality(texts: Sequence[Sequence[str]]) -> Floats:
    """Return each text's mean CIDEr similarity to the others, float64 N, 0–1; texts are given as tokens.

    It is the mean of each row of the N×N table of similarities, the diagonal left out.
    """
    cosines = [_mean_cosines([_ngrams(text, n) for text in texts]) for n in range(1, NGRAMS + 1)]
    return np.asarray(np.mean(cosines, axis=0), np.float64)


def _ngrams(words: Sequence[str], n: int) -> Counter[_Gram]:
    return Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1))


def _mean_cosines(counts: Sequence[Counter[_Gram]]) -> Floats:
    """Return each one's mean cosine with the others; by way of their sum, so that the work grows with N and not N²."""
    documents = Counter(gram for counted in counts for gram in counted)
    vectors = [_unit({g: c * log(len(counts) / documents[g]) for g, c in counted.items()}) for counted in counts]
    total: dict[_Gram, float] = defaultdict(float)
    for vector in vectors:
        for gram, weight in vector.items():
            total[gram] += weight
    shared = [sum(w * (total[gram] - w) for gram, w in vector.items()) for vector in vectors]
    return np.asarray(shared) / max(len(counts) - 1, 1)


def _unit(vector: Mapping[_Gram, float]) -> dict[_Gram, float]:
    length = sum(weight**2 for weight in vector.values()) ** 0.5
    return {gram: weight / length for gram, weight in vector.items()} if length else {}
