"""Rows: what one predictor scores on one sample. All tables follow from these and from the texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa

from mmtt.grounding import EDITED_FROM, edited_regions
from mmtt.images import Gray
from mmtt.metrics.grounding import claimed, ground_report
from mmtt.metrics.localization import ALTERED_ABOVE, Localization, localize
from mmtt.metrics.predictions import Prediction
from mmtt.metrics.regions import named
from mmtt.metrics.truth import references_of
from mmtt.record import Column, text
from mmtt.samples import Sample


def _number(meaning: str) -> Any:
    return Column(pa.float64(), meaning)


def _count(meaning: str) -> Any:
    return Column(pa.int64(), meaning)


def _words(meaning: str) -> Any:
    return Column(pa.list_(pa.string()), meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One predictor's scores on one sample. Null: the predictor gives no such part, or the sample has no truth for it.

    A part that the predictor gives elsewhere but not here scores zero; as a false alarm, the whole frame.
    """

    predictor: Annotated[str, text("Whose answer: the model, or the name of a trivial baseline.")]
    record_id: Annotated[str, text("Id of the record.")]
    variant: Annotated[str, text("`master`, or the name of the degradation.")]
    group: Annotated[str, text("What the bootstrap draws: the record's component.")]
    manipulation: Annotated[str | None, text("Family; null if pristine.")]
    manipulator: Annotated[str | None, text("Program; null if pristine.")]
    mask_share: Annotated[float, _number("Share of the frame that the true mask covers, 0–1.")]
    edited: Annotated[list[str], _words(f"Regions of which at least {EDITED_FROM:.0%} lie inside the true mask.")]
    answer: Annotated[str, text("given, missing or doubled.")]
    lacking: Annotated[list[str], _words("Parts that this predictor gives but not here: they score zero.")]
    iou: Annotated[float | None, _number("Intersection over union, forged samples.")] = None
    precision: Annotated[float | None, _number("Share of the predicted pixels that are right, forged samples.")] = None
    recall: Annotated[float | None, _number("Share of the true pixels that were found, forged samples.")] = None
    f1: Annotated[float | None, _number("Harmonic mean of both, forged samples.")] = None
    intersection: Annotated[int | None, _count("Pixels, forged samples.")] = None
    union: Annotated[int | None, _count("Pixels, forged samples.")] = None
    pixel_auc: Annotated[float | None, _number("ROC AUC over pixels; null if the truth has one class only.")] = None
    false_alarm: Annotated[float | None, _number("Share of the frame called altered, pristine samples.")] = None
    named: Annotated[list[str] | None, _words("Regions that the predictor names.")] = None
    named_by: Annotated[str | None, text("`model`, or `report` where they are read out of its text.")] = None
    referenced: Annotated[list[str] | None, _words("Regions that the reference names; null without one.")] = None
    verdict: Annotated[float | None, _number("Probability that the face was forged.")] = None
    grounding_precision: Annotated[float | None, _number("How far the text's claims lie under the mask, 0–1.")] = None
    grounding_recall: Annotated[float | None, _number("Share of the edit that the claims account for, 0–1.")] = None
    hallucinated: Annotated[int | None, _count("Claimed regions without support, forged samples.")] = None
    omitted: Annotated[int | None, _count("Edited regions that no claim accounts for, forged samples.")] = None


def score(
    predictor: str,
    sample: Sample,
    truth: Gray,
    prediction: Prediction | None,
    promised: frozenset[str],
    answer: str = "given",
) -> ScoreRow:
    """Score one answer.

    Args:
        predictor: whose.
        sample: which sample.
        truth: its mask, uint8 H×W.
        prediction: the answer; None if there is none that counts.
        promised: the parts that this predictor gives at all; the others are not scored.
        answer: `given`, `missing` or `doubled`.
    """
    given = prediction or Prediction()
    scored: dict[str, Any] = {}
    if "mask" in promised:
        scored |= _mask_scores(sample, truth, given.mask)
    if promised & {"regions", "report"}:
        scored |= _named(given, promised)
    if "report" in promised and sample.manipulated and sample.sayable:  # else nothing says where its parts are
        scored |= _claims(sample, given.report)
    references = references_of(sample)
    return ScoreRow(
        predictor=predictor,
        record_id=sample.record_id,
        variant=sample.variant,
        group=sample.group,
        manipulation=sample.manipulation,
        manipulator=sample.manipulator,
        mask_share=sample.mask_share,
        edited=list(edited_regions(sample.regions)),
        answer=answer,
        lacking=sorted(part for part in promised if getattr(given, part) is None),
        referenced=list(references[0].regions) if references else None,
        verdict=given.verdict,
        **scored,
    )


def _mask_scores(sample: Sample, truth: Gray, mask: Gray | None) -> dict[str, Any]:
    found = localize(mask, truth) if mask is not None and mask.size else None
    if not sample.manipulated:
        return {"false_alarm": found.predicted / found.pixels if found else 1.0}
    if found is not None:
        return _overlap(found)
    true = int((truth > ALTERED_ABOVE).sum())
    zero = dict.fromkeys(("iou", "precision", "recall", "f1"), 0.0)
    return {**zero, "intersection": 0, "union": true, "pixel_auc": 0.0 if 0 < true < truth.size else None}


def _overlap(found: Localization) -> dict[str, Any]:
    same = ("iou", "precision", "recall", "f1", "intersection", "union")
    return {name: getattr(found, name) for name in same} | {"pixel_auc": found.auc}


def _named(given: Prediction, promised: frozenset[str]) -> dict[str, Any]:
    if "regions" in promised:
        return {"named": list(named(given.regions or {})), "named_by": "model"}
    return {"named": list(claimed(given.report or "")), "named_by": "report"}


def _claims(sample: Sample, report: str | None) -> dict[str, Any]:
    claims = ground_report(report, sample)
    return {
        "grounding_precision": claims.precision,
        "grounding_recall": claims.recall,
        "hallucinated": claims.hallucinated,
        "omitted": claims.omitted,
    }


def lacking(rows: Sequence[ScoreRow]) -> dict[str, int]:
    """Return for each part how many samples lack it though the predictor gives it elsewhere."""
    parts = sorted({part for row in rows for part in row.lacking})
    return {part: sum(part in row.lacking for row in rows) for part in parts}
