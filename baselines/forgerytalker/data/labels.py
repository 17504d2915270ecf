"""Labels: the text and the regions that a sample teaches."""

from collections.abc import Iterable

from mmtt.grounding import edited_regions
from mmtt.lexicon import claimed
from mmtt.reports import region_vector
from mmtt.samples import Reference, Sample

from ..config import DataConfig


def reference_of(sample: Sample, language: str) -> Reference | None:
    """Return the text that stands for a sample in a language (`en` also takes `en-GB`); None where there is none."""
    return next((text for text in sample.references if _speaks(text.language, language)), None)


def _speaks(tag: str, language: str) -> bool:
    tag, language = tag.lower(), language.lower()
    return tag == language or tag.startswith(f"{language}-")


def regions_of(sample: Sample, reference: Reference | None, config: DataConfig) -> tuple[int, ...]:
    """Return the 21-vector {0, 1} of a sample, from where `config.region_labels` says; all 0 if pristine."""
    return tuple(region_vector(_words(sample, reference, config) if sample.manipulated else ()))


def _words(sample: Sample, reference: Reference | None, config: DataConfig) -> Iterable[str]:
    if config.region_labels == "mask":
        return edited_regions(sample.regions)
    if reference is None:
        return ()
    return reference.regions if config.region_labels == "report" else claimed(reference.text, config.language)
