"""M7: whether the table of edited regions follows from mask and landmarks, and what it says of the families."""

import numpy as np
import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.faces import Face, face_of
from mmtt.grounding import EDITED_FROM
from mmtt.images import Gray
from mmtt.landmarks import SCHEMES
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.record import Record
from mmtt.regions import edited_shares, sayable_of

from ..counting import is_sample, share_at_fault, why_of

TOLERANCE = 1e-4  # the stored share is a float32
_WHITE = np.uint8(255)


def tabled(pixels: Pixels) -> dict[str, float]:
    """Derive a forgery's region shares again; `off` is the largest difference to the stored ones, 0–1.

    A region that one of them lacks counts as 0 there. NaN of a pristine row, and of a face that nothing outlines.
    """
    record = pixels.record
    face = outlined(record, pixels.mask) if record.manipulation is not None else None
    if face is None or not sayable_of(face):
        return {}
    stored = dict(zip(record.regions, record.region_shares, strict=False))
    again = edited_shares(face, (pixels.mask > ALTERED_ABOVE) * _WHITE)
    off = [abs(stored.get(word, 0) - again.get(word, 0)) for word in {*stored, *again}]
    return {"off": max((apart if np.isfinite(apart) else 1.0 for apart in off), default=0.0)}


def outlined(record: Record, mask: Gray) -> Face | None:
    """Return a record's face; None where its landmarks or label map do not fit their scheme, or its mask uint8 H×W."""
    scheme = SCHEMES.get(record.landmark_scheme)
    if scheme is None or len(record.landmarks) != scheme.points:
        return None
    face = face_of(record)
    return face if face.parsing is None or face.parsing.shape == mask.shape else None


def judge(evidence: Evidence) -> Finding:
    """Count the sampled forgeries whose stored shares are not those of their mask.

    Raises:
        NotApplicable: no sampled forgery has landmarks or a parsing.
    """
    found = evidence.measured("M7")
    found = found[found["off"].notna()] if "off" in found else found.iloc[:0]
    if found.empty:
        raise NotApplicable("No sampled forgery has landmarks or a parsing, so no region has a place.")
    found = found.sort_values("off", ascending=False, kind="stable")
    why = why_of(found.index, (found["off"] > TOLERANCE, "its region shares are not those of its mask"))
    return share_at_fault(
        found,
        why,
        of="sampled forgeries",
        fault="have a region table that does not follow from mask and landmarks",
        sampled=is_sample(evidence, forged=True),
        details={
            "largest difference of a share": float(found["off"].max()),
            f"share of forgeries that edit {EDITED_FROM:.0%} of a region, by family": _edited(evidence.forged),
        },
    )


def _edited(forged: pd.DataFrame) -> dict[str, dict[str, float]]:
    """For each family, the share of all its forgeries that edit each region noticeably."""
    table = pd.DataFrame(
        {
            "family": np.repeat(forged["manipulation"].to_numpy(object), forged["regions"].map(len)),
            "region": np.concatenate([*forged["regions"], np.array([], object)]),
            "share": np.concatenate([*forged["region_shares"], np.array([], np.float32)]),
        }
    )
    counts = table[table["share"] >= EDITED_FROM].groupby(["family", "region"]).size()
    rows = forged["manipulation"].value_counts()
    found: dict[str, dict[str, float]] = {}
    for (family, region), count in counts.items():
        found.setdefault(str(family), {})[str(region)] = int(count) / int(rows[family])
    return found


M7 = Audit(
    id="M7",
    title="Region table",
    question="Do the stored region shares follow from mask and landmarks?",
    unit="share of sampled forgeries",
    gate=0,
    measure=tabled,
    judge=judge,
)
