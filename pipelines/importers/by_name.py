"""Folders of pictures beside folders of masks (IMDLBenCo's `Tp/` and `Gt/`, `images/` and `masks/`), paired by name.

Never by their place in two sorted lists: one file too few shifts every pair behind it, and nothing shows.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.record import Rejection

from .columns import PRISTINE, Facts, split_word
from .folders import Folder, refusal
from .pair import Pair

# Names of folders, in any case.
IMAGES = ("tp", "images", "image", "forged", "fake", "manipulated")
MASKS = ("gt", "masks", "mask")
AUTHENTIC = ("au", "real", "authentic", "pristine", "original")
# What is hung on a mask's name: CASIA's `…_gt`, Columbia's `…_edgemask`.
_SUFFIXES = ("_gt", "_mask", "-mask", "_edgemask", "_groundtruth")


class Layout(NamedTuple):
    """Where pictures, their masks and pristine pictures lie; split is that of the folder around them."""

    split: str | None
    images: str | None
    masks: str | None
    authentic: tuple[str, ...]


def layouts(folder: Folder) -> list[Layout]:
    """Return what is laid out so in a folder, or in its folders that are called after splits; empty if nothing is.

    Raises:
        UserError: two folders of one kind side by side.
    """
    around = [("", None), *((f"{name}/", split_word(name)) for name in folder.folders() if split_word(name))]
    found = (_layout(folder, below, split) for below, split in around)
    return [layout for layout in found if (layout.images and layout.masks) or layout.authentic]


def _layout(folder: Folder, below: str, split: str | None) -> Layout:
    names = folder.folders(below)
    images, masks, authentic = (
        [f"{below}{name}" for name in names if name.casefold() in known] for known in (IMAGES, MASKS, AUTHENTIC)
    )
    for several in (images, masks):
        if len(several) > 1:
            raise UserError(f"{folder.root} has {' and '.join(several)}; which is meant? Leave one, or write a table.")
    both = bool(images and masks)
    return Layout(split, images[0] if both else None, masks[0] if both else None, tuple(authentic))


def read(folder: Folder) -> Iterator[Pair | Rejection]:
    """Yield the pairs of a folder, in the order of the pictures' paths; what finds no partner is a rejection."""
    for layout in layouts(folder):
        if layout.images is not None and layout.masks is not None:
            yield from _pairs(folder, layout.images, layout.masks, layout.split)
        for below in layout.authentic:
            pristine = Facts(family=PRISTINE, split=layout.split)
            for found in folder.files(below):
                yield found if isinstance(found, Rejection) else Pair(image=found, mask=None, facts=pristine)


def _pairs(folder: Folder, images: str, masks: str, split: str | None) -> Iterator[Pair | Rejection]:
    pictures = yield from _by_key(folder, images)
    found = yield from _by_key(folder, masks)
    masks_of: dict[str, list[str]] = defaultdict(list)
    for key, names in found.items():
        partner = _partner(key, pictures)
        if partner is None:
            yield from (refusal(name, "missing_image", f"no picture in {images}/ is called so") for name in names)
        else:
            masks_of[partner] += names
    for key, names in pictures.items():
        fitting = masks_of.get(key, [])
        if len(names) > 1:
            told = " and ".join(f"'{name}'" for name in names)
            yield from (refusal(name, "ambiguous_image", f"{told} differ in their suffix alone") for name in names)
        elif len(fitting) > 1:
            yield refusal(names[0], "ambiguous_mask", f"two masks fit: '{fitting[0]}' and '{fitting[1]}'")
        elif not fitting:
            yield refusal(names[0], "missing_mask", f"no mask in {masks}/ is called so")
        else:
            yield Pair(image=names[0], mask=fitting[0], facts=Facts(split=split))


def _by_key(folder: Folder, below: str) -> Generator[Rejection, None, dict[str, list[str]]]:
    """Return the files below a folder by what pairs them: the path without suffix. Systems write é in two ways."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in folder.files(below):
        if isinstance(name, Rejection):
            yield name
        else:
            path = PurePosixPath(name).relative_to(below)
            found[unicodedata.normalize("NFC", str(path.with_suffix("")))].append(name)
    return found


def _partner(key: str, pictures: Mapping[str, list[str]]) -> str | None:
    shortened = [key.removesuffix(suffix) for suffix in _SUFFIXES if key.endswith(suffix)]
    return next((candidate for candidate in (key, *shortened) if candidate in pictures), None)
