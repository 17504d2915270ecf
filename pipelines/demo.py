"""`mmtt demo`: the same code as any dataset, on input that anyone may use.

Two portraits of astronaut Eileen Collins and Rear Admiral Grace Hopper, works of the United States
government that ship inside scikit-image and matplotlib, go through the face finder; a dozen drawn
people come with landmarks by construction. Nobody was asked: consent is `none`, and `publish` refuses.
"""

import csv
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data

from mmtt.errors import UserError
from mmtt.images import encode_png
from mmtt.shards import write_atomically

from .drawing import draw_person
from .layout import Layout
from .start import recipe_text

DRAWN = 14
DRAWN_PX = 768


def prepare(root: Path) -> Layout:
    """Write the demo's photos, sources, landmarks and recipe; repeating it changes nothing.

    Raises:
        UserError: the directory holds another dataset.
    """
    layout = Layout(root)
    recipe = recipe_text("demo").encode()
    if layout.recipe.exists() and layout.recipe.read_bytes() != recipe:
        raise UserError(f"{root} holds another dataset. Name a new folder for the demo.")
    layout.photos.mkdir(parents=True, exist_ok=True)
    rows = [*_portraits(layout.photos), *_drawn_people(layout)]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(root / "sources.csv", table.getvalue().encode())
    # Public input needs no secret; a fixed salt makes every demo the same, byte for byte.
    (root / "private").mkdir(exist_ok=True)
    write_atomically(root / "private" / "salt", b"demo")
    write_atomically(layout.recipe, recipe)
    return layout


def _portraits(photos: Path) -> list[dict[str, str]]:
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    write_atomically(photos / "grace_hopper.jpg", hopper.read_bytes())
    write_atomically(photos / "eileen_collins.png", encode_png(np.asarray(skimage.data.astronaut(), np.uint8)))
    return [
        _row("eileen_collins.png", "public-domain portraits", "PD-USGov", "Eileen Collins"),
        _row("grace_hopper.jpg", "public-domain portraits", "PD-USGov", "Grace Hopper"),
    ]


def _drawn_people(layout: Layout) -> list[dict[str, str]]:
    rows, landmarks = [], {}
    for seed in range(DRAWN):
        name = f"drawn_{seed:02d}.png"
        if not (layout.photos / name).exists() or not layout.landmarks.exists():
            person = draw_person(seed, DRAWN_PX)
            write_atomically(layout.photos / name, encode_png(person.image))
            landmarks[name] = [{"scheme": "openpose_70", "landmarks": person.landmarks.round(2).tolist()}]
        rows.append(_row(name, "drawn people", "CC0-1.0", f"drawn person {seed}"))
    if landmarks:
        write_atomically(layout.landmarks, json.dumps(landmarks).encode())
    return rows


def _row(file: str, origin: str, licence: str, subject: str) -> dict[str, str]:
    known = {"file": file, "origin": origin, "origin_id": Path(file).stem, "licence": licence}
    return {**known, "subject": subject, "consent": "none"}
