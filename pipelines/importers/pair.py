"""Pair: one picture and its mask as a layout names them; and how its bytes and its words become an item."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmtt.errors import Rejected
from mmtt.images import decode_photo, sha256
from mmtt.manipulator import UNTOLD
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.record import Rejection

from .columns import PRISTINE, Facts, Splits
from .folders import Folder, refusal
from .item import Item
from .rows import MAX_PIXELS, storable

NEGATIVE = "negative"  # IMDLBenCo's word in place of a mask, in any case


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One picture. image, mask: paths below the folder; mask is None where none is named. id: by default the path."""

    image: str
    mask: str | None
    facts: Facts
    id: str | None = None

    @property
    def names(self) -> list[str]:
        """The files that it is made of."""
        return [self.image] if self.mask is None else [self.image, self.mask]


class Reader:
    """Makes items of pictures and what is said of them, and counts what a summary tells."""

    def __init__(self, name: str) -> None:
        self.splits = Splits(name)
        self.untold: Counter[str] = Counter()

    def items(self, folder: Folder, pairs: Iterable[Pair | Rejection]) -> Iterator[Item | Rejection]:
        """Read pairs out of a folder; what cannot be read is a rejection."""
        for pair in pairs:
            if isinstance(pair, Rejection):
                yield pair
                continue
            try:
                mask = None if pair.mask is None else folder.read(pair.mask)
                name, image = storable(pair.image), folder.read(pair.image)
                yield self.item(pair.id or name, image, mask, pair.facts, place=name)
            except Rejected as reason:
                yield refusal(pair.image, reason.code, reason.detail)

    def item(self, origin_id: str, image: bytes, mask: bytes | None, facts: Facts, *, place: str) -> Item:
        """Return the item of a picture, which lies in that place of the source.

        Raises:
            Rejected: `missing_mask`, `mask_of_pristine`.
        """
        pristine = facts.family == PRISTINE
        if pristine and mask is not None:
            _require_black(mask)
        if not pristine and mask is None:
            said = f"its label '{facts.label}' does not say" if facts.label is not None else "nothing says"
            raise Rejected("missing_mask", f"it has no mask, and {said} that it is pristine")
        if facts.family is None and facts.label is not None:
            self.untold[facts.label] += 1
        return Item(
            origin_id=origin_id,
            image=image,
            mask=None if pristine else mask,
            manipulation=None if pristine else facts.family or UNTOLD,
            manipulator=None if pristine else facts.manipulator or "unknown",
            split=self.splits(facts.split, facts.group or sha256(image)),
            group=facts.group,
            texts=facts.texts,
            parameters=facts.parameters,
            place=place,
        )

    def told(self) -> dict[str, Any]:
        """Return what a summary says besides counts, as plain JSON."""
        return {
            "splits": {"told": self.splits.counts["told"], "by_digest": self.splits.counts["digest"]},
            "labels_without_family": dict(self.untold.most_common()),
        }


def lines(told: Mapping[str, Any]) -> list[str]:
    """Return what `Reader.told` gave, for a person."""
    splits, labels = told["splits"], told["labels_without_family"]
    found = [f"splits: {splits['told']} as the source tells, {splits['by_digest']} by the digest of their group"]
    if labels:
        shown = ", ".join(f"{label!r} ({count})" for label, count in list(labels.items())[:10])
        found.append(f"labels that mean no family here, so '{UNTOLD}': {shown}; say --family LABEL=FAMILY")
    return found


def _require_black(mask: bytes) -> None:
    """Many sets give pristine pictures a mask without anything in it."""
    if decode_photo(mask, max_pixels=MAX_PIXELS).max(initial=0) > ALTERED_ABOVE:
        raise Rejected("mask_of_pristine", "it is said to be pristine, and its mask is not empty")
