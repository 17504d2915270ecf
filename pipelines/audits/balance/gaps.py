"""F2: how much worse a model is on one group of records than on another."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.errors import UserError
from mmtt.evidence import Evidence
from mmtt.metrics.bootstrap import Resampling, estimate
from mmtt.scoreboard import MODEL

SCORES = "scores/scores.parquet"  # below the dataset's directory
_FEWEST = 5  # groups of people that a family or an origin needs
_DRAWS = 1000


def judge_gap(evidence: Evidence) -> Finding:
    """Compare a model's mean IoU between families, and between origins as if each had the same families."""
    table = _scores(evidence)
    resampling = Resampling(list(table["component"]), draws=_DRAWS, seed=evidence.settings.seed)
    families = _means(table, "manipulation", resampling)
    if len(families) < 2:
        raise NotApplicable(f"Fewer than two families have scores of {_FEWEST} groups of records or more.")
    ordered = sorted(families, key=lambda name: (families[name][0], name))
    worst, best = ordered[0], ordered[-1]
    found = estimate(families[best] - families[worst], min(_groups(table, name) for name in (best, worst)))
    equal = float(np.mean([drawn[0] for drawn in families.values()]))
    details: dict[str, Any] = {
        "mean IoU by family": {name: float(families[name][0]) for name in ordered},
        "mean IoU, every family counting alike": equal,
        "mean IoU, every record counting alike": float(table["iou"].mean()),
        **_origins(table),
    }
    lowest = table[table["manipulation"] == worst].sort_values(["iou", "record_id"]).head(MOST_EXAMPLES)
    return Finding(
        statistic=float(families[best][0] - families[worst][0]),
        low=found.low,
        high=found.high,
        n=len(table),
        of="scored records",
        sentence=f"The model's mean IoU is {families[worst][0]:.2f} on {worst} and {families[best][0]:.2f} on {best}.",
        details=details,
        worst=tuple(Example(row.record_id, f"{worst}: IoU {row.iou:.2f}") for row in lowest.itertuples()),
    )


def _scores(evidence: Evidence) -> pd.DataFrame:
    path = evidence.root / SCORES
    if not path.is_file():
        how = "`mmtt score PREDICTIONS DIR --out DIR/scores` writes them."
        raise NotApplicable(f"There are no scores of a model in {SCORES}. {how}")
    columns = ["predictor", "record_id", "variant", "iou"]
    try:
        read = pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"{path} holds no scores ({error}). Score again: `mmtt score … --out {path.parent}`."
        ) from error
    own = read[(read["predictor"] == MODEL) & (read["variant"] == evidence.variant) & read["iou"].notna()]
    table = own.merge(evidence.forged[["record_id", "manipulation", "origin", "component"]], on="record_id")
    if table.empty:
        raise NotApplicable(f"{SCORES} holds no IoU of a forged record of this dataset.")
    return table


def _groups(table: pd.DataFrame, family: str) -> int:
    return int(table.loc[table["manipulation"] == family, "component"].nunique())


def _means(table: pd.DataFrame, column: str, resampling: Resampling) -> dict[str, npt.NDArray[np.float64]]:
    """Return each group's mean IoU in every draw, row 0 being no draw; groups of too few people are left out."""
    found = {}
    for name, rows in table.groupby(column):
        if rows["component"].nunique() >= _FEWEST:
            values = np.stack([rows["iou"].to_numpy(np.float64), np.ones(len(rows))], axis=1)
            sums = resampling.sums(values, rows.index.to_numpy())
            found[str(name)] = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
    return found


def _origins(table: pd.DataFrame) -> dict[str, Any]:
    """Return the mean IoU by origin, averaged over the families that all origins have."""
    cells = table.pivot_table(index="origin", columns="manipulation", values="iou", aggfunc="mean").dropna(axis=1)
    if len(cells) < 2 or cells.empty:
        return {}
    means = cells.mean(axis=1)
    return {
        "mean IoU by origin, families counting alike": {str(name): float(value) for name, value in means.items()},
        "gap between origins": float(means.max() - means.min()),
    }
