"""Grounding: how far what a text claims is supported by the true mask.

A claimed word is supported when its own part was edited, or one that holds it or lies in it: teeth by an edited mouth,
skin by an edited cheek. A part beside an edited one is half right: people disagree about borders.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from mmtt.regions import REGIONS, TEXT_ONLY

# Parts that hold others or lie in them; both directions count.
_HELD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pupil": ("eye",),
        "lip": ("mouth",),
        "tooth": ("mouth", "lip"),
        "tongue": ("mouth", "lip"),
        "beard": ("chin", "jaw", "cheek"),
        "mustache": ("lip", "mouth"),
        "dimple": ("cheek", "chin"),
        "wrinkle": ("forehead", "eye", "cheek", "mouth", "skin"),
        "freckle": ("cheek", "nose", "skin", "forehead"),
        "scar": tuple(word for word in REGIONS if word not in ("scar", "hair")),
        "jaw": ("chin",),
        "skin": ("cheek", "forehead", "chin", "jaw", "nose"),
    }
)
# Parts that touch. Skin touches everything and says nothing about where, so it is nobody's neighbour.
_BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "eye": ("eyebrow", "nose", "cheek", "forehead"),
        "eyebrow": ("forehead", "nose", "wrinkle"),
        "nose": ("mouth", "lip", "cheek", "mustache", "wrinkle"),
        "cheek": ("mouth", "lip", "jaw", "chin", "mustache"),
        "ear": ("cheek", "jaw", "hair", "beard"),
        "hair": ("forehead", "eyebrow", "cheek", "beard"),
        "chin": ("mouth", "lip", "wrinkle"),
        "lip": ("wrinkle", "dimple"),
        "mouth": ("jaw", "dimple"),
        "beard": ("mustache", "mouth", "lip"),
        "tooth": ("tongue",),
        "freckle": ("eye", "chin"),
    }
)
# Where a word that no outline shows can be: if all of these were left alone, it was not edited either.
_WITHIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pupil": ("eye",),
        "tooth": ("mouth",),
        "tongue": ("mouth",),
        "mustache": ("skin", "lip"),
        "beard": ("skin", "lip"),
        "dimple": ("skin",),
        "freckle": ("skin", "forehead"),
        "wrinkle": ("skin", "forehead", "eye", "lip"),
        "scar": ("skin", "forehead", "eye", "eyebrow", "lip"),
    }
)


EDITED_FROM = 0.05  # share of a region inside the mask from which it counts as edited


class Grounding(NamedTuple):
    """How a text's claims fit a mask.

    precision: mean over the claimed words of 1 (supported), 0.5 (only a neighbour was edited) or 0; None where no
        claim can be judged. recall: share of the edit that the claims account for, 0–1, each region weighted by its
        share inside the mask; None where no outlined region was edited.
    unsupported: claimed words without support, those with an edited neighbour included. omitted: edited regions that
        no claim accounts for. undecided: claimed words that cannot be judged, left out of the precision.
    """

    precision: float | None
    recall: float | None
    unsupported: tuple[str, ...]
    omitted: tuple[str, ...]
    undecided: tuple[str, ...]


def _symmetric(pairs: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {word: set() for word in REGIONS}
    for word, others in pairs.items():
        for other in others:
            found[word].add(other)
            found[other].add(word)
    return MappingProxyType({word: frozenset(others) for word, others in found.items()})


SUPPORT = _symmetric(_HELD)
NEIGHBOURS = _symmetric(_BESIDE)


def edited_regions(shares: Mapping[str, float], min_share: float = EDITED_FROM) -> tuple[str, ...]:
    """Return the regions of which so large a share (0–1) lies inside a mask that they count as edited."""
    return tuple(word for word, share in shares.items() if share >= min_share)


def supported(region: str, edited: Collection[str]) -> bool:
    """Return whether a claimed word is borne out by what was edited: its own region, or one in `SUPPORT`."""
    return region in edited or not SUPPORT[region].isdisjoint(edited)


def ground(
    claimed: Sequence[str],
    edited: Mapping[str, float],
    *,
    min_share: float = EDITED_FROM,
    sayable: Collection[str] | None = None,
) -> Grounding:
    """Return how the claimed words fit a mask.

    `claimed` are words of `mmtt.regions.REGIONS`, `edited` the share (0–1) of each region that lies inside the mask;
    regions below `min_share` do not count as edited.

    `sayable` are the words that this face's landmarks or parsing outline (`mmtt.regions.sayable_of`). A claim of any
    other word that has no support is left undecided, since nothing shows where that part is; unless the mask touches
    none of the outlined parts in which it would lie (teeth, where the mouth was left alone): that claim is false.
    Without `sayable` every claim without support is false. Recall counts `sayable` regions, or those that landmarks
    outline.

    Raises:
        ValueError: a claimed word that is no region.
    """
    if not set(claimed) <= set(REGIONS):
        raise ValueError(f"no regions: {', '.join(sorted(set(claimed) - set(REGIONS)))}")
    real = set(edited_regions(edited, min_share))
    words = [word for word in REGIONS if word in claimed]
    wanting = [word for word in words if not supported(word, real)]
    undecided = [word for word in wanting if sayable is not None and not _decidable(word, edited, sayable)]
    scores = [_score(word, real) for word in words if word not in undecided]
    outlined = sayable if sayable is not None else [word for word in REGIONS if word not in TEXT_ONLY]
    weights = {word: edited[word] for word in REGIONS if word in real and word in outlined}
    told = [weight for word, weight in weights.items() if supported(word, words)]
    return Grounding(
        precision=sum(scores) / len(scores) if scores else None,
        recall=sum(told) / sum(weights.values()) if weights else None,
        unsupported=tuple(word for word in wanting if word not in undecided),
        omitted=tuple(word for word in weights if not supported(word, words)),
        undecided=tuple(undecided),
    )


def _score(word: str, edited: Collection[str]) -> float:
    if supported(word, edited):
        return 1.0
    return 0.0 if NEIGHBOURS[word].isdisjoint(edited) else 0.5


def _decidable(word: str, edited: Mapping[str, float], sayable: Collection[str]) -> bool:
    if word in sayable:
        return True
    within = _WITHIN.get(word, ())
    return bool(within) and all(part in sayable and not edited.get(part) for part in within)
