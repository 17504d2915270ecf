"""M3: masks that are empty, cover everything, or are slivers that no detector and no eye can use.

Of all rows the column `mask_share` is read; of sampled ones the mask itself, as detectors are scored against it.
"""

from typing import Any

import cv2
import numpy as np
import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.metrics.localization import ALTERED_ABOVE

from ..counting import by, examples, is_sample, why_of
from ..shares import Share, grouped_share

FULL_SHARE = 0.98
THIN_SHARE = 1 / 128
_MEASURED = ("share", "components", "thinness", "thickness")


def shaped(pixels: Pixels) -> dict[str, float]:
    """Measure a forgery's mask.

    `share`: of the frame; the rest only where that is not 0. `components`: 8-connected parts. `thinness`: perimeter² /
    (4π area), 1 for a disc. `thickness`: width of the thickest spot as a share of the frame's shorter side, twice the
    largest distance to the outside.
    """
    if pixels.record.manipulation is None:
        return {}
    share = np.count_nonzero(pixels.mask > ALTERED_ABOVE) / pixels.mask.size
    if not share:
        return {"share": 0.0}
    mask = np.pad((pixels.mask > ALTERED_ABOVE).astype(np.uint8), 1)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, closed=True) for contour in contours)
    deepest = float(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
    return {
        "share": share,
        "components": cv2.connectedComponents(mask)[0] - 1,
        "thinness": perimeter**2 / (4 * np.pi * np.count_nonzero(mask)),
        "thickness": (2 * deepest - 1) / min(pixels.mask.shape),
    }


def judge(evidence: Evidence) -> Finding:
    """Count empty and full masks over all forgeries, and estimate what the sample alone shows.

    That is slivers, and masks that are empty or full though their `mask_share` denies it.

    Raises:
        NotApplicable: nothing is forged.
    """
    forged = evidence.forged
    if forged.empty:
        raise NotApplicable("Nothing is forged here.")
    empty, full = forged["mask_share"] <= 0, forged["mask_share"] > FULL_SHARE
    found = evidence.measured("M3").reindex(columns=[*forged.columns, *_MEASURED])
    found = found[found["share"].notna() & ~(empty | full).reindex(found.index, fill_value=False)]
    thin = found["thickness"] < THIN_SHARE
    denied = {"empty": found["share"] == 0, "full": found["share"] > FULL_SHARE}
    unseen = thin | denied["empty"] | denied["full"]
    counted, sampled = float((empty | full).mean()), is_sample(evidence, forged=True)
    share = _share(found, unseen)
    rows = pd.concat([forged[empty | full], found[unseen]])[["record_id", "variant"]]
    why = why_of(
        rows.index,
        (empty.reindex(rows.index), "its mask is empty"),
        (full.reindex(rows.index), f"its mask covers more than {FULL_SHARE:.0%} of the frame"),
        *((flags.reindex(rows.index, fill_value=False), f"its mask is {name}, and its mask_share denies it")
          for name, flags in denied.items()),
        (thin.reindex(rows.index, fill_value=False), "its mask is a sliver"),
    )  # fmt: skip
    low, high = (counted + (1 - counted) * end for end in (share.low, share.high))
    return Finding(
        statistic=counted + (1 - counted) * share.value,
        low=low if sampled else None,
        high=high if sampled else None,
        n=len(forged),
        of="forgeries",
        sentence=_sentence(empty, full, thin, denied["empty"] | denied["full"]),
        details=_details(forged, found),
        worst=examples(rows, why),
    )


def _sentence(
    empty: "pd.Series[bool]", full: "pd.Series[bool]", thin: "pd.Series[bool]", denied: "pd.Series[bool]"
) -> str:
    told = f" and {_count(denied)} are empty or full though their mask_share denies it" if denied.any() else ""
    return (
        f"{_count(empty).capitalize()} of {len(empty):,} masks are empty, {_count(full)} cover more than "
        f"{FULL_SHARE:.0%} of the frame; of {len(thin):,} sampled others {_count(thin)} are slivers, nowhere thicker "
        f"than {THIN_SHARE:.2%} of the picture's side{told}."
    )


def _share(found: pd.DataFrame, bad: "pd.Series[bool]") -> Share:
    return Share(0, 0, 1) if found.empty else grouped_share(bad, np.ones(len(found)), found["component"])


def _count(flags: "pd.Series[bool]") -> str:
    return f"{int(flags.sum()):,}" if flags.any() else "none"


def _details(forged: pd.DataFrame, found: pd.DataFrame) -> dict[str, Any]:
    area = forged["mask_share"]
    return {
        "share of the frame": {f"{q:.0%}": float(area.quantile(q)) for q in (0, 0.05, 0.5, 0.95, 1)},
        "share of the frame by family": by(forged, "manipulation", area),
        "parts by family": by(found, "manipulation", found["components"]),
        "perimeter² / (4π area) by family": by(found, "manipulation", found["thinness"]),
        "thickest spot by family, share of the side": by(found, "manipulation", found["thickness"]),
        "a sliver is thinner than": THIN_SHARE,
    }


M3 = Audit(
    id="M3",
    title="Empty, full, sliver",
    question="How many masks are empty, cover the whole frame, or are too thin to be seen?",
    unit="share of forgeries",
    gate=0.005,
    measure=shaped,
    judge=judge,
)
