"""M5: whether the stored matrix is the one that moved the photo into the crop.

A crop's landmarks and template say nothing about the matrix: any similarity would fit them. What does is the face's
place in the photo, which lies in the private lineage; without that, only that a face cannot lie outside its photo.
"""

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.faces import TEMPLATES, Face, Matrix, invert, similarity, transform
from mmtt.images import Gray
from mmtt.record import MASTER, Record

from ..counting import is_sample, share_at_fault, why_of
from .region_table import outlined

LEAST_IOU = 0.98
MOST_OFF_PX = 0.1  # ours are off by 0.0001 px, for float32; half a pixel is the commonest bug
_SIDES = ("left", "top", "right", "bottom")
_MOST_WIDER = 16  # of a crop's area its bounding box in the photo: turned by 45° it is twice as large
_FINE = 2  # samples per pixel in the photo's frame: with one, masks of a few pixels come back smaller


def aligned(pixels: Pixels) -> dict[str, float]:
    """Compare a row's matrix with its landmarks, template and mask.

    `broken`: 1 where it is no finite invertible 2×3 matrix, or a master's that does not turn, scale and shift alone.
    `iou`: of the mask with itself after it went into the photo's frame and back. `template_off`: how far, in pixels,
    the five points have to be moved to fit the template best. `left` … `bottom`: the landmarks' box in the photo, and
    `scale`: crop pixels per photo pixel. NaN where something is not known, and all of it without a known template.
    """
    record = pixels.record
    if record.template not in TEMPLATES:
        return {}
    matrix = np.asarray(record.align_matrix, np.float64)
    if not _is_sound(matrix, record.variant == MASTER):
        return {"broken": 1.0}
    matrix = matrix.reshape(2, 3)
    found = {"broken": 0.0, "scale": _scale(matrix)}
    if pixels.mask.any():
        found["iou"] = round_trip(pixels.mask, matrix)
    face = outlined(record, pixels.mask)
    if face is not None and record.landmarks:
        found |= _template_off(record, face, pixels.mask.shape[0])
        found |= zip(_SIDES, map(float, face.moved(invert(matrix)).bbox_xyxy), strict=True)
    return found


def _is_sound(matrix: npt.NDArray[np.float64], similar: bool) -> bool:
    if matrix.shape != (6,) or not np.isfinite(matrix).all():
        return False
    (a, b, _), (c, d, _) = matrix.reshape(2, 3)
    scale = np.hypot(a, c)
    if abs(a * d - b * c) < 1e-8:
        return False
    return not similar or bool(np.allclose([a, -b], [d, c], rtol=0, atol=1e-6 * scale))


def _scale(matrix: Matrix) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def round_trip(mask: Gray, matrix: Matrix) -> float:
    """Return the IoU of a mask, uint8 H×W, with itself after it was moved into the photo's frame and back.

    The photo's frame is sampled twice as finely as the crop, so that a small photo is no fault of the matrix.
    """
    height, width = mask.shape
    out = invert(matrix) * (_scale(matrix) * _FINE)
    corners = transform(np.array([[0, 0], [width, 0], [0, height], [width, height]]) - 0.5, out)
    low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 1
    out[:, 2] -= low
    across, down = (int(side) + 1 for side in high - low)
    if across * down > _MOST_WIDER * _FINE**2 * mask.size:
        return 0.0  # a matrix that shears so much that the crop is a line in the photo
    there = cv2.warpAffine(mask, out, (across, down), flags=cv2.INTER_LINEAR)
    again = cv2.warpAffine(there, invert(out), (width, height), flags=cv2.INTER_LINEAR)
    one, other = mask > 127, again > 127
    return float(np.count_nonzero(one & other) / max(np.count_nonzero(one | other), 1))


def _template_off(record: Record, face: Face, size_px: int) -> dict[str, float]:
    """A degraded copy's frame is no template's any more."""
    if record.variant != MASTER:
        return {}
    goal = TEMPLATES[record.template] * size_px - 0.5
    moved = transform(goal, similarity(face.five_points, goal))
    return {"template_off": float(np.abs(moved - goal).max())}


def judge(evidence: Evidence) -> Finding:
    """Count the sampled rows whose matrix cannot be right.

    Raises:
        NotApplicable: no row was aligned to a template.
    """
    found = evidence.measured("M5")
    found = found[found["broken"].notna()] if "broken" in found else found.iloc[:0]
    if found.empty:
        raise NotApplicable("No sampled row was aligned to a template that is known here.")
    found = found.reindex(columns=[*found.columns, *(n for n in (*_SIDES, "iou", "template_off") if n not in found)])
    off, known = _off_px(evidence, found)
    why = why_of(
        found.index,
        (found["broken"] == 1, "its matrix is no rotation, scale and shift"),
        (found["iou"] < LEAST_IOU, "its mask does not come back from the photo's frame"),
        (found["template_off"] > MOST_OFF_PX, f"its five points are not where the template '{_names(found)}' has them"),
        (off > MOST_OFF_PX, "its matrix puts the face where the photo has none"),
    )
    return share_at_fault(
        found,
        why,
        of="sampled rows",
        fault="have a matrix that cannot be right",
        sampled=is_sample(evidence),
        details={
            "smallest IoU of a round trip": _extreme(found["iou"].min()),
            "farthest from the template, px": _extreme(found["template_off"].max()),
            "farthest from the face's place in the photo, px": _extreme(off.max()),
            "rows whose place in the photo is known": known,
        },
    )


def _names(found: pd.DataFrame) -> str:
    return "', '".join(sorted(found["template"].unique()))


def _extreme(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _off_px(evidence: Evidence, found: pd.DataFrame) -> tuple["pd.Series[float]", int]:
    """How far, in crop pixels, the landmarks' box lies from where the lineage has it, or reaches out of the photo.

    And of how many rows the lineage knows it.
    """
    boxes = found[list(_SIDES)]
    lineage = evidence.lineage.drop_duplicates("record_id").set_index("record_id")["bbox_xyxy"]
    pristine = found["target_id"].fillna(found["record_id"])
    places = lineage.reindex(pristine)
    known = places.notna().to_numpy()
    # A photo begins at 0, 0; how far it reaches is not stored.
    off = -boxes[["left", "top"]].min(axis=1) - 0.5 * (boxes["right"] - boxes["left"])
    if known.any():
        expected = np.array(places[known].tolist(), np.float64)
        off[known] = np.abs(boxes[known].to_numpy() - expected).max(axis=1)
    return off * found["scale"], int(known.sum())


M5 = Audit(
    id="M5",
    title="Alignment round trip",
    question="Does each stored matrix lead from the photo to the crop and back?",
    unit="share of sampled rows",
    gate=0,
    measure=aligned,
    judge=judge,
)
