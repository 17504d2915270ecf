"""L5: texts in test that stand, nearly word for word, in train.

Two texts are near copies where the sets of their runs of five words have a Jaccard index above 0.8. Candidates come
from MinHash (Broder, "On the resemblance and containment of documents", 1997): 100 minima in 20 bands of 5, so that of
pairs at 0.8 one in 2,800 is missed. What a band proposes is compared exactly; of many train texts that agree in a band,
a few are, so that a sentence which stands there a thousand times costs no more than others.

The gate leaves 1 in 20: people who see one thing say it in the same few words (`The nose is blurred.`), and the more
texts there are, the more of them coincide. Reports that were copied from row to row make a larger share. What a
template wrote repeats by construction; it is told apart and not judged.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence

from ...near import Indices

COPIED_GATE = 0.05
NEAR_COPY = 0.8
RUN_WORDS = 5
BANDS, ROWS = 20, 5
TEMPLATE = "template"
_MEMBERS = 8  # of a band's train texts that a test text is compared with
_CHUNK_TEXTS, _CHUNK_PAIRS = 1 << 12, 1 << 16  # small enough for the processor's cache; for memory
_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")  # a Chinese character is a word
Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


class Runs(NamedTuple):
    """The distinct runs of five words of texts.

    hashes: of each, uint64, text after text. sets: texts × different runs, 1 where a text has a run.
    """

    hashes: Hashes
    sets: sparse.csr_array


def judge_texts(evidence: Evidence) -> Finding:
    """Return the share of test texts of people (or models) of which a near copy stands in train."""
    texts = _texts(evidence)
    copies = near_copies(texts)
    test = texts[texts["split"] == "test"].assign(copy=copies)
    template = test["text_origin"] == TEMPLATE
    by_origin = test.assign(copied=test["copy"] >= 0).groupby("text_origin")["copied"].mean().to_dict()
    judged = test[~template]
    if judged.empty:
        told = f"; of {len(test):,} in test {by_origin[TEMPLATE]:.0%} stand in train"
        raise NotApplicable(f"Every text in test was written by a template, and those repeat by construction{told}.")
    copied = judged[judged["copy"] >= 0]
    return Finding(
        statistic=len(copied) / len(judged),
        n=len(judged),
        of="test texts",
        sentence=f"{len(copied):,} of {len(judged):,} texts in test stand nearly word for word in train.",
        details={
            "share of test texts by origin": by_origin,
            "the same words": int((copied["words"].to_numpy() == texts["words"].to_numpy()[copied["copy"]]).sum()),
            "train texts": int((texts["split"] == "train").sum()),
            "template texts in test": int(template.sum()),
            "Jaccard index": NEAR_COPY,
        },
        worst=tuple(_example(evidence, texts, row) for row in copied.head(MOST_EXAMPLES).itertuples()),
    )


def _texts(evidence: Evidence) -> pd.DataFrame:
    """Every text in train and test: record, split, who wrote it, its words in lower case."""
    rows = [
        (sample.record_id, sample.split, reference.text_origin, normalised(reference.text))
        for sample in evidence.samples
        if sample.split in ("train", "test")
        for reference in sample.references
    ]
    table = pd.DataFrame(rows, columns=["record_id", "split", "text_origin", "words"])
    if table["split"].nunique() < 2:
        raise NotApplicable("There are no texts in both train and test.")
    return table


def normalised(text: str) -> str:
    """Return a text's words in lower case, one space between them."""
    return " ".join(_WORDS.findall(text.casefold()))


def near_copies(texts: pd.DataFrame) -> Indices:
    """Return for each test text the place of a near copy in train, −1 where none is; columns `split` and `words`."""
    which, distinct = pd.factorize(texts["words"])
    runs = runs_of(list(distinct))
    found = np.full(len(distinct), -1, np.int64)
    in_train, in_test = (np.zeros(len(distinct), np.bool_) for _ in range(2))
    split = texts["split"].to_numpy()
    in_train[which[split == "train"]], in_test[which[split == "test"]] = True, True
    equal = in_train & in_test
    found[equal] = np.flatnonzero(equal)
    for test, train in _proposed(min_hashes(runs), in_test, in_train):
        due = found[test] < 0
        test, train = test[due], train[due]
        near = jaccard(runs, test, train) > NEAR_COPY
        found[test[near]] = train[near]
    first = np.full(len(distinct), -1, np.int64)
    places = np.flatnonzero(split == "train")[::-1]
    first[which[places]] = places
    copies = found[which[split == "test"]]
    return np.where(copies < 0, -1, first[copies])


def runs_of(texts: Sequence[str]) -> Runs:
    """Return the runs of five words of texts, words parted by spaces; a shorter text is one run."""
    split = [text.split() for text in texts]
    counts = np.array([max(len(words), RUN_WORDS) for words in split])
    flat = [word for words in split for word in (*words, *[""] * (RUN_WORDS - len(words)))]
    words = _mixed(pd.factorize(np.array(flat, object))[0].astype(np.uint64))
    ends = np.cumsum(counts)
    begins = np.ones(len(words), np.bool_)
    for behind in range(1, RUN_WORDS):
        begins[ends - behind] = False
    at = np.flatnonzero(begins)
    hashes = np.zeros(len(at), np.uint64)
    for step in range(RUN_WORDS):
        hashes = _mixed(hashes ^ words[at + step])
    text = np.repeat(np.arange(len(texts)), counts - RUN_WORDS + 1)
    return _distinct(text, hashes, len(texts))


def _distinct(text: Indices, hashes: Hashes, count: int) -> Runs:
    order = np.lexsort((hashes, text))
    text, hashes = text[order], hashes[order]
    once = np.concatenate([[True], (text[1:] != text[:-1]) | (hashes[1:] != hashes[:-1])])
    text, hashes = text[once], hashes[once]
    codes, different = pd.factorize(hashes)
    starts = np.searchsorted(text, np.arange(count + 1))
    ones = np.ones(len(codes), np.int32)
    return Runs(hashes, sparse.csr_array((ones, codes, starts), shape=(count, len(different))))


def _mixed(values: Hashes) -> Hashes:
    """Spread values over 64 bits (the finaliser of SplitMix64; Steele, Lea, Flood, 2014)."""
    values = np.asarray(values + np.uint64(0x9E3779B97F4A7C15), np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)), dtype=np.uint64)


def min_hashes(runs: Runs) -> Hashes:
    """Return a number for each band and text, uint64 BANDS×N: equal where all minima of the band are."""
    starts = runs.sets.indptr.astype(np.int64)
    factors = _mixed(np.arange(BANDS * ROWS, dtype=np.uint64)) | np.uint64(1)
    bands = np.zeros((BANDS, len(starts) - 1), np.uint64)
    for first in range(0, bands.shape[1], _CHUNK_TEXTS):
        some = slice(first, min(first + _CHUNK_TEXTS, bands.shape[1]))
        hashes, at = runs.hashes[starts[some.start] : starts[some.stop]], starts[some] - starts[some.start]
        for number, factor in enumerate(factors):
            band = bands[number // ROWS, some]
            band[:] = _mixed(band ^ np.minimum.reduceat(hashes * factor, at))
    return bands


def _proposed(bands: Hashes, tests: Flags, trains: Flags) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of a test text and a train text that agree in a band, as two arrays."""
    test, train = np.flatnonzero(tests), np.flatnonzero(trains)
    for key in bands:
        members = train[np.argsort(key[train], kind="stable")]
        low, high = (np.searchsorted(key[members], key[test], side=side) for side in ("left", "right"))
        for turn in range(_MEMBERS):
            there = low + turn < high
            if not there.any():
                break
            yield test[there], members[(low + turn)[there]]


def jaccard(runs: Runs, first: Indices, second: Indices) -> npt.NDArray[np.float64]:
    """Return the Jaccard index of the runs of pairs of texts, 0–1."""
    sizes = np.diff(runs.sets.indptr)
    shared = [
        runs.sets[first[at : at + _CHUNK_PAIRS]].multiply(runs.sets[second[at : at + _CHUNK_PAIRS]]).sum(axis=1)
        for at in range(0, len(first), _CHUNK_PAIRS)
    ]
    both = np.concatenate([np.zeros(0), *shared])
    return np.asarray(both / (sizes[first] + sizes[second] - both), dtype=np.float64)


def _example(evidence: Evidence, texts: pd.DataFrame, row: Any) -> Example:
    other = texts.iloc[int(row.copy)]
    return Example(row.record_id, f"its text stands in train: {row.words[:80]}", other["record_id"], evidence.variant)
