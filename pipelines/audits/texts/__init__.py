"""Audits of texts: whether they speak of what was edited, name the right side, differ, and say who wrote them."""

from mmtt.audit import Audit

from .grounded import judge_grounding, judge_labels, measure_areas
from .origins import judge_origins
from .repetition import judge_repetition
from .sides import judge_sides

AUDITS: tuple[Audit, ...] = (
    Audit(
        id="X1",
        title="Texts against masks",
        question="Was what the texts say looks wrong edited at all?",
        unit="share of claims without support",
        judge=judge_grounding,
        measure=measure_areas,
        gate=0.1,  # texts exchanged within their families reach 0.16 to 0.18 on faces whose parts are edited by sevens
    ),
    Audit(
        id="X2",
        title="Left and right",
        question="Where only one side was edited, do the texts name that one?",
        unit="share of texts",
        judge=judge_sides,
        gate=0.2,
    ),
    Audit(
        id="X6",
        title="Template collapse",
        question="Do the texts say the same again and again, word for word?",
        unit="share of texts",
        judge=judge_repetition,
        # Sentences written each by itself, with a stock phrase before and after: 0.01; templates: 0.3 and more.
        gate=0.1,
    ),
    Audit(
        id="X7",
        title="Who wrote the texts",
        question="Does each text say whether a person or a machine wrote it, and each machine's text which machine?",
        unit="share of texts",
        judge=judge_origins,
        gate=0.0,
    ),
    Audit(
        id="X8",
        title="Labels against texts",
        question="Do the region labels beside the texts name what the texts say looks wrong?",
        unit="share of texts",
        judge=judge_labels,
        gate=0.1,
    ),
)
