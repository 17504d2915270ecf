"""L3: forgeries of one photo in two splits, though no lineage says so: they share what their masks leave free."""

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.audit import Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.images import Rgb

from ...fingerprints import Small
from ...grouping import SAME_PICTURE, correlation
from .twins import (
    ALIKE_BACKGROUND,
    BITS,
    Bars,
    at_least,
    coded,
    copies_of,
    curve,
    examples,
    placed,
    propose,
    side_of,
    unseen,
)

# Correlation of details in 64-px copies: forgeries of one photo have 0.96 and more, of two photos 0.8 and less.
SAME_DETAILS, LEAST_DETAIL = 0.9, 1.0
LEAST_SHOWN = 0.1  # of the frame
_DETAIL_PX = 1.5


def judge_backgrounds(evidence: Evidence) -> Finding:
    """Count pairs in two splits that were forged from one photo, though no lineage says so.

    Hashes of what neither mask nor face covers propose; tones and details outside both masks decide. At least one of
    the two is forged. What is too plain there to tell is not counted, but told.
    """
    rows = evidence.once(coded)
    shown = rows[rows["backed"]]
    if shown["split"].nunique() < 2 or shown["manipulation"].isna().all():
        raise NotApplicable("No forgeries in two splits show a background beside mask and face.")
    side = side_of(shown, ("background", "mirror_background"), "tiny_background")
    proposed = propose(side, Bars(BITS, ALIKE_BACKGROUND), forged_only=True)
    copies = copies_of(evidence, shown, proposed.pairs)
    likeness = [
        _backgrounds(copies[pair.first], copies[pair.second], pair.mirrored) for pair in proposed.pairs.itertuples()
    ]
    found = proposed.pairs[np.array([found is True for found in likeness], np.bool_)]
    pairs = placed(shown, found.assign(kind=np.where(found["mirrored"], "mirrored", "as it is")))
    return Finding(
        statistic=len(pairs),
        n=len(shown),
        of="pictures",
        sentence=f"All that their masks leave free is one in {at_least(proposed, len(pairs))} in two splits."
        if len(pairs)
        else f"No two of {len(shown):,} pictures in different splits share a background{unseen(proposed)}.",
        details={
            "pairs that the lineage ties": proposed.tied,
            "proposed and looked at": len(proposed.pairs),
            "proposed and not looked at": proposed.dropped,
            "too plain to tell": sum(found is None for found in likeness),
            "pictures without a background": int((rows["whole"] & ~rows["backed"]).sum()),
            "pairs across splits within so many bits": curve(side, proposed.within, evidence, forged_only=True),
        },
        worst=examples(evidence, pairs, "has the same background"),
    )


def _backgrounds(first: Small, second: Small, mirrored: bool) -> bool | None:
    """Whether two small copies are alike outside both masks, in tones and in details; None where nothing is to see."""
    picture, hole = (first.picture[:, ::-1], first.hole[:, ::-1]) if mirrored else first
    shown = ~(hole | second.hole)
    if shown.mean() < LEAST_SHOWN:
        return None
    details = [_details(picture)[shown], _details(second.picture)[shown]]
    if min(part.std() for part in details) < LEAST_DETAIL:
        return None
    tones = correlation(picture[shown], second.picture[shown])
    return tones > SAME_PICTURE and correlation(*details) > SAME_DETAILS


def _details(picture: Rgb) -> npt.NDArray[np.float32]:
    values = picture.astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), _DETAIL_PX), dtype=np.float32)
