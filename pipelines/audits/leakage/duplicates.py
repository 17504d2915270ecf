"""L2: one picture in two splits, exactly, recompressed, resized or mirrored."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmtt.audit import Finding, NotApplicable
from mmtt.evidence import Evidence

from ...grouping import same_picture
from .twins import (
    ALIKE_PICTURE,
    BITS,
    Copies,
    Proposed,
    Side,
    at_least,
    coded,
    copies_of,
    curve,
    examples,
    placed,
    propose,
    side_of,
)


class Duplicates(NamedTuple):
    """Pairs of rows across splits that show one picture.

    pairs: `first`, `second` as positions in `evidence.rows`, and `kind`: same pixels, near, or mirrored. Of pictures
    that are equal, one pair for each picture and two splits stands here, and `equal` counts them all.
    """

    pairs: pd.DataFrame
    equal: int
    side: Side
    proposed: Proposed

    @property
    def total(self) -> int:
        """How many pairs there are."""
        return self.equal + int((self.pairs["kind"] != "same pixels").sum())


def duplicates(evidence: Evidence) -> Duplicates:
    """Return the pictures that stand in two splits, of rows that are no forgery of another row; found once."""
    return evidence.once(_duplicates)


def _duplicates(evidence: Evidence) -> Duplicates:
    rows = evidence.once(coded)
    roots = rows[rows["whole"] & ~rows["target_id"].isin(set(rows["record_id"]))]
    side = side_of(roots, ("phash", "mirror_phash"), "tiny", ("dhash", "mirror_dhash"))
    proposed = propose(side, ALIKE_PICTURE)
    copies = copies_of(evidence, roots, proposed.pairs)
    kept = [_one_picture(pair, copies) for pair in proposed.pairs.itertuples()]
    near = proposed.pairs[np.array(kept, np.bool_)]
    near = near.assign(kind=np.where(near["mirrored"], "mirrored", "near"))
    pairs = pd.concat([_equal_examples(roots), near], ignore_index=True)
    return Duplicates(placed(roots, pairs), _equal_pairs(roots), side, proposed)


def _equal_pairs(rows: pd.DataFrame) -> int:
    """How many pairs have the same pixels, in two splits, tied by nothing: by counts, since they may be many."""
    keys = ("pixels_code", "split_code", "tie")
    squares = [
        int((rows.groupby(list(by)).size() ** 2).sum())
        for by in (keys[:1], keys[:2], (keys[0], keys[2]), keys)
    ]  # fmt: skip
    return (squares[0] - squares[1] - squares[2] + squares[3]) // 2


def _equal_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Pairs of positions with the same pixels: of each picture, its first row against its first in each other split."""
    numbered = rows.assign(position=np.arange(len(rows)))
    ends = numbered.drop_duplicates(["pixels_code", "split_code", "tie"])
    pairs = ends.merge(ends.drop_duplicates("pixels_code"), on="pixels_code", suffixes=("_b", "_a"))
    apart = (pairs["split_code_a"] != pairs["split_code_b"]) & (pairs["tie_a"] != pairs["tie_b"])
    found = pairs[apart]
    return pd.DataFrame(
        {"first": found["position_a"], "second": found["position_b"], "bits": 0, "alike": 1.0, "kind": "same pixels"}
    )


def _one_picture(pair: Any, copies: Copies) -> bool:
    first, second = copies[pair.first].picture, copies[pair.second].picture
    return same_picture(first[:, ::-1] if pair.mirrored else first, second)


def judge_duplicates(evidence: Evidence) -> Finding:
    """Count the pictures that stand in two splits: the same pixels, or one picture recompressed, resized or mirrored.

    Looked at are pristine pictures, and forged ones whose target is not there. Pairs that the lineage ties are L1's.
    """
    found = duplicates(evidence)
    if found.side.rows["split"].nunique() < 2:
        raise NotApplicable("Pictures that can be compared lie in one split only, so none can stand in two.")
    kinds = found.pairs["kind"].value_counts()
    counted = {"same pixels": found.equal} | {name: int(kinds.get(name, 0)) for name in ("near", "mirrored")}
    rows = evidence.once(coded)
    details = {
        "pairs across splits": counted,
        "pairs with the same pixels, forgeries included": _equal_pairs(rows[rows["whole"]]),
        "pairs that the lineage ties": found.proposed.tied,
        "proposed and looked at": len(found.proposed.pairs),
        "proposed and not looked at": found.proposed.dropped,
        "pictures that cannot be decoded": int((~rows["whole"]).sum()),
        "bits": BITS,
        "pairs across splits within so many bits": curve(found.side, found.proposed.within, evidence),
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counted.items() if count)
    return Finding(
        statistic=found.total,
        n=len(found.side.rows),
        of="pictures",
        sentence=f"{at_least(found.proposed)}{found.total:,} pairs of pictures in two splits are one picture ({told})."
        if found.total
        else f"No two of {len(found.side.rows):,} pictures in different splits are one picture.",
        details=details,
        worst=examples(evidence, found.pairs, "is the same picture"),
    )
