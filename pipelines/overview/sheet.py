"""Contact sheet: a few forgeries of a release as one picture, each between its target and its mask."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
import pandas as pd

from mmtt import html, images
from mmtt.errors import DamagedError
from mmtt.images import Gray, Rgb
from mmtt.record import Record
from mmtt.release import Release
from mmtt.shards import Lookup

from .. import examples
from ..builds import named
from . import tables
from .facts import read_facts
from .gallery import candidates

FORGERIES, ACROSS = 12, 3
SIDE_PX, GAP_PX, MARGIN_PX = 128, 6, 16
_FRAMED_PX = images.mark_border(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)).shape[0]
_CELL_PX = (2 * SIDE_PX + _FRAMED_PX + 2 * GAP_PX, _FRAMED_PX + 44)  # width, height: pictures and two lines
_HEAD_PX = 76
_GROUND, _EMPTY, _INK, _SOFT = 248, 224, (26, 26, 26), (92, 92, 92)
_LETTERS = 56


def contact_sheet(release: Path, title: str) -> bytes:
    """Return a contact sheet of a release as PNG: forgeries of every family in turn, framed and labelled.

    The same shards and title give the same bytes. Records whose pictures cannot be decoded are passed over.

    Args:
        release: the folder.
        title: of the dataset, for people; one that the letters at hand cannot write gives way to the recipe's name.

    Raises:
        UserError: no release, or no dataset.
    """
    facts = read_facts(release)
    chosen = _chosen({name: candidates(facts, rows) for name, rows in tables.by_family(facts.forged).items()})
    lookup = Lookup(facts.shards_of(facts.forged))
    cells = [cell for _, cell in zip(range(FORGERIES), _cells(chosen, lookup), strict=False)]
    return images.encode_png(_assembled(_headline(release, title), cells, len(facts.forged)), 9)


def _headline(release: Path, title: str) -> str:
    plain = normalize("NFKC", title)
    return f"{plain} {Release.load(release).version}" if plain.isascii() and plain.strip() else named(release)


def _chosen(families: Mapping[str, examples.Rows]) -> list[str]:
    """Ids in the order in which they are shown: the first of every family, then the second; new faces before others."""
    queues = [examples.choose(rows, FORGERIES) for rows in families.values()]
    target_of = {row["record_id"]: row["target_id"] for rows in families.values() for row in rows}
    chosen: list[str] = []
    seen: set[str] = set()
    while any(queues):
        for queue in filter(None, queues):
            fresh = (name for name in queue if pd.isna(target_of[name]) or target_of[name] not in seen)
            best = next(fresh, queue[0])
            queue.remove(best)
            chosen.append(best)
            seen.add(target_of[best])
    return chosen


def _cells(record_ids: Sequence[str], lookup: Lookup) -> Iterator[Rgb]:
    for record_id in record_ids:
        try:
            yield _cell(lookup.get(record_id))
        except DamagedError:
            continue  # `mmtt verify` names it


def _cell(record: Record) -> Rgb:
    """Target, forgery and mask beside each other, and what they are below."""
    cell = _blank(*_CELL_PX)
    target = None if record.pristine is None else images.decode_rgb(record.pristine)
    forged, mask = images.decode_rgb(record.image), images.decode_gray(record.mask)
    below = (_FRAMED_PX - SIDE_PX) // 2
    _put(cell, np.full((SIDE_PX, SIDE_PX, 3), _EMPTY, np.uint8) if target is None else _square(target), 0, below)
    _put(cell, images.mark_border(_square(forged)), SIDE_PX + GAP_PX, 0)
    _put(cell, _square(cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)), SIDE_PX + 2 * GAP_PX + _FRAMED_PX, below)
    if target is None:
        _write(cell, "no target", (30, _FRAMED_PX // 2), 0.42, _SOFT)
    _write(cell, str(record.manipulation), (0, _FRAMED_PX + 17), 0.5, _INK)
    what = f"{record.manipulator or 'unknown'}, {html.percent(record.mask_share)} of the frame, {record.record_id[:8]}"
    _write(cell, what, (0, _FRAMED_PX + 35), 0.42, _SOFT)
    return cell


def _square(image: Rgb | Gray) -> Rgb:
    """Scale a picture into a square; what it leaves free stays grey."""
    height, width = image.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    square = np.full((SIDE_PX, SIDE_PX, 3), _EMPTY, np.uint8)
    _put(square, small, (SIDE_PX - size[0]) // 2, (SIDE_PX - size[1]) // 2)
    return square


def _assembled(name: str, cells: Sequence[Rgb], forged: int) -> Rgb:
    lines = max(-(-len(cells) // ACROSS), 1)
    width = 2 * MARGIN_PX + ACROSS * _CELL_PX[0] + (ACROSS - 1) * MARGIN_PX
    sheet = _blank(width, _HEAD_PX + lines * (_CELL_PX[1] + GAP_PX))
    _write(sheet, name, (MARGIN_PX, 32), 0.75, _INK)
    told = (
        f"{len(cells)} of {forged:,} forgeries, framed in red; to the left of each its target, to the right its mask. "
    )
    _write(sheet, f"{told}None of them shows anything that happened.", (MARGIN_PX, 56), 0.45, _SOFT, letters=200)
    for number, cell in enumerate(cells):
        down, across = divmod(number, ACROSS)
        left = MARGIN_PX + across * (_CELL_PX[0] + MARGIN_PX)
        _put(sheet, cell, left, _HEAD_PX + down * (_CELL_PX[1] + GAP_PX))
    return sheet


def _blank(width: int, height: int) -> Rgb:
    return np.full((height, width, 3), _GROUND, np.uint8)


def _put(sheet: Rgb, picture: Rgb, left: int, top: int) -> None:
    sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _write(
    sheet: Rgb, text: str, at: tuple[int, int], scale: float, ink: tuple[int, int, int], letters: int = _LETTERS
) -> None:
    """Write a line; OpenCV's letters are ASCII, and a stranger's name may hold any."""
    plain = normalize("NFKC", examples.cut(text, letters)).encode("ascii", "replace").decode()
    cv2.putText(sheet, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
