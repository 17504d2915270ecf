"""Hours: what each person is to be paid for. Everything they did counts: rework, what was refused, what was skipped.

The time of an answer is the most that can have been spent on it (`quality.time`), up to `max_idle_s`. Days are UTC's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmtt.files import write_atomically

from .answers import Answer, in_order
from .desk import Desk
from .private import csv_text
from .quality.time import spells

HOUR_S = 3600
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run it


@dataclass(frozen=True, slots=True)
class Hours:
    """What one person did on one day, and how long it took; `untimed` answers are those of which no time is known."""

    annotator: str
    day: str
    answers: int
    untimed: int
    hours: float


def dwells(answers: Iterable[Answer], max_idle_s: float) -> dict[str, float | None]:
    """Return the seconds that each answer took, by its uid, `max_idle_s` at most; None where no time is known."""
    known = {uid: spell.dwell for uid, spell in spells(in_order(answers)).items()}
    return {uid: None if spent is None else min(spent, max_idle_s) for uid, spent in known.items()}


def hours_of(answers: Iterable[Answer], times: Mapping[str, float | None]) -> float:
    """Return how many hours some answers took; those of which no time is known count nothing."""
    return sum(times[answer.uid] or 0.0 for answer in answers) / HOUR_S


def hours(desk: Desk) -> list[Hours]:
    """Return what each person did on each day, by pseudonym and day."""
    times = dwells(desk.answers, desk.settings.quality.max_idle_s)
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in in_order(desk.answers):
        groups[answer.annotator, answer.submitted.date().isoformat()].append(answer)
    return [
        Hours(name, day, len(mine), sum(times[a.uid] is None for a in mine), hours_of(mine, times))
        for (name, day), mine in sorted(groups.items())
    ]


def write_hours(desk: Desk, path: Path) -> None:
    """Write the hours to pay as CSV, to two decimals: pseudonyms, days and numbers, and nothing else.

    A name that a spreadsheet would take for a formula is written with an apostrophe before it.
    """
    columns = ("annotator", "day", "answers", "untimed", "hours")
    rows = [{**asdict(row), "annotator": _harmless(row.annotator), "hours": f"{row.hours:.2f}"} for row in hours(desk)]
    write_atomically(path, csv_text(columns, rows).encode())


def _harmless(name: str) -> str:
    return f"'{name}" if name.startswith(_FORMULA) else name
