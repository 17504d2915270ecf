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
from .reading import Read, readings

OF_MASK = 0.2  # share of the mask from which a region counts as edited, however little of itself that is
_FEWEST = 10  # claims of an annotator whose share is told
_MOST_TOLD = 20


def measure_areas(pixels: Pixels) -> Mapping[str, float]:
    """Return the share of the frame that each region covers, 0–1; NaN where landmarks outline none."""
    face, (height, width) = face_of(pixels.record), pixels.mask.shape
    return {word: float(region_mask(face, word, (height, width)).mean()) for word in sayable_of(face)}


def judge_grounding(evidence: Evidence) -> Finding:
    """Hold what texts claim against what was edited."""
    table = readings(evidence)
    samples = [evidence.samples[place] for place in table["place"]]
    table = table.assign(sample=samples)[[bool(sample.sayable) for sample in samples]]
    if table.empty:
        raise NotApplicable("No face that a text is about has landmarks or parsing: nothing says where its parts are.")
    areas = _areas(evidence)
    edited = [_edited(sample, areas) for sample in table["sample"]]
    fits = [_fit(read, of, sample) for read, of, sample in zip(table["read"], edited, table["sample"], strict=True)]
    table = table.assign(
        fit=fits,
        edited=edited,
        wrong=[len(fit.unsupported) for fit in fits],
        claims=[len(read.claimed) - len(fit.undecided) for read, fit in zip(table["read"], fits, strict=True)],
        family=[sample.manipulation for sample in table["sample"]],
        component=[sample.group for sample in table["sample"]],
    )
    if not table["claims"].sum():
        raise NotApplicable("No text says of any part of a face that it looks wrong.")
    share = grouped_share(table["wrong"], table["claims"], table["component"])
    recalls = [fit.recall for fit in fits if fit.recall is not None]
    details = {
        "recall: share of the edit that claims account for": float(np.mean(recalls)) if recalls else None,
        "unsupported if texts were exchanged within families": _by_chance(table, evidence.settings.seed),
        "unsupported by family": _by(table, "family", 1),
        "unsupported by annotator, worst first": _by(table, "annotator", _FEWEST),
        "claims that nothing can judge": int(sum(len(fit.undecided) for fit in fits)),
        "texts without a claim": int(sum(not read.claimed for read in table["read"])),
        "texts with a label that they do not bear out": _share_of(
            _contradicts(said, read.claimed) for said, read in zip(table["regions"], table["read"], strict=True)
        ),
    }
    return Finding(
        statistic=share.value,
        low=share.low,
        high=share.high,
        n=int(table["claims"].sum()),
        of="claims",
        sentence=f"{share.value:.1%} of what {len(table):,} texts say looks wrong was not edited.",
        details=details,
        worst=_worst(table),
    )


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
    """Return the unsupported share if each text were about another record of its family."""
    rng, wrong, claims = np.random.default_rng(seed), 0, 0
    for _, rows in table.sort_values(["record_id", "report_id"]).groupby("family"):
        for place, other in enumerate(rng.permutation(len(rows))):
            read, row = rows["read"].iloc[other], rows.iloc[place]
            fit = _fit(read, row["edited"], row["sample"])
            wrong, claims = wrong + len(fit.unsupported), claims + len(read.claimed) - len(fit.undecided)
    return wrong / claims if claims else None


def _by(table: pd.DataFrame, column: str, fewest: int) -> dict[str, float]:
    sums = table.groupby(column)[["wrong", "claims"]].sum()
    sums = sums[sums["claims"] >= fewest]
    shares = (sums["wrong"] / sums["claims"]).sort_values(ascending=False, kind="stable")
    return {str(name): float(share) for name, share in shares.iloc[:_MOST_TOLD].items()}


def judge_labels(evidence: Evidence) -> Finding:
    """Hold the labels that lie beside the texts against what the texts say."""
    table = readings(evidence)
    claims, labels = [read.claimed for read in table["read"]], [tuple(words) for words in table["regions"]]
    wrong = [_contradicts(said, claim) for said, claim in zip(labels, claims, strict=True)]
    groups = evidence.rows.set_index("place")["component"].loc[table["place"]]
    share = grouped_share(wrong, np.ones(len(wrong)), groups)
    details = {
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
        sentence=f"{share.value:.1%} of {len(table):,} texts have a label that their words do not bear out.",
        details=details,
        worst=_worst_labels(table, wrong),
    )


def _counted(words: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> dict[str, int]:
    counts = Counter(
        word for own, other in zip(words, others, strict=True) for word in own if not supported(word, other)
    )
    return dict(counts.most_common())


def _differ(labels: Sequence[str], claims: Sequence[str]) -> bool:
    return set(labels) != set(claims)


def _worst_labels(table: pd.DataFrame, wrong: Sequence[bool]) -> tuple[Example, ...]:
    found = table[wrong].sort_values("record_id").head(MOST_EXAMPLES)
    return tuple(
        Example(
            row.record_id,
            f"labelled {_listed(row.regions)}; the text says {_listed(row.read.claimed) or 'nothing'}: {row.text[:80]}",
        )
        for row in found.itertuples()
    )


def _contradicts(labels: Sequence[str], claims: Sequence[str]) -> bool:
    """Whether a label is borne out by no claim: people may choose more than they describe, but not something else."""
    return any(not supported(word, claims) for word in labels)


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
