"""Board: every predictor's scores beside one another, as plain data, Markdown and LaTeX."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from mmtt.metrics.aggregate import DIMENSIONS, Cell
from mmtt.metrics.bootstrap import LEVEL, Estimate
from mmtt.metrics.predictions import FAULTS, Fault
from mmtt.metrics.tables import KINDS, Table, by_kind, escape_markdown, markdown
from mmtt.regions import REGIONS

LISTED = 20  # faults that are listed; all are counted
_SHORT = {"iou": "IoU", "f1": "F1", "cider": "CIDEr", "rouge_l": "ROUGE-L"}


@dataclass(frozen=True, slots=True)
class Standing:
    """One predictor's scores.

    note: what one has to know of it. parts: what it gives. lacking: samples without a part that it gives elsewhere.
    cells: all samples first, then by family, region, area, variant.
    """

    name: str
    note: str
    parts: tuple[str, ...]
    lacking: Mapping[str, int]
    cells: tuple[Cell, ...]

    @property
    def overall(self) -> Mapping[str, Estimate]:
        """Scores on all samples."""
        return self.cells[0].scores


@dataclass(frozen=True, slots=True)
class Faults:
    """What was wrong with the predictions: how many of each kind, and the first of each.

    missing: samples without an answer. extra: ids that the dataset does not know. doubled: ids on several lines.
    unreadable: lines, masks and values. unasked: answers about records of another split or kind; no fault.
    """

    missing: int
    extra: int
    doubled: int
    unreadable: int
    unasked: int
    listed: tuple[Fault, ...]

    @property
    def any(self) -> bool:
        """Whether anything was wrong."""
        return bool(self.missing or self.extra or self.doubled or self.unreadable)


@dataclass(frozen=True, slots=True)
class Board:
    """The outcome of scoring one set of predictions.

    dataset: digest of what was read of it. forged, pristine, groups, referenced: samples asked, groups of them, samples
    with a reference. standings: the predictions first, then the trivial baselines. differences: of each baseline, the
    predictions' scores less its own, in the same draws. present: the scores that averaging over the answered ids alone
    would give, as the authors' script does.
    """

    dataset: str
    split: str
    variants: tuple[str, ...]
    forged: int
    pristine: int
    groups: int
    referenced: int
    draws: int
    seed: int
    faults: Faults
    standings: tuple[Standing, ...]
    differences: Mapping[str, Mapping[str, Estimate]]
    present: Mapping[str, float]

    def to_json(self) -> str:
        """Return everything but the rows as JSON."""
        return json.dumps(asdict(self), indent=1)


def tables_of(board: Board) -> list[Table]:
    """Return the tables: all samples, differences, single regions, then each dimension."""
    found = by_kind({standing.name: standing.overall for standing in board.standings})
    less = {f"less {name}": scores for name, scores in board.differences.items()}
    found += by_kind(less, f"{board.standings[0].name} less a baseline: ")
    return (
        found + list(_regions(board)) + [table for dimension in DIMENSIONS[1:] for table in _broken(board, dimension)]
    )


def _regions(board: Board) -> Iterator[Table]:
    names = [f"region_f1:{word}" for word in REGIONS]
    having = [standing for standing in board.standings if any(name in standing.overall for name in names)]
    head = ("", *(standing.name for standing in having))
    rows = ((name.split(":")[1], *(standing.overall.get(name) for standing in having)) for name in names)
    supported = tuple(row for row in rows if any(row[1:]))
    if supported:
        yield Table("F1 of each region", head, supported)


def _broken(board: Board, dimension: str) -> Iterator[Table]:
    """Yield a table for each of a few scores: parts down, predictors across."""
    for score, label in _SHORT.items():
        having = [standing for standing in board.standings if score in standing.overall]
        parts = [cell for cell in board.standings[0].cells if cell.dimension == dimension]
        if having and parts:
            head = (dimension, "forged", *(standing.name for standing in having))
            rows = tuple((cell.name, str(cell.forged), *_across(having, cell, score)) for cell in parts)
            yield Table(f"{label} by {dimension}", head, rows)


def _across(having: Sequence[Standing], cell: Cell, score: str) -> Iterator[Estimate | None]:
    for standing in having:
        own = {(c.dimension, c.name): c for c in standing.cells}.get((cell.dimension, cell.name))
        yield own.scores.get(score) if own else None


def page(board: Board) -> str:
    """Return the board as Markdown: what was asked, what was wrong, all tables."""
    return "\n".join([*_told(board, LISTED), "", markdown(tables_of(board))])


def summary(board: Board) -> str:
    """Return what a person wants to see at once: faults, and the tables over all samples."""
    tables = [table for table in tables_of(board) if table.title in KINDS]
    return "\n".join([*_told(board, LISTED // 5), "", markdown(tables)])


def _told(board: Board, listed: int) -> Iterator[str]:
    asked = f"{board.forged} forged and {board.pristine} pristine samples in {board.groups} groups"
    variants = ", ".join(map(escape_markdown, board.variants))
    yield f"Split {escape_markdown(board.split)}, {variants}: {asked}, {board.referenced} with a reference."
    if not board.referenced:
        yield "Without references neither reports nor named regions are scored."
    yield f"In brackets: {LEVEL:.0%} interval of a bootstrap by group, {board.draws} draws, seed {board.seed}."
    yield from _wrong(board.faults, listed)
    for standing in board.standings:
        grounded = "grounding_recall" in standing.overall
        told = " ".join([f"{standing.note}.", *_limits(frozenset(standing.parts), grounded)])
        yield f"- {escape_markdown(standing.name)}: {told}"
    lacking = ", ".join(f"{part} {count}" for part, count in board.standings[0].lacking.items() if count)
    if lacking:
        yield f"Scored zero, since absent or unreadable: {lacking}."
        present = ", ".join(f"{name} {value:.3f}" for name, value in board.present.items())
        yield f"On the ids present alone, which is no score: {escape_markdown(present) or 'nothing'}."
    yield from _unbeaten(board)


def _unbeaten(board: Board) -> Iterator[str]:
    """Yield which baselines the predictions do not beat: the difference, or its interval, reaches down to 0."""
    for score, label in (("iou", "IoU"), ("region_micro_f1", "region F1"), ("cider", "CIDEr")):
        less = {name: scores[score] for name, scores in board.differences.items() if score in scores}
        least = {name: found.value if found.low is None else found.low for name, found in less.items()}
        unbeaten = ", ".join(escape_markdown(name) for name, found in least.items() if found is None or found <= 0)
        if unbeaten:
            yield f"In {label} the predictions do not beat: {unbeaten}."


def _limits(parts: frozenset[str], grounded: bool) -> Iterator[str]:
    """Yield what cannot be scored of a predictor that gives these parts, and what stands in."""
    if "mask" not in parts:
        yield "No masks: localization is not scored."
    if "verdict" not in parts:
        yield "No verdicts: detection is not scored."
    if "report" not in parts:
        yield "No texts: reports and grounding are not scored."
    elif not grounded:
        yield "No landmarks, so nothing says where a region is: grounding is not scored."
    if "regions" not in parts:
        told = "are read out of its texts" if "report" in parts else "are not scored"
        yield f"No regions of its own: they {told}."


def _wrong(faults: Faults, listed: int) -> Iterator[str]:
    if not faults.any:
        yield "Every sample has exactly one readable answer."
    else:
        yield "Faults: " + ", ".join(f"{getattr(faults, kind)} {kind}" for kind in FAULTS) + "."
        first = [fault for kind in FAULTS for fault in [f for f in faults.listed if f.kind == kind][:listed]]
        for fault in first:
            yield f"- {fault.kind}: {escape_markdown(f'{fault.where}: {fault.what}')}"
        unlisted = sum(getattr(faults, kind) for kind in FAULTS) - len(first)
        if unlisted:
            yield f"- and {unlisted} more"
    if faults.unasked:
        yield f"{faults.unasked} answers are about records of another split or kind, and were not looked at."
