"""Structure: what the interface asks for and cannot enforce, since a server accepts anything."""

import re
import unicodedata
from collections.abc import Iterator, Mapping

from mmtt.regions import REGIONS

from ..answers import Answer
from ..protocols import DIFFICULTIES, FALSE_POSITIVE, FLAGS, MATCHES, MINOR, VERDICTS, VISIBLE, StageName, View, stage
from .finding import Case, Effect, Found

# Nothing was written, or a template was left unfilled. Round brackets are people's own.
_NOTHING = re.compile(
    r"(?:todo|tbd|n/?a|none|null|test(?:ing)?|asdf\w*|x{2,}|placeholder|无|没有|测试|待填|待补充|略)?"
)
_UNFILLED = re.compile(
    r"""
    [\[<{【]\s?(?:todo|region|part|text|insert|your|部位|区域|文本|描述)[^\]>}】]{0,60}[\]>}】]
    | _{3,} | lorem\ ipsum | (?-i:\bTODO\b|\bXXX\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SPACES = {"U+0009", "U+000A", "U+000D", "U+200D", "U+FEFF"}
_MARKS = " \t\n.,;:!?-–—_…·*#'\"()。，；：！？、"


def structure(case: Case) -> Iterator[Found]:
    """Say what is missing in an answer, does not belong there, or is none of the choices."""
    for answer in case.answers:
        if answer.skipped:
            yield from _skipped(answer)
            continue
        faults = _verified(answer) if answer.stage == StageName.VERIFY else _judged(answer)
        for variant, detail in (*_strangers(answer), *_unprintable(answer), *faults):
            yield Found(answer, detail, variant=variant)


def _skipped(answer: Answer) -> Iterator[Found]:
    if not answer.flags and not answer.text.strip():
        yield Found(answer, "skipped without a reason", effect=Effect.TELL, variant="skipped")


def _strangers(answer: Answer) -> Iterator[tuple[str, str]]:
    """What no button of the interface sends."""
    known = FLAGS if answer.stage == StageName.DESCRIBE else (*FLAGS, FALSE_POSITIVE)
    found = sorted({*answer.regions, *answer.missed} - set(REGIONS)) + sorted(set(answer.flags) - set(known))
    if found:
        yield "stranger", f"none of the choices: {', '.join(map(repr, found))}"


def _unprintable(answer: Answer) -> Iterator[tuple[str, str]]:
    """Control and format characters: what turns a line around, rings a bell, or is not seen at all."""
    found = {f"U+{ord(c):04X}" for c in answer.text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")} - _SPACES
    if found:
        yield "unprintable", f"characters that nobody sees: {', '.join(sorted(found))}"


def _verified(answer: Answer) -> Iterator[tuple[str, str]]:
    if answer.match not in MATCHES:
        yield "missing", f"match is {answer.match!r}"


def _judged(answer: Answer) -> Iterator[tuple[str, str]]:
    if answer.verdict not in VERDICTS:
        yield "missing", f"verdict is {answer.verdict!r}"
    elif answer.verdict == VISIBLE:
        yield from _of_visible(answer)
    elif answer.regions or answer.text.strip():
        yield "superfluous", f"verdict {answer.verdict}, yet there are regions or a text"


def _of_visible(answer: Answer) -> Iterator[tuple[str, str]]:
    if not answer.regions:
        yield "regions", "visible, but no region is chosen"
    if not answer.text.strip():
        yield "text", "visible, but there is no text"
    elif _NOTHING.fullmatch(answer.text.strip(_MARKS).lower()) or _UNFILLED.search(answer.text):
        yield "placeholder", "the text is a placeholder, or holds one"
    if answer.stage == StageName.DESCRIBE and answer.difficulty not in range(1, DIFFICULTIES + 1):
        yield "difficulty", f"difficulty is {answer.difficulty!r}"


def minor(case: Case) -> Iterator[Found]:
    """Where somebody says that a record shows a minor, all that was said of it waits until a person has looked."""
    records = {answer.record_id for answer in case.answers if MINOR in answer.flags}
    for answer in case.answers:
        if answer.record_id in records:
            yield Found(answer, f"somebody says that record {answer.record_id} shows a minor")


def self_verified(case: Case) -> Iterator[Found]:
    """Say who judges their own work: who verifies their own report, or settles a dispute that they are part of."""
    authors = _authors(case)
    wrote = {(a.record_id, a.annotator) for a in case.described}
    verified = {(a.record_id, a.annotator) for a in case.answers if a.stage == StageName.VERIFY and not a.skipped}
    for answer in case.answers:
        who, settles = (answer.record_id, answer.annotator), answer.stage == StageName.ADJUDICATE
        verifies = answer.stage == StageName.VERIFY and authors.get(answer.about or "") == answer.annotator
        if verifies or (settles and who in wrote):
            yield Found(answer, "judges a report that they wrote themselves")
        elif settles and who in verified:
            yield Found(answer, "settles a dispute about a report that they verified")


def informed(case: Case) -> Iterator[Found]:
    """Say who described a record from the image alone, but had seen more of it: its mask, or another person's report.

    Whoever works over their own report was shown nothing but that; only the mask counts then.
    """
    authors = _authors(case)
    judged: set[tuple[str, str]] = set()
    read: set[tuple[str, str]] = set()
    for answer in case.answers:
        who = (answer.record_id, answer.annotator)
        if answer.stage != StageName.DESCRIBE:
            judged.add(who)  # even if it was skipped: the mask was on the screen
            continue
        taken = _is_anothers(answer, authors)
        knew_report = who in read and (taken or not answer.reworked)
        if (who in judged or knew_report) and not answer.skipped and _is_blind(answer):
            done = "verified or adjudicated" if who in judged else "worked over another person's report of"
            yield Found(answer, f"they had {done} this record before")
        if taken:
            read.add(who)


def anothers_rework(case: Case) -> Iterator[Found]:
    """Say which reports were worked over by somebody who did not write them."""
    authors = _authors(case)
    for answer in case.described:
        if _is_anothers(answer, authors):
            yield Found(answer, f"works over answer {answer.about}, which is {authors[answer.about or '']}'s")


def _authors(case: Case) -> dict[str, str]:
    return {answer.uid: answer.annotator for answer in case.answers}


def _is_anothers(answer: Answer, authors: Mapping[str, str]) -> bool:
    """Whether it works over an answer that another person gave; of one that is gone nobody knows."""
    return answer.reworked and authors.get(answer.about or "", answer.annotator) != answer.annotator


def _is_blind(answer: Answer) -> bool:
    return stage(answer.protocol, StageName.DESCRIBE).sees == (View.IMAGE,)


def tampered(case: Case) -> Iterator[Found]:
    """Say where the log noticed something that the interface does not do."""
    for answer in case.answers:
        if answer.signals:
            yield Found(answer, f"the log noticed: {', '.join(answer.signals)}")
