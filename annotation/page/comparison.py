"""Comparison: how far people agree, in numbers, as marks on a scale, and in words that say what the numbers rest on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..agreement import Agreement, Estimate, Gap, agreement
from ..desk import Desk

ENOUGH = 30  # units; an interval from fewer is wide, and its ends are doubtful
ONE_SIDED = 0.05
LEAST_ALPHA = -0.4  # where the scale begins; it ends at 1

_MEASURES = (
    ("verdict", "Whether a forgery is seen"),
    ("masi", "Which regions are chosen (MASI)"),
    ("jaccard", "Which regions are chosen (Jaccard)"),
    ("difficulty", "How hard it was to see"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure. `value`, `low`, `high` are told as they are, and placed on the scale, 0–1, by `at`, `start`, `end`.

    `units` were rated twice or more. `prevalence`: see `agreement.Estimate`. `few`: the number says little.
    `words` say what to make of it.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    at: float
    start: float
    end: float
    units: int
    pairs: int
    prevalence: float | None
    few: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the page tells of agreement: the numbers it rests on, alphas, alphas of each region, the texts.

    `enough`: from how many records on the numbers say something. `zero` and `chance`: where on the two scales, 0–1,
    chance lies.
    """

    found: Agreement
    measures: Sequence[Row]
    regions: Sequence[Row]
    text: Row
    enough: int
    zero: float
    chance: float


def comparison(desk: Desk) -> Comparison:
    """Return what the page tells of agreement; the same numbers as `mmtt annotate agreement` prints."""
    found = agreement(desk.counting, desk.rng("agreement"))
    regions = [_alpha(region, estimate) for region, estimate in found.regions.items() if estimate.prevalence]
    return Comparison(
        found=found,
        measures=[_alpha(told, getattr(found, name)) for name, told in _MEASURES],
        regions=sorted(regions, key=lambda row: (-(row.prevalence or 0), row.name)),
        text=_gap(found.text),
        enough=ENOUGH,
        zero=_on_scale(0.0, LEAST_ALPHA),
        chance=_on_scale(0.5, 0.0),
    )


def _alpha(name: str, found: Estimate) -> Row:
    return _row(name, found, LEAST_ALPHA, found.prevalence, " ".join(words(found)))


def _gap(found: Gap) -> Row:
    return _row("Texts of one record against those of two", found, 0.0, None, " ".join(words(found)))


def _row(name: str, found: Estimate | Gap, least: float, prevalence: float | None, words: str) -> Row:
    value = found.value or 0.0
    return Row(
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        at=_on_scale(value, least),
        start=_on_scale(value if found.low is None else found.low, least),
        end=_on_scale(value if found.high is None else found.high, least),
        units=found.units,
        pairs=found.pairs,
        prevalence=prevalence,
        few=found.units < ENOUGH,
        words=words,
    )


def _on_scale(value: float, least: float) -> float:
    return min(max((value - least) / (1 - least), 0.0), 1.0)


def words(found: Estimate | Gap) -> Iterator[str]:
    """Say what a number cannot bear. Krippendorff asks for 0.8, and draws tentative conclusions from 0.667 on."""
    if found.units == 0:
        yield "Nothing was answered by two people yet."
    elif found.value is None:
        yield "Everybody said the same." if isinstance(found, Estimate) else "From one record there is no telling."
    elif found.units < ENOUGH:
        yield f"Only {_records(found.units)}{': too few for an interval' if found.low is None else ''}."
    elif found.low is None:
        yield "No interval: what differs is too rare."
    prevalence = found.prevalence if isinstance(found, Estimate) and found.value is not None else None
    if prevalence is not None and not ONE_SIDED <= prevalence <= 1 - ONE_SIDED:
        yield "One-sided: a low number may mean nothing else."


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"
