"""L2 and L3: one picture, or forgeries of one photo, in two splits."""

from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Chunk, Evidence, chunks
from mmtt.images import Rgb, decode_gray, decode_rgb
from mmtt.shards import Shard

from ...fingerprints import Small, fingerprints, small
from ...grouping import SAME_PICTURE, same_picture
from .components import split_codes, ties
from .twins import (
    ALIKE_BACKGROUND,
    ALIKE_PICTURE,
    BITS,
    Proposed,
    Side,
    curve,
    propose,
    side_of,
)  # fmt: skip

# Correlation of details in 64-px copies: forgeries of one photo have 0.96 and more, of two photos 0.8 and less.
SAME_DETAILS, LEAST_DETAIL = 0.9, 1.0
LEAST_SHOWN = 0.1  # of the frame
_DETAIL_PX = 1.5


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


_FOUND: WeakKeyDictionary[Evidence, Duplicates] = WeakKeyDictionary()


def duplicates(evidence: Evidence) -> Duplicates:
    """Return the pictures that stand in two splits, of rows that are no forgery of another row; found once."""
    if evidence not in _FOUND:
        _FOUND[evidence] = _duplicates(evidence)
    return _FOUND[evidence]


def coded(evidence: Evidence) -> pd.DataFrame:
    """Return fingerprints of all rows with what twins are told by: split, tie and pixels as numbers, and positions."""
    rows, prints = evidence.rows, fingerprints(evidence)
    return prints.drop(columns=["shard", "row_group", "row"]).assign(
        **{name: rows[name] for name in ("record_id", "target_id", "manipulation", "split", "place")},
        at=np.arange(len(rows)),
        split_code=split_codes(rows),
        tie=ties(evidence),
        pixels_code=pd.factorize(prints["pixels"])[0],
    )


def _duplicates(evidence: Evidence) -> Duplicates:
    rows = coded(evidence)
    roots = rows[rows["whole"] & ~rows["target_id"].isin(set(rows["record_id"]))]
    side = side_of(roots, ("phash", "mirror_phash"), "tiny", ("dhash", "mirror_dhash"))
    proposed = propose(side, ALIKE_PICTURE)
    copies = _copies(evidence, roots, proposed.pairs)
    kept = [_one_picture(pair, copies) for pair in proposed.pairs.itertuples()]
    near = proposed.pairs[np.array(kept, np.bool_)]
    near = near.assign(kind=np.where(near["mirrored"], "mirrored", "near"))
    pairs = pd.concat([_equal_examples(roots), near], ignore_index=True)
    return Duplicates(_placed(roots, pairs), _equal_pairs(roots), side, proposed)


def _placed(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of positions in some rows as positions in `evidence.rows`."""
    at = rows["at"].to_numpy()
    return pairs.assign(first=at[pairs["first"].to_numpy(np.int64)], second=at[pairs["second"].to_numpy(np.int64)])


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


Copies = dict[int, Small]


def _copies(evidence: Evidence, rows: pd.DataFrame, pairs: pd.DataFrame) -> Copies:
    """The 64-px copies of all rows that some pairs name, by position in `rows`."""
    wanted = np.unique(pairs[["first", "second"]].to_numpy(np.int64))
    places = rows["at"].to_numpy()[wanted]
    pieces = chunks(evidence.rows.iloc[places])
    found = [copy for piece in evidence.map("audit: twins", _small, pieces) for copy in piece] if len(wanted) else []
    return {int(at): copy for at, copy in zip(wanted, found, strict=True)}


def _small(chunk: Chunk) -> list[Small]:
    found, shard = [], Shard(Path(chunk.shard))
    for group, places in groupby(chunk.places, key=lambda place: place[0]):
        table = shard.group(group, ("image", "mask"))
        for _, row in places:
            image, mask = (table.column(name)[row].as_py()["bytes"] for name in ("image", "mask"))
            found.append(small(decode_rgb(image), decode_gray(mask)))
    return found


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
    rows = coded(evidence)
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
        sentence=f"{_at_least(found.proposed)}{found.total:,} pairs of pictures in two splits are one picture ({told})."
        if found.total
        else f"No two of {len(found.side.rows):,} pictures in different splits are one picture.",
        details=details,
        worst=_examples(evidence, found.pairs, "is the same picture"),
    )


def _at_least(proposed: Proposed) -> str:
    return "At least " if proposed.dropped else ""


def _examples(evidence: Evidence, pairs: pd.DataFrame, what: str) -> tuple[Example, ...]:
    """The first pairs (positions in `evidence.rows`), the row of the later split first."""
    rows, found = evidence.rows, []
    for pair in pairs.head(MOST_EXAMPLES).itertuples():
        first, second = rows.iloc[int(pair.first)], rows.iloc[int(pair.second)]
        if first["split"] == "train":
            first, second = second, first
        why = f"{what} ({pair.kind}), {int(pair.bits)} bits apart, in {first['split']} and in {second['split']}"
        found.append(Example(first["record_id"], why, second["record_id"], evidence.variant))
    return tuple(found)


def judge_backgrounds(evidence: Evidence) -> Finding:
    """Count pairs in two splits that were forged from one photo, though no lineage says so.

    Hashes of what neither mask nor face covers propose; tones and details outside both masks decide. At least one of
    the two is forged. What is too plain there to tell is not counted, but told.
    """
    rows = coded(evidence)
    shown = rows[rows["backed"]]
    if shown["split"].nunique() < 2 or shown["manipulation"].isna().all():
        raise NotApplicable("No forgeries in two splits show a background beside mask and face.")
    side = side_of(shown, ("background", "mirror_background"), "tiny_background")
    proposed = propose(side, ALIKE_BACKGROUND, forged_only=True)
    copies = _copies(evidence, shown, proposed.pairs)
    likeness = [
        _backgrounds(copies[pair.first], copies[pair.second], pair.mirrored) for pair in proposed.pairs.itertuples()
    ]
    found = proposed.pairs[np.array([found is True for found in likeness], np.bool_)]
    pairs = _placed(shown, found.assign(kind=np.where(found["mirrored"], "mirrored", "as it is")))
    return Finding(
        statistic=len(pairs),
        n=len(shown),
        of="pictures",
        sentence=f"{_at_least(proposed)}{len(pairs):,} pairs in two splits share all that their masks leave free."
        if len(pairs)
        else f"No two of {len(shown):,} pictures in different splits share a background.",
        details={
            "pairs that the lineage ties": proposed.tied,
            "proposed and looked at": len(proposed.pairs),
            "proposed and not looked at": proposed.dropped,
            "too plain to tell": sum(found is None for found in likeness),
            "pictures without a background": int((rows["whole"] & ~rows["backed"]).sum()),
            "pairs across splits within so many bits": curve(side, proposed.within, evidence, forged_only=True),
        },
        worst=_examples(evidence, pairs, "has the same background"),
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
    tones = _correlation(picture[shown], second.picture[shown])
    return tones > SAME_PICTURE and _correlation(*details) > SAME_DETAILS


def _details(picture: Rgb) -> npt.NDArray[np.float32]:
    values = picture.astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), _DETAIL_PX), dtype=np.float32)


def _correlation(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    one, other = (values.astype(np.float64).ravel() for values in (first, second))
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).mean() / max(one.std() * other.std(), 1e-6))
