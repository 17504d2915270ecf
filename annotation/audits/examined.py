"""X5: how annotators do in the examination questions that are hidden in their work, from the annotation's log."""

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence

from ..answers import Answer, Kind, in_order
from ..desk import open_desk
from ..private import folder
from ..protocols import StageName
from ..quality.people import Score, passes, scores


def judge_checks(evidence: Evidence) -> Finding:
    """Count false alarms on catch trials; the annotator decides of whom most is known for certain."""
    if not (folder(evidence.root) / "log.sqlite").is_file():
        raise NotApplicable("There is no log of annotation here, which alone knows the catch trials.")
    with open_desk(evidence.root) as desk:
        answers, found = in_order(desk.answers), scores(desk.answers, desk.settings)
    trials = {name: score.catch for name, score in found.items() if score.catch[1]}
    if not trials:
        raise NotApplicable("Nobody has answered a catch trial yet.")
    intervals = {name: _interval(asked - passed, asked) for name, (passed, asked) in trials.items()}
    name = max(trials, key=lambda name: (intervals[name], name))
    passed, asked = trials[name]
    low, high = intervals[name]
    return Finding(
        statistic=1 - passed / asked,
        low=low,
        high=high,
        n=asked,
        of="catch trials of that annotator",
        sentence=f"'{name}' sees a forgery in {asked - passed} of {asked} pictures that nobody touched; all annotators "
        f"together in {_pooled(found, 'catch'):.0%} of theirs.",
        details={
            "false alarms by annotator": {name: 1 - passed / asked for name, (passed, asked) in trials.items()},
            "catch trials by annotator": {name: asked for name, (_, asked) in trials.items()},
            "gold questions failed by annotator": {
                name: 1 - score.gold[0] / score.gold[1] for name, score in found.items() if score.gold[1]
            },
            "false alarms of all": _pooled(found, "catch"),
            "gold questions failed by all": _pooled(found, "gold"),
        },
        worst=_worst(answers),
    )


def _interval(wrong: int, asked: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # half a second, which nobody else should wait for

    found = binomtest(wrong, asked).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _pooled(found: dict[str, Score], kind: str) -> float | None:
    counts = [getattr(score, kind) for score in found.values()]
    asked = sum(count for _, count in counts)
    return 1 - sum(passed for passed, _ in counts) / asked if asked else None


def _worst(answers: tuple[Answer, ...]) -> tuple[Example, ...]:
    alarms = [a for a in answers if a.kind is Kind.CATCH and a.stage == StageName.DESCRIBE and passes(a) is False]
    return tuple(
        Example(alarm.record_id, f"{alarm.annotator} sees a forgery here: {', '.join(alarm.regions) or 'nowhere'}")
        for alarm in alarms[:MOST_EXAMPLES]
    )
