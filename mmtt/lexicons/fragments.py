"""Fragments: the stretches of a text between marks and conjunctions, and what each says by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from mmtt.lexicons.cues import CUES, FINE, NEGATIONS, UNSAID, WRONG, following, part_after, weigh
from mmtt.lexicons.vocabulary import EVERY, PAIR, PART, SIDE, TRAP, WORD, Item

# What parts fragments, the weakest first.
LINKS = ("comma", "and", "or", "clause", "colon", "contrast", "concession", "question", "sentence")
_LONGEST = 100  # items; what has no mark for so long is no sentence, and must not take quadratic time
_EXCEPTIONS = ("except", "unlike", "compared")
_SUBJECTLESS = ("filler", "definite", "attribute", "pronoun", "mine", "same", "including", "spoils", SIDE, PAIR)


@dataclass
class Fragment:
    """A stretch of a text, and what it says by itself.

    link: the strongest of what stands before it. places: of its items in the text. conceding: "although" is before it.
    sign: FINE, WRONG, UNSAID, or None where it does not say. fixed: signs of single parts, by their place in `items`.
    excepting, excepted: how and which parts are taken out of what is said ("all but the nose").
    listed: its parts only stand in a list. leading: its cue comes before its parts. negating: a negation is still
    open at its end.
    """

    link: str
    items: list[Item] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    conceding: bool = False
    sign: int | None = None
    fixed: dict[int, int] = field(default_factory=dict)
    excepting: str = ""
    excepted: tuple[int, ...] = ()
    listed: bool = False
    leading: bool = False
    negating: bool = False

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The tags of its items."""
        return tuple(item.tag for item in self.items)

    @cached_property
    def parts(self) -> tuple[int, ...]:
        """Where in it the parts of the face are."""
        return tuple(at for at, tag in enumerate(self.tags) if tag == PART)

    def has(self, *tags: str) -> bool:
        """Whether an item with one of the tags is in it."""
        return any(tag in tags for tag in self.tags)

    @property
    def negates(self) -> bool:
        """Whether a negation is in it."""
        return self.has(*NEGATIONS)

    @cached_property
    def stated(self) -> bool:
        """Whether something is said of its parts, or of none: a word after the first that does not describe another."""
        tail = self.tags[self.parts[0] + 1 :] if self.parts else self.tags
        return any(tag in (WORD, TRAP) and after != PART for tag, after in pairwise((*tail, "")))

    @cached_property
    def exists(self) -> bool:
        """Whether it says that something is at its first part ("a line on the nose")."""
        head = self.tags[: self.parts[0]] if self.parts else ()
        named = next((at for at, tag in enumerate(head) if tag in (WORD, TRAP, "attribute")), len(head))
        return any(tag in ("preposition", "direction") for tag in head[named:])

    @cached_property
    def bare(self) -> bool:
        """Whether its cue, or a negation, comes without a subject of its own ("and natural")."""
        return next((tag in (*CUES, *NEGATIONS) for tag in self.tags if tag not in _SUBJECTLESS), False)

    @cached_property
    def of_all(self) -> bool:
        """Whether it speaks of all that was named: "both are natural"."""
        return any(item.tag == PAIR or EVERY in item.values for item in self.items)

    @cached_property
    def adjoined(self) -> bool:
        """Whether it goes on about a subject from before: "… but blurred at the chin"."""
        head = self.tags[: self.parts[0]] if self.parts else ()
        begun = bool(head) and head[0] in (WORD, *CUES, *NEGATIONS)
        return begun and any(tag in ("preposition", "direction") for tag in head) and "other" not in head

    @cached_property
    def last(self) -> str:
        """The tag of its last item that is no article or the like."""
        return next((tag for tag in reversed(self.tags) if tag not in ("filler", "definite")), "")

    @property
    def same(self) -> bool:
        """Whether it says "so is this one"."""
        return self.has("same") or self.last == "excess"

    @property
    def elliptic(self) -> bool:
        """Whether it breaks off after a negation: "the nose is not"."""
        return self.last in ("negation", "absence", "undone")


def cut(items: Sequence[Item]) -> list[Fragment]:
    """Cut a text into fragments, each with what it says by itself."""
    fragments = [fragment for fragment in _split(items) if fragment.items]
    for fragment in fragments:
        _judge(fragment)
    for before, fragment in pairwise(fragments):
        _negate(before, fragment)
        if fragment.link == "question":  # "The nose? Nothing wrong."
            fragment.link = "colon" if before.listed else "sentence"
    return fragments


def _split(items: Sequence[Item]) -> list[Fragment]:
    found = [Fragment("sentence")]
    for place, item in enumerate(items):
        link = item.tag in LINKS
        if found[-1].items and (link or len(found[-1].items) >= _LONGEST):
            found.append(Fragment("comma"))
        if link:
            found[-1].link = max(found[-1].link, item.tag, key=LINKS.index)
            found[-1].conceding |= item.tag == "concession"
        else:
            found[-1].items.append(item)
            found[-1].places.append(place)
    return found


def _judge(fragment: Fragment, *, negated: bool = False) -> None:
    cues, fragment.negating = weigh(fragment.items, negated=negated)
    own = _except(fragment, cues)
    if cues:
        fragment.sign = _verdict(fragment, own or cues)
    elif fragment.has("hidden"):
        fragment.sign = UNSAID
    elif fragment.has("nothing"):
        fragment.sign = FINE
    _rule_out(fragment)
    if fragment.parts:
        first, rest = fragment.parts[0], fragment.tags[fragment.parts[0] :]
        fragment.leading = min(cues, default=first) < first
        told = fragment.stated or fragment.exists or any(tag in NEGATIONS for tag in rest)
        fragment.listed = fragment.sign is None and not (told or fragment.excepting or fragment.fixed)


def _verdict(fragment: Fragment, cues: Mapping[int, int]) -> int:
    return WRONG if WRONG in cues.values() and not fragment.has("cleared") else FINE


def _negate(before: Fragment, fragment: Fragment) -> None:
    """Carry a negation over "or": "no blur or seam", "neither the nose nor the mouth looks odd"."""
    if not before.negating or fragment.negates:
        return
    if fragment.link == "or" and (fragment.parts or not before.parts or before.sign is not None):
        _judge(fragment, negated=True)
    elif fragment.link == "comma" and fragment.listed and before.listed:
        fragment.negating = True


def _except(fragment: Fragment, cues: Mapping[int, int]) -> dict[int, int]:
    """Note which parts are taken out, and return the cues before that ("fine except that the chin is blurred").

    Before the statement, they are those up to "everything", or the first; after it all, with cues of their own.
    """
    at = next((at for at, tag in enumerate(fragment.tags) if tag in _EXCEPTIONS), None)
    if at is None:
        return {}
    fragment.excepting = fragment.tags[at]
    after = tuple(part for part in fragment.parts if part > at)
    before = {place: sign for place, sign in cues.items() if place < at}
    later = {place: sign for place, sign in cues.items() if place > at}
    if not before and after == fragment.parts:
        rest = next((place for place in range(at, len(fragment.tags)) if fragment.tags[place] == "rest"), None)
        after = after[:1] if rest is None else tuple(part for part in after if part < rest)
    elif before and later:
        fragment.fixed |= dict.fromkeys(after, _verdict(fragment, later))
    fragment.excepted = after
    return before


def _rule_out(fragment: Fragment) -> None:
    """Fix parts that are only ruled out ("not the nose") or that only say where ("all above the nose is fine")."""
    for at, tag in enumerate(fragment.tags):
        if tag in ("denies", "instead"):
            part = part_after(fragment.items, at, "preposition")
            fragment.fixed |= {part: FINE} if part is not None else {}
        elif tag == "rest" and fragment.sign == FINE:
            place = following(fragment.items, at, "filler")
            if place is not None and fragment.tags[place] == "preposition":
                part = part_after(fragment.items, place)
                fragment.fixed |= {part: UNSAID} if part is not None else {}
