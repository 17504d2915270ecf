"""Trivial baselines: what can be answered without tracing anything. Every model is printed beside them.

All are fitted on the samples of the train split. Of the sample that they answer they see its picture, its landmarks
and, where the name says so, its family; never its mask, regions or texts.

| name | mask | report | regions | verdict |
|---|---|---|---|---|
| `mean mask` | mean of the train masks | | the words named most often | share of forgeries |
| `mean mask, family known` | mean of the family's train masks | | the same, within the family | |
| `landmark box` | bounding box of the face oval; the whole frame of a face without landmarks | | | |
| `central report` | | most central report | its regions | |
| `report, family known` | | most central report of the family | its regions | |
| `nearest picture` | of the nearest train picture | its report | its regions | whether it is forged |

- *Mean mask*: mean of the forged samples' masks on a square of `GRID_PX`, at the threshold out of `THRESHOLDS` that
  gives the best mean IoU on at most `MOST_MASKS` of them. Stored so that values above 127 are those at the threshold or
  above, in the order of the mean. A pristine sample's family is known to be unaltered: its mask is empty.
- *Words named most often*: how often each is, stored so that 0.5 is the share from which on naming a word of everybody
  gives the best micro F1 on the train split.
- *Most central report*: the one whose mean similarity to the others is highest; among equals the first by alphabet.
  Similarity is that of `mmtt.centrality`, on the tokens of `mmtt.metrics.ptb`. Of a record counts the text that stands
  for it, of at most `MOST_REPORTS` records.
- *Nearest picture*: least Hamming distance of `mmtt.images.perceptual_hash`, then by id; only pictures with a report,
  where any has one.

What the train split lacks is left out: reports, landmarks, or a verdict where all or none is forged.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mmtt.centrality import centrality
from mmtt.errors import UserError
from mmtt.faces import Face
from mmtt.grounding import edited_regions
from mmtt.images import Gray, decode_gray, decode_rgb, perceptual_hash
from mmtt.landmarks import UNKNOWN
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.metrics.predictions import Key, Prediction
from mmtt.metrics.ptb import tokenize
from mmtt.metrics.truth import references_of
from mmtt.regions import oval
from mmtt.samples import Reference, Rows, Sample

GRID_PX = 256
THRESHOLDS = 64  # evenly between 0 and the mean's maximum
MOST_MASKS = 1000
MOST_REPORTS = 1000
PRISTINE = "pristine"
Floats = npt.NDArray[np.float64]
Answer = Callable[[Sample], Prediction]


class Answers(Mapping[Key, Prediction]):
    """One baseline's answers by (record_id, variant), each worked out when asked for."""

    def __init__(self, samples: Iterable[Sample], answer: Answer) -> None:
        self._samples, self._answer = {sample.key: sample for sample in samples}, answer

    def __getitem__(self, key: Key) -> Prediction:
        return self._answer(self._samples[key])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


@dataclass(frozen=True)
class Trivial:
    """The fitted baselines: how each answers a sample, by name, in the order of the table above."""

    answers: Mapping[str, Answer]

    def predictions(self, samples: Sequence[Sample]) -> dict[str, Mapping[Key, Prediction]]:
        """Return each baseline's answers to some samples; nothing is computed before it is looked up."""
        return {name: Answers(samples, answer) for name, answer in self.answers.items()}


def baselines(train: Sequence[Sample], samples: Sequence[Sample], seed: int = 0) -> dict[str, Mapping[Key, Prediction]]:
    """Return each trivial baseline's answers to some samples, by name.

    Args:
        train: what they are fitted on.
        samples: what they answer; each answer is worked out when it is looked up.
        seed: decides which masks and reports are drawn where there are more than `MOST_MASKS`, `MOST_REPORTS`.

    Raises:
        UserError: `train` holds no forged sample.
    """
    return fit(train, seed).predictions(samples)


def fit(train: Sequence[Sample], seed: int = 0) -> Trivial:
    """Fit the trivial baselines; the order of `train` does not matter.

    Raises:
        UserError: `train` holds no forged sample.
    """
    if not any(sample.manipulated for sample in train):
        raise UserError("The train split holds no forged sample; trivial baselines need some.")
    train = sorted(train, key=_place)
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in train:
        families[_family(sample)].append(sample)
    alone: dict[str, Answer] = {"landmark box": _LandmarkBox()} if any(sample.sayable for sample in train) else {}
    nearest: dict[str, Answer] = {"nearest picture": _Nearest(train)}
    return Trivial({**_masks(train, families, seed), **alone, **_reports(train, families, seed), **nearest})


def _place(sample: Sample) -> tuple[Path, int, int]:
    return sample.shard, sample.row_group, sample.row


def _family(sample: Sample) -> str:
    return sample.manipulation or PRISTINE


def _drawn(samples: Sequence[Sample], most: int, seed: int) -> list[Sample]:
    """Return at most so many samples, drawn at random whatever their order was."""
    ordered = sorted(samples, key=lambda sample: sample.key)
    if len(ordered) <= most:
        return ordered
    places = np.random.default_rng(seed).choice(len(ordered), most, replace=False)
    return [ordered[place] for place in sorted(places)]


def _masks(train: Sequence[Sample], families: Mapping[str, Sequence[Sample]], seed: int) -> dict[str, Answer]:
    means = _mean_masks(train)
    overall = Prediction(_leveled(means[None], train, seed), None, _rates(train), _forged_share(train))
    known = {
        family: Prediction(_leveled(means[family], samples, seed), None, _rates(samples))
        for family, samples in families.items()
        if family != PRISTINE
    }
    known[PRISTINE] = Prediction(np.zeros((GRID_PX, GRID_PX), np.uint8), None, {})
    strange = Prediction(overall.mask, None, overall.regions)  # a family that the train split lacks
    return {
        "mean mask": lambda _: overall,
        "mean mask, family known": lambda sample: known.get(_family(sample), strange),
    }


def _mean_masks(train: Sequence[Sample]) -> dict[str | None, Floats]:
    """Return the mean mask of each family, and under None of all forged samples: float64 grid×grid, 0–1."""
    rows = Rows(("mask",))
    sums: dict[str | None, Floats] = defaultdict(lambda: np.zeros((GRID_PX, GRID_PX)))
    counts: Counter[str | None] = Counter()
    for sample in train:
        if sample.manipulated:
            mask = _coverage(rows, sample)
            for name in (sample.manipulation, None):
                sums[name] += mask
                counts[name] += 1
    return {name: total / counts[name] for name, total in sums.items()}


def _coverage(rows: Rows, sample: Sample) -> npt.NDArray[np.float32]:
    """Return which share of each cell of the grid a sample's mask covers, float32 grid×grid, 0–1."""
    mask = (decode_gray(rows(sample)["mask"]) > ALTERED_ABOVE).astype(np.float32)
    return np.asarray(cv2.resize(mask, (GRID_PX, GRID_PX), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _leveled(mean: Floats, samples: Sequence[Sample], seed: int) -> Gray:
    """Return a mean mask as uint8 in the same order, with the best threshold between 127 and 128."""
    forged = _drawn([sample for sample in samples if sample.manipulated], MOST_MASKS, seed)
    top = max(float(mean.max()), 1e-12)
    levels: Floats = np.linspace(0, top, THRESHOLDS + 1, dtype=np.float64)[1:]
    threshold = levels[_mean_iou(mean, levels, forged).argmax()]
    below = np.floor(mean / threshold * 128).clip(0, 127)
    above = 128 + np.round((mean - threshold) / max(top - threshold, 1e-12) * 127).clip(0, 127)
    return np.where(mean >= threshold, above, below).astype(np.uint8)


def _mean_iou(mean: Floats, levels: Floats, samples: Sequence[Sample]) -> Floats:
    """Return the mean IoU on the grid at each threshold, float64: one histogram of each mask gives all of them."""
    rows, bins = Rows(("mask",)), np.searchsorted(levels, mean.ravel(), side="right")  # how many levels are reached
    predicted = _reached(np.bincount(bins, minlength=len(levels) + 1))
    total = np.zeros(len(levels))
    for sample in sorted(samples, key=_place):
        mask = _coverage(rows, sample).ravel() >= 0.5
        shared = _reached(np.bincount(bins[mask], minlength=len(levels) + 1))
        total += shared / np.maximum(predicted + np.count_nonzero(mask) - shared, 1)
    return total / max(len(samples), 1)


def _reached(counts: npt.NDArray[np.int64]) -> Floats:
    """Return from counts by levels reached, 0 to K, how many pixels reach each of the K levels."""
    return np.cumsum(counts[::-1])[::-1][1:].astype(np.float64)


def _rates(samples: Sequence[Sample]) -> dict[str, float]:
    """Return how often each region is named by the samples' reports, or is edited where there are none.

    Moved, in their order, so that 0.5 is the share from which on naming a region to everybody gives the best micro F1.
    """
    said = [references_of(sample)[0].regions for sample in samples if references_of(sample)]
    chosen = said or [edited_regions(sample.regions) for sample in samples]
    counts = Counter(word for words in chosen for word in set(words))
    if not counts:
        return {}
    ordered = sorted(counts.values(), reverse=True)
    scores = [sum(ordered[:k]) / (k * len(chosen) + sum(ordered)) for k in range(1, len(ordered) + 1)]
    least = ordered[int(np.argmax(scores))]
    return {word: _moved(count, least, len(chosen)) for word, count in sorted(counts.items())}


def _moved(count: int, least: int, most: int) -> float:
    """Return 0–1 in the order of the counts: 0.5 at `least`, 1 at `most`."""
    if count < least:
        return 0.5 * count / least
    return 0.5 + 0.5 * (count - least) / max(most - least, 1)


def _forged_share(samples: Sequence[Sample]) -> float | None:
    share = sum(sample.manipulated for sample in samples) / len(samples)
    return share if 0 < share < 1 else None


def _reports(train: Sequence[Sample], families: Mapping[str, Sequence[Sample]], seed: int) -> dict[str, Answer]:
    overall = _central(train, seed)
    if overall is None:
        return {}
    known = {family: _central(samples, seed) or overall for family, samples in families.items()}
    return {
        "central report": lambda _: _told(overall),
        "report, family known": lambda sample: _told(known.get(_family(sample), overall)),
    }


def _told(reference: Reference) -> Prediction:
    return Prediction(None, reference.text, dict.fromkeys(reference.regions, 1.0))


def _central(samples: Sequence[Sample], seed: int) -> Reference | None:
    """Return the most central of the reports that stand for some records; None where there is none."""
    with_texts = {sample.record_id: sample for sample in sorted(samples, key=lambda s: s.key) if references_of(sample)}
    references = [references_of(sample)[0] for sample in _drawn(list(with_texts.values()), MOST_REPORTS, seed)]
    if not references:
        return None
    likeness = centrality([tokenize(reference.text) for reference in references])
    return min(zip(likeness, references, strict=True), key=lambda pair: (-round(pair[0], 9), pair[1].text))[1]


class _LandmarkBox:
    """Answers with the bounding box of the face oval."""

    def __init__(self) -> None:
        self._rows = Rows(("image", "landmarks", "landmark_scheme"), kept_groups=1)

    def __call__(self, sample: Sample) -> Prediction:
        row = self._rows(sample)
        width, height = Image.open(BytesIO(row["image"])).size
        if row["landmark_scheme"] == UNKNOWN:
            return Prediction(np.full((height, width), 255, np.uint8))
        points = oval(Face(np.asarray(row["landmarks"], np.float32), row["landmark_scheme"]))
        left, top = np.floor(points.min(axis=0)).astype(int).clip(0)
        right, bottom = np.ceil(points.max(axis=0)).astype(int).clip(-1) + 1
        mask = np.zeros((height, width), np.uint8)
        mask[top:bottom, left:right] = 255
        return Prediction(mask)


class _Nearest:
    """Answers with what is true of the train picture whose perceptual hash is nearest."""

    def __init__(self, train: Sequence[Sample]) -> None:
        told = [sample for sample in train if references_of(sample)] or train
        self._verdicts = _forged_share(train) is not None
        self._train = sorted(told, key=lambda sample: sample.key)  # so that the first of several nearest is the one
        self._images, self._masks = Rows(("image",), kept_groups=1), Rows(("mask",))

    @cached_property
    def _hashes(self) -> npt.NDArray[np.uint64]:
        """Of the train pictures, in the order of `_train`; every picture is read for it, so only when asked for."""
        hashes = {sample.key: _hash(self._images, sample) for sample in sorted(self._train, key=_place)}
        return np.asarray([hashes[sample.key] for sample in self._train], np.uint64)

    def __call__(self, sample: Sample) -> Prediction:
        distances = np.bitwise_count(self._hashes ^ _hash(self._images, sample))
        nearest = self._train[int(distances.argmin())]
        references = references_of(nearest)
        text = references[0].text if references else None
        words = references[0].regions if references else edited_regions(nearest.regions)
        verdict = float(nearest.manipulated) if self._verdicts else None
        return Prediction(decode_gray(self._masks(nearest)["mask"]), text, dict.fromkeys(words, 1.0), verdict)


def _hash(images: Rows, sample: Sample) -> np.uint64:
    return np.uint64(int(perceptual_hash(decode_rgb(images(sample)["image"])), 16))
