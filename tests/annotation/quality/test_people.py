from dataclasses import replace
from datetime import timedelta

import pytest

from annotation.answers import Kind
from annotation.quality import inspect, scores
from annotation.quality.people import passes, region_f1
from mmtt.recipe import AnnotateSection, QualitySection
from tests.annotation.planted import MORNING, SETTINGS, found, make_answer, verification

NOTHING = {"verdict": "none_visible", "regions": (), "text": "", "difficulty": None}


def check(number: int, passed: bool, kind: Kind = Kind.GOLD, annotator: str = "ann", **changes):
    """An examination question, answered well or badly."""
    pristine = kind is Kind.CATCH
    answer = make_answer(number, annotator, kind=kind, **changes)
    blind = replace(answer, **NOTHING)
    return replace(blind if passed is pristine else answer, region_shares={} if pristine else answer.region_shares)


@pytest.mark.parametrize(
    ("regions", "f1"),
    [
        (("nose", "chin"), 1.0),
        (("nose",), 2 / 3),
        (("nose", "eye"), 0.5),
        (("nose", "chin", "eye"), 0.8),
        (("eye",), 0.0),
        (("nose", "chin", "ear"), 1.0),  # nobody measured the ears here
        ((), 0.0),
        (("mouth",), 0.0),  # only 9 % of it was edited
    ],
)
def test_the_regions_of_a_gold_answer_are_compared_with_those_edited(regions, f1):
    gold = make_answer(kind=Kind.GOLD, regions=regions, region_shares={"nose": 0.1, "chin": 0.9, "mouth": 0.09})
    assert region_f1(gold) == pytest.approx(f1)
    assert passes(gold) is (f1 >= 0.6)


def test_exactly_the_bar_is_passed():
    truth = dict.fromkeys(("nose", "chin", "eye"), 0.5)
    chosen = (*truth, "mouth", "lip", "forehead", "cheek")
    gold = make_answer(kind=Kind.GOLD, regions=chosen, region_shares=truth)
    assert region_f1(gold) == pytest.approx(0.6)
    assert passes(gold) is True


def test_of_a_forgery_of_many_regions_two_are_enough():
    swapped = dict.fromkeys(("nose", "chin", "eye", "cheek", "eyebrow", "mouth", "lip", "forehead"), 0.9)
    assert region_f1(make_answer(kind=Kind.GOLD, regions=("nose", "eye"), region_shares=swapped)) == 1
    assert region_f1(make_answer(kind=Kind.GOLD, regions=("nose",), region_shares=swapped)) == pytest.approx(2 / 3)
    assert not passes(make_answer(kind=Kind.GOLD, regions=(), region_shares=swapped))


def test_a_word_for_the_same_place_is_right():
    assert passes(make_answer(kind=Kind.GOLD, regions=("lip",), region_shares={"mouth": 0.5}))


@pytest.mark.parametrize(
    ("verdict", "good"), [("none_visible", True), ("looks_pristine", True), ("visible", False), ("unusable", False)]
)
def test_nothing_may_be_seen_in_a_pristine_face(verdict, good):
    for kind in (Kind.CATCH, Kind.QUALIFICATION):
        assert passes(make_answer(kind=kind, verdict=verdict, region_shares={})) is good


def test_a_forgery_must_be_seen():
    assert passes(make_answer(kind=Kind.GOLD, verdict="none_visible")) is False
    assert passes(make_answer(kind=Kind.GOLD, skipped=True)) is None
    assert passes(make_answer(kind=Kind.GOLD, region_shares=None)) is None


def results(good: int, bad: int, annotator: str = "ann"):
    answers = [check(n, n < good, Kind.CATCH if n % 2 else Kind.GOLD, annotator) for n in range(good + bad)]
    return [*answers, make_answer(500, annotator)]


@pytest.mark.parametrize(
    ("good", "bad", "fails"), [(3, 2, False), (2, 2, True), (0, 3, False), (0, 4, True), (6, 4, False)]
)
def test_whoever_fails_the_checks_is_told_and_their_reports_held(good, bad, fails):
    findings = found("checks", *results(good, bad), make_answer(7, "other"))
    assert [(f.uid, f.effect) for f in findings] == [("ann-0500", "hold"), (None, "tell")] * fails
    assert all(f.value == pytest.approx(good / (good + bad)) for f in findings)


def test_reports_from_before_the_last_passed_check_are_left_alone():
    before, after = make_answer(600, submitted=MORNING + timedelta(seconds=50)), make_answer(700)
    answers = [check(n, n < 2) for n in range(8)]
    assert [f.uid for f in found("checks", *answers, before, after)] == ["ann-0700", None]
    scattered = [check(n, n % 4 == 3) for n in range(12)]
    assert [f.uid for f in found("checks", *scattered, before, after)] == ["ann-0600", "ann-0700", None]


def test_whoever_was_good_for_long_may_still_fail():
    answers = [check(n, n < 100) for n in range(115)]
    assert {f.uid for f in found("checks", *answers, make_answer(500))} == {"ann-0500", None}


def test_what_another_person_verified_is_not_in_doubt():
    report = make_answer(500)
    assert {f.uid for f in found("checks", *results(0, 4), verification(report, "ver"))} == {None}
    own = verification(report, "ann")
    assert {f.uid for f in found("checks", *results(0, 4), own)} == {"ann-0500", None}
    refused = replace(verification(report, "ver"), match="no")
    assert {f.uid for f in found("checks", *results(0, 4), refused)} == {"ann-0500", None}


def test_a_check_counts_once_and_as_it_was_first_answered():
    answers = [check(n, False) for n in range(3)]
    again = [replace(check(0, True), uid=f"again-{n}", submitted=MORNING + timedelta(days=1)) for n in range(5)]
    reworked = replace(check(9, True), kind=Kind.REWORK, about="ann-0000", record_id="record-0000")
    assert found("checks", *answers, *again, reworked) == []
    assert scores([*answers, *again, reworked], SETTINGS)["ann"].gold == (0, 3)


def examined(good: int, answered: int = 20, annotator: str = "ann"):
    answers = [check(n, n < good, Kind.QUALIFICATION, annotator) for n in range(answered)]
    return [*answers, make_answer(500, annotator)]


def of_rule(rule: str, answers, settings: AnnotateSection = SETTINGS):
    return [f for f in inspect(answers, settings.quality, settings) if f.rule == rule]


@pytest.mark.parametrize(("good", "answered", "held"), [(16, 20, 0), (15, 20, 1), (15, 15, 1), (16, 16, 0), (0, 0, 1)])
def test_work_counts_when_the_examination_is_passed(good, answered, held):
    findings = of_rule("qualification", examined(good, answered))
    assert [(f.uid, f.effect) for f in findings] == [("ann-0500", "hold")] * held


def test_who_settles_disputes_need_not_be_examined_but_who_verifies():
    report = make_answer(1, "good")
    others = [make_answer(2, "ruler", stage="adjudicate"), verification(report, "ver")]
    findings = of_rule("qualification", [*examined(20, annotator="good"), report, *others])
    assert [f.annotator for f in findings] == ["ver"]


@pytest.mark.parametrize("kind", Kind)
def test_hidden_checks_of_whoever_is_not_qualified_are_held_like_any_other_answer(kind):
    failed = [*examined(15), check(600, False, kind)]
    held = {f.uid for f in of_rule("qualification", failed)}
    assert held == {"ann-0500"} | ({"ann-0600"} if kind is not Kind.QUALIFICATION else set())
    assert of_rule("qualification", [*examined(16), check(600, False, kind)]) == []


def test_without_an_examination_everybody_is_qualified():
    assert of_rule("qualification", [make_answer()], AnnotateSection(qualification_tasks=0)) == []


def choosing(count: int, others: int, fitting: int = 0):
    same = [
        make_answer(n, regions=("eye",), region_shares={"eye": 0.5} if n < fitting else {"chin": 0.9})
        for n in range(count)
    ]
    return same + [make_answer(count + n, regions=("nose", "ear")) for n in range(others)]


@pytest.mark.parametrize(("count", "others", "times"), [(6, 4, 1), (5, 5, 0), (5, 4, 0), (9, 0, 0), (10, 0, 1)])
def test_always_the_same_regions_are_told(count, others, times):
    findings = found("monotone", *choosing(count, others))
    assert [(f.uid, f.effect) for f in findings] == [(None, "tell")] * times


def test_who_is_right_each_time_is_not_monotone():
    assert found("monotone", *choosing(20, 0, fitting=18)) == []
    assert found("monotone", *choosing(20, 0, fitting=17))
    assert found("monotone", *(replace(a, region_shares=None) for a in choosing(20, 0))) == []


def test_what_was_worked_over_is_judged_as_it_is_now():
    old = choosing(10, 0)
    mended = [
        make_answer(
            100 + n, kind=Kind.REWORK, about=a.uid, round=1, record_id=a.record_id, regions=(("nose", "chin")[n % 2],)
        )
        for n, a in enumerate(old)
    ]
    assert found("monotone", *old)
    assert not found("monotone", *old, *mended)


def test_scores_are_what_a_curator_reads():
    answers = [*examined(16), check(30, True), check(31, False, Kind.CATCH), make_answer(40, lead_time_s=70.0)]
    answers += [make_answer(41, kind=Kind.REWORK, about="ann-0040", round=1), make_answer(1, "b")]
    made = scores(answers, SETTINGS)
    assert list(made) == ["ann", "b"]
    one = made["ann"]
    assert (one.qualification, one.gold, one.catch) == ((16, 20), (1, 1), (0, 1))
    assert (one.qualified, one.trusted, made["b"].qualified) == (True, True, False)
    assert scores([], SETTINGS) == {}


def test_thresholds_are_the_recipes():
    strict = QualitySection(check_score=1.0, min_checks=1)
    answers = [check(0, True), check(1, False), make_answer(5)]
    settings = AnnotateSection(quality=strict, qualification_tasks=0)
    assert of_rule("checks", answers, settings)
    assert not scores(answers, settings)["ann"].trusted
