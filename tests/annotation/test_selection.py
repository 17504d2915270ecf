from collections import Counter

import pytest

from annotation.answers import Kind
from annotation.selection import Subject, choose, draw
from mmtt.recipe import AnnotateSection

SETTINGS = AnnotateSection(gold_share=0.1, catch_share=0.1, overlap=3, overlap_share=0.2)


def made(forged=1000, pristine=300, start=0):
    faces = [Subject(f"p{n:06d}", "0" * 64, None, {}, False) for n in range(start, start + pristine)]
    edits = [
        Subject(f"f{n:06d}", "1" * 64, "face_swap", {"eye": 0.9}, n % 2 == 0) for n in range(start, start + forged)
    ]
    return sorted(faces + edits, key=lambda subject: subject.record_id)


def kinds(chosen):
    return Counter(item.kind for item in chosen)


def test_everything_forged_is_asked_once_and_examinations_are_apart():
    chosen = choose(made(), SETTINGS, seed=1)
    ids = [item.subject.record_id for item in chosen]
    assert len(ids) == len(set(ids))
    counted = kinds(chosen)
    assert counted[Kind.QUALIFICATION] == 20 and counted[Kind.ORDINARY] + counted[Kind.GOLD] == 1000 - 15
    assert 25 < counted[Kind.GOLD] < 75 and 70 < counted[Kind.CATCH] < 130


def test_gold_is_plain_and_catch_trials_are_pristine():
    for item in choose(made(), SETTINGS, seed=1):
        assert item.kind is not Kind.GOLD or item.subject.plain
        assert (item.subject.family is None) == (item.kind is Kind.CATCH) or item.kind is Kind.QUALIFICATION


def test_an_examination_question_cannot_be_told_by_how_many_see_it():
    people = {item.kind: set() for item in choose(made(), SETTINGS, seed=1)}
    for item in choose(made(), SETTINGS, seed=1):
        people[item.kind].add(item.people)
    assert people[Kind.GOLD] == people[Kind.CATCH] == {3} and people[Kind.ORDINARY] == {1, 3}


@pytest.mark.parametrize("protocol", ["paper", "informed"])
def test_who_sees_the_pristine_gets_no_catch_trials(protocol):
    chosen = choose(made(), SETTINGS.model_copy(update={"protocol": protocol}), seed=1)
    assert all(item.subject.family is not None for item in chosen)


def test_a_share_is_drawn_by_digest_and_stays_when_records_come():
    half = SETTINGS.model_copy(update={"share": 0.5, "qualification_tasks": 0})
    before = {item.subject.record_id for item in choose(made(), half, seed=1) if item.subject.family}
    after = {item.subject.record_id for item in choose(made() + made(start=5000), half, seed=1) if item.subject.family}
    assert 400 < len(before) < 600 and before < after


def test_another_seed_draws_others():
    assert draw("record", "gold", 0) != draw("record", "gold", 1) != draw("record", "catch", 1)
    assert all(0 <= draw(f"record{n}", "gold", 0) < 1 for n in range(100))


def test_a_small_dataset_has_what_it_has():
    assert kinds(choose(made(3, 1), SETTINGS, seed=0))[Kind.QUALIFICATION] <= 3
    assert choose([], SETTINGS, seed=0) == []


def test_what_was_asked_stays_what_it_was_asked_as():
    before = choose(made(), SETTINGS, seed=1)
    asked_as = {item.subject.record_id: item.kind for item in before}
    after = choose(made() + made(start=5000), SETTINGS, seed=1, asked_as=asked_as)
    now = {item.subject.record_id: item.kind for item in after}
    assert {record: now[record] for record in asked_as} == asked_as
    assert kinds(after)[Kind.QUALIFICATION] == 20


def test_another_gold_share_makes_nothing_else_of_what_was_asked():
    before = {item.subject.record_id: item.kind for item in choose(made(), SETTINGS, seed=1)}
    edited = SETTINGS.model_copy(update={"gold_share": 0.9, "qualification_tasks": 40})
    now = {item.subject.record_id: item.kind for item in choose(made(), edited, seed=1, asked_as=before)}
    assert {record: now[record] for record in before} == before
