"""What auditing a large dataset costs: row audits over many small rows, pixel audits on a sample of full-sized ones.

Two datasets, because a hundred thousand lossless rows of 512 px would fill a disk. The first has as many rows as asked,
of 64 px, made of drawn people that were turned, moved and tinted: it costs what rows cost (joins, searches, texts). The
second has the pixels: forged by every program that needs no weights, at 512 px. Both are audited by the command that a
curator has. What is in FOLDER already is not made again:

    python -m tests.benchmarks.audits FOLDER [ROWS] [SAMPLE]
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from mmtt import images
from mmtt.executors import executor
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.manifest import assemble_manifest
from mmtt.record import Assignment, Record, Rejection
from mmtt.reports import Report
from mmtt.shards import Footer, ShardWriter, side_path, write_table
from pipelines.drawing import draw_person
from pipelines.manipulators import WEIGHT_FREE
from pipelines.template_words import SWAP
from tests.factories import build, make_forged_record, make_record, make_report, tiny_dataset, tiny_recipe

ROWS, SAMPLE, PUBLISHED = 100_000, 2000, 152_217
SMALL_PX, FULL_PX, POOL, FORGERIES, WORKERS, SHARD_ROWS = 64, 512, 60, 7, 2, 5000
FAMILIES = (
    "face_swap", "part_swap", "self_blend", "attribute_edit", "classical_inpainting", "recolour", "retouch",
)  # fmt: skip


def main(arguments: tuple[str, ...] = ()) -> None:
    """Make both datasets, audit both, print what it took."""
    folder = Path(arguments[0]) if arguments else Path(tempfile.mkdtemp())
    rows = int(arguments[1]) if len(arguments) > 1 else ROWS
    sample = int(arguments[2]) if len(arguments) > 2 else SAMPLE
    many, full = Layout(folder / "many"), Layout(folder / "full")
    if not (many.forged / "manifest.json").is_file():
        write_rows(many, rows, np.random.default_rng(0))
    if not (full.forged / "manifest.json").is_file():
        photos = max(12, -(-sample // (len(WEIGHT_FREE) + 1)) * 5 // 4)
        build(tiny_dataset(full.root, photos, WEIGHT_FREE, **_recipe(sample)), executor(WORKERS))
    print(f"\n`mmtt audit -j {WORKERS}`, first time, then with fingerprints in place")
    for name, layout in ((f"{rows:,} rows of {SMALL_PX} px", many), (f"{sample:,} rows of {FULL_PX} px", full)):
        first, again = _audited(layout), _audited(layout)
        print(f"{name:24} {first:7.1f} s {again:7.1f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"the largest process held {peak:.2f} GiB; {PUBLISHED:,} rows have {PUBLISHED / rows:.2f} times as many")


def _audited(layout: Layout) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "mmtt", "audit", str(layout.root), "-j", str(WORKERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (layout.root / "audit.txt").write_text(done.stdout, encoding="utf-8")
    return time.perf_counter() - began


def _recipe(sample: int) -> dict[str, object]:
    return {
        "buckets": 4,
        "ingest": {"finders": ["sidecar"], "size_px": FULL_PX},
        "audit": {"sample": sample},
        "forge": {"find_faces": False, "manipulators": [{"use": name} for name in WEIGHT_FREE]},
    }


def write_rows(layout: Layout, count: int, rng: np.random.Generator, px: int = SMALL_PX, **sections: object) -> None:
    """Write a dataset of so many rows, one pristine in eight: each a drawn person in another pose and tint.

    `sections` are those of the recipe. Nobody is shown, and the consent says so.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    recipe = tiny_recipe() | {"audit": {"sample": 20}} | sections
    layout.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    pool = [draw_person(seed, 2 * px).image for seed in range(POOL)]
    plain, edited = (replace(make(0, px), consent="nobody") for make in (make_record, make_forged_record))
    pristine = [_pristine(plain, number, pool[number % POOL], rng) for number in range(count // (FORGERIES + 1))]
    _store(layout.pristine, pristine)
    forged = [_forged(edited, target, turn, rng) for target in pristine for turn in range(FORGERIES)]
    _store(layout.forged, forged)
    splits = ("train",) * 8 + ("validation", "test")
    rows = [
        Assignment(record_id=r.record_id, group_id=r.group_id, component_id=r.group_id, split=splits[n % 10])
        for n, r in enumerate(pristine)
    ]
    write_table(layout.splits, rows, Assignment)
    write_table(layout.root / "reports" / "reports.parquet", [_report(record, rng) for record in forged], Report)


def _pristine(plain: Record, number: int, person: images.Rgb, rng: np.random.Generator) -> Record:
    px = len(person) // 2
    turn = cv2.getRotationMatrix2D((px, px), rng.uniform(-8, 8), rng.uniform(0.42, 0.6))
    turn[:, 2] += rng.uniform(-px / 16, px / 16, 2) - px / 2
    moved = cv2.warpAffine(person, turn, (px, px), borderMode=cv2.BORDER_REFLECT)
    tint = moved.astype(np.float32) * rng.uniform(0.7, 1.2, 3) + rng.normal(0, 3, moved.shape)
    image = images.encode_png(np.clip(tint, 0, 255).astype(np.uint8))
    name = derived_id("bench", number)
    own = {"record_id": name, "group_id": derived_id("group", number), "origin_id": f"{number:06d}"}
    return replace(plain, image=image, image_sha256=images.sha256(image), **own)


def _forged(edited: Record, target: Record, turn: int, rng: np.random.Generator) -> Record:
    """A forgery in name: a box of the target is another colour."""
    picture = images.decode_rgb(target.image)
    mask = np.zeros(picture.shape[:2], np.uint8)
    unit = len(mask) // SMALL_PX
    top, left = unit * rng.integers(8, 40, 2)
    mask[top : top + 14 * unit, left : left + 14 * unit] = 255
    picture[mask > 0] = 255 - picture[mask > 0] // 2
    image = images.encode_png(picture)
    return replace(
        edited,
        record_id=derived_id(target.record_id, turn),
        target_id=target.record_id,
        group_id=target.group_id,
        origin_id=target.origin_id,
        manipulation=FAMILIES[turn],
        image=image,
        image_sha256=images.sha256(image),
        mask=images.encode_png(mask),
        pristine=target.image,
        mask_share=float((mask > 0).mean()),
    )


def _report(record: Record, rng: np.random.Generator) -> Report:
    said = rng.choice(SWAP.faults, 3, replace=False)
    words = rng.choice(["nose", "left eye", "mouth", "forehead", "right cheek", "chin", "hair"], 3, replace=False)
    plain = [
        f"The {word} {fault.format(s='s', es='es', its='its', has='has', **{'is': 'is'})}"
        for word, fault in zip(words, said, strict=True)
    ]
    return make_report(record, f"{'. '.join(plain)} ({rng.integers(1, 999)}).", text_origin="template", annotator="t")


def _store(folder: Path, records: list[Record]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for start in range(0, len(records), SHARD_ROWS):
        names.append(f"bucket-{len(names):04d}")
        writer = ShardWriter(folder / f"{names[-1]}.parquet", Record)
        for record in records[start : start + SHARD_ROWS]:
            writer.add(record)
        writer.close(Footer(folder.name, "", ""))
        write_table(side_path(folder, names[-1], Rejection), [], Rejection)
    assemble_manifest(folder, folder.name, names)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
