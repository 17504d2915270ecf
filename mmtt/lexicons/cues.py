"""Cues: what single phrases say of the parts beside them, "fine" or "wrong", once negations are counted.

"No seam" is fine and "not natural" is wrong; "no pores" names something absent, and says neither by itself.
"""

from collections.abc import Sequence

from mmtt.lexicons.vocabulary import PART, SIDE, TRAP, WORD, Item

FINE, WRONG, UNSAID = 1, -1, 0

NEGATIONS = ("negation", "absence", "unseen", "denies", "undone", "nothing")
CUES = (
    "fine", "fine_predicate", "fine_at_end", "fine_alone", "clear", "cleared",
    "wrong", "fault", "fault_if_denied", "trace", "excess",
)  # fmt: skip
_SIGNS = {"clear": FINE, "cleared": FINE, "fine_alone": FINE, "wrong": WRONG, "fault": WRONG}


def weigh(items: Sequence[Item], *, negated: bool) -> tuple[dict[int, int], bool]:
    """Return what each cue says (FINE or WRONG), by its place, and whether a negation is open at the end.

    negated: whether one is open at the start.
    """
    found: dict[int, int] = {}
    for at, item in enumerate(items):
        if item.tag in NEGATIONS:
            negated = not negated and not (item.tag == "absence" and _names_the_absent(items, at))
        elif item.tag == "fault_if_denied":
            found |= {at: FINE} if negated else {}
        elif (sign := _says(items, at)) is not None:
            turned = negated and item.tag != "wrong" and not _definite(items, at)
            found[at] = -sign if turned else sign
    if any(items[at].tag != "fine_alone" for at in found):
        found = {at: sign for at, sign in found.items() if items[at].tag != "fine_alone"}
    return found, negated


def following(items: Sequence[Item], at: int, *skipped: str) -> int | None:
    """Return where the next item is whose tag is none of `skipped`."""
    return next((place for place in range(at + 1, len(items)) if items[place].tag not in skipped), None)


def part_after(items: Sequence[Item], at: int, *skipped: str) -> int | None:
    """Return where the part is that follows, with at most articles, sides and `skipped` between."""
    place = following(items, at, "filler", "definite", SIDE, *skipped)
    return place if place is not None and items[place].tag == PART else None


def _says(items: Sequence[Item], at: int) -> int | None:
    tag = items[at].tag
    if tag in _SIGNS:
        return _SIGNS[tag]
    if tag == "trace":
        return WRONG if part_after(items, at) is None else None
    if tag == "excess":  # as the last word, "too" is "as well"
        return WRONG if following(items, at, "filler", "definite") is not None else None
    return _approves(items, at) if tag in ("fine", "fine_predicate", "fine_at_end") else None


def _approves(items: Sequence[Item], at: int) -> int | None:
    before = next((items[place].tag for place in range(at - 1, -1, -1) if items[place].tag != "filler"), "")
    if before in ("spoils", "excess") or any(item.tag == "compares" for item in items[:at]):
        return WRONG
    after = following(items, at, "filler")
    if after is None:
        return FINE
    if items[at].tag == "fine_at_end":
        return None
    if items[at].tag == "fine_predicate":
        return None if items[after].tag in (WORD, TRAP, PART, "attribute", "fine", "fault") else FINE
    return FINE if _predicated(items, at, after) else None


def _predicated(items: Sequence[Item], at: int, after: int) -> bool:
    """Whether "natural" states something, and does not just belong to a name ("real hair does not do that")."""
    nouns = ("attribute", WORD)
    noun = after
    while items[noun].tag in nouns and noun + 1 < len(items) and items[noun + 1].tag in (PART, "attribute"):
        noun += 1
    if items[noun].tag not in (PART, "attribute") or any(item.tag in NEGATIONS for item in items[:at]):
        return True
    stated = any(item.tag in (WORD, TRAP) for item in items[noun + 1 :])
    placed = items[noun].tag == PART and any(item.tag == "preposition" for item in items[max(at - 2, 0) : at])
    return not stated and not placed


def _names_the_absent(items: Sequence[Item], at: int) -> bool:
    """Whether a negation is of a part itself: "no pores on the blurred cheek", but not "no tooth is blurred"."""
    part = part_after(items, at, "trace")
    after = following(items, part, "filler", SIDE) if part is not None else None
    return after is not None and items[after].tag not in (*CUES, WORD, "attribute")


def _definite(items: Sequence[Item], at: int) -> bool:
    """Whether a cue belongs to a part that is known: "does not reach the blurred cheek"."""
    return items[max(at - 1, 0)].tag == "definite" and at + 1 < len(items) and items[at + 1].tag == PART
