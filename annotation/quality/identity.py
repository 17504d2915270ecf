"""Identity: names, contact data, and guesses about what kind of person is seen. A report says what a picture shows.

The words are in `lexicons/identity_en.yaml` and `identity_zh.yaml`, and so are those that only look like one ("Roman
nose", "Adam's apple", 老人斑). Both lists look at every text: people borrow words.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from mmtt.regions import REGIONS

from .finding import Case, Effect, Found, lexicon

_LANGUAGES = ("en", "zh")
_CONTACT = {
    "e-mail": r"[\w.+-]{1,64}@[\w-]{1,63}\.\w{1,20}",
    "address": r"https?://|\bwww\.|\b[\w-]{1,63}\.(?:com|net|org|cn|io|edu|gov|info|uk|ru|app)\b",
    "handle": r"(?<![\w.])@\w{2,}",
    "phone": r"(?<![\w.])(?:\+\d|\(?\d)(?:[ ().-]?\d){7,}(?!\w)",
    "account": r"微信号?[:：]?\s*[A-Za-z]\w{4,}|QQ号?[:：]?\s*\d{5,}",
}
_NAME = r"[A-ZÀ-Þ][a-zß-ÿ]+(?:['’-][A-Z]?[a-zß-ÿ]+){0,3}"
_TITLED = 0.5  # share of capitalised words above which capitals say nothing


class Hit(NamedTuple):
    """What was found: its kind, the words, and whether it may be something else."""

    kind: str
    words: str
    doubtful: bool = False


def identity(case: Case) -> Iterator[Found]:
    """Say which texts name somebody or say what kind of person is seen; where only capitals do, a person decides."""
    # Of verifiers and adjudicators as well: their texts are published.
    for answer in [answer for answer in case.answers if answer.text and not answer.skipped]:
        hits = hits_in(answer.text)
        if hits:
            told = "; ".join(f"{hit.kind}: {hit.words}" for hit in hits)
            yield Found(answer, told, effect=Effect.HOLD if all(hit.doubtful for hit in hits) else None)


def hits_in(text: str) -> list[Hit]:
    """Return everything in a text that tells who or what kind of person is seen."""
    left = _harmless().sub(" · ", text)
    found = [Hit(kind, match.group()) for kind, pattern in _patterns() for match in pattern.finditer(left)]
    return found + [*_english_names(left)]


@cache
def _harmless() -> re.Pattern[str]:
    english, chinese = (lexicon(f"lexicons/identity_{language}.yaml")["harmless"] for language in _LANGUAGES)
    return re.compile(rf"\b(?:{'|'.join(english)})\b|{'|'.join(chinese)}", re.IGNORECASE)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    en, zh = (lexicon(f"lexicons/identity_{language}.yaml") for language in _LANGUAGES)
    sources = list(_CONTACT.items())
    sources += [(kind, rf"\b(?:{'|'.join(parts)})\b") for kind, parts in en["attributes"].items()]
    sources += [(kind, "|".join(parts)) for kind, parts in zh["attributes"].items()]
    sources += [("name", rf"\b(?:{'|'.join(en['known'])})\b"), ("name", "|".join(zh["known"])), *_chinese_names(zh)]
    return tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in sources)


def _chinese_names(zh: Any) -> Iterator[tuple[str, str]]:
    some, title, distinct = r"[\u4e00-\u9fff]", zh["honorific"], f"[{zh['distinct']}]"
    yield "name", rf"[{zh['surnames']}]{title}|{distinct}{some}{{1,2}}{title}"
    yield "name", rf"(?:{zh['named']}){some}{{2,3}}|[像是叫]{distinct}{some}{{1,2}}(?=[，。；！、,.;\s]|$)"


def _english_names(text: str) -> Iterator[Hit]:
    """Find names by titles, comparisons, given names; and, in doubt, by two capitals in a row."""
    en = lexicon("lexicons/identity_en.yaml")
    small = lexicon("lexicons/function_words.yaml")["en"]
    nobody = {word.casefold() for word in (*en["nobody"], *small, *REGIONS)}
    titles = "|".join(en["honorifics"])
    for pattern in (rf"\b(?:{titles})\b\.? ({_NAME})", rf"(?i:\b(?:{en['alike']})) (?:the )?({_NAME})"):
        for match in re.finditer(pattern, text):
            if not _is_nobody(match[1], nobody):
                yield Hit("name", match.group())
    for match in re.finditer(rf"\b(?:{'|'.join(en['given'])})\b", text):
        yield Hit("name", match.group())
    if _titled(text):
        return
    for match in re.finditer(rf"\b{_NAME}(?: {_NAME})+", text):
        somebody = [word for word in match.group().split() if not _is_nobody(word, nobody)]
        if len(somebody) >= 2:
            yield Hit("name", " ".join(somebody), doubtful=True)


def _is_nobody(word: str, nobody: set[str]) -> bool:
    return word.casefold() in nobody or word.casefold().removesuffix("s") in nobody


def _titled(text: str) -> bool:
    words = re.findall(r"\b[^\W\d_]{4,}\b", text)
    return bool(words) and sum(word[0].isupper() for word in words) / len(words) >= _TITLED
