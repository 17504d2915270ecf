"""M1: whether what belongs together is together: sizes, values, digests, targets.

A mask that was paired by its place in a listing, or resized with the wrong filter, is found here.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from mmtt import images
from mmtt.audit import Audit, Finding
from mmtt.evidence import Evidence, Pixels
from mmtt.record import MASTER, Record

from ..counting import is_sample, share_at_fault, why_of
from .binarisation import origin_values

_DIGITS = 13  # hex digits of a SHA-256 that a float64 holds exactly
_FAULTS = {
    "mask_size": "its mask is of another size than its image",
    "plane_size": "its pristine, alpha, change, intent or label map is of another size than its image",
    "values": "its mask holds values other than 0 and 255",
    "not_pristine": "it is pristine and has a mask",
    "digest": "image_sha256 is not that of its image's bytes",
    "share": "mask_share is not the share that its mask covers",
}


def paired(pixels: Pixels) -> dict[str, float]:
    """Tell which faults a row has (1 or 0 each), and the first digits of its `pristine`'s digest as a number.

    Raises:
        DamagedError: one of its pictures cannot be decoded.
    """
    record, mask, hw = pixels.record, pixels.mask, pixels.image.shape[:2]
    found = {
        "mask_size": mask.shape != hw,
        "plane_size": any(shape != hw for shape in _shapes(pixels)),
        "values": not np.isin(mask, (0, 255)).all(),
        "not_pristine": record.manipulation is None and bool(mask.any()),
        "digest": images.sha256(record.image) != record.image_sha256,
        "share": not abs(record.mask_share - np.count_nonzero(mask) / mask.size) <= 1e-5,  # NaN is wrong too
    }
    return {name: float(fault) for name, fault in found.items()} | {"target": _target(record)}


def _shapes(pixels: Pixels) -> list[tuple[int, ...]]:
    record = pixels.record
    others = [images.decode_gray(data) for data in (record.intent, record.parsing) if data is not None]
    pictures = [pixels.pristine, pixels.alpha, pixels.change, *others]
    if record.raw is not None:
        images.decode_rgb(record.raw)  # of any size, but a picture
    if record.origin_mask is not None:
        origin_values(record.origin_mask)  # in any format and mode
    return [picture.shape[:2] for picture in pictures if picture is not None]


def _target(record: Record) -> float:
    """A degraded copy's `pristine` went through the chain that was drawn for the forgery, not for its target."""
    known = record.pristine is not None and record.variant == MASTER
    return _number(images.sha256(record.pristine or b"")) if known else float("nan")


def _number(sha256: str) -> float:
    return float(int(sha256[:_DIGITS], 16))


def judge(evidence: Evidence) -> Finding:
    """Count the sampled rows that are not whole."""
    sampled = evidence.sampled
    found = evidence.measured("M1").reindex(index=sampled.index, columns=["record_id", *_FAULTS, "target"])
    ids = evidence.rows["record_id"]
    why = why_of(
        sampled.index,
        (found["record_id"].isna(), "one of its pictures cannot be decoded"),
        (sampled["record_id"].isin(ids[ids.duplicated()]), "its record_id is that of another row as well"),
        *((found[name] == 1, sentence) for name, sentence in _FAULTS.items()),
        (_mismatched(evidence, sampled, found["target"]), "its pristine is not its target's image"),
    )
    finding = share_at_fault(
        sampled, why, of="sampled rows", fault="are damaged or wrongly paired", sampled=is_sample(evidence)
    )
    forged = sampled[sampled["manipulation"].notna()]
    if forged.empty or forged["target_id"].notna().any():
        return finding
    unseen = " Without targets nobody can tell a mask of the right size from that of another picture."
    return replace(finding, sentence=finding.sentence + unseen)


def _mismatched(evidence: Evidence, sampled: pd.DataFrame, stored: "pd.Series[float]") -> "pd.Series[bool]":
    """Whether a row's `pristine` is another picture than the target that lies in this dataset."""
    targets: Mapping[str, str] = dict(
        zip(evidence.pristine["record_id"], evidence.pristine["image_sha256"], strict=True)
    )
    expected = sampled["target_id"].map(lambda target: _number(targets[target]) if target in targets else np.nan)
    return stored.notna() & expected.notna() & (stored != expected)


M1 = Audit(
    id="M1",
    title="Shape and pairing",
    question="Can every picture be decoded, and are image, mask and target of one size and of one record?",
    unit="share of sampled rows",
    gate=0,
    measure=paired,
    judge=judge,
)
