"""What an audit is: one question about a dataset, answered by a figure, its interval, and the rows that look worst.

An audit is a value. Every application exposes its own as `audits.AUDITS`; `gather` finds them, `pipelines` runs them.
Each must have a planted fault in which it fires and a clean dataset on which it does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from mmtt.applications import APPLICATIONS, load
from mmtt.errors import MmttError
from mmtt.evidence import Evidence, Pixels
from mmtt.record import MASTER

MOST_EXAMPLES = 12
# What the first letter of an id stands for, in the order in which audits are told.
KINDS: Mapping[str, str] = {
    "L": "Leakage between splits",
    "S": "Shortcuts: what a detector could learn in place of forgery",
    "M": "Masks",
    "X": "Texts and the people who wrote them",
    "F": "Balance",
    "R": "Rights, marks and traces",
}


class NotApplicable(MmttError):
    """What an audit needs is not there; the message says what, as a sentence."""


class Verdict(StrEnum):
    """What came of an audit."""

    PASSES = "passes"
    DOUBTFUL = "doubtful"  # beyond the gate, but so near that chance may have done it
    FAILS = "fails"
    TOLD = "told"  # no gate
    ABSENT = "absent"  # its input is not there


class Example(NamedTuple):
    """One of the worst rows: which, why (a sentence), and the record that it was compared with."""

    record_id: str
    why: str
    other_id: str | None = None
    variant: str = MASTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an audit found.

    statistic: the figure that a gate is held against, in the audit's unit. low, high: its 95 % interval; None where the
        figure is exact, because it was counted over every row.
    n: how many things (rows, pairs, groups) the figure rests on; `of` says which things, in the plural.
    sentence: the answer to the audit's question.
    details: more figures, as plain JSON values. worst: at most `MOST_EXAMPLES`, the worst first.
    """

    statistic: float
    n: int
    of: str
    sentence: str
    low: float | None = None
    high: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    worst: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One question.

    id: `L1`. title: a few words. question: one sentence. unit: what the statistic is, such as `AUC` or `records`.
    better: which way is good. gate: what the statistic must not pass by default; None where it is only told.
    judge: answers it. measure: what it needs of each sampled row's pixels, as numbers by name (NaN where there is
        none); a function of a module, because it runs in worker processes. `judge` reads them from `Evidence.measured`.
    """

    id: str
    title: str
    question: str
    unit: str
    judge: Callable[[Evidence], Finding]
    better: Literal["low", "high"] = "low"
    gate: float | None = None
    measure: Callable[[Pixels], Mapping[str, float]] | None = None

    def verdict(self, finding: Finding, gate: float | None) -> Verdict:
        """Return what a finding means under a gate: only what is beyond it with its whole interval fails."""
        if gate is None:
            return Verdict.TOLD
        sign = 1 if self.better == "low" else -1
        if sign * finding.statistic <= sign * gate:
            return Verdict.PASSES
        near = finding.low if self.better == "low" else finding.high
        return Verdict.DOUBTFUL if near is not None and sign * near <= sign * gate else Verdict.FAILS

    def far_end(self, finding: Finding, gate: float | None) -> float | None:
        """Return the end of the interval that lies beyond the gate of a finding that passes; None where none does."""
        far = finding.high if self.better == "low" else finding.low
        if gate is None or far is None or self.verdict(finding, gate) is not Verdict.PASSES:
            return None
        return far if (far > gate if self.better == "low" else far < gate) else None


def gather() -> dict[str, Audit]:
    """Return the audits of all applications, by id, in the order of their ids.

    Raises:
        ValueError: two audits share an id.
    """
    found: dict[str, Audit] = {}
    for audit in (audit for name in APPLICATIONS for audit in _audits_of(name)):
        if found.setdefault(audit.id, audit) is not audit:
            raise ValueError(f"two audits are called {audit.id}")
    letters = list(KINDS)
    return {name: found[name] for name in sorted(found, key=lambda name: (letters.index(name[0]), int(name[1:])))}


def _audits_of(application: str) -> tuple[Audit, ...]:
    module = load(application, "audits")
    return module.AUDITS if module else ()
