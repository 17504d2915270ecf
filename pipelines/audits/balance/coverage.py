"""F1: whether families and regions lie in the splits alike, and which cells are empty."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.recipe import SPLITS
from mmtt.regions import REGIONS

_DRAWS = 200
_MOST_TOLD = 40
_NO_REGION = "no region"
Floats = npt.NDArray[np.float64]


def judge_coverage(evidence: Evidence) -> Finding:
    """Measure how far the split of a record tells its family and region.

    Raises:
        NotApplicable: forged records lie in fewer than two splits.
    """
    if evidence.forged.empty:
        raise NotApplicable("Nothing is forged here.")
    table = _cells(evidence.forged)
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if len(splits) < 2:
        raise NotApplicable("All forged records are in one split, so nothing can be compared.")
    counts = pd.crosstab(table["cell"], table["split"])[splits]
    association, low, high, chance = _association(table, evidence.settings.seed)
    missing = counts[(counts == 0).any(axis=1)].sum(axis=1).sort_values(ascending=False, kind="stable")
    return Finding(
        statistic=association,
        low=low,
        high=high,
        n=len(table),
        of="forged records",
        sentence=f"Cramér's V between split and {_kind(table)} is {association:.2f}, where 0 is the same mix in every "
        f"split and 1 no kind in two; {len(missing) or 'none'} of {len(counts)} kinds are missing from a split.",
        details={
            "Cramér's V as it is": float(np.sqrt(_squares(counts.to_numpy(np.float64)))),
            "Cramér's V if whole groups were assigned by lot, mean": chance,
            "cells of family and region": len(counts),
            "cells that a split lacks": len(missing),
            "records in cells that a split lacks": {str(k): int(n) for k, n in missing.iloc[:_MOST_TOLD].items()},
            **_families(table, splits),
            **_smallest(table),
            **_donors(evidence.forged, splits),
        },
        worst=_worst(table, counts, missing),
    )


def _families(table: pd.DataFrame, splits: list[str]) -> dict[str, Any]:
    families = table["manipulation"].value_counts()
    shares = (families / families.sum()).to_numpy()
    return {
        "families": len(families),
        "effective number of families": float(np.exp(-(shares * np.log(shares)).sum())),
        "records by family and split": _nested(pd.crosstab(table["manipulation"], table["split"])[splits]),
        "records by area decile and split": _nested(pd.crosstab(table["decile"], table["split"])[splits]),
    }


def _kind(table: pd.DataFrame) -> str:
    return "family" if (table["region"] == _NO_REGION).all() else "kind (family and most edited region)"


def _cells(forged: pd.DataFrame) -> pd.DataFrame:
    """Return split, component, family, region of which most was edited, decile of the mask's area, and cell.

    A cell is a family and a region.
    """
    regions = [_most(words, shares) for words, shares in zip(forged["regions"], forged["region_shares"], strict=True)]
    deciles = np.minimum((forged["mask_share"].fillna(0) * 10).astype(int), 9)
    table = forged[["record_id", "split", "component", "manipulation"]].assign(region=regions)
    names = [f"{at * 10}–{at * 10 + 10} %" for at in range(10)]
    return table.assign(decile=[names[at] for at in deciles], cell=table["manipulation"] + ", " + table["region"])


def _most(words: Any, shares: Any) -> str:
    """Return the region of which the most was edited; of equals, the first in the paper's order."""
    if not len(words):
        return _NO_REGION
    return str(max(zip(shares, words, strict=True), key=lambda pair: (pair[0], -REGIONS.index(pair[1])))[1])


def _association(table: pd.DataFrame, seed: int) -> tuple[float, float, float, float]:
    """Return Cramér's V between split and cell, rid of what chance gives; the interval; and what chance gives.

    Groups are assigned as wholes, so that a large one moves many rows at once and V is never 0. What V² is when the
    groups' splits are exchanged at random is therefore taken off, as Bergsma (2013) takes off what independent rows
    would give; the interval comes from the spread of the exchanged ones.
    """
    cells, cell_names = pd.factorize(table["cell"], sort=True)
    groups, _ = pd.factorize(table["component"], sort=True)
    splits, split_names = pd.factorize(table["split"], sort=True)
    # A group that lies in several splits (L1 says so) counts in each: its rows are exchanged in parts.
    parts, part_of = np.unique(np.stack([groups, splits], axis=1), axis=0, return_inverse=True)
    rows = sparse.csr_matrix((np.ones(len(table)), (part_of.ravel(), cells)), shape=(len(parts), len(cell_names)))
    rng, own = np.random.default_rng(seed), parts[:, 1]
    squares = np.array(
        [
            _squares(_by_split(rows, assigned, len(split_names)))
            for assigned in [own, *(rng.permutation(own) for _ in range(_DRAWS))]
        ]
    )
    ends = np.percentile(squares[1:], [97.5, 2.5])
    value, low, high = (float(np.sqrt(max(squares[0] - off, 0))) for off in (squares[1:].mean(), *ends))
    return value, min(low, value), max(high, value), float(np.sqrt(squares[1:].mean()))


def _by_split(rows: Any, assigned: npt.NDArray[np.int64], count: int) -> Floats:
    one_hot = sparse.csr_matrix((np.ones(len(assigned)), (assigned, np.arange(len(assigned)))), (count, len(assigned)))
    return np.asarray((one_hot @ rows).toarray().T, dtype=np.float64)


def _squares(counts: Floats) -> float:
    """Return Cramér's V² of a table of counts, 0–1."""
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / max(counts.sum(), 1)
    chi_square = float((np.square(counts - expected) / np.where(expected > 0, expected, 1)).sum())
    freedom = min((counts.sum(axis=1) > 0).sum(), (counts.sum(axis=0) > 0).sum()) - 1
    return chi_square / (counts.sum() * freedom) if freedom > 0 else 0.0


def _smallest(table: pd.DataFrame) -> dict[str, Any]:
    sizes = table.groupby(["cell", "decile", "split"]).size().sort_values(kind="stable")
    return {
        "smallest cell of family, region, area and split": int(sizes.iloc[0]),
        "cells of one record": int((sizes == 1).sum()),
        "filled cells of family, region, area and split": len(sizes),
    }


def _donors(forged: pd.DataFrame, splits: list[str]) -> dict[str, Any]:
    donors = forged[forged["source_origin"].notna()]
    found = {"records by origin and split": _nested(pd.crosstab(forged["origin"], forged["split"])[splits])}
    if len(donors):
        counts = pd.crosstab(donors["source_origin"], donors["split"]).reindex(columns=splits, fill_value=0)
        found["records by donor's origin and split"] = _nested(counts)
    return found


def _nested(counts: pd.DataFrame) -> dict[str, dict[str, int]]:
    top = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:_MOST_TOLD]]
    return {str(name): {str(split): int(n) for split, n in row.items()} for name, row in top.iterrows()}


def _worst(table: pd.DataFrame, counts: pd.DataFrame, missing: "pd.Series[int]") -> tuple[Example, ...]:
    """Return a record of each of the largest cells that are missing from a split."""
    first = table.drop_duplicates("cell").set_index("cell")["record_id"]
    return tuple(
        Example(
            first[cell],
            f"{cell}: {int(count)} records, none in "
            + " or ".join(split for split, there in counts.loc[cell].items() if not there),
        )
        for cell, count in missing.iloc[:MOST_EXAMPLES].items()
    )
