"""Collection: what a release says of how it came about (questions L1–L12)."""

from mmtt.consent import is_asked
from mmtt.html import percent
from mmtt.recipe import Entry

from .. import figures
from ..answers import Answers
from ..facts import Facts
from ..markdown import plain, so_many
from .words import Told, by_people, counted, days, forged, imported, joined, said_of, share, span, table, values


def acquired(facts: Facts) -> Told:
    """L1."""
    audited = said_of(facts, "M1", "M2")
    if told := imported(facts):
        return Told(f" {told}; pictures and masks are as they were found there. {audited}".rstrip())
    photos = sum(one["photos"] for one in figures.origins(facts.rows))
    text = (
        f" the faces were cut out of {so_many(photos, 'photo')} of {_origins(facts)}; {_landmarks(facts)}. "
        f"Forgeries were derived from these pictures by programs, and their masks from the edit itself. {audited}"
    )
    return Told(text.rstrip())


def _origins(facts: Facts) -> str:
    return joined(sorted({str(plain(one["origin"])) for one in figures.origins(facts.rows)}))


def _landmarks(facts: Facts) -> str:
    """Who found the landmarks; those that came in a file with the photos were found by nobody here."""
    finders = values(facts.rows["landmark_finder"])
    brought = finders.pop("sidecar", 0)
    found = [f"landmarks were found by {counted(finders)}"] if finders else []
    return joined([*found, *([f"those of {brought:,} records came in a file with the photos"] if brought else [])])


def procedures(facts: Facts) -> Told:
    """L2."""
    edited = forged(facts)
    keys = edited[["manipulator", "manipulator_version"]].fillna("unknown").value_counts(sort=False)
    programs = joined(
        f"{span(str(name))} version {plain(str(version))} ({count:,})"
        for (name, version), count in sorted(keys.items()) if name != "unknown"
    )  # fmt: skip
    nothing = "Which programs forged is not known." if len(edited) else "Nothing was forged."
    made_in = facts.release.environment
    with_what = joined(f"{plain(name)} {plain(value)}" for name, value in sorted(made_in.items()) if name in _TOOLS)
    text = (
        f" everything was {'read' if facts.recipe.imported else 'made'} by the MMTT toolkit from a recipe (SHA-256 "
        f"`{facts.release.recipe_sha256}`). "
        f"{f'The programs that forged were {programs}.' if programs else nothing}"
    )
    learned = edited["weights_sha256"].nunique()
    told = f" They used {so_many(learned, 'set')} of learned weights, whose digests are in the rows." if learned else ""
    where = f" Where the shards were made, there were installed {with_what}." if with_what else ""
    return Told(text + told + where)


_TOOLS = ("mmtt", "python", "numpy", "opencv", "torch", "mediapipe", "insightface", "facexlib", "diffusers")


def sampling(facts: Facts) -> Told:
    """L3."""
    recipe = facts.recipe
    if told := imported(facts):
        return Told(f" nothing was drawn: {told}.")
    entries = joined(map(_entry, recipe.forge.manipulators))
    donors = (
        f" Donors are drawn among the {recipe.plan.donors.nearest} faces of other people in the same split that are "
        f"nearest in pose and shape."
    )
    has_donors = forged(facts)["source_id"].notna().any()
    text = f" these forgeries were asked for: {entries}. On whom a share falls is drawn from the seed {recipe.seed}."
    return Told(text + (donors if has_donors else ""))


def _entry(entry: Entry) -> str:
    pictures = "all pictures" if entry.share == 1 else f"{percent(entry.share)} of the pictures"
    times = f", {entry.per_target} each" if entry.per_target > 1 else ""
    return f"{span(entry.label)} (of {pictures}{times})"


def timeframe(facts: Facts) -> Told:
    """L5."""
    found = days(facts)
    period = f"from {found[0]} to {found[-1]}" if len(found) > 1 else f"on {found[0]}" if found else ""
    wrote = f"people wrote texts {period}" if found else "no text says when a person wrote it"
    text = f", which is of {facts.release.date}, {wrote}. When the photos were taken is not recorded."
    return Told(text)


def sources(facts: Facts) -> Told:
    """L7."""
    return Told(f" the photos came from {_origins(facts)}.")


def consents(facts: Facts, answers: Answers) -> Told:
    """L9."""
    stated = figures.consents(facts.rows)
    rows = [[one["consent"], one["photos"], one["pristine"], one["target"], one["donor"]] for one in stated]
    asked = share(
        sum(one["photos"] for one in stated if is_asked(one["consent"])), sum(one["photos"] for one in stated)
    )
    grounds = [
        f" Nobody of “{plain(one['origin'])}” was asked; it is released on this ground: {plain(one['ground'])}"
        for one in figures.grounds(facts.rows, answers.about.unasked)
    ]
    text = f" a consent is recorded for {asked} photos; `none` means that nobody was asked."
    return Told(text + "".join(grounds), table(["consent", "photos", "pristine", "targets", "donors"], rows))


def revocation(facts: Facts, answers: Answers) -> Told:
    """L10."""
    about, gone = answers.about, len(facts.removed)
    text = (
        f" whoever is shown, asked or not, is taken out on request to "
        f"{plain(about.removal_contact or about.contact)}; no photo of the face is ever asked for. All pictures of the "
        f"person, what was forged of them and what was written about them are deleted, a release without them follows, "
        f"and whoever was given access is told which records to delete. `removed.csv` names {so_many(gone, 'record')} "
        f"that earlier releases held. Copies that others made cannot be recalled."
    )
    return Told(text)


def annotators(facts: Facts) -> str:
    """Return who wrote the texts, as a sentence; used by what is said of labeling."""
    people = by_people(facts)
    if not people:
        return "No text was written by a person." if facts.reports else ""
    names = {report.annotator for report in people} - {"unknown"}
    by = f" by {so_many(len(names), 'person', 'people')} under pseudonyms" if names else ""
    return f"{so_many(len(people), 'text')} were written{by}."


OF_FACTS = {"L1": acquired, "L2": procedures, "L3": sampling, "L5": timeframe, "L7": sources}
OF_BOTH = {"L9": consents, "L10": revocation}
