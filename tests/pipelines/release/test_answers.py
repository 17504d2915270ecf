"""What a curator answers, and what is still open."""

import pytest

from mmtt.errors import RecipeError, UserError
from pipelines.release.answers import DATASHEET, begun, load, missing
from pipelines.release.questions import questions
from tests.pipelines.release import described


def codes(answers, facts) -> list[str]:
    return [asked.code for asked in missing(answers, facts)]


@pytest.fixture(scope="module")
def facts():
    return described.facts(described.records())


def test_nothing_is_open_when_all_is_answered(facts):
    assert codes(described.answers(), facts) == []


def test_what_only_a_person_can_say_is_open_until_somebody_does_in_the_order_of_the_datasheet(facts):
    told = described.told()
    told["answers"] = {}
    found = codes(described.Answers.model_validate(told), facts)
    assert found == [code for code, asked in questions().items() if asked.is_for_people and code not in ("D1", "D2")]
    assert {"M1", "M3", "C3", "L4", "L6", "L9", "U4", "D6", "T7"} <= set(found)


@pytest.mark.parametrize("blank", ["", "  \n", "TODO", "tbd.", "...", "[More Information Needed]", "?"])
def test_a_blank_or_a_promise_is_no_answer(facts, blank):
    assert codes(described.answers(U2=blank), facts) == ["U2"]


@pytest.mark.parametrize("short", ["No.", "None that we know of.", "没有。", "n/a, see 2.4"])
def test_a_short_answer_is_one(facts, short):
    assert codes(described.answers(U2=short), facts) == []


def test_funding_and_repository_answer_their_questions_where_they_are_filled_in(facts):
    told = described.told(M3="", D1="", D2="")
    told["about"]["repository"] = ""
    assert codes(described.Answers.model_validate(told), facts) == ["M3", "D1", "D2"]
    told["about"] |= {"funding": "Grant 7.", "repository": "moss/drawn"}
    assert codes(described.Answers.model_validate(told), facts) == []


def test_questions_about_the_people_shown_are_not_asked_where_all_faces_are_drawn():
    about_people = {code for code, asked in questions().items() if asked.people}
    told = described.told()
    told["answers"] = {code: text for code, text in told["answers"].items() if code not in about_people}
    answers = described.Answers.model_validate(told)
    assert codes(answers, described.facts(described.records("nobody"))) == []
    assert set(codes(answers, described.facts(described.records()))) < about_people


def test_one_person_among_drawings_is_enough_to_ask():
    drawn, people = described.records("nobody"), described.records()
    mixed = described.facts([*drawn[:6], *people[6:]])
    assert codes(described.answers(L8=""), mixed) == ["L8"]


def test_an_open_question_says_its_code_and_its_words(facts):
    assert [str(asked) for asked in missing(described.answers(M1=""), facts)] == [
        "M1 For what purpose was the dataset created?"
    ]


def write(folder, text: str) -> None:
    (folder / DATASHEET).write_text(text, encoding="utf-8")


COMPLETE = """
[about]
title = "T"
summary = "S"
licence = "CC-BY-4.0"
authors = ["A"]
contact = "c@example.org"
"""


def test_a_missing_file_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(UserError, match="mmtt datasheet"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title =", "is not TOML"),
        (COMPLETE.replace('["A"]', '["A", ""]'), "about.authors"),
        (COMPLETE.replace("CC-BY-4.0", "CC-BY-4"), "CC-BY-4.0"),
        (COMPLETE + 'titel = "x"', "Did you mean 'title'"),
        (COMPLETE + '[about.unasked]\n"old photos" = 3', "about.unasked.old photos"),
        (COMPLETE + '[answers]\nM9 = "x"', "M9"),
        (COMPLETE + "[answers]\nM1 = 3", "answers.M1"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_in_one_sentence(tmp_path, text, told):
    write(tmp_path, text)
    with pytest.raises((UserError, RecipeError)) as caught:
        load(tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (COMPLETE.replace('"T"', '""'), "title"),
        (COMPLETE.replace('"CC-BY-4.0"', '" "'), "licence"),
        (COMPLETE.replace('contact = "c@example.org"', ""), "contact"),
        (COMPLETE.replace('"S"', '"TODO"'), "summary"),
        (COMPLETE.replace('["A"]', '[""]'), "authors"),
        (COMPLETE.replace('["A"]', "[]"), "authors"),
        (COMPLETE + '[about.unasked]\n"old\\u001b photos" = ""', "unasked.old\\x1b photos"),
    ],
)
def test_what_is_blank_is_told_in_a_short_line(tmp_path, text, key):
    write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / DATASHEET} leaves 1 required answer blank:\n  about.{key} is blank"


def test_an_empty_file_leaves_all_of_about_blank(tmp_path):
    write(tmp_path, "")
    blank = begun(tmp_path)[1]
    assert blank == [f"about.{key} is blank" for key in ("title", "summary", "licence", "authors", "contact")]


def test_a_complete_file_is_read(tmp_path):
    write(tmp_path, COMPLETE + '[answers]\nM1 = """\nTo find forgeries.\n\nAnd more.\n"""\n')
    assert load(tmp_path).said("M1") == "To find forgeries.\n\nAnd more."
