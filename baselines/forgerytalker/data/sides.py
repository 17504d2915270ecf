"""Sides: a text about a mirrored picture. The subject's left and the viewer's left both become right.

"Right" also means correct, and "left" is also a verb. A word is exchanged only where its phrase shows that a side is
meant, and a text of which one word does not show it is given up: a picture that is not mirrored costs nothing, a text
that says the wrong side teaches it. What was exchanged is read again with the lexicon: the same parts, other sides.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mmtt.lexicon import claimed, sides
from mmtt.lexicons.vocabulary import PART, SIDE, Item, read
from mmtt.words import base

_OTHER = {"left": "right", "right": "left", "左": "右", "右": "左"}
_ENGLISH = re.compile(r"(?<![^\W_])(left|right)(-hand(?:ed)?|-sided?|-?most|-?wards?)?(?![^\W_])", re.IGNORECASE)
# What turns in a mirror but is no side, and sides that are written in another way.
_TURNS = re.compile(
    r"clockwise|\bo['’]clock\b(?! shadow)|\b[LR]\b|right[- ]side[- ](?:up|out|down)"
    r"|顺时针|逆时针|順時針|逆時針|[点點][钟鐘]"
)
_DIRECTION = re.compile(r"(?:to|from)\b.*\b(?:left|right)(?: of)?|(?:left|right) to (?:left|right)", re.IGNORECASE)


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_OWNERS = _words("the a an his her its their my your our this that one each")
_PLACES = _words(
    "upper lower outer inner top bottom far mid middle on at of to toward towards from near around under above below",
    "beside behind between along across over whole entire",
)
_NOUNS = _words(
    "side sides half halves corner corners edge edges portion end third quarter wing wings lens lenses profile border",
    "rim boundary contour outline",
)
# After "the right": it ends there, so that it stands for a part ("the left eye is sharp, the right is not").
_ENDS = _words(
    "is are was were has have does do looks look seems appears of and or but yet than while which although just only",
    "by with . , ; : ! ? )",
) | {""}
_MEASURES = _words(
    "color colour shape size tone length number count proportion proportions position form width thickness amount",
    "height distance angle",
)
_PAIRED = _words("eye pupil ear cheek eyebrow jaw")
_SIDED = _words("nostril nostrils temple dimple canine incisor molar")
_CHECKS = _words("is are was were be been not isn't aren't wasn't just exactly quite")
_POINTS = _words("on at to from toward towards")


class _Near(NamedTuple):
    """Words and marks around a side, in lower case; "" beyond the text."""

    two_before: str
    before: str
    after: str
    two_after: str


def mirrored(text: str, language: str) -> str | None:
    """Return a text with left and right exchanged; None where that cannot be done safely.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
    """
    made = _chinese(text) if base(language) == "zh" else _english(text)
    if made is None or made == text:
        return made
    swapped = {region: _OTHER.get(side, side) for region, side in sides(text, language).items()}
    same = claimed(made, language) == claimed(text, language) and sides(made, language) == swapped
    return made if same else None


def _english(text: str) -> str | None:
    found = list(_ENGLISH.finditer(text))
    items = read(text, "en")
    if found and (_TURNS.search(text) or not all(_means_a_side(text, items, match) for match in found)):
        return None
    return _ENGLISH.sub(lambda match: _like(match[1]) + (match[2] or ""), text)


def _like(word: str) -> str:
    other = _OTHER[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def _item_at(items: Sequence[Item], place: int) -> int:
    return next(at for at, item in enumerate(items) if item.start <= place < item.end)


def _means_a_side(text: str, items: Sequence[Item], match: re.Match[str]) -> bool:
    at = _item_at(items, match.start())
    item = items[at]
    if item.tag == PART or (item.tag == SIDE and item.values == ("both",)):
        return True  # "the hair of the left eyebrow", "left and right"
    direction = bool(_DIRECTION.fullmatch(text[item.start : item.end]))
    if item.tag != SIDE and not direction:
        return False
    if match[2]:
        return True
    near = _near(text, match)
    following = items[at + 1] if at + 1 < len(items) else None
    part = following if following and following.tag == PART else None
    if match[1].lower() == "left":
        return _left(near, part) or direction
    return _right(near, part, text) and near.two_after not in _MEASURES


def _near(text: str, match: re.Match[str]) -> _Near:
    pieces = re.compile(r"[^\W_]+(?:['’][^\W_]+)*['’]?|[^\w\s'’\"“”-]")
    before = [piece.lower().replace("’", "'") for piece in pieces.findall(text[: match.start()])][-2:]
    after = [piece.lower() for piece in pieces.findall(text[match.end() :])][:2]
    before, after = [""] * (2 - len(before)) + before, after + [""] * (2 - len(after))
    return _Near(*before, *after)


def _owned(word: str) -> bool:
    return word in _OWNERS or word.endswith(("'s", "s'"))


def _starts(word: str) -> bool:
    """Whether a phrase begins after this: a mark, the text's start, or a joining "and"."""
    return not word or not word[0].isalnum()


def _left(near: _Near, part: Item | None) -> bool:
    named = part is not None or near.after in _NOUNS
    return _owned(near.before) or near.before in _PLACES or (_starts(near.before) and named)


def _right(near: _Near, part: Item | None, text: str) -> bool:
    """Whether "right" is a side: beside a word that has sides, or alone where it cannot be praise."""
    sided = part is not None and bool(_PAIRED.intersection(part.values) or near.after in _SIDED)
    named = sided or near.after in _NOUNS or (part is not None and near.two_after in _NOUNS)
    begins = _starts(near.before) or near.before in {"and", "or"} | _PLACES
    if named and begins:
        return True
    if not (_owned(near.before) or near.before in _PLACES) or near.two_before in _CHECKS:
        return False
    pointed = near.before in _PLACES or near.two_before in _POINTS
    contrasted = re.search(r"\bleft\b", text, re.IGNORECASE) is not None
    return named or ((near.after in _ENDS or near.after == "one") and (pointed or contrasted))


_CHINESE_DIRECTION = re.compile(r"偏[向到]?[左右][侧边側邊]?|[从由從][左右][至到往向][左右]|[左右][上下前后後]?方")
_BOTH = "左右"


def _chinese(text: str) -> str | None:
    """左右 says both, or about; a mirror changes neither, unless the sides are then told apart one by one."""
    single = [match.start() for match in re.finditer("(?<!左)右|左(?!右)", text)]
    told_apart = _BOTH in text and re.search("分别|分別|依次|一左一右", text)
    if _TURNS.search(text) or told_apart or "右左" in text:
        return None
    items = read(text, "zh")
    for place in single:
        item = items[_item_at(items, place)]
        if item.tag not in (SIDE, PART) and not _CHINESE_DIRECTION.fullmatch(text[item.start : item.end]):
            return None
    swapped = set(single)
    return "".join(_OTHER[c] if place in swapped else c for place, c in enumerate(text))
