"""Conditions: what a release says of who made it, what it may be used for, and how it is kept up (M, U, D, T)."""

from mmtt.html import number
from mmtt.release import Version

from .. import figures, licence, terms
from ..answers import About, Answers
from ..facts import Facts
from ..markdown import link, plain, size, so_many
from .words import Told, joined, ranked


def authors(about: About) -> Told:
    """M2."""
    return Told(f" these are its authors: {joined(str(plain(name)) for name in about.authors)}.")


def funding(about: About) -> Told | None:
    """M3."""
    told = about.funding.strip()
    return Told(f" this is stated: {plain(told)}") if told else None


def misuse(facts: Facts, answers: Answers) -> Told:
    """U5."""
    sentences = [f"- {sentence}" for sentence in licence.forbidden(facts, answers.about.licence)]
    return Told(" the terms forbid, whatever else the licence allows:", "\n".join(sentences))


def recipients(about: About) -> Told | None:
    """D1."""
    if not about.repository:
        return None
    text = (
        ", yes: to those who are given access on the Hugging Face Hub, where they say who they are and what "
        "for, and agree to the terms."
    )
    return Told(text)


def channel(facts: Facts, answers: Answers) -> Told | None:
    """D2."""
    if not answers.about.repository:
        return None
    files, total = so_many(len(facts.files), "Parquet file"), size(sum(file.bytes for file in facts.files))
    text = (
        f" it comes as {files} ({total}) with their digests, in the repository {link(terms.hub_url(answers.about))}, "
        f"tag `v{facts.release.version}`."
    )
    stripped = " The copy for training is stripped of marks, so that no detector learns them."
    marked = "marked" in facts.release.rows
    copy = " The configuration `marked` holds the same pictures with content credentials." if marked else ""
    return Told(text + (stripped if facts.recipe.imported is None else "") + copy)


def published(facts: Facts) -> Told:
    """D3."""
    return Told(f" the files are of {facts.release.date}, and may be published from that day on.")


def licensing(facts: Facts, answers: Answers) -> Told:
    """D4."""
    about = answers.about
    owed = ranked(figures.owed(facts.rows))
    rows = f" What single rows oblige to besides stands in `obligations`: {_obligations(owed)}." if owed else ""
    address = licence.address(about.licence, about.licence_url)
    text = f", yes: {plain(about.licence)} ({link(address)}), with the terms of use in `LICENSE`."
    return Told(text + rows)


def _obligations(owed: list[tuple[str, int]]) -> str:
    return joined(f"{plain(word)} ({number(count)} rows: {plain(licence.meaning(word))})" for word, count in owed)


def restrictions(facts: Facts) -> Told:
    """D5."""
    told = [f"{plain(one['origin'])} under {plain(one['licence'])}" for one in figures.origins(facts.rows)]
    text = f" the photos come with the licences of their origins: {joined(told)}."
    programs = sorted({*facts.rows["code_licence"].dropna(), *facts.rows["weights_licence"].dropna()})
    names = joined(str(plain(name)) for name in programs)
    used = f" Programs and weights that forged are under {names}." if programs else ""
    return Told(text + used)


def maintainers(about: About) -> Told:
    """T1."""
    hosted = f"; the Hugging Face Hub hosts it ({link(terms.hub_url(about))})" if about.repository else ""
    names = joined(str(plain(name)) for name in about.authors)
    return Told(f" its authors maintain it: {names}{hosted}.")


def contact(about: About) -> Told:
    """T2."""
    removal = f" Who wants to be taken out writes to {link(about.removal_contact)}." if about.removal_contact else ""
    return Told(f" the address for everything is {link(about.contact)}.{removal}")


def erratum(facts: Facts) -> Told:
    """T3."""
    text = " `CHANGELOG.md` says what was corrected in each version, and `removed.csv` which records went"
    return Told(f"{text} ({so_many(len(facts.removed), 'record')} so far).")


def updates(facts: Facts) -> Told:
    """T4."""
    release = facts.release
    before = f"follows {release.previous}" if release.previous else "is the first"
    text = (
        f", which {before}, versions count as major.minor.patch: major when columns or a record's split changed, minor "
        "when records were added, patch when there are only removals and corrections. A removal does not wait for "
        "more, and whoever was given access is told of it."
    )
    return Told(text)


def old_versions(facts: Facts) -> Told:
    """T6."""
    major = Version.parse(facts.release.version).major
    text = (
        f" the rule is: older versions stay as they are until somebody is taken out. Then every version that "
        f"holds the person is withdrawn, and its files are deleted, which breaks the promise of a fixed version on "
        f"purpose. Ids and splits of all other records stay the same in all versions {major}.x."
    )
    return Told(text)


OF_FACTS = {"D3": published, "D5": restrictions, "T3": erratum, "T4": updates, "T6": old_versions}
OF_ABOUT = {"M2": authors, "M3": funding, "D1": recipients, "T1": maintainers, "T2": contact}
OF_BOTH = {"U5": misuse, "D2": channel, "D4": licensing}
