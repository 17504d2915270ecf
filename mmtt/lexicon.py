"""Lexicon: which parts of the face a report speaks of, which it says look wrong, which are fine, and on which side.

The words are data (`mmtt/lexicons/<language>.yaml`); how sentences are read is in the modules beside them. "Brow" is
the eyebrow, "buccal" the cheek, a hairline hair; a line is no wrinkle, and vision is no eye.
"""

from typing import NamedTuple

from mmtt.lexicons.clauses import signs
from mmtt.lexicons.cues import FINE, UNSAID
from mmtt.lexicons.sides import recall
from mmtt.lexicons.vocabulary import read
from mmtt.regions import REGIONS
from mmtt.words import base


class Mention(NamedTuple):
    """One place of a text where a part of the face is named, or meant ("the left one").

    region: one of `REGIONS`. start, end: characters of the text. side: `left`, `right`, `both`, or None where no side
    is said. denied: whether the text says that the part is fine there.
    """

    region: str
    start: int
    end: int
    side: str | None
    denied: bool


def mentions(text: str, language: str) -> tuple[Mention, ...]:
    """Return the parts of the face that a text speaks of, in its order; those of which it says nothing are left out.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
    """
    items = recall(read(text, base(language)))
    said = signs(items)
    return tuple(
        Mention(region, item.start, item.end, item.side, said[place] == FINE)
        for place, item in enumerate(items)
        if said.get(place, UNSAID) != UNSAID
        for region in item.values
    )


def claimed(text: str, language: str) -> tuple[str, ...]:
    """Return the regions that a text says look wrong, in the paper's order; also those that it calls fine elsewhere.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
    """
    found = {mention.region for mention in mentions(text, language) if not mention.denied}
    return tuple(region for region in REGIONS if region in found)


def denied(text: str, language: str) -> tuple[str, ...]:
    """Return the regions that a text only calls fine, in the paper's order.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
    """
    named = mentions(text, language)
    wrong = {mention.region for mention in named if not mention.denied}
    found = {mention.region for mention in named} - wrong
    return tuple(region for region in REGIONS if region in found)


def sides(text: str, language: str) -> dict[str, str]:
    """Return `left`, `right` or `both` for the claimed regions whose side is said, as it is written.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
    """
    found: dict[str, str] = {}
    for mention in mentions(text, language):
        if mention.side and not mention.denied:
            found[mention.region] = mention.side if found.get(mention.region, mention.side) == mention.side else "both"
    return {region: found[region] for region in REGIONS if region in found}
