"""R2: whether all who are shown agreed to what is done with their photos, and nobody is back who was taken out.

In a dataset, what counts is that people were forged: target and donor of each forgery. In a release, what counts is
also that it is handed on, pristine rows included. Whether those whom nobody asked may be used is for the curator to
say, in the recipe and at release; what somebody agreed to is held to in any case.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial
from typing import Any

import pandas as pd

from mmtt import consent
from mmtt.audit import Audit, Finding
from mmtt.errors import Rejected
from mmtt.evidence import Evidence
from mmtt.layout import Layout
from mmtt.recipe import ConsentSection, Recipe
from mmtt.release import REMOVED, read_removed

from ... import denied
from ..counting import FINE, share_at_fault, so_many, why_of
from .handed_on import other_than


@dataclass(frozen=True)
class _Uses:
    """What each kind of row is used for, and whether people whom nobody asked may be."""

    pristine: frozenset[str]
    forged: frozenset[str]
    unasked: bool


def _uses(evidence: Evidence) -> _Uses:
    if evidence.private is None:  # a release states the ground on which it holds people who were not asked
        return _Uses(consent.RELEASE_PRISTINE, consent.RELEASE_FORGED, unasked=True)
    path = Layout(evidence.root).recipe
    section = Recipe.load(path).consent if path.is_file() else ConsentSection()
    return _Uses(frozenset(), consent.FORGE, section.unasked == "forge")


def judge_consent(evidence: Evidence) -> Finding:
    """Hold every row, and the photos that it was made from, against consents and the list of who was taken out."""
    rows = evidence.rows
    ends = {} if evidence.today is None else _ends(evidence.lineage)
    faults = why_of(
        rows.index,
        (other_than(rows, "target_id", "consent", "consent"), "its consent is not that of its target"),
        (other_than(rows, "source_id", "source_consent", "consent"), "its source_consent is not that of its donor"),
        (_among(rows, _removed(evidence)), "it was taken out, or made from what was taken out, and is here again"),
    )
    why = _uncovered(rows, _uses(evidence), evidence.today or date.min, ends)
    finding = share_at_fault(
        rows,
        why.where(why != FINE, faults),
        of="rows",
        fault="show people who did not agree to that, or who were taken out",
        sampled=False,
        details=_details(rows),
    )
    return replace(finding, sentence=" ".join([finding.sentence, *_remarks(evidence, ends)]))


def _uncovered(rows: pd.DataFrame, uses: _Uses, on: date, ends: Mapping[str, str]) -> "pd.Series[str]":
    """Say of each row what the consent of the person shown, or of the donor, does not cover."""
    judged = cache(partial(_why, on=on, unasked=uses.unasked))
    needs = [uses.pristine if pd.isna(family) else uses.forged for family in rows["manipulation"]]
    photos = rows["target_id"].where(rows["target_id"].notna(), rows["record_id"])
    why = pd.Series(FINE, rows.index, dtype=object)
    for whose, words, records in (
        ("the person shown", rows["consent"], photos),
        ("the donor", rows["source_consent"], rows["source_id"]),
    ):
        asked = zip(words, needs, records, strict=True)
        found = [FINE if pd.isna(said) else judged(said, need, ends.get(record)) for said, need, record in asked]
        told = [f"{whose}: {fault}" if fault else FINE for fault in found]
        why = why.where(why != FINE, pd.Series(told, rows.index, dtype=object))
    return why


def _why(words: str, needed: frozenset[str], expiry: str | None, *, on: date, unasked: bool) -> str:
    """Say what a consent lacks for a use, or nothing."""
    if not needed or (unasked and not consent.is_asked(words)):
        return FINE
    try:
        consent.require(words, needed, on, expiry)
    except Rejected as reason:
        return f"{reason.code}: {reason.detail}"
    return FINE


def _ends(lineage: pd.DataFrame) -> Mapping[str, str]:
    """Until when the consent behind each pristine record holds, ISO 8601; known where the lineage is."""
    ends = lineage[lineage["consent_expiry"].notna()]
    return dict(zip(ends["record_id"], ends["consent_expiry"], strict=True))


def _removed(evidence: Evidence) -> Collection[str]:
    """Records that were taken out for good: of a release those that it says it lost, of a dataset the deny-list's."""
    root = evidence.root
    if evidence.private is None:
        return {row.record_id for row in read_removed(root / REMOVED)} if (root / REMOVED).is_file() else set()
    barred = denied.load(root)
    if not barred.values:
        return set()
    photos = evidence.lineage[["record_id", "photo_sha256", "photo_phash", "subject"]]
    back = {row[0] for row in photos.itertuples(index=False, name=None) if _is_denied(barred, *row[1:])}
    return back | denied.records(root)


def _is_denied(barred: denied.Denied, sha256: str, phash: str, subject: str | None) -> bool:
    try:
        barred.require_photo(sha256, subject or "")
        barred.require_new(sha256, phash)
    except Rejected:
        return True
    return False


def _among(rows: pd.DataFrame, records: Collection[str]) -> "pd.Series[bool]":
    return rows[["record_id", "target_id", "source_id"]].isin(list(records)).any(axis=1)


def _remarks(evidence: Evidence, ends: Mapping[str, str]) -> list[str]:
    """Say what the figure leaves open."""
    unasked = int((~evidence.rows["consent"].map(consent.is_asked)).sum())
    told = [f"Of {so_many(unasked, 'row')} nobody asked the people shown."] if unasked else []
    if evidence.private is None or evidence.lineage.empty:
        return [*told, "Until when consents hold is not known here."]
    if evidence.today is None:
        return [*told, "Whether consents are over was not asked."]
    over = sum(ends.get(record, "9999") < evidence.today.isoformat() for record in evidence.pristine["record_id"])
    lying = f"The consent behind {so_many(over, 'pristine row')} is over; `mmtt forget` takes them out."
    return [*told, lying] if over else told


def _details(rows: pd.DataFrame) -> dict[str, Any]:
    donors = rows["source_consent"].dropna()
    return {"rows by consent": _counted(rows["consent"]), "forgeries by consent of the donor": _counted(donors)}


def _counted(words: "pd.Series[Any]") -> dict[str, int]:
    return {str(name): int(count) for name, count in words.value_counts().sort_index().items()}


R2 = Audit(
    id="R2",
    title="Consent closure",
    question="Did all who are shown or gave a face agree to that use, and is nobody here who was taken out?",
    unit="share of rows",
    gate=0,
    judge=judge_consent,
)
