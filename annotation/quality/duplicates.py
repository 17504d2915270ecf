"""Near duplicates: texts that were written before, by the same person or another, about another record.

All pairs of 20,000 texts are 200 million. MinHash (Broder 1997) over pieces of a few characters, banded (Leskovec,
Rajaraman, Ullman, *Mining of Massive Datasets*, 3.4), names the few pairs worth a comparison: near duplicates share a
band nearly always, strangers nearly never.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.errors import MissingDependency

from ..answers import Answer
from .finding import Case, Effect, Found, spoken

_PIECE = {"en": 5, "zh": 3}  # characters; a Chinese one says more
_BANDS, _ROWS = 32, 4
_MOST = 5_000  # characters that are compared; no report that is accepted has as many
_BUCKET = 16  # the newest of each: an annotator's thousand copies need not all be compared
# Characters: two people happen to write the same sentence if it is shorter.
_NO_CHANCE = {"en": 40, "zh": 16}


class _Text(NamedTuple):
    answer: Answer
    plain: str  # normalised


def near_duplicate(case: Case) -> Iterator[Found]:
    """Say which texts were written before; of two, the later one is found."""
    by_language: dict[str, list[_Text]] = {}
    for answer in case.written:
        plain = normalised(answer.text)[:_MOST]
        if plain:
            by_language.setdefault(spoken(answer.language), []).append(_Text(answer, plain))
    for language, texts in by_language.items():
        yield from _repeated(texts, language, case.quality.near_duplicate)


def normalised(text: str) -> str:
    """Return a text's letters and digits in lower case; whatever lies between them is one space."""
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _repeated(texts: Sequence[_Text], language: str, threshold: float) -> Iterator[Found]:
    buckets: dict[tuple[int, int], deque[int]] = {}
    keys = _band_keys([text.plain for text in texts], _PIECE[language])
    for place, text in enumerate(texts):
        mine = [buckets.setdefault(key, deque(maxlen=_BUCKET)) for key in enumerate(keys[place].tolist())]
        earlier = [texts[other] for other in sorted({other for bucket in mine for other in bucket})]
        matches = [(_likeness(one, text, language, threshold), one) for one in earlier]
        found = [(one.answer.annotator == text.answer.annotator, score, one) for score, one in matches if score]
        if found:
            own, score, one = max(found, key=lambda match: match[:2])
            yield _found(text.answer, one.answer, own, score)
        for bucket in mine:
            bucket.append(place)


def _found(answer: Answer, earlier: Answer, own: bool, score: float) -> Found:
    whose = "their own" if own else "another annotator's"
    detail = f"{score:.2f} like {whose} text of answer {earlier.uid}"
    return Found(answer, detail, score, None if own else Effect.HOLD, "" if own else "others")


def _likeness(earlier: _Text, later: _Text, language: str, threshold: float) -> float:
    """Return how alike two texts are, 0–1; 0 below the threshold, and for pairs that may well be alike."""
    own = earlier.answer.annotator == later.answer.annotator
    if not own and min(len(earlier.plain), len(later.plain)) < _NO_CHANCE[language]:
        return 0.0
    if earlier.answer.record_id == later.answer.record_id:  # people agree, but not to the letter
        return 0.0 if own or earlier.plain != later.plain else 1.0
    return likeness(earlier.plain, later.plain, threshold)


def likeness(one: str, other: str, threshold: float) -> float:
    """Return how alike two normalised texts are, 0–1, in whatever order their words stand; 0 below the threshold.

    The share of characters that both have, as they stand or with the words sorted. Comparing sets of words
    (`token_set_ratio`) finds a text like any other one that has all its words, and so accuses careful people.

    Raises:
        MissingDependency: rapidfuzz is not installed.
    """
    try:
        from rapidfuzz import fuzz
    except ImportError as error:
        hint = "pip install 'mmtt[annotation]'"
        raise MissingDependency(f"The rule 'near_duplicate' needs rapidfuzz ({error}): {hint}.") from error
    if one == other:
        return 1.0
    cut = 100 * threshold
    score = fuzz.ratio(one, other, score_cutoff=cut) or fuzz.token_sort_ratio(one, other, score_cutoff=cut)
    return float(score) / 100


def _band_keys(texts: Sequence[str], piece: int) -> npt.NDArray[np.uint64]:
    """Return a key for each band of each text, uint64 N×bands: texts that share one may be alike."""
    numbers = np.random.SeedSequence(0).generate_state(2 * _BANDS * _ROWS, np.uint64)
    factors, offsets = numbers[::2] | np.uint64(1), numbers[1::2]
    powers = factors[:piece]
    keys = np.empty((len(texts), _BANDS), np.uint64)
    for place, text in enumerate(texts):
        codes = np.frombuffer(text.ljust(piece).encode("utf-32-le"), np.uint32).astype(np.uint64)
        pieces = np.lib.stride_tricks.sliding_window_view(codes, piece) @ powers
        smallest = (pieces[:, None] * factors + offsets).min(axis=0)
        keys[place] = (smallest.reshape(_BANDS, _ROWS) * factors[:_ROWS]).sum(axis=1)
    return keys
