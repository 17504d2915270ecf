"""Sides: which part "left", "right" and "both" belong to, and which one "the left one" and "the ones" stand for."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmtt.lexicons.fragments import LINKS
from mmtt.lexicons.vocabulary import PAIR, PART, SIDE, WORD, Item

_BETWEEN = ("filler", "definite", "attribute", WORD)
_REACH = 6  # items between a side and its part


@dataclass
class _Memory:
    """Which parts were named: the last one, the last and first of this sentence, the first of the one before."""

    last: Item | None = None
    here: Item | None = None
    first: Item | None = None
    before: Item | None = None
    side: str | None = None  # said of the next part
    elsewhere: bool = False  # something else was named since, to which a side may belong

    def note(self, part: Item, *, joined: bool) -> None:
        """Remember a part; of two that are joined ("chin dimple") the second is the one that is meant."""
        self.first = part if self.first is None or (joined and self.first is self.last) else self.first
        self.last = self.here = part
        self.side, self.elsewhere = None, False

    def end_sentence(self) -> None:
        """Forget what only holds within a sentence."""
        self.before, self.here, self.first, self.side = self.first or self.before, None, None, None
        self.elsewhere = False


def recall(items: Sequence[Item]) -> list[Item]:
    """Give parts their sides, and turn "the left one" and "the ones" into the part that is meant.

    A side that no part follows belongs to the last part of the sentence, else, set off by a mark, to the next one. The
    writer's own parts ("my eyes") become ordinary words.
    """
    memory, found = _Memory(), []
    for place, item in enumerate(items):
        before = items[place - 1].tag if place else "sentence"
        after = items[place + 1].tag if place + 1 < len(items) else "sentence"
        if item.tag in ("sentence", "question"):
            memory.end_sentence()
        elif item.tag == "other" or item.tag in LINKS:
            memory.elsewhere = item.tag == "other"
        elif item.tag == PART and before == "mine":
            item = item._replace(tag=WORD, values=())
        elif item.tag == PART:
            item = item._replace(side=_side_before(items, place) or memory.side)
            memory.note(item, joined=before == PART)
        elif item.tag == SIDE and _alone(items, place, before, after) and not memory.elsewhere:
            item = _one_sided(item, memory, named=before == "definite", set_off=after in ("comma", "colon"))
        elif item.tag == "again" and before in LINKS and (meant := memory.first or memory.before):
            item = item._replace(tag=PART, values=meant.values)
        found.append(item)
    return found


def _alone(items: Sequence[Item], place: int, before: str, after: str) -> bool:
    """Whether a side is no direction ("from the left", "bent left", "right below"), and no part that it has follows."""
    adverb = after == "preposition" and before not in (PART, "definite", "preposition")
    article = before == "definite" and place > 1
    if adverb or (items[place - 2].tag if article else before) in ("direction", "fault"):
        return False
    ahead = next((at for at in range(place + 1, min(place + 1 + _REACH, len(items))) if items[at].tag == PART), None)
    return ahead is None or not _near(items, place, ahead)


def _near(items: Sequence[Item], side: int, part: int) -> bool:
    between = [item.tag for item in items[side + 1 : part]]
    return all(tag in _BETWEEN for tag in between) and between.count(WORD) <= 2


def _one_sided(item: Item, memory: _Memory, *, named: bool, set_off: bool) -> Item:
    meant = memory.here or (memory.last if named else None)
    if meant is None:
        memory.side = item.values[0] if set_off else None
        return item
    return item._replace(tag=PART, values=meant.values, side=item.values[0])


def _side_before(items: Sequence[Item], part: int) -> str | None:
    for place in range(part - 1, max(part - 1 - _REACH, -1), -1):
        if items[place].tag == SIDE and _near(items, place, part):
            return items[place].values[0]
        between = [item.tag for item in items[place + 1 : part]]
        if items[place].tag == PAIR and all(tag in ("filler", "definite") for tag in between):
            return None if "definite" in between and _joined(items, part) else "both"
    return None


def _joined(items: Sequence[Item], part: int) -> bool:
    """Whether another part is joined by "and": "both the nose and the mouth" says no side."""
    tags = [item.tag for item in items[part + 1 : part + 4] if item.tag not in ("filler", "definite")]
    return tags[:2] == ["and", PART]
