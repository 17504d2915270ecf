"""Scoreboard: holds predictions against a dataset, always beside the trivial baselines.

Every sample of the chosen split and variants must have exactly one answer. What is missing, doubled or unreadable
scores zero in each score that it touches; an id that the dataset does not know is counted and told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmtt import trivial
from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.metrics.aggregate import Drawn, Part, blocks_of, cell_of, draw, draw_detection, parts_of
from mmtt.metrics.board import LISTED, Board, Faults, Standing, page, tables_of
from mmtt.metrics.board import summary as summary
from mmtt.metrics.bootstrap import DRAWS, Estimate, Resampling, estimate
from mmtt.metrics.captions import meteor_missing
from mmtt.metrics.predictions import FAULTS, PARTS, Fault, Key, Prediction, Predictions, image_id_of, read_predictions
from mmtt.metrics.rows import ScoreRow, lacking, score
from mmtt.metrics.tables import latex
from mmtt.metrics.texts import NO_TEXTS, TextScores, text_meteor, text_scores
from mmtt.metrics.truth import Truth, by_origin_id, read_truth, references_of, true_masks
from mmtt.progress import Progress, silent
from mmtt.record import MASTER
from mmtt.samples import Sample
from mmtt.shards import write_table

MODEL = "model"
# What the authors' script prints.
PRESENT_MASKS = ("iou", "precision", "recall")
PRESENT_TEXTS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider")
_WITH_DETECTION = ("overall", "family", "variant")


class Contender(NamedTuple):
    """Somebody whose answers are scored. promised: the parts that it gives at all; the others are not scored."""

    name: str
    note: str
    answers: Mapping[Key, Prediction]
    promised: frozenset[str]


@dataclass
class _Marked:
    """What a contender scored on each sample, in the samples' order, and what it wrote."""

    rows: list[ScoreRow] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)

    def add(self, row: ScoreRow, answer: Prediction | None) -> None:
        self.rows.append(row)
        self.texts.append(answer.report if answer else None)


def contenders(
    predictions: Predictions, baselines: Mapping[str, Mapping[Key, Prediction]], truth: Truth
) -> list[Contender]:
    """Return the predictions, then each trivial baseline; a baseline gives the same parts on every sample."""
    found = [Contender(MODEL, "the predictions", predictions, predictions.promised)]
    for name, answers in baselines.items():
        first = answers[truth.samples[0].key]
        promised = frozenset(part for part in PARTS if getattr(first, part) is not None)
        knows = ", and is told the family" if "family known" in name else ""
        found.append(Contender(name, f"trivial baseline, fitted on the train split{knows}", answers, promised))
    return found


def score_all(
    predictions: Predictions,
    truth: Truth,
    baselines: Mapping[str, Mapping[Key, Prediction]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    meteor: bool = False,
    progress: Progress = silent,
) -> tuple[Board, list[ScoreRow]]:
    """Score predictions and baselines in one pass over the true masks.

    Args:
        predictions: as `mmtt.metrics.predictions.read_predictions` reads them.
        truth: the samples that have to be answered.
        baselines: the answers of trivial baselines by name.
        draws: of the bootstrap; how many.
        seed: of the bootstrap.
        meteor: whether METEOR is computed, by Java.
        progress: tells a person that it moves.

    Returns:
        The board, and a row for each contender and sample.
    """
    those = contenders(predictions, baselines, truth)
    marked, present = _pass(those, predictions, truth, progress)
    resampling = Resampling([sample.group for sample in truth.samples], draws=draws, seed=seed)
    parts = parts_of(marked[MODEL].rows)
    drawn = {one.name: _drawn(one, marked[one.name], truth.samples, resampling, parts, meteor) for one in those}
    standings = tuple(_standing(one, marked[one.name].rows, parts, drawn[one.name], resampling) for one in those)
    groups = standings[0].cells[0].groups
    board = Board(
        dataset=truth.digest,
        split=truth.samples[0].split,
        variants=tuple(sorted({sample.variant for sample in truth.samples})),
        forged=standings[0].cells[0].forged,
        pristine=standings[0].cells[0].pristine,
        groups=groups,
        referenced=sum(bool(references_of(sample)) for sample in truth.samples),
        draws=draws,
        seed=seed,
        faults=_faults(predictions, truth),
        standings=standings,
        differences={one.name: _less(drawn[MODEL][0], drawn[one.name][0], groups) for one in those[1:]},
        present=_present(present, truth.samples),
    )
    return board, [row for one in those for row in marked[one.name].rows]


def _pass(
    those: Sequence[Contender], predictions: Predictions, truth: Truth, progress: Progress
) -> tuple[dict[str, _Marked], _Marked]:
    """Return what each contender scored; and what the predictions would, if the last of doubled answers counted."""
    marked, present = {one.name: _Marked() for one in those}, _Marked()
    for sample, mask in progress(truth.samples, true_masks(truth.samples)):
        for one in those:
            answer = one.answers.get(sample.key)
            doubled = one.name == MODEL and sample.key in predictions.doubled
            state = "doubled" if doubled else "missing" if answer is None else "given"
            row = score(one.name, sample, mask, answer, one.promised, state)
            marked[one.name].add(row, answer)
            if one.name == MODEL:
                last = predictions.last(sample.key) if doubled else answer
                present.add(score(MODEL, sample, mask, last, one.promised) if doubled else row, last)
    return marked, present


def _drawn(
    one: Contender,
    marked: _Marked,
    samples: Sequence[Sample],
    resampling: Resampling,
    parts: Sequence[Part],
    meteor: bool,
) -> list[Drawn]:
    texts = text_scores(marked.texts, samples) if "report" in one.promised else NO_TEXTS
    blocks = {**blocks_of(marked.rows), **texts.blocks}
    found = [draw(blocks, resampling, part.members, texts.derive) for part in parts]
    for part, scores in zip(parts, found, strict=True):
        if "verdict" in one.promised and part.dimension in _WITH_DETECTION:
            scores["detection_auc"] = draw_detection(marked.rows, resampling, part.members)
    if meteor and "report" in one.promised:
        value = text_meteor(marked.texts, samples)
        found[0] |= {} if value is None else {"meteor": np.array([value])}
    return found


def _standing(
    one: Contender, rows: Sequence[ScoreRow], parts: Sequence[Part], drawn: Sequence[Drawn], resampling: Resampling
) -> Standing:
    cells = [cell_of(part, rows, scores, resampling) for part, scores in zip(parts, drawn, strict=True)]
    return Standing(one.name, one.note, tuple(sorted(one.promised)), lacking(rows), tuple(cells))


def _less(model: Drawn, baseline: Drawn, groups: int) -> dict[str, Estimate]:
    """Return the paired differences of the scores that both have."""
    both = {name: estimate(model[name] - baseline[name], groups) for name in model if name in baseline}
    return {name: found for name, found in both.items() if found.value is not None}


def _present(present: _Marked, samples: Sequence[Sample]) -> dict[str, float]:
    """Return what averaging over readable answers alone gives: masks and texts each over their own."""
    places = range(len(samples))
    masks = [place for place in places if "mask" not in present.rows[place].lacking]
    texts = [place for place in places if present.texts[place] is not None]
    overlap = _plain([present.rows[place] for place in masks], NO_TEXTS)
    scored = text_scores([present.texts[place] for place in texts], [samples[place] for place in texts])
    told = _plain([present.rows[place] for place in texts], scored)
    found = {name: overlap.get(name) for name in PRESENT_MASKS} | {name: told.get(name) for name in PRESENT_TEXTS}
    return {name: value for name, value in found.items() if value is not None}


def _plain(rows: Sequence[ScoreRow], texts: TextScores) -> dict[str, float]:
    if not rows:
        return {}
    alone = Resampling([row.group for row in rows], draws=0)
    drawn = draw({**blocks_of(rows), **texts.blocks}, alone, np.arange(len(rows)), texts.derive)
    return {name: float(values[0]) for name, values in drawn.items() if np.isfinite(values[0])}


def _faults(predictions: Predictions, truth: Truth) -> Faults:
    asked, answered = {sample.key for sample in truth.samples}, predictions.answered()
    foreign = sorted(answered - asked)
    extra = [key for key in foreign if key not in truth.known]
    missing = [sample.key for sample in truth.samples if sample.key not in answered]
    told = [Fault("missing", image_id_of(key), "no line has this id") for key in missing]
    told += [Fault("extra", image_id_of(key), "the dataset has no such record or variant") for key in extra]
    told += predictions.faults
    of_kind = {kind: [fault for fault in told if fault.kind == kind] for kind in FAULTS}
    return Faults(
        **{kind: len(faults) for kind, faults in of_kind.items()},
        unasked=len(foreign) - len(extra),
        listed=tuple(f._replace(where=f.where[:80]) for faults in of_kind.values() for f in faults[:LISTED]),
    )


def write(board: Board, rows: Sequence[ScoreRow], out: Path) -> None:
    """Write `scores.json`, `scores.parquet`, `scores.md` and `scores.tex` into a folder; each whole or absent."""
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "scores.parquet", rows, ScoreRow)
    write_atomically(out / "scores.md", page(board).encode())
    write_atomically(out / "scores.tex", latex(tables_of(board)).encode())
    write_atomically(out / "scores.json", board.to_json().encode())


def run(
    predictions: Path,
    dataset: Path,
    *,
    split: str = "test",
    variants: Sequence[str] = (MASTER,),
    pristine: bool = False,
    inexact: bool = False,
    masks: Path | None = None,
    by_origin: bool = False,
    trivial_too: bool = True,
    meteor: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Board, list[ScoreRow]]:
    """Score a folder or file of predictions against a dataset; everything that `mmtt score` does but print.

    Raises:
        UserError: no such dataset, split, variant, folder or file; nothing to fit trivial baselines on; or METEOR is
            asked for where it cannot be computed.
    """
    why = meteor_missing() if meteor else None
    if why:
        raise UserError(f"{why}.")
    truth = read_truth(dataset, split=split, variants=variants, pristine=pristine, inexact=inexact)
    renamed = by_origin_id(truth.samples) if by_origin else None
    answers = read_predictions(predictions, masks, renamed)
    if trivial_too and not any(sample.manipulated for sample in truth.train):
        raise UserError(
            f"{dataset} has no forged sample in split 'train' to fit baselines on. Score with --no-trivial."
        )
    baselines = trivial.baselines(truth.train, truth.samples) if trivial_too else {}
    return score_all(answers, truth, baselines, seed=seed, meteor=meteor, progress=progress)
