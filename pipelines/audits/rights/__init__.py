"""Audits of rights: whose licences a row stands on, what its files say of themselves and of people.

R1 here; R2 in `consent`; R3 and R4, which read files, in `marking`.
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from mmtt.audit import Audit, Finding
from mmtt.errors import Rejected
from mmtt.evidence import Evidence
from mmtt.licences import Part, combine, obligations
from mmtt.masks import MaskRule

from ..counting import FINE, share_at_fault, why_of
from .consent import R2
from .handed_on import other_than
from .marking import R3, R4

_LICENCES: dict[str, Part] = {
    "licence": "photo", "source_licence": "donor", "code_licence": "code", "weights_licence": "weights",
}  # fmt: skip


def judge_licences(evidence: Evidence) -> Finding:
    """Derive the obligations of every row again, and compare each row's licences with those of target and donor."""
    rows = evidence.rows
    keys = rows[[*_LICENCES]].astype(object).where(rows[[*_LICENCES]].notna(), None)
    keys = keys.assign(kind=rows["mask_rule"], owed=rows["obligations"].map(tuple))
    distinct = {key: _why(*key) for key in set(keys.itertuples(index=False, name=None))}
    why = pd.Series([distinct[key] for key in keys.itertuples(index=False, name=None)], rows.index, dtype=object)
    handed_on = why_of(
        rows.index,
        (other_than(rows, "target_id", "licence", "licence"), "its licence is not that of its target"),
        (other_than(rows, "source_id", "source_licence", "licence"), "its source_licence is not that of its donor"),
    )
    why = why.where(why != FINE, handed_on)
    finding = share_at_fault(
        rows,
        why,
        of="rows",
        fault="have licences that conflict, or obligations that do not follow from them",
        sampled=False,
        details=_details(evidence),
    )
    unknown = int(evidence.forged["code_licence"].isna().sum())
    told = f" Of {unknown:,} forgeries the program's licence is not known." if unknown else ""
    return replace(finding, sentence=finding.sentence + told)


def _why(photo: Any, donor: Any, code: Any, weights: Any, rule: str, said: tuple[str, ...]) -> str:
    """Say what is wrong with one combination of licences and obligations, or nothing."""
    imported, forged = rule == MaskRule.IMPORTED, rule != MaskRule.NONE
    if forged and not imported and not code:
        return "it does not say its program's licence"
    try:
        owed = combine({"photo": photo, "donor": donor, "code": code, "weights": weights}) if forged else None
        owed = sorted(obligations(photo)) if owed is None else owed
    except Rejected as reason:
        return f"{reason.code}: {reason.detail}"
    # What an imported row's program obliges to is unknown: it may say more than follows from what is known.
    fits = set(owed) <= set(said) if imported else owed == list(said)
    return FINE if fits else f"it says {_words(said)}, its licences oblige to {_words(owed)}"


def _words(owed: Any) -> str:
    return ", ".join(owed) or "nothing"


def _details(evidence: Evidence) -> dict[str, Any]:
    forged, rows = evidence.forged, evidence.rows
    owed = rows["obligations"].explode().dropna().value_counts()
    unknown = forged[forged["code_licence"].isna()]["manipulator"].fillna("untold").value_counts()
    told: dict[str, Any] = {
        "rows by licence of the photo": _counted(rows["licence"].value_counts()),
        "rows by obligation": _counted(owed),
        "rows by licence of the program": _counted(forged["code_licence"].value_counts()),
    }
    return told | ({"forgeries by program of unknown licence": _counted(unknown)} if len(unknown) else {})


def _counted(counts: "pd.Series[int]") -> dict[str, int]:
    return {str(name): int(count) for name, count in counts.items()}


R1 = Audit(
    id="R1",
    title="Licence closure",
    question="Do each row's obligations follow, without conflict, from the licences of all that it was made from?",
    unit="share of rows",
    gate=0,
    judge=judge_licences,
)

AUDITS: tuple[Audit, ...] = (R1, R2, R3, R4)
