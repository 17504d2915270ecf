"""Processing: what a release says of how pictures were prepared and texts were written (questions P1–P4)."""

from mmtt.html import figure, percent

from .. import figures
from ..facts import Facts
from ..glossary import PROTOCOLS, TEXT_ORIGINS
from ..markdown import plain, so_many
from .collection import annotators
from .words import Told, counted, joined, span, values


def prepared(facts: Facts) -> str:
    """Return how pictures became records, and what was refused."""
    refused = [
        f"{span(code)} ({count:,}, {stage})" for stage, codes in facts.refused.items() for code, count in codes.items()
    ]
    out = f"Refused on the way, and in no release, were {joined(refused)}." if refused else "Nothing was refused."
    if facts.recipe.imported is not None:
        return f"Pictures are the files of their origin, unchanged; masks were read at above 127. {out}"
    templates = joined(span(name) for name in sorted(values(facts.rows["template"])))
    return (
        f"Faces were found, aligned to a template ({templates}) by one resampling, and stored as PNG without any "
        f"metadata of the photo; no colour was corrected and nobody was beautified. {out}"
    )


def written(facts: Facts) -> str:
    """Return how the texts came about, as sentences."""
    if not facts.reports:
        return "No texts were written."
    texts = figures.texts(facts.reports)
    origins = " ".join(
        f"{so_many(count, 'text')} {'is' if count == 1 else 'are'} of origin {span(name)}: {TEXT_ORIGINS[name]}"
        for name, count in texts["origins"].items()
    )
    protocols = " ".join(
        f"Protocol {span(name)} ({count:,}): {PROTOCOLS[name]}" for name, count in texts["protocols"].items()
    )
    long = f" Texts have {texts['median_words']:g} words in the median, {texts['most_words']:,} at most."
    return f"{annotators(facts)} {origins} {protocols}{long}"


def agreed(facts: Facts) -> str:
    """Return how far people agreed about one picture, as a sentence."""
    measured = figures.agreements(facts.agreement)
    if not measured:
        return "How far people agree was not measured: too few pictures were described by two of them."
    told = [
        f"{one['what']}: {one['value']}{one['interval'] and ' (' + one['interval'] + ')'}, {one['units']} units"
        for one in measured
    ]
    return f"Agreement of people about one picture: {'; '.join(told)}."


def preprocessing(facts: Facts) -> Told:
    """P1."""
    gate = facts.recipe.forge.gate
    face = f", and where a finder still gives its face {figure(gate.min_face_score)} or more"
    bars = (
        f" A forgery counts from a mean change of {figure(gate.min_change_mean)} of 255 inside its mask and a mask of "
        f"{percent(gate.min_mask_share)} of the frame on{face if facts.recipe.forge.find_faces else ''}."
        if facts.recipe.imported is None else ""
    )  # fmt: skip
    return Told(f", yes. {prepared(facts)}{bars}\n\n{written(facts)} {agreed(facts)}")


def software(facts: Facts) -> Told:
    """P3."""
    version = facts.release.environment.get("mmtt", "")
    known = f", version {plain(version)}" if version else ""
    licences = counted(values(facts.rows["code_licence"]))
    forged = f" The programs that forged are under {licences}." if licences else ""
    text = f", yes: the MMTT toolkit{known}, under the licence Apache-2.0.{forged}"
    return Told(text)


def raw(facts: Facts) -> Told:
    """P2."""
    return _AS_SHIPPED if facts.recipe.imported is not None else _RAW


_AS_SHIPPED = Told(
    " pictures are the files as their origin ships them; what those were made of lies there, if anywhere."
)
_RAW = Told(
    " the photos as they were found are not part of the dataset; `origin` and `origin_id` say where each came from, "
    "and `align_matrix` leads from its pixels to the picture's. Target, blend weight and change are kept beside each "
    "forgery, and of texts that another person edited the author's own words (`original_text`)."
)
OF_FACTS = {"P1": preprocessing, "P2": raw, "P3": software}
