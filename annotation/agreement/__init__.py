"""Agreement: how alike different people's reports of one record are, and which records need a third opinion.

Only what people saw without being told counts: `describe` answers of ordinary tasks, and what became of them in rework.
Gold, catch trials and qualification are picked, and answered by many; they would pass for the dataset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mmtt.regions import REGIONS

from ..answers import Answer, Kind
from ..protocols import SEES_NOTHING, VISIBLE, StageName
from .alpha import Distance, Estimate, contributions, estimate, jaccard, masi, nominal, ordinal
from .texts import Gap, gap

__all__ = ["Agreement", "Estimate", "Gap", "agreement", "disputed", "overlap", "record_agreement"]

_JUDGES = SEES_NOTHING | {VISIBLE}  # says where it looks forged, if only: nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How people agree. `dataclasses.asdict` turns it into plain JSON values, never NaN.

    Attributes:
        records: described ones. reports: of them. annotators: who wrote those.
        repeated: records that two people or more described; everything below rests on these.
        draws: of each bootstrap.
        verdict: nominal alpha. difficulty: ordinal alpha.
        masi, jaccard: alpha over the sets of regions chosen, with either distance.
        regions: alpha of each region by itself, chosen or not; prevalence is the share of reports that choose it.
        text: whether reports of one record resemble each other more than others do.
    """

    records: int
    reports: int
    annotators: int
    repeated: int
    draws: int
    verdict: Estimate
    difficulty: Estimate
    masi: Estimate
    jaccard: Estimate
    regions: dict[str, Estimate]
    text: Gap


def agreement(answers: Iterable[Answer], rng: np.random.Generator, draws: int = 1000) -> Agreement:
    """Return how people agree.

    Args:
        answers: accepted ones, of any stage and kind. Of several by one person about one record, the latest counts.
        rng: the same generator and answers, in any order, give the same intervals.
        draws: of each bootstrap, from 1.
    """
    reports = _reports(answers)
    chosen = [[_choices(answer) for answer in group] for group in reports.values()]

    def estimated(units: Sequence[Sequence[Any]], distance: Distance, of: bool | None = None) -> Estimate:
        return estimate(units, distance, rng, draws, of)

    return Agreement(
        records=len(reports),
        reports=sum(map(len, reports.values())),
        annotators=len({answer.annotator for group in reports.values() for answer in group}),
        repeated=sum(len(group) >= 2 for group in reports.values()),
        draws=draws,
        verdict=estimated([[a.verdict for a in group] for group in reports.values()], nominal),
        difficulty=estimated([[a.difficulty for a in group] for group in reports.values()], ordinal),
        masi=estimated(chosen, masi),
        jaccard=estimated(chosen, jaccard),
        regions={region: estimated(_each(chosen, region), nominal, of=True) for region in REGIONS},
        text=gap(reports, rng, draws),
    )


def record_agreement(answers: Iterable[Answer]) -> dict[str, float | None]:
    """Return how the reports of each described record agree on regions, −1–1: what its row says when it is released.

    It is the record's part in MASI alpha, 1 − its mean distance over the one expected by chance: 1 if all name the same
    regions, 0 if they are as far apart as reports of different records, below 0 if farther. So it depends on all the
    answers, and the mean over the records, weighted by their reports, is that alpha (where nothing is cut off at −1).
    None if fewer than two people judged the record, or everybody chose the same everywhere.
    """
    reports = _reports(answers)
    found = contributions([[_choices(answer) for answer in group] for group in reports.values()], masi)
    cut = [None if one is None else max(one, -1.0) for one in found]
    return dict(zip(reports, cut, strict=True))


def disputed(answers: Iterable[Answer], min_agreement: float) -> dict[str, str]:
    """Return the records whose reports contradict each other, and how, in a sentence for the adjudicator.

    They do if one sees a forgery and another none, or if two have less than `min_agreement` of their regions in
    common: |A∩B| / |A∪B|, 0–1. Of answers, as for `agreement`, the accepted ones are wanted.
    """
    reasons = {record_id: _dispute(group, min_agreement) for record_id, group in _reports(answers).items()}
    return {record_id: reason for record_id, reason in reasons.items() if reason}


def _reports(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Return the answers that count, by record, one for each person; in an order of their own."""
    latest: dict[tuple[str, str], Answer] = {}
    for answer in sorted(answers, key=lambda answer: (answer.record_id, answer.annotator, answer.updated, answer.uid)):
        if answer.stage == StageName.DESCRIBE and answer.kind in (Kind.ORDINARY, Kind.REWORK) and not answer.skipped:
            latest[answer.record_id, answer.annotator] = answer
    reports: dict[str, list[Answer]] = {}
    for (record_id, _), answer in latest.items():
        reports.setdefault(record_id, []).append(answer)
    return reports


def _choices(answer: Answer) -> frozenset[str] | None:
    return frozenset(answer.regions) if answer.verdict in _JUDGES else None


def _each(chosen: Sequence[Sequence[frozenset[str] | None]], region: str) -> list[list[bool | None]]:
    return [[None if regions is None else region in regions for regions in group] for group in chosen]


def _dispute(group: Sequence[Answer], min_agreement: float) -> str | None:
    verdicts = {answer.verdict for answer in group}
    if VISIBLE in verdicts and verdicts & SEES_NOTHING:
        return "One report sees a forgery, another sees none."
    chosen = [regions for answer in group if (regions := _choices(answer)) is not None]
    shares = {(a, b): overlap(a, b) for a, b in combinations(chosen, 2)}
    if not shares or min(shares.values()) >= min_agreement:
        return None
    a, b = min(shares, key=lambda pair: shares[pair])
    return f"Two reports have {100 * shares[a, b]:.0f} % of their regions in common: {_named(a)}; and {_named(b)}."


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Return how much two sets have in common, |A∩B| / |A∪B|, 0–1; two empty ones all."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _named(regions: frozenset[str]) -> str:
    return ", ".join(sorted(regions)) or "none"
