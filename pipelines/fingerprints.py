"""Fingerprints: what tells, without its pixels, whether two pictures are one. Computed once a picture, and kept.

Pictures in a dataset of faces are aligned, so small copies of two versions of one photo lie on each other. The
background is what neither a mask nor the middle of the frame, where faces are, covers: a face swap and an edited nose
share it, though their masks differ. Of 2,044 pairs of forgeries of one drawn person its hash finds 95 %; with only the
masks filled it is 30 %.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmtt import images
from mmtt.errors import DamagedError
from mmtt.evidence import Evidence
from mmtt.files import file_sha256, lock, replacing
from mmtt.layout import Layout
from mmtt.shards import Shard

from .grouping import THUMBNAIL_PX, thumbnail

VERSION = 1
FOLDER = "fingerprints"
TINY_PX = 8
HASHES = ("phash", "dhash", "mirror_phash", "mirror_dhash", "background", "mirror_background")
Hole = npt.NDArray[np.bool_]
_KEY = b"mmtt_fingerprints"
# The middle of an aligned face crop, in shares of the frame: centre and radii, x y.
_FACE = ((0.5, 0.54), (0.3, 0.39))
_LEAST_BACKGROUND = 0.1  # of the frame; less tells nothing
_FILL_PX = 8.0
_SCHEMA = pa.schema(
    [("row_group", pa.int32()), ("row", pa.int32()), ("pixels", pa.string())]
    + [(name, pa.uint64()) for name in HASHES]
    + [(name, pa.binary()) for name in ("tiny", "tiny_background")]
)


class Fingerprint(NamedTuple):
    """Digest of a picture's pixels, hashes of 64 bits of it, of its background, and of both mirrored.

    pixels: SHA-256 of shape and pixels. phash, dhash: of frequencies and of gradients. tiny: an 8-px copy, RGB uint8
    8×8×3, row by row. The background's are None where too little of it shows.
    """

    pixels: str
    phash: int
    dhash: int
    mirror_phash: int
    mirror_dhash: int
    tiny: bytes
    background: int | None = None
    mirror_background: int | None = None
    tiny_background: bytes | None = None


class Small(NamedTuple):
    """A 64-px copy of a picture (RGB uint8), and where its mask lies, with a margin (bool 64×64)."""

    picture: images.Rgb
    hole: Hole


def fingerprint(image: images.Rgb, mask: images.Gray) -> Fingerprint:
    """Return the fingerprint of a picture (RGB uint8 H×W×3) with its mask (uint8 H×W, above 0 where edited)."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    copy = small(image, mask)
    whole = (digest.hexdigest(), *_both(image), *_both(_mirrored(image)), _tiny(copy.picture))
    behind = background(copy)
    if behind is None:
        return Fingerprint(*whole)
    return Fingerprint(*whole, frequency_hash(behind), frequency_hash(_mirrored(behind)), _tiny(behind))


def _both(image: images.Rgb) -> tuple[int, int]:
    return frequency_hash(image), gradient_hash(image)


def _mirrored(image: images.Rgb) -> images.Rgb:
    return np.ascontiguousarray(image[:, ::-1])


def _tiny(image: images.Rgb) -> bytes:
    return cv2.resize(image, (TINY_PX, TINY_PX), interpolation=cv2.INTER_AREA).tobytes()


def frequency_hash(image: images.Rgb) -> int:
    """Return the perceptual hash of an RGB uint8 picture as a number below 2⁶⁴."""
    return int(images.perceptual_hash(image), 16)


def small(image: images.Rgb, mask: images.Gray) -> Small:
    """Return the small copy of a picture; a mask of another size counts as the whole frame."""
    picture, size = thumbnail(image), (THUMBNAIL_PX, THUMBNAIL_PX)
    if mask.shape != image.shape[:2]:
        return Small(picture, np.ones(size, np.bool_))
    edited = np.asarray(mask > 0, dtype=np.uint8) * np.uint8(255)
    margin = cv2.dilate(cv2.resize(edited, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    return Small(picture, np.asarray(margin > 0, dtype=np.bool_))


def background(copy: Small) -> images.Rgb | None:
    """Return the small copy with mask and middle filled by the mean of what is near, RGB uint8 64×64×3.

    None where too little is left.
    """
    hole = copy.hole | middle()
    if 1 - hole.mean() < _LEAST_BACKGROUND:
        return None
    shown = (~hole).astype(np.float32)
    pixels = copy.picture.astype(np.float32)
    near = cv2.GaussianBlur(pixels * shown[..., None], (0, 0), _FILL_PX, borderType=cv2.BORDER_REFLECT)
    weight = cv2.GaussianBlur(shown, (0, 0), _FILL_PX, borderType=cv2.BORDER_REFLECT)
    filled = np.where(hole[..., None], near / np.maximum(weight, 1e-3)[..., None], pixels)
    return np.asarray(filled.round().clip(0, 255), dtype=np.uint8)


@cache
def middle() -> Hole:
    """Return where faces lie in a small copy of an aligned crop, bool 64×64."""
    y, x = (np.mgrid[:THUMBNAIL_PX, :THUMBNAIL_PX] + 0.5) / THUMBNAIL_PX
    (centre_x, centre_y), (radius_x, radius_y) = _FACE
    return np.asarray(((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2 < 1, dtype=np.bool_)


def gradient_hash(image: images.Rgb) -> int:
    """Return the 64-bit difference hash of an RGB uint8 picture as a number below 2⁶⁴.

    Each bit says whether one of 8×8 cells is darker than the next to its right (Krawetz, "Kind of like that", 2013).
    """
    cells = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes())


def fingerprints(evidence: Evidence) -> pd.DataFrame:
    """Return the fingerprints of all rows, with the index of `evidence.rows`: the fields of `Fingerprint`, and flags.

    `whole` says whether a picture could be decoded, `backed` whether its background shows; elsewhere a hash is 0 and
    the rest None. Kept under `evidence.private`, one table a shard, and computed again where that is not the shard that
    it was made from; those of shards that are gone are removed.
    """
    return evidence.once(_fingerprints)


def _fingerprints(evidence: Evidence) -> pd.DataFrame:
    rows = evidence.rows[["shard", "row_group", "row"]]
    folder = None if evidence.private is None else evidence.private / FOLDER
    found = {shard: _kept(Path(shard), folder) for shard in rows["shard"].unique()}
    due = [shard for shard, table in found.items() if table is None]
    kept = folder if folder is not None and os.access(folder.parent, os.W_OK) else None
    if due:
        with nullcontext() if kept is None else lock(kept):
            found |= dict(zip(due, _computed(evidence, due, kept), strict=True))
    if kept is not None:
        sweep(evidence.root)
    stored = pd.concat([_frame(table).assign(shard=shard) for shard, table in found.items() if table is not None])
    return rows.merge(stored, on=["shard", "row_group", "row"], how="left").set_axis(rows.index)


def sweep(root: Path) -> None:
    """Remove the tables of shards that are no more: they tell of pictures that were taken out of a dataset."""
    for path in (Layout(root).lineage.parent / FOLDER).glob("*.parquet"):
        name, _, stem = path.stem.partition("-")
        if not (root / name / f"{stem}.parquet").is_file():
            path.unlink(missing_ok=True)


def _frame(table: pa.Table) -> pd.DataFrame:
    hashes = {name: pc.fill_null(table.column(name), 0).to_numpy() for name in HASHES}
    flags = {"whole": pc.is_valid(table.column("pixels")), "backed": pc.is_valid(table.column("background"))}
    plain = table.drop_columns(list(HASHES)).to_pandas()
    return plain.assign(**hashes, **{name: flag.to_numpy() for name, flag in flags.items()})


def _computed(evidence: Evidence, due: Sequence[str], folder: Path | None) -> list[pa.Table]:
    return evidence.map("audit: fingerprints", _of_shard, [(Path(shard), folder) for shard in due]) if due else []


def keep(path: Path) -> None:
    """Compute the fingerprints of a shard that was just made, and keep them, so that no audit has to decode it again.

    Only a saving: what is missing, because a process was killed or a disk is full, is computed when it is asked for.
    """
    folder = Layout(path.parent.parent).lineage.parent / FOLDER
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _of_shard((path, folder))


def _of_shard(task: tuple[Path, Path | None]) -> pa.Table:
    path, folder = task
    key = {"version": VERSION, **_stamp(path), "sha256": file_sha256(path)}
    table = pa.Table.from_pylist(list(_rows(path)), _SCHEMA)
    if folder is not None:
        _keep(table, _place(path, folder), key)
    return table


def _keep(table: pa.Table, path: Path, key: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(key)}), temporary)


def _kept(path: Path, folder: Path | None) -> pa.Table | None:
    """The table that was made from this very shard, or None.

    A shard whose size and time are other than they were, because it was copied, is known by its digest.
    """
    place = None if folder is None else _place(path, folder)
    if place is None or not place.is_file():
        return None
    try:
        table = pq.read_table(place)
        key = json.loads((table.schema.metadata or {})[_KEY])
        if key["version"] != VERSION or not table.schema.equals(_SCHEMA):
            return None
        same = _stamp(path).items() <= key.items() or file_sha256(path) == key["sha256"]
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError):
        return None
    return table if same else None


def _place(path: Path, folder: Path) -> Path:
    return folder / f"{path.parent.name}-{path.stem}.parquet"


def _stamp(path: Path) -> dict[str, int]:
    told = path.stat()
    return {"bytes": told.st_size, "changed_ns": told.st_mtime_ns}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    shard = Shard(path)
    for group in range(shard.groups):
        for number, row in enumerate(shard.group(group, ("image", "mask")).to_pylist()):
            yield {"row_group": group, "row": number, **_numbers(row["image"]["bytes"], row["mask"]["bytes"])}


def _numbers(image: bytes, mask: bytes) -> dict[str, Any]:
    try:
        return fingerprint(images.decode_rgb(image), images.decode_gray(mask))._asdict()
    except DamagedError:
        return {}
