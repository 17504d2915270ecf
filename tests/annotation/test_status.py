"""How far the work has come, what is left of it, and what is to be paid for."""

import csv
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from annotation.desk import open_desk
from annotation.hours import hours, write_hours
from annotation.status import ASSUMED_S, STAGES, Status, lines, status
from mmtt.manifest import passed
from tests.annotation import desks
from tests.annotation.desks import MORNING, Said, answer, dataset, enrol, person, pull, push


@pytest.fixture
def layout(tmp_path):
    """Six drawn people, forged twice; every forgery is asked of two people."""
    made = dataset(tmp_path / "tiny")
    enrol(made, person("ann", 1), person("ben", 2), person("eve", 3, status="retired"))
    return made


def told(layout) -> Status:
    with open_desk(layout.root) as desk:
        return status(desk)


def stages(layout):
    return {stage.name: stage for stage in told(layout).stages}


def person_of(layout, pseudonym):
    return next(one for one in told(layout).annotators if one.pseudonym == pseudonym)


def later(minutes: float) -> datetime:
    return MORNING + timedelta(minutes=minutes)


def describing(tasks):
    return [task for task in tasks if task.project == "describe"]


def test_before_anything_is_sent_all_of_it_is_open(layout):
    found = told(layout)
    forged = len(passed(layout.forged))
    assert [stage.name for stage in found.stages] == list(STAGES)
    describe = next(stage for stage in found.stages if stage.name == "describe")
    assert (describe.wanted, describe.answered, describe.open) == (2 * forged, 0, 2 * forged)
    assert describe.assumed
    assert describe.hours_left == pytest.approx(2 * forged * ASSUMED_S["describe"] / 3600)
    assert found.unsent == forged
    assert (found.days_left, found.read_until, found.full_read) == (None, None, None)
    assert "never" in "\n".join(lines(found))


def test_what_was_sent_is_no_longer_unsent(layout):
    push(layout)
    assert told(layout).unsent == 0


def test_answers_are_counted_by_stage_family_and_person(layout):
    tasks = describing(push(layout))
    answer(layout, tasks[0], by=1, at=later(0))
    answer(layout, tasks[0], by=2, at=later(1))
    answer(layout, tasks[1], by=1, at=later(5))
    found, describe = told(layout), stages(layout)["describe"]
    assert (describe.answered, describe.open) == (3, 2 * len(tasks) - 3)
    assert describe.wanted == describe.answered + describe.open
    assert sum(family.answered for family in found.families) == 3
    assert sum(family.records for family in found.families) == len(tasks)
    assert {family.name for family in found.families} == {"recolour", "self_blend"}
    assert [(one.pseudonym, one.answers) for one in found.annotators] == [("ann", 2), ("ben", 1), ("eve", 0)]


def test_more_answers_than_wanted_leave_nothing_open_and_no_less(layout):
    tasks = describing(push(layout))
    for by, minutes in ((1, 0), (2, 1), (4, 2)):
        answer(layout, tasks[0], by=by, at=later(minutes))
    describe = stages(layout)["describe"]
    assert (describe.answered, describe.open) == (3, 2 * (len(tasks) - 1))


def test_a_strangers_account_is_told(layout):
    answer(layout, describing(push(layout))[0], by=77)
    assert person_of(layout, "account-77").answers == 1


def test_a_strangers_bad_answer_is_asked_of_somebody_else_and_stops_nothing(layout):
    task = describing(push(layout))[0]
    answer(layout, task, by=77, report="Too short.")
    with open_desk(layout.root) as desk:
        assert desk.standing.wasted == {task.key: 1} and list(desk.standing.returned) == []
        assert {t.project for t in desks.due(desk)} == {"describe"}


def test_a_skipped_answer_is_asked_again(layout):
    tasks = describing(push(layout))
    pull(layout, [Said(tasks[0], 1, later(0), {}, skipped=True)])
    describe = stages(layout)["describe"]
    assert (describe.answered, describe.open) == (1, 2 * len(tasks))
    assert person_of(layout, "ann").skipped == 1


def test_returned_work_is_open_rework_and_then_answered_rework(layout):
    tasks = describing(push(layout))
    pull(layout, [Said(tasks[0], 1, later(0), {}, seconds=5.0)])
    assert person_of(layout, "ann").returned == 1
    assert (stages(layout)["rework"].answered, stages(layout)["rework"].open) == (0, 1)
    again = next(task for task in push(layout) if task.project == "rework-ann")
    pull(layout, [Said(again, 1, later(9), {}, seconds=95.0)])
    rework, ann = stages(layout)["rework"], person_of(layout, "ann")
    assert (rework.answered, rework.open, rework.median_s) == (1, 0, 95.0)
    assert (ann.returned, ann.superseded, ann.answers) == (0, 1, 2)


def test_reviews_are_no_descriptions(layout):
    tasks = describing(push(layout))
    answer(layout, tasks[0], by=1)
    with open_desk(layout.root) as desk:
        known = replace(desks.due(desk)[0], key="0" * 24, stage="verify", project="verify")
    with open_desk(layout.root, write=True) as desk:
        desk.log.append([desks.New("task", known.key, {"project": "verify"}, known.facts)])
    pull(layout, [Said(known, 2, later(3), {"match": "yes"}, seconds=40.0)])
    ben = person_of(layout, "ben")
    assert (ben.answers, ben.reviews, ben.accepted) == (1, 1, 0)
    assert stages(layout)["verify"].answered == 1


def test_the_examination_is_open_for_everybody_who_is_active(tmp_path):
    layout = dataset(tmp_path / "tiny", qualification_tasks=4)
    enrol(layout, person("ann", 1), person("ben", 2), person("eve", 3, status="retired"))
    examined = [task for task in push(layout) if task.project == "qualify"]
    assert stages(layout)["qualify"].open == 2 * len(examined)
    answer(layout, examined[0], by=1, verdict="none_visible", regions=(), report="", difficulty=None)
    assert (stages(layout)["qualify"].answered, stages(layout)["qualify"].open) == (1, 2 * len(examined) - 1)
    ann = person_of(layout, "ann")
    assert (ann.examination[1], ann.qualified, ann.accepted) == (1, False, 0)


def test_catch_trials_are_the_family_pristine(tmp_path):
    layout = dataset(tmp_path / "tiny", catch_share=0.5)
    assert told(layout).families[-1].name == "pristine"


def test_time_left_follows_from_the_median_and_the_pace_of_the_last_days(layout):
    tasks = describing(push(layout))
    pull(layout, [Said(tasks[0], 1, MORNING - timedelta(days=30), {}, seconds=3000.0)])  # long ago
    pull(layout, [Said(tasks[n], 1, later(10 * n), {}, seconds=100.0) for n in (1, 2, 3)])
    pull(layout, [Said(tasks[4], 2, later(60 * 24 * 3.5), {}, seconds=100.0)])
    found, describe = told(layout), stages(layout)["describe"]
    assert describe.median_s == 100.0
    assert not describe.assumed
    assert describe.hours_left == pytest.approx(describe.open * 100 / 3600)
    assert (found.pace.answers, found.pace.days) == (4, 7.0)
    assert found.pace.hours == pytest.approx(400 / 3600)
    assert found.days_left == pytest.approx(found.hours_left / (400 / 3600) * 7)


def test_it_is_json_with_marks_and_the_head_of_the_log(layout):
    answer(layout, describing(push(layout))[0], by=1)
    found = told(layout)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["settled"] == found.settled
    with open_desk(layout.root) as desk:
        assert (found.head, found.events) == (desk.log.head, sum(1 for _ in desk.log.events()))
    assert found.read_until == found.full_read == MORNING.isoformat()


def test_lines_name_every_stage_and_person(layout):
    answer(layout, describing(push(layout))[0], by=1)
    text = "\n".join(lines(told(layout)))
    assert all(name in text for name in (*STAGES, "ann", "ben", "eve"))
    assert max(map(len, text.splitlines())) <= 100


def test_hours_count_everything_by_day_up_to_the_longest_time(layout):
    tasks = describing(push(layout))
    night = datetime(2026, 3, 2, 23, 59, tzinfo=UTC)
    pull(layout, [
        Said(tasks[0], 1, night, {}, seconds=90_000.0),  # 25 hours in the browser
        Said(tasks[1], 1, night + timedelta(minutes=2), {}, seconds=60.0),
        Said(tasks[2], 1, night + timedelta(minutes=4), {}, seconds=60.0, skipped=True),
        Said(tasks[3], 2, night, {}, changes={"lead_time": None}),
    ])  # fmt: skip
    with open_desk(layout.root) as desk:
        rows = [(row.annotator, row.day, row.answers, row.untimed, round(row.hours, 4)) for row in hours(desk)]
    assert rows == [
        ("ann", "2026-03-02", 1, 0, 0.5),
        ("ann", "2026-03-03", 2, 0, round(120 / 3600, 4)),
        ("ben", "2026-03-02", 1, 1, 0.0),
    ]


def test_rework_is_paid(layout):
    pull(layout, [Said(describing(push(layout))[0], 1, later(0), {}, seconds=36.0)])
    again = next(task for task in push(layout) if task.project == "rework-ann")
    pull(layout, [Said(again, 1, later(9), {}, seconds=72.0)])
    with open_desk(layout.root) as desk:
        assert [row.hours for row in hours(desk)] == [pytest.approx(0.03)]


def test_the_export_holds_no_formula_and_no_words_of_anybody(tmp_path):
    layout = dataset(tmp_path / "tiny")
    enrol(layout, person('=HYPERLINK("http://x")', 1), person("ann, or not", 2))
    tasks = describing(push(layout))
    answer(layout, tasks[0], by=1, report="=1+1 is what the nose says.")
    answer(layout, tasks[0], by=2)
    with open_desk(layout.root) as desk:
        write_hours(desk, tmp_path / "hours.csv")
    text = (tmp_path / "hours.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["annotator"] for row in rows] == ['\'=HYPERLINK("http://x")', "ann, or not"]
    assert [(row["answers"], row["hours"]) for row in rows] == [("1", "0.03"), ("1", "0.03")]
    assert "nose" not in text
