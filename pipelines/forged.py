"""The record of a finished forgery: what it took over from target and donor, what its pixels came to."""

from functools import cache
from typing import Any

import numpy as np

from mmtt import images, regions
from mmtt.faces import face_of
from mmtt.manipulator import Declaration, Edit, Forged
from mmtt.masks import MaskRule
from mmtt.record import PlanRow, Record


def forged_record(
    declared: Declaration,
    row: PlanRow,
    target: Record,
    source: Record | None,
    edit: Edit,
    forged: Forged,
    find_faces: bool,
) -> Record:
    """Return the record of a finished forgery; the one place where its images are encoded."""
    shares = regions.edited_shares(face_of(target), forged.mask)
    image = images.encode_png(forged.image)
    return Record(
        record_id=row.record_id,
        image_sha256=images.sha256(image),
        target_id=row.target_id,
        source_id=row.source_id,
        image=image,
        mask=images.encode_png(forged.mask),
        pristine=target.image,
        alpha=images.encode_png(forged.alpha),
        change=images.encode_png(forged.change),
        intent=None if edit.intent is None else images.encode_png(edit.intent.astype(np.uint8) * np.uint8(255)),
        raw=None if edit.raw is None else images.encode_png(edit.raw),
        parsing=target.parsing,
        parser=target.parser,
        manipulation=declared.family,
        manipulator=declared.name,
        manipulator_version=declared.version,
        parameters=row.parameters,
        seed=row.seed,
        code_sha256=declared.code_sha256,
        weights_sha256=declared.weights_sha256,
        code_licence=declared.code_licence,
        weights_licence=declared.weights_licence,
        mask_rule=declared.mask_rule,
        mask_tau=forged.tau,
        exact_mask=declared.mask_rule is not MaskRule.NULL_EDIT,
        mask_share=np.count_nonzero(forged.mask) / forged.mask.size,
        change_mean=float(forged.change[forged.mask > 0].mean()),
        regions=list(shares),
        region_shares=list(shares.values()),
        landmarks=target.landmarks,
        landmark_scheme=target.landmark_scheme,
        landmark_finder=target.landmark_finder,
        parsed_regions=target.parsed_regions,
        face_score=_finder().score(forged.image) if find_faces else None,
        align_matrix=target.align_matrix,
        template=target.template,
        origin=target.origin,
        origin_id=target.origin_id,
        licence=target.licence,
        consent=target.consent,
        group_id=target.group_id,
        **_of_donor(source),
        obligations=row.obligations,
    )


def _of_donor(source: Record | None) -> dict[str, str | None]:
    names = ("origin", "origin_id", "licence", "consent", "group_id")
    return {f"source_{name}": getattr(source, name, None) for name in names}


@cache
def _finder() -> Any:
    from .finders.mediapipe import MediapipeFinder

    return MediapipeFinder()
