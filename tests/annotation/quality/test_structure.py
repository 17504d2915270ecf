from dataclasses import replace
from datetime import timedelta

import pytest

from annotation.answers import Kind
from annotation.protocols import VERDICTS
from annotation.quality import Effect
from tests.annotation.planted import MORNING, found, make_answer, verification

EMPTY = {"regions": (), "text": "", "difficulty": None}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_its_complete_answer(verdict):
    assert found("structure", make_answer(verdict=verdict, **({} if verdict == "visible" else EMPTY))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": None}, "verdict is None"),
        ({"verdict": "maybe"}, "verdict is 'maybe'"),
        ({"regions": ()}, "no region is chosen"),
        ({"text": ""}, "there is no text"),
        ({"text": " \n "}, "there is no text"),
        ({"difficulty": None}, "difficulty is None"),
        ({"difficulty": 0}, "difficulty is 0"),
        ({"difficulty": 6}, "difficulty is 6"),
        ({"regions": ("eye", "elbow")}, "none of the choices: 'elbow'"),
        ({"flags": ("false_positive",)}, "none of the choices: 'false_positive'"),
        ({"regions": ("",)}, "none of the choices: ''"),
        ({"regions": ("\ud83d",)}, r"none of the choices: '\ud83d'"),
        ({**EMPTY, "verdict": "none_visible", "regions": ("eye",)}, "yet there are regions"),
        ({**EMPTY, "verdict": "looks_pristine", "text": "nothing"}, "yet there are regions"),
        ({**EMPTY, "verdict": "unusable", "text": "too dark"}, "yet there are regions"),
    ],
)
def test_what_is_missing_or_superfluous_goes_back(changes, said):
    (finding,) = found("structure", make_answer(**changes))
    assert said in finding.detail and finding.effect == "return"


def test_each_fault_is_told():
    details = [f.detail for f in found("structure", make_answer(regions=(), text="", difficulty=None))]
    assert len(details) == 3


@pytest.mark.parametrize(
    "text",
    ["TODO", "todo!", "n/a", "None.", "test", "asdf", "xxx", "...", "无", "没有。", "The [region] is odd.",
     "The <part> is odd", "The ____ is odd.", "lorem ipsum dolor sit amet", "{your text}", "【部位】模糊",
     "The eye TODO finish", "——"],
)  # fmt: skip
def test_a_placeholder_goes_back(text):
    (finding,) = found("structure", make_answer(text=text))
    assert "placeholder" in finding.detail


@pytest.mark.parametrize(
    "text",
    ["The eye (part of it) is smeared.", "None of the teeth is straight.", "The tested nose is odd.", "无阴影的下巴。",
     "The chin <- darker than the jaw", "Eye [left] smeared", "没有毛孔"],
)  # fmt: skip
def test_a_text_is_no_placeholder(text):
    assert found("structure", make_answer(text=text)) == []


def test_a_skip_without_a_reason_is_told():
    skipped = make_answer(**EMPTY, verdict=None, skipped=True)
    (finding,) = found("structure", skipped)
    assert finding.effect == "tell"
    assert found("structure", replace(skipped, flags=("technical_fault",))) == []
    assert found("structure", replace(skipped, text="the picture is black")) == []


def test_a_verification_needs_its_answer_and_is_held():
    verified = verification(make_answer(), "ver")
    assert found("structure", verified) == []
    assert found("structure", replace(verified, flags=("false_positive",), missed=("nose",))) == []
    (finding,) = found("structure", replace(verified, match=None))
    assert (finding.effect, finding.detail) == ("hold", "match is None")
    assert found("structure", replace(verified, missed=("elbow",)))


def test_a_ruling_needs_no_difficulty():
    ruled = make_answer(stage="adjudicate", difficulty=None)
    assert found("structure", ruled) == []
    assert found("structure", replace(ruled, text=""))[0].effect == "hold"


def test_nobody_judges_their_own_report():
    own = make_answer(annotator="a")
    assert found("self_verified", own, verification(own, "b")) == []
    (finding,) = found("self_verified", own, verification(own, "a"))
    assert (finding.effect, finding.uid) == ("hold", f"{own.uid}-verified-by-a")


def test_nobody_verifies_a_rework_of_their_own():
    again = make_answer(1, "a", kind=Kind.REWORK, about="a-0000", round=1, record_id="record-0000")
    (finding,) = found("self_verified", make_answer(0, "a"), again, verification(again, "a"))
    assert finding.uid == f"{again.uid}-verified-by-a"


def test_nobody_settles_a_dispute_that_they_are_part_of():
    own, other = make_answer(annotator="a"), make_answer(annotator="b")
    ruled = make_answer(9, "a", stage="adjudicate", record_id=own.record_id)
    assert [f.uid for f in found("self_verified", own, other, ruled)] == [ruled.uid]
    assert found("self_verified", own, other, replace(ruled, annotator="c")) == []


def test_nobody_settles_a_dispute_about_what_they_verified():
    one, other = make_answer(annotator="a"), make_answer(annotator="b")
    verified = verification(one, "v")
    ruled = make_answer(9, "v", stage="adjudicate", record_id=one.record_id)
    (finding,) = found("self_verified", one, other, verified, ruled)
    assert (finding.uid, finding.effect) == (ruled.uid, "hold") and "verified" in finding.detail
    assert found("self_verified", one, other, verified, replace(ruled, annotator="c")) == []
    assert found("self_verified", one, other, replace(verified, skipped=True), ruled) == []
    assert found("self_verified", one, other, verified, replace(ruled, record_id="record-0001")) == []


BEFORE, LATER = MORNING - timedelta(days=1), MORNING + timedelta(days=1)


def rework(of, annotator, **changes):
    facts = {"record_id": of.record_id, "about": of.uid, "round": of.round + 1, "submitted": LATER}
    return make_answer(800 + of.round, annotator, **{**facts, **changes})


@pytest.mark.parametrize("stage", ["verify", "adjudicate"])
def test_whoever_judged_a_record_describes_it_no_more_from_the_image_alone(stage):
    other, own = make_answer(annotator="a"), make_answer(annotator="b")
    judged = replace(verification(other, "b", BEFORE), stage=stage)
    (finding,) = found("informed", other, judged, own)
    assert (finding.uid, finding.effect) == (own.uid, "hold")
    assert "verified or adjudicated" in finding.detail and "mask" not in finding.message
    assert found("informed", other, replace(judged, skipped=True), own)
    assert found("informed", other, replace(judged, submitted=LATER), own) == []
    assert found("informed", other, replace(judged, record_id="record-0001"), own) == []
    assert found("informed", other, replace(judged, annotator="c"), own) == []
    assert found("informed", other, judged, replace(own, skipped=True)) == []


@pytest.mark.parametrize("protocol", ["paper", "informed"])
def test_where_everybody_is_shown_more_nobody_is_blind(protocol):
    own = make_answer(protocol=protocol)
    assert found("informed", replace(verification(own, "ann", BEFORE), about="x"), own) == []


def test_whoever_read_another_report_of_a_record_describes_it_no_more():
    other, own = make_answer(annotator="a"), make_answer(annotator="b")
    taken = rework(other, "b", submitted=BEFORE)
    (finding,) = found("informed", other, taken, own)
    assert finding.uid == own.uid and "another person's report" in finding.detail
    assert found("informed", other, replace(taken, submitted=LATER), own) == []
    assert found("informed", other, replace(taken, annotator="a"), own) == []


def test_rework_of_a_report_of_ones_own_is_blind_until_the_mask_was_seen():
    other, own = make_answer(annotator="a"), make_answer(annotator="b")
    again = rework(own, "b")
    assert found("informed", other, own, again, rework(again, "b", submitted=LATER + timedelta(hours=1))) == []
    read = make_answer(9, "b", record_id=own.record_id, about=other.uid, round=1)
    assert found("informed", other, own, read, again) == []
    seen = verification(other, "b", LATER - timedelta(hours=1))
    assert [f.uid for f in found("informed", other, own, seen, again)] == [again.uid]


def test_only_the_author_works_a_report_over():
    own = make_answer(annotator="a")
    assert found("anothers_rework", own, rework(own, "a")) == []
    (finding,) = found("anothers_rework", own, rework(own, "b"))
    assert (finding.annotator, finding.effect) == ("b", "hold") and own.uid in finding.detail
    assert found("anothers_rework", own, rework(own, "b", skipped=True, submitted=LATER)) == []
    assert found("anothers_rework", own, verification(own, "b")) == []
    assert found("anothers_rework", rework(own, "b")) == []  # nobody knows whose it was


def test_what_the_log_noticed_is_held():
    (finding,) = found("tampered", make_answer(signals=("edited_by_another",)), make_answer(1))
    assert (finding.effect, finding.detail) == ("hold", "the log noticed: edited_by_another")


def test_a_minor_holds_all_that_was_said_of_the_record():
    flagged = make_answer(0, "a", flags=("minor",), verdict="unusable", regions=(), text="")
    same = replace(make_answer(0, "b"), uid="same")
    other = make_answer(1, "b")
    held = found("minor", flagged, same, other)
    assert {(f.uid, f.effect) for f in held} == {(flagged.uid, Effect.HOLD), ("same", Effect.HOLD)}
    assert found("minor", make_answer(flags=("recognisable", "distressing"))) == []


@pytest.mark.parametrize(
    "text", ["the nose \x00 is red", "a bell \x07 rings", "\x1b[31mred nose", "\u202eesrever nose"]
)
def test_characters_that_nobody_sees_go_back(text):
    (finding,) = found("structure", make_answer(text=text))
    assert finding.effect is Effect.RETURN and "U+" in finding.detail


def test_line_breaks_and_joined_emoji_are_fine():
    assert found("structure", make_answer(text="The nose\n\tis blurred at its tip \U0001f468\u200d\U0001f469.")) == []
