"""`make bench`: what things cost, measured in one run on this machine. Never a test; quote ratios, not milliseconds.

Every ratio is the median of pairs measured one after the other, so that a machine whose speed drifts
does not spoil it.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from insightface.utils import face_align
from threadpoolctl import threadpool_limits

from mmtt import images
from mmtt.executors import processes, serial
from mmtt.faces import TEMPLATES, Face, align, similarity
from mmtt.layout import Layout
from mmtt.manifest import read, shard_paths
from mmtt.manipulator import finish
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import PlanRow
from mmtt.shards import Lookup, read_table
from pipelines import manipulators
from pipelines.drawing import draw_person
from pipelines.forge import forge, render_job
from pipelines.ingest import ingest
from pipelines.plan import plan
from tests.benchmarks import (
    audits,
    command,
    degrade,
    forgerytalker_base,
    identities,
    learned_diffusion,
    learned_onnx,
    loader,
    near,
)
from tests.factories import TODAY, source_row, tiny_dataset, write_sources

PEOPLE, REPEATS = 12, 3


def main() -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory() as folder:
        layout = tiny_dataset(Path(folder) / "all", PEOPLE, tuple(manipulators.WEIGHT_FREE), **_recipe())
        recipe = Recipe.load(layout.recipe)
        ingest(layout, recipe, serial, silent)
        plan(layout, recipe, TODAY)
        per_manipulator(layout, recipe)
        forge_pass(layout, recipe)
        workers(layout)
        alignment()
        memory(Path(folder))
    for topic in (
        degrade,
        learned_onnx,
        learned_diffusion,
        command,
        identities,
        near,
        audits,
        loader,
        forgerytalker_base,
    ):
        topic.main()


def _recipe() -> dict[str, Any]:
    names = manipulators.WEIGHT_FREE
    return {
        "buckets": 2,
        "ingest": {"finders": ["sidecar"], "size_px": 512},
        "plan": {"splits": {"train": 1.0}},
        "forge": {"find_faces": True, "manipulators": [{"use": name} for name in names]},
    }


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def per_manipulator(layout: Layout, recipe: Recipe) -> None:
    """Print milliseconds a record: render, composite and mask, decoded arrays in and out."""
    print("\nmanipulator           ms per record at 512 px, median (min to max)")
    threadpool_limits(1)  # as forge itself does
    made = manipulators.from_recipe(recipe.forge.manipulators)
    lookup = Lookup(shard_paths(layout.pristine))
    rows = read_table(layout.plan / "plan.parquet", PlanRow)
    for label, program in made.items():
        taken = []
        for row in (r for r in rows if r.entry == label):
            target, source = lookup.get(row.target_id), lookup.get(row.source_id) if row.source_id else None
            job = render_job(row, target, source)
            once = lambda: finish(job.target, program.render([job])[0], program.declaration.mask_rule, 0)  # noqa: B023, E731
            try:
                once()
                taken.append(1000 * seconds(once))
            except Exception as error:
                print(f"  {label}: {error}")
        print(f"{label:20} {statistics.median(taken):7.1f} ({min(taken):.1f} to {max(taken):.1f})")


def forge_pass(layout: Layout, recipe: Recipe) -> None:
    """Print the whole forge pass against its own I/O: decode inputs, encode outputs, write nothing."""
    ratios, passes, floors = [], [], []
    for _ in range(REPEATS):
        _forget(layout)
        passes.append(seconds(lambda: forge(layout, recipe, serial, silent)))
        records = list(read(layout.forged))
        inputs = {r.record_id: r.image for r in read(layout.pristine)}
        decoded = [_outputs(r) for r in records]
        floors.append(seconds(lambda: [_floor(r, inputs, out) for r, out in zip(records, decoded, strict=True)]))  # noqa: B023
        ratios.append(passes[-1] / floors[-1])
    count = len(records)
    print(f"\nforge pass            {1000 * statistics.median(passes) / count:.1f} ms a record over {count} records")
    print(f"its I/O floor         {1000 * statistics.median(floors) / count:.1f} ms a record")
    print(f"ratio                 {statistics.median(ratios):.2f} (goal: under 2.5)")


def _outputs(record: Any) -> list[images.Array]:
    return [
        images.decode_rgb(record.image),
        *(images.decode_gray(data) for data in (record.mask, record.alpha, record.change)),
    ]


def _floor(record: Any, inputs: dict[str, bytes], outputs: list[images.Array]) -> None:
    images.decode_rgb(inputs[record.target_id])
    if record.source_id:
        images.decode_rgb(inputs[record.source_id])
    for output in outputs:
        images.encode_png(output)


def _forget(layout: Layout) -> None:
    for path in layout.forged.rglob("*.*"):
        if path.is_file():
            path.unlink()


def workers(layout: Layout) -> None:
    """Print one against two fresh processes, over enough records that starting them does not decide."""
    data = yaml.safe_load(layout.recipe.read_text())
    for entry in data["forge"]["manipulators"]:
        entry["per_target"] = 5
    layout.recipe.write_text(yaml.safe_dump(data))
    recipe = Recipe.load(layout.recipe)
    plan(layout, recipe, TODAY)
    ratios = []
    for _ in range(REPEATS):
        taken = []
        for count in (1, 2):
            _forget(layout)
            taken.append(seconds(lambda: forge(layout, recipe, processes(count), silent)))  # noqa: B023
        ratios.append(taken[0] / taken[1])
    rows = len(read_table(layout.plan / "plan.parquet", PlanRow))
    print(f"\n2 processes           {statistics.median(ratios):.2f} times as fast as 1 over {rows} rows (goal: 1.8)")


def alignment() -> None:
    """Print our alignment against insightface's norm_crop, the same work: 5 points, similarity, one warp to 512."""
    warnings.simplefilter("ignore", FutureWarning)  # of what insightface calls in scikit-image
    person = draw_person(3, 1024)
    face = Face(person.landmarks, "openpose_70")
    five = face.five_points.astype(np.float64)
    goal = TEMPLATES["arcface_112"] * 512

    def same_work() -> Any:
        return cv2.warpAffine(person.image, similarity(five, goal), (512, 512))

    taken: dict[str, list[float]] = {"norm_crop": [], "same work": [], "align": []}
    for _ in range(40):
        taken["norm_crop"].append(seconds(lambda: face_align.norm_crop(person.image, five, 512)))
        taken["same work"].append(seconds(same_work))
        taken["align"].append(seconds(lambda: align(person.image, face, "arcface_112", 512)))
    print("\nalignment to 512 px from a 1024-px photo")
    for name, note in (
        ("norm_crop", "insightface: similarity, linear warp"),
        ("same work", "our similarity, linear warp"),
        ("align", "ours whole: area reduction, cubic warp, mirrored border"),
    ):
        ratio = statistics.median(a / b for a, b in zip(taken[name], taken["norm_crop"], strict=True))
        print(f"{name:12} {1000 * statistics.median(taken[name]):6.2f} ms  ratio {ratio:.2f}  {note}")


def memory(folder: Path) -> None:
    """Print the peak memory of ingest and forge, one worker, one bucket, for 200 and 2,000 records."""
    print("\nrecords   peak memory of one worker (goal: flat, under 1 GiB)")
    for count in (200, 2000):
        layout = _copies(folder / str(count), count)
        code = "import sys; from tests.bench import peak; peak(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, layout.root], capture_output=True, text=True, check=True)
        print(f"{count:7}   {done.stdout.strip()}")


def _copies(root: Path, count: int) -> Layout:
    """A dataset of that many photos: a few drawn people, each many times with another pixel changed."""
    layout = tiny_dataset(root, 10, ("recolour",), **_memory_recipe())
    rows, landmarks = [], {}
    people = [draw_person(seed, 512) for seed in range(10)]
    for number in range(count):
        person, name = people[number % 10], f"copy_{number:05d}.png"
        image = person.image.copy()
        image[0, number // 10] ^= 1
        (layout.photos / name).write_bytes(images.encode_png(image))
        landmarks[name] = [{"scheme": "openpose_70", "landmarks": person.landmarks.tolist()}]
        rows.append(source_row(name, f"person {number % 10}"))
    for path in layout.photos.glob("drawn_*"):
        path.unlink()
    write_sources(root, rows)
    import json

    layout.landmarks.write_text(json.dumps(landmarks))
    return layout


def _memory_recipe() -> dict[str, Any]:
    return {
        "buckets": 1,
        "ingest": {"finders": ["sidecar"], "size_px": 512},
        "plan": {"splits": {"train": 1.0}},
        "forge": {"find_faces": False, "manipulators": [{"use": "recolour"}]},
    }


def peak(root: str) -> None:
    """Build a dataset and print the peak memory after each stage, in MiB."""
    layout = Layout(Path(root))
    recipe = Recipe.load(layout.recipe)
    told = []
    stages: list[tuple[str, Callable[[], Any]]] = [
        ("ingest", lambda: ingest(layout, recipe, serial, silent)),
        ("plan", lambda: plan(layout, recipe, TODAY)),
        ("forge", lambda: forge(layout, recipe, serial, silent)),
    ]
    for name, stage in stages:
        stage()
        # VmHWM starts anew with each program; getrusage would inherit the parent's peak.
        high = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        told.append(f"{name} {int(high.split()[1]) // 1024} MiB")
    print(", ".join(told))


if __name__ == "__main__":
    main()
