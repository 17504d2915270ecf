"""Run audits over a dataset, and say what came of each: for people, for machines, on a page."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any

from mmtt.audit import MOST_EXAMPLES, Audit, Finding, NotApplicable, Verdict
from mmtt.errors import RecipeError, UserError, did_you_mean
from mmtt.evidence import Evidence
from mmtt.executors import Executor
from mmtt.html import figure
from mmtt.layout import Layout
from mmtt.progress import Progress
from mmtt.recipe import AuditSection, Recipe
from mmtt.record import MASTER
from mmtt.samples import digest_of
from mmtt.words import printable

from ..builds import named
from .counting import so_many


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one audit: its finding under its gate, or why there is none (`reason`).

    about: what was asked, `release` or `dataset`, where a release tells of both; else empty.
    """

    audit: Audit
    gate: float | None
    verdict: Verdict
    finding: Finding | None = None
    reason: str = ""
    about: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values; equal outcomes give equal text."""
        audit, found = self.audit, self.finding
        told: dict[str, Any] = {
            "id": audit.id, "title": audit.title, "question": audit.question, "unit": audit.unit,
            "better": audit.better, "gate": self.gate, "default_gate": audit.gate, "verdict": str(self.verdict),
        }  # fmt: skip
        told |= {"about": self.about} if self.about else {}
        if found is None:
            return told | {"reason": printable(self.reason)}
        return told | {
            "statistic": _rounded(found.statistic),
            "interval": _interval(found),
            "n": found.n,
            "of": found.of,
            "sentence": printable(found.sentence),
            "caution": self.caution,
            "details": _plain(found.details),
            "worst": [_plain(example._asdict()) for example in found.worst[:MOST_EXAMPLES]],
        }

    @property
    def caution(self) -> str | None:
        """What to bear in mind of an audit that passes, where its interval reaches beyond its gate; a sentence."""
        far = None if self.finding is None else self.audit.far_end(self.finding, self.gate)
        if far is None:
            return None
        towards = "Up to" if self.audit.better == "low" else "Down to"
        return f"{towards} {figure(float(f'{far:.6g}'))} cannot be ruled out; more rows would tell."


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """All outcomes about one dataset.

    digest: of all that decides its samples. rows, sampled: how many rows there are, and how many were looked at.
    """

    name: str
    digest: str
    variant: str
    rows: int
    sampled: int
    outcomes: tuple[Outcome, ...]

    def counts(self) -> Mapping[str, int]:
        """Return how many audits came to each verdict; every verdict is there."""
        counted = Counter(str(outcome.verdict) for outcome in self.outcomes)
        return {str(verdict): counted[str(verdict)] for verdict in Verdict}

    def to_json(self) -> str:
        """Return everything as JSON text that ends in a newline."""
        told = {
            "name": self.name, "digest": self.digest, "variant": self.variant, "rows": self.rows,
            "sampled": self.sampled, "counts": self.counts(),
            "audits": [outcome.to_dict() for outcome in self.outcomes],
        }  # fmt: skip
        return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def run(
    root: Path,
    audits: Mapping[str, Audit],
    executor: Executor,
    progress: Callable[[str], Progress],
    *,
    only: Sequence[str] = (),
    variant: str = MASTER,
    today: date | None = None,
    settings: AuditSection | None = None,
) -> tuple[Audited, Evidence]:
    """Run audits over a dataset, a release, or one folder of released shards.

    Args:
        root: the dataset.
        audits: all there are, by id.
        executor: where pixels are measured.
        progress: how a step tells that it moves.
        only: ids of those to run; all where empty.
        variant: whose rows.
        today: the day on which consents must hold; None where that is not asked.
        settings: sample, seed and gates; by default those of the dataset's recipe, and of a release the usual ones.

    Raises:
        UserError: no dataset, no such audit. RecipeError: the recipe gates an audit that is not there.
    """
    recipe = _recipe(root)
    settings = settings or (recipe.audit if recipe else AuditSection())
    _require_known(
        settings.gates, audits, RecipeError, f"{Layout(root).recipe if recipe else 'the recipe'}: 'audit.gates'"
    )
    _require_known(only, audits, UserError, "--only")
    chosen = [audit for audit in audits.values() if not only or audit.id in only]
    evidence = Evidence(root, settings, executor, progress, variant, today)
    evidence.measure({audit.id: audit.measure for audit in chosen if audit.measure is not None})
    outcomes = tuple(_outcome(audit, evidence) for audit in chosen)
    sampled = len(evidence.sampled) if any(audit.measure for audit in chosen) else 0
    audited = Audited(
        name=recipe.name if recipe else named(root),
        digest=digest_of(root),
        variant=variant,
        rows=len(evidence.rows),
        sampled=sampled,
        outcomes=outcomes,
    )
    return audited, evidence


def _recipe(root: Path) -> Recipe | None:
    """A dataset's recipe; a release has none."""
    path = Layout(root).recipe
    return Recipe.load(path) if path.is_file() else None


def _require_known(ids: Iterable[str], audits: Mapping[str, Audit], error: type[UserError], where: str) -> None:
    for name in ids:
        if name not in audits:
            raise error(f"{where} names the audit '{name}', which is none.{did_you_mean(name, audits)}")


def _outcome(audit: Audit, evidence: Evidence) -> Outcome:
    gate = evidence.settings.gates.get(audit.id, audit.gate)
    try:
        finding = audit.judge(evidence)
    except NotApplicable as missing:
        return Outcome(audit=audit, gate=gate, verdict=Verdict.ABSENT, reason=str(missing))
    return Outcome(audit=audit, gate=gate, verdict=audit.verdict(finding, gate), finding=finding)


def _rounded(value: float | None) -> float | None:
    """Six significant digits: sums in another order differ behind them."""
    return None if value is None else float(f"{value:.6g}")


def _interval(found: Finding) -> list[float | None] | None:
    """The ends of the interval, rounded; None where there is none, or where nothing is left open."""
    low, high = _rounded(found.low), _rounded(found.high)
    return None if low is None or low == high else [low, high]


def _plain(value: Any) -> Any:
    """Turn a detail into JSON values, numbers rounded; what numpy and pandas call a number is one, NaN is null.

    What a stranger wrote may hold control characters, which neither a page nor a terminal should get: they are escaped.
    """
    if isinstance(value, Mapping):
        return {printable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bool) or value is None:
        return value
    number = value.item() if hasattr(value, "item") else value
    if not isinstance(number, float):
        return number
    return _rounded(number) if isfinite(number) else None


_SIGNS = {
    Verdict.PASSES: "✓", Verdict.DOUBTFUL: "?", Verdict.FAILS: "✗", Verdict.TOLD: "·", Verdict.ABSENT: "–",
}  # fmt: skip


def as_text(audited: Audited) -> str:
    """Return the outcomes for a terminal: a line each, and the worst row of those that fail."""
    lines = []
    for outcome in audited.outcomes:
        lines.append(f"{_SIGNS[outcome.verdict]} {outcome.audit.id:4}{outcome.audit.title}: {_told(outcome)}")
        if outcome.verdict in (Verdict.FAILS, Verdict.DOUBTFUL) and outcome.finding is not None:
            lines += [f"      {example.record_id}: {example.why}" for example in outcome.finding.worst[:1]]
    counted = ", ".join(f"{count} {verdict}" for verdict, count in audited.counts().items() if count)
    looked = f"; pixels of {audited.sampled:,}" if audited.sampled else ""
    asked, rows = so_many(len(audited.outcomes), "audit"), so_many(audited.rows, "row")
    lines.append(f"{asked} over {rows}{looked}: {counted}")
    return "\n".join(map(printable, lines))  # a worst row's reason may hold a stranger's text


def _told(outcome: Outcome) -> str:
    if outcome.finding is None:
        return outcome.reason
    told = outcome.to_dict()
    ends = told["interval"]
    interval = f" [{_shown(ends[0])}, {_shown(ends[1])}]" if ends else ""
    sentences = filter(None, (told["sentence"], told["caution"]))
    return f"{_shown(told['statistic'])}{interval}{_gate(outcome)}. {' '.join(sentences)}"


def _shown(value: float | None) -> str:
    return "–" if value is None else figure(value)


def _gate(outcome: Outcome) -> str:
    gate, default = outcome.gate, outcome.audit.gate
    if gate is None:
        return ""
    before = "set" if default is None else f"moved from {figure(default)}"
    moved = "" if gate == default else f", {before} by the recipe"
    return f" (gate {'≤' if outcome.audit.better == 'low' else '≥'} {figure(gate)}{moved})"
