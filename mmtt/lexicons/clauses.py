"""Clauses: whether a text says of each part that it is wrong or that it is fine.

A text is cut into fragments at marks and conjunctions, and each says something by itself (`fragments`, `cues`). Parts
that only are listed take what their list leads to; a fragment without parts speaks of those before it. A part of which
nothing is said is claimed to be wrong: people name what they doubt.
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from mmtt.lexicons.cues import FINE, NEGATIONS, UNSAID, WRONG
from mmtt.lexicons.fragments import Fragment, cut
from mmtt.lexicons.vocabulary import Item

_LISTING = ("comma", "or", "and", "colon")
_TURNING = ("contrast", "concession", "clause")
_SUBJECTS = 50  # of one predicate; a longer list is no report, and must not take quadratic time


def signs(items: Sequence[Item]) -> dict[int, int]:
    """Return for each part, by its place in the items, what is said of it: FINE, WRONG, or UNSAID."""
    fragments = cut(items)
    _spread_exceptions(fragments)
    _take_from_what_follows(fragments)
    _take_from_what_precedes(fragments)
    _leave_out_descriptions(fragments)
    said: dict[int, int] = {}
    for fragment in fragments:
        for at in fragment.parts:
            sign = fragment.fixed.get(at, fragment.sign)
            said[fragment.places[at]] = WRONG if sign is None else sign
    return said


def _spread_exceptions(fragments: Sequence[Fragment]) -> None:
    """Take what is listed after "except the nose" out as well."""
    for before, fragment in pairwise(fragments):
        links = ("and", "or") if before.sign is None else _LISTING
        last = before.parts[-1] if before.parts else None
        if last in before.excepted and fragment.listed and fragment.link in links:
            fragment.excepting, fragment.excepted, fragment.listed = before.excepting, fragment.parts, False


def _take_from_what_follows(fragments: Sequence[Fragment]) -> None:
    """Give listed parts the sign of the fragment that their list leads to, and what is taken out its contrary."""
    carried: int | None = None
    for fragment in reversed(fragments):
        if fragment.listed and carried is not None:
            fragment.sign = carried
        if fragment.excepting:
            _take_out(fragment, carried)
        carried = _passed_on(fragment, carried) if fragment.link in _LISTING else None


def _passed_on(fragment: Fragment, carried: int | None) -> int | None:
    if fragment.listed or fragment.excepting:
        return carried
    if fragment.parts:
        return None if fragment.leading else fragment.sign
    if fragment.sign is not None:
        return fragment.sign if not fragment.has("rest") or fragment.link == "and" else None
    return carried if len(fragment.items) <= 3 else None


def _take_out(fragment: Fragment, carried: int | None) -> None:
    said = carried if fragment.sign is None else fragment.sign
    turned = {
        "unlike": said != FINE,
        "except": said == WRONG and fragment.has("rest", "nothing"),
    }.get(fragment.excepting, False)
    for at in fragment.excepted:
        fragment.fixed.setdefault(at, FINE if turned else WRONG)
    if fragment.excepting == "except" and not fragment.excepted and fragment.sign == FINE and not fragment.has("other"):
        fragment.sign = WRONG  # "fine apart from its colour"


def _take_from_what_precedes(fragments: Sequence[Fragment]) -> None:
    """Let fragments without parts speak of those before, and lists and "so are …" follow them."""
    sentence: deque[Fragment] = deque(maxlen=_SUBJECTS)  # all of the sentence that have parts
    subjects: deque[Fragment] = deque(maxlen=_SUBJECTS)  # those that the last predicate was said of, however long ago
    former: Fragment | None = None
    before: Fragment | None = None  # in the same sentence
    for fragment in fragments:
        if fragment.link == "sentence":
            before = None
            sentence.clear()
        if fragment.parts:
            _answer(fragment, before)
            _follow(fragment, before, subjects)
            if subjects and (before is None or not before.listed):
                former = subjects[-1]
                subjects.clear()
            subjects.append(fragment)
            sentence.append(fragment)
        elif not fragment.has("rest") and (sentence or fragment.has("pronoun")):
            _say_of(sentence if fragment.of_all and sentence else subjects, fragment, former)
        before = fragment


def _answer(fragment: Fragment, before: Fragment | None) -> None:
    """Take up the negation, or the subject, of the fragment before."""
    listed = fragment.link == "or" and fragment.listed
    if before is not None and listed and before.fixed and set(before.fixed.values()) == {FINE}:
        fragment.fixed = dict.fromkeys(fragment.parts, FINE)  # "it is neither the nose nor the mouth"
    if before is None or before.sign != FINE:
        return
    start = fragment.tags[0]
    if before.negates and fragment.sign is None and (start in NEGATIONS or listed):
        fragment.sign = FINE  # "no blur, neither at the eyes nor …"
    elif start == "denies":
        fragment.fixed.update(dict.fromkeys(fragment.fixed, WRONG))  # "fine on the chin but not on the nose"
        _take_back(before)
    elif fragment.link == "contrast" and fragment.sign != FINE and fragment.adjoined:
        _take_back(before)


def _take_back(fragment: Fragment) -> None:
    if fragment.parts:
        fragment.fixed[fragment.parts[0]] = WRONG


def _follow(fragment: Fragment, before: Fragment | None, subjects: Sequence[Fragment]) -> None:
    if fragment.sign is not None or fragment.excepting:
        return
    if subjects and fragment.same:
        fragment.sign = subjects[-1].sign
    elif subjects and fragment.elliptic:
        fragment.sign = _mirrored(subjects[-1], fragment)
    elif fragment.listed and before is not None and before.sign == FINE and fragment.link in _LISTING:
        announced = fragment.link == "colon" or fragment.has("including")
        if before.leading if before.parts else announced:
            fragment.sign, fragment.leading = FINE, True


def _mirrored(subject: Fragment, fragment: Fragment) -> int | None:
    """Return what a fragment says that breaks off after "not": "the nose is altered, the chin isn't"."""
    if subject.sign == FINE:
        return FINE if subject.negates else WRONG
    denied = fragment.has("undone") or (fragment.has("negation") and subject.sign == WRONG)
    return FINE if denied and not subject.negates else None


def _say_of(subjects: Sequence[Fragment], fragment: Fragment, former: Fragment | None) -> None:
    """Let a fragment without parts speak of its subjects. What was said to be wrong stays wrong, unless conceded."""
    sign, own = fragment.sign, fragment.bare or fragment.has("pronoun")
    alone = fragment.elliptic and not fragment.stated and fragment.link != "clause"
    if sign is None and alone and former is not None and subjects[-1].listed:
        sign, own = _mirrored(former, fragment), True  # "…; the chin, however, is not"
    elif sign is None and fragment.link == "contrast" and (fragment.has("pronoun") or fragment.negates):
        sign = WRONG  # "fine, but it floats"
    if sign == WRONG and (own or fragment.link in _TURNING) and not fragment.has("other"):
        for subject in subjects:
            subject.sign = WRONG
    elif (sign == FINE and own) or sign == UNSAID:
        for subject in subjects:
            conceded = subject.conceding and fragment.link in ("comma", "contrast")
            if subject.sign != WRONG or (sign == FINE and (conceded or fragment.has("cleared"))):
                subject.sign = sign if subject.sign is None or sign == FINE else subject.sign


def _leave_out_descriptions(fragments: Sequence[Fragment]) -> None:
    """Say nothing of the parts of "a man with a beard" where the sentence has nothing else to say."""
    sentence: list[Fragment] = []
    for fragment in [*fragments, Fragment("sentence")]:
        if fragment.link == "sentence":
            if any(told.has("described") for told in sentence) and all(_quiet(told) for told in sentence):
                for told in sentence:
                    told.sign = UNSAID
            sentence = []
        sentence.append(fragment)


def _quiet(fragment: Fragment) -> bool:
    return fragment.sign is None and not fragment.stated and not fragment.negating and fragment.link not in _TURNING
