"""Status: how far the work has come, what is left of it and how long that takes. The same log says the same."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from . import history
from .answers import Answer, Kind, in_order
from .desk import Desk
from .hours import HOUR_S, dwells, hours_of
from .people import ACTIVE
from .protocols import StageName
from .quality import Score, scores
from .sync.pull import progress
from .tasks import QUALIFY, Task, wanted

REWORK = "rework"
# What an answer is taken to need, in seconds, while nobody has given one.
ASSUMED_S: Mapping[str, float] = {
    QUALIFY: 120,
    StageName.DESCRIBE: 120,
    StageName.VERIFY: 60,
    StageName.ADJUDICATE: 120,
    REWORK: 90,
}
STAGES = tuple(map(str, ASSUMED_S))
PRISTINE = "pristine"
_RECENT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """How far a stage has come; `wanted` is the sum of `answered` and `open`.

    `answered` counts every answer, those too that cannot be used and whose task therefore wants another one.
    `median_s` is the median time of an answer; `assumed` where nobody has given one yet.
    """

    name: str
    wanted: int
    answered: int
    open: int
    median_s: float
    assumed: bool
    hours_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyStatus:
    """How far a family has come in `describe`: catch trials are the family `pristine`.

    `records` are asked about; `settled` are those that have a report that counts.
    """

    name: str
    records: int
    wanted: int
    answered: int
    open: int
    settled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorStatus:
    """What one person did.

    Answers to `verify` and `adjudicate` are `reviews`; the others are `accepted`, `doubted` (they count once another
    person agrees), `returned`, `held`, `superseded` by their rework, `abandoned` (another is asked), or `skipped`.

    `examination` (in none of these) and `checks` are questions whose answer is known: how many were passed, and
    how many answered. `qualified` and `trusted` say whether that is enough for the recipe.
    """

    pseudonym: str
    answers: int
    reviews: int
    accepted: int
    doubted: int
    returned: int
    held: int
    superseded: int
    abandoned: int
    skipped: int
    examination: tuple[int, int]
    qualified: bool
    checks: tuple[int, int]
    trusted: bool
    median_s: float | None
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What was done in the seven days up to the newest answer; `days` is how many of them there were, at least 1."""

    answers: int
    hours: float
    days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far everything has come. `dataclasses.asdict` turns it into plain JSON values.

    Attributes:
        stages, families, annotators: each by itself.
        unsent: tasks that should be on the server and were never sent. settled: records that have a report that counts.
        hours_left: of work. days_left: at the pace of the last seven days; None where nothing says how fast people are.
        pace: the last seven days.
        read_until: the newest change on the server that a pull has read. full_read: when everything was last read.
            Both ISO 8601, None before the first pull.
        events: how many the log holds. head: the last link of its chain.
    """

    stages: Sequence[StageStatus]
    families: Sequence[FamilyStatus]
    annotators: Sequence[AnnotatorStatus]
    unsent: int
    settled: int
    hours_left: float
    days_left: float | None
    pace: Pace
    read_until: str | None
    full_read: str | None
    events: int
    head: str


def status(desk: Desk) -> Status:
    """Return how far everything has come."""
    answers, times = in_order(desk.answers), dwells(desk.answers, desk.settings.quality.max_idle_s)
    tasks = wanted(desk.chosen, desk.standing, desk.settings, desk.secret)
    given = Counter(answer.task_key for answer in answers if not answer.skipped)
    left = {task.key: max(_people(task, desk) - given[task.key], 0) for task in tasks}
    stages = [_stage(name, [t for t in tasks if stage_of(t) == name], answers, left, times) for name in STAGES]
    pace, hours_left = _pace(answers, times), sum(stage.hours_left for stage in stages)
    read_until, full_read = progress(desk.log)
    return Status(
        stages=stages,
        families=_families(desk, tasks, answers, left),
        annotators=_annotators(desk, answers, times),
        unsent=len({task.key for task in tasks} - set(history.tasks(desk.log))),
        settled=len(desk.standing.settled),
        hours_left=hours_left,
        days_left=hours_left * pace.days / pace.hours if pace.hours else None,
        pace=pace,
        read_until=read_until,
        full_read=full_read,
        events=sum(1 for _ in desk.log.events()),
        head=desk.log.head,
    )


def stage_of(item: Answer | Task) -> str:
    """Return which of `STAGES` an answer, or a task, belongs to."""
    if item.kind is Kind.QUALIFICATION:
        return QUALIFY
    return REWORK if item.round else str(item.stage)


def _people(task: Task, desk: Desk) -> int:
    if task.project != QUALIFY:
        return task.people
    return sum(person.status == ACTIVE for person in desk.people.persons)


def _stage(
    name: str,
    tasks: Sequence[Task],
    answers: Sequence[Answer],
    left: Mapping[str, int],
    times: Mapping[str, float | None],
) -> StageStatus:
    mine = [answer for answer in answers if stage_of(answer) == name]
    spent = middle(times[answer.uid] for answer in mine if not answer.skipped)
    needed, still = ASSUMED_S[name] if spent is None else spent, sum(left[task.key] for task in tasks)
    return StageStatus(
        name=name,
        wanted=len(mine) + still,
        answered=len(mine),
        open=still,
        median_s=needed,
        assumed=spent is None,
        hours_left=still * needed / HOUR_S,
    )


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of those values that are known; None of none."""
    found = [value for value in values if value is not None]
    return median(found) if found else None


def _pace(answers: Sequence[Answer], times: Mapping[str, float | None]) -> Pace:
    if not answers:
        return Pace(answers=0, hours=0.0, days=1.0)
    end = answers[-1].submitted
    recent = [answer for answer in answers if answer.submitted > end - _RECENT]
    days = min(max((end - answers[0].submitted) / timedelta(days=1), 1.0), _RECENT / timedelta(days=1))
    return Pace(answers=len(recent), hours=hours_of(recent, times), days=days)


def _families(
    desk: Desk, tasks: Sequence[Task], answers: Sequence[Answer], left: Mapping[str, int]
) -> list[FamilyStatus]:
    family_of = {subject.record_id: subject.family or PRISTINE for subject in desk.subjects}
    asked = [task for task in tasks if stage_of(task) == StageName.DESCRIBE]
    records = Counter(family_of[task.record_id] for task in asked)
    still = Counter[str]()
    for task in asked:
        still[family_of[task.record_id]] += left[task.key]
    described = [a.record_id for a in answers if stage_of(a) == StageName.DESCRIBE]
    given = Counter(family_of[record_id] for record_id in described if record_id in family_of)
    settled = Counter(family_of[record_id] for record_id in desk.standing.settled if record_id in family_of)
    return [
        FamilyStatus(
            name=name,
            records=records[name],
            wanted=given[name] + still[name],
            answered=given[name],
            open=still[name],
            settled=settled[name],
        )
        for name in sorted(records, key=lambda name: (name == PRISTINE, name))
    ]


def _annotators(desk: Desk, answers: Sequence[Answer], times: Mapping[str, float | None]) -> list[AnnotatorStatus]:
    by_name: dict[str, list[Answer]] = {person.pseudonym: [] for person in desk.people.persons}
    for answer in answers:
        by_name.setdefault(answer.annotator, []).append(answer)
    known_scores, stands = scores(answers, desk.settings), desk.standing.status
    return [_annotator(name, mine, known_scores.get(name), stands, times) for name, mine in sorted(by_name.items())]


def _annotator(
    name: str,
    mine: Sequence[Answer],
    score: Score | None,
    stands: Mapping[str, str],
    times: Mapping[str, float | None],
) -> AnnotatorStatus:
    counts = Counter(stands.get(a.uid, "reviews") for a in mine if a.kind is not Kind.QUALIFICATION)
    return AnnotatorStatus(
        pseudonym=name,
        answers=len(mine),
        reviews=counts["reviews"],
        accepted=counts["accepted"],
        doubted=counts["doubted"],
        returned=counts["returned"],
        held=counts["held"],
        abandoned=counts["abandoned"],
        superseded=counts["superseded"],
        skipped=counts["skipped"],
        examination=score.qualification if score else (0, 0),
        qualified=score.qualified if score else False,
        checks=(score.gold[0] + score.catch[0], score.gold[1] + score.catch[1]) if score else (0, 0),
        trusted=score.trusted if score else True,
        median_s=middle(times[answer.uid] for answer in mine if not answer.skipped),
        hours=hours_of(mine, times),
    )


def lines(status: Status) -> list[str]:
    """Return a status as a few lines for a terminal."""
    told = [f"{'stage':<12}{'answered':>9}{'open':>9}{'median':>9}{'left':>10}"]
    told += [_stage_line(stage) for stage in status.stages]
    counts = f"{'answers':>9}{'accepted':>9}{'returned':>9}{'held':>6}{'exam':>8}{'checks':>8}"
    told += ["", f"{'annotator':<12}{counts}{'median':>9}{'hours':>9}"]
    told += [_annotator_line(person) for person in status.annotators]
    told += ["", f"{status.settled:,} records have a report that counts; {status.unsent:,} tasks are not sent yet"]
    return [*told, _left_line(status), f"last full read: {status.full_read or 'never'}; log {status.head[:12]}…"]


def _stage_line(stage: StageStatus) -> str:
    time = f"{'~' if stage.assumed else ''}{stage.median_s:.0f} s"
    return f"{stage.name:<12}{stage.answered:>9,}{stage.open:>9,}{time:>9}{stage.hours_left:>8,.1f} h"


def _annotator_line(person: AnnotatorStatus) -> str:
    time = "–" if person.median_s is None else f"{person.median_s:.0f} s"
    counts = f"{person.answers:>9,}{person.accepted:>9,}{person.returned:>9,}{person.held:>6,}"
    exam, checks = ("/".join(map(str, counted)) for counted in (person.examination, person.checks))
    return f"{person.pseudonym:<12}{counts}{exam:>8}{checks:>8}{time:>9}{person.hours:>7,.1f} h"


def _left_line(status: Status) -> str:
    left = f"{status.hours_left:,.1f} hours of work are left"
    if status.days_left is None:
        return f"{left}; how many days that takes shows once people have answered"
    pace = f"{status.pace.answers:,} answers in {status.pace.days:.0f} days"
    return f"{left}: {status.days_left:,.0f} days at the pace of {pace}"
