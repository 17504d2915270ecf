"""The card: what the Hub shows of a release, and what its viewer and `datasets` read at its head.

Its sections are those of the Hub's own template (`huggingface_hub/templates/datasetcard_template.md`), each filled.
"""

import re
from collections.abc import Mapping
from typing import Any
from unicodedata import normalize

from mmtt.recipe import SPLITS
from mmtt.record import Record
from mmtt.reports import Report
from mmtt.schema import card_table

from ..marking.export import MarkedPicture
from ..overview.tables import ABOUT
from . import figures, front, glossary, licence
from .answers import About, Answers, is_about_people
from .facts import Facts
from .markdown import Verbatim, template
from .terms import hub_url

_SENSES = {
    "families": ABOUT, "mask_rules": glossary.MASK_RULES, "text_origins": glossary.TEXT_ORIGINS,
    "protocols": glossary.PROTOCOLS, "left_out": glossary.LEFT_OUT, "ages": glossary.AGES,
}  # fmt: skip
_WORRYING = ("fails", "doubtful")


def render(facts: Facts, answers: Answers) -> str:
    """Return the text of `README.md`; equal facts and answers give equal text.

    Raises:
        UserError: an origin whose people were not asked has no ground; nobody says where the licence's text stands.
    """
    body = template("card.md.j2").render(
        **{name: _verbatim(senses) for name, senses in _SENSES.items()},
        **_tables(facts, answers),
        about=answers.about,
        answers={code: said for code in answers.answers if (said := answers.said(code))},
        facts=facts,
        release=facts.release,
        recipe=facts.recipe,
        source=_source(facts, answers.about),
        hub_address=hub_url(answers.about),
        bibtex=_bibtex(facts, answers.about),
        year=facts.release.date[:4],
        purposes=[purpose[:1].lower() + purpose[1:] for purpose in front.PURPOSES],
        columns=_columns(Record),
        report_columns=_columns(Report),
        marked_columns=_columns(MarkedPicture),
        shows_people=is_about_people(facts),
        splits=SPLITS,
    )
    return f"{front.front_matter(facts, answers)}\n{body}"


def _tables(facts: Facts, answers: Answers) -> dict[str, Any]:
    rows, about = facts.rows, answers.about
    judged = figures.audits(facts.audits)
    return {
        "configs": figures.configs(facts.files),
        "sizes": figures.sizes(facts.files),
        "kinds": figures.kinds(rows),
        "masks": figures.masks(rows),
        "origins": figures.origins(rows),
        "consents_stated": figures.consents(rows),
        "grounds": figures.grounds(rows, about.unasked),
        "texts": figures.texts(facts.reports),
        "agreements": figures.agreements(facts.agreement),
        "audits": judged,
        "worrying": [audit for audit in judged if audit["verdict"] in _WORRYING],
        "unanswered": figures.unanswered(facts.audits),
        "owed": [(word, count, licence.meaning(word)) for word, count in figures.owed(rows).items()],
        "forbidden": licence.forbidden(facts, about.licence),
        "licence_address": licence.address(about.licence, about.licence_url),
        "days": licence.DAYS_TO_DELETE,
        "forged": int(rows["manipulation"].notna().sum()),
        "unanswered_count": sum("statistic" not in audit for audit in facts.audits),
        "groups": int(rows["group_id"].nunique()),
    }


def _verbatim(senses: Mapping[str, str]) -> dict[str, Verbatim]:
    return {word: Verbatim(sentence) for word, sentence in senses.items()}


def _columns(row_class: type) -> Verbatim:
    """A type such as `list<string>` would be read as a tag."""
    return Verbatim(card_table(row_class).replace("<", r"\<").strip())


def _source(facts: Facts, about: About) -> Verbatim:
    """What `load_dataset` is told: the repository at this version, or the folder where no repository is named."""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+", about.repository)
    return Verbatim(about.repository if named else f"releases/{facts.release.version}")


def _bibtex(facts: Facts, about: About) -> str:
    """The curator's entry where there is one, else one made of what is known."""
    if about.citation.lstrip().startswith("@"):
        return about.citation
    release = facts.release
    where = about.homepage or hub_url(about)
    told = {
        "title": f"{{{_tex(about.title)}}}", "author": " and ".join(f"{{{_tex(author)}}}" for author in about.authors),
        "year": release.date[:4], "version": release.version, **({"url": where} if where else {}),
    }  # fmt: skip
    lines = "".join(f"  {name} = {{{' '.join(value.split())}}},\n" for name, value in told.items())
    return f"@misc{{{_key(about.title) or release.name}-{release.version},\n{lines}}}"


def _key(title: str) -> str:
    """Return a title as the key of an entry, which has to be of plain letters; empty where it has none of them."""
    plain = normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _tex(text: str) -> str:
    """Return a text as TeX that prints that very text; braces and backslashes, which TeX would count, are left out."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\~^]", "", text))
