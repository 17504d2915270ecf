"""Small released folders of shards for the tests of the loader: true records of 64 px, few rows to a row group."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmtt import images
from mmtt.manifest import assemble_manifest
from mmtt.record import Record, Rejection
from mmtt.reports import region_vector
from mmtt.shards import Footer, ShardWriter, side_path, write_table
from tests.factories import make_forged_record

SIZE_PX = 64
TEXT = "The left eye is smeared and the right cheek looks waxy."


def forged(seed: int, **changes: Any) -> Record:
    """Return a forged record of the train split with a report."""
    said = {
        "report": TEXT,
        "report_regions": region_vector(["eye", "cheek"]),
        "text_origin": "template",
        "report_language": "en",
    }
    return make_forged_record(seed, SIZE_PX, **({"split": "train"} | said | changes))


def painted(seed: int, top: int, left: int, side: int) -> Record:
    """Return a forged record that is black but for a white square, which is its mask."""
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    mask[top : top + side, left : left + side] = 255
    image = images.encode_png(np.repeat(mask[..., None], 3, axis=2))
    return replace(forged(seed), image=image, image_sha256=images.sha256(image), mask=images.encode_png(mask))


def release(root: Path, records: Sequence[Record], *, per_shard: int = 10, per_group: int = 3) -> Path:
    """Write records as a released folder, and return it."""
    root.mkdir(parents=True)
    names = []
    for number, start in enumerate(range(0, len(records), per_shard)):
        names.append(f"part-{number:04d}")
        writer = ShardWriter(root / f"{names[-1]}.parquet", Record, rows_per_group=per_group)
        for record in records[start : start + per_shard]:
            writer.add(record)
        writer.close(Footer("release", "", ""))
        write_table(side_path(root, names[-1], Rejection), [], Rejection)
    assemble_manifest(root, "release", names)
    return root
