import math
from dataclasses import replace
from datetime import timedelta

import pytest

from annotation.answers import Answer, Kind, in_order
from annotation.quality.time import spells
from tests.annotation.planted import MORNING, found, make_answer, verification


def at(seconds: float, number: int = 0, **changes: object) -> Answer:
    """An answer submitted so many seconds after the morning; no draft unless one is given."""
    moment = MORNING + timedelta(seconds=seconds)
    return make_answer(number, **{"submitted": moment, "updated": moment, "drafted": None, **changes})


def dwell_of(*answers: Answer) -> list[float | None]:
    known = spells(in_order(answers))
    return [known[answer.uid].dwell for answer in answers]


@pytest.mark.parametrize(("seconds", "count"), [(59.9, 1), (60.0, 0), (60.1, 0), (0.0, 1)])
def test_the_browser_claims_too_little(seconds, count):
    findings = found("dwell", at(0, lead_time_s=seconds))
    assert [f.effect for f in findings] == ["return"] * count
    assert [f.value for f in findings] == [seconds] * count


@pytest.mark.parametrize(("gap", "count"), [(59.9, 1), (60.0, 0)])
@pytest.mark.parametrize("lead", [99_999.0, 90.0, None, math.nan, -5.0, math.inf])
def test_whatever_a_browser_claims_the_submission_before_was_so_long_ago(gap, count, lead):
    findings = found("dwell", at(0), at(gap, 1, lead_time_s=lead))
    assert [f.uid for f in findings] == ["ann-0001"] * count


def test_a_skip_and_another_stage_are_submissions_too():
    skip = at(100, 1, skipped=True, lead_time_s=4.0)
    assert [f.uid for f in found("dwell", at(0), skip, at(130, 2))] == ["ann-0002"]
    other = at(100, 1, stage="verify", about="x", match="yes", verdict=None)
    assert [f.uid for f in found("dwell", at(0), other, at(130, 2))] == ["ann-0002"]


def test_other_peoples_submissions_say_nothing():
    assert found("dwell", at(0, annotator="b"), at(5, 1)) == []


def test_the_first_answer_of_a_day_has_only_what_the_browser_claims():
    assert dwell_of(at(0), at(20 * 3600, 1, lead_time_s=80.0)) == [90.0, 80.0]
    assert [f.uid for f in found("dwell", at(0), at(20 * 3600, 1, lead_time_s=30.0))] == ["ann-0001"]


@pytest.mark.parametrize("lead", [None, math.nan, -1.0, math.inf])
def test_of_whom_no_time_is_known_a_person_decides(lead):
    (finding,) = found("dwell", at(0, lead_time_s=lead))
    assert (finding.effect, finding.value) == ("hold", None)


def test_a_draft_can_speak_for_an_annotator():
    drafted = MORNING - timedelta(seconds=60)
    assert found("dwell", at(0, lead_time_s=None, drafted=drafted)) == []
    assert found("dwell", at(0, lead_time_s=None, drafted=drafted + timedelta(seconds=1)))


def test_a_late_draft_shortens_nothing():
    assert dwell_of(at(0, drafted=MORNING - timedelta(seconds=5))) == [90.0]


def test_work_that_was_put_aside_is_held_not_returned():
    aside = at(120, 1, drafted=MORNING - timedelta(seconds=60), lead_time_s=130.0)
    (finding,) = found("dwell", at(0), at(100, 2), aside)
    assert (finding.uid, finding.effect, finding.value) == ("ann-0001", "hold", 20.0)
    for hasty in (replace(aside, drafted=None), replace(aside, lead_time_s=59.0)):
        (finding,) = found("dwell", at(0), at(100, 2), hasty)
        assert finding.effect == "return"


@pytest.mark.parametrize(
    ("drafted", "updated"),
    [(30, 0), (None, -40)],
)
def test_where_the_servers_clock_went_back_its_times_say_nothing(drafted, updated):
    moment = MORNING + timedelta(seconds=20)
    begun = None if drafted is None else moment + timedelta(seconds=drafted)
    skewed = at(20, 1, drafted=begun, updated=moment + timedelta(seconds=updated))
    assert dwell_of(at(0), skewed) == [90.0, 90.0]
    assert found("pasted", at(0), skewed) == []


def test_a_clock_that_goes_back_between_two_answers_makes_no_negative_time():
    first, second = at(100, 1), at(20, 2)  # given in this order
    assert dwell_of(first, second) == [80.0, 90.0]
    assert all(spent >= 0 for spent in dwell_of(at(0, 3), at(0, 4), at(-1, 5)))


def test_answers_of_one_moment_are_ordered_by_their_ids():
    assert dwell_of(at(0, 1), at(0, 2)) == [90.0, 0.0]
    assert dwell_of(at(0, 2), at(0, 1)) == [0.0, 90.0]


def test_a_later_edit_counts_as_far_as_the_browser_saw_it():
    edited = at(100, 1, updated=MORNING + timedelta(seconds=220), lead_time_s=70.0)
    quick = replace(edited, submitted=MORNING + timedelta(seconds=10))
    assert dwell_of(at(0), quick) == [90.0, 70.0]
    assert dwell_of(at(0), replace(quick, lead_time_s=None)) == [90.0, 10.0]


def test_a_rework_needs_only_what_was_missing():
    first = at(0, 0, lead_time_s=25.0)
    again = at(500, 1, kind=Kind.REWORK, about=first.uid, round=1, lead_time_s=36.0)
    assert [f.uid for f in found("dwell", first, again)] == [first.uid]
    hasty = replace(again, lead_time_s=34.0)
    assert [(f.uid, f.value) for f in found("dwell", first, hasty)] == [(first.uid, 25.0), (hasty.uid, 59.0)]
    third = at(900, 2, kind=Kind.REWORK, about=hasty.uid, round=2, lead_time_s=2.0)
    assert [f.uid for f in found("dwell", first, hasty, third)] == [first.uid, hasty.uid]


@pytest.mark.parametrize(("seconds", "count"), [(29.9, 1), (30.0, 0)])
def test_who_verifies_must_look_half_as_long_and_is_held(seconds, count):
    verified = replace(verification(at(0), "ver"), lead_time_s=seconds)
    assert [f.effect for f in found("dwell", at(0), verified)] == ["hold"] * count


def test_a_skip_may_be_fast():
    assert found("dwell", at(0, skipped=True, lead_time_s=1.0)) == []


@pytest.mark.parametrize(("lead", "count"), [(110.0, 0), (110.1, 1), (99_999.0, 1)])
def test_more_time_claimed_than_has_passed_means_several_tabs(lead, count):
    findings = found("parallel", at(0), at(100, 1, lead_time_s=lead))
    assert [(f.uid, f.effect) for f in findings] == [("ann-0001", "tell")] * count


def test_an_edit_explains_more_time():
    edited = at(100, 1, updated=MORNING + timedelta(seconds=400), lead_time_s=300.0)
    assert found("parallel", at(0), edited) == []


@pytest.mark.parametrize(("lead", "count"), [(1800.0, 0), (1800.1, 1), (99_999.0, 1)])
def test_a_task_left_open_is_told(lead, count):
    assert [f.effect for f in found("idle", at(0, lead_time_s=lead))] == ["tell"] * count


def test_a_night_between_two_answers_is_not_idle():
    assert found("idle", at(0), at(50_000, 1), at(100_000, 2, lead_time_s=None)) == []


@pytest.mark.parametrize(("seconds", "count"), [(8.0, 0), (7.9, 1), (0.0, 1)])
def test_nobody_types_faster(seconds, count):
    text = " ".join(["nose"] * 20)
    findings = found("pasted", at(0, text=text, drafted=MORNING - timedelta(seconds=seconds)))
    assert [f.effect for f in findings] == ["hold"] * count


def test_a_text_that_was_there_before_is_not_pasted():
    assert found("pasted", at(0, kind=Kind.REWORK, round=1, drafted=MORNING)) == []
    assert found("pasted", at(0, drafted=None)) == []


def test_a_bar_of_zero_lets_everybody_pass():
    assert found("dwell", at(0, lead_time_s=0.0), at(0, 1, lead_time_s=None), min_dwell_s=0) == []
