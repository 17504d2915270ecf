"""X6: how much the texts repeat themselves, word for word.

How often a text repeats others grows with how many others there are, so repetition is measured in pieces of the same
length: of each text, which share of its runs of four words has been there before in a piece of `PIECE` words. A text
says nothing new where that share is `STALE` or more. People who begin and end every report with one of a few phrases
repeat a third or more of their runs, but hardly ever so much of one text; what a template wrote does in three of ten.

It is told for each annotator, because one who copies would be lost among ten who do not. Texts that name no writer are
measured as those of one, so that one who copies among them may go unseen.
"""

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

from ..shares import Share, grouped_share
from .reading import shortened, texts_of

PIECE = 5000  # words
STALE = 0.7  # share of a text's runs of four words
_FEWEST = 200  # words of an annotator, below which nothing can be said
_MOST_PIECES = 10
_MOST_TOLD = 20
_SAMPLE = 20_000  # texts that figures about all texts rest on
_TOP = 20
_NOBODY = "unknown"
_N = 4


class _Repetition(NamedTuple):
    """How much one annotator repeats.

    texts: columns of `texts_of`, and `repeated`, the share (0–1) of a text's runs that have been there before; of
    those texts that were looked at. stale: share of the texts that say nothing new. runs: share of all runs.
    """

    texts: pd.DataFrame
    stale: Share
    runs: float


def judge_repetition(evidence: Evidence) -> Finding:
    """Measure repetition for each annotator; the one decides of whom most is known for certain.

    Raises:
        NotApplicable: there are no texts, or too few words of everybody.
    """
    table = texts_of(evidence)
    lots = table["report_id"].map(lambda report_id: derived_id(evidence.settings.seed, "repetition", report_id))
    table = table.loc[lots.sort_values(kind="stable").index]
    found = {str(name): _repetition(rows) for name, rows in table.groupby("annotator", sort=True)}
    judged = {name: one for name, one in found.items() if one is not None}
    if not judged:
        raise NotApplicable(f"Nobody wrote {_FEWEST} words or more, too little to tell repetition.")
    ordered = sorted(judged.items(), key=lambda item: (-item[1].stale.low, -item[1].stale.value, item[0]))
    name, worst = ordered[0]
    return Finding(
        statistic=worst.stale.value,
        low=worst.stale.low,
        high=worst.stale.high,
        n=len(worst.texts),
        of="texts",
        sentence=_sentence(name, worst),
        details=_details(table, ordered[:_MOST_TOLD]),
        worst=(*_copied(table), *_stale(worst.texts))[:MOST_EXAMPLES],
    )


def _sentence(name: str, worst: _Repetition) -> str:
    whose = f"that '{name}' wrote" if name != _NOBODY else "(they name no writer, and are taken together)"
    template = " A template wrote all of them." if (worst.texts["text_origin"] == "template").all() else ""
    return (
        f"{worst.stale.value:.1%} of {len(worst.texts):,} texts {whose} say little new: {STALE:.0%} or more of their "
        f"runs of four words stand in texts before them, within {PIECE:,} words.{template}"
    )


def _details(table: pd.DataFrame, ordered: Sequence[tuple[str, _Repetition]]) -> dict[str, Any]:
    copies = _copies(table)
    return {
        "texts that say little new by annotator, worst first": {name: one.stale.value for name, one in ordered},
        "repeated runs of four words by annotator": {name: one.runs for name, one in ordered},
        "copied texts by annotator, worst first": _copied_by(table, copies),
        "share of texts that are copies": float(copies.mean()),
        "words in a piece": PIECE,
        **_vocabulary(list(table["text"].iloc[:_SAMPLE])),
    }


def _repetition(rows: pd.DataFrame) -> _Repetition | None:
    """Return how much the texts of one annotator repeat; None where they are too short to tell."""
    counts = np.array([count for piece in _pieces(list(rows["text"])) for count in _repeated(piece)]).reshape(-1, 2)
    if not counts[:, 1].any():
        return None
    repeated = counts[:, 0] / np.maximum(counts[:, 1], 1)
    stale = grouped_share(repeated >= STALE, np.ones(len(counts)), np.arange(len(counts)))
    runs = float(counts[:, 0].sum() / counts[:, 1].sum())
    return _Repetition(rows.iloc[: len(counts)].assign(repeated=repeated), stale, runs)


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


def _grams(text: Sequence[str]) -> list[tuple[str, ...]]:
    return list(zip(*(text[start:] for start in range(_N)), strict=False))


def _repeated(texts: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Yield for each text how many of its 4-grams have been there before, and how many it has."""
    seen: set[tuple[str, ...]] = set()
    for text in texts:
        grams, known = _grams(text), len(seen)
        seen.update(grams)
        yield len(grams) - (len(seen) - known), len(grams)


def _vocabulary(texts: Sequence[str]) -> dict[str, float]:
    """Return the usual figures; all but the entropy change with how many texts there are."""
    tokenised = [_words(text) for text in texts]
    tokens = Counter(word for text in tokenised for word in text)
    grams = Counter(gram for text in tokenised for gram in _grams(text))
    openings = Counter(tuple(text[:3]) for text in tokenised)
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


def _stale(texts: pd.DataFrame) -> Iterator[Example]:
    worst = texts[texts["repeated"] >= STALE].sort_values(["repeated", "record_id"], ascending=[False, True])
    for record_id, text, repeated in zip(worst["record_id"], worst["text"], worst["repeated"], strict=True):
        yield Example(
            record_id, f"{repeated:.0%} of its runs of four words stand in texts before it: {shortened(text)}"
        )


def _copied(table: pd.DataFrame) -> tuple[Example, ...]:
    """Return the texts that stand beside most records, with two records that share each."""
    ordered = table.assign(plain=_plain(table)).sort_values("record_id", kind="stable")
    groups = ordered.groupby("plain")["record_id"].agg(["nunique", "first", "last"])
    groups = groups.rename(columns={"nunique": "count"})
    worst = groups[groups["count"] > 1].reset_index().sort_values(["count", "plain"], ascending=[False, True])
    return tuple(
        Example(first, f"{count} records have the text: {shortened(plain)}", last)
        for plain, count, first, last in worst.head(MOST_EXAMPLES).itertuples(index=False)
    )
