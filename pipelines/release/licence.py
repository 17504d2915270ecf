"""Licence: whether the licence of the whole can cover every row, and the text that goes with a release."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from mmtt import consent
from mmtt.errors import UserError
from mmtt.licences import OPEN_RAIL, obligations

from . import figures
from .answers import DATASHEET, Answers
from .facts import Facts
from .markdown import text_template

# What access is given on: conditions of the curator's, beside copyright. Card, licence and the form for access say so.
FORBIDDEN: Sequence[str] = (
    "to identify anybody shown, or to try to, by any means: matching faces, searching, linking with other data.",
    "to train, tune or test programs that recognise faces, or that identify or sort people by their bodies.",
    "to harm anybody shown: to harass, defame, humiliate, deceive, or show them in any light they did not agree to.",
    "to show or pass on a forgery without saying, where it is shown, that it is one.",
)
NON_COMMERCIAL = "to use it commercially."
DAYS_TO_DELETE = 30

MEANINGS: Mapping[str, str] = MappingProxyType({
    "BY": "name the origin, the licence, and that the picture was changed",
    "NC": "no commercial use",
    "ND": "no derivatives",
    "research-only": "research only",
})  # fmt: skip
_CC = re.compile(r"CC-((?:BY|NC|SA|ND)(?:-(?:BY|NC|SA|ND))*)-(\d\.\d)(?:-([A-Z]{2,3}))?")


def require_compatible(owed: Mapping[str, int], licence: str) -> None:
    """Refuse a licence of the whole that does not ask for what its rows oblige to.

    Later versions of a Creative Commons share-alike licence, from 2.0 on, do in place of the one that a row demands
    (their section on adaptations says so). What `use-restricted:…` asks for is passed on by the text, whatever the
    licence; so is research-only where a share-alike licence without commerce leaves no other choice.

    Args:
        owed: how many rows oblige to each word of `mmtt.licences`.
        licence: of the whole: what `mmtt.licences.Licence` allows.

    Raises:
        UserError: a licence conflict; one sentence that names every one, and what to do.
    """
    given = obligations(licence)
    unmet = {word: rows for word, rows in sorted(owed.items()) if not _met(word, given)}
    if not unmet:
        return
    told = "; ".join(f"{rows:,} row{'s' * (rows != 1)}: {meaning(word)} ({word})" for word, rows in unmet.items())
    raise UserError(
        f"Licence conflict: {licence} ({DATASHEET}, about.licence) does not ask for what rows oblige to ({told}); "
        f"{_way_out(owed)}."
    )


def _met(word: str, given: frozenset[str]) -> bool:
    """Whether a licence that asks for `given` asks for one obligation. A crop is a derivative: none meets ND."""
    alike = [other.removeprefix("SA:") for other in given if other.startswith("SA:")]
    if word == "ND" or word in given:
        return word != "ND"
    if word.startswith("SA:"):
        return any(_is_later(word.removeprefix("SA:"), other) for other in alike)
    if word == "research-only":  # as in `mmtt.licences`: share-alike without commerce keeps commerce out as well
        return bool(alike) and "NC" in given
    return word.startswith("use-restricted:")


def _is_later(licence: str, other: str) -> bool:
    """Whether a Creative Commons licence is another, or a later version of it that the other allows."""
    one, two = _CC.fullmatch(licence), _CC.fullmatch(other)
    return bool(one and two) and one[1] == two[1] and "2.0" <= one[2] <= two[2]  # type: ignore[index]


def _way_out(owed: Iterable[str]) -> str:
    alike = sorted(word.removeprefix("SA:") for word in owed if word.startswith("SA:"))
    for licence in (*alike, "CC-BY-4.0", "CC-BY-NC-4.0", "LicenseRef-…"):
        given = obligations(licence.replace("…", "x"))
        if all(_met(word, given) for word in owed):
            return f"choose {licence}, or take those photos out"
    return "no licence covers them all, so take photos out or release them apart"


def meaning(word: str) -> str:
    """Return what an obligation asks for, as words."""
    kind, _, licence = word.partition(":")
    if kind == "SA":
        return f"pass on under {licence}"
    if kind == "use-restricted":
        return f"keep to the uses that {licence} allows, and pass that on"
    return MEANINGS.get(word, word)


def address(licence: str, url: str = "") -> str:
    """Return where a licence's text stands.

    Raises:
        UserError: it is on no list, and no address was given.
    """
    if url:
        return url
    if licence == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if found := _CC.fullmatch(licence):
        return f"https://creativecommons.org/licenses/{'/'.join(filter(None, found.groups())).lower()}/"
    if licence in OPEN_RAIL or licence.startswith(("PD", "LicenseRef-")):
        raise UserError(
            f"{DATASHEET}: 'about.licence' is {licence}, whose text is on no list; give its address in "
            "'about.licence_url'."
        )
    return f"https://spdx.org/licenses/{licence}.html"


def is_commercial(facts: Facts, licence: str) -> bool:
    """Whether commercial use is open: licence and rows allow it, and everybody shown agreed to it."""
    owed = {*obligations(licence), *figures.owed(facts.rows)}
    given = [consent.words(words) for words in figures.people(facts.rows)["consent"].unique()]
    return not {"NC", "research-only"} & owed and all({"commercial", consent.NOBODY} & words for words in given)


def forbidden(facts: Facts, licence: str) -> list[str]:
    """Return what a release may not be used for, as the ends of a sentence that begins `It may not be used`."""
    return [*FORBIDDEN, *([] if is_commercial(facts, licence) else [NON_COMMERCIAL])]


def text(facts: Facts, answers: Answers) -> str:
    """Return the text of `LICENSE`: the licence, what rows oblige to, whom to name, what is forbidden.

    Raises:
        UserError: the licence conflicts with what rows oblige to, or nobody says where its text stands.
    """
    about, owed = answers.about, figures.owed(facts.rows)
    require_compatible(owed, about.licence)
    return text_template("licence.txt.j2").render(
        about=about,
        release=facts.release,
        address=address(about.licence, about.licence_url),
        rows=len(facts.rows),
        free=len(facts.rows) - int(figures.obliged(facts.rows).map(bool).sum()),
        owed=[(word, count, meaning(word)) for word, count in sorted(owed.items())],
        origins=figures.origins(facts.rows),
        programs=list(_programs(facts.rows)),
        grounds=figures.grounds(facts.rows, about.unasked),
        consents=figures.consents(facts.rows),
        forbidden=forbidden(facts, about.licence),
        days=DAYS_TO_DELETE,
        contact=about.removal_contact or about.contact,
    )


def _programs(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Each program and pair of licences: a manipulator may have been run with several weights."""
    columns = ["manipulator", "code_licence", "weights_licence"]
    forged = rows[rows["manipulation"].notna()]
    counted = Counter(tuple(map(_word, row)) for row in forged[columns].itertuples(index=False))
    for (name, code, weights), count in sorted(counted.items()):
        yield {"name": name or "unknown", "code": code or "unknown", "weights": weights, "rows": count}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
