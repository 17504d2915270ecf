"""The guidelines: complete, the same in every language, true of the interface, and true to themselves."""

import re
from html.parser import HTMLParser

import pytest

from annotation.interface import instructions, languages
from annotation.interface.guide import guidelines, rendered, sections
from annotation.interface.languages import words as strings
from annotation.protocols import DIFFICULTIES, FALSE_POSITIVE, FLAGS, PROTOCOLS, VERDICTS, StageName
from annotation.quality.identity import hits_in
from mmtt.errors import UserError
from mmtt.lexicon import claimed
from mmtt.regions import REGIONS
from mmtt.words import words

LANGUAGES = languages()
STAGES = [(protocol, stage.name) for protocol, stages in PROTOCOLS.items() for stage in stages]
TAGS = {"h2", "p", "ol", "ul", "li", "strong", "em", "table", "thead", "tbody", "tr", "th", "td"}


def parts(text: str) -> list[str]:
    return re.split(r"(?m)^## ", text)


def table(text: str) -> list[list[str]]:
    """The rows of the table of a section, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def section(language: str, rows: int, columns: int) -> list[list[str]]:
    """The one table of a language with so many rows and columns."""
    found = [t for t in map(table, parts(guidelines(language))) if len(t) == rows and len(t[0]) == columns]
    assert len(found) == 1
    return found[0]


EXAMPLES = [(language, *row) for language in LANGUAGES for row in section(language, 10, 3)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_as_much_as_english(language):
    ours, english = parts(guidelines(language)), parts(guidelines("en"))
    assert len(ours) == len(english)
    for here, there in zip(ours, english, strict=True):
        for mark in (r"(?m)^- ", r"(?m)^\d\. ", r"(?m)^\| ", r"(?m)^<!-- .*-->$", r"\*\*", r"\n\n"):
            assert len(re.findall(mark, here)) == len(re.findall(mark, there)), (mark, here)


def test_it_is_read_in_ten_minutes():
    assert 1400 < len(words(guidelines("en"), "en")) < 1900
    assert 1800 < len(words(guidelines("zh"), "zh")) < 3000


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_region_has_a_row_and_is_called_as_on_the_page(language):
    called = [row[0] for row in section(language, len(REGIONS), 3)]
    assert called == [strings(language)[f"region.{word}.text"] for word in _reading_order(called, language)]


def _reading_order(called: list[str], language: str) -> list[str]:
    by_text = {strings(language)[f"region.{word}.text"]: word for word in REGIONS}
    assert sorted(by_text) == sorted(called)
    return [by_text[text] for text in called]


@pytest.mark.parametrize("language", LANGUAGES)
def test_verdicts_and_flags_are_called_as_on_the_page(language):
    text, said = guidelines(language), strings(language)
    for word in VERDICTS:
        assert f"| **{said[f'verdict.{word}.text']}** |" in text
    for word in (*FLAGS, FALSE_POSITIVE):
        assert f"- **{said[f'flag.{word}.text']}**" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_difficulty_is_anchored_star_by_star(language):
    assert [row[0] for row in section(language, DIFFICULTIES, 2)] == [str(n + 1) for n in range(DIFFICULTIES)]


each_example = pytest.mark.parametrize(("language", "good"), [(row[0], row[2]) for row in EXAMPLES])


@each_example
def test_a_good_example_is_short_and_says_nothing_of_who_is_seen(language, good):
    assert 5 <= len(words(good, language)) <= 120
    assert hits_in(good) == []


@each_example
def test_a_good_example_claims_a_fault_in_a_region(language, good):
    assert claimed(good, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_of_what_never_to_write_is_one_that_is_sent_back(language):
    assert any(hits_in(bad) for known, bad, _, _ in EXAMPLES if known == language)


def test_examples_and_reasons_are_all_different():
    for column in (1, 2, 3):
        assert len({row[column] for row in EXAMPLES}) == len(EXAMPLES)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("protocol", "stage"), STAGES)
def test_instructions_are_plain_html_that_a_server_leaves_as_it_is(protocol, stage, language):
    """The server cleans what it is sent and spells out quotes; what came back changed would be sent again and again."""
    html = instructions(stage, language, protocol)
    read = Tags()
    read.feed(html)
    assert read.tags <= TAGS
    assert read.attributes == {"class"}
    assert not re.search(r"&|<!--|\]\(|https?:", html)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("protocol", "stage"), STAGES)
def test_instructions_say_what_this_stage_is_about_and_what_it_sees(protocol, stage, language):
    html, said = instructions(stage, language, protocol), strings(language)
    assert said[f"instructions.{stage}"] in html
    sees = {view for view in ("image", "pristine", "overlay") if said[f"instructions.sees.{view}"] in html}
    assert sees == {str(v) for one in PROTOCOLS[protocol] if one.name == stage for v in one.sees}
    assert said["instructions.rework"] not in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_describes_is_told_how_to_look_and_write_and_what_never_to_write(language):
    text = guidelines(language)
    assert [len(sections(text, stage)) for stage in StageName] == [7, 5, 6]
    html = instructions(StageName.DESCRIBE, language, "paper", rework=True)
    assert strings(language)["instructions.rework"] in html
    assert all(good in html for known, _, good, _ in EXAMPLES if known == language)


def test_html_in_markdown_is_shown_and_not_obeyed():
    html = rendered('<script>alert(1)</script> <b onclick="x">bold</b> [a](javascript:alert) ![b](x)')
    assert re.findall(r"<\w+", html) == ["<p"]


def test_instructions_in_an_unknown_language_are_a_sentence():
    with pytest.raises(UserError, match="not written in 'fr'"):
        instructions(StageName.DESCRIBE, "fr", "paper")
