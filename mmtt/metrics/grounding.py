"""Grounding: whether the regions that a predicted text calls wrong lie under the true mask.

`mmtt.lexicon.claimed` reads the claims, `mmtt.grounding.ground` judges them. Precision and recall are means over the
reports of forged samples in which they have a value. Hallucinated: claimed words without support, omitted: edited
regions that no claim accounts for; both counts per report.

Nobody gains by silence. A text that claims nothing where something was edited has a precision of zero, as an empty mask
has. A report that was promised and not given has a precision and recall of zero, omits all that was edited, and counts
as hallucinating what a text that names every region would.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mmtt import lexicon
from mmtt.grounding import Grounding, ground
from mmtt.metrics.truth import LANGUAGE
from mmtt.regions import REGIONS
from mmtt.samples import Sample


class Claims(NamedTuple):
    """How one text fits one mask; see `mmtt.grounding.Grounding`. hallucinated, omitted: how many words."""

    precision: float | None
    recall: float | None
    hallucinated: int
    omitted: int


@lru_cache(maxsize=4096)
def claimed(report: str) -> tuple[str, ...]:
    """Return the regions that an English report calls wrong; baselines repeat theirs thousands of times."""
    return lexicon.claimed(report, LANGUAGE)


def ground_report(report: str | None, sample: Sample) -> Claims:
    """Judge a predicted text, or the lack of one, against the sample's true mask."""
    words = claimed(report) if report is not None else ()
    fit = _ground(words, sample)
    silent = report is None or (not words and fit.recall is not None)
    worst = fit if report is not None else _ground(REGIONS, sample)
    return Claims(0.0 if silent else fit.precision, fit.recall, len(worst.unsupported), len(fit.omitted))


def _ground(words: Sequence[str], sample: Sample) -> Grounding:
    return ground(words, sample.regions, sayable=sample.sayable)
