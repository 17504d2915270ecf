"""R3, R4: what files carry beside their pixels. A mark that only some have is a shortcut; a thumbnail is a leak."""

from typing import Any

import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels

from ..counting import FINE, by, is_sample, share_at_fault
from .metadata import MARKS, REMAINS, marks, remains

_PICTURES = (
    "image", "mask", "pristine", "alpha", "change", "intent", "raw", "origin_mask", "parsing",
)  # fmt: skip


def marked(pixels: Pixels) -> dict[str, float]:
    """Tell for each of `MARKS` whether a row's image carries it, 0 or 1; nothing is decoded."""
    found = marks(pixels.record.image)
    return {name: float(name in found) for name in MARKS}


def left_over(pixels: Pixels) -> dict[str, float]:
    """Tell for each of `REMAINS` whether any of a row's pictures carries it, 0 or 1; nothing is decoded."""
    pictures = [data for name in _PICTURES if (data := getattr(pixels.record, name)) is not None]
    found = frozenset[str]().union(*(remains(data) for data in pictures))
    return {name: float(name in found) for name in REMAINS}


def judge_marks(evidence: Evidence) -> Finding:
    """Count the sampled rows without the marks that marked ones carry.

    A mark counts where at least half of the marked rows carry it: forged and pristine ones alike.

    Raises:
        NotApplicable: nothing is marked.
    """
    found = evidence.measured("R3").reindex(columns=[*evidence.rows.columns, *MARKS])
    some = found[list(MARKS)].eq(1)
    if not some.any(axis=None):
        raise NotApplicable("Nothing is marked here: no picture says in its file that it is forged, or that it is not.")
    usual = [name for name in MARKS if 2 * some.loc[some.any(axis=1), name].sum() >= some.any(axis=1).sum()]
    lacking = some[usual].apply(lambda row: [name for name in usual if not row[name]], axis=1)
    why = lacking.map(lambda names: f"its image lacks the mark {' and '.join(names)}" if names else FINE)
    return share_at_fault(
        found,
        why,
        of="sampled rows",
        fault="lack a mark that the others carry",
        sampled=is_sample(evidence),
        details=_told(found),
    )


def _told(found: pd.DataFrame) -> dict[str, Any]:
    kinds = found.assign(kind=found["manipulation"].isna().map({True: "pristine", False: "forged"}))
    return {f"share marked by {name}": by(kinds, "kind", found[name]) for name in MARKS}


def judge_remains(evidence: Evidence) -> Finding:
    """Count the sampled rows whose files tell of a person, or show it before the edit.

    Raises:
        NotApplicable: no row was sampled.
    """
    found = evidence.measured("R4").reindex(columns=[*evidence.rows.columns, *REMAINS])
    if found.empty:
        raise NotApplicable("No row was sampled.")
    there = found[list(REMAINS)].eq(1)
    named = there.apply(lambda row: [name for name in REMAINS if row[name]], axis=1)
    why = named.map(lambda names: f"its files carry: {', '.join(names)}" if names else FINE)
    return share_at_fault(
        found,
        why,
        of="sampled rows",
        fault="carry metadata of a person or of the picture before the edit",
        sampled=is_sample(evidence),
        details={"share of rows by what is left": {name: float(there[name].mean()) for name in REMAINS}},
    )


R3 = Audit(
    id="R3",
    title="Marking",
    question="Where pictures are marked in their files, do all carry the mark, forged and pristine ones?",
    unit="share of sampled rows",
    gate=0,
    measure=marked,
    judge=judge_marks,
)
R4 = Audit(
    id="R4",
    title="Metadata",
    question="Do the files still carry a position, a thumbnail, a serial number or words of those who took the photos?",
    unit="share of sampled rows",
    gate=0,
    measure=left_over,
    judge=judge_remains,
)
