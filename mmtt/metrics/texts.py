"""Texts: the report scores of one predictor, as sums over samples that a bootstrap can draw.

What the scores are is in `mmtt.metrics.captions`. Samples without a reference are left out. A draw changes which texts
count, not which words are rare: CIDEr's document frequencies stay those of all references.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.metrics.aggregate import mean_block
from mmtt.metrics.captions import ORDERS, bleu, caption_scores, meteor
from mmtt.metrics.truth import LANGUAGE, references_of
from mmtt.samples import Sample

Floats = npt.NDArray[np.float64]


class TextScores(NamedTuple):
    """What report scores are summed from, and how they follow from sums; for `mmtt.metrics.aggregate.draw`.

    blocks: float64 N×k by name. derive: scores, float64 D each, from sums D×k of these blocks.
    """

    blocks: Mapping[str, Floats]
    derive: Callable[[Mapping[str, Floats]], dict[str, Floats]] | None


NO_TEXTS = TextScores({}, None)


def text_scores(texts: Sequence[str | None], samples: Sequence[Sample]) -> TextScores:
    """Return what the report scores of these texts are summed from; an absent text scores zero."""
    references = [[reference.text for reference in references_of(sample)] for sample in samples]
    scored = [place for place, those in enumerate(references) if those]
    found = caption_scores([texts[place] for place in scored], [references[place] for place in scored], LANGUAGE)
    counts = np.zeros((len(texts), found.counts.shape[1]))
    counts[scored] = found.counts
    rouge = dict(zip(scored, found.rouge_l.tolist(), strict=True))
    cider = dict(zip(scored, found.cider.tolist(), strict=True))
    means = {
        name: [of.get(place) for place in range(len(texts))] for name, of in (("rouge_l", rouge), ("cider", cider))
    }
    blocks: dict[str, Floats] = {"bleu": counts}
    for name, values in means.items():
        blocks |= mean_block(name, values)
    return TextScores(blocks, _bleu)


def _bleu(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return BLEU in each draw; NaN where no reference was drawn."""
    values = np.where(sums["bleu"][:, -1:] > 0, bleu(sums["bleu"]), np.nan)
    return {f"bleu_{n}": values[:, n - 1] for n in range(1, ORDERS + 1)}


def text_meteor(texts: Sequence[str | None], samples: Sequence[Sample]) -> float | None:
    """Return METEOR over the samples with a reference; it has no parts, hence no interval. None without Java."""
    pairs = [(text, references_of(sample)) for text, sample in zip(texts, samples, strict=True)]
    scored = [(text, [reference.text for reference in those]) for text, those in pairs if those]
    return meteor([text for text, _ in scored], [those for _, those in scored])
