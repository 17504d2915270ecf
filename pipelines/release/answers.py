"""Answers: what a curator says of a dataset, in `datasheet.toml`: who made it, under which licence, and why."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mmtt.errors import UserError
from mmtt.licences import Licence
from mmtt.settings import Section, parse

DATASHEET = "datasheet.toml"


class About(Section):
    """What the documents need to be told of the whole.

    unasked: for each origin whose people were not asked, the ground on which it is released all the same: a sentence,
        which card and datasheet print.
    """

    title: Annotated[str, Field(min_length=1)]
    summary: Annotated[str, Field(min_length=1)]
    licence: Licence
    licence_url: str = ""
    authors: Annotated[tuple[str, ...], Field(min_length=1)]
    contact: Annotated[str, Field(min_length=1)]
    removal_contact: str = ""  # where people ask to be taken out; `contact` where empty
    repository: str = ""  # OWNER/NAME on the Hub
    homepage: str = ""
    citation: str = ""
    funding: str = ""
    unasked: dict[str, str] = Field(default={})


class Answers(Section):
    """The whole file: `about`, and an answer to each question of the datasheet by its code (`M1`)."""

    about: About
    answers: dict[str, str] = Field(default={})


def load(root: Path) -> Answers:
    """Read the answers of a dataset.

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
    return parse(Answers, told, str(path))
