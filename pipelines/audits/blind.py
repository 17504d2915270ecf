"""Audits of blind answers: what masks and reports can be guessed without looking at the forgery.

Neither is gated: faces are aligned and forged where parts are, so that some of it is in the nature of the thing. A
model has to beat these figures, and they belong beside its own.
"""

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import UnidentifiedImageError

from mmtt.audit import MOST_EXAMPLES, Audit, Example, Finding, NotApplicable
from mmtt.errors import DamagedError
from mmtt.evidence import Chunk, Evidence, Pixels, chunks, records_of
from mmtt.metrics.bootstrap import Estimate, Resampling, estimate
from mmtt.metrics.captions import CaptionScores, bleu, caption_scores
from mmtt.metrics.localization import ALTERED_ABOVE, localize
from mmtt.metrics.predictions import Key, Prediction
from mmtt.metrics.truth import references_of, true_masks
from mmtt.samples import Sample
from mmtt.trivial import Trivial, fit

MOST = 1000  # samples of each split, drawn by digest
_GRID_PX = 64  # on which masks are compared to find the one most alike
_DRAWS = 500
_MASKS = ("mean mask", "mean mask, family known", "landmark box")
_REPORTS = ("central report", "report, family known")
_NEAREST = "report of the most similar mask"
Floats = npt.NDArray[np.float64]


def judge_masks(evidence: Evidence) -> Finding:
    """Score the masks that trivial baselines give: none of them sees the picture."""
    train, test = _drawn(evidence, "train"), _drawn(evidence, "test")
    answers = _fitted(evidence, train).predictions(test)
    scored, ious = _scored(test, answers)
    if not scored:
        raise NotApplicable("No mask in the test split can be decoded.")
    means = {name: float(np.mean(values)) for name, values in ious.items()}
    best = max(means, key=lambda name: means[name])
    found = _interval(np.array(ious[best]), scored, evidence.settings.seed)
    families = pd.Series(ious[best]).groupby([sample.manipulation for sample in scored]).mean()
    easiest = sorted(zip(ious[best], (s.record_id for s in scored), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return Finding(
        statistic=means[best],
        low=found.low,
        high=found.high,
        n=len(scored),
        of="test samples",
        sentence=f"Without looking at a picture, the baseline '{best}' reaches a mean IoU of {means[best]:.2f} on the "
        "masks of the test split.",
        details={
            "mean IoU": means,
            f"mean IoU by family, {best}": {str(name): float(value) for name, value in families.items()},
            "train samples": len(train),
        },
        worst=tuple(Example(record, f"guessed with an IoU of {iou:.2f}") for iou, record in easiest[:MOST_EXAMPLES]),
    )


def judge_reports(evidence: Evidence) -> Finding:
    """Score reports that are answered without looking at the picture."""
    train, test = _drawn(evidence, "train"), _drawn(evidence, "test")
    train, test = ([sample for sample in of if references_of(sample)] for of in (train, test))
    if not train or not test:
        raise NotApplicable("The train or the test split has no English reports, which the caption metrics need.")
    answers = _fitted(evidence, train).predictions(test)
    told = {name: [answers[name][sample.key].report for sample in test] for name in _REPORTS}
    told[_NEAREST] = _of_nearest(evidence, train, test)
    references = [[reference.text for reference in references_of(sample)] for sample in test]
    scores = {name: caption_scores(texts, references) for name, texts in told.items()}
    rouge = {name: float(found.rouge_l.mean()) for name, found in scores.items()}
    best = max(rouge, key=lambda name: rouge[name])
    found = _interval(scores[best].rouge_l, test, evidence.settings.seed)
    return Finding(
        statistic=rouge[best],
        low=found.low,
        high=found.high,
        n=len(test),
        of="test samples",
        sentence=f"Without looking at a picture, the baseline '{best}' reaches a ROUGE-L of {rouge[best]:.2f} on the "
        "reports of the test split.",
        details={**{name: _metrics(found) for name, found in scores.items()}, "train samples": len(train)},
        worst=tuple(
            Example(test[place].record_id, f"guessed with a ROUGE-L of {scores[best].rouge_l[place]:.2f}")
            for place in np.argsort(-scores[best].rouge_l, kind="stable")[:MOST_EXAMPLES]
        ),
    )


def _metrics(found: CaptionScores) -> dict[str, float]:
    return {
        "CIDEr": float(found.cider.mean()),
        "BLEU-4": float(bleu(found.counts.sum(axis=0))[3]),
        "ROUGE-L": float(found.rouge_l.mean()),
    }


def _drawn(evidence: Evidence, split: str) -> list[Sample]:
    rows = evidence.forged[evidence.forged["split"] == split]
    if rows.empty:
        raise NotApplicable(f"No forged record is in the {split} split.")
    return [evidence.samples[place] for place in evidence.drawn(rows, MOST)["place"]]


_FITTED: WeakKeyDictionary[Evidence, dict[tuple[str, ...], Trivial]] = WeakKeyDictionary()


def _fitted(evidence: Evidence, train: Sequence[Sample]) -> Trivial:
    """Return the baselines fitted on some samples, once: S5 and S6 mostly ask about the same."""
    known = _FITTED.setdefault(evidence, {})
    key = tuple(sample.record_id for sample in train)
    if key not in known:
        try:
            known[key] = fit(train, evidence.settings.seed)
        except DamagedError as error:
            raise NotApplicable(f"A picture of the train split cannot be decoded ({error}); M1 says which.") from error
    return known[key]


def _scored(
    samples: Sequence[Sample], answers: Mapping[str, Mapping[Key, Prediction]]
) -> tuple[list[Sample], dict[str, list[float]]]:
    """Return the samples that can be decoded, and each baseline's IoU on them."""
    scored: list[Sample] = []
    ious: dict[str, list[float]] = {name: [] for name in _MASKS if name in answers}
    for sample in samples:
        try:
            (_, truth) = next(true_masks([sample]))
            masks = {name: answers[name][sample.key].mask for name in ious}
        except (DamagedError, UnidentifiedImageError):  # M1 counts those
            continue
        scored.append(sample)
        for name, mask in masks.items():
            ious[name].append(0.0 if mask is None else localize(mask, truth).iou)
    return scored, ious


def _interval(values: Floats, samples: Sequence[Sample], seed: int) -> Estimate:
    resampling = Resampling([sample.group for sample in samples], draws=_DRAWS, seed=seed)
    members = np.arange(len(samples))
    sums = resampling.sums(np.stack([values, np.ones(len(values))], axis=1), members)
    return estimate(sums[:, 0] / sums[:, 1], resampling.groups(members))


def _of_nearest(evidence: Evidence, train: Sequence[Sample], test: Sequence[Sample]) -> list[str | None]:
    """Return for each test sample the report of the train record whose mask has the highest IoU with its own."""
    known, asked = _small_masks(evidence, train), _small_masks(evidence, test)
    there = [sample for sample in train if sample.record_id in known]
    if not there:
        raise NotApplicable("No mask in the train split can be decoded.")
    grid = np.stack([known[sample.record_id] for sample in there])
    areas = grid.sum(axis=1)
    found: list[str | None] = []
    for sample in test:
        mask = asked.get(sample.record_id)
        if mask is None:
            found.append(None)
            continue
        shared = grid @ mask
        ious = shared / np.maximum(areas + mask.sum() - shared, 1)
        found.append(references_of(there[int(ious.argmax())])[0].text)
    return found


def _small_masks(evidence: Evidence, samples: Sequence[Sample]) -> dict[str, npt.NDArray[np.float32]]:
    wanted = {sample.record_id for sample in samples}
    rows = evidence.forged[evidence.forged["record_id"].isin(wanted)]
    found = evidence.map("audit: masks", _shrunk, chunks(rows))
    return {record_id: mask for some in found for record_id, mask in some.items()}


def _shrunk(chunk: Chunk) -> Mapping[str, npt.NDArray[np.float32]]:
    """Return each record's mask on a small grid, flat, 0 or 1."""
    found = {}
    for record in records_of(chunk):
        try:
            mask = (Pixels(record).mask > ALTERED_ABOVE).astype(np.float32)
        except DamagedError:
            continue
        small = cv2.resize(mask, (_GRID_PX, _GRID_PX), interpolation=cv2.INTER_AREA)
        found[record.record_id] = (small >= 0.5).astype(np.float32).ravel()
    return found


AUDITS: tuple[Audit, ...] = (
    Audit(
        id="S5",
        title="Blind masks",
        question="How well are masks guessed without looking at the picture?",
        unit="mean IoU",
        judge=judge_masks,
    ),
    Audit(
        id="S6",
        title="Blind reports",
        question="How well are reports guessed without looking at the picture?",
        # CIDEr is 0 where all reports are one, the very case in which guessing is easiest.
        unit="ROUGE-L",
        judge=judge_reports,
    ),
)
