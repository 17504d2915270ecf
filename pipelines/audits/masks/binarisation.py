"""M6: how much of a mask depends on the value above which a pixel counts.

The authors' training read `mask > 0`, their evaluation `mask > 127`. On masks with soft edges, or stored as JPEG, those
are different masks; eyes lose most.
"""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.errors import DamagedError
from mmtt.evidence import Evidence, Pixels
from mmtt.images import FORMATS, Gray
from mmtt.metrics import Resampling
from mmtt.metrics.bootstrap import Estimate, estimate
from mmtt.regions import REGIONS, region_mask, sayable_of

from ..counting import by, examples, is_sample
from .region_table import outlined

MOST_PIXELS = 100_000_000
READINGS = ("half of the maximum", "127", "254")
AREAS = {"> 0": 0, "> 127": 127, "= 255": 254}  # what a pixel has to be above
_LOST, _AREA = "lost.", "area."
Mask = npt.NDArray[np.bool_]


def binarised(pixels: Pixels) -> dict[str, float]:
    """Compare `mask > 0` of a forgery with other readings: their IoU, and which share of a region's mask they lose.

    And which share of the frame each of `AREAS` covers. Read from the mask as its origin ships it, where that was kept.

    Raises:
        DamagedError: that mask cannot be decoded.
    """
    record = pixels.record
    if record.manipulation is None:
        return {}
    values = pixels.mask if record.origin_mask is None else origin_values(record.origin_mask)
    widest, above = values > 0, values > 127
    found = {f"iou.{name}": _iou(widest, reading) for name, reading in zip(READINGS, _readings(values), strict=True)}
    found |= {f"{_AREA}{name}": np.count_nonzero(values > least) / values.size for name, least in AREAS.items()}
    if np.array_equal(widest, above):
        return found
    return found | {f"{_LOST}{word}": share for word, share in _lost(pixels, widest, above)}


def _readings(values: Gray) -> tuple[Mask, Mask, Mask]:
    half = max((int(values.max(initial=0)) + 1) // 2, 1)
    return values >= half, values > 127, values > 254


def _iou(one: Mask, other: Mask) -> float:
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0


def _lost(pixels: Pixels, widest: Mask, above: Mask) -> list[tuple[str, float]]:
    face, hw = outlined(pixels.record, pixels.mask), (widest.shape[0], widest.shape[1])
    found = []
    for word in sayable_of(face) if face is not None and hw == pixels.mask.shape else ():
        inside = widest & region_mask(face, word, hw)
        if inside.any():
            found.append((word, np.count_nonzero(inside & ~above) / np.count_nonzero(inside)))
    return found


def origin_values(data: bytes) -> Gray:
    """Return a mask's values, uint8 H×W, of any format and mode, as Pillow reads it as grey.

    Raises:
        DamagedError: it cannot be decoded, or has more than 100 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, judged below, and of what Pillow mends
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width}×{picture.height} is more than {MOST_PIXELS:,} pixels")
            return np.asarray(picture.convert("L"), np.uint8)
    except Exception as error:  # decoders raise anything on hostile bytes
        raise DamagedError(f"A mask cannot be decoded as its origin ships it: {error}") from error


def judge(evidence: Evidence) -> Finding:
    """Average the IoU of the readings > 0 and > 127 over the sampled forgeries.

    Raises:
        NotApplicable: no forged mask was sampled.
    """
    found, column = evidence.measured("M6"), "iou.127"
    found = found[found[column].notna()] if column in found else found.iloc[:0]
    if found.empty:
        raise NotApplicable("No forged mask is in the sample.")
    mean = _mean(found, column, evidence.settings.seed)
    worst = found[found[column] < 1].sort_values(column, kind="stable")
    why = worst[column].map(
        lambda iou: f"its masks of what is above 0 and of what is above 127 have an IoU of {iou:.3f}"
    )
    return Finding(
        statistic=float(found[column].mean()),
        low=mean.low if is_sample(evidence, forged=True) else None,
        high=mean.high if is_sample(evidence, forged=True) else None,
        n=len(found),
        of="sampled masks",
        sentence=_sentence(found[column]),
        details=_details(found),
        worst=examples(worst, why),
    )


def _mean(found: pd.DataFrame, column: str, seed: int) -> Estimate:
    draws = Resampling(found["component"], seed=seed)
    sums = draws.sums(np.column_stack([found[column], np.ones(len(found))]).astype(np.float64), np.arange(len(found)))
    return estimate(sums[:, 0] / sums[:, 1], len(np.unique(draws.of)))


def _sentence(iou: "pd.Series[float]") -> str:
    changed = int((iou < 1).sum())
    if not changed:
        return f"All {len(iou):,} sampled masks are the same whether pixels count above 0 or above 127."
    return (
        f"{changed:,} of {len(iou):,} sampled masks shrink when pixels count above 127 and not above 0; over all masks "
        f"the two readings have a mean IoU of {iou.mean():.3f}."
    )


def _details(found: pd.DataFrame) -> dict[str, Any]:
    lost = [f"{_LOST}{word}" for word in REGIONS if f"{_LOST}{word}" in found]
    return {
        "mean IoU of > 0 with ≥ half of the maximum": float(found["iou.half of the maximum"].mean()),
        "mean IoU of > 0 with > 127": float(found["iou.127"].mean()),
        "mean IoU of > 0 with 255": float(found["iou.254"].mean()),
        "IoU of > 0 with > 127, 5th percentile": float(found["iou.127"].quantile(0.05)),
        "IoU of > 0 with > 127 by family": by(found, "manipulation", found["iou.127"]),
        "mean share of the frame by reading": {name: float(found[f"{_AREA}{name}"].mean()) for name in AREAS},
        "share of the mask lost at > 127 by region": {
            name.removeprefix(_LOST): float(found[name].mean()) for name in lost
        },
    }


M6 = Audit(
    id="M6",
    title="Binarisation",
    question="Is a mask the same whether a pixel counts above 0 or above 127?",
    unit="mean IoU of the two readings",
    better="high",
    gate=0.99,
    measure=binarised,
    judge=judge,
)
