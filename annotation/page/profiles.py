"""Profiles: what each annotator does, as the curator's page shows it."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mmtt.regions import REGIONS
from mmtt.reports import DWELL_EDGES_S

from ..answers import Answer, in_order
from ..desk import Desk
from ..protocols import VISIBLE, StageName
from ..quality import Finding
from ..quality.people import EDITED
from ..status import AnnotatorStatus
from .exhibits import Exhibit, Exhibits

LATEST = 5  # texts


class Bar(NamedTuple):
    """An amount, and its share of the largest one, 0–1."""

    name: str
    amount: int
    height: float


class Frequency(NamedTuple):
    """A region: the share of a person's reports that choose it, and of those in which it was edited, 0–1."""

    word: str
    chosen: float
    edited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one person did and how.

    `hits` counts findings by rule, `remarks` are those about the person as a whole. `compared` is how many reports the
    frequencies of regions rest on.
    """

    status: AnnotatorStatus
    language: str
    writes: str
    dwell: Sequence[Bar]
    untimed: int
    frequencies: Sequence[Frequency]
    compared: int
    hits: Sequence[tuple[str, int]]
    remarks: Sequence[Finding]
    signals: int
    texts: Sequence[Exhibit]


def profiles(
    desk: Desk, exhibits: Exhibits, people: Iterable[AnnotatorStatus], times: Mapping[str, float | None]
) -> list[Profile]:
    """Return a profile of each annotator, those with most answers first."""
    ordered = sorted(people, key=lambda person: (-person.answers, person.pseudonym))
    return [_profile(desk, exhibits, person, times) for person in ordered]


def _profile(desk: Desk, exhibits: Exhibits, person: AnnotatorStatus, times: Mapping[str, float | None]) -> Profile:
    name = person.pseudonym
    mine = [answer for answer in desk.answers if answer.annotator == name]
    found = [finding for finding in desk.findings if finding.annotator == name]
    known = next((one for one in desk.people.persons if one.pseudonym == name), None)
    spent = [times[answer.uid] for answer in mine if not answer.skipped]
    compared = [answer for answer in mine if _is_report(answer)]
    return Profile(
        status=person,
        language=known.language if known else "",
        writes=known.writes if known else "human",
        dwell=histogram([seconds for seconds in spent if seconds is not None]),
        untimed=spent.count(None),
        frequencies=frequencies(compared),
        compared=len(compared),
        hits=Counter(finding.rule for finding in found if finding.uid is not None).most_common(),
        remarks=[finding for finding in found if finding.uid is None],
        signals=sum(bool(answer.signals) for answer in mine),
        texts=[exhibits.of(answer) for answer in _latest(mine)],
    )


def _is_report(answer: Answer) -> bool:
    """Whether an answer says where a forgery of known regions looks forged."""
    described = answer.stage == StageName.DESCRIBE and not answer.skipped and answer.verdict == VISIBLE
    return described and bool(answer.region_shares) and not answer.reworked


def _latest(answers: Iterable[Answer]) -> list[Answer]:
    written = [answer for answer in answers if answer.text.strip() and answer.stage != StageName.VERIFY]
    return [*reversed(in_order(written))][:LATEST]


def histogram(seconds: Sequence[float]) -> list[Bar]:
    """Return how many times fall between the edges of `mmtt.reports`, in seconds."""
    counts = Counter(bisect_right(DWELL_EDGES_S, value) - 1 for value in seconds)
    most = max(counts.values(), default=1)
    names = [*(f"{low}–{high}" for low, high in pairwise(DWELL_EDGES_S)), f"{DWELL_EDGES_S[-1]}+"]
    return [Bar(name, counts[place], counts[place] / most) for place, name in enumerate(names)]


def frequencies(reports: Sequence[Answer]) -> list[Frequency]:
    """Return how often each region is chosen in some reports, and how often it was edited; those never so left out."""
    chosen = Counter(word for answer in reports for word in set(answer.regions))
    edited = Counter(w for answer in reports for w, share in (answer.region_shares or {}).items() if share >= EDITED)
    words = [word for word in REGIONS if chosen[word] or edited[word]]
    found = [Frequency(word, chosen[word] / len(reports), edited[word] / len(reports)) for word in words]
    return sorted(found, key=lambda one: (-one.chosen, -one.edited))
