"""The datasheet: every question answered, by people and by the release, and the form that asks them."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mmtt.errors import UserError
from mmtt.recipe import Recipe
from pipelines.release import datasheet, figures
from pipelines.release.answers import DATASHEET, Answers, load, missing
from pipelines.release.questions import SECTIONS, questions
from pipelines.release.statements import automatic
from tests.factories import answered, make_forged_record, make_record, stored_dataset, tiny_recipe
from tests.pipelines.release import described

ROOT = Path(__file__).parents[3]
AUDITS = [
    {
        "id": "L1",
        "title": "Components across splits",
        "verdict": "passes",
        "sentence": "Each of 6 components is in one.",
    },
    {
        "id": "X6",
        "title": "Template collapse",
        "verdict": "fails",
        "sentence": "30% of 120 texts <b>say</b> little new.",
    },
    {"id": "X3", "title": "Agreement", "verdict": "absent", "reason": "Too few."},
]


@pytest.fixture(scope="module")
def records():
    return described.records()


@pytest.fixture(scope="module")
def sheet(records) -> str:
    return datasheet.render(described.facts(records, described.reports(records), audits=AUDITS), described.answers())


def answer(text: str, code: str) -> str:
    """Return what stands below a question."""
    heading = f"### {questions()[code].number} {questions()[code].text}"
    return text.split(heading)[1].split("\n#")[0].strip()


def test_the_questions_are_the_57_of_the_paper_in_seven_sections():
    assert len(questions()) == 57
    assert {letter: sum(code[0] == letter for code in questions()) for letter in SECTIONS} == {
        "M": 4, "C": 16, "L": 12, "P": 4, "U": 6, "D": 7, "T": 8,
    }  # fmt: skip
    for letter in SECTIONS:
        numbers = [int(code[1:]) for code in questions() if code[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_list_at_the_root_of_the_repository_asks_the_same_questions():
    text = (ROOT / "DATASHEET.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:## |- )(.+)$", text, re.MULTILINE)
    wanted = []
    for letter, title in SECTIONS.items():
        wanted += [title, *(asked.text for code, asked in questions().items() if code[0] == letter)]
    assert listed == wanted


def test_every_question_is_a_heading_with_its_number_and_something_below_it(sheet):
    headings = re.findall(r"^### (.+)$", sheet, re.MULTILINE)
    assert headings == [f"{asked.number} {asked.text}" for asked in questions().values()]
    assert all(answer(sheet, code) for code in questions())
    assert not re.search(r"More Information Needed|TODO|\bnan\b|\bNone\b", sheet)


def test_each_automatic_answer_names_its_release(records):
    told = automatic(described.facts(records, described.reports(records), audits=AUDITS), described.answers())
    assert all(one.text.startswith("In release 1.2.0") for one in told.values())
    asked = {code for code, one in questions().items() if one.fill in ("facts", "both")}
    assert asked <= told.keys()


def test_people_speak_first_and_are_quoted_in_full(sheet):
    told = answer(sheet, "C14")
    assert told.startswith("Our words on C14.")
    assert "In release 1.2.0 no column names a person" in told


def test_what_nobody_added_to_is_closed_with_a_word(sheet):
    assert answer(sheet, "M4") == "No."


def test_figures_are_those_of_the_rows(sheet):
    assert "12 records of 6 groups" in answer(sheet, "C2")
    assert "| recolour | 2 | 2 | 2 | 6 |" in answer(sheet, "C2")
    assert "exact for all 6 forgeries" in answer(sheet, "C5")
    assert "train (4, 33" in answer(sheet, "C8")
    assert "| drawn people | CC0-1.0 | 6 | 12 |" in answer(sheet, "C10")
    assert "people wrote texts on 2026-11-01" in answer(sheet, "L5")
    assert "| manipulation redistribution | 6 | 6 | 6 | 0 |" in answer(sheet, "L9")
    assert "`no_face` (2, ingest)" in answer(sheet, "P1")


def test_audits_that_did_not_pass_are_named_with_what_they_found(sheet):
    told = answer(sheet, "C9")
    assert "3 audits looked for faults, leaks and shortcuts: 1 passed, 1 failed and 1 could not be made" in told
    assert "X6, Template collapse" in told
    assert "<b>" not in told.replace("\\<b\\>", "")
    assert "Each of 6 components is in one." in answer(sheet, "C8")


def test_the_ground_for_people_who_were_not_asked_is_printed():
    told = described.told()
    told["about"]["unasked"] = {"drawn people": "They are all dead since 1900."}
    known = described.facts(described.records("none"))
    found = answer(datasheet.render(known, Answers.model_validate(told)), "L9")
    assert "Nobody of “drawn people” was asked; it is released on this ground: They are all dead" in found


def test_what_was_left_out_and_what_was_taken_out_are_told(records):
    known = described.facts(records)
    known = replace(known, release=replace(known.release, left_out={"no_consent": 3}))
    sheet = datasheet.render(known, described.answers())
    assert "3 records (the consent does not cover it)" in answer(sheet, "C3")
    assert "names 0 records that earlier releases held" in answer(sheet, "L10")


def test_questions_about_people_are_answered_by_the_release_where_all_faces_are_drawn():
    sheet = datasheet.render(described.facts(described.records("nobody")), described.answers(L8=""))
    assert answer(sheet, "L8").startswith("In release 1.2.0 no picture shows a person")
    assert "a picture of a drawn face" in answer(sheet, "C1")


def test_an_imported_dataset_claims_nothing_that_was_done_elsewhere(records):
    plain = {key: value for key, value in tiny_recipe().items() if key != "forge"}
    recipe = Recipe.model_validate(plain | {"imported": {"format": "pairs", "digest": "cd" * 32}})
    strangers = [replace(record, manipulator=record.manipulator and "unknown") for record in records]
    texts = described.reports(records, annotator="unknown")
    sheet = datasheet.render(described.facts(strangers, texts, recipe=recipe), described.answers())
    for code in ("C3", "L1", "L3"):
        assert "imported from a dataset that others made" in answer(sheet, code)
    assert "Which programs forged is not known." in answer(sheet, "L2")
    for claim in (
        "assigned before anything was forged", "by one resampling", "lie in one split", "kept beside each forgery",
        "stripped of marks", "under pseudonyms",
    ):  # fmt: skip
        assert claim not in sheet


def test_nobody_is_asked_for_who_brought_landmarks_in_a_file_nor_a_face_looked_for_that_was_not(records):
    known = described.facts([replace(record, landmark_finder="sidecar") for record in records])
    told = datasheet.render(known, described.answers())
    assert f"those of {len(records)} records came in a file with the photos" in told
    assert "where a finder still gives" not in told, "the recipe looks for none"


def test_a_model_that_wrote_is_no_annotator(records):
    texts = described.reports(records)
    texts[:2] = [replace(texts[0], annotator="a2"), texts[1]]
    assert figures.texts(texts)["annotators"] == 2
    texts[0] = replace(texts[0], text_origin="model", annotator="some-model")
    assert figures.texts(texts)["annotators"] == 1


def test_machines_texts_are_said_to_be_machines(records):
    texts = described.reports(records, text_origin="template", annotator="template", submitted=None, dwell_s=None)
    sheet = datasheet.render(described.facts(records, texts), described.answers())
    assert "No text was written by a person." in answer(sheet, "P1")
    assert "no text says when a person wrote it" in answer(sheet, "L5")


def test_agreement_is_told_as_it_was_measured(records):
    one = {"value": 0.512, "low": 0.4, "high": 0.6, "units": 30}
    known = described.facts(records, described.reports(records), agreement={"masi": one})
    assert "0.512 (0.4 to 0.6), 30 units" in answer(datasheet.render(known, described.answers()), "P1")


def test_strangers_words_are_text_and_no_markup():
    nasty = "<script>x</script> [a](http://b) | `c` **d**\n# e"
    record = make_record(1, origin=nasty, split="train", consent=described.CONSENT, landmark_finder="`x` <i>")
    sheet = datasheet.render(described.facts([record]), described.answers(M1=f"{nasty}\n\n# heading"))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(sheet)
    assert not re.search(r"<script|<i>|<strong>|href=\"http://b", html)
    assert html.count("<h1>") == 1
    assert "| train |" in sheet


def test_an_open_question_is_no_datasheet(records):
    with pytest.raises(ValueError, match="M1"):
        datasheet.render(described.facts(records), described.answers(M1=""))


def test_the_form_asks_every_question_once_in_order_and_leaves_open_what_a_person_has_to_say(tmp_path):
    text = datasheet.template(tmp_path, Recipe.model_validate(tiny_recipe()))
    codes = re.findall(r'^(?:# )?([MCLPUDT]\d+) = ""$', text, re.MULTILINE)
    assert codes == list(questions())
    needed = {code for code, asked in questions().items() if asked.is_for_people}
    assert tomllib.loads(text)["answers"].keys() == needed
    assert all(asked.text in text and asked.hint in text for asked in questions().values())


def test_the_form_is_enough_for_a_release_once_its_blanks_are_filled(tmp_path, records):
    text = datasheet.template(tmp_path, Recipe.model_validate(tiny_recipe()))
    filled = re.sub(r'^(licence = )""', r'\1"CC-BY-4.0"', text, flags=re.MULTILINE)
    filled = re.sub(r'^([\w.]+ = \[?)""', r'\1"Said."', filled, flags=re.MULTILINE)
    (tmp_path / DATASHEET).write_text(filled, encoding="utf-8")
    assert missing(load(tmp_path), described.facts(records)) == []


def test_of_an_untouched_form_every_blank_is_a_short_line(tmp_path):
    datasheet.write_template(tmp_path / DATASHEET, Recipe.model_validate(tiny_recipe()))
    lines = datasheet.left_open(tmp_path)
    needed = [str(asked) for asked in questions().values() if asked.is_for_people]
    assert lines[:5] == [f"about.{key} is blank" for key in ("title", "summary", "licence", "authors", "contact")]
    assert lines[5:] == needed
    with pytest.raises(UserError, match=rf"leaves {len(lines)} required answers blank:\n  about.title is blank\n"):
        datasheet.require_begun(tmp_path)


def test_a_ground_for_an_origin_that_no_photo_has_is_refused_with_the_nearest(tmp_path):
    answered(tmp_path, {"drawn peopel": "A ground."})
    assert datasheet.left_open(tmp_path) == [], "nothing is built that could tell"
    stored_dataset(tmp_path, [make_record(1)], [make_forged_record(1)])
    for read in (datasheet.left_open, datasheet.require_begun):
        with pytest.raises(UserError, match=r"origin 'drawn peopel', which no photo .* Did you mean 'drawn people'\?"):
            read(tmp_path)


def test_the_form_names_the_origins_whose_people_were_not_asked(tmp_path):
    nasty = 'old "photos"\n[x]\x7f'
    people = [make_record(1, origin=nasty, consent="none"), make_record(2, consent="manipulation")]
    stored_dataset(tmp_path, people, [make_forged_record(2, consent="manipulation")])
    text = datasheet.template(tmp_path, Recipe.model_validate(tiny_recipe()))
    line = next(line for line in text.splitlines() if "photos" in line and line.endswith('= ""'))
    assert tomllib.loads(line.removeprefix("# ")) == {nasty: ""}
    assert '"drawn people"' not in text
    assert "No person is shown here" not in text


def test_the_form_does_not_ask_about_people_where_none_is_shown(tmp_path):
    stored_dataset(tmp_path, [make_record(1, consent="nobody")], [make_forged_record(1, consent="nobody")])
    text = datasheet.template(tmp_path, Recipe.model_validate(tiny_recipe()))
    assert "No person is shown here" in text
    assert not {code for code, asked in questions().items() if asked.people} & tomllib.loads(text)["answers"].keys()
