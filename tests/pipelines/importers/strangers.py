"""Files as strangers leave them: small drawn people, a darkened disc in some of them, its mask; and importing them."""

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmtt import images
from mmtt.check import verify_all
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, read
from mmtt.record import Assignment, Rejection
from mmtt.shards import read_table
from pipelines.importers.columns import Told
from pipelines.importers.pair import lines
from pipelines.importers.pairs import Rights, import_pairs
from tests.factories import drawn

SIZE_PX = 96


class Made(NamedTuple):
    """Encoded files: a drawn person, the same forged, the mask; one colour of that person's own each."""

    pristine: bytes
    forged: bytes
    mask: bytes


@cache
def made(seed: int = 0) -> Made:
    """Return the files of one drawn person; those of different seeds differ."""
    small = cv2.resize(drawn(seed % 3).image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    disc = np.hypot(x - SIZE_PX / 2 - seed % 7, y - SIZE_PX / 2) < SIZE_PX / 6
    small = np.ascontiguousarray(small)
    small[0, :8] = [seed % 256, seed // 256, 0]
    forged = np.where(disc[..., None], small // 2, small).astype(np.uint8)
    return Made(images.encode_png(small), images.encode_png(forged), images.encode_png(disc.astype(np.uint8) * 255))


def jpeg(data: bytes) -> bytes:
    """Return a picture as JPEG."""
    return encoded(data, "JPEG")


def encoded(data: bytes, kind: str) -> bytes:
    """Return a picture in another format."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, kind)
    return out.getvalue()


def put(root: Path, name: str, data: bytes) -> str:
    """Write a file below a folder; return its name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


RIGHTS = Rights(licence="CC-BY-4.0")


def bring(source, target, told=None, *, run=import_pairs, **options):
    """Import, hold the result against `mmtt verify`, return the layout and what a summary would say."""
    done = run(source, target, told or Told(name="stranger"), RIGHTS, **options)
    layout = Layout(target)
    assert list(verify_all([layout.pristine, layout.forged])) == []
    return layout, lines(done.told)


def records(layout):
    return {record.origin_id: record for folder in (layout.pristine, layout.forged) for record in read(folder)}


def refused(layout):
    return {(row.code, row.path) for row in refusals(layout)}


def refusals(layout):
    return [row for folder in (layout.pristine, layout.forged) for row in read_table(folder / REJECTIONS, Rejection)]


def splits(layout):
    return {row.record_id: row for row in read_table(layout.splits, Assignment)}


def pictures(root, numbers, *, images="Tp", masks="Gt"):
    for number in numbers:
        put(root, f"{images}/p{number}.png", made(number).forged)
        put(root, f"{masks}/p{number}.png", made(number).mask)


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(root, rows, name="table.csv"):
    """Write rows in the format that the name tells."""
    path = root / name
    if path.suffix in (".csv", ".tsv"):
        write_csv(path, rows)
        path.write_text(path.read_text().replace(",", "\t") if path.suffix == ".tsv" else path.read_text())
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def forensic(root, *, masks="{method}/masks/images", frames="{method}/c23/images"):
    """Write the tree: three methods, four videos in two pairs, two frames each; originals of all four."""
    for place, method in enumerate(("Deepfakes", "NeuralTextures", "DeepFakeDetection")):
        for number, video in enumerate(("000_003", "003_000", "001_870", "870_001")):
            for frame in range(2):
                seed = place * 20 + number * 2 + frame
                base = "manipulated_sequences/"
                name = f"{video}/{frame:04d}.png"
                put(root, base + frames.format(method=method) + "/" + name, made(seed).forged)
                put(root, base + masks.format(method=method) + "/" + name, made(seed).mask)
    for number, video in enumerate(("000", "003", "001", "870")):
        put(root, f"original_sequences/youtube/c23/images/{video}/0000.png", made(100 + number).pristine)
