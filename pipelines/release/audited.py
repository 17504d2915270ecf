"""Audited: the audits that go with a release. What is published is asked; what only the dataset can answer, of that.

Nothing private leaves: of the dataset's audits the verdict, the figure and its sentence go along, and neither rows nor
names; of the release's own, the reasons that would quote a text or a file's words stay behind, and so does what is
said of single annotators.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from mmtt.audit import Audit, Finding, Verdict, gather
from mmtt.executors import Executor
from mmtt.layout import Layout
from mmtt.progress import Progress
from mmtt.recipe import AuditSection, Recipe
from mmtt.release import Release

from ..audits.run import Outcome, run
from ..overview.audited import read_audits

# What the dataset knows more of, by its private lineage, its programs or the log of its annotation.
KNOWS_MORE = ("L1", "L4", "M4", "M5", "X4", "X5")
_QUOTING = re.compile(r"[XR]\d+|L5")  # audits whose worst rows are told in the words of texts and files
_STATES = {
    "absent": "The dataset was not audited",
    "damaged": "The dataset's audits.json cannot be read",
    "stale": "The dataset has changed since it was audited",
}
_NAMED = re.compile(r"'[^']*'")


def audit_release(
    staged: Path, dataset: Path, executor: Executor, progress: Callable[[str], Progress]
) -> tuple[str, list[str]]:
    """Audit a release under the gates of its dataset's recipe.

    Each row says what it is `about`: `release`, or `dataset` where that alone could answer, or knows more and the
    release does not fail. The dataset's are those of its `audits.json`, if it is current; under today's gates.

    Args:
        staged: the release's folder; `release.json`, `data/` and `reports/` are enough.
        dataset: the directory of the dataset that it is made from.
        executor: where pixels are measured.
        progress: how a step tells that it moves.

    Returns:
        The text of `audits.json`, and the ids of the audits that fail their gate.

    Raises:
        UserError: no release, no recipe. RecipeError: the recipe gates an audit that is not there.
    """
    audits, settings = gather(), Recipe.load(Layout(dataset).recipe).audit
    today = date.fromisoformat(Release.load(staged).date)
    audited, _ = run(staged, audits, executor, progress, today=today, settings=settings)
    there, lack = _of_dataset(dataset, audits, settings)
    outcomes = tuple(_chosen(outcome, there.get(outcome.audit.id), lack) for outcome in audited.outcomes)
    told = json.loads(replace(audited, outcomes=outcomes).to_json())
    told["audits"] = [_without_words(row) for row in told["audits"]]
    failed = [outcome.audit.id for outcome in outcomes if outcome.verdict is Verdict.FAILS]
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n", failed


def _chosen(here: Outcome, there: Outcome | None, lack: str) -> Outcome:
    """The release's own answer, or the dataset's; where there is neither, why."""
    absent = here.verdict is Verdict.ABSENT
    more = here.audit.id in KNOWS_MORE and here.verdict is not Verdict.FAILS
    if there is not None and there.verdict is not Verdict.ABSENT and (absent or more):
        return there
    reason = f"{here.reason} {lack}".strip() if absent and here.audit.id in KNOWS_MORE else here.reason
    return replace(here, about="release", reason=reason)


def _of_dataset(dataset: Path, audits: Mapping[str, Audit], settings: AuditSection) -> tuple[dict[str, Outcome], str]:
    """What the dataset's current audits found, by id; where there are none, a sentence that says so."""
    found = read_audits(Layout(dataset))
    if found.state != "current" or found.looked["variant"] != "master":
        return {}, f"{_STATES.get(found.state, 'The dataset was audited as another variant')}."
    rows = {row["id"]: row for row in found.rows if row["id"] in audits}
    return {name: _outcome(audits[name], row, settings) for name, row in rows.items()}, ""


def _outcome(audit: Audit, row: Mapping[str, Any], settings: AuditSection) -> Outcome:
    gate = settings.gates.get(audit.id, audit.gate)
    if row["statistic"] is None or row["verdict"] == Verdict.ABSENT:
        return Outcome(audit=audit, gate=gate, verdict=Verdict.ABSENT, reason=row["reason"], about="dataset")
    low, high = row["interval"] or (None, None)
    told = {name: row[name] for name in ("statistic", "n", "of", "sentence")}
    finding = Finding(**told, low=low, high=high)
    return Outcome(audit=audit, gate=gate, verdict=audit.verdict(finding, gate), finding=finding, about="dataset")


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the words that its worst rows are told in, and without what it says of single annotators.

    Who did worst among those is between them and the curator.
    """
    told = dict(row)
    if _QUOTING.fullmatch(row["id"]) and "worst" in row:
        told["worst"] = [{**example, "why": ""} for example in row["worst"]]
    if row["id"].startswith("X") and "sentence" in row:
        sentence = _NAMED.sub("one annotator", row["sentence"])
        told["sentence"] = sentence[:1].upper() + sentence[1:]
        told["details"] = {name: value for name, value in row["details"].items() if "by annotator" not in name}
    return told
