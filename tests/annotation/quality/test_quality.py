import random
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.answers import Answer, Kind
from annotation.quality import RULES, Effect, inspect
from annotation.quality.finding import Found, lexicon, message
from mmtt.errors import UserError
from mmtt.recipe import QualitySection
from tests.annotation.planted import (
    MORNING,
    PLANTED,
    SETTINGS,
    always_eyes,
    careful,
    found,
    gold_failer,
    make_answer,
    others,
    paster,
    report,
    rusher,
    verification,
    verifications,
)

GOOD = ("careful", "careful-zh", "verifier")


def with_the_careful(*planted: Answer) -> list[Answer]:
    """Some answers among those of two careful people, whose work a third one verified."""
    good = careful() + careful("careful-zh", "zh")
    return [*good, *others("verifier", 20, 600), *verifications(good, "verifier"), *planted]


@pytest.fixture(scope="module")
def caught():
    """What is found about each who is planted among the careful, and about these."""
    made = {make for make, _ in PLANTED.values()}
    return {make: inspect(with_the_careful(*make()), SETTINGS.quality, SETTINGS) for make in made}


@pytest.mark.parametrize("planted", PLANTED)
def test_whoever_is_planted_is_caught(planted, caught):
    make, rule = PLANTED[planted]
    found = [f for f in caught[make] if f.rule == rule]
    reports = [a for a in make() if a.verdict == "visible" and a.kind is Kind.ORDINARY]
    assert found and {f.annotator for f in found} == {reports[0].annotator}
    assert found[0].uid is None or len(found) >= 0.9 * len(reports)


@pytest.mark.parametrize("planted", PLANTED)
def test_the_careful_beside_them_are_left_alone(planted, caught):
    assert [(f.rule, f.detail) for f in caught[PLANTED[planted][0]] if f.annotator in GOOD] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_careful_annotator_alone_is_left_alone(language):
    answers = careful(language=language)
    assert len(answers) == 200 and sum(a.verdict == "visible" for a in answers) > 150
    assert inspect(answers, SETTINGS.quality, SETTINGS) == []


def test_the_order_in_which_answers_come_does_not_matter():
    answers = [*rusher(), *paster(), *always_eyes(), *gold_failer(), *careful()]
    findings = inspect(answers, SETTINGS.quality, SETTINGS)
    random.Random(3).shuffle(answers)
    assert len(findings) > 100 and inspect(answers, SETTINGS.quality, SETTINGS) == findings


_WORDS = st.sampled_from(["eye", "nose", "elbow", "", "\ud83d", "眼"])
_MOMENTS = st.integers(-200, 200).map(lambda seconds: MORNING + timedelta(seconds=seconds))
_ANYTHING = st.fixed_dictionaries({
    "uid": st.uuids().map(str),
    "annotator": st.sampled_from(["a", "b"]),
    "record_id": st.sampled_from(["r", "s", "t"]),
    "stage": st.sampled_from(["describe", "verify", "adjudicate"]),
    "kind": st.sampled_from([*Kind]),
    "language": st.sampled_from(["en", "zh", "zh_TW", "fr", ""]),
    "submitted": _MOMENTS,
    "updated": _MOMENTS,
    "drafted": st.none() | _MOMENTS,
    "lead_time_s": st.none() | st.floats(),
    "skipped": st.booleans(),
    "verdict": st.none() | st.sampled_from(["visible", "none_visible", "?", "", "\ud83d"]),
    "regions": st.lists(_WORDS, max_size=3).map(tuple),
    "text": st.text(max_size=40)
    | st.text("a\ud83d\udc41 眼", max_size=9)
    | st.sampled_from(["The left eye is smeared.", "左眼模糊", "Mr. X", "{value} {0}"]),
    "difficulty": st.none() | st.integers(-1, 9),
    "flags": st.lists(_WORDS, max_size=1).map(tuple),
    "match": st.none() | st.sampled_from(["yes", "?", "", "\udc41"]),
    "missed": st.lists(_WORDS, max_size=2).map(tuple),
    "about": st.none() | st.sampled_from(["x", "y", ""]),
    "round": st.integers(0, 3),
    "region_shares": st.none() | st.dictionaries(st.sampled_from(["eye", "nose"]), st.floats(0, 1)),
})  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_ANYTHING, max_size=12, unique_by=lambda a: a["uid"]), st.randoms(use_true_random=False))
def test_whatever_a_server_accepts_is_judged_and_in_any_order(made, rng):
    answers = [make_answer(**{**changes, "language": "en"}) for changes in made]
    answers = [replace(a, language=changes["language"]) for a, changes in zip(answers, made, strict=True)]
    findings = inspect(answers, SETTINGS.quality, SETTINGS)
    assert {f.uid for f in findings if f.uid} <= {a.uid for a in answers}
    assert all((f.detail + f.message).encode() for f in findings)
    rng.shuffle(answers)
    assert inspect(answers, SETTINGS.quality, SETTINGS) == findings


@pytest.mark.parametrize("odd", ["", "\ud83d", "The \udc41 eye is odd \ud83d"])
@pytest.mark.parametrize("stage", ["describe", "verify", "adjudicate"])
def test_odd_text_is_judged_and_what_is_found_can_be_stored(odd, stage):
    changes = {"verdict": "visible", "regions": (odd, "eye"), "missed": (odd,), "flags": (odd,), "match": odd}
    answers = [make_answer(n, stage=stage, about=odd, round=1, **{**changes, "text": odd}) for n in range(40)]
    answers += [make_answer(50 + n, stage=stage, text=f"{report(n, 'en', ('eye',))} {odd}") for n in range(40)]
    findings = inspect(answers, SETTINGS.quality, SETTINGS)
    assert "structure" in {f.rule for f in findings}
    assert all((f.detail + f.message).encode() for f in findings)


def test_nothing_comes_of_nothing():
    assert inspect([], SETTINGS.quality, SETTINGS) == []


def test_a_rule_that_is_off_finds_nothing():
    assert {f.rule for f in inspect(rusher(), QualitySection(ignore=("dwell",)), SETTINGS)} == set()


def test_a_rule_that_warns_only_tells():
    findings = inspect(rusher(), QualitySection(warn=("dwell",)), SETTINGS)
    assert {(f.rule, f.effect) for f in findings} == {("dwell", "tell")}


@pytest.mark.parametrize("key", ["ignore", "warn"])
def test_an_unknown_rule_is_named_with_the_nearest(key):
    with pytest.raises(UserError, match=rf"annotate.quality.{key}: there is no rule 'dwel'. Did you mean 'dwell'\?"):
        inspect([], QualitySection(**{key: ("dwel",)}), SETTINGS)


def test_work_that_cannot_be_worked_over_is_held():
    verified = replace(verification(make_answer(), "ver"), match=None)
    assert {f.effect for f in found("structure", verified)} == {Effect.HOLD}


def test_only_descriptions_are_judged_by_their_words_but_for_names():
    text = {"text": "Mr. Darcy looks natural 左眼", "language": "en", "annotator": "other"}
    verified = replace(verification(make_answer(), "ver"), **text)
    ruled = replace(make_answer(stage="adjudicate"), **text)
    rules = {f.rule for f in inspect([verified, ruled], SETTINGS.quality, SETTINGS)}
    timely = {"structure", "dwell", "qualification", "parallel", "idle", "tampered", "self_verified"}
    assert rules - timely == {"identity"}


def test_the_table_explains_every_rule_and_names_keys_that_exist():
    assert len(RULES) == 22
    keys = {*QualitySection.model_fields, *type(SETTINGS).model_fields}
    for rule in RULES.values():
        assert rule.finds.endswith(".") and set(rule.keys) <= keys
    named = {key for rule in RULES.values() for key in rule.keys}
    assert set(QualitySection.model_fields) - named == {"ignore", "warn", "rework_rounds"}


def test_every_rule_speaks_english_and_chinese():
    messages = lexicon("messages.yaml")
    assert {key.split(".")[0] for key in messages} == set(RULES)
    for told in messages.values():
        assert set(told) == {"en", "zh"}
        assert told["en"].isascii() and re.search(r"[\u4e00-\u9fff]", told["zh"])


def test_no_message_tells_why_a_task_was_given_or_what_is_true():
    told = " ".join(text for message in lexicon("messages.yaml").values() for text in message.values()).lower()
    secret = r"gold|catch|trial|test|exam|qualif|pristine|forged|forgery|mask|edited|ground|truth|wrong place|hidden"
    assert not re.search(secret + r"|score|pass|考|测试|检查|金|真相|掩|伪造|篡改|合格", told)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("key", lexicon("messages.yaml"))
def test_every_message_can_be_filled(key, language):
    rule, _, variant = key.partition(".")
    told = message(rule, Found(make_answer(language=language), "", 3.0, variant=variant), SETTINGS.quality)
    assert "{" not in told and bool(re.search(r"[\u4e00-\u9fff]", told)) == (language == "zh")


def test_a_message_is_in_the_language_of_the_answer():
    short = make_answer(language="zh", lead_time_s=3.0)
    for tag, word in (("zh", "60 秒"), ("zh-Hant", "60 秒"), ("en-GB", "60 seconds"), ("fr", "60 seconds")):
        (finding,) = found("dwell", replace(short, language=tag))
        assert word in finding.message


def test_no_message_quotes_a_text(caught):
    for make, findings in caught.items():
        texts = [a.text[:20] for a in with_the_careful(*make()) if a.text]
        messages = "\n".join({f.message for f in findings})
        assert not any(text in messages for text in texts)
