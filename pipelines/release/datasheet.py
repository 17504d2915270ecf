"""Datasheet: the questions of Datasheets for Datasets, answered by the release and by its curators."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from mmtt import consent
from mmtt.errors import UserError, did_you_mean
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, read_columns
from mmtt.recipe import Recipe
from mmtt.words import printable

from .answers import DATASHEET, Answers, begun, left_blank, unanswered
from .facts import Facts
from .markdown import Verbatim, paragraphs, text_template
from .markdown import template as markdown_template
from .questions import SECTIONS, Question, questions
from .statements import Told, automatic


class Answered(NamedTuple):
    """A question as it is printed: number, words, and paragraphs of Markdown below it."""

    number: str
    question: str
    paragraphs: tuple[Verbatim, ...]


def render(facts: Facts, answers: Answers) -> str:
    """Return the datasheet as Markdown: what people say first, then what the release says by itself.

    Raises:
        ValueError: a question is open; `answers.missing` tells which.
    """
    told = automatic(facts, answers)
    sections = [
        (number, title, [_answered(asked, told, answers) for code, asked in questions().items() if code[0] == letter])
        for number, (letter, title) in enumerate(SECTIONS.items(), 1)
    ]
    return markdown_template("datasheet.md.j2").render(about=answers.about, release=facts.release, sections=sections)


def _answered(asked: Question, told: Mapping[str, Told], answers: Answers) -> Answered:
    said, found = answers.said(asked.code), told.get(asked.code, Told(""))
    parts = [paragraphs(said) if said else "", found.text, found.table]
    given = tuple(Verbatim(part) for part in parts if part) or ((Verbatim("No."),) if asked.fill == "nobody" else ())
    if not given:
        raise ValueError(f"question {asked} is open")
    return Answered(asked.number, asked.text, given)


def write_template(path: Path, recipe: Recipe) -> None:
    """Write a form to be filled in, in the folder of the dataset that it is about."""
    write_atomically(path, template(path.parent, recipe).encode())


def template(root: Path, recipe: Recipe) -> str:
    """Return a `datasheet.toml` to be filled in: what has to be answered as blanks, the rest as comments.

    Args:
        root: the dataset; what it holds already decides which origins need a ground, and whether people are shown.
        recipe: its recipe.
    """
    people = shows_people(root)
    groups = [
        (title, [(asked, asked.is_for_people and (people or not asked.people)) for asked in of])
        for letter, title in SECTIONS.items()
        if (of := [asked for code, asked in questions().items() if code[0] == letter])
    ]
    unasked = sorted(name for name, words in _origins(root) if not consent.is_asked(words))
    return text_template("datasheet.toml.j2").render(
        name=recipe.name, unasked=[Verbatim(_quoted(name)) for name in unasked], groups=groups, people=people
    )


def left_open(root: Path) -> list[str]:
    """Return which required answers a dataset's file leaves blank, a short line each, in the order of the file.

    Raises:
        UserError: as for `answers.begun`, or a ground is stated for an origin that no picture has.
    """
    told, blank = begun(root)
    _require_origins(told.about.unasked, root)
    return blank + list(map(str, unanswered(told, people=shows_people(root))))


def require_begun(root: Path) -> None:
    """Refuse a file whose `about` has blanks: who makes a release and under which licence; all that is open is listed.

    Raises:
        UserError: it has; or as for `left_open`.
    """
    _, blank = begun(root)
    found = left_open(root)
    if blank:
        raise left_blank(root, found)


def _require_origins(unasked: Collection[str], root: Path) -> None:
    known = {origin for origin, _ in _origins(root)}
    for name in sorted(set(unasked) - known) if known else ():
        raise UserError(
            printable(
                f"{root / DATASHEET}: about.unasked names the origin '{name}', which no photo of the dataset has."
                f"{did_you_mean(name, known)}"
            )
        )


def shows_people(root: Path) -> bool:
    """Whether a dataset shows people, as far as it holds anything: only then is it known to be of drawings alone."""
    told = [words for _, words in _origins(root)]
    return not told or not all(consent.NOBODY in consent.words(words) for words in told)


def _origins(root: Path) -> set[tuple[str, str]]:
    """Origin and consent of the pictures that are there; of imported ones, too."""
    layout = Layout(root)
    folders = [folder for folder in (layout.pristine, layout.forged) if (folder / MANIFEST).is_file()]
    return {
        (row["origin"], row["consent"]) for folder in folders for row in read_columns(folder, ["origin", "consent"])
    }


def _quoted(text: str) -> str:
    """A string as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
