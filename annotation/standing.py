"""Standing: where every answer stands, and so what has to be asked next. Derived anew from log and recipe each time.

A describe answer is *returned* (to its author's rework), *held* (until a person decides), *doubted* (until another one
looked), *superseded* (by its rework, or its author's later answer), *skipped*, *abandoned* (asked of somebody else), or
*accepted*. Accepted ones are verified by another person where the protocol says so; what two people, or
author and verifier, disagree about is adjudicated. One report of each record counts: adjudicated before verified before
single, and among equals the one nearest to all others.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mmtt.lexicon import claimed
from mmtt.recipe import AnnotateSection

from .agreement import disputed, overlap
from .answers import Answer, Kind, in_order, numbered, text_sha256
from .protocols import FALSE_POSITIVE, PROTOCOLS, VISIBLE, StageName
from .quality import Effect, Finding
from .selection import draw

# Rules that doubt what was said, not who said it or how: another pair of eyes settles that.
DOUBTS = frozenset({"grounding"})
# Rules about who answered, after which the same is asked of somebody else.
WASTED = frozenset({"qualification", "informed", "anothers_rework"})
# Kinds of tasks whose answers are reports; the others only examine.
REPORTED = frozenset({Kind.ORDINARY, Kind.GOLD, Kind.REWORK})


@dataclass(frozen=True, slots=True)
class Settled:
    """A report that counts, and how it came to count: `single`, `verified`, `edited` or `adjudicated`."""

    answer: Answer
    how: str
    original: str | None = None  # the author's words, where a verifier edited them
    editor: str | None = None
    review: str | None = None  # uid of the verification that edited them


@dataclass(frozen=True, slots=True)
class Standing:
    """Where everything stands.

    status: of each describe answer, by uid. returned: answers and the messages that go with them. wasted: for each
    task, how many answers cannot be used. settled: reports that count, of each record, the one that is taken first.
    """

    status: Mapping[str, str] = field(default_factory=dict)
    returned: Sequence[tuple[Answer, Sequence[str]]] = ()
    to_verify: Sequence[Answer] = ()
    to_adjudicate: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    wasted: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[str, Sequence[Settled]] = field(default_factory=dict)


def standing(
    answers: Sequence[Answer],
    findings: Iterable[Finding],
    settings: AnnotateSection,
    seed: int,
    gone: Collection[str] = (),
    rejected: Collection[str] = (),
) -> Standing:
    """Derive where everything stands.

    Args:
        answers: all answers, each in its latest version, about records as they are now.
        findings: what the quality rules found and no person waived.
        settings: the recipe's.
        seed: the recipe's; draws who is verified where not everybody is.
        gone: annotators who work no more: what would go back to them is asked of somebody else.
        rejected: uids of answers that the curator wants no more of.
    """
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.uid is not None:
            found[finding.uid].append(finding)
    ordered = in_order(answers)
    described = [answer for answer in ordered if answer.stage == StageName.DESCRIBE]
    chains = _Chains(described)
    judged = partial(_status, chains=chains, rounds=settings.quality.rework_rounds, gone=gone, rejected=rejected)
    status = {a.uid: judged(a, found[a.uid]) for a in described}
    by_record = _by_record(a for a in described if status[a.uid] in ("accepted", "doubted") and a.kind in REPORTED)
    outcomes = _Outcomes(ordered, found)
    disputes = _disputes(by_record, status, outcomes, settings)
    return Standing(
        status=status,
        returned=[(a, _messages(found[a.uid])) for a in described if status[a.uid] == "returned"],
        to_verify=[a for of in by_record.values() for a in of if _is_verified(a, status[a.uid], settings, seed)],
        to_adjudicate=disputes,
        wasted=_wasted(ordered, found, status, chains),
        settled=_settle(by_record, status, outcomes, disputes),
    )


class _Chains:
    """Which description works over which. Only an author's own rework takes the place of a report."""

    def __init__(self, described: Sequence[Answer]) -> None:
        self._by_uid = {answer.uid: answer for answer in described}
        self.reworked = {a.about for a in described if not a.skipped and self._is_own(a)}
        self.given_up = {a.about for a in described if a.skipped and self._is_own(a)} - self.reworked
        # Label Studio lets one person answer one task twice.
        latest = {(a.task_key, a.annotator): a.uid for a in described if not a.skipped}
        self.repeated = {a.uid for a in described if not a.skipped and latest[a.task_key, a.annotator] != a.uid}

    def _is_own(self, answer: Answer) -> bool:
        before = self._by_uid.get(answer.about or "")
        return before is not None and before.annotator == answer.annotator

    def root(self, answer: Answer) -> Answer:
        """The first answer that this one works over, directly or not."""
        while (before := self._by_uid.get(answer.about or "")) is not None:
            answer = before
        return answer


def _status(
    answer: Answer,
    found: Sequence[Finding],
    chains: _Chains,
    rounds: int,
    gone: Collection[str],
    rejected: Collection[str],
) -> str:
    if answer.uid in chains.reworked or answer.uid in chains.repeated:
        return "superseded"
    if answer.skipped:
        return "skipped"
    if answer.uid in rejected:
        return "abandoned"
    if answer.kind is Kind.QUALIFICATION:
        return "accepted"  # it is scored, and no report
    holding = {finding.rule for finding in found if finding.effect == Effect.HOLD}
    if any(finding.effect == Effect.RETURN for finding in found):
        again = answer.round < rounds and answer.annotator not in gone and answer.uid not in chains.given_up
        return "returned" if again else "abandoned"
    if holding - DOUBTS:
        return "held"
    return "doubted" if holding else "accepted"


def _wasted(
    answers: Sequence[Answer], found: Mapping[str, Sequence[Finding]], status: Mapping[str, str], chains: _Chains
) -> Counter[str]:
    """Of each task, how many answers nothing becomes of, so that the same is asked of somebody else.

    Skipped ones are not among them: Label Studio offers those to others by itself.
    """
    wasted: Counter[str] = Counter()
    for answer in answers:
        stopped = {finding.rule for finding in found.get(answer.uid, ()) if finding.effect != Effect.TELL}
        if answer.skipped:
            continue
        if answer.stage != StageName.DESCRIBE:
            wasted[answer.task_key] += bool(stopped)
        elif status[answer.uid] == "abandoned":
            wasted[chains.root(answer).task_key] += 1
        elif status[answer.uid] == "held" and stopped & WASTED:
            wasted[answer.task_key] += 1
    return +wasted


def _messages(found: Sequence[Finding]) -> list[str]:
    return sorted({finding.message for finding in found if finding.effect == Effect.RETURN})


def _by_record(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    grouped: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        grouped[answer.record_id].append(answer)
    return dict(sorted(grouped.items()))


def _verifies(settings: AnnotateSection) -> bool:
    return any(stage.name is StageName.VERIFY for stage in PROTOCOLS[settings.protocol])


def _is_verified(answer: Answer, status: str, settings: AnnotateSection, seed: int) -> bool:
    """Whether another person looks at a report: of all doubted ones, and of a drawn share."""
    if not _verifies(settings) or answer.verdict != VISIBLE:
        return False
    return status == "doubted" or draw(answer.record_id, "verify", seed) < settings.verify_share


class _Outcomes:
    """What verifiers and adjudicators said: of each answer, and of each record."""

    def __init__(self, answers: Iterable[Answer], found: Mapping[str, Sequence[Finding]]) -> None:
        usable = [a for a in answers if not a.skipped and all(f.effect == Effect.TELL for f in found.get(a.uid, ()))]
        self.verified = {a.about: a for a in usable if a.stage == StageName.VERIFY and a.about is not None}
        self.adjudicated = {a.record_id: a for a in usable if a.stage == StageName.ADJUDICATE}

    def of(self, answer: Answer) -> str | None:
        """`verified`, `edited`, `refused`, or None while nobody verified it."""
        review = self.verified.get(answer.uid)
        if review is None or review.given_sha256 != text_sha256(answer.text):
            return None  # a verdict is about the very words that were shown
        if review.match == "no" or FALSE_POSITIVE in review.flags:
            return "refused"
        if review.text and review.text != answer.text:
            # Whoever writes that nothing is to be seen edits no report into being.
            return "edited" if claimed(review.text, review.language) else "refused"
        return "verified" if review.match == "yes" else "refused"

    def ruling(self, record_id: str, answers: Sequence[Answer]) -> Answer | None:
        """What an adjudicator decided about these answers as they are now; None if nobody did."""
        ruled = self.adjudicated.get(record_id)
        return ruled if ruled is not None and ruled.given_sha256 == text_sha256(numbered(answers)) else None


def _disputes(
    by_record: Mapping[str, Sequence[Answer]],
    status: Mapping[str, str],
    outcomes: _Outcomes,
    settings: AnnotateSection,
) -> dict[str, Sequence[Answer]]:
    """Records about which people disagree, author and verifier included; decided ones stay, so that their task does."""
    split = disputed([answer for answers in by_record.values() for answer in answers], settings.min_agreement)
    verifies = _verifies(settings)
    found: dict[str, Sequence[Answer]] = {}
    for record_id, answers in by_record.items():
        refused = any(outcomes.of(answer) == "refused" for answer in answers)
        unsettled = not verifies and any(status[answer.uid] == "doubted" for answer in answers)
        if record_id in split or refused or unsettled:
            found[record_id] = answers
    return found


def _settle(
    by_record: Mapping[str, Sequence[Answer]],
    status: Mapping[str, str],
    outcomes: _Outcomes,
    disputes: Mapping[str, object],
) -> dict[str, Sequence[Settled]]:
    """Of each record the reports that count, the one that is taken first."""
    settled = {}
    for record_id, answers in by_record.items():
        ruled = outcomes.ruling(record_id, answers)
        counting: list[Settled] = []
        if ruled is not None:  # it stands for all that it decided about
            counting = [Settled(ruled, "adjudicated")] if ruled.verdict == VISIBLE else []
        elif record_id not in disputes:
            counting = [s for answer in answers for s in _counted(answer, status[answer.uid], outcomes)]
        if counting:
            settled[record_id] = _ranked(counting)
    return settled


def _counted(answer: Answer, status: str, outcomes: _Outcomes) -> list[Settled]:
    outcome = outcomes.of(answer)
    if answer.verdict != VISIBLE or outcome == "refused" or (status == "doubted" and outcome is None):
        return []
    if outcome == "edited":
        review = outcomes.verified[answer.uid]
        regions = (*answer.regions, *(r for r in review.missed if r not in answer.regions))
        return [
            Settled(
                replace(answer, text=review.text, regions=regions, language=review.language),
                "edited", answer.text, review.annotator, review.uid,
            )
        ]  # fmt: skip
    return [Settled(answer, "verified" if outcome == "verified" else "single")]


_RANK = ("adjudicated", "verified", "edited", "single")


def _ranked(counting: Sequence[Settled]) -> list[Settled]:
    """Adjudicated before verified before single; among equals the one whose regions are nearest to all others'."""
    chosen = [frozenset(item.answer.regions) for item in counting]

    def rank(place: int) -> tuple[int, float, str]:
        near = sum(overlap(chosen[place], other) for other in chosen)
        return _RANK.index(counting[place].how), -near, counting[place].answer.uid

    return [counting[place] for place in sorted(range(len(counting)), key=rank)]
