"""M4: whether forgeries come out the same again when they are made from what their rows say."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.layout import Layout
from mmtt.recipe import Recipe
from mmtt.record import MASTER

from ...replay import Outcome, replay
from ..counting import FINE, share_at_fault

SHARE, FEWEST, MOST = 0.01, 10, 100
MOST_FOREIGN = 20  # of programs with weights or code of their own, which may take a minute each
_AT_ONCE = 25


def judge(evidence: Evidence) -> Finding:
    """Make some forgeries again and count those that do not hold.

    Raises:
        NotApplicable: imported or released, a degraded variant, nothing forged, or no program is here.
    """
    _require_repeatable(evidence)
    drawn = chosen(evidence)
    found = {outcome.record_id: outcome for outcome in _outcomes(evidence, list(drawn["record_id"]))}
    rows = drawn[drawn["record_id"].map(lambda record_id: found[record_id].verdict != "absent")]
    if rows.empty:
        raise NotApplicable(f"None of {len(drawn)} forgeries could be made again: {_commonest(found.values())}.")
    why = rows["record_id"].map(lambda record_id: FINE if found[record_id].held else found[record_id].detail)
    finding = share_at_fault(
        rows,
        why,
        of="forgeries that were made again",
        fault="differ from what is stored",
        sampled=len(rows) < len(evidence.forged),
        details={
            "came out": dict(Counter(outcome.verdict for outcome in found.values())),
            "made again by program": _by_program(rows),
            "could not be made again by program": _by_program(drawn.drop(rows.index)),
        },
    )
    absent = [outcome for outcome in found.values() if outcome.verdict == "absent"]
    told = f" {len(absent)} more could not be: {_commonest(absent)}." if absent else ""
    return replace(finding, sentence=finding.sentence + told)


def chosen(evidence: Evidence) -> pd.DataFrame:
    """Return the forged rows that are made again, drawn by digest, in their order."""
    count = min(max(round(SHARE * len(evidence.forged)), FEWEST), MOST)
    drawn = evidence.drawn(evidence.forged, count)
    foreign = drawn["weights_sha256"].notna() | drawn["code_sha256"].notna()
    few = evidence.drawn(drawn[foreign], MOST_FOREIGN)
    return pd.concat([drawn[~foreign], few]).sort_values("place")


def _by_program(rows: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(count) for name, count in rows["manipulator"].value_counts().items()}


def _commonest(outcomes: Iterable[Outcome]) -> str:
    return Counter(outcome.detail.rstrip(".") for outcome in outcomes).most_common(1)[0][0]


def _require_repeatable(evidence: Evidence) -> None:
    if evidence.private is None:
        raise NotApplicable("A release holds neither recipe nor pristine shards to forge from again.")
    if evidence.variant != MASTER:
        raise NotApplicable("Only masters are forged; degraded copies follow from them.")
    if Recipe.load(Layout(evidence.root).recipe).imported is not None:
        raise NotApplicable("The forgeries were imported; their programs and parameters are not known here.")
    if evidence.forged.empty:
        raise NotApplicable("Nothing is forged here.")


def _outcomes(evidence: Evidence, record_ids: Sequence[str]) -> list[Outcome]:
    tasks = [(str(evidence.root), record_ids[at : at + _AT_ONCE]) for at in range(0, len(record_ids), _AT_ONCE)]
    return [outcome for part in evidence.map("audit: forging again", _again, tasks) for outcome in part]


def _again(task: tuple[str, Sequence[str]]) -> list[Outcome]:
    layout, record_ids = Layout(Path(task[0])), task[1]
    try:
        return list(replay(layout, Recipe.load(layout.recipe), record_ids))
    except ValueError as error:  # parameters that are no JSON
        if len(record_ids) == 1:
            return [Outcome(record_ids[0], "differs", f"it cannot be made again: {error}")]
        return [outcome for record_id in record_ids for outcome in _again((task[0], [record_id]))]


M4 = Audit(
    id="M4",
    title="Re-derivation",
    question="Do image, mask, alpha and change come out the same when a forgery is made again from its row?",
    unit="share of forgeries made again",
    gate=0,
    judge=judge,
)
