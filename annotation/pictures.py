"""Pictures of a task: what an annotator looks at, made from a record.

| picture | what it is |
|---|---|
| `image` | the record's image, its very bytes |
| `pristine` | the target before the edit, its very bytes; a pristine record shows its image again |
| `overlay` | the image with its mask: what was altered is left as it is, a contour round it, all else dimmed |
| `zoom` | enlarged windows: a row for each view, a column each for eyes with brows, nose, mouth with chin |

Where the mask may be seen, `zoom` has one more column: the surroundings of the mask. Rows are in the order of `View`.

Task pictures are unmarked by design: a mark would answer the question. The page that shows them carries the banner.
In a stage that does not see the mask, no picture depends on it, on the family of the forgery, or on whether there is
one: windows follow from landmarks, which a forgery shares with its target.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmtt import images, regions
from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.faces import Face, face_of
from mmtt.files import replacing
from mmtt.images import Gray, Rgb
from mmtt.record import Record
from mmtt.schema import from_mapping
from mmtt.shards import Lookup, Shard

from .protocols import ZOOM, View

# One of the two stands out from any ground by lightness alone (3:1), and no colour blindness confuses them.
LIGHT_RGB, DARK_RGB = (250, 225, 30), (0, 30, 90)
DIMMED = 0.55
SPECK_SHARE = 0.001  # of the face; a component below it is outlined at a distance
PARTS = (("eyebrow", "eye"), ("nose",), ("mouth", "chin"))
# Boxes of the parts, left top right bottom as shares of the frame, where a record has no landmarks: an aligned face's.
_USUAL_BOXES = np.array([[0.26, 0.37, 0.74, 0.50], [0.42, 0.45, 0.58, 0.67], [0.37, 0.70, 0.63, 0.91]])
MARGIN = 0.28  # round a part, of the interocular distance
ROW_PX = 320  # height of a row of windows, as near as a whole factor comes: 2 at 512 px; a row then fits on a page
LARGEST_FACTOR = 8
GROUND = 128
GUTTER_PX = 6


class Window(NamedTuple):
    """A rectangle of the frame in pixels, and the size that it is shown at: a whole multiple, or smaller."""

    left: int
    top: int
    width: int
    height: int
    shown_wh: tuple[int, int]


class Wanted(NamedTuple):
    """The pictures of one task: of which record, what its stage may see, and the opaque name that they begin with."""

    record_id: str
    sees: tuple[View, ...]
    stem: str


class Job(NamedTuple):
    """What is wanted of one row group of a shard, each with its row: decoded once, by one worker."""

    shard: Path
    group: int
    rows: tuple[tuple[int, Wanted], ...]


def path_of(stem: str, view: str) -> str:
    """Return where a picture lies below the folder of pictures, with `/` as in a URL: `ab/abcd…-image.png`.

    Nothing but the stem and the view is told, and all tasks of a stage have the same views.
    """
    return f"{stem[:2]}/{stem}-{view}.png"


def render(
    shards: Sequence[Path],
    wanted: Sequence[Wanted],
    folder: Path,
    executor: Executor,
    progress: Callable[[Sequence[Job], Iterator[Any]], Iterator[Any]],
) -> None:
    """Write the pictures of tasks below a folder, but for those that exist: each is whole or absent.

    The caller holds the folder: temporary files that a killed run left are swept first.

    Raises:
        UserError: no shard holds a record, or as `pictures`. DamagedError: as `pictures`.
    """
    for torn in folder.glob("*/.*.tmp"):
        torn.unlink(missing_ok=True)
    due = [task for task in wanted if not all((folder / path).exists() for path in _paths(task).values())]
    jobs = _jobs(shards, due) if due else []
    for _ in progress(jobs, executor(partial(_render, folder), jobs)):
        pass


def _paths(task: Wanted) -> dict[str, str]:
    return {str(view): path_of(task.stem, view) for view in (*task.sees, ZOOM)}


def _jobs(shards: Sequence[Path], due: Sequence[Wanted]) -> list[Job]:
    lookup = Lookup(shards)
    rows: dict[tuple[int, int], list[tuple[int, Wanted]]] = defaultdict(list)
    for task in due:
        if task.record_id not in lookup:
            raise UserError(f"No shard holds record {task.record_id}, of which pictures are wanted. Build again.")
        shard, group, row = lookup.place(task.record_id)
        rows[shard, group].append((row, task))
    return [Job(shards[shard], group, tuple(rows[shard, group])) for shard, group in sorted(rows)]


def _render(folder: Path, job: Job) -> None:
    table = Shard(job.shard).group(job.group)
    for row, task in job.rows:
        record = from_mapping(table.slice(row, 1).to_pylist()[0], Record)
        paths = _paths(task)
        for name, data in pictures(record, task.sees).items():
            _write(folder / paths[name], data)


def _write(path: Path, data: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        # Label Studio tells a file's time (in its ETag), and forgeries of one family are written together.
        os.utime(temporary, (0, 0))


def pictures(record: Record, sees: Collection[View]) -> dict[str, bytes]:
    """Return the PNGs of a task by name: each view that its stage may see, and `zoom`. Equal records, equal bytes.

    Raises:
        UserError: the stage sees the pristine image, and the record is a forgery without one.
        DamagedError: a stored picture cannot be decoded.
    """
    made = {View.IMAGE: record.image} | ({View.PRISTINE: _pristine(record)} if View.PRISTINE in sees else {})
    pixels = {view: images.decode_rgb(data) for view, data in made.items()}
    face, image = _face(record), pixels[View.IMAGE]
    windows = part_windows(face, image.shape[:2])
    if View.OVERLAY in sees:
        mask = images.decode_gray(record.mask)
        windows.append(mask_window(mask, windows[0].shown_wh[1]))
        pixels[View.OVERLAY] = overlay(image, mask, face)
        made[View.OVERLAY] = images.encode_png(pixels[View.OVERLAY])
    rows = [[enlarged(seen, window) for window in windows] for view, seen in pixels.items() if view in sees]
    return {str(view): data for view, data in made.items() if view in sees} | {ZOOM: images.encode_png(_montage(rows))}


def _pristine(record: Record) -> bytes:
    if record.pristine is not None:
        return record.pristine
    if record.manipulation is None:
        return record.image
    raise UserError(
        f"Record {record.record_id} ({record.origin}) is a forgery without its pristine image, which this stage shows. "
        "Leave such records out, or annotate them under a protocol that shows none."
    )


def _face(record: Record) -> Face:
    """The record's face, its landmarks at places that can be reckoned with."""
    points = np.reshape(np.asarray(record.landmarks, np.float32), (-1, 2))
    return replace(face_of(record), landmarks=np.clip(np.nan_to_num(points), -4096, 8192))


def overlay(image: Rgb, mask: Gray, face: Face) -> Rgb:
    """Return an RGB uint8 H×W×3 picture on which a mask, uint8 {0, 255} H×W, is drawn; an empty one draws nothing.

    What the mask covers is left as it is, and all else is dimmed. A contour of two pixels, light and dark, runs
    outside it, and inside it along the edge of the frame. A component below 0.1 % of the face is outlined at a
    distance: its own contour would hardly be seen.
    """
    if not mask.any():
        return image
    area = _grown(mask, face)
    drawn = np.asarray(cv2.convertScaleAbs(image, alpha=DIMMED), dtype=np.uint8)
    drawn[cv2.dilate(area, _disc(2)) > 0] = DARK_RGB
    drawn[cv2.dilate(area, _disc(1)) > 0] = LIGHT_RGB
    cv2.copyTo(image, area, drawn)
    for inset, colour in ((2, LIGHT_RGB), (1, DARK_RGB)):
        edge = area.copy()
        edge[inset:-inset, inset:-inset] = 0
        drawn[edge > 0] = colour
    return drawn


def _grown(mask: Gray, face: Face) -> Gray:
    """Return a mask whose small components are dilated by a small share of the frame."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    # A third of the frame is what an aligned face takes up.
    face_px = cv2.contourArea(regions.oval(face)) if len(face.landmarks) else mask.size / 3
    small = stats[:, cv2.CC_STAT_AREA] < SPECK_SHARE * face_px
    small[0] = False
    specks = small[labels].astype(np.uint8) * np.uint8(255)
    return np.maximum(mask, np.asarray(cv2.dilate(specks, _disc(max(3, min(mask.shape) // 80))), dtype=np.uint8))


def _disc(radius_px: int) -> Gray:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def part_windows(face: Face, hw: tuple[int, ...]) -> list[Window]:
    """Return a window for each of `PARTS` inside a frame of that height and width, all of one height.

    Landmarks outside the frame leave their window at its edge; no window is smaller than an eighth of the frame.
    """
    boxes, margin = _boxes(face, hw)
    tallest = max(bottom - top for _, top, _, bottom in boxes)
    height = int(np.clip(round(tallest + 2 * margin), hw[0] // 8, hw[0]))
    factor = int(np.clip(round(ROW_PX / height), 1, LARGEST_FACTOR))
    windows = []
    for left, top, right, bottom in boxes:
        width = int(np.clip(round(right - left + 2 * margin), hw[1] // 8, hw[1]))
        windows.append(_window(((left + right) / 2, (top + bottom) / 2), (width, height), hw, factor))
    return windows


def _boxes(face: Face, hw: tuple[int, ...]) -> tuple[list[list[float]], float]:
    """Left, top, right, bottom of each part, and the margin round them, in pixels."""
    height, width = hw
    if not len(face.landmarks):
        return (_USUAL_BOXES * [width, height, width, height]).tolist(), 0.25 * MARGIN * width
    parts = [np.concatenate([p for word in words for p in regions.outline(face, word).covers]) for words in PARTS]
    return [[*points.min(axis=0).tolist(), *points.max(axis=0).tolist()] for points in parts], MARGIN * face.interocular


def mask_window(mask: Gray, side_px: int) -> Window:
    """Return a square window round a mask, uint8 H×W, with some margin, to be shown in a square of that side.

    It never leaves the frame, and is the whole frame where the mask is empty. It grows until a whole factor fills the
    square; a mask too large for that is shown smaller.
    """
    height, width = mask.shape
    left, top, w, h = cv2.boundingRect(mask) if mask.any() else (0, 0, width, height)
    side = min(round(1.25 * max(w, h)), max(height, width))
    times = min(side_px // side, LARGEST_FACTOR)
    if times:
        side = side_px // times
    wh = (min(side, width), min(side, height))
    return _window((left + w / 2, top + h / 2), wh, (height, width), times or side_px / side)


def _window(centre: tuple[float, float], wh: tuple[int, int], hw: tuple[int, ...], factor: float) -> Window:
    left, top = (
        int(np.clip(round(middle - side / 2), 0, whole - side))
        for middle, side, whole in zip(centre, wh, reversed(hw), strict=True)
    )
    return Window(left, top, *wh, (round(wh[0] * factor), round(wh[1] * factor)))


def enlarged(pixels: Rgb, window: Window) -> Rgb:
    """Return a window of a picture, RGB uint8 H×W×3, at the size that it is shown at.

    Pixels are repeated: any smoother filter would draw halos that no forger made. Shrinking averages.
    """
    crop = pixels[window.top : window.top + window.height, window.left : window.left + window.width]
    grows = window.shown_wh[0] >= window.width
    shown = cv2.resize(crop, window.shown_wh, interpolation=cv2.INTER_NEAREST if grows else cv2.INTER_AREA)
    return np.asarray(shown, dtype=np.uint8)


def _montage(rows: Sequence[Sequence[Rgb]]) -> Rgb:
    """Lay windows out in rows and columns, with gutters, on grey."""
    widths = [cell.shape[1] for cell in rows[0]]
    height = max(cell.shape[0] for cell in rows[0])
    shape = (len(rows) * (height + GUTTER_PX) + GUTTER_PX, sum(widths) + GUTTER_PX * (len(widths) + 1), 3)
    canvas = np.full(shape, GROUND, np.uint8)
    for number, row in enumerate(rows):
        top, left = GUTTER_PX + number * (height + GUTTER_PX), GUTTER_PX
        for cell in row:
            canvas[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1] + GUTTER_PX
    return canvas
