"""M2: whether the mask lies where pixels changed.

Three things are asked of a forgery. Nothing changed where the blend had no weight: exact, because the toolkit
composites. Most of the mask changed at all. And the mask lies on the core of the change (alpha at least half its
maximum, change above the row's threshold): moving it by a few pixels must not make it fit better. Under `blend` the
core is the mask; under the other rules it is near. The change is that between `pristine` and `image` where both are
stored without loss, and the stored `change` must be that one.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.images import Gray
from mmtt.masks import change_map
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.record import MASTER

from ..counting import by, is_sample, share_at_fault, why_of

TAUS = (0, 2, 4, 8)
REACH_PX = 4
# Unmoved masks of our programs gain up to 0.007, as warps have a broad rim of small change; a face-sized mask at 512 px
# that was moved by 3 px gains 0.03, smaller masks and smaller pictures more.
MOST_GAIN = 0.02
# Of 2,104 forgeries of our eight programs, warps of flat skin among them, the least changed 94 % of their mask.
LEAST_CHANGED = 0.5
Mask = npt.NDArray[np.bool_]


def supported(pixels: Pixels) -> dict[str, float]:
    """Compare a forgery's mask with its change; NaN of a pristine row, and where nobody knows what was changed.

    `outside`: changed pixels with alpha 0; `beyond`: masked ones with alpha 0. `precision_<tau>`: share of the mask
    with a change above tau; `recall_<tau>`: share of those pixels inside the mask. `gain`: by how much the IoU with the
    core of the change grows when the mask is moved by `dx`, `dy` pixels, at most `REACH_PX` each. `stale`: 1 where the
    stored change is another one.
    """
    change, alpha, mask = _change(pixels), pixels.alpha, pixels.mask > ALTERED_ABOVE
    if change is None or change.shape != mask.shape or not mask.any():
        return {}
    weight = np.full(mask.shape, 255, np.uint8) if alpha is None or alpha.shape != mask.shape else alpha
    core = (weight >= max((int(weight.max()) + 1) // 2, 1)) & (change > pixels.record.mask_tau)
    gain, dx, dy = displacement(mask, core)
    outside = np.count_nonzero(change[weight == 0]) if pixels.record.variant == MASTER else 0
    found = {"outside": outside, "beyond": np.count_nonzero(mask & (weight == 0)), "gain": gain, "dx": dx, "dy": dy}
    stale = pixels.change is not None and not np.array_equal(pixels.change, change)
    return found | {"stale": float(stale)} | dict(_curves(mask, change))


def _change(pixels: Pixels) -> Gray | None:
    """Masters are stored losslessly: what they show is what was changed. Of others, what was noted before encoding."""
    if pixels.record.manipulation is None:
        return None
    if pixels.pristine is None or (pixels.record.variant != MASTER and pixels.change is not None):
        return pixels.change
    same = pixels.pristine.shape == pixels.image.shape
    return change_map(pixels.pristine, pixels.image) if same else pixels.change


def _curves(mask: Mask, change: Gray) -> Iterator[tuple[str, float]]:
    inside, everywhere = (np.bincount(values.ravel(), minlength=256) for values in (change[mask], change))
    for tau in TAUS:
        both, changed = float(inside[tau + 1 :].sum()), float(everywhere[tau + 1 :].sum())
        yield f"precision_{tau}", both / float(inside.sum())
        yield f"recall_{tau}", both / changed if changed else 1.0


def displacement(mask: Mask, core: Mask) -> tuple[float, int, int]:
    """Return how much the IoU of two bool H×W masks grows by moving the first, and the best move in x and in y.

    Moves of up to `REACH_PX` pixels each way are tried; the growth is relative.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    window = np.pad(core, REACH_PX)[y : y + height + 2 * REACH_PX, x : x + width + 2 * REACH_PX]
    # In the padded frame the window of an unmoved mask begins at REACH_PX.
    shared = cv2.matchTemplate(
        window.astype(np.float32), mask[y : y + height, x : x + width].astype(np.float32), cv2.TM_CCORR
    )
    iou = shared / np.maximum(np.count_nonzero(mask) + np.count_nonzero(core) - shared, 1)
    down, right = np.unravel_index(int(iou.argmax()), iou.shape)
    here = float(iou[REACH_PX, REACH_PX])
    gain = float(iou.max()) / here - 1 if here > 0.5 / mask.size else float(iou.max() > 0.5 / mask.size)
    return gain, int(right) - REACH_PX, int(down) - REACH_PX


def judge(evidence: Evidence) -> Finding:
    """Count the sampled forgeries that changed where they say they did not, or whose mask lies beside the change.

    Raises:
        NotApplicable: no forgery stores what was changed.
    """
    found = evidence.measured("M2")
    found = found[found["gain"].notna()] if "gain" in found else found.iloc[:0]
    if found.empty:
        raise NotApplicable("No sampled forgery stores its target or its change, so nobody knows what was changed.")
    moved = found["gain"] > MOST_GAIN
    why = why_of(
        found.index,
        (found["outside"] > 0, "pixels changed where alpha is 0"),
        (found["beyond"] > 0, "its mask covers pixels where alpha is 0"),
        (found["stale"] > 0, "its stored change is not the difference of image and pristine"),
        (found["precision_0"] < LEAST_CHANGED, f"less than {LEAST_CHANGED:.0%} of what its mask covers changed"),
    )
    why = why.where((why != "") | ~moved, found.apply(_told, axis=1))
    worst_first = found.sort_values(["precision_0", "gain"], ascending=[True, False], kind="stable")
    return share_at_fault(
        worst_first,
        why.loc[worst_first.index],
        of="sampled forgeries",
        fault="changed outside their blend, or have a mask that lies beside the change or on what did not change",
        sampled=is_sample(evidence, forged=True),
        details=_details(found),
    )


def _told(row: "pd.Series[Any]") -> str:
    gain, dx, dy = row["gain"], int(row["dx"]), int(row["dy"])
    return f"its mask fits the change {gain:.1%} better when moved by {dx} px in x and {dy} px in y"


def _details(found: pd.DataFrame) -> dict[str, Any]:
    return {
        "precision by tau": {str(tau): float(found[f"precision_{tau}"].mean()) for tau in TAUS},
        "recall by tau": {str(tau): float(found[f"recall_{tau}"].mean()) for tau in TAUS},
        "precision above 2 by family": by(found, "manipulation", found["precision_2"]),
        "recall above 2 by family": by(found, "manipulation", found["recall_2"]),
        "best move in x by program, px": by(found, "manipulator", found["dx"]),
        "best move in y by program, px": by(found, "manipulator", found["dy"]),
        "largest gain of a move": float(found["gain"].max()),
        "gain that counts": MOST_GAIN,
        "smallest share of a mask that changed": float(found["precision_0"].min()),
        "share of a mask that must have changed": LEAST_CHANGED,
    }


M2 = Audit(
    id="M2",
    title="Support against change",
    question="Does the mask lie where pixels changed, and did nothing change where the blend had no weight?",
    unit="share of sampled forgeries",
    gate=0,
    measure=supported,
    judge=judge,
)
