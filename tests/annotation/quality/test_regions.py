import pytest

from annotation.answers import Kind
from annotation.quality.regions import agreement
from tests.annotation.planted import found, make_answer


def about(text: str, *regions: str, **changes: object):
    return make_answer(**{"text": text, "regions": regions, "region_shares": None, **changes})


@pytest.mark.parametrize(
    ("regions", "value"),
    [
        (("nose",), 0.5),
        (("nose", "chin"), 1.0),
        (("chin", "ear"), 1 / 3),
        (("ear",), 0.0),
        (("nose", "chin", "ear"), 2 / 3),
    ],
)
def test_a_text_should_name_what_was_chosen(regions, value):
    findings = found("choices", about("The nose is smeared and the chin is bent.", *regions))
    assert [f.value for f in findings] == [value] * (value < 0.5)
    assert all(f.effect == "return" and "chin, nose" in f.detail for f in findings)


def test_a_text_that_names_nothing_does_not_fit():
    assert found("choices", about("Something is odd with this picture.", "nose"))[0].value == 0


def test_parts_that_hold_each_other_do_not_contradict():
    assert agreement(frozenset({"lip"}), frozenset({"mouth"})) == 1
    assert agreement(frozenset({"lip", "ear"}), frozenset({"mouth"})) == pytest.approx(2 / 3)
    assert agreement(frozenset({"eye"}), frozenset({"ear"})) == 0
    assert agreement(frozenset(), frozenset()) == 1


def test_chinese_texts_are_read_too():
    assert found("choices", about("鼻子模糊，下巴歪斜。", "nose", "chin", language="zh")) == []
    assert found("choices", about("鼻子模糊，下巴歪斜。", "ear", language="zh"))


@pytest.mark.parametrize(
    "text",
    ["The nose looks natural.", "I see no artefacts at all here.", "Nothing seems wrong in this picture.",
     "整张图看起来很自然。", "没有发现明显的伪影痕迹。"],
)  # fmt: skip
def test_visible_but_the_text_says_that_all_is_fine(text):
    language = "en" if text.isascii() else "zh"
    (finding,) = found("contradiction", about(text, "nose", language=language))
    assert finding.effect == "return"


@pytest.mark.parametrize(
    "text",
    ["Something is not natural in this picture.", "It doesn't look real to me at all.",
     "Hardly anything is less natural.", "It is too real, like a painting.", "这张图看起来不自然。", "整体自然度低。"],
)  # fmt: skip
def test_what_is_not_natural_is_no_denial(text):
    assert found("contradiction", about(text, "nose", language="en" if text.isascii() else "zh")) == []


@pytest.mark.parametrize("verdict", ["none_visible", "looks_pristine"])
def test_nothing_visible_but_the_text_finds_fault(verdict):
    (finding,) = found("contradiction", about("The nose is smeared.", verdict=verdict))
    assert "finds fault with nose" in finding.detail
    assert found("contradiction", about("The nose looks natural.", verdict=verdict)) == []
    assert found("contradiction", about("", verdict=verdict)) == []


def test_a_fault_beside_what_is_fine_is_no_contradiction():
    assert found("contradiction", about("The chin is smeared.", "chin")) == []
    assert found("contradiction", about("Something is odd with this picture.", "chin")) == []
    assert found("contradiction", about("The chin is smeared.", verdict="unusable")) == []


@pytest.mark.parametrize(
    ("shares", "value"),
    [({"nose": 0.5, "chin": 0.5}, 1.0), ({"nose": 0.5}, 0.5), ({"ear": 0.9}, 0.0), ({"nose": 0.04, "ear": 1.0}, 0.0)],
)
def test_a_report_of_what_was_not_edited_is_held(shares, value):
    findings = found("grounding", about("The nose is smeared.", "chin", region_shares=shares))
    assert [f.value for f in findings] == [value] * (value < 0.5)
    assert {f.effect for f in findings} <= {"hold"}


def test_what_was_edited_must_be_known_and_the_work_ordinary():
    wrong = {"text": "The nose is smeared.", "regions": ("nose",), "region_shares": {"ear": 1.0}}
    assert found("grounding", make_answer(**wrong))
    assert found("grounding", make_answer(**wrong, kind=Kind.REWORK))
    assert not found("grounding", make_answer(**{**wrong, "region_shares": None}))
    for kind in (Kind.GOLD, Kind.CATCH, Kind.QUALIFICATION):
        assert not found("grounding", make_answer(**wrong, kind=kind))
