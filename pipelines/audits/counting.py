"""Counting rows at fault: the finding that a share of them makes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding
from mmtt.evidence import Evidence

from .shares import grouped_share

FINE = ""


def is_sample(evidence: Evidence, *, forged: bool = False) -> bool:
    """Return whether pixels were looked at of some (forged) rows only, so that what is found has an interval."""
    looked, there = evidence.sampled, evidence.rows
    if forged:
        looked, there = looked[looked["manipulation"].notna()], evidence.forged
    return len(looked) < len(there)


def so_many(count: int, singular: str, plural: str = "") -> str:
    """Return a number with what it counts: 1 pair, 2 pairs."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def why_of(index: pd.Index, *faults: tuple["pd.Series[bool]", str]) -> "pd.Series[str]":
    """Return for each row the sentence of the first fault that it has; `FINE` where it has none."""
    why = pd.Series(FINE, index=index, dtype=object)
    for at_fault, sentence in faults:
        why = why.mask(at_fault.astype(bool) & (why == FINE), sentence)
    return why


def share_at_fault(
    rows: pd.DataFrame,
    why: "pd.Series[str]",
    *,
    of: str,
    fault: str,
    sampled: bool,
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """Return the finding that some of these rows are at fault.

    Args:
        rows: columns record_id, variant, component; examples are taken in their order.
        why: for each row a sentence, `FINE` where it is not at fault.
        of: what the rows are, in the plural.
        fault: what those at fault do or are, as it goes on after "3 of 100 rows".
        sampled: whether the rows are a sample of all, so that their share has an interval.
        details: more figures; how many rows have which fault is added.
    """
    bad, n = why.loc[rows.index] != FINE, len(rows)
    share = grouped_share(bad, np.ones(n), rows["component"]) if sampled else None
    counted = f"{int(bad.sum()):,} of {n:,}" if bad.any() else f"None of {n:,}"
    return Finding(
        statistic=float(bad.mean()),
        low=share.low if share else None,
        high=share.high if share else None,
        n=n,
        of=of,
        sentence=f"{counted} {of} {fault}.",
        details={**(details or {}), **_counts(why[why != FINE])},
        worst=examples(rows[bad], why),
    )


def _counts(reasons: "pd.Series[str]") -> dict[str, dict[str, int]]:
    """How many rows have which fault; sentences that differ in their figures alone are one."""
    counted = reasons.astype(str).str.replace(r"-?\d[\d.,]*", "…", regex=True).value_counts()
    return {"rows by fault": {str(name): int(count) for name, count in counted.items()}} if len(counted) else {}


def examples(rows: pd.DataFrame, why: "pd.Series[str]") -> tuple[Example, ...]:
    """Return the first of some rows as examples, each with its sentence."""
    found = rows.iloc[:MOST_EXAMPLES]
    told = zip(found["record_id"], why.loc[found.index], found["variant"], strict=True)
    return tuple(Example(record_id, sentence, variant=variant) for record_id, sentence, variant in told)


def by(rows: pd.DataFrame, column: str, values: "pd.Series[Any]") -> dict[str, float]:
    """Return the mean of some values for each name in a column, such as each family; rows without a value left out."""
    known = values.dropna()
    means = known.astype(float).groupby(rows.loc[known.index, column]).mean()
    return {str(name): float(mean) for name, mean in means.items()}
