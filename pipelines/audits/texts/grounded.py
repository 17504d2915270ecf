"""X1, X8: whether what texts say looks wrong was edited at all, and whether the labels say what the texts say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.faces import face_of
from mmtt.grounding import EDITED_FROM, Grounding, edited_regions, ground, supported
from mmtt.regions import REGIONS, region_mask, sayable_of
from mmtt.samples import Sample

from ..shares import grouped_share
from .reading import Read, readings, shortened

OF_MASK = 0.2  # share of the mask from which a region counts as edited, however little of itself that is
_FEWEST = 10  # claims of an annotator whose share is told
_MOST_TOLD = 20


def measure_areas(pixels: Pixels) -> Mapping[str, float]:
    """Return the share of the frame that each region covers, 0–1; NaN where landmarks outline none."""
    face, (height, width) = face_of(pixels.record), pixels.mask.shape
    return {word: float(region_mask(face, word, (height, width)).mean()) for word in sayable_of(face)}


def judge_grounding(evidence: Evidence) -> Finding:
    """Hold what texts claim against what was edited.

    Raises:
        NotApplicable: there is no text, claim, or face of which it is known where its parts are.
    """
    table = _held(evidence, readings(evidence))
    share = grouped_share(table["wrong"], table["claims"], table["component"])
    chance = _by_chance(table, evidence.settings.seed)
    told = "" if chance is None else f"; were each about another picture of its family, it would be {chance:.1%}"
    return Finding(
        statistic=share.value,
        low=share.low,
        high=share.high,
        n=int(table["claims"].sum()),
        of="claims",
        sentence=f"{share.value:.1%} of what {len(table):,} texts say looks wrong was not edited{told}.",
        details={"unsupported if texts were exchanged within families": chance, **_details(table)},
        worst=_worst(table),
    )


def _held(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """Return the texts about faces whose parts have a place, with what was edited and how their claims fit it."""
    samples = [evidence.samples[place] for place in table["place"]]
    table = table.assign(sample=samples)[[bool(sample.sayable) for sample in samples]]
    if table.empty:
        raise NotApplicable("No face that a text is about has landmarks or parsing: nothing says where its parts are.")
    areas = _areas(evidence)
    edited = [_edited(sample, areas) for sample in table["sample"]]
    fits = [_fit(read, of, sample) for read, of, sample in zip(table["read"], edited, table["sample"], strict=True)]
    claims = [len(read.claimed) - len(fit.undecided) for read, fit in zip(table["read"], fits, strict=True)]
    if not sum(claims):
        raise NotApplicable("No text says of any part of a face that it looks wrong.")
    return table.assign(
        fit=fits,
        edited=edited,
        wrong=[len(fit.unsupported) for fit in fits],
        claims=claims,
        family=[sample.manipulation for sample in table["sample"]],
        component=[sample.group for sample in table["sample"]],
    )


def _details(table: pd.DataFrame) -> dict[str, Any]:
    recalls = [fit.recall for fit in table["fit"] if fit.recall is not None]
    return {
        "recall: share of the edit that claims account for": float(np.mean(recalls)) if recalls else None,
        "unsupported by family": _by(table, "family", 1),
        "unsupported by what annotators saw": _by(table, "protocol", 1),
        "unsupported by annotator, worst first": _by(table, "annotator", _FEWEST),
        "claims that nothing can judge": int(sum(len(fit.undecided) for fit in table["fit"])),
        "texts without a claim": int(sum(not read.claimed for read in table["read"])),
    }


def _areas(evidence: Evidence) -> dict[str, float]:
    """Return the median share of the frame that each region covers; faces are aligned, so that it hardly varies."""
    found = evidence.measured("X1")
    medians = {word: found[word].median() for word in REGIONS if word in found}
    return {word: float(median) for word, median in medians.items() if np.isfinite(median)}


def _edited(sample: Sample, areas: Mapping[str, float]) -> dict[str, float]:
    """Return the sample's shares; regions that take up much of the mask count as edited, at the least share."""
    least = OF_MASK * sample.mask_share
    return {
        word: max(share, EDITED_FROM) if share * areas.get(word, 0) >= least else share
        for word, share in sample.regions.items()
    }


def _fit(read: Read, edited: Mapping[str, float], sample: Sample) -> Grounding:
    return ground(read.claimed, edited, sayable=sample.sayable)


def _by_chance(table: pd.DataFrame, seed: int) -> float | None:
    """Return the unsupported share if each text were about another record of its family; None where there is none."""
    rng, wrong, claims = np.random.default_rng(seed), 0, 0
    for _, rows in table.sort_values(["record_id", "report_id"]).groupby("family"):
        order = rng.permutation(len(rows))
        reads, edited, samples = (rows[name].to_numpy(object) for name in ("read", "edited", "sample"))
        for place, other in zip(order, np.roll(order, 1), strict=True):
            if samples[place].record_id == samples[other].record_id:
                continue
            read, fit = reads[other], _fit(reads[other], edited[place], samples[place])
            wrong, claims = wrong + len(fit.unsupported), claims + len(read.claimed) - len(fit.undecided)
    return wrong / claims if claims else None


def _by(table: pd.DataFrame, column: str, fewest: int) -> dict[str, float]:
    sums = table.groupby(column)[["wrong", "claims"]].sum()
    sums = sums[sums["claims"] >= fewest]
    shares = (sums["wrong"] / sums["claims"]).sort_values(ascending=False, kind="stable")
    return {str(name): float(share) for name, share in shares.iloc[:_MOST_TOLD].items()}


def judge_labels(evidence: Evidence) -> Finding:
    """Hold the labels that lie beside the texts against what the texts say.

    Raises:
        NotApplicable: there is no text that can be read.
    """
    table = readings(evidence)
    claims, labels = [read.claimed for read in table["read"]], [tuple(words) for words in table["regions"]]
    wrong = [_contradicts(said, claim) for said, claim in zip(labels, claims, strict=True)]
    groups = evidence.rows.set_index("place")["component"].loc[table["place"]]
    share = grouped_share(wrong, np.ones(len(wrong)), groups)
    details: dict[str, Any] = {
        "share of texts that claim a part which no label names": _share_of(map(_contradicts, claims, labels)),
        "share of texts whose labels are not the same words": _share_of(map(_differ, labels, claims)),
        "labels without a claim, how often": _counted(labels, claims),
        "claims without a label, how often": _counted(claims, labels),
    }
    if "text_regions" in table:
        stored = [tuple(words) for words in table["text_regions"]]
        details["share of texts that were read otherwise when they were stored"] = _share_of(
            map(_differ, stored, claims)
        )
    return Finding(
        statistic=share.value,
        low=share.low,
        high=share.high,
        n=len(table),
        of="texts",
        sentence=f"{share.value:.1%} of {len(table):,} texts have a region label for a part that they do not call wrong"
        f"{_most_often(details['labels without a claim, how often'])}.",
        details=details,
        worst=_worst_labels(table, wrong),
    )


def _counted(words: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> dict[str, int]:
    counts = Counter(word for own, other in zip(words, others, strict=True) for word in _alone(own, other))
    return dict(counts.most_common())


def _differ(labels: Sequence[str], claims: Sequence[str]) -> bool:
    return set(labels) != set(claims)


def _most_often(counts: Mapping[str, int]) -> str:
    return f", most often for {_listed(list(counts)[:3])}" if counts else ""


def _worst_labels(table: pd.DataFrame, wrong: Sequence[bool]) -> tuple[Example, ...]:
    found = table[wrong]
    alone = [_alone(row.regions, row.read.claimed) for row in found.itertuples()]
    found = found.assign(alone=alone, many=[len(words) for words in alone])
    found = found.sort_values(["many", "record_id"], ascending=[False, True]).head(MOST_EXAMPLES)
    return tuple(
        Example(row.record_id, f"labelled {_listed(row.alone)}, which it does not call wrong: {shortened(row.text)}")
        for row in found.itertuples()
    )


def _alone(words: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return the words that no other one bears out."""
    return tuple(word for word in words if not supported(word, others))


def _contradicts(labels: Sequence[str], claims: Sequence[str]) -> bool:
    """Whether a label is borne out by no claim: people may choose more than they describe, but not something else."""
    return bool(_alone(labels, claims))


def _share_of(flags: Any) -> float:
    return float(np.mean([bool(flag) for flag in flags]))


def _worst(table: pd.DataFrame) -> tuple[Example, ...]:
    wrong = table[table["wrong"] > 0]
    worst = wrong.sort_values(["wrong", "record_id"], ascending=[False, True]).head(MOST_EXAMPLES)
    return tuple(
        Example(
            row.record_id,
            f"a text says that {_listed(row.fit.unsupported)} looks wrong; "
            f"edited: {_listed(edited_regions(row.edited)) or 'no part'}",
        )
        for row in worst.itertuples()
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
