"""Metrics: each score has one definition, in the module that is named here.

| score | module | over samples |
|---|---|---|
| IoU, precision, recall, F1, pooled IoU, pixel AUC | `localization` | forged ones; false alarm: pristine ones |
| region F1, micro and macro, and of each region | `regions` | from counts, samples with a reference |
| detection AUC | `detection` | pairs of a forged and a pristine one |
| grounding precision and recall, hallucinated, omitted regions | `grounding` | mean over forged ones |
| BLEU-1–4, ROUGE-L, CIDEr, METEOR | `captions` | samples with a reference |

Around them: `predictions` reads what models answered (by way of `json_lines` and `mask_files`), `truth` what a dataset
asks, `rows` scores one sample, `texts` brings the report scores, `aggregate` sums all to scores of all samples and of
parts, `bootstrap` gives intervals, `board` and `tables` show them.
A missing, doubled or unreadable answer scores zero: no overlap, an empty text, no region named, nothing claimed; as a
verdict, a false alarm or a count of hallucinated regions the worst there is. `mmtt.scoreboard` runs it all.
"""

from mmtt.metrics.bootstrap import Estimate, Resampling, estimate
from mmtt.metrics.captions import CaptionScores, bleu, caption_scores, meteor
from mmtt.metrics.detection import auc
from mmtt.metrics.localization import Localization, localize
from mmtt.metrics.predictions import Prediction, Predictions, read_predictions
from mmtt.metrics.regions import macro_f1, micro_f1, region_counts, region_f1
from mmtt.metrics.truth import Truth, read_truth

__all__ = [
    "CaptionScores",
    "Estimate",
    "Localization",
    "Prediction",
    "Predictions",
    "Resampling",
    "Truth",
    "auc",
    "bleu",
    "caption_scores",
    "estimate",
    "localize",
    "macro_f1",
    "meteor",
    "micro_f1",
    "read_predictions",
    "read_truth",
    "region_counts",
    "region_f1",
]
