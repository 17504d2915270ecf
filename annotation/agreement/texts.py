"""Do two reports of one record resemble each other more than reports of different records do?

A mean similarity says little: it depends on the measure, and phrases that fit every face raise it. So we compare within
with between (A. Braylan, O. Alonso & M. Lease, *Measuring Annotator Agreement Generally across Complex Structured,
Multi-object, and Free-text Annotation Tasks*, WWW 2022): the share of cases in which a pair within a record is the more
alike one, which is the area under the ROC curve.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..answers import Answer
from .bootstrap import Floats, interval, value

BETWEEN = 40_000  # pairs of different records that are drawn; those that may be compared are used
_RUNS = re.compile(r"(?P<han>[\u3400-\u9fff]+)|[^\W\u3400-\u9fff]+")

Pairs = npt.NDArray[np.int64]  # P×2: numbers of texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How much more alike the reports of one record are than those of two.

    Attributes:
        value: P(similarity within > similarity between) + half of P(equal): 0.5 is chance, 1 complete separation. None
            where no two people wrote about one record, or there is only one such record.
        low, high: ends of the 95 % bootstrap interval, by record; None where the data cannot say.
        units: records that two people or more wrote about. pairs: of their reports.
        between: pairs of reports of different records that those were compared with, drawn at random.
    """

    value: float | None
    low: float | None
    high: float | None
    units: int
    pairs: int
    between: int


def gap(reports: Mapping[str, Sequence[Answer]], rng: np.random.Generator, draws: int) -> Gap:
    """Return the gap over the texts of each record, one for each person. Only texts of one language are compared."""
    texts, within = _texts(reports)
    between = _between(texts, rng) if texts else within
    record = np.array([text.record for text in texts], dtype=np.int64)
    vectors = tf_idf([text.text for text in texts])
    alike, unlike = _cosines(vectors, within), _cosines(vectors, between)
    each = np.ones(int(record.max(initial=-1)) + 1)

    def areas(weights: Floats) -> Floats:
        of_text = weights[:, record]
        return _areas(alike, of_text[:, within[:, 0]], unlike, of_text[:, between].prod(axis=2))

    found = value(areas, each)
    low, high = (None, None) if found is None else interval(areas, each, rng, draws)
    return Gap(value=found, low=low, high=high, units=len(each), pairs=len(within), between=len(between))


class _Text(NamedTuple):
    record: int
    annotator: str
    language: str
    text: str


def _texts(reports: Mapping[str, Sequence[Answer]]) -> tuple[list[_Text], Pairs]:
    """Return the texts that have a counterpart, records numbered from 0; and the pairs within records."""
    texts: list[_Text] = []
    pairs: list[tuple[int, int]] = []
    records = 0
    for answers in reports.values():
        written = [_Text(records, a.annotator, a.language, a.text) for a in answers if a.text.strip()]
        paired = [(a, b) for a, b in combinations(range(len(written)), 2) if written[a].language == written[b].language]
        if paired:
            pairs += [(len(texts) + a, len(texts) + b) for a, b in paired]
            texts += written
            records += 1
    return texts, np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _between(texts: Sequence[_Text], rng: np.random.Generator) -> Pairs:
    """Draw pairs of two records and two people: one's own style must not pass for likeness."""
    drawn: Pairs = rng.integers(len(texts), size=(BETWEEN, 2))
    record, annotator, language = (np.array(column)[drawn] for column in list(zip(*texts, strict=True))[:3])
    apart = (record[:, 0] != record[:, 1]) & (annotator[:, 0] != annotator[:, 1])
    return np.asarray(drawn[apart & (language[:, 0] == language[:, 1])])


def _areas(alike: Floats, alike_weights: Floats, unlike: Floats, unlike_weights: Floats) -> Floats:
    """Return the area under the ROC curve for each row of weights: Mann & Whitney's U (1947), ties counting half."""
    order = np.argsort(unlike)
    below = np.cumsum(unlike_weights[:, order], axis=1)
    below = np.pad(below, ((0, 0), (1, 0)))
    fewer, more = (np.searchsorted(unlike[order], alike, side=side) for side in ("left", "right"))
    won = (alike_weights * (below[:, fewer] + below[:, more]) / 2).sum(axis=1)
    compared = alike_weights.sum(axis=1) * below[:, -1]
    return np.asarray(np.divide(won, compared, out=np.full_like(won, np.nan), where=compared > 0))


class Vector(NamedTuple):
    """A text as its n-grams: their numbers, ascending, and weights of norm 1."""

    grams: npt.NDArray[np.int64]
    weights: Floats


def grams(text: str) -> Iterator[str]:
    """Yield pairs of Chinese characters, and four characters of other words, their edges marked by a space.

    About a word each, whatever the inflection, without a word list: bigrams for Chinese (K. L. Kwok, SIGIR 1997),
    4-grams for European languages (P. McNamee & J. Mayfield, Information Retrieval 7, 2004).
    """
    for found in _RUNS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run, size = (found[0], 2) if found["han"] else (f" {found[0]} ", 4)
        for start in range(max(1, len(run) - size + 1)):
            yield run[start : start + size]


def tf_idf(texts: Sequence[str]) -> list[Vector]:
    """Return a vector for each text: tf · (ln((1 + N) / (1 + df)) + 1), scaled to norm 1; zero for a text of signs."""
    counted = [Counter(grams(text)) for text in texts]
    found_in = Counter(chain.from_iterable(counted))
    number = {gram: place for place, gram in enumerate(found_in)}
    rarity = np.log((1 + len(texts)) / (1 + np.fromiter(found_in.values(), np.float64))) + 1
    return [_vector(count, number, rarity) for count in counted]


def _vector(count: Counter[str], number: Mapping[str, int], rarity: Floats) -> Vector:
    places = np.array([number[gram] for gram in count], dtype=np.int64)
    weights = np.fromiter(count.values(), np.float64) * rarity[places]
    order = np.argsort(places)
    return Vector(places[order], weights[order] / max(float(np.linalg.norm(weights)), 1e-12))


def _cosines(vectors: Sequence[Vector], pairs: Pairs) -> Floats:
    return np.array([cosine(vectors[a], vectors[b]) for a, b in pairs.tolist()], dtype=np.float64)


def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine of two vectors, 0–1."""
    _, of_a, of_b = np.intersect1d(a.grams, b.grams, assume_unique=True, return_indices=True)
    return float(a.weights[of_a] @ b.weights[of_b])
