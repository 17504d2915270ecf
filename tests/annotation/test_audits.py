"""Audits of annotation: people who guess, who do not look, who see forgeries everywhere; and people who do well."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from annotation import reports
from annotation.desk import open_desk
from annotation.quality import RULES
from mmtt.audit import NotApplicable, Verdict, gather
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.regions import REGIONS
from tests.annotation.desks import MORNING, Said, dataset, enrol, person, pull, push
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

COUNT = 30
SENTENCE = "The {} is blurred along its lower border, and its colour does not fit what lies beside it at all."


@cache
def pairs():
    return tuple(zip(*((make_record(seed), make_forged_record(seed)) for seed in range(COUNT)), strict=True))


def judged(layout, audit_id):
    """Return the audit's finding and verdict under its default gate."""
    audit = gather()[audit_id]
    finding = audit.judge(Evidence(layout.root, AuditSection(), serial, lambda _: silent))
    return finding, audit.verdict(finding, audit.gate)


def absent(layout, audit_id):
    with pytest.raises(NotApplicable) as told:
        judged(layout, audit_id)
    return str(told.value)


def stored(root, reports_of):
    pristine, forged = pairs()
    told = [report for number, record in enumerate(forged) for report in reports_of(number, record)]
    return stored_dataset(root, pristine, forged, reports=told)


def by_two(chosen_by):
    """Return reports of two people about each record, who choose the regions that `chosen_by` gives."""

    def both(number, record):
        for rank, name in enumerate(("ann", "ben")):
            regions = chosen_by(name, number)
            text = SENTENCE.format(" and the ".join(regions))
            yield make_report(record, text, annotator=name, rank=rank, regions=regions, text_regions=regions)

    return both


def alike(name, number):
    usual = [REGIONS[number % 5], REGIONS[5 + number % 4]]
    return usual if name == "ann" or number % 4 else usual[:1]


def at_random(name, number):
    rng = np.random.default_rng([len(name) + ord(name[0]), number])
    return sorted(rng.choice(REGIONS[:12], 2, replace=False).tolist())


def test_people_who_name_the_same_regions_agree_and_those_who_guess_do_not(tmp_path):
    finding, verdict = judged(stored(tmp_path / "alike", by_two(alike)), "X3")
    assert verdict is Verdict.PASSES and finding.statistic > 0.6 and finding.n == COUNT
    finding, verdict = judged(stored(tmp_path / "random", by_two(at_random)), "X3")
    assert verdict is Verdict.FAILS and finding.high < 0.4 and abs(finding.statistic) < 0.2
    assert finding.worst and "texts: low end of its interval" in finding.details


def test_what_an_adjudicator_wrote_and_single_reports_tell_nothing_of_agreement(tmp_path):
    def adjudicated(number, record):
        return [
            replace(report, settled="adjudicated" if report.rank else "single")
            for report in by_two(alike)(number, record)
        ]

    assert absent(stored(tmp_path, adjudicated), "X3").startswith("0 records have reports of two people")


def test_an_imported_dataset_that_names_nobody_still_has_several_reports(tmp_path):
    def nobody(number, record):
        return [replace(report, annotator="unknown") for report in by_two(alike)(number, record)]

    assert judged(stored(tmp_path, nobody), "X3")[0].n == COUNT


def timed(seconds_of):
    def one(number, record):
        return [make_report(record, SENTENCE.format("nose") * 2, dwell_s=seconds_of(number))]

    return one


DWELLS = {
    "brackets": (lambda number: (60, 90, 120, 180)[number % 4], Verdict.PASSES),
    "seconds": (lambda number: 61 + number * 7 % 50, Verdict.PASSES),
    "shortest bracket": (lambda number: 0 if number % 3 else 90, Verdict.FAILS),
    "a few seconds": (lambda number: 5 + number % 3, Verdict.FAILS),
    "scripted": (lambda _: 75, Verdict.FAILS),
    "scripted for a while": (lambda number: 75 if number < 8 else 61 + number, Verdict.FAILS),
}


@pytest.mark.parametrize("dwell", DWELLS)
def test_reports_that_come_too_fast_or_at_a_beat_fail(tmp_path, dwell):
    seconds_of, expected = DWELLS[dwell]

    def in_turn(number, record):  # the order in which they were written is known by the day only
        return [replace(timed(seconds_of)(number, record)[0], submitted=f"2026-10-{number + 1:02d}")]

    finding, verdict = judged(stored(tmp_path, in_turn), "X4")
    assert verdict is expected, finding
    assert bool(finding.worst) is (expected is Verdict.FAILS)


def test_somebody_who_takes_far_less_than_the_others_is_named(tmp_path):
    def people(number, record):
        name = ("ann", "ben", "cat")[number % 3]
        seconds = {"ann": 100, "ben": 110, "cat": 40}[name] + number % 7
        return [replace(timed(lambda _: seconds)(number, record)[0], annotator=name)]

    finding, _ = judged(stored(tmp_path, people), "X4")
    assert finding.details["median seconds, at least, of those far from the others"] == {"cat": 30}


def test_without_times_or_a_log_nothing_is_judged(tmp_path):
    layout = stored(tmp_path, timed(lambda _: None))
    assert absent(layout, "X4") == "No report says how long it took."
    assert "no log of annotation" in absent(layout, "X5")
    assert not (layout.root / "private" / "annotation").exists()


@pytest.fixture
def desk(tmp_path):
    """A dataset of which every record is asked about, and as many pristine faces beside them."""
    layout = dataset(tmp_path, overlap_share=0.0, catch_share=0.9, verify_share=0.0)
    enrol(layout, person("ann", 1))
    return layout, push(layout)


def answered(layout, tasks, catch_of, seconds_of=lambda _: 90.0):
    with open_desk(layout.root) as opened:
        facts = {chosen.subject.record_id: chosen.kind for chosen in opened.chosen}
    said = []
    for number, task in enumerate(tasks):
        at = MORNING + timedelta(seconds=200 * number)
        hidden = facts[task.facts["record_id"]] == "catch"
        said.append(Said(task, 1, at, catch_of(number) if hidden else {}, seconds_of(number)))
    pull(layout, said)
    return sum(kind == "catch" for kind in facts.values())


def sees_nothing(_):
    return {"verdict": "none_visible", "regions": (), "report": ""}


def test_an_annotator_who_sees_nothing_in_untouched_faces_passes(desk):
    layout, tasks = desk
    trials = answered(layout, tasks, sees_nothing)
    assert trials >= 4
    finding, verdict = judged(layout, "X5")
    assert verdict is Verdict.PASSES and finding.statistic == 0 and finding.n == trials


def test_an_annotator_who_sees_forgeries_everywhere_fails(desk):
    layout, tasks = desk
    trials = answered(layout, tasks, lambda _: {})
    finding, verdict = judged(layout, "X5")
    assert verdict is Verdict.FAILS and finding.statistic == 1 and finding.n == trials
    assert finding.details["false alarms by annotator"] == {"ann": 1.0}
    assert "ann sees a forgery here: nose" in finding.worst[0].why


def test_catch_trials_that_nobody_answered_tell_nothing(desk):
    layout, _ = desk
    assert absent(layout, "X5") == "Nobody has answered a catch trial yet."


@pytest.mark.parametrize(
    ("seconds_of", "expected"), [(lambda number: 70.5 + number, Verdict.PASSES), (lambda _: 75.25, Verdict.FAILS)]
)
def test_the_log_tells_times_to_the_second_where_the_published_table_has_brackets(tmp_path, seconds_of, expected):
    layout = dataset(tmp_path, overlap_share=0.0, verify_share=0.0, quality={"ignore": sorted(RULES)})
    enrol(layout, person("ann", 1))
    answered(layout, push(layout), sees_nothing, seconds_of)
    with open_desk(layout.root, write=True) as opened:
        assert reports.write(opened)[0]
    finding, verdict = judged(layout, "X4")
    assert finding.details["times known to the second"] == finding.n > 5
    assert verdict is expected
