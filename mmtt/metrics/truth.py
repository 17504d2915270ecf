"""Truth: the samples that have to be answered, and their masks as they lie in the shards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtt.errors import UserError
from mmtt.images import Gray, decode_gray
from mmtt.record import MASTER
from mmtt.samples import Reference, Rows, Sample, digest_of, keys_of, of_split, read_samples

LANGUAGE = "en"  # what the caption metrics' tokeniser reads


@dataclass(frozen=True, slots=True)
class Truth:
    """What predictions are held against.

    digest: of what was read of the dataset. samples: each must have exactly one answer. train: undegraded samples of
    the same kinds in the train split, for baselines. known: record and variant of every row of the dataset,
    asked or not.
    """

    digest: str
    samples: tuple[Sample, ...]
    train: tuple[Sample, ...]
    known: frozenset[tuple[str, str]]


def read_truth(
    root: Path,
    *,
    split: str = "test",
    variants: Sequence[str] = (MASTER,),
    pristine: bool = False,
    inexact: bool = False,
) -> Truth:
    """Read which samples of a dataset are asked; for the arguments see `mmtt.samples.read_samples`.

    Raises:
        UserError: no such dataset, split or variant, or no forged sample in the split.
    """
    either = tuple(dict.fromkeys((MASTER, *variants)))
    counting = read_samples(root, variants=either, pristine=pristine, inexact=inexact)
    chosen = [sample for sample in of_split(counting, split) if sample.variant in variants]
    if not any(sample.manipulated for sample in chosen):
        raise UserError(f"{root} has no forged sample in split '{split}'. Nothing can be scored there.")
    train = (sample for sample in counting if sample.split == "train" and sample.variant == MASTER)
    return Truth(digest_of(root), tuple(chosen), tuple(train), keys_of(root))


def true_masks(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Gray]]:
    """Yield each sample with its mask, uint8 H×W at native size, 0 or 255 (imported ones: any value)."""
    rows = Rows(("mask",))
    for sample in samples:
        yield sample, decode_gray(rows(sample)["mask"])


def references_of(sample: Sample) -> tuple[Reference, ...]:
    """Return the references in the language of the metrics; the one that stands for the record first."""
    return tuple(reference for reference in sample.references if _is_ours(reference.language))


def _is_ours(language: str) -> bool:
    return language.lower().replace("_", "-").split("-", 1)[0] == LANGUAGE


def by_origin_id(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the record of each id that samples had in the dataset they were imported from.

    Raises:
        UserError: one of these ids stands for several records, as the photo's id does in a dataset made here.
    """
    rows, found = Rows(("origin_id",)), dict[str, str]()
    for sample in samples:
        origin_id = rows(sample)["origin_id"]
        if found.setdefault(origin_id, sample.record_id) != sample.record_id:
            raise UserError(f"The origin's id '{origin_id}' stands for several records. Name them by record_id.")
    return found
