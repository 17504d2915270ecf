"""Answers: from the comparison that counts to what an audit says of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding

from .contrasts import Build, Figure, Seen, strongest
from .separability import Separation, alone, importances, separate
from .shifts import Shift, shift

_MOST_NAMED = 8
InWords = Callable[[str, float, pd.Series], str]


def plainly(name: str, value: float, _: pd.Series) -> str:
    """Return what a feature of a row is, as part of a sentence."""
    return f"{name} is {value:.6g}"


def by_classifier(rows: pd.DataFrame, build: Build, what: str, *, seed: int, in_words: InWords = plainly) -> Finding:
    """Return how well a classifier tells classes apart by some features: AUC, which features, the surest rows.

    Args:
        rows: those that may be looked at.
        build: the features.
        what: a name for them, in the plural; a sentence starts with it.
        seed: of all that is drawn.
        in_words: how a feature, its value and the row that has it are told.

    Raises:
        NotApplicable: too few rows.
    """
    seen = strongest(rows, build, partial(separate, seed=seed), chance=0.5, seed=seed)
    assert isinstance(seen.figure, Separation)
    labels, details = seen.contrast.labels, {"AUC by family": seen.by_family}
    if seen.figure.low <= 0.5:
        return _finding(seen, _in_order(seen, what, beside_chance(seen.figure)), details, ())
    fall = importances(seen.features, labels, seen.contrast.groups, seed=seed)
    single = alone(seen.features, labels)
    details |= {"fall of AUC without": _first(fall), "AUC of one feature alone": _first(single)}
    # Where several features say the same, none is missed.
    leading = list(fall or single)[:3]
    worst = _surest(seen, seen.figure, leading[0], in_words)
    return _finding(seen, _in_order(seen, what, f"above all by {', '.join(leading)}"), details, worst)


def _in_order(seen: Seen, what: str, more: str) -> str:
    name, other = seen.contrast.sides
    share = f"{seen.figure.value:.0%} of all pairs of {name} and {other} rows"
    return f"{what} put {share} in the right order (a coin: 50%), {more}."


def beside_chance(figure: Figure) -> str:
    """Return what is to say of an AUC whose interval does not lie above that of a coin."""
    if figure.high < 0.5:
        return "fewer than by chance: what was learnt of some components is wrong of the others, which tells no class"
    return "which may be chance"


def _first(told: Mapping[str, float]) -> dict[str, float]:
    return dict(list(told.items())[:_MOST_NAMED])


def by_shift(rows: pd.DataFrame, build: Build, what: str, *, seed: int) -> Finding:
    """Return how far the distributions of some traces differ: distance, which trace, the rows farthest out.

    Args and errors are those of `by_classifier`.
    """
    seen = strongest(rows, build, shift, chance=0.0, seed=seed)
    assert isinstance(seen.figure, Shift)
    leading = max(seen.figure.by_trace, key=lambda name: seen.figure.by_trace[name])
    details = {"distance by family": seen.by_family, "distance by trace": seen.figure.by_trace}
    details |= _medians(seen)
    name, other = seen.contrast.sides
    points = f"{100 * seen.figure.value:.0f} percentage points"
    told = f"how many rows lie beyond some value differs by {points} between {name} and {other} rows"
    if seen.figure.low == 0:
        return _finding(seen, f"{what}, above all {leading}: {told}, which may be chance.", details, ())
    return _finding(seen, f"{what} differ, above all {leading}: {told}.", details, _farthest(seen, leading))


def _finding(seen: Seen, sentence: str, details: Mapping[str, Any], worst: Sequence[Example]) -> Finding:
    name, other = seen.contrast.sides
    labels = seen.contrast.labels
    counts = {name: int(labels.sum()), other: int((~labels).sum())}
    return Finding(
        statistic=seen.figure.value,
        low=seen.figure.low,
        high=seen.figure.high,
        n=len(labels),
        of="sampled rows",
        sentence=sentence,
        details={"compared rows": counts, **{key: value for key, value in details.items() if value}},
        worst=tuple(worst),
    )


def _surest(seen: Seen, figure: Separation, leading: str, in_words: InWords) -> list[Example]:
    """The rows that were rightly told with the highest score, each with the value of the leading feature."""
    name, other = seen.contrast.sides
    labels = pd.Series(seen.contrast.labels, seen.features.index)
    sure = (figure.scores - 0.5).where(labels, 0.5 - figure.scores)
    worst = []
    for at in sure[sure > 0].sort_values(ascending=False, kind="stable")[:MOST_EXAMPLES].index:
        row, value = seen.contrast.rows.loc[at], float(seen.features.loc[at, leading])
        told = f"told as {name if labels[at] else other} with score {figure.scores[at]:.2f}"
        worst.append(Example(row["record_id"], f"{told}; {in_words(leading, value, row)}"))
    return worst


def _farthest(seen: Seen, trace: str) -> list[Example]:
    """The rows of the class in question whose trace lies farthest from the other class's median."""
    values, labels = seen.features[trace], seen.contrast.labels
    middle = float(np.median(values[~labels]))
    far = (values[labels] - middle).abs().sort_values(ascending=False, kind="stable")[:MOST_EXAMPLES]
    records = seen.contrast.rows["record_id"]
    other = seen.contrast.sides[1]
    return [
        Example(records[at], f"{trace} is {values[at]:.3g}; the median of {other} rows is {middle:.3g}")
        for at in far.index
    ]


def _medians(seen: Seen) -> dict[str, dict[str, float]]:
    labels, (name, other) = seen.contrast.labels, seen.contrast.sides
    return {
        f"median of {side}": {str(trace): float(value) for trace, value in seen.features[rows].median().items()}
        for side, rows in ((name, labels), (other, ~labels))
    }
