"""Aggregates: rows of one predictor become scores with intervals, over all samples and over parts of them.

Every score but detection AUC is a function of sums over samples; so it can be computed for all draws of a bootstrap at
once. A draw in which a score has no value (no sample of the part was drawn) does not count towards its interval; a
score that rests on one group alone has no interval.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.metrics.bootstrap import Estimate, Resampling, estimate
from mmtt.metrics.detection import auc
from mmtt.metrics.regions import macro_f1, micro_f1, region_counts, region_f1
from mmtt.metrics.rows import ScoreRow
from mmtt.regions import REGIONS

Floats = npt.NDArray[np.float64]
Members = npt.NDArray[np.intp]
Blocks = Mapping[str, Floats]  # name -> N×k: what is summed; k is 1 for plain columns
Drawn = dict[str, Floats]  # score -> its value (row 0) and its draws
# Scores that are plain means over the samples in which they have a value.
MEANS = (
    "iou", "precision", "recall", "f1", "pixel_auc", "false_alarm",
    "grounding_precision", "grounding_recall", "hallucinated", "omitted",
)  # fmt: skip
DIMENSIONS = ("overall", "family", "region", "area", "variant")
_BASIS = {"pooled_iou": "iou", "region": "named", "bleu": "rouge_l"}  # other scores: which samples they rest on


class Part(NamedTuple):
    """Some of the samples: by which dimension, what they have in common, their places."""

    dimension: str
    name: str
    members: Members


@dataclass(frozen=True, slots=True)
class Cell:
    """The scores of one predictor on some of the samples; a score that has no value there is absent."""

    dimension: str
    name: str
    forged: int
    pristine: int
    groups: int
    scores: Mapping[str, Estimate]


def parts_of(rows: Sequence[ScoreRow]) -> list[Part]:
    """Return all samples, then the parts by family, edited region, area of the mask and variant.

    A family goes with all pristine faces, which its detection AUC needs; a sample is in the part of every region that
    was edited. Area: deciles, over these forged samples, of the share of the frame that the true mask covers; equal
    shares are in one decile.
    """
    edges = np.quantile([row.mask_share for row in rows if row.manipulation is not None] or [0.0], np.arange(11) / 10)
    areas = [f"{n}: {low:.1%}–{high:.1%}" for n, (low, high) in enumerate(pairwise(edges.tolist()), 1)]
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for label in _labels(row):
            found[label].append(place)
        if row.manipulation is not None:
            found["area", areas[np.searchsorted(edges[1:-1], row.mask_share, side="right")]].append(place)
    pristine = [place for place, row in enumerate(rows) if row.manipulation is None]
    for (dimension, _), members in found.items():
        members += pristine if dimension == "family" else []
    return [Part(*label, np.asarray(sorted(found[label]))) for label in sorted(found, key=partial(_order, areas))]


def _labels(row: ScoreRow) -> Iterator[tuple[str, str]]:
    yield "overall", "all"
    yield "variant", row.variant
    if row.manipulation is not None:
        yield "family", row.manipulation
        yield from (("region", word) for word in row.edited)


def _order(areas: Sequence[str], label: tuple[str, str]) -> tuple[int, int, str]:
    dimension, name = label
    known = {"region": REGIONS, "area": areas}.get(dimension, ())
    return DIMENSIONS.index(dimension), known.index(name) if name in known else 0, name


def blocks_of(rows: Sequence[ScoreRow]) -> dict[str, Floats]:
    """Return what the scores of rows are summed from: for each mean its values and how many there are, and counts."""
    found: dict[str, Floats] = {}
    for name in MEANS:
        found |= mean_block(name, [getattr(row, name) for row in rows])
    for name in ("intersection", "union"):
        found[name] = np.asarray([[getattr(row, name) or 0] for row in rows], np.float64).reshape(-1, 1)
    scored = [row.named is not None and row.referenced is not None for row in rows]
    named = [row.named or () if use else () for row, use in zip(rows, scored, strict=True)]
    true = [row.referenced or () if use else () for row, use in zip(rows, scored, strict=True)]
    known = np.asarray(scored, np.float64).reshape(-1, 1)
    return found | {"regions": region_counts(named, true).reshape(len(rows), -1), "#named": known}


def mean_block(name: str, values: Sequence[float | None]) -> dict[str, Floats]:
    """Return the two columns whose quotient of sums is a mean: values with 0 for None, and whether there is one."""
    filled = np.asarray([[0.0 if value is None else value] for value in values], np.float64).reshape(-1, 1)
    known = np.asarray([[value is not None] for value in values], np.float64).reshape(-1, 1)
    return {name: filled, f"#{name}": known}


def draw(
    blocks: Blocks,
    resampling: Resampling,
    members: Members,
    more: Callable[[Mapping[str, Floats]], Drawn] | None = None,
) -> Drawn:
    """Return every score of some samples in every draw; `more` derives further ones from sums of its own blocks."""
    names = list(blocks)
    widths = np.cumsum([blocks[name].shape[1] for name in names])[:-1]
    values = np.concatenate([blocks[name][members] for name in names], axis=1)
    split = np.split(resampling.sums(values, members), widths, axis=1)
    sums = dict(zip(names, split, strict=True))
    found = _scores(sums) | (more(sums) if more else {})
    for name in found:
        basis = _BASIS.get(name, _BASIS.get(name.split("_")[0], name))
        if resampling.groups(members[blocks[f"#{basis}"][members, 0] > 0]) < 2:
            found[name][1:] = np.nan  # all draws are alike, and say nothing
    return found


def _scores(sums: Mapping[str, Floats]) -> Drawn:
    means = [name for name in sums if f"#{name}" in sums]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Drawn = {name: sums[name][:, 0] / sums[f"#{name}"][:, 0] for name in means}
        found["pooled_iou"] = sums["intersection"][:, 0] / sums["union"][:, 0]
    counts = sums["regions"].reshape(-1, 3, len(REGIONS))
    found |= {"region_micro_f1": micro_f1(counts), "region_macro_f1": macro_f1(counts)}
    each = region_f1(counts)
    return found | {f"region_f1:{word}": each[:, place] for place, word in enumerate(REGIONS)}


def draw_detection(rows: Sequence[ScoreRow], resampling: Resampling, members: Members) -> Floats:
    """Return the detection AUC of some samples in every draw.

    A verdict that the predictor owes counts as the worst there is: below all others on a forged face, above all others
    on a pristine one.
    """
    chosen = [rows[place] for place in members]
    forged = np.asarray([row.manipulation is not None for row in chosen])
    worst = np.where(forged, -np.inf, np.inf)
    told = [row.verdict if row.verdict is not None else worst[place] for place, row in enumerate(chosen)]
    scores = np.asarray(told, np.float64)
    return np.concatenate([auc(scores, forged, weights) for weights in resampling.weights(members)])


def cell_of(part: Part, rows: Sequence[ScoreRow], drawn: Drawn, resampling: Resampling) -> Cell:
    """Return the scores of a part with their intervals."""
    forged = sum(rows[place].manipulation is not None for place in part.members)
    groups = resampling.groups(part.members)
    scores = {name: estimate(values, groups) for name, values in drawn.items()}
    single = part.dimension == DIMENSIONS[0]  # single regions are told for all samples alone
    known = {n: found for n, found in scores.items() if found.value is not None and (single or ":" not in n)}
    return Cell(part.dimension, part.name, forged, len(part.members) - forged, groups, known)
