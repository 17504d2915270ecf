"""Composition: what a release says of what it holds (questions C1–C16)."""

from collections import Counter

from mmtt import consent
from mmtt.html import percent
from mmtt.recipe import SPLITS

from .. import figures
from ..answers import is_about_people
from ..facts import Facts
from ..glossary import AGES, LEFT_OUT, MASK_RULES
from ..markdown import plain, so_many
from .words import (
    Told,
    counted,
    forged,
    imported,
    joined,
    records,
    said_of,
    share,
    span,
    table,
    values,
)


def represented(facts: Facts) -> Told:
    """C1."""
    edited, size = forged(facts), f", {facts.size_px} × {facts.size_px} pixels" if facts.size_px else ""
    pristine = len(facts.rows) - len(edited)
    shown = _SHOWN[is_about_people(facts), any(map(_is_drawn, facts.rows["consent"].unique()))]
    text = (
        f" an instance is a picture of {shown}{size}. Of {records(len(facts.rows))}, {pristine:,} hold a picture as it "
        f"was (pristine) and {len(edited):,} a forgery, made of one of these or of a picture that is not released. "
        "`manipulation` names the family that a forgery belongs to."
    )
    return Told(text)


_SHOWN = {
    (True, False): "the face of a person",
    (True, True): "a face, of a person or drawn",
    (False, True): "a drawn face",
}  # fmt: skip


def _is_drawn(words: str) -> bool:
    return consent.NOBODY in consent.words(words)


def number(facts: Facts) -> Told:
    """C2."""
    rows = [[kind["kind"], *kind["splits"].values(), kind["rows"]] for kind in figures.kinds(facts.rows)]
    groups = so_many(facts.rows["group_id"].nunique(), "group")
    texts = f"{so_many(len(facts.reports), 'text')} describe them." if facts.reports else "No text describes them."
    text = f" there are {records(len(facts.rows))} of {groups}, one for each known person or photo. {texts}"
    return Told(text, table(["family", *SPLITS, "all"], rows))


def sample(facts: Facts) -> Told:
    """C3."""
    left = facts.release.left_out
    reasons = joined(f"{records(count)} ({LEFT_OUT.get(code, plain(code))})" for code, count in left.items())
    out = f"Left out of what was built were {reasons}." if left else "Nothing that was built and passed was left out."
    made = (
        imported(facts) or "the pictures are those photos of the origins named below that passed ingest and the gates"
    )
    return Told(f" {made}. {out}")


def content(facts: Facts) -> Told:
    """C4."""
    schemes = values(facts.rows["landmark_scheme"])
    schemes.pop("none", None)
    landmarks = f"landmarks of the face (schemes: {counted(schemes)}), " if schemes else ""
    text = (
        " each row holds the picture (`image`); of a forgery, where it was made here, also the "
        "target before the edit (`pristine`), the mask of what was altered (`mask`), the weight of the blend "
        "(`alpha`) and how much each pixel changed (`change`). Beside them stand the program, its version, parameters "
        f"and seed, the regions that were edited, {landmarks}the origin of the photo "
        "with licence and consent, and the text. `README.md` lists every column."
    )
    return Told(text)


def labels(facts: Facts) -> Told:
    """C5."""
    edited = forged(facts)
    exact = share(int(edited["exact_mask"].sum()), len(edited))
    described = len({report.record_id for report in facts.reports})
    text = (
        " there are three: whether and by which family a picture was forged (`manipulation`); which pixels were "
        f"altered (`mask`), by construction exact for {exact} forgeries; and where and why it looks forged, in words "
        f"(`report`, `report_regions`), for {share(described, len(facts.rows))} records. `mask_rule` says how a mask "
        "follows from the edit:"
    )
    lines = [f"- {span(rule['rule'])} ({rule['rows']:,}): {MASK_RULES[rule['rule']]}" for rule in figures.masks(edited)]
    return Told(text, "\n".join(lines))


def gaps(facts: Facts) -> Told:
    """C6."""
    rows, edited = facts.rows, forged(facts)
    untold = len(edited) - len({report.record_id for report in facts.reports} & set(edited["record_id"]))
    found = {
        "forgeries have no text": untold,
        "forgeries need no donor and name none": int(edited["source_id"].isna().sum()),
        "records were not shown to a face finder again, so that `face_score` is null": int(
            rows["face_score"].isna().sum()
        ),
        "records were not parsed into face parts": int(rows["parser"].isna().sum()),
        "records have no landmarks": int((rows["landmark_scheme"] == "none").sum()),
    }
    told = [f"{count:,} {what}" for what, count in found.items() if count]
    listed = f": {'; '.join(told)}" if told else "; no column that could be filled is empty"
    return Told(f" a null says that a value does not apply or is not known{listed}.")


def ties(facts: Facts) -> Told:
    """C7."""
    edited = forged(facts)
    targets, donors = (int(edited[name].notna().sum()) for name in ("target_id", "source_id"))
    text = (
        f" `target_id` ties {share(targets, len(edited))} forgeries to the pristine record that was edited, "
        f"`source_id` {donors:,} of them to the one that gave its face, and `group_id` all pictures of one person "
        "(where the origin names persons) or of one photo."
    )
    return Told(text + ("" if imported(facts) else _TOGETHER))


_TOGETHER = " Near duplicates, and faces that were found to be one person's, lie in one split."


def splits(facts: Facts) -> Told:
    """C8."""
    counts, total = values(facts.rows["split"]), len(facts.rows)
    parts = joined(f"{name} ({counts[name]:,}, {percent(counts[name] / total)})" for name in SPLITS if counts[name])
    how = _ASSIGNED if facts.recipe.imported is None else _TAKEN_OVER
    kept = "A record keeps its split in all later releases of the same major version."
    return Told(f" the splits are {parts}. {how} {kept} {said_of(facts, 'L1')}".rstrip())


_ASSIGNED = (
    "Whole groups were assigned before anything was forged, and donors come from the target's own split, so that no "
    "face stands in two."
)
_TAKEN_OVER = "They are those of the dataset that was imported; where it told none, whole groups were assigned."


def errors(facts: Facts) -> Told:
    """C9."""
    verdicts = Counter(told["verdict"] for told in facts.audits)
    if not verdicts:
        return Told(" nothing was audited.")
    counts = joined(f"{verdicts[name]} {word}" for name, word in _VERDICTS.items() if verdicts[name])
    worse = [
        f"- {told['id']}, {plain(told['title'])} ({told['verdict']}): {plain(told['sentence'])}"
        for told in facts.audits
        if told["verdict"] in ("fails", "doubtful")
    ]
    asked = so_many(len(facts.audits), "audit")
    looked = f" {asked} looked for faults, leaks and shortcuts: {counts}. `audits.json` has every figure."
    named = " Those that did not pass:" if worse else ""
    text = f"{looked} {said_of(facts, 'M1', 'L2', 'X3')}".rstrip()
    return Told(text + named, "\n".join(worse))


_VERDICTS = {
    "passes": "passed", "doubtful": "left doubt", "fails": "failed", "told": "only told a figure",
    "absent": "could not be made",
}  # fmt: skip


def resources(facts: Facts) -> Told:
    """C10."""
    origins = figures.origins(facts.rows)
    rows = [[one["origin"], one["licence"], one["photos"], one["rows"]] for one in origins]
    text = (
        f" the dataset is self-contained: pictures, masks and texts lie in its files, nothing is linked. The "
        f"photos came from {so_many(len({one['origin'] for one in origins}), 'origin')}, each under its licence."
    )
    return Told(text, table(["origin", "licence", "photos", "records that show one"], rows, words=2))


def subpopulations(facts: Facts) -> Told:
    """C13."""
    told = [f"{count:,} {AGES.get(name, plain(name))}" for name, count in facts.ages.items() if count]
    ages = f" Of the photos behind it, {joined(told)}." if told else ""
    text = " no column names age, gender, ethnicity or any other group, and none was guessed from faces."
    return Told(text + ages)


def sensitive(facts: Facts) -> Told:
    """C15."""
    wrote = figures.texts(facts.reports)["annotators"]
    people = f" Those who wrote the texts ({wrote:,}) stand in it under pseudonyms." if wrote else ""
    text = " there are photos of faces, and landmarks of them, from which biometric data can be derived."
    return Told(text + people)


_IDENTITIES = Told(
    " no column names a person: `group_id` is a salted hash, and names, file names and embeddings stay with the "
    "curators. But the faces are shown, and whoever knows a person, or finds the photo at its origin (`origin`, "
    "`origin_id`), may recognise them."
)
OF_FACTS = {
    "C1": represented, "C2": number, "C3": sample, "C4": content, "C5": labels, "C6": gaps, "C7": ties, "C8": splits,
    "C9": errors, "C10": resources, "C13": subpopulations, "C15": sensitive,
}  # fmt: skip
ALWAYS = {"C14": _IDENTITIES}
