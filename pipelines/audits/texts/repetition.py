"""X6: how much the texts repeat themselves, word for word.

How often a text repeats others grows with how many others there are, so repetition is measured in pieces of the same
length: the share of 4-grams, within texts, that are there already in a piece of `PIECE` words. It is told for each
annotator, because one who copies would be lost among ten who do not.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.ids import derived_id
from mmtt.words import words

from .reading import texts_of

PIECE = 5000  # words
_FEWEST = 200  # words of an annotator, below which nothing can be said
_MOST_PIECES = 10
_MOST_TOLD = 20
_SAMPLE = 20_000  # texts that figures about all texts rest on
_TOP = 20
_N = 4


class _Repetition(NamedTuple):
    value: float
    low: float | None
    high: float | None
    texts: int


def judge_repetition(evidence: Evidence) -> Finding:
    """Measure repetition for each annotator; the one who repeats most decides."""
    table = texts_of(evidence)
    lots = table["report_id"].map(lambda report_id: derived_id(evidence.settings.seed, "repetition", report_id))
    table = table.loc[lots.sort_values(kind="stable").index]
    found = {str(name): _repetition(list(rows["text"])) for name, rows in table.groupby("annotator", sort=True)}
    judged = {name: one for name, one in found.items() if one is not None}
    if not judged:
        raise NotApplicable(f"Nobody wrote {_FEWEST} words or more, too little to tell repetition.")
    name, worst = max(judged.items(), key=lambda item: (item[1].value, item[0]))
    ordered = sorted(judged.items(), key=lambda item: (-item[1].value, item[0]))
    copies = _copies(table)
    details: dict[str, Any] = {
        "repeated 4-grams by annotator, worst first": {name: one.value for name, one in ordered[:_MOST_TOLD]},
        "copied texts by annotator, worst first": _copied_by(table, copies),
        "share of texts that are copies": float(copies.mean()),
        "words in a piece": PIECE,
        **_vocabulary(list(table["text"].iloc[:_SAMPLE])),
    }
    return Finding(
        statistic=worst.value,
        low=worst.low,
        high=worst.high,
        n=worst.texts,
        of="texts",
        sentence=f"{worst.value:.1%} of the 4-grams that '{name}' wrote were there before, in {PIECE:,} words or less.",
        details=details,
        worst=_worst(table),
    )


def _repetition(texts: Sequence[str]) -> _Repetition | None:
    pieces = list(_pieces(texts))
    if not pieces:
        return None
    shares = np.array([_repeated(piece) for piece in pieces])
    spread = 1.96 * float(shares.std(ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else None
    value = float(shares.mean())
    low, high = (None, None) if spread is None else (max(value - spread, 0.0), min(value + spread, 1.0))
    return _Repetition(value, low, high, sum(map(len, pieces)))


def _pieces(texts: Sequence[str]) -> Iterator[list[list[str]]]:
    """Yield pieces of about `PIECE` words, each a list of tokenised texts; one that is shorter only if it is alone."""
    piece: list[list[str]] = []
    length = done = 0
    for text in texts:
        piece.append(_words(text))
        length += len(piece[-1])
        if length >= PIECE:
            yield piece
            piece, length, done = [], 0, done + 1
            if done == _MOST_PIECES:
                return
    if not done and length >= _FEWEST:
        yield piece


def _words(text: str) -> list[str]:
    return [word.lower() for word in words(text, "en")]  # the same in every language


def _grams(texts: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    return Counter(gram for text in texts for gram in zip(*(text[start:] for start in range(_N)), strict=False))


def _repeated(texts: Sequence[Sequence[str]]) -> float:
    grams = _grams(texts)
    return 1 - len(grams) / grams.total() if grams else 0.0


def _vocabulary(texts: Sequence[str]) -> dict[str, float]:
    """Return the usual figures; all but the entropy change with how many texts there are."""
    tokenised = [_words(text) for text in texts]
    tokens = Counter(word for text in tokenised for word in text)
    grams, openings = _grams(tokenised), Counter(tuple(text[:3]) for text in tokenised)
    shares = np.array(list(openings.values())) / len(texts)
    joined = "\n".join(texts).encode()
    return {
        "type-token ratio": len(tokens) / max(tokens.total(), 1),
        "mass of the 20 commonest 4-grams": sum(n for _, n in grams.most_common(_TOP)) / max(grams.total(), 1),
        "entropy of the first three words, bits": float(-(shares * np.log2(shares)).sum()),
        "zlib: compressed share of the bytes": len(zlib.compress(joined, 6)) / max(len(joined), 1),
        "texts that these four rest on": len(texts),
    }


def _plain(table: pd.DataFrame) -> pd.Series:
    return table["text"].str.casefold().str.split().str.join(" ")


def _copies(table: pd.DataFrame) -> pd.Series:
    """Return which texts are, but for spaces and capitals, another one of the same annotator over again."""
    return table.assign(plain=_plain(table)).duplicated(["annotator", "plain"])


def _copied_by(table: pd.DataFrame, copies: pd.Series) -> dict[str, float]:
    shares = copies.groupby(table["annotator"]).mean().sort_values(ascending=False, kind="stable")
    return {str(name): float(share) for name, share in shares[shares > 0].iloc[:_MOST_TOLD].items()}


def _worst(table: pd.DataFrame) -> tuple[Example, ...]:
    """Return the texts that were written most often, with two records that share each."""
    ordered = table.assign(plain=_plain(table)).sort_values("record_id", kind="stable")
    groups = ordered.groupby("plain")["record_id"].agg(["count", "first", "last"])
    worst = groups[groups["count"] > 1].reset_index().sort_values(["count", "plain"], ascending=[False, True])
    return tuple(
        Example(first, f"{count} records have the text: {plain[:100]}", last if last != first else None)
        for plain, count, first, last in worst.head(MOST_EXAMPLES).itertuples(index=False)
    )
