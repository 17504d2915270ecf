"""Words of a text: one tokenisation for the whole toolkit, the plain form in which texts are searched, and the printed.

A word is a run of letters, digits and apostrophes; hyphens join ("cut-out" is one word). A Chinese character is a word
by itself.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from mmtt.errors import UserError

LANGUAGES = ("en", "zh")

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"[^\W{_CJK}]"
# Each alternative starts with a character that no other one takes, so that matching is linear.
_WORD = re.compile(rf"{_LETTER}(?:{_LETTER}|['’‐‑-](?={_LETTER}))*|[{_CJK}]")
_PIECE = re.compile(rf"'s(?!{_LETTER})|{_LETTER}+(?:'(?!s(?!{_LETTER})){_LETTER}+)*|\n|\S")
_PLAIN = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "‐": "-", "‑": "-", "−": "-"})


class Token(NamedTuple):
    """One word or mark in its plain form, and the characters of the original text that it stands for."""

    text: str
    start: int
    end: int


def base(language: str) -> str:
    """Return the language of a tag such as `en`, `en-GB` or `zh-Hant`: one of `LANGUAGES`.

    Raises:
        UserError: another language.
    """
    found = language.lower().replace("_", "-").split("-", 1)[0]
    if found not in LANGUAGES:
        raise UserError(f"texts in '{language}' cannot be read; choose one of {', '.join(LANGUAGES)}")
    return found


def words(text: str, language: str) -> list[str]:
    """Return the words of a text, as they are written. A hyphenated word is one, and so is a Chinese character.

    Raises:
        UserError: a language that is none of `LANGUAGES`.
    """
    base(language)
    return _WORD.findall(text)


def tokens(text: str, variants: Mapping[str, str]) -> list[Token]:
    """Return words and marks in plain form: NFKC, case folded, straight quotes, characters replaced by their variants.

    Unlike in `words`, hyphens inside a word part it and are left out, and so is `'s` a token of its own: both halves
    can then be found. A hyphen or dash between spaces becomes `–`.
    """
    plain, places = _plain(text, variants)
    found = []
    for match in _PIECE.finditer(plain):
        piece, start, end = match.group(), match.start(), match.end()
        if piece == "-":
            if plain[start - 1 : start].isalnum() and plain[end : end + 1].isalnum():
                continue
            piece = "–"
        found.append(Token(piece, places[start], places[end - 1] + 1))
    return found


def _plain(text: str, variants: Mapping[str, str]) -> tuple[str, list[int]]:
    """Return the plain form, and for each of its characters the index in `text` of the one that it comes from."""
    pieces, places = [], []
    for place, character in enumerate(text):
        plain = unicodedata.normalize("NFKC", character.translate(_PLAIN)).casefold()
        plain = "".join(variants.get(c, c) for c in plain)
        pieces.append(plain)
        places.extend([place] * len(plain))
    return "".join(pieces), places


def printable(text: str) -> str:
    """Return a stranger's text so that it cannot steer a terminal: what is not printed is escaped, line ends too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, letters: int) -> str:
    """Return a text, cut where it is longer than that."""
    return text if len(text) <= letters else text[: letters - 1] + "…"
