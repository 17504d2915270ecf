"""Vocabulary: the phrases of `<language>.yaml` beside this module, found in a text by longest match.

In an entry, `(x)` is x or nothing and `(x|y)` one of them; parentheses may hold others.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from mmtt.words import Token, tokens

WORD = "word"  # the tag of what no entry names
PART = "part"
SIDE = "side"
PAIR = "pair"  # a side only right before its part: "both eyes"
TRAP = "trap"

_GROUP = re.compile(r"\(([^()]*)\)")  # an innermost one


class Item(NamedTuple):
    """One phrase of a text: what it is, what it stands for, and which characters it covers.

    tag: `part`, `side`, `pair`, `trap`, `word`, or the name of a list among the lexicon's cues and marks.
    values: the regions of a part, the side of a side or pair, `every` of "all"; else empty.
    side: the side of a part, where one is said.
    """

    tag: str
    values: tuple[str, ...]
    start: int
    end: int
    side: str | None = None


class Meaning(NamedTuple):
    """What a phrase is; `values` as in `Item`."""

    tag: str
    values: tuple[str, ...] = ()


EVERY = "every"
# Lists that are no tags of their own: those of ordinary words are there only so that what they contain is not found.
_LISTED = {"plain": Meaning(WORD), "no_negation": Meaning(WORD), EVERY: Meaning("filler", (EVERY,))}


class Node:
    """A node of the tree of phrases: what the words so far mean, and where the next one leads."""

    __slots__ = ("after", "meaning")

    def __init__(self) -> None:
        self.after: dict[str, Node] = {}
        self.meaning: Meaning | None = None


def expand(entry: str) -> Iterator[str]:
    """Yield every phrase that an entry stands for: `lip(s)` is lip and lips, `(a|b) c` is a c and b c."""
    group = _GROUP.search(entry)
    if group is None:
        yield entry
        return
    for choice in group[1].split("|") if "|" in group[1] else (group[1], ""):
        yield from expand(entry[: group.start()] + choice + entry[group.end() :])


@cache
def lexicon(language: str) -> Mapping[str, Any]:
    """Return the lexicon of a language as it is written; every scalar is text."""
    source = files(__package__).joinpath(f"{language}.yaml").read_text(encoding="utf-8")
    return MappingProxyType(yaml.load(source, Loader=yaml.BaseLoader))  # `no` and `on` are words here


def entries(language: str) -> Iterator[tuple[str, Meaning]]:
    """Yield every entry of a lexicon with its meaning."""
    written = lexicon(language)
    for region, phrases in written["regions"].items():
        yield from ((phrase, Meaning(PART, (region,))) for phrase in phrases)
    yield from ((row["phrase"], Meaning(PART, tuple(row["regions"]))) for row in written["joined"])
    for side, phrases in written["sides"].items():
        yield from ((phrase, Meaning(SIDE, (side,))) for phrase in phrases)
    yield from ((phrase, Meaning(PAIR, ("both",))) for phrase in written["pairs"])
    yield from ((phrase, Meaning(TRAP)) for phrase in written["traps"])
    yield from ((phrase, Meaning(WORD)) for phrase in written["no_side"])
    for tag, phrases in (written["cues"] | written["marks"]).items():
        yield from ((phrase, _LISTED.get(tag, Meaning(tag))) for phrase in phrases)


@cache
def variants(language: str) -> Mapping[str, str]:
    """Return the characters that a language writes in two ways, each with the one that the entries use."""
    return MappingProxyType(dict(zip(*lexicon(language)["variants"], strict=True)))


@cache
def tree(language: str) -> Node:
    """Return the phrases of a language as a tree of words."""
    root = Node()
    for entry, meaning in entries(language):
        for phrase in expand(entry):
            node = root
            for token in tokens(phrase, variants(language)):
                node = node.after.setdefault(token.text, Node())
            node.meaning = meaning
    return root


def read(text: str, language: str) -> list[Item]:
    """Return a text as phrases, from left to right, the longest first.

    A trap right after a side is none (右眼下), nor one in whose midst a longer part begins (过眼 in 穿过眼睛).
    """
    root, pieces = tree(language), tokens(text, variants(language))
    found: list[Item] = []
    place = 0
    while place < len(pieces):
        length, meaning = _longest(pieces, place, root)
        if meaning.tag == TRAP:
            beside = bool(found) and found[-1].tag in (SIDE, PAIR) and found[-1].end == pieces[place].start
            if beside or _cuts_a_part(pieces, place, length, root):
                length, meaning = _longest(pieces, place, root, traps=False)
        found.append(Item(*meaning, pieces[place].start, pieces[place + length - 1].end))
        place += length
    return found


def _longest(pieces: Sequence[Token], place: int, node: Node, *, traps: bool = True) -> tuple[int, Meaning]:
    best = (1, Meaning(WORD))
    for until in range(place, len(pieces)):
        following = node.after.get(pieces[until].text)
        if following is None:
            break
        node = following
        if node.meaning is not None and (traps or node.meaning.tag != TRAP):
            best = (until + 1 - place, node.meaning)
    return best


def _cuts_a_part(pieces: Sequence[Token], place: int, length: int, root: Node) -> bool:
    for start in range(place + 1, place + length):
        inner, meaning = _longest(pieces, start, root, traps=False)
        if meaning.tag == PART and start + inner > place + length:
            return True
    return False
