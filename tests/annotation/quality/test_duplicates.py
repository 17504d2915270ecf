import random
import sys

import pytest

from annotation.answers import Kind
from annotation.quality.duplicates import likeness, near_duplicate, normalised
from mmtt.errors import MissingDependency
from tests.annotation.planted import CHINESE, ENGLISH, careful, case, found, make_answer

LONG = "The left cheek is lit from below while everything around it is lit from the window."


def pair(first: str, second: str, **later: object):
    return make_answer(0, text=first), make_answer(1, **{"text": second, **later})


@pytest.mark.parametrize(
    "second",
    [
        LONG,
        LONG.upper(),
        LONG.replace(" ", "   ") + "!!",
        LONG.replace("cheek", "cheeks"),
        "While everything around it is lit from the window, the left cheek is lit from below.",
        LONG.replace("below", "above"),
    ],
)
def test_the_later_of_two_like_texts_is_returned(second):
    (finding,) = found("near_duplicate", *pair(LONG, second))
    assert (finding.uid, finding.effect) == ("ann-0001", "return")
    assert finding.value >= 0.92


@pytest.mark.parametrize(
    "second",
    [
        "The right ear is lit from behind while the hat above it is not.",
        LONG + " The nose has a seam along its bridge, and one nostril is smeared beyond recognition.",
        "The left cheek is lit from below.",
        "Window, window: lit from below, while the left cheek is lit from around; everything is lit.",
    ],
)
def test_texts_that_share_some_words_are_left_alone(second):
    assert found("near_duplicate", *pair(LONG, second)) == []


def test_all_copies_are_found_but_not_the_first():
    copies = [make_answer(n, text=LONG) for n in range(50)]
    assert [f.uid for f in found("near_duplicate", *reversed(copies))] == [a.uid for a in copies[1:]]


def test_a_copy_of_a_copy_is_found():
    texts = [LONG, LONG.replace("below", "above"), LONG.replace("below", "above").replace("window", "garden")]
    assert likeness(*map(normalised, (texts[0], texts[2])), 0.92) == 0
    assert len(found("near_duplicate", *(make_answer(n, text=text) for n, text in enumerate(texts)))) == 2


def test_somebody_elses_text_is_held():
    (finding,) = found("near_duplicate", *pair(LONG, LONG, annotator="thief"))
    assert (finding.annotator, finding.effect) == ("thief", "hold")
    assert "lit from" not in finding.message


def test_ones_own_text_comes_before_somebody_elses():
    answers = [make_answer(0, text=LONG), make_answer(1, "b", text=LONG), make_answer(2, "b", text=LONG)]
    assert [f.effect for f in found("near_duplicate", *answers)] == ["hold", "return"]


def test_two_people_happen_to_write_the_same_short_sentence():
    assert found("near_duplicate", *pair("The left eye is blurred.", "The left eye is blurred.", annotator="b")) == []
    assert found("near_duplicate", *pair("The left eye is blurred.", "The left eye is blurred."))


@pytest.mark.parametrize(("length", "language", "count"), [(39, "en", 0), (40, "en", 1), (15, "zh", 0), (16, "zh", 1)])
def test_chance_ends_at_some_length(length, language, count):
    text = (ENGLISH[0] if language == "en" else "鼻梁处有一条细亮的接缝把它和周围隔开").format(part="nose")[:length]
    text = text.replace(" ", "x")
    both = [make_answer(0, text=text, language=language), make_answer(1, "b", text=text, language=language)]
    assert len(found("near_duplicate", *both)) == count


def test_people_agree_about_one_record_but_not_to_the_letter():
    same = {"record_id": "record-0000", "annotator": "b"}
    assert found("near_duplicate", *pair(LONG, LONG.replace("below", "above"), **same)) == []
    assert found("near_duplicate", *pair(LONG, LONG, **same))[0].effect == "hold"


def test_a_rework_resembles_what_it_mends():
    again = {"kind": Kind.REWORK, "about": "ann-0000", "record_id": "record-0000", "round": 1}
    assert found("near_duplicate", *pair(LONG, LONG + " It is odd.", **again)) == []


@pytest.mark.parametrize(("threshold", "count"), [(0.9, 1), (0.9 + 1e-9, 0)])
def test_exactly_the_threshold_is_too_much(threshold, count):
    first, second = "abcdefghij klmnopqrs", "abcdefghij klmnopqrs"[:-2] + "xy"  # 18 of 20 characters
    assert likeness(first, second, 0.5) == pytest.approx(0.9)
    assert len(found("near_duplicate", *pair(first, second), near_duplicate=threshold)) == count


def test_chinese_texts_are_compared_by_their_characters():
    first = CHINESE[0].format(part="鼻子") + CHINESE[5].format(part="左眼")
    moved = CHINESE[5].format(part="左眼") + CHINESE[0].format(part="鼻子")
    zh = {"language": "zh"}
    answers = [make_answer(n, text=text, **zh) for n, text in enumerate([first, moved, CHINESE[7].format(part="鼻子")])]
    assert [f.uid for f in found("near_duplicate", *answers)] == ["ann-0001"]


def test_a_text_that_no_codec_likes_is_compared_all_the_same():
    odd = LONG + " \ud83d \u0000 😀 ﬁ"
    assert len(found("near_duplicate", *pair(odd, odd))) == 1
    assert found("near_duplicate", *pair("!", "!"), make_answer(3, text="a"), make_answer(4, text="a"))


@pytest.mark.parametrize("sentences", [ENGLISH, CHINESE])
def test_banding_finds_what_comparing_all_pairs_finds(sentences):
    language = "zh" if sentences is CHINESE else "en"
    rng = random.Random(5)
    texts = ["".join(rng.sample(sentences, 2)).format(part="nose") for _ in range(200)]
    for text in rng.sample(texts, 60):
        place = rng.randrange(len(text))
        texts.append(text[:place] + rng.choice("abc") + text[place + 1 :])
    answers = [make_answer(n, text=text, language=language) for n, text in enumerate(texts)]
    plain = [normalised(text) for text in texts]
    alike = {n for n in range(len(plain)) if any(likeness(one, plain[n], 0.92) for one in plain[:n])}
    assert len(alike) >= 60
    assert {int(f.answer.uid[-4:]) for f in near_duplicate(case(*answers))} == alike


def test_few_pairs_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr("annotation.quality.duplicates.likeness", lambda *texts: compared.append(texts) or 0.0)
    list(near_duplicate(case(*careful())))
    written = [a for a in careful() if a.text]
    assert len(compared) < 0.02 * len(written) ** 2


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[annotation\]'"):
        found("near_duplicate", *pair(LONG, LONG))
