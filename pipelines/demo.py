"""`mmtt demo`: the same code as any dataset, on input that anyone may use.

Two portraits of astronaut Eileen Collins and Rear Admiral Grace Hopper, works of the United States
government that ship inside scikit-image and matplotlib, go through the face finder; a dozen drawn
people come with landmarks by construction. The two were not asked, so their consent is `none`, and a release leaves
them out unless it states a ground; a drawing shows `nobody`.
"""

import csv
import io
import json
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data

from mmtt.consent import NOBODY, UNASKED
from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.files import write_atomically
from mmtt.images import encode_png
from mmtt.layout import Layout

from .drawing import draw_person
from .start import recipe_text

DRAWN = 14
DRAWN_PX = 768


def prepare(root: Path, executor: Executor) -> Layout:
    """Write the demo's photos, sources, landmarks and recipe; repeating it changes nothing.

    Raises:
        UserError: the directory holds another dataset.
    """
    layout = Layout(root)
    recipe = recipe_text("demo").encode()
    if layout.recipe.exists() and layout.recipe.read_bytes() != recipe:
        raise UserError(f"{root} holds another dataset. Name a new folder for the demo.")
    layout.photos.mkdir(parents=True, exist_ok=True)
    write_atomically(layout.recipe, recipe)
    rows = [*_portraits(layout.photos), *_draw_people(layout, executor)]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(root / "sources.csv", table.getvalue().encode())
    # Public input needs no secret; a fixed salt makes every demo the same, byte for byte.
    (root / "private").mkdir(exist_ok=True)
    write_atomically(root / "private" / "salt", b"demo")
    return layout


def _portraits(photos: Path) -> list[dict[str, str]]:
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    write_atomically(photos / "grace_hopper.jpg", hopper.read_bytes())
    write_atomically(photos / "eileen_collins.png", encode_png(np.asarray(skimage.data.astronaut(), np.uint8)))
    return [
        _row("eileen_collins.png", "public-domain portraits", "PD-USGov", "Eileen Collins", UNASKED),
        _row("grace_hopper.jpg", "public-domain portraits", "PD-USGov", "Grace Hopper", UNASKED),
    ]


def _draw_people(layout: Layout, executor: Executor) -> list[dict[str, str]]:
    names = [f"drawn_{seed:02d}.png" for seed in range(DRAWN)]
    present = layout.landmarks.exists() and all((layout.photos / name).exists() for name in names)
    if not present:
        seeds = dict(executor(partial(_draw, layout.photos), range(DRAWN)))
        landmarks = {names[seed]: [{"scheme": "openpose_70", "landmarks": seeds[seed]}] for seed in range(DRAWN)}
        write_atomically(layout.landmarks, json.dumps(landmarks).encode())
    return [_row(name, "drawn people", "CC0-1.0", f"drawn person {seed}", NOBODY) for seed, name in enumerate(names)]


def _draw(photos: Path, seed: int) -> list[list[float]]:
    """Draw one person into the photo folder; return the landmarks."""
    person = draw_person(seed, DRAWN_PX)
    write_atomically(photos / f"drawn_{seed:02d}.png", encode_png(person.image))
    landmarks: list[list[float]] = person.landmarks.astype(float).round(2).tolist()
    return landmarks


def _row(file: str, origin: str, licence: str, subject: str, consent: str) -> dict[str, str]:
    known = {"file": file, "origin": origin, "origin_id": Path(file).stem, "licence": licence}
    return {**known, "subject": subject, "consent": consent}
