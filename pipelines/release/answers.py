"""Answers: what a curator says of a dataset, in `datasheet.toml`: who made it, under which licence, and why."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from mmtt import consent
from mmtt.errors import UserError, did_you_mean
from mmtt.licences import Licence
from mmtt.settings import Section, parse
from mmtt.words import printable

from .facts import Facts
from .markdown import so_many
from .questions import Question, questions

DATASHEET = "datasheet.toml"
_STAND_INS = {"title": "…", "summary": "…", "licence": "CC0-1.0", "authors": ["…"], "contact": "…"}
# What people write into a form that they mean to fill in later.
_LATER = re.compile(r"\W*(?:todo|tbd|tba|fixme|xxx|to be (?:done|filled in)|(?:more )?information needed)?\W*", re.I)


class About(Section):
    """What the documents need to be told of the whole.

    unasked: for each origin whose people were not asked, the ground on which it is released all the same: a sentence,
        which card and datasheet print.
    """

    title: Annotated[str, Field(min_length=1)]
    summary: Annotated[str, Field(min_length=1)]
    licence: Licence
    licence_url: str = ""
    authors: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    contact: Annotated[str, Field(min_length=1)]
    removal_contact: str = ""  # where people ask to be taken out; `contact` where empty
    repository: str = ""  # OWNER/NAME on the Hub
    homepage: str = ""
    citation: str = ""
    funding: str = ""
    unasked: dict[str, Annotated[str, Field(min_length=1)]] = Field(default={})


class Answers(Section):
    """The whole file: `about`, and an answer to each question of the datasheet by its code (`M1`)."""

    about: About
    answers: dict[str, str] = Field(default={})

    @field_validator("answers")
    @classmethod
    def _codes_are_known(cls, told: dict[str, str]) -> dict[str, str]:
        for code in told:
            if code not in questions():
                raise ValueError(f"'{code}' is no question's code.{did_you_mean(code, questions())}")
        return told

    def said(self, code: str) -> str:
        """Return what a person answers to a question; empty where nobody did, or only promised to."""
        told = self.answers.get(code, "").strip()
        return "" if _is_blank(told) else told


def load(root: Path) -> Answers:
    """Read the answers of a dataset.

    Raises:
        UserError: as for `begun`, or what a release cannot do without is blank.
    """
    told, blank = begun(root)
    if blank:
        raise left_blank(root, blank)
    return told


def begun(root: Path) -> tuple[Answers, list[str]]:
    """Read answers that may be unfinished: stand-ins where `about` is blank, and a line for each of those.

    Raises:
        UserError: there are none yet, or they cannot be read. RecipeError: a wrong key or value.
    """
    path = root / DATASHEET
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. `mmtt datasheet {root}` writes one to fill in.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}.") from error
    about = told.setdefault("about", {})
    blank = list(_filled(about)) if isinstance(about, dict) else []
    return parse(Answers, told, str(path)), blank


def left_blank(root: Path, lines: Sequence[str]) -> UserError:
    """Return what to raise where answers are missing, a line for each."""
    listed = "".join(f"\n  {printable(line)}" for line in lines)
    return UserError(f"{root / DATASHEET} leaves {so_many(len(lines), 'required answer')} blank:{listed}")


def _filled(about: dict[str, Any]) -> Iterator[str]:
    """Put stand-ins where a blank is, so that the rest can be looked at; yield a line for each."""
    for key, value in _STAND_INS.items():
        if _is_blank(about.get(key, "")):
            about[key] = value
            yield f"about.{key} is blank"
    grounds = about.get("unasked")
    for origin, ground in list(grounds.items()) if isinstance(grounds, dict) else ():
        if _is_blank(ground):
            grounds[origin] = "…"
            yield f"about.unasked.{origin} is blank"


def _is_blank(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_blank, value))
    return isinstance(value, str) and _LATER.fullmatch(value.strip()) is not None


def missing(answers: Answers, facts: Facts) -> list[Question]:
    """Return the questions that have to be answered for a release and are not, in the order of the datasheet."""
    return unanswered(answers, people=is_about_people(facts))


def unanswered(answers: Answers, *, people: bool = True) -> list[Question]:
    """Return the questions that only a person can answer and nobody did, in the order of the datasheet.

    Args:
        answers: what was filled in.
        people: whether pictures show people; where all faces are drawn, questions about those shown do not arise.
    """

    def is_open(asked: Question) -> bool:
        if asked.people and not people:
            return False
        told = getattr(answers.about, asked.about).strip() if asked.about else ""
        return asked.is_for_people and not told and not answers.said(asked.code)

    return [asked for asked in questions().values() if is_open(asked)]


def is_about_people(facts: Facts) -> bool:
    """Whether any picture shows a person, as the words of consent tell."""
    rows = facts.rows
    told = [*rows["consent"].unique(), *rows["source_consent"].dropna().unique()]
    return not all(consent.NOBODY in consent.words(words) for words in told)
