"""Audits of annotation: whether people agree, took their time, and see forgeries only where there are some.

X3 and X4 read the published reports; the annotation's own log, where that is there, tells X4 times to the second. X5
needs the log: nothing that is published tells an examination question from a task.
"""

from mmtt.audit import Audit

from .agreeing import judge_agreement
from .dwelling import judge_dwell
from .examined import judge_checks

AUDITS: tuple[Audit, ...] = (
    Audit(
        id="X3",
        title="Agreement",
        question="Do people who describe one record by themselves name the same regions?",
        unit="Krippendorff's alpha, MASI",
        judge=judge_agreement,
        better="high",
        # 0.67 and more is asked of categories (Krippendorff); sets chosen from 21 words agree less, and MASI is strict.
        gate=0.4,
    ),
    Audit(
        id="X4",
        title="Time spent",
        question="Were reports written faster than anybody can look and write, or at a beat?",
        unit="share of reports",
        judge=judge_dwell,
        gate=0.05,
    ),
    Audit(
        id="X5",
        title="Catch trials",
        question="Do annotators see forgeries in pictures that nobody touched?",
        unit="false alarms of the worst annotator",
        judge=judge_checks,
        gate=0.2,
    ),
)
