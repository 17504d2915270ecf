"""Heat maps: where the masks of a family lie, as their mean over a sample, under the mean face where one is known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from mmtt import html, images
from mmtt import landmarks as lm
from mmtt.errors import DamagedError
from mmtt.landmarks import Points
from mmtt.shards import Shard

MASKS = 200
SIDE_PX = 96
COLOURS = cv2.COLORMAP_VIRIDIS  # even in lightness, so that it can be read without seeing hues, on any ground
# Open outlines first, closed ones after; of the 68 points of iBUG.
_OPEN = (lm.JAW, lm.RIGHT_BROW, lm.LEFT_BROW, lm.NOSE_BRIDGE, lm.NOSE_BASE)
_CLOSED = (lm.RIGHT_EYE, lm.LEFT_EYE, lm.LIPS_OUTER)

Map = images.Array  # float64 H×W, 0–1


class Heat(NamedTuple):
    """A family's heat map for a page.

    uri: PNG. n: how many masks it is the mean of. peak: its largest value, 0–1. face: SVG path of the mean face in a
    frame of side 100; empty where no landmarks are known. faces: how many faces that is the mean of.
    """

    uri: str
    n: int
    peak: float
    face: str
    faces: int


class _Sum:
    """What is summed up over the sampled rows of one family."""

    def __init__(self) -> None:
        self.masks: Map = np.zeros((SIDE_PX, SIDE_PX))
        self.n = 0
        self.points: list[Points] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row; a mask that cannot be decoded is left out, and the count tells."""
        try:
            mask = images.decode_gray(row["mask"]["bytes"])
        except DamagedError:
            return
        share = (mask > 0).astype(np.float32)
        self.masks += cv2.resize(share, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        self.n += 1
        points = _points(row, mask.shape)
        if points is not None:
            self.points.append(points)


def heat_maps(families: Mapping[str, pd.DataFrame], shards: Sequence[Path]) -> tuple[dict[str, Heat], float]:
    """Return the heat map of each family, and the value, 0–1, that all of them show as the brightest.

    At most `MASKS` masks of each are read, those of the smallest record ids: ids are digests, so these are drawn
    evenly, and are the same on every machine.
    """
    sums = {family: _Sum() for family in families}
    drawn = [rows.sort_values("record_id")[:MASKS].assign(family=family) for family, rows in families.items()]
    if drawn:
        for number, members in pd.concat(drawn).groupby("shard"):
            _add_rows(Shard(shards[number]), members, sums)
    means = {family: found.masks / found.n for family, found in sums.items() if found.n}
    top = max((float(mean.max()) for mean in means.values()), default=1.0) or 1.0
    return {family: _heat(mean, sums[family], top) for family, mean in means.items()}, top


def _add_rows(shard: Shard, rows: pd.DataFrame, sums: Mapping[str, _Sum]) -> None:
    for group, members in rows.groupby("row_group"):
        table = shard.group(group, ["mask", "landmarks", "landmark_scheme"]).take(members["row"].tolist())
        for row, family in zip(table.to_pylist(), members["family"], strict=True):
            sums[family].add(row)


def _heat(mean: Map, found: _Sum, top: float) -> Heat:
    face = np.mean(found.points, axis=0) if found.points else None
    return Heat(
        _coloured(mean / top), found.n, float(mean.max()), "" if face is None else _path(face), len(found.points)
    )


def scale() -> str:
    """Return the colours from 0 to the brightest, left to right, as the URI of a PNG."""
    return _coloured(np.linspace(0, 1, 128)[None].repeat(2, axis=0))


def _coloured(values: Map) -> str:
    grey = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(grey, COLOURS), cv2.COLOR_BGR2RGB)
    return html.data_uri(images.encode_png(rgb, 9), "image/png")


def _points(row: Mapping[str, Any], hw: tuple[int, ...]) -> Points | None:
    """The 68 points as shares of the frame; None where the face was not looked for, or is not what its scheme says."""
    known = lm.SCHEMES.get(row["landmark_scheme"])
    if known is None or known.name == lm.UNKNOWN or len(row["landmarks"]) != known.points:
        return None
    points = lm.points_68(np.asarray(row["landmarks"], np.float32), known.name)
    return np.asarray((points + 0.5) / np.array([hw[1], hw[0]]), dtype=np.float32)


def _path(face: Points) -> str:
    lines = [_line(face[part]) for part in _OPEN] + [f"{_line(face[part])}Z" for part in _CLOSED]
    return "".join(lines)


def _line(points: Points) -> str:
    return "M" + "L".join(f"{100 * x:.1f} {100 * y:.1f}" for x, y in points)
