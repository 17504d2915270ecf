import pytest

from annotation.quality.text import foreign_share, repeated_share
from tests.annotation.planted import CHINESE, ENGLISH, found, make_answer


def words(count: int) -> str:
    return " ".join(["smear"] * count)


@pytest.mark.parametrize(("count", "said"), [(4, ["few"]), (5, []), (120, []), (121, ["many"])])
def test_five_to_120_words_are_wanted(count, said):
    findings = found("words", make_answer(text=words(count)))
    assert [f.value for f in findings] == [count] * len(said)
    assert all(str(count) in f.message and f.effect == "return" for f in findings)


@pytest.mark.parametrize(("text", "count"), [("左眼模糊", 1), ("左眼很模糊", 0), ("眼" * 120, 0), ("眼" * 121, 1)])
def test_a_chinese_character_is_a_word(text, count):
    assert len(found("words", make_answer(text=text, language="zh"))) == count


def test_only_a_report_of_something_visible_must_have_a_length():
    assert found("words", make_answer(text="too dark", verdict="unusable")) == []
    assert found("words", make_answer(text="")) == []


@pytest.mark.parametrize("sentences", [(ENGLISH, "en"), (CHINESE, "zh")])
def test_reports_are_in_their_language(sentences):
    texts, language = sentences
    answers = [make_answer(n, text=text.format(part="nose"), language=language) for n, text in enumerate(texts)]
    assert found("language", *answers) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("左眼的边缘模糊，下巴有接缝。", "en"),
        ("The left eye is smeared and the chin has a seam.", "zh"),
        ("The left eye is smeared 下巴有一条接缝", "en"),
        ("左眼边缘模糊 and the chin has a seam as well", "zh"),
        ("Das linke Auge ist unscharf und der Rand der Nase wirkt zu hell.", "en"),
        ("El ojo izquierdo está borroso y la nariz parece pegada.", "en"),
        ("L'œil gauche est flou et le nez semble collé dans le visage.", "en"),
        ("L'occhio sinistro è sfocato e il naso sembra incollato.", "en"),
        ("Левый глаз размыт, нос приклеен.", "en"),
        ("左目がぼやけていて、鼻の輪郭が不自然です。", "zh"),
        ("왼쪽 눈이 흐릿하고 코가 이상합니다.", "zh"),
    ],
)
def test_another_language_goes_back(text, language):
    (finding,) = found("language", make_answer(text=text, language=language))
    assert finding.effect == "return"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Left eyebrow smeared, upper lip doubled, chin bent.", "en"),
        ("Déjà vu: the naïve blending of the nose leaves a façade.", "en"),
        ("The mark 眼 over the eye is smeared and bent.", "en"),
        ("鼻梁处有明显的 JPEG 压缩痕迹。", "zh"),
        ("左眼模糊，像 PS 过。", "zh"),
        ("12 %", "en"),
        ("Left eye de-focused, la la.", "en"),
    ],
)
def test_a_borrowed_word_is_allowed(text, language):
    assert found("language", make_answer(text=text, language=language)) == []


def test_a_character_weighs_as_much_as_a_word():
    assert found("language", make_answer(text="one two three 眼")) == []
    assert found("language", make_answer(text="one two three 眼睛"))
    assert foreign_share("one two three 眼", "en") == 0.25
    assert foreign_share("one two three 眼", "zh") == 0.75
    assert foreign_share("12 !", "en") == 0


def form(number: int) -> str:
    return f"w{number} the border of this part does not fit the rest x{number}"


@pytest.mark.parametrize(("count", "times"), [(9, 0), (10, 1)])
def test_a_form_filled_in_is_told_about_its_annotator(count, times):
    findings = found("template", *(make_answer(n, text=form(n)) for n in range(count)))
    assert [(f.uid, f.annotator, f.effect) for f in findings] == [(None, "ann", "tell")] * times


def test_the_share_is_that_of_words_in_runs_that_come_again():
    texts = [form(n).split() for n in range(10)]
    assert repeated_share(texts) == pytest.approx(10 / 12)
    assert repeated_share(texts[:3]) == pytest.approx(10 / 12)
    assert repeated_share(texts[:2]) == 0  # twice may be chance
    assert repeated_share([["one", "two", "three", "four"]] * 5) == 0  # too short for a run
    assert repeated_share([]) == 0


@pytest.mark.parametrize(("threshold", "count"), [(10 / 12, 1), (0.84, 0)])
def test_exactly_the_threshold_is_a_template(threshold, count):
    answers = [make_answer(n, text=form(n)) for n in range(10)]
    assert len(found("template", *answers, template_share=threshold)) == count


def test_somebody_elses_form_is_not_ones_own():
    assert found("template", *(make_answer(n, f"a{n}", text=form(n)) for n in range(20))) == []
