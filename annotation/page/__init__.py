"""Page: what a curator looks at. One HTML file that opens offline; private, because it shows each person's work.

Nothing on it depends on the hour or the machine: the same log and records give the same page.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from mmtt import html
from mmtt.files import write_atomically

from ..answers import Answer
from ..desk import Desk
from ..history import SIGNALS
from ..hours import dwells
from ..protocols import MINOR
from ..status import Status, status
from ..sync.projects import known
from .comparison import comparison
from .disputes import disputes
from .exhibits import Exhibits, border
from .held import held
from .profiles import Bar, profiles
from .rules import rules

DAYS = 60  # more than that are shown by week
UIDS = 5

_PACKAGE = (__package__ or "").rpartition(".")[0]


class Step(NamedTuple):
    """What a curator should do next: why, and with which command or where on the page."""

    why: str
    command: str = ""
    anchor: str = ""


class Timeline(NamedTuple):
    """How many answers were given in each step of so many days, from the first to the last."""

    step_days: int
    bars: Sequence[Bar]


class Signal(NamedTuple):
    """What the log may notice, how many answers it concerns, and a few of these."""

    name: str
    meaning: str
    total: int
    some: Sequence[Answer]


def write_page(desk: Desk) -> Path:
    """Write the page of a desk and return where it lies."""
    path = desk.layout.annotation_page
    # A stranger's lone surrogates are no UTF-8.
    write_atomically(path, page(desk).encode("utf-8", "replace"))
    return path


def page(desk: Desk) -> str:
    """Return the page of a desk as HTML."""
    found, exhibits = status(desk), Exhibits(desk)
    waiting = held(desk, exhibits)
    return html.render(
        _PACKAGE,
        "annotation.html.j2",
        recipe=desk.recipe,
        status=found,
        steps=steps(desk, found, waiting.count),
        timeline=timeline(answer.submitted.date() for answer in desk.answers),
        rules=rules(desk, exhibits),
        disputes=disputes(desk, exhibits),
        held=waiting,
        waived=[(e.subject, e.header["rule"], (e.payload or {}).get("why", "")) for e in desk.log.events("waived")],
        profiles=profiles(desk, exhibits, found.annotators, dwells(desk.answers, desk.settings.quality.max_idle_s)),
        comparison=comparison(desk),
        signals=signals(desk.answers),
        border=border(),
    )


def steps(desk: Desk, found: Status, waiting: int) -> list[Step]:
    """Return what a curator should do next, what comes first first."""
    if not desk.people.persons:
        return [Step("Nobody is here who could answer.", "mmtt annotate people DIR people.csv")]
    if not known(desk.log):
        return [Step("Nothing was sent yet.", "mmtt annotate push DIR")]
    if not desk.answers:
        return [Step("Nobody has answered yet, or what they answered was not fetched.", "mmtt annotate pull DIR")]
    return list(_steps(desk, found, waiting))


def _steps(desk: Desk, found: Status, waiting: int) -> Iterator[Step]:
    minors = len({answer.record_id for answer in desk.answers if MINOR in answer.flags})
    tampered = sum(bool(answer.signals) for answer in desk.answers)
    others = Counter(flag for answer in desk.answers for flag in answer.flags if flag != MINOR)
    if minors:
        yield Step(f"Said to show a minor: {minors:,} records. Look at each, and take it out if so.", anchor="held")
    untrusted = [person.pseudonym for person in found.annotators if not person.trusted]
    if others:
        told = ", ".join(f"{flag} {count:,}" for flag, count in sorted(others.items()))
        yield Step(f"Flags that annotators set: {told}.", anchor="annotators")
    if tampered:
        yield Step(f"Touched in ways that the interface does not know: {tampered:,} answers.", anchor="signals")
    if untrusted:
        yield Step(f"Too many hidden checks failed: {', '.join(untrusted)}.", anchor="annotators")
    if waiting:
        yield Step(f"Held until you decide: {waiting:,} answers.", anchor="held")
    if found.unsent:
        yield Step(f"Not sent yet: {found.unsent:,} tasks.", "mmtt annotate push DIR")
    if not any(stage.open for stage in found.stages):
        yield Step("Everything is answered.", "mmtt annotate reports DIR")


def timeline(given: Iterable[date]) -> Timeline:
    """Return how many answers were given on each day; in each week (from its Monday on), where days are many."""
    counts = Counter(given)
    if not counts:
        return Timeline(1, ())
    first, last, step = min(counts), max(counts), 1
    if (last - first).days >= DAYS:
        first, step = first - timedelta(days=first.weekday()), 7
    starts = [first + timedelta(days=passed) for passed in range(0, (last - first).days + 1, step)]
    sums = [sum(counts[start + timedelta(days=day)] for day in range(step)) for start in starts]
    bars = [Bar(start.isoformat(), count, count / max(sums)) for start, count in zip(starts, sums, strict=True)]
    return Timeline(step, bars)


def signals(answers: Sequence[Answer]) -> list[Signal]:
    """Return what the log may notice about an answer, and which answers it noticed it about."""
    concerned = {name: [answer for answer in answers if name in answer.signals] for name in SIGNALS}
    return [Signal(name, SIGNALS[name], len(found), found[:UIDS]) for name, found in concerned.items()]
