"""L2: one picture in two splits, exactly, recompressed, resized, mirrored, or moved a little.

Of copies of drawn people at 256 px it finds all that were moved by 2 px, 96 % of those by 3, 87 % by 4, 72 % by 5;
cropped by 2 % all round 99 %, by 3 % 89 %, by 5 % 28 %; turned by 2° all. What is found is limited by what hashes
propose: all that is proposed is recognised.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmtt.audit import Finding, NotApplicable
from mmtt.evidence import Evidence

from ...grouping import same_picture
from .moved import same_when_moved
from .twins import (
    Bars,
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
    unseen,
)

# A moved copy differs in more bits than a recompressed one; what is proposed too much is refused by its pixels.
BARS = Bars(bits=10, alike=0.94, dhash_bits=16)
_KINDS = ("near", "moved", "mirrored")


class Duplicates(NamedTuple):
    """Pairs of rows across splits that show one picture.

    pairs: `first`, `second` as positions in `evidence.rows`, and `kind`: same pixels, near, moved, or mirrored. Of
    pictures that are equal, one pair for each picture and two splits stands here, and `equal` counts them all.
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
    proposed = propose(side, BARS)
    copies = copies_of(evidence, roots, proposed.pairs)
    kinds = [_kind(pair, copies) for pair in proposed.pairs.itertuples()]
    near = proposed.pairs.assign(kind=np.array(kinds, dtype=object))
    near = near[near["kind"] != ""]
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


def _kind(pair: Any, copies: Copies) -> str:
    """How two rows show one picture: near, moved or mirrored; nothing where they do not."""
    first, second = copies[pair.first].picture, copies[pair.second].picture
    turned = np.ascontiguousarray(first[:, ::-1]) if pair.mirrored else first
    near = same_picture(turned, second)
    if not near and not same_when_moved(turned, second):
        return ""
    return "mirrored" if pair.mirrored else "near" if near else "moved"


def judge_duplicates(evidence: Evidence) -> Finding:
    """Count the pictures that stand in two splits, the same pixels or one recompressed, resized, mirrored or moved.

    Looked at are pristine pictures, and forged ones whose target is not there. Pairs that the lineage ties are L1's.
    """
    found = duplicates(evidence)
    if found.side.rows["split"].nunique() < 2:
        raise NotApplicable("Pictures that can be compared lie in one split only, so none can stand in two.")
    kinds = found.pairs["kind"].value_counts()
    counted = {"same pixels": found.equal} | {name: int(kinds.get(name, 0)) for name in _KINDS}
    rows = evidence.once(coded)
    details = {
        "pairs across splits": counted,
        "pairs with the same pixels, forgeries included": _equal_pairs(rows[rows["whole"]]),
        "pairs that the lineage ties": found.proposed.tied,
        "proposed and looked at": len(found.proposed.pairs),
        "proposed and not looked at": found.proposed.dropped,
        "pictures that cannot be decoded": int((~rows["whole"]).sum()),
        "bits": BARS.bits,
        "pairs across splits within so many bits": curve(found.side, found.proposed.within, evidence),
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counted.items() if count)
    return Finding(
        statistic=found.total,
        n=len(found.side.rows),
        of="pictures",
        sentence=f"One picture stands in two splits in {at_least(found.proposed, found.total)} ({told})."
        if found.total
        else f"No two of {len(found.side.rows):,} pictures in different splits are one, be it recompressed, mirrored, "
        f"moved or cropped by 1 % of the side{unseen(found.proposed)}; of larger moves some are missed.",
        details=details,
        worst=examples(evidence, found.pairs, "is the same picture"),
    )
