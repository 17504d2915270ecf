"""What baselines/RESULTS.md shows: `tiny` trained from scratch on drawn people, beside the trivial baselines.

Everything goes through the commands that a user has; what is there already is not made again.
Run: `python -m tests.benchmarks.results FOLDER`, on one thread (`OMP_NUM_THREADS=1`). It prints the table, and writes
`curve.png` and `panels.png` into `baselines/results/`. Drawn people and template texts estimate nothing about real
ones: this shows that the code learns.
"""

import csv
import json
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pyarrow.parquet as pq
import yaml

from mmtt import images
from mmtt.executors import executor
from mmtt.layout import Layout
from mmtt.samples import Rows, Sample, of_split, read_samples
from pipelines.drawing import draw_person
from pipelines.template_reports import write_template_reports
from tests.factories import DRAWN_PX, source_row, tiny_recipe

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PEOPLE, WORKERS = 800, 2
# Plainly visible ones: a model of two million weights learns nothing in half an hour from forgeries that people miss.
PROGRAMS = (
    {"use": "recolour", "options": {"strength_range": [1.5, 2.0]}},
    {
        "use": "retouch",
        "options": {"radius_range": [0.1, 0.15], "texture_range": [0.0, 0.05], "glow_range": [0.3, 0.45]},
    },
    {"use": "classical_inpaint", "options": {"regions_range": [1, 3]}},
    {"use": "classical_inpaint", "name": "second_inpaint", "options": {"regions_range": [1, 3]}},
    {"use": "self_blend", "options": {"strength": 1.5, "ratio_range": [0.9, 1.0]}},
    {"use": "part_swap"},
)
CONFIG = Path(__file__).with_name("drawn.yaml")
PICTURES = Path(__file__).parents[2] / "baselines" / "results"
PANEL_PX = 256


def main() -> None:
    """Build, train, evaluate, draw."""
    folder = Path(sys.argv[1])
    dataset, run, out = folder / "drawn", folder / "run", folder / "scores"
    if not (dataset / "forged" / "manifest.json").exists():
        bring_people(Layout(dataset))
        mmtt("build", dataset / "recipe.yaml", "--workers", WORKERS)
        write_template_reports(Layout(dataset))
    mmtt("baseline", "train", dataset, run, "--config", CONFIG)
    print(mmtt("baseline", "evaluate", run, dataset, out))
    PICTURES.mkdir(exist_ok=True)
    curve(run, PICTURES / "curve.png")
    panels(dataset, out, PICTURES / "panels.png")


def mmtt(*command: object) -> str:
    """Run a command as a user would; return what it printed."""
    words = [sys.executable, "-m", "mmtt", *map(str, command)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def bring_people(layout: Layout) -> None:
    """Draw the people, and write what a curator would bring: photos, landmarks, sources, a recipe."""
    layout.photos.mkdir(parents=True, exist_ok=True)
    landmarks = dict(executor(WORKERS)(partial(_draw, layout.photos), range(PEOPLE)))
    found = {_name(n): [{"scheme": "openpose_70", "landmarks": landmarks[n]}] for n in range(PEOPLE)}
    layout.landmarks.write_text(json.dumps(found), encoding="utf-8")
    rows = [source_row(_name(n), f"person {n}") for n in range(PEOPLE)]
    with (layout.root / "sources.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (layout.root / "private").mkdir(exist_ok=True)
    (layout.root / "private" / "salt").write_text("tests", encoding="ascii")
    layout.recipe.write_text(yaml.safe_dump(recipe()), encoding="utf-8")


def recipe() -> dict[str, Any]:
    """Return the recipe as plain data: each program once on each person, 256 px."""
    made = tiny_recipe(PROGRAMS) | {"name": "drawn", "buckets": 8}
    made["plan"] = {"splits": {"train": 0.75, "validation": 0.05, "test": 0.2}, "donors": {"nearest": 3}}
    made["forge"]["gate"] = {"min_change_mean": 2.0}
    return made


def _name(number: int) -> str:
    return f"drawn_{number:05d}.png"


def _draw(photos: Path, number: int) -> list[list[float]]:
    person = draw_person(number, DRAWN_PX)
    (photos / _name(number)).write_bytes(images.encode_png(person.image))
    return person.landmarks.astype(float).round(2).tolist()


def curve(run: Path, path: Path) -> None:
    """Draw every loss of every stage over its steps, training as a running mean, validation as dots."""
    trained, validated = defaultdict(list), defaultdict(list)
    for line in map(json.loads, (run / "log.jsonl").read_text(encoding="utf-8").splitlines()):
        of_which = validated if "validation" in line else trained
        for name, value in (line.get("validation") or line["losses"]).items():
            of_which[line["stage"], name].append((line["step"], value))
    names = list(dict.fromkeys([*trained, *validated]))
    figure, axes = plt.subplots(2, 5, figsize=(17, 6.5), layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        if trained[name]:
            steps, values = np.transpose(trained[name])
            axis.plot(steps, _running(values), label="training, mean of 50 steps", color="#2166ac")
        if validated[name]:
            axis.plot(*np.transpose(validated[name]), "o-", label="validation", color="#b2182b", markersize=4)
        axis.set(title=f"{name[0]}: {name[1]}", xlabel="step")
        axis.legend()
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    figure.savefig(path, dpi=65)


def _running(values: np.ndarray, window: int = 50) -> np.ndarray:
    sums = np.cumsum(np.insert(values, 0, 0.0))
    low = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (sums[1:] - sums[low]) / (np.arange(1, len(values) + 1) - low)


def panels(dataset: Path, out: Path, path: Path) -> None:
    """Draw six examples: image, truth, prediction, both reports; one of each family at its median IoU, then more."""
    lines = (out / "predictions" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    told = {line["image_id"]: line for line in map(json.loads, lines)}
    chosen = list(typical(of_split(read_samples(dataset), "test"), out))[:6]
    fetch = Rows(("image", "mask"))
    figure, axes = plt.subplots(len(chosen), 4, figsize=(13, 3.1 * len(chosen)), layout="constrained")
    for row, (sample, iou) in zip(axes, chosen, strict=True):
        pixels, line = fetch(sample), told[sample.record_id]
        said = images.decode_gray((out / "predictions" / line["mask_path"]).read_bytes())
        image = images.decode_rgb(pixels["image"])
        row[0].imshow(images.mark_border(image))
        row[1].imshow(images.mark_border(_over(image, images.decode_gray(pixels["mask"]))))
        row[2].imshow(images.mark_border(_over(image, said)))
        texts = (f"Reference (template): {sample.references[0].text}", f"Model: {line['caption']}")
        row[3].text(0, 1, "\n\n".join(textwrap.fill(text, 44) for text in texts), va="top", fontsize=9)
        heads = (sample.manipulator, "true mask", f"predicted, IoU {iou:.2f}", "")
        for axis, head in zip(row, heads, strict=True):
            axis.set_title(head, fontsize=10)
            axis.axis("off")
    figure.savefig(path, dpi=70)


def typical(samples: Sequence[Sample], out: Path) -> Iterator[tuple[Sample, float]]:
    """Yield, for each family by name, the test sample with the median IoU; then those a quarter from the top."""
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    iou = {row["record_id"]: row["iou"] for row in rows if row["predictor"] == "model"}
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: (-iou[sample.record_id], sample.record_id)):
        families[str(sample.manipulation)].append(sample)
    for share in (2, 4):
        for _, ordered in sorted(families.items()):
            chosen = ordered[len(ordered) // share]
            yield chosen, iou[chosen.record_id]


def _over(image: images.Rgb, mask: images.Gray) -> images.Rgb:
    """A picture, grey, with what a mask covers in red."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = (mask > 127)[..., None] * 0.6
    return (gray * (1 - share) + np.array([214, 40, 40]) * share).astype(np.uint8)


if __name__ == "__main__":
    main()
