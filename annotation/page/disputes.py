"""Disputes: records that people see differently, what each of them said, and what was decided."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..agreement import disputed
from ..answers import Answer, in_order
from ..desk import Desk
from ..protocols import StageName
from .exhibits import Exhibit, Exhibits, Picture

MOST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A record that people see differently.

    `reviews` are verifications, by the uid of the report that they are about; `ruling` is what an adjudicator said.
    """

    record_id: str
    reason: str
    pictures: Sequence[Picture]
    reports: Sequence[Exhibit]
    reviews: Mapping[str, Sequence[Exhibit]]
    ruling: Exhibit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputes:
    """All disputes in numbers, and a few of them: undecided ones first."""

    open: int
    decided: int
    shown: Sequence[Dispute]


def disputes(desk: Desk, exhibits: Exhibits) -> Disputes:
    """Return the disputes of a desk."""
    reasons = disputed(desk.counting, desk.settings.min_agreement)
    reviews, rulings = _reviews(desk), _rulings(desk)
    found = desk.standing.to_adjudicate
    ordered = sorted(found, key=lambda record_id: (record_id in rulings, record_id))

    def shown(record_id: str) -> Dispute:
        reports = found[record_id]
        return Dispute(
            record_id=record_id,
            reason=reasons.get(record_id) or "A verifier did not confirm a report, or a rule doubts it.",
            pictures=exhibits.pictures(record_id),
            reports=[exhibits.of(report) for report in reports],
            reviews={report.uid: [exhibits.of(review) for review in reviews[report.uid]] for report in reports},
            ruling=exhibits.of(rulings[record_id]) if record_id in rulings else None,
        )

    decided = sum(record_id in rulings for record_id in found)
    return Disputes(
        open=len(found) - decided, decided=decided, shown=[shown(record_id) for record_id in ordered[:MOST]]
    )


def _reviews(desk: Desk) -> Mapping[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in desk.answers:
        if answer.stage == StageName.VERIFY and answer.about is not None and not answer.skipped:
            found[answer.about].append(answer)
    return found


def _rulings(desk: Desk) -> dict[str, Answer]:
    ruled = in_order(desk.answers)
    return {a.record_id: a for a in ruled if a.stage == StageName.ADJUDICATE and not a.skipped}
