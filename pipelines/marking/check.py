"""Check: whether the marked shards of a release say of each of its records what is true."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmtt import images
from mmtt.errors import MmttError
from mmtt.executors import Executor
from mmtt.manifest import shard_paths
from mmtt.progress import Progress
from mmtt.release import DATA, MARKED
from mmtt.shards import Shard, read_footer, read_rows

from ..audits.containers import parts
from .credentials import read
from .export import STAGE
from .words import KEY, OURS

_MARKED = ("record_id", "split", "manipulation", "image", "image_sha256", "mask", "master_sha256")
_MASTER = ("record_id", "split", "manipulation", "image", "image_sha256", "mask")


def faults(release: Path, executor: Executor, progress: Progress) -> list[tuple[str, str]]:
    """Return what is wrong with the marked shards of a release: where, and what.

    Every signature is checked, and every pixel compared; memory stays at two row groups for each worker.
    """
    paths = shard_paths(release / DATA)
    there = {path.name for path in (release / MARKED).glob("*.parquet")}
    found = [(f"{MARKED}/{name}", "belongs to no shard of records") for name in there - {path.name for path in paths}]
    of_shard = partial(_of_shard, release / MARKED)
    told = dict(progress(paths, executor(of_shard, paths)))
    return sorted(found) + [fault for place in sorted(told) for fault in told[place]]


def _of_shard(folder: Path, path: Path) -> list[tuple[str, str]]:
    where = f"{MARKED}/{path.name}"
    footer = read_footer(folder / path.name)
    if footer is None or footer.stage != STAGE:
        return [(where, "is missing, or is no shard of marked pictures")]
    if Shard(folder / path.name).rows != Shard(path).rows:
        return [(where, "does not hold one row for each record")]
    pairs = zip(read_rows(folder / path.name, _MARKED), read_rows(path, _MASTER), strict=True)
    return [(f"{where}, record {master['record_id']}", what) for row, master in pairs for what in _of_row(row, master)]


def _of_row(row: Mapping[str, Any], master: Mapping[str, Any]) -> Iterator[str]:
    if any(row[name] != master[name] for name in ("record_id", "split", "manipulation", "mask")):
        yield "is another row than in the records' shard"
        return
    image = row["image"]["bytes"]
    if images.sha256(image) != row["image_sha256"] or row["master_sha256"] != master["image_sha256"]:
        yield "its digests are not those of its picture and of its master's"
    if not _same_pixels(image, master["image"]["bytes"]):
        yield "its pixels are not those of its master"
    yield from _of_credentials(image, master)


def _same_pixels(image: bytes, master: bytes) -> bool:
    """Whether two pictures show the same; a marked PNG mostly holds its master's very chunks, so nothing is decoded."""
    if [part for part in parts(image) if part.kind not in OURS] == list(parts(master)) != []:
        return True
    return np.array_equal(_pixels(image), _pixels(master))


def _pixels(data: bytes) -> Any:
    try:
        return images.decode_rgb(data)
    except MmttError:
        return None


def _of_credentials(image: bytes, master: Mapping[str, Any]) -> Iterator[str]:
    found = read(image)
    if found.state not in ("valid", "expired"):  # a release stays what it was when its signer's time is over
        yield f"its content credentials are {found.state}{': ' * bool(found.faults)}{', '.join(found.faults)}"
        return
    said = found.record or {}
    true = {
        "record_id": master["record_id"],
        "manipulation": master["manipulation"],
        "master_sha256": master["image_sha256"],
        "mask_sha256": images.sha256(master["mask"]["bytes"]),
    }
    if wrong := [name for name, value in true.items() if said.get(name) != value]:
        yield f"its content credentials tell another {', '.join(wrong)}"
    if found.text is None:
        yield f"it has no text chunk '{KEY}'"
