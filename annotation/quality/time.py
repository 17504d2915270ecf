"""Time: how long people looked and wrote, as far as anybody can know.

Label Studio's `lead_time` is what a browser claims: it counts idle time, and anybody can overwrite it. The moments of
submission are the server's. Whoever opens one task after the other cannot have spent more on an answer than what lies
between it and their submission before, on whatever task: the smaller of the two is taken. A draft's first saving is no
beginning (people look before they write), so that it shortens nothing; it can only speak for an annotator.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ..answers import Answer
from ..protocols import StageName
from .finding import Case, Effect, Found
from .regions import words_of

REVIEW_SHARE = 0.5  # of the shortest time, for whoever judges reports: they need not write one, but must look
_MARGIN_S = 10.0  # by how much a browser may count more than the server: loading, rounding


class Spell(NamedTuple):
    """What is known of the time an answer took, in seconds; None what is not.

    lead: what the browser claims. free: from the same person's submission before to this one, or to its last edit.
    drafted: from the first saved draft to the submission; some of the time spent, never all of it.
    """

    lead: float | None
    free: float | None
    drafted: float | None

    @property
    def dwell(self) -> float | None:
        """The most that can have been spent on it."""
        return min((seconds for seconds in (self.lead, self.free) if seconds is not None), default=None)


def spells(answers: Sequence[Answer]) -> dict[str, Spell]:
    """Return what is known of the time of each answer, by its uid; `answers` in the order of their submission."""
    before: dict[str, datetime] = {}
    known = {}
    for answer in answers:
        known[answer.uid] = _spell(answer, before.get(answer.annotator))
        before[answer.annotator] = answer.submitted
    return known


def _spell(answer: Answer, before: datetime | None) -> Spell:
    lead = answer.lead_time_s
    lead = lead if lead is not None and math.isfinite(lead) and lead >= 0 else None
    begun = answer.drafted or answer.submitted
    # Where the server's clock went back meanwhile, its times say nothing about this answer.
    if not begun <= answer.submitted <= answer.updated:
        return Spell(lead, None, None)
    end = answer.submitted if lead is None else answer.updated  # an edit counts only as far as a browser saw it
    free = None if before is None else (end - before).total_seconds()
    return Spell(lead, free, (answer.submitted - begun).total_seconds() if answer.drafted else None)


def dwell(case: Case) -> Iterator[Found]:
    """Say which answers were given too fast. What was spent on earlier rounds of the same report counts.

    Whose draft was saved long enough before had two tasks open, or put one aside: a person decides about those.
    """
    times, known = spells(case.answers), {a.uid: a for a in case.answers}
    for answer in case.answers:
        if answer.skipped:
            continue
        describes = answer.stage == StageName.DESCRIBE
        needed = case.quality.min_dwell_s * (1 if describes else REVIEW_SHARE)
        time, spent = times[answer.uid], _spent(answer, times, known)
        long_drafted = (time.drafted or 0) >= needed
        if spent is None and not long_drafted:
            yield Found(answer, "no time is known", effect=Effect.HOLD, variant="unknown")
        elif spent is not None and spent < needed:
            overlaps = long_drafted and (time.lead or 0) >= needed
            detail = f"{spent:.1f} s of {needed:g} s{', though it was drafted before' if overlaps else ''}"
            yield Found(answer, detail, spent, Effect.HOLD if overlaps else None, "" if describes else "review")


def _spent(answer: Answer, times: Mapping[str, Spell], known: Mapping[str, Answer]) -> float | None:
    spent, total = times[answer.uid].dwell, 0.0
    for _ in range(answer.round):
        earlier = known.get(answer.about or "")
        if earlier is None:
            break
        total += times[earlier.uid].dwell or 0
        answer = earlier
    return None if spent is None else spent + total


def parallel(case: Case) -> Iterator[Found]:
    """Say where a browser claims more time than has passed since the same person's submission before."""
    times = spells(case.answers)
    for answer in case.answers:
        lead, free, _ = times[answer.uid]
        if lead is not None and free is not None and lead - free > _MARGIN_S:
            yield Found(answer, f"the browser claims {lead:.0f} s, {free:.0f} s have passed", lead - free)


def idle(case: Case) -> Iterator[Found]:
    """Say which tasks lay open for long."""
    times = spells(case.answers)
    for answer in case.answers:
        spent = times[answer.uid].dwell
        if times[answer.uid].lead is not None and spent is not None and spent > case.quality.max_idle_s:
            yield Found(answer, f"open for {spent:.0f} s", spent)


def pasted(case: Case) -> Iterator[Found]:
    """Say which texts came faster than anybody types: words between the first saved draft and the end.

    A rework starts from the text that was there before, so its speed says nothing.
    """
    times = spells(case.answers)
    for answer in case.written:
        seconds = times[answer.uid].drafted
        if seconds is None or answer.reworked:
            continue
        speed = len(words_of(answer)) / max(seconds, 1.0)
        if speed > case.quality.max_words_per_s:
            yield Found(answer, f"{speed:.1f} words a second", speed)
