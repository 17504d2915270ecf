from dataclasses import replace
from datetime import timedelta

import pytest

from annotation.answers import Kind, in_order, numbered, text_sha256
from annotation.quality import Effect, Finding
from annotation.standing import standing
from mmtt.recipe import AnnotateSection
from tests.annotation.planted import MORNING, make_answer, verification

SETTINGS = AnnotateSection(qualification_tasks=0)


def finding(answer, rule="words", effect=Effect.RETURN, message="Please write more."):
    return Finding(
        rule=rule, uid=answer.uid, annotator=answer.annotator, value=1.0, effect=effect, message=message, detail=""
    )


def stand(*answers, found=(), gone=(), rejected=(), **changes):
    settings = SETTINGS.model_copy(update=changes)
    return standing(list(answers), list(found), settings, 0, gone, rejected)


def two(**changes):
    """Two people about one record; `changes` are the second one's."""
    first = make_answer(1, "ann")
    return first, replace(make_answer(1, "ben"), submitted=first.submitted + timedelta(hours=1), **changes)


def adjudication(*about, text="The chin has a hard edge below it.", **changes):
    record, late = about[0].record_id, MORNING + timedelta(days=90)
    given = {"stage": "adjudicate", "annotator": "judge", "text": text, "regions": ("chin",), "submitted": late}
    shown = {"given_sha256": text_sha256(numbered(in_order(about))), "task_key": f"judge-{record}"}
    number = int(record.removeprefix("record-"))
    return make_answer(number, uid=f"judge-{record}", updated=late, **given | shown | changes)


def texts(found):
    return {record: [settled.answer.text for settled in counting] for record, counting in found.settled.items()}


def test_a_good_answer_is_verified_before_it_counts_as_such():
    answer = make_answer()
    before = stand(answer)
    assert before.status[answer.uid] == "accepted" and list(before.to_verify) == [answer]
    assert [s.how for s in before.settled[answer.record_id]] == ["single"]
    after = stand(answer, verification(answer, "ver"))
    assert [s.how for s in after.settled[answer.record_id]] == ["verified"]


def test_what_is_returned_counts_only_when_it_was_worked_over():
    answer = make_answer()
    bad = finding(answer)
    before = stand(answer, found=[bad])
    assert before.status[answer.uid] == "returned" and list(before.returned) == [(answer, ["Please write more."])]
    assert before.settled == {} and list(before.to_verify) == []
    again = rework(answer)
    after = stand(answer, again, found=[bad])
    assert after.status == {answer.uid: "superseded", again.uid: "accepted"}
    assert list(after.returned) == [] and texts(after) == {answer.record_id: [again.text]}


def test_work_goes_back_only_so_often():
    answer = make_answer(round=2)
    assert stand(answer, found=[finding(answer)]).status[answer.uid] == "abandoned"


@pytest.mark.parametrize(
    ("rule", "effect", "status"),
    [
        ("near_duplicate", Effect.HOLD, "held"),
        ("grounding", Effect.HOLD, "doubted"),
        ("drift", Effect.TELL, "accepted"),
    ],
)
def test_the_effect_of_a_finding_decides(rule, effect, status):
    answer = make_answer()
    found = stand(answer, found=[finding(answer, rule, effect)])
    assert found.status[answer.uid] == status
    assert (answer.record_id in found.settled) == (status == "accepted")


def test_what_is_doubted_counts_once_another_person_verified_it():
    answer = make_answer()
    doubt = finding(answer, "grounding", Effect.HOLD)
    assert list(stand(answer, found=[doubt], verify_share=0.0).to_verify) == [answer]
    verified = stand(answer, verification(answer, "ver"), found=[doubt])
    assert [s.how for s in verified.settled[answer.record_id]] == ["verified"]


def test_without_a_verifier_what_is_doubted_is_adjudicated():
    answer = make_answer(protocol="paper")
    found = stand(answer, found=[finding(answer, "grounding", Effect.HOLD)], protocol="paper")
    assert list(found.to_verify) == [] and list(found.to_adjudicate) == [answer.record_id]


@pytest.mark.parametrize("kind", [Kind.QUALIFICATION, Kind.CATCH])
def test_examinations_are_no_reports(kind):
    answer = make_answer(kind=kind)
    found = stand(answer)
    assert found.settled == {} and list(found.to_verify) == []


@pytest.mark.parametrize("changes", [{"verdict": "none_visible", "text": "", "regions": ()}, {"verdict": "unusable"}])
def test_only_what_was_seen_is_reported(changes):
    assert stand(make_answer(**changes)).settled == {}


def test_a_verifier_may_edit_and_the_authors_words_stay_beside():
    answer = make_answer()
    edit = replace(verification(answer, "ver"), match="partly", text="The nose is soft at its tip.", missed=("chin",))
    (settled,) = stand(answer, edit).settled[answer.record_id]
    assert (settled.how, settled.answer.text, settled.original) == ("edited", edit.text, answer.text)
    assert settled.editor == "ver" and settled.answer.regions == (*answer.regions, "chin")
    assert settled.answer.annotator == answer.annotator


@pytest.mark.parametrize("said", [{"match": "no"}, {"match": "partly"}, {"flags": ("false_positive",)}])
def test_what_a_verifier_refuses_is_adjudicated_and_does_not_count(said):
    answer = make_answer()
    refused = replace(verification(answer, "ver"), **said)
    found = stand(answer, refused)
    assert found.settled == {} and list(found.to_adjudicate) == [answer.record_id]
    ruled = adjudication(answer)
    after = stand(answer, refused, ruled)
    assert [(s.how, s.answer.text) for s in after.settled[answer.record_id]] == [("adjudicated", ruled.text)]


@pytest.mark.parametrize(
    ("text", "language"),
    [("No trace can be seen.", "en"), ("The nose looks natural.", "en"), ("看不到任何痕迹。", "zh")],
)
def test_a_verifier_who_writes_that_nothing_is_to_be_seen_edits_no_report(text, language):
    answer = make_answer()
    review = replace(verification(answer, "ver"), match="no", text=text, language=language)
    found = stand(answer, review)
    assert found.settled == {} and list(found.to_adjudicate) == [answer.record_id]


def test_a_verification_that_cannot_be_used_is_asked_of_somebody_else():
    answer = make_answer()
    own = verification(answer, answer.annotator)
    found = stand(answer, own, found=[finding(own, "self_verified", Effect.HOLD)])
    assert found.wasted == {own.task_key: 1}
    assert [s.how for s in found.settled[answer.record_id]] == ["single"]


def test_a_skipped_task_is_asked_of_nobody_twice():
    answer = make_answer(skipped=True, text="", verdict=None, regions=())
    found = stand(answer)
    assert found.status[answer.uid] == "skipped" and found.wasted == {}  # the server offers it on by itself


def test_people_who_disagree_go_to_adjudication_and_nothing_counts_until_then():
    first, second = two(regions=("ear",))
    found = stand(first, second)
    assert list(found.to_adjudicate) == [first.record_id] and found.settled == {}
    ruled = adjudication(first, second)
    after = stand(first, second, ruled).settled[first.record_id]
    assert [(s.how, s.answer.text) for s in after] == [("adjudicated", ruled.text)]


def test_an_adjudicator_may_decide_that_nothing_is_seen():
    first, second = two(regions=("ear",))
    ruled = adjudication(first, second, text="", verdict="none_visible", regions=())
    assert stand(first, second, ruled).settled == {}


def test_one_report_comes_first_verified_before_single():
    first, second = two()
    found = stand(first, second, verification(second, "ver")).settled[first.record_id]
    assert [(s.how, s.answer.annotator) for s in found] == [("verified", "ben"), ("single", "ann")]


def test_the_order_of_the_answers_does_not_matter():
    answers = [make_answer(n, who) for n in range(6) for who in ("ann", "ben")]
    found = [finding(answers[3]), finding(answers[5], "grounding", Effect.HOLD)]
    assert stand(*answers, found=found) == stand(*reversed(answers), found=reversed(found))


def rework(answer, annotator="ann", **changes):
    again = {"uid": f"again-{annotator}", "task_key": f"rework-{answer.uid}", "about": answer.uid, "round": 1}
    again |= {"annotator": annotator, "kind": Kind.REWORK, "submitted": answer.submitted + timedelta(hours=1)}
    return replace(answer, **again | {"text": "Now the nose is blurred at its tip."} | changes)


@pytest.mark.parametrize("why", ["skipped", "gone", "rounds"])
def test_what_will_not_be_worked_over_is_asked_of_somebody_else(why):
    answer = make_answer()
    later = [rework(answer, skipped=True, text="", verdict=None)] if why == "skipped" else []
    changes = {"gone": ["ann"]} if why == "gone" else {}
    answer = replace(answer, round=2) if why == "rounds" else answer
    found = stand(answer, *later, found=[finding(answer)], **changes)
    assert found.status[answer.uid] == "abandoned" and found.wasted == {answer.task_key: 1}
    assert list(found.returned) == []


def test_rework_by_somebody_else_takes_nobodys_place():
    answer = make_answer()
    other = rework(answer, "mallory")
    found = stand(answer, other, found=[finding(answer), finding(other, "anothers_rework", Effect.HOLD)])
    assert found.status == {answer.uid: "returned", other.uid: "held"}
    assert found.settled == {} and found.wasted == {other.task_key: 1}


def test_what_the_curator_rejects_is_asked_of_somebody_else():
    answer = make_answer()
    found = stand(answer, rejected=[answer.uid])
    assert (found.status[answer.uid], found.settled, found.wasted) == ("abandoned", {}, {answer.task_key: 1})


def test_a_verdict_is_about_the_words_that_were_shown():
    answer = make_answer()
    review = verification(answer, "ver")
    changed = replace(answer, text="The nose has another colour than the cheeks.")
    found = stand(changed, review)
    assert [(s.how, s.answer.text) for s in found.settled[answer.record_id]] == [("single", changed.text)]


def test_a_ruling_is_about_the_answers_that_were_shown():
    first, second = two(regions=("ear",))
    ruled = adjudication(first, second)
    third = replace(make_answer(1, "cleo"), submitted=first.submitted + timedelta(hours=2))
    assert stand(first, second, third, ruled).settled == {}


def test_a_refusal_stands_whatever_was_edited():
    answer = make_answer()
    review = replace(verification(answer, "ver"), match="no", text=answer.text + "!")
    assert stand(answer, review).settled == {}


def test_a_ruling_that_cannot_be_used_is_asked_of_somebody_else():
    first, second = two(regions=("ear",))
    own = adjudication(first, second, annotator="ann")
    found = stand(first, second, own, found=[finding(own, "self_verified", Effect.HOLD)])
    assert found.settled == {} and found.wasted == {own.task_key: 1}


def test_of_two_answers_of_one_person_to_one_task_the_later_counts():
    answer = make_answer()
    again = replace(
        answer, uid="twice", submitted=answer.submitted + timedelta(minutes=5), text="The nose is too dark."
    )
    found = stand(answer, again)
    assert found.status == {answer.uid: "superseded", "twice": "accepted"}
    assert texts(found) == {answer.record_id: [again.text]}
