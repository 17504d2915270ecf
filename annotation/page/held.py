"""Held: answers that wait for a person's decision, and what the rules say of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..answers import Answer, in_order
from ..desk import Desk
from ..quality import Effect, Finding
from .exhibits import Exhibit, Exhibits

ROWS = 60
ABOUT_PEOPLE = ("qualification", "checks")  # rules that hold an answer because of who gave it


class HeldPerson(NamedTuple):
    """How many answers of one person a rule holds because they are theirs, and what it says last."""

    annotator: str
    rule: str
    answers: int
    why: str


class HeldAnswer(NamedTuple):
    """An answer, and what else the rules say of it."""

    exhibit: Exhibit
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All of them in number; by person; single answers, the oldest first; how many more of these there are."""

    count: int
    people: Sequence[HeldPerson]
    answers: Sequence[HeldAnswer]
    more: int


def held(desk: Desk, exhibits: Exhibits) -> Held:
    """Return the answers that wait for a decision: held descriptions, and reviews that cannot be used as they are."""
    found, stands = _found(desk), desk.standing.status
    waiting = [a for a in in_order(desk.answers) if found.get(a.uid) and stands.get(a.uid, "held") == "held"]
    single = [(a, own) for a in waiting if (own := [f for f in found[a.uid] if f.rule not in ABOUT_PEOPLE])]
    return Held(
        count=len(waiting),
        people=_people(waiting, found),
        answers=[HeldAnswer(exhibits.of(answer), own) for answer, own in single[:ROWS]],
        more=len(single[ROWS:]),
    )


def _found(desk: Desk) -> Mapping[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in desk.findings:
        if finding.uid is not None and finding.effect is not Effect.TELL:
            found[finding.uid].append(finding)
    return found


def _people(waiting: Sequence[Answer], found: Mapping[str, Sequence[Finding]]) -> list[HeldPerson]:
    grouped: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for answer in waiting:
        for finding in found[answer.uid]:
            if finding.rule in ABOUT_PEOPLE:
                grouped[finding.annotator, finding.rule].append(finding)
    return [HeldPerson(*key, len(held), held[-1].detail) for key, held in sorted(grouped.items())]
