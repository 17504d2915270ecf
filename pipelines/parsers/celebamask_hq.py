"""Part masks as CelebAMask-HQ ships them: one PNG for each part that is seen, `parsing/**/{NNNNN}_{part}.png`.

The number is the photo's file name: `123.jpg` has `00123_hair.png`, in whatever folders below (the dataset numbers
them 0 to 14). Masks lie below `parsing/` as their photos lie below `photos/`: those of `photos/celeba/123.jpg` lie
somewhere below `parsing/celeba/`, so that `photos/ffhq/00123.png` does not get them.

Which files a photo has, and their digests, are found once, before the photos are shared out.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.faces import Face, Matrix
from mmtt.images import Gray
from mmtt.parsing import LABELS, Mask, label_mask, warp
from mmtt.record import Rejection

from ..photos import STAGE, Photo, read_photo, readable
from .seam import Cropped

_NAME = re.compile(rf"(\d{{5}})_({'|'.join(LABELS[1:])})\.png", re.ASCII)
_OF_A_FACE = ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip", "hair")
_MAX_BYTES, _MAX_PIXELS = 10_000_000, 4096 * 4096  # the dataset's own are 512×512

# By the folder of the photos and the number: the masks, as paths below the folder of masks.
_Index = dict[tuple[str, int], list[str]]


def with_parts(photos: Iterable[Photo], folder: Path, refused: list[Rejection]) -> list[Photo]:
    """Return photos that name their part masks and the digests of those; adds to `refused` what cannot be used.

    Raises:
        UserError: the folder has masks for none of the photos.
    """
    listed = list(photos)
    index = _index(folder, {_home(photo) for photo in listed})
    if listed and not any(_key(photo) in index for photo in listed):
        raise UserError(
            f"The recipe's parser 'celebamask_hq' finds masks in {folder} for none of the photos. Masks lie there as "
            f"their photos do in photos/: those of a photo 123.jpg beside '{listed[0].path}' below "
            f"{readable(str(PurePosixPath(folder.name, _home(listed[0]))))}/, as 00123_hair.png and so on."
        )
    bearers = Counter(_key(photo) for photo in listed)
    found: list[Photo] = []
    for photo in listed:
        try:
            files = index.get(_key(photo), [])
            if files and bearers[_key(photo)] > 1:
                raise Rejected(
                    "parts_ambiguous", f"several photos of one folder have its number; whose is '{readable(files[0])}'?"
                )
            found.append(replace(photo, parts=_parts(files, folder)))
        except Rejected as reason:
            refused.append(Rejection(stage=STAGE, code=reason.code, detail=reason.detail, path=photo.path))
    return found


def _index(folder: Path, homes: set[str]) -> _Index:
    index: _Index = defaultdict(list)
    for file in sorted(_walk(folder)):
        matched = _NAME.fullmatch(PurePosixPath(file).name)
        home = next((str(parent) for parent in PurePosixPath(file).parents if str(parent) in homes), None)
        if matched and home is not None:
            index[home, int(matched[1])].append(file)
    return dict(index)


def _walk(folder: Path) -> Iterator[str]:
    """Every file below a folder, as a path with `/`; links to folders are not entered."""

    def unreadable(error: OSError) -> None:
        if folder.exists():
            raise UserError(f"{readable(error.filename)} cannot be read: {error.strerror}.") from error

    for parent, _, files in os.walk(folder, onerror=unreadable):
        yield from ((Path(parent) / name).relative_to(folder).as_posix() for name in files)


def _home(photo: Photo) -> str:
    return str(PurePosixPath(photo.file).parent)


def _key(photo: Photo) -> tuple[str, int]:
    stem = PurePosixPath(photo.file).stem
    return _home(photo), int(stem) if stem.isascii() and stem.isdecimal() and len(stem) <= 5 else -1


def _parts(files: Iterable[str], folder: Path) -> tuple[tuple[str, str], ...]:
    """Each mask and its SHA-256."""
    seen: dict[str, str] = {}
    for file in files:
        first = seen.setdefault(PurePosixPath(file).name, file)
        if first != file:
            raise Rejected(
                "parts_ambiguous", f"there are two masks of one part: '{readable(first)}' and '{readable(file)}'"
            )
    return tuple((file, images.sha256(_read(file, folder))) for file in seen.values())


def _read(file: str, folder: Path) -> bytes:
    try:
        return read_photo(folder / file, folder, _MAX_BYTES)
    except Rejected as reason:
        raise Rejected(reason.code, f"part mask '{readable(file)}': {reason.detail}") from None


class PartMaskParser:
    """Draws the label map of a face out of the part masks that its photo has."""

    name = described = "celebamask_hq"

    def parse(self, cropped: Cropped) -> Gray | None:
        """Return the crop's label map, uint8 H×W; None where the photo has no masks, or those of another face.

        Raises:
            Rejected: `changed_meanwhile`; `parts_unreadable`; `parts_misfit`, for masks whose sizes differ or do not
                have the photo's shape; what `read_photo` refuses. The sentence names the file.
        """
        if not cropped.photo.parts:
            return None
        merged = _merged(cropped.photo.parts, cropped.folder, cropped.photo_hw)
        matrix = _after(_to_photo(merged, cropped.photo_hw), cropped.matrix)
        labels = warp(merged, matrix, (cropped.crop.shape[0], cropped.crop.shape[1]))
        return labels if _shows(labels, cropped.face) else None


def _merged(parts: Iterable[tuple[str, str]], folder: Path, photo_hw: tuple[int, int]) -> Gray:
    """Draw parts over one another in the order of `LABELS`, as the dataset's own `g_mask.py` does."""
    masks = {file: _decoded(file, sha256, folder) for file, sha256 in parts}
    merged = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for file in sorted(masks, key=_label):
        _require_shape(file, masks[file], merged, photo_hw)
        merged[masks[file]] = _label(file)
    return merged


def _label(file: str) -> int:
    return LABELS.index(PurePosixPath(file).stem.split("_", 1)[1])


def _decoded(file: str, sha256: str, folder: Path) -> Mask:
    data = _read(file, folder)
    if images.sha256(data) != sha256:
        raise Rejected(
            "changed_meanwhile", f"part mask '{readable(file)}' changed while it was being ingested; run ingest again"
        )
    try:
        pixels = images.decode_photo(data, max_pixels=_MAX_PIXELS)
    except Rejected as reason:
        raise Rejected("parts_unreadable", f"part mask '{readable(file)}': {reason.detail}") from None
    shown = pixels.any(axis=2)
    if len(np.unique(pixels[shown])) > 1:
        raise Rejected("parts_unreadable", f"part mask '{readable(file)}' holds more than black and one other value")
    return np.asarray(shown, dtype=np.bool_)


def _require_shape(file: str, part: Mask, merged: Gray, photo_hw: tuple[int, int]) -> None:
    (height, width), (photo_height, photo_width) = part.shape, photo_hw
    if part.shape != merged.shape:
        others = f"{merged.shape[1]}×{merged.shape[0]}"
        raise Rejected("parts_misfit", f"part mask '{readable(file)}' is {width}×{height}, another is {others}")
    if abs(height * photo_width / width - photo_height) > max(photo_height / height, 1):
        raise Rejected(
            "parts_misfit",
            f"part mask '{readable(file)}' is {width}×{height}, no shape for a photo of {photo_width}×{photo_height}",
        )


def _to_photo(labels: Gray, photo_hw: tuple[int, int]) -> Matrix:
    """From the masks' pixels to the photo's, both with centres at whole numbers."""
    y, x = (photo / own for photo, own in zip(photo_hw, labels.shape, strict=True))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]], np.float64)


def _after(first: Matrix, then: Matrix) -> Matrix:
    return np.asarray(then @ np.vstack([first, [0, 0, 1]]), dtype=np.float64)


def _shows(labels: Gray, face: Face) -> bool:
    """Whether parts of a face lie where the eyes, the nose and the mouth of this one are: at most of the five."""
    x, y = np.clip(np.round(face.five_points.T), 0, np.array([labels.shape[::-1]]).T - 1).astype(int)
    return int(label_mask(labels, *_OF_A_FACE)[y, x].sum()) >= 3
