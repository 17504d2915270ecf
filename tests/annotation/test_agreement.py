"""Agreement over answers: who counts, what is told, and which records need a third opinion."""

import json
import random
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.agreement import agreement, disputed, record_agreement, texts
from annotation.agreement.alpha import alpha, masi, nominal, ordinal
from annotation.answers import Answer, Kind
from mmtt.regions import REGIONS

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PLACES = {  # texts that a test made up
    "eye": "The left eye is blurred along its lower lid.",
    "nose": "A seam runs down the bridge of the nose.",
    "mouth": "Both corners of the mouth are smeared.",
    "chin": "The chin has a darker tone than the neck.",
}
CHINESE = {
    "eye": "左眼下眼睑边缘模糊。",
    "nose": "鼻梁上有一条接缝。",
    "mouth": "嘴角的颜色不自然。",
    "chin": "下巴比脖子更暗。",
}


def answer(record, annotator, *regions, **changes):
    made = Answer(
        uid=f"{record}-{annotator}",
        task_key="t",
        record_id=record,
        image_sha256="0" * 64,
        protocol="blind_then_verified",
        stage="describe",
        kind=Kind.ORDINARY,
        annotator=annotator,
        language="en",
        submitted=NOON,
        updated=NOON,
        verdict="visible",
        regions=regions,
        difficulty=3,
    )
    return replace(made, **changes)


def found(answers, draws=50, seed=0):
    return agreement(answers, np.random.default_rng(seed), draws)


def crowd(records=40, people=2, noise=0.3, seed=0):
    """Answers of people who see one true region, or with some probability another one."""
    rng = random.Random(seed)
    answers = []
    for number in range(records):
        true = rng.choice(list(PLACES))
        for person in range(people):
            seen = rng.choice(list(PLACES)) if rng.random() < noise else true
            hard = 1 + (len(true) + (rng.random() < noise)) % 5
            answers.append(answer(f"r{number:02d}", f"p{person}", seen, text=PLACES[seen], difficulty=hard))
    return answers


def test_everything_is_told_as_json_with_its_numbers():
    told = asdict(found(crowd(people=3)))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["records"], told["reports"], told["annotators"], told["repeated"], told["draws"]) == (
        40,
        120,
        3,
        40,
        50,
    )
    assert tuple(told["regions"]) == REGIONS
    for name in ("masi", "jaccard", "difficulty"):
        assert told[name]["low"] < told[name]["value"] < told[name]["high"]
        assert (told[name]["units"], told[name]["pairs"], told[name]["ratings"]) == (40, 120, 120)
    assert (told["text"]["units"], told["text"]["pairs"]) == (40, 120)


def test_numbers_are_alphas_over_records():
    answers = crowd(people=3)
    records = sorted({a.record_id for a in answers})

    def units(read):
        return [[read(a) for a in answers if a.record_id == record] for record in records]

    told = found(answers)
    assert told.masi.value == pytest.approx(alpha(units(lambda a: frozenset(a.regions)), masi))
    assert told.difficulty.value == pytest.approx(alpha(units(lambda a: a.difficulty), ordinal))
    assert told.regions["nose"].value == pytest.approx(alpha(units(lambda a: "nose" in a.regions), nominal))
    assert told.regions["nose"].prevalence == sum("nose" in a.regions for a in answers) / len(answers)


def test_an_unseen_region_has_no_alpha_but_a_prevalence():
    told = found(crowd()).regions["tongue"]
    assert (told.value, told.low, told.prevalence, told.units) == (None, None, 0.0, 40)


def test_the_order_of_answers_does_not_matter_and_the_generator_decides():
    answers = crowd()
    assert found(answers) == found(random.Random(1).sample(answers, len(answers)))
    assert found(answers).masi.low != found(answers, seed=1).masi.low


@pytest.mark.parametrize("answers", [[], [answer("r", "a", "eye", text="The eye is blurred.")], crowd(people=1)])
def test_without_overlap_there_is_no_agreement_and_no_nan(answers):
    told = found(answers)
    json.dumps(asdict(told), allow_nan=False)
    assert told.repeated == 0
    for estimate in (told.verdict, told.difficulty, told.masi, told.jaccard, *told.regions.values()):
        assert (estimate.value, estimate.low, estimate.units, estimate.pairs) == (None, None, 0, 0)
    assert (told.text.value, told.text.units, told.text.pairs) == (None, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "verify"},
        {"stage": "adjudicate"},
        {"kind": Kind.GOLD},
        {"kind": Kind.CATCH},
        {"kind": Kind.QUALIFICATION},
        {"skipped": True},
        {"annotator": "a", "uid": "older", "updated": NOON - timedelta(hours=1)},
    ],
)
def test_only_one_unprompted_report_of_each_person_counts(changes):
    answers = [answer("r", "a", "eye"), replace(answer("r", "b", "nose"), **changes)]
    assert found(answers).reports == 1
    assert record_agreement(answers) == {"r": None}
    assert disputed(answers, 0.5) == {}


def test_the_reworked_answer_replaces_the_first():
    first = [answer("r", "a", "eye"), answer("r", "b", "nose")]
    again = answer("r", "b", "eye", uid="again", kind=Kind.REWORK, updated=NOON + timedelta(hours=1))
    assert set(disputed(first, 0.5)) == {"r"}
    assert disputed([again, *first], 0.5) == {}


def test_who_cannot_judge_chooses_no_regions_but_has_a_verdict():
    answers = [
        answer("r", "a", "eye"),
        answer("r", "b", verdict="unusable"),
        answer("s", "a"),
        answer("s", "b", "nose"),
    ]
    told = found(answers)
    assert (told.masi.units, told.verdict.units) == (1, 2)
    assert record_agreement(answers)["r"] is None
    assert disputed(answers[:2], 1.0) == {}


def test_a_records_agreement_is_its_part_in_alpha():
    answers = crowd(people=2) + [answer("alone", "p0", "eye")]
    told = record_agreement(answers)
    assert told.pop("alone") is None
    assert np.mean(list(told.values())) == pytest.approx(found(answers).masi.value)
    assert {record for record, one in told.items() if one == 1} == {f"r{n:02d}" for n in range(40)} - set(
        disputed(answers, 0.5)
    )


def test_a_records_agreement_is_never_below_minus_one():
    alike = [answer(f"r{n}", person, "eye") for n, person in product(range(50), "ab")]
    assert record_agreement([*alike, answer("odd", "a", "eye"), answer("odd", "b", "nose")])["odd"] == -1


def test_without_anything_to_differ_there_is_no_record_agreement():
    assert record_agreement([answer("r", "a", "eye"), answer("r", "b", "eye")]) == {"r": None}
    assert record_agreement([]) == {}


@pytest.mark.parametrize("blind", ["none_visible", "looks_pristine"])
def test_opposite_verdicts_are_disputed(blind):
    answers = [answer("r", "a", "eye"), answer("r", "b", verdict=blind)]
    assert disputed(answers, 0.0) == {"r": "One report sees a forgery, another sees none."}


def test_two_ways_to_see_nothing_are_no_dispute():
    answers = [answer("r", "a", verdict="looks_pristine"), answer("r", "b", verdict="none_visible")]
    assert disputed(answers, 1.0) == {}


def test_regions_are_disputed_below_the_bar_and_the_worst_pair_is_named():
    answers = [answer("r", "a", "eye", "nose"), answer("r", "b", "eye", "nose", "lip", "chin")]
    assert disputed(answers, 0.5) == {}
    reason = "Two reports have 50 % of their regions in common: eye, nose; and chin, eye, lip, nose."
    assert disputed(answers, 0.51) == {"r": reason}
    third = answer("r", "c", verdict="visible")
    assert disputed([*answers, third], 0.5) == {
        "r": "Two reports have 0 % of their regions in common: eye, nose; and none."
    }


@pytest.mark.parametrize(("language", "says"), [("en", PLACES), ("zh", CHINESE)])
def test_texts_about_the_same_thing_stand_out_and_others_do_not(language, says):
    answers = [replace(a, language=language, text=says[a.regions[0]]) for a in crowd(records=80, noise=0.2)]
    told = found(answers, draws=200).text
    assert 0.6 < told.low < told.value < told.high <= 1
    texts_of_others = random.Random(2).sample([a.text for a in answers], len(answers))
    unlike = [replace(a, text=text) for a, text in zip(answers, texts_of_others, strict=True)]
    chance = found(unlike, draws=200).text
    assert chance.low < 0.5 < chance.high


def test_phrases_that_fit_everything_are_no_agreement():
    told = found([replace(a, text="The face looks blurry.") for a in crowd()]).text
    assert (told.value, told.low, told.high) == (0.5, None, None)


def test_one_record_alone_has_nothing_to_be_compared_with():
    told = found([answer("r", "a", text="The eye is odd."), answer("r", "b", text="An odd eye.")]).text
    assert (told.value, told.low, told.units, told.pairs, told.between) == (None, None, 1, 1, 0)


def test_only_texts_of_one_language_and_of_two_people_are_compared():
    pair = [answer("r", "a", text="The eye is odd."), answer("r", "b", text="眼睛很奇怪。", language="zh")]
    assert found(pair).text.pairs == 0
    blank = [answer("r", "a", text="The eye is odd."), answer("r", "b", text=" \n")]
    assert found(blank).text.pairs == 0
    people = found(crowd(people=2)).text
    assert 0.45 * texts.BETWEEN < people.between < 0.52 * texts.BETWEEN  # half of the pairs are one person's own


def test_the_area_is_the_share_of_won_comparisons():
    rng = np.random.default_rng(0)
    alike, unlike = rng.integers(0, 6, 30) / 5, rng.integers(0, 5, 40) / 5
    weights, others = rng.integers(0, 3, (4, 30)).astype(float), rng.integers(0, 3, (4, 40)).astype(float)
    won = (alike[:, None] > unlike) + 0.5 * (alike[:, None] == unlike)
    expected = [(w @ won @ o) / (w.sum() * o.sum()) for w, o in zip(weights, others, strict=True)]
    assert texts._areas(alike, weights, unlike, others) == pytest.approx(expected)


def test_grams_are_about_a_word_each_in_either_script():
    assert list(texts.grams("Left EYE, a")) == [" lef", "left", "eft ", " eye", "eye ", " a "]
    assert list(texts.grams("左眼模糊。鼻 A")) == ["左眼", "眼模", "模糊", "鼻", " a "]


def test_a_cosine_is_that_of_dense_vectors_and_nought_for_signs_alone():
    vectors = texts.tf_idf([*PLACES.values(), PLACES["eye"], "…!"])
    dense = np.zeros((len(vectors), 1 + max(v.grams.max(initial=0) for v in vectors)))
    for row, vector in zip(dense, vectors, strict=True):
        row[vector.grams] = vector.weights
    assert [texts.cosine(vectors[0], v) for v in vectors] == pytest.approx(dense @ dense[0])
    assert texts.cosine(vectors[0], vectors[4]) == pytest.approx(1)
    assert texts.cosine(vectors[0], vectors[5]) == 0


def test_rare_words_weigh_more():
    first, by_common_word, by_rare_word, *_ = texts.tf_idf(
        ["seam blur", "chin blur", "seam dark", "nose blur", "lip blur"]
    )
    assert texts.cosine(first, by_rare_word) > 1.2 * texts.cosine(first, by_common_word)


@given(st.text())
def test_any_text_has_a_vector_of_norm_one_or_none(text):
    (vector,) = texts.tf_idf([text])
    assert np.linalg.norm(vector.weights) == pytest.approx(1 if len(vector.grams) else 0)
