"""Contrasts: which rows a shortcut may tell apart, and which of several comparisons an audit answers with.

Where there are pristine rows, forged ones are compared with them, all together and each family by itself: a fault of
one family in nine drowns in the whole. Where there are none, each family is compared with all others.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import NotApplicable

from .separability import LEAST_GROUPS, LEAST_ROWS, enough

ALL = "forged"
Bools = npt.NDArray[np.bool_]


class Figure(Protocol):
    """A figure and its interval."""

    @property
    def value(self) -> float:
        """The figure."""
        ...

    @property
    def low(self) -> float:
        """Where its interval begins."""
        ...

    @property
    def high(self) -> float:
        """Where it ends."""
        ...


class Compare(Protocol):
    """How two classes are compared: `separability.separate`, `shifts.shift`."""

    def __call__(self, features: pd.DataFrame, labels: Bools, groups: Sequence[str], *, level: float) -> Figure:
        """Return the figure."""
        ...


class Contrast(NamedTuple):
    """One comparison: its name, the rows of both classes, which of them are of the class in question."""

    name: str
    rows: pd.DataFrame
    labels: Bools

    @property
    def groups(self) -> list[str]:
        """Each row's component."""
        return list(self.rows["component"])

    @property
    def sides(self) -> tuple[str, str]:
        """The class in question, and what it is compared with."""
        pristine = self.rows["manipulation"].isna().any()
        return self.name, "pristine" if pristine else "other forged"


# What may be seen of the rows of one comparison; rows of which nothing can be seen are left out.
Build = Callable[[Contrast, np.random.Generator], pd.DataFrame]


class Seen(NamedTuple):
    """A comparison that was made: of which rows, by what features, with what figure; by_family: of each family."""

    contrast: Contrast
    features: pd.DataFrame
    figure: Figure
    by_family: Mapping[str, float]


def contrasts(rows: pd.DataFrame) -> Iterator[Contrast]:
    """Yield the comparisons that some rows allow, forged against pristine first."""
    pristine = rows["manipulation"].isna().to_numpy()
    if pristine.any():
        yield Contrast(ALL, rows, ~pristine)
    for family in sorted(rows["manipulation"].dropna().unique()):
        own = (rows["manipulation"] == family).to_numpy()
        kept = own | pristine if pristine.any() else np.ones(len(rows), bool)
        yield Contrast(str(family), rows[kept], own[kept])


def strongest(rows: pd.DataFrame, build: Build, compare: Compare, *, chance: float, seed: int) -> Seen:
    """Make every comparison, and return the one that counts.

    That is forged against pristine, unless a family by itself lies beyond chance with its whole interval, and further
    than it: then the family whose interval begins highest. Intervals of families are widened to their number
    (Bonferroni), or of many families one would always stand out.

    Args:
        rows: with the columns manipulation and component.
        build: what is seen of them.
        compare: how.
        chance: the figure of classes that do not differ.
        seed: of what `build` draws.

    Raises:
        NotApplicable: no comparison has rows enough.
    """
    # In an order of their own: how a dataset is cut into shards decides no fold and no draw.
    built = [_seen(contrast, build, seed) for contrast in contrasts(rows.sort_values("record_id"))]
    possible = [(one, features) for one, features in built if enough(one.labels, one.groups)]
    if not possible:
        raise NotApplicable(_too_few([one for one, _ in built]))
    families = sum(one.name != ALL for one, _ in possible)
    found = []
    for one, features in possible:
        level = 0.95 if one.name == ALL else 1 - 0.05 / families
        found.append(Seen(one, features, compare(features, one.labels, one.groups, level=level), {}))
    by_family = {one.contrast.name: one.figure.value for one in found if one.contrast.name != ALL}
    return _that_counts(found, chance)._replace(by_family=by_family)


def _seen(contrast: Contrast, build: Build, seed: int) -> tuple[Contrast, pd.DataFrame]:
    """Build a comparison's features; of its rows only those remain of which there is something to see."""
    if not 0 < contrast.labels.sum() < len(contrast.labels):
        return contrast, pd.DataFrame(index=contrast.rows.index)
    features = build(contrast, np.random.default_rng([seed, zlib.crc32(contrast.name.encode())]))
    kept = contrast.rows.index.isin(features.index)
    return Contrast(contrast.name, contrast.rows[kept], contrast.labels[kept]), features.loc[contrast.rows.index[kept]]


def _that_counts(found: Sequence[Seen], chance: float) -> Seen:
    whole = found[0]
    if whole.contrast.name != ALL:
        return max(found, key=lambda one: one.figure.low)
    beyond = [one for one in found[1:] if one.figure.low > max(chance, whole.figure.low)]
    return max([whole, *beyond], key=lambda one: one.figure.low)


def _too_few(tried: Sequence[Contrast]) -> str:
    needed = f"A comparison needs {LEAST_ROWS} rows of {LEAST_GROUPS} groups on each side"
    if not tried:
        return f"{needed}; no sampled row can be looked at."
    if len(tried) == 1 and tried[0].labels.all():
        return f"{needed}; there are no pristine rows, and only one family ({tried[0].name})."
    largest = max(tried, key=lambda one: min(one.labels.sum(), (~one.labels).sum()))
    parts = [
        f"{int(side.sum())} {name} rows of {largest.rows['component'][side].nunique()} groups"
        for name, side in zip(largest.sides, (largest.labels, ~largest.labels), strict=True)
    ]
    return f"{needed}; at most {' and '.join(parts)} can be looked at."
