"""From how an edit was made to the ground-truth mask. The one place where the rules live."""

from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Gray, Rgb

PINHOLE_FRAC = 0.001
NULL_PERCENTILE = 99.5


class MaskRule(StrEnum):
    """How a mask follows from the process that forged."""

    BLEND = "blend"  # composited: alpha and change together
    SUPPORT = "support"  # warps: displaced by more than half a pixel
    HOLE = "hole"  # inpainting: the hole, outside of which nothing changes
    NULL_EDIT = "null_edit"  # full-frame learned edits: change above the model's own noise
    IMPORTED = "imported"  # other people's datasets: theirs
    NONE = "none"  # pristine: nothing


def quantise_alpha(alpha: npt.NDArray[np.floating]) -> Gray:
    """Turn float alpha H×W in [0, 1] into uint8 0–255, rounding up: no touched pixel becomes 0."""
    scaled = np.clip(alpha, 0, 1) * np.float32(255)
    return np.ceil(scaled, out=scaled).astype(np.uint8)


def composite(target: Rgb, edited: Rgb, alpha: Gray) -> Rgb:
    """Blend `edited` over `target` (RGB uint8 H×W×3) by alpha uint8 H×W, in whole numbers.

    Where alpha is 0 the result is the target, where it is 255 the edit, both bit for bit.
    """
    result = target.copy()
    rows, cols = _window(alpha)
    a = alpha[rows, cols, None].astype(np.uint16)
    mixed = a * edited[rows, cols] + (255 - a) * target[rows, cols] + np.uint16(127)
    result[rows, cols] = (mixed // np.uint16(255)).astype(np.uint8)
    return result


def null_tau(noise: Gray) -> int:
    """Return the change, 0–255, above which a full-frame edit did more than the model does when asked for nothing.

    `noise` is the change map, uint8 H×W, of the null edit; the bound is its 99.5th percentile.
    """
    return int(np.percentile(noise, NULL_PERCENTILE, method="higher"))


def _window(alpha: Gray) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(alpha)
    return slice(y, y + height), slice(x, x + width)


def change_map(before: Rgb, after: Rgb) -> Gray:
    """Return the largest channel difference per pixel, uint8 H×W, of two RGB uint8 images."""
    red, green, blue = cv2.split(cv2.absdiff(before, after))
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)


def derive_mask(
    rule: MaskRule, alpha: Gray, change: Gray, *, tau: int = 0, support: npt.NDArray[np.bool_] | None = None
) -> Gray:
    """Return the ground-truth mask, uint8 {0, 255} H×W.

    Args:
        rule: `blend`, `support`, `hole` or `null_edit`; the other rules do not follow from an edit.
        alpha: uint8 H×W, as composited.
        change: uint8 H×W, before any encoding.
        tau: `blend` and `null_edit`: a pixel counts as altered when its change is above this, 0–255.
        support: bool H×W; required by `support` (displaced by more than half a pixel) and `hole` (the hole).
    """
    if rule is MaskRule.BLEND:
        half = (int(alpha.max()) + 1) // 2
        altered = (alpha >= max(half, 1)) & (change > tau)
        return fill_pinholes(altered.astype(np.uint8) * np.uint8(255), inside=alpha > 0)
    if rule in (MaskRule.SUPPORT, MaskRule.HOLE):
        if support is None:
            raise ValueError(f"an edit under the rule '{rule}' must say its support")
        return (support & (alpha > 0)).astype(np.uint8) * np.uint8(255)
    if rule is MaskRule.NULL_EDIT:
        return (change > tau).astype(np.uint8) * np.uint8(255)
    raise ValueError(f"no mask follows from a composite under the rule '{rule}'")


def fill_pinholes(mask: Gray, inside: npt.NDArray[np.bool_]) -> Gray:
    """Close holes of a uint8 {0, 255} mask smaller than 0.1 % of the frame, where `inside` (bool H×W) allows.

    Chance makes some blended pixels equal to the target's; without this every mask would be peppered.
    """
    rows, cols = _window(mask)
    window = mask[rows, cols]
    # Padded by background so that everything open to the outside is one component.
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.pad(255 - window, 1, constant_values=255), connectivity=4, ltype=cv2.CV_32S
    )
    small = stats[:, cv2.CC_STAT_AREA] < max(PINHOLE_FRAC * mask.size, 1)
    small[labels[0, 0]] = False
    if count > 1:
        filled = mask.copy()
        holes = small[labels[1:-1, 1:-1]] & (window == 0) & inside[rows, cols]
        filled[rows, cols][holes] = 255
        return filled
    return mask
