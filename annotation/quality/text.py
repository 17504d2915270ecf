"""Text: its length, its language, and how much of a person's writing is a form filled in."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from .finding import Case, Found, by_annotator, lexicon, spoken
from .regions import words_of

_FOREIGN = 0.25  # share of units of other scripts: a term or two may be borrowed
_UNITS = {
    "en": re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’-][A-Za-z\u00c0-\u024f]+)*"),  # a word
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"),  # a character
    "other": re.compile(r"[\u3040-\u30ff\uac00-\ud7af]|[\u0370-\u1fff]+"),
}
_RUN = 5  # words
_FORMS = 50  # an annotator's commonest runs of words
_REPEATED = 3  # texts that a run must be in
_MIN_TEXTS = 10


def words(case: Case) -> Iterator[Found]:
    """Say which reports are too short or too long, in words as the library counts them."""
    least, most = case.quality.min_words, case.quality.max_words
    for answer in case.reports:
        count = len(words_of(answer))
        if count < least:
            yield Found(answer, f"{count} words, fewer than {least}", count, variant="few")
        elif count > most:
            yield Found(answer, f"{count} words, more than {most}", count, variant="many")


def language(case: Case) -> Iterator[Found]:
    """Say which texts are in another language than their answer declares: by script, then by function words."""
    for answer in case.written:
        declared = spoken(answer.language)
        foreign = foreign_share(answer.text, declared)
        if foreign > _FOREIGN:
            yield Found(answer, f"{foreign:.0%} is in another script than {declared}", foreign)
        elif declared == "en" and (other := _other_language(answer.text)):
            yield Found(answer, f"its small words are those of '{other}'")


def foreign_share(text: str, declared: str) -> float:
    """Return the share of a text that another script has, 0–1; a Chinese character weighs as much as a word."""
    counts = {script: len(unit.findall(text)) for script, unit in _UNITS.items()}
    total = sum(counts.values())
    return 1 - counts[declared] / total if total else 0.0


def _other_language(text: str) -> str | None:
    """The language, if not English, of most function words of a text; None where there are fewer than two."""
    found = set(_UNITS["en"].findall(text.lower()))
    hits = {name: len(found & set(known)) for name, known in lexicon("lexicons/function_words.yaml").items()}
    best = max(sorted(hits), key=lambda name: hits[name])
    return best if hits[best] >= 2 and hits[best] > hits["en"] else None


def template(case: Case) -> Iterator[Found]:
    """Say whose texts consist of few runs of words that come again and again."""
    for answers in by_annotator(case.standing).values():
        texts = [[word.casefold() for word in words_of(answer)] for answer in answers]
        covered = repeated_share(texts)
        if len(texts) >= _MIN_TEXTS and covered >= case.quality.template_share:
            detail = f"{covered:.0%} of the words in {len(texts)} texts are the same few runs"
            yield Found(answers[-1], detail, covered, whole=True)


def repeated_share(texts: Sequence[Sequence[str]]) -> float:
    """Return the share of words that lie in the commonest runs of five words of these texts, 0–1."""
    seen = Counter(run for text in texts for run in set(_runs(text)))
    forms = {run for run, count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:_FORMS]
             if count >= _REPEATED}  # fmt: skip
    total = sum(map(len, texts))
    return sum(_covered(text, forms) for text in texts) / total if total else 0.0


def _runs(text: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + _RUN]) for start in range(len(text) - _RUN + 1)]


def _covered(text: Sequence[str], forms: set[tuple[str, ...]]) -> int:
    return len({at + step for at, run in enumerate(_runs(text)) if run in forms for step in range(_RUN)})
