"""Audits of balance: whether splits hold the same kinds of records, and whether a model serves them alike."""

from mmtt.audit import Audit

from .coverage import judge_coverage
from .gaps import judge_gap

AUDITS: tuple[Audit, ...] = (
    Audit(
        id="F1",
        title="Cell coverage",
        question="Do the splits hold the same families and regions, in the same shares?",
        unit="Cramér's V",
        judge=judge_coverage,
        gate=0.1,  # what Cohen (1988) calls a small effect
    ),
    # Not gated: families differ in difficulty, and a gap is no fault of the dataset.
    Audit(
        id="F2",
        title="Gap between groups",
        question="How much worse is the model on its worst family than on its best?",
        unit="IoU",
        judge=judge_gap,
    ),
)
