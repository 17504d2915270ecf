"""Decode: from stored PNGs to arrays, and from arrays to a batch.

Legend: S = `size_px`, B samples, R = 21 regions; image S×S×3, mask S×S; pixels_BCHW as in `Batch`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mmtt.errors import DamagedError
from mmtt.images import Gray, Rgb, decode_with_mask
from mmtt.samples import Sample
from mmtt.shards import Shard

from ..batch import Batch
from .geometry import Draw, Geometry, normalised

COLUMNS = ("image", "mask")
Stored = list[memoryview | None]


class Job(NamedTuple):
    """One sample to be made: where it lies, how it is looked at, and what it teaches.

    cached: its row in the cache; None without one. weight: as in `Batch`.
    """

    sample: Sample
    cached: int | None
    draw: Draw
    report: str
    regions: tuple[int, ...]
    weight: float = 1.0


class Example(NamedTuple):
    """One sample: picture uint8 S×S×3, mask uint8 S×S {0, 1}, regions (21) {0, 1}, and the rest as in `Batch`."""

    key: tuple[str, str]
    image: Rgb
    mask: Gray
    regions: tuple[int, ...]
    manipulated: bool
    report: str
    weight: float = 1.0


def _stored(column: pa.ChunkedArray) -> Stored:
    """Return the bytes of each row of a column of pictures, as views: a value that Arrow hands out is a copy."""
    found: Stored = []
    for chunk in pc.struct_field(column, "bytes").cast(pa.binary()).chunks:
        _, offsets, data = chunk.buffers()
        places = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        parts = zip(places, places[1:], chunk.is_valid().to_pylist(), strict=False)
        found += [memoryview(data)[start:end] if known else None for start, end, known in parts]
    return found


class Pixels:
    """Reads picture and mask of samples, uint8 H×W×4, and nothing else of their rows.

    The row groups last used stay in memory; PNGs are decoded where they lie there, without a copy of their bytes.
    """

    def __init__(self, kept_groups: int) -> None:
        self._kept = kept_groups
        self._pixels: npt.NDArray[np.uint8] | None = None  # used again: a fresh megabyte costs more than filling it
        self._shards: dict[Path, Shard] = {}
        self._groups: OrderedDict[tuple[Path, int], list[Stored]] = OrderedDict()

    def __call__(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """Return one sample as stored; the next call writes over it.

        Raises:
            DamagedError: its shard or its picture is damaged, or it has no mask; SchemaError: another schema.
        """
        try:
            image, mask = (column[sample.row] for column in self._group(sample.shard, sample.row_group))
            if image is None or mask is None:
                raise ValueError("it has no picture, or no mask")
            self._pixels = decode_with_mask(image, mask, self._pixels)
            return self._pixels
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(sample, error) from error

    def _group(self, path: Path, number: int) -> list[Stored]:
        key = (path, number)
        if key not in self._groups:
            if path not in self._shards:
                self._shards[path] = Shard(path)
            while len(self._groups) >= self._kept:
                self._groups.popitem(last=False)
            table = self._shards[path].group(number, COLUMNS)
            self._groups[key] = [_stored(table.column(name)) for name in COLUMNS]
        self._groups.move_to_end(key)
        return self._groups[key]


def _damaged(sample: Sample, error: Exception) -> DamagedError:
    record = f"Record {sample.record_id} ({sample.variant}) in {sample.shard}"
    return DamagedError(f"{record} cannot be used: {error}")


def example_of(job: Job, pixels: npt.NDArray[np.uint8], size_px: int) -> Example:
    """Return a job done on its pixels, uint8 H×W×4."""
    image, mask = Geometry.of(job.draw, *pixels.shape[:2], size_px)(pixels)
    sample = job.sample
    return Example(sample.key, image, mask, job.regions, sample.manipulated, job.report, job.weight)


def stack(examples: Sequence[Example]) -> Batch:
    """Return examples as a batch on the CPU."""
    size = examples[0].mask.shape
    pixels, mask = np.empty((len(examples), 3, *size), np.float32), np.empty((len(examples), *size), np.float32)
    for place, example in enumerate(examples):
        normalised(example.image, pixels[place])
        mask[place] = example.mask
    return Batch(
        keys=tuple(example.key for example in examples),
        pixels_BCHW=torch.from_numpy(pixels),
        mask_BHW=torch.from_numpy(mask),
        regions_BR=torch.tensor([example.regions for example in examples], dtype=torch.float32),
        manipulated_B=torch.tensor([example.manipulated for example in examples], dtype=torch.float32),
        reports=tuple(example.report for example in examples),
        weight_B=torch.tensor([example.weight for example in examples], dtype=torch.float32),
    )
