"""People: what an annotator's answers say together. Examinations, habits, and whether their work changes.

Only the first answer to an examination question counts: whoever worked it over knows more.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from mmtt.grounding import supported
from mmtt.recipe import AnnotateSection

from ..answers import Answer, Kind, in_order
from ..protocols import SEES_NOTHING, VISIBLE, StageName
from .finding import Case, Effect, Found, by_annotator, is_production, share
from .regions import borne_out

ENOUGH = 2
EDITED = 0.1  # of a region: an examination asks for no less
REGION_F1 = 0.6
_CHECKS = (Kind.GOLD, Kind.CATCH)
_LATEST = 20  # checks that count: who was good for a year may stop looking
_MIN_REPORTS = 10
_NEARLY_ALWAYS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How an annotator does.

    qualification, gold, catch: examination questions, passed and answered; each question once. qualified, trusted:
    whether the recipe's bars are reached (who was not examined enough yet is trusted, but not qualified).
    """

    qualification: tuple[int, int]
    gold: tuple[int, int]
    catch: tuple[int, int]
    qualified: bool
    trusted: bool


def scores(answers: Iterable[Answer], settings: AnnotateSection) -> dict[str, Score]:
    """Return how each annotator does, by pseudonym in order."""
    return {
        annotator: Score(
            qualification=_counted(own, Kind.QUALIFICATION),
            gold=_counted(own, Kind.GOLD),
            catch=_counted(own, Kind.CATCH),
            qualified=_is_qualified(own, settings),
            trusted=not _fails(_results(own, _CHECKS), settings),
        )
        for annotator, own in sorted(by_annotator(in_order(answers)).items())
    }


def passes(answer: Answer) -> bool | None:
    """Return whether an examination question was answered well; None where it was skipped, or the truth is unknown.

    A forgery must be seen, and where: the F1 of the regions chosen against those edited, by what supports what, is at
    least `REGION_F1`. In a pristine face nothing may be seen.
    """
    if answer.skipped or answer.region_shares is None:
        return None
    if answer.kind is Kind.CATCH or not answer.region_shares:
        return answer.verdict in SEES_NOTHING
    return answer.verdict == VISIBLE and region_f1(answer) >= REGION_F1


def region_f1(answer: Answer) -> float:
    """Return the F1 of the regions chosen against those of which at least `EDITED` was edited, 0–1.

    Of a forgery of many regions `ENOUGH` are enough: a swapped face shows in a few of its parts, and nobody has to list
    what shows nothing.
    """
    truth = {word for word, edited in (answer.region_shares or {}).items() if edited >= EDITED}
    precision = borne_out(answer.regions, answer.region_shares or {}, EDITED) or 0.0
    found = sum(supported(word, answer.regions) for word in truth)
    recall = min(found / min(len(truth), ENOUGH), 1.0) if truth else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _results(answers: Iterable[Answer], kinds: Sequence[Kind]) -> list[tuple[datetime, bool]]:
    """When each examination question was answered, and whether well; each record once, in order."""
    found: dict[str, tuple[datetime, bool]] = {}
    for answer in answers:
        passed = passes(answer) if answer.kind in kinds and answer.stage == StageName.DESCRIBE else None
        if passed is not None:
            found.setdefault(answer.record_id, (answer.submitted, passed))
    return list(found.values())


def _counted(answers: Iterable[Answer], kind: Kind) -> tuple[int, int]:
    results = _results(answers, [kind])
    return sum(passed for _, passed in results), len(results)


def _is_qualified(answers: Iterable[Answer], settings: AnnotateSection) -> bool:
    passed, _ = _counted(answers, Kind.QUALIFICATION)
    return passed >= settings.qualification_score * settings.qualification_tasks - 1e-9


def _fails(results: Sequence[tuple[datetime, bool]], settings: AnnotateSection) -> bool:
    latest = [passed for _, passed in results[-_LATEST:]]
    return len(latest) >= settings.quality.min_checks and share(latest) < settings.quality.check_score


def qualification(case: Case) -> Iterator[Found]:
    """Say which answers are of people who have not passed the examination; who settles disputes need not.

    Hidden checks among them too: who is asked again must not tell which tasks these are.
    """
    for answers in by_annotator(case.answers).values():
        if _is_qualified(answers, case.annotate):
            continue
        passed, answered = _counted(answers, Kind.QUALIFICATION)
        told = f"{passed} of {answered} examination questions passed, of {case.annotate.qualification_tasks}"
        for answer in answers:
            examines = answer.kind is Kind.QUALIFICATION
            if not examines and answer.stage != StageName.ADJUDICATE and not answer.skipped:
                yield Found(answer, told, float(passed))


def checks(case: Case) -> Iterator[Found]:
    """Say who fails the checks hidden in their work, and which of their reports that nobody verified are in doubt."""
    verified = _verified(case.answers)
    for answers in by_annotator(case.answers).values():
        results = _results(answers, _CHECKS)
        if not _fails(results, case.annotate):
            continue
        latest = [passed for _, passed in results[-_LATEST:]]
        told, since = f"{sum(latest)} of the latest {len(latest)} checks passed", _trusted_until(results, case.annotate)
        yield Found(answers[-1], told, share(latest), Effect.TELL, whole=True)
        for answer in answers:
            report = answer.stage == StageName.DESCRIBE and is_production(answer) and not answer.skipped
            if report and answer.uid not in verified and (since is None or answer.submitted > since):
                yield Found(answer, told, share(latest), Effect.HOLD)


def _verified(answers: Sequence[Answer]) -> set[str]:
    """Answers that another person found right."""
    authors = {answer.uid: answer.annotator for answer in answers}
    agreed = [(a.about, a.annotator) for a in answers if a.stage == StageName.VERIFY and a.match == "yes"]
    return {about for about, annotator in agreed if about is not None and authors.get(about) != annotator}


def _trusted_until(results: Sequence[tuple[datetime, bool]], settings: AnnotateSection) -> datetime | None:
    """The last check that was passed while the score was still good; None where it never was."""
    good = [end for end in range(1, len(results) + 1) if results[end - 1][1] and not _bad(results[:end], settings)]
    return results[good[-1] - 1][0] if good else None


def _bad(results: Sequence[tuple[datetime, bool]], settings: AnnotateSection) -> bool:
    return share([passed for _, passed in results[-_LATEST:]]) < settings.quality.check_score


def monotone(case: Case) -> Iterator[Found]:
    """Say who chooses the same regions in most records, though these were not always edited."""
    for answers in by_annotator(a for a in case.standing if a.region_shares).values():
        (usual, count), *_ = Counter(frozenset(a.regions) for a in answers).most_common(1)
        if len(answers) < _MIN_REPORTS or count / len(answers) < case.quality.monotone_share:
            continue
        same = [a for a in answers if frozenset(a.regions) == usual]
        fitting = share([(borne_out(usual, a.region_shares or {}) or 0) >= 0.5 for a in same])
        if fitting < _NEARLY_ALWAYS:
            told = f"{', '.join(sorted(usual))} in {count} of {len(answers)} reports; it fits in {fitting:.0%} of them"
            yield Found(answers[-1], told, count / len(answers), whole=True)
