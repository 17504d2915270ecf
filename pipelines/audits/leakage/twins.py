"""Twins: pairs of pictures in two splits that hashes and small copies propose as one.

Proposed is a pair within some bits, itself or mirrored, whose 8-px copies are alike; and which no lineage ties, since
what that says is asked by L1. Memory is flat: only the most alike are kept. `duplicates` and `backgrounds` look at what
is proposed, and judge.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example
from mmtt.evidence import Chunk, Evidence, chunks
from mmtt.images import decode_gray, decode_rgb
from mmtt.shards import Shard

from ...fingerprints import TINY_PX, Small, fingerprints, small
from ...near import Near, near_hashes
from ..counting import so_many
from .components import split_codes, ties

BITS, CURVE_BITS = 6, 12
# Correlation of 8-px copies. Backgrounds: of 1,940 pairs of forgeries of one drawn person, half of them JPEG at quality
# 50, 99 % have more; of pairs of strangers with hashes as near, 1 %.
ALIKE_BACKGROUND = 0.965
MOST_CONFIRMED = 10_000
_CURVE_ROWS = 2000
Hashes = npt.NDArray[np.uint64]
Tiny = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


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


class Side(NamedTuple):
    """What one audit compares: coded rows, their hashes, those of the mirrored pictures, and 8-px copies (N×8×8×3).

    dhashes: a second hash that must be near too, and the mirrored picture's.
    """

    rows: pd.DataFrame
    hashes: Hashes
    mirrored: Hashes
    tiny: Tiny
    dhashes: tuple[Hashes, Hashes] | None = None


def side_of(rows: pd.DataFrame, names: Sequence[str], tiny: str, dhashes: Sequence[str] = ()) -> Side:
    """Return what is compared of some coded rows, by the names of their columns: a hash, and the mirrored one."""
    plain, mirrored = (rows[name].to_numpy(np.uint64) for name in names)
    copies = np.frombuffer(b"".join(rows[tiny]), np.uint8).reshape(-1, TINY_PX, TINY_PX, 3)
    second = tuple(rows[name].to_numpy(np.uint64) for name in dhashes)
    return Side(rows, plain, mirrored, copies, (second[0], second[1]) if second else None)


class Bars(NamedTuple):
    """What two pictures need to be proposed.

    Hashes within `bits`, second hashes within `dhash_bits`, 8-px copies that correlate by `alike` or more.
    """

    bits: int
    alike: float
    dhash_bits: int = 64


class Proposed(NamedTuple):
    """Pairs of positions across splits that hashes propose, the most alike first, and what was counted on the way.

    within: at place d how many pairs across splits lie within d bits. dropped: how many more were proposed.
    tied: how many pairs across splits lie as near, but are tied by the lineage.
    """

    pairs: pd.DataFrame
    within: npt.NDArray[np.int64]
    dropped: int
    tied: int


def propose(side: Side, bars: Bars, *, forged_only: bool = False) -> Proposed:
    """Return the pairs of pictures in two splits, tied by nothing, that may be one."""
    count, apart = len(side.rows), _apart(side.rows, forged_only=forged_only)
    within = np.zeros(bars.bits + 1, np.int64)
    parts: list[pd.DataFrame] = []
    dropped = tied = 0
    tie, split = (side.rows[name].to_numpy() for name in ("tie", "split_code"))
    for near in near_hashes(np.concatenate([side.hashes, side.mirrored]), bars.bits):
        near = near.chosen(near.first < count)
        mirrored = near.second >= count
        near = near._replace(second=np.where(mirrored, near.second - count, near.second))
        same = (tie[near.first] == tie[near.second]) & (split[near.first] != split[near.second])
        tied += int((same & ~mirrored).sum())
        wanted = apart(near)
        within += np.cumsum(np.bincount(near.distance[wanted & ~mirrored], minlength=bars.bits + 1))
        near, mirrored = near.chosen(wanted), mirrored[wanted]
        parts.append(_likely(side, near, mirrored, bars))
        if sum(map(len, parts)) > 4 * MOST_CONFIRMED:
            parts, dropped = _cut(parts, dropped)
    parts, dropped = _cut(parts, dropped)
    return Proposed(parts[0], within, dropped, tied)


def _apart(rows: pd.DataFrame, *, forged_only: bool) -> Callable[[Near], Flags]:
    """Whether pairs lie in two splits, are not tied, and have other pixels (equal ones are counted without search)."""
    columns = [rows[name].to_numpy() for name in ("split_code", "tie", "pixels_code")]
    forged = rows["manipulation"].notna().to_numpy()

    def apart(near: Near) -> Flags:
        found = forged[near.first] | forged[near.second] if forged_only else np.ones(len(near.first), np.bool_)
        for codes in columns:
            found = found & (codes[near.first] != codes[near.second])
        return np.asarray(found, dtype=np.bool_)

    return apart


def _likely(side: Side, near: Near, mirrored: Flags, bars: Bars) -> pd.DataFrame:
    if side.dhashes is not None:
        plain, turned = side.dhashes
        other = np.where(mirrored, turned[near.second], plain[near.second])
        close = np.bitwise_count(plain[near.first] ^ other) <= bars.dhash_bits
        near, mirrored = near.chosen(close), mirrored[close]
    first, second = side.tiny[near.first], side.tiny[near.second]
    second = np.where(mirrored[:, None, None, None], second[:, :, ::-1], second)
    likeness = (_standard(first) * _standard(second)).mean(axis=1)
    low, high = np.minimum(near.first, near.second), np.maximum(near.first, near.second)
    table = pd.DataFrame({"first": low, "second": high, "mirrored": mirrored, "bits": near.distance, "alike": likeness})
    return table[table["alike"] >= bars.alike]


def _standard(pictures: npt.NDArray[np.uint8]) -> Floats:
    values = pictures.reshape(len(pictures), TINY_PX * TINY_PX * 3).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(values.std(axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _cut(parts: list[pd.DataFrame], dropped: int) -> tuple[list[pd.DataFrame], int]:
    """Keep the most alike, each pair once (a mirrored one is found from both of its sides)."""
    empty = pd.DataFrame({"first": [], "second": [], "mirrored": [], "bits": [], "alike": []})
    found = pd.concat([part for part in parts if len(part)] or [empty], ignore_index=True)
    found = found.sort_values(["alike", "first", "second", "mirrored"], ascending=[False, True, True, True])
    found = found.drop_duplicates(["first", "second"])
    return [found.head(MOST_CONFIRMED)], dropped + max(0, len(found) - MOST_CONFIRMED)


def curve(
    side: Side, within: npt.NDArray[np.int64], evidence: Evidence, *, forged_only: bool = False
) -> dict[str, int]:
    """Return how many pairs across splits lie within 0 to 12 bits: those of `within`, beyond from 2,000 rows drawn."""
    counted = len(within) - 1
    lots = evidence.drawn(side.rows.assign(at=np.arange(len(side.rows))), _CURVE_ROWS)["at"].to_numpy()
    more = np.zeros(CURVE_BITS + 1, np.int64)
    every, apart = np.arange(len(side.rows)), _apart(side.rows, forged_only=forged_only)
    for at in lots.tolist():
        distance = np.bitwise_count(side.hashes ^ side.hashes[at])
        close = (distance > counted) & (distance <= CURVE_BITS)
        found = Near(np.full(int(close.sum()), at), every[close], distance[close])
        more += np.bincount(found.distance[apart(found)], minlength=CURVE_BITS + 1)
    scaled = np.rint(np.cumsum(more) / 2 * len(side.rows) / max(len(lots), 1)).astype(int)
    return {
        str(bits): int(within[min(bits, counted)] + (scaled[bits] if bits > counted else 0))
        for bits in range(CURVE_BITS + 1)
    }


# --- pairs that were found ---


Copies = dict[int, Small]


def copies_of(evidence: Evidence, rows: pd.DataFrame, pairs: pd.DataFrame) -> Copies:
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


def placed(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of positions in some rows as positions in `evidence.rows`."""
    at = rows["at"].to_numpy()
    return pairs.assign(first=at[pairs["first"].to_numpy(np.int64)], second=at[pairs["second"].to_numpy(np.int64)])


def at_least(proposed: Proposed, found: int) -> str:
    """Return how many pairs were found, in words; more may have been proposed than was looked at."""
    return f"{'at least ' if proposed.dropped else ''}{so_many(found, 'pair')}"


def unseen(proposed: Proposed) -> str:
    """Return what a sentence that found none adds where not all that was proposed was looked at."""
    return f", of the {len(proposed.pairs):,} most alike that were looked at" if proposed.dropped else ""


def examples(evidence: Evidence, pairs: pd.DataFrame, what: str) -> tuple[Example, ...]:
    """The first pairs (positions in `evidence.rows`), the row of the later split first."""
    rows, found = evidence.rows, []
    for pair in pairs.head(MOST_EXAMPLES).itertuples():
        first, second = rows.iloc[int(pair.first)], rows.iloc[int(pair.second)]
        if first["split"] == "train":
            first, second = second, first
        why = f"{what} ({pair.kind}), {int(pair.bits)} bits apart, in {first['split']} and in {second['split']}"
        found.append(Example(first["record_id"], why, second["record_id"], evidence.variant))
    return tuple(found)
