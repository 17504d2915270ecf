"""The loader against raw Arrow and against webdataset: the same pictures, masks and texts, the same decoder.

All three decode, take the whole frame to 224 px (means over areas), cut the mask, normalise and stack, in one process;
what differs is how bytes come from disk, and what is done for each sample besides. CPU seconds of interleaved rounds;
a ratio above 1 says that ours is the faster. Run: `python -m tests.benchmarks.loader [DATASET]`.
"""

import io
import itertools
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
import webdataset

from baselines.forgerytalker.config import DataConfig
from baselines.forgerytalker.data import batches, open_data
from baselines.forgerytalker.data.geometry import normalised
from mmtt.images import decode_gray, decode_rgb
from mmtt.manifest import read
from mmtt.record import Record
from tests.baselines.released import release
from tests.factories import build, tiny_dataset

SIZE_PX, CACHE_PX, BATCH = 224, 256, 24
LIMIT, ROUNDS = 192, 11
TEXT = "The left eye is smeared."
GOALS = {"raw Arrow": 0.9, "webdataset": 1.0}

Arrays = tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]


def main(dataset: Path | None = None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        records = taken(dataset or drawn(Path(folder) / "drawn"))
        root, tar = release(Path(folder) / "shards", records, per_shard=100, per_group=100), Path(folder) / "all.tar"
        write_tar(tar, records)
        config = DataConfig(size_px=SIZE_PX, flip="off")
        plain = open_data(root, config, "train", need_reports=True, need_regions=True)
        small = config.model_copy(update={"cache_px": CACHE_PX})
        kept = open_data(root, small, "train", need_reports=True, need_regions=True, cache=Path(folder) / "cache")
        ways: dict[str, Callable[[], Iterable[Any]]] = {
            "ours": lambda: batches(plain, batch=BATCH, seed=0, epoch=0, train=False),
            "raw Arrow": lambda: stacked(raw(root)),
            "webdataset": lambda: stacked(tarred(tar)),
            f"ours, reduced to {CACHE_PX} px": lambda: batches(kept, batch=BATCH, seed=0, epoch=0, train=False),
            "ours, training": lambda: batches(plain, batch=BATCH, seed=0, epoch=0, train=True),
        }
        report(measure(ways), len(records))


def drawn(root: Path) -> Path:
    """Build a dataset of drawn people at 512 px."""
    recipe = {"ingest": {"finders": ["sidecar"], "size_px": 512}, "plan": {"splits": {"train": 1.0}}, "buckets": 1}
    build(tiny_dataset(root, 12, ({"use": "recolour", "per_target": 6},), **recipe))
    return root


def taken(dataset: Path) -> list[Record]:
    """Return the first forged records of a dataset, all of one split and with a text."""
    said = {"split": "train", "report": TEXT, "report_regions": [0] * 21}
    return [replace(record, **said) for record in itertools.islice(read(dataset / "forged"), LIMIT)]


def write_tar(path: Path, records: Iterable[Record]) -> None:
    """Write picture, mask and text of records as webdataset wants them."""
    with tarfile.open(path, "w") as tar:
        for record in records:
            parts = {"image.png": record.image, "mask.png": record.mask, "txt": (record.report or "").encode()}
            for name, data in parts.items():
                info = tarfile.TarInfo(f"{record.record_id}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def raw(root: Path) -> Iterator[tuple[bytes, bytes, str]]:
    """Yield the columns as Arrow gives them."""
    for path in sorted(root.glob("*.parquet")):
        for part in pq.ParquetFile(path).iter_batches(BATCH, columns=["image", "mask", "report"]):
            for row in part.to_pylist():
                yield row["image"]["bytes"], row["mask"]["bytes"], row["report"]


def tarred(path: Path) -> Iterator[tuple[bytes, bytes, str]]:
    """Yield the members as webdataset gives them."""
    for image, mask, text in webdataset.WebDataset(str(path), shardshuffle=False).to_tuple(
        "image.png", "mask.png", "txt"
    ):
        yield image, mask, text.decode()


def stacked(rows: Iterable[tuple[bytes, bytes, str]]) -> Iterator[Arrays]:
    """Decode, resize, normalise and stack in the plainest way."""
    rows = iter(rows)
    while some := list(itertools.islice(rows, BATCH)):
        made = [arrays(image, mask) for image, mask, _ in some]
        yield torch.stack([m[0] for m in made]), torch.stack([m[1] for m in made]), tuple(text for *_, text in some)


def arrays(image: bytes, mask: bytes) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one picture and its mask as the model wants them."""
    size = (SIZE_PX, SIZE_PX)
    pixels = cv2.resize(decode_rgb(image), size, interpolation=cv2.INTER_AREA)
    altered = cv2.resize(decode_gray(mask), size, interpolation=cv2.INTER_AREA) >= 128
    return torch.from_numpy(normalised(pixels)), torch.from_numpy(altered.astype(np.float32))


def measure(ways: dict[str, Callable[[], Iterable[Any]]]) -> dict[str, list[float]]:
    """CPU seconds of each way in each round; the first round only warms up."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.process_time()
            for _ in way():
                pass
            if turn:
                found[name].append(time.process_time() - began)
    return found


def report(found: dict[str, list[float]], count: int) -> None:
    """Print milliseconds a sample, and how many times as fast ours is."""
    print(f"\nloader: {count} records, batches of {BATCH} at {SIZE_PX} px, CPU time, medians of {ROUNDS} rounds")
    for name, taken_s in found.items():
        ratios = sorted(other / ours for other, ours in zip(taken_s, found["ours"], strict=True))
        middle, spread = statistics.median(ratios), f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        fast = f"; ours is {middle:.2f} times as fast (goal: {GOALS.get(name)}), {spread}"
        told = fast if name in GOALS else f"; {middle:.2f} of the time of ours" if name != "ours" else ""
        print(f"  {name:26} {1000 * statistics.median(taken_s) / count:6.2f} ms a sample{told}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
