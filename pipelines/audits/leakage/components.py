"""Components: rows that belong together because they share a target, a donor, a person or a photo.

Rows and what they share are the two sides of a graph; its connected components are what a split must not cut.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mmtt.evidence import Evidence

from ...near import Indices

# Names of one kind share a space: a donor is a record that may be somebody's target. Space, tie, column.
COLUMNS = (
    ("record", "target", "record_id"),
    ("record", "target", "target_id"),
    ("record", "donor", "source_id"),
    ("person", "group", "group_id"),
    ("person", "donor's group", "source_group_id"),
    ("component", "planned component", "component"),
    ("photo", "photo", "photo_sha256"),
    ("subject", "subject", "subject"),
)
DONORS = ("donor", "donor's group")
TIES = tuple(dict.fromkeys(tie for _, tie, _ in COLUMNS))


class Edges(NamedTuple):
    """What ties rows: row (position), the number of the thing that it shares, and by which tie, one each."""

    table: pd.DataFrame
    rows: int
    things: int


def edges(evidence: Evidence) -> Edges:
    """Return what ties the rows of a dataset, by the rows themselves and by the private lineage, where that is."""
    known = evidence.lineage[["record_id", "photo_sha256", "subject"]].drop_duplicates("record_id")
    rows = evidence.rows.merge(known, on="record_id", how="left")
    parts = []
    for space, tie, column in COLUMNS:
        named = rows[column].notna().to_numpy()
        values = space + ":" + rows.loc[named, column].astype(str)
        parts.append(pd.DataFrame({"row": np.flatnonzero(named), "value": values.to_numpy(), "tie": tie}))
    table = pd.concat(parts, ignore_index=True)
    codes, names = pd.factorize(table.pop("value"))
    return Edges(table.assign(thing=codes), len(rows), len(names))


def labels(found: Edges, pairs: tuple[Indices, Indices] | None = None, *, donors: bool = True) -> Indices:
    """Return the number of each row's component.

    Args:
        found: what ties rows.
        pairs: rows (positions) that are tied besides.
        donors: whether a donor ties what was made with its face.
    """
    table = found.table if donors else found.table[~found.table["tie"].isin(DONORS)]
    first, second = table["row"].to_numpy(), table["thing"].to_numpy() + found.rows
    if pairs is not None:
        first, second = np.concatenate([first, pairs[0]]), np.concatenate([second, pairs[1]])
    size = found.rows + found.things
    graph = sparse.coo_matrix((np.ones(len(first), np.bool_), (first, second)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][: found.rows], np.int64)


def ties(evidence: Evidence) -> Indices:
    """Return a number for each row, equal where the lineage says one photo or one person; donors tie nothing here."""
    return labels(edges(evidence), donors=False)


def split_codes(rows: pd.DataFrame) -> Indices:
    """Return a number for the split of each row."""
    return np.asarray(pd.factorize(rows["split"])[0], np.int64)


def crossing(found: Edges, rows: pd.DataFrame, tie: str) -> pd.DataFrame:
    """Return the things that a kind of tie carries into several splits, one row each: `first`, `second` (positions).

    A donor crosses where its own row, or one made with it, lies in another split than one made with it; what crosses
    without donors is not told again.
    """
    spaces = {name: space for space, name, _ in COLUMNS}
    members = [name for name, space in spaces.items() if space == spaces[tie]]
    own = [name for name in members if name not in DONORS]
    every = _spanning(found, rows, members if tie in DONORS else own)
    return every[~every.index.isin(_spanning(found, rows, own).index)] if tie in DONORS else every


def _spanning(found: Edges, rows: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    table = found.table[found.table["tie"].isin(kinds)]
    table = table.assign(split=split_codes(rows)[table["row"]]).sort_values(["thing", "split", "row"], kind="stable")
    by_thing = table.groupby("thing")
    ends = pd.DataFrame({"first": by_thing["row"].first(), "second": by_thing["row"].last()})
    return ends[(by_thing["split"].first() != by_thing["split"].last()).to_numpy()]
