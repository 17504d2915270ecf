"""The few examples that stand for many forgeries: which ones, and their pictures for a page.

Every forged picture that leaves here is framed and says that it is forged.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmtt import html, images
from mmtt.images import Array, Gray, Rgb
from mmtt.record import Record
from mmtt.shards import Lookup
from mmtt.words import cut

EXAMPLES = 4
CANDIDATES = 100
SHOWN_PX = 512
JPEG_QUALITY = 80
PARAMETERS = 8
PARAMETER_LETTERS = 48
LEAST_SHARE = 0.005

Rows = Sequence[Mapping[str, Any]]


def choose(rows: Rows, most: int = EXAMPLES) -> list[str]:
    """Return the ids of the rows to show: of every program one, then those that show most that is new.

    Ties are drawn by digest. Faces that a finder found come before faces that came with landmarks, which
    may be drawn ones: photos show a forgery best.
    """
    pool = _pool(rows)
    traits = {row["record_id"]: _traits(row) for row in pool}
    chosen: list[Mapping[str, Any]] = []
    seen: set[tuple[str, str]] = set()
    programs: set[str] = set()
    targets: Counter[str] = Counter()

    def worth(row: Mapping[str, Any]) -> tuple[bool, bool, int, int]:
        fresh = len(traits[row["record_id"]] - seen)
        return row["manipulator"] not in programs, _found(row), fresh, -targets[row["target_id"]]

    while pool and len(chosen) < most:
        best = max(pool, key=worth)
        pool.remove(best)
        chosen.append(best)
        seen |= traits[best["record_id"]]
        programs.add(best["manipulator"])
        targets[best["target_id"]] += 1
    return [row["record_id"] for row in chosen]


def _pool(rows: Rows) -> list[Mapping[str, Any]]:
    """A few of every program, in an order that has nothing to do with how they were stored."""
    pool: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (not _found(row), row["record_id"])):
        if len(pool[row["manipulator"]]) < CANDIDATES:
            pool[row["manipulator"]].append(row)
    return [row for members in pool.values() for row in members]


def _found(row: Mapping[str, Any]) -> bool:
    return str(row["landmark_finder"]).partition(" ")[0] != "sidecar"


def _traits(row: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What is particular about a forgery: each word among its parameters."""
    traits: set[tuple[str, str]] = set()
    for key, value in _parameters(row["parameters"]).items():
        words = value if isinstance(value, list) else [value]
        traits |= {(key, word) for word in words if isinstance(word, str)}
    return traits


def _parameters(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}  # another dataset's, or another version's
    return found if isinstance(found, dict) else {}


def spoken(text: str | None) -> list[tuple[str, str]]:
    """Return parameters, JSON, in short form for people: key and value, long ones cut, empty ones left out."""
    said = []
    for key, value in sorted(_parameters(text).items()):
        if key == "regions" or value in (None, "", [], {}):
            continue
        said.append((key.replace("_", " "), cut(_spoken_value(value), PARAMETER_LETTERS)))
    return said[:PARAMETERS]


def _spoken_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        plain = len(value) <= 4 and not any(isinstance(item, list | dict) for item in value)
        return ", ".join(map(_spoken_value, value)) if plain else f"{len(value)} values"
    return f"{len(value)} values" if isinstance(value, dict) else str(value)


class Picture(NamedTuple):
    """One picture of an example: its name, its URI, a caption, its text for those who cannot see it."""

    kind: str
    uri: str
    caption: str
    alt: str


def example(record: Record, pristine: Lookup, splits: Mapping[str, str]) -> dict[str, Any]:
    """Return what a page shows of one forged record; `pristine` holds its donor."""
    shares = zip(record.regions, record.region_shares, strict=True)
    return {
        "record": record,
        "split": splits.get(record.target_id or record.record_id, "none"),
        "parameters": spoken(record.parameters),
        "regions": sorted(((word, share) for word, share in shares if share >= LEAST_SHARE), key=lambda item: -item[1]),
        "pictures": list(_pictures(record, pristine)),
    }


def _pictures(record: Record, pristine: Lookup) -> Iterable[Picture]:
    what = f"{record.manipulator} {record.record_id}"
    if record.pristine is not None:
        yield photo("target", record.pristine, "before", f"Target, before the edit. {what}")
    yield Picture("forged", framed(record.image), "after", f"Forged, framed in red. {what}")
    covered = html.percent(record.mask_share)
    yield Picture("mask", mask(record), f"{covered} of the frame", f"Mask, white where altered: {covered}. {what}")
    if record.alpha is not None:
        yield Picture("alpha", alpha(record.alpha), "weight of the blend", f"Alpha, the weight of the blend. {what}")
    if record.change is not None:
        yield _change(record.change, record.change_mean or 0.0, what)
    if record.source_id is not None and record.source_id in pristine:
        yield photo("source", pristine.get(record.source_id).image, "the donor", f"Source, the donor. {what}")


def _change(data: bytes, mean: float, what: str) -> Picture:
    uri, factor = change(data)
    caption = f"mean {mean:.1f}, shown ×{factor:.1f}"
    alt = f"Change by pixel, contrast stretched {factor:.1f} times; mean inside the mask {mean:.1f} of 255. {what}"
    return Picture("change", uri, caption, alt)


def photo(kind: str, data: bytes, caption: str, alt: str, side_px: int = SHOWN_PX) -> Picture:
    """Return a pristine picture, no longer than that on either side."""
    return Picture(kind, _jpeg(_fit(images.decode_rgb(data), side_px)), caption, alt)


def framed(data: bytes, side_px: int = SHOWN_PX) -> str:
    """Return a forged picture as URI, framed."""
    return _jpeg(images.mark_border(_fit(images.decode_rgb(data), side_px)))


def mask(record: Record, side_px: int = SHOWN_PX) -> str:
    """Return a record's mask as URI."""
    fitted = _fit(images.decode_gray(record.mask), side_px, cv2.INTER_NEAREST)
    return html.data_uri(images.encode_png(fitted, 9), "image/png")


def alpha(data: bytes, side_px: int = SHOWN_PX) -> str:
    """Return weights of a blend as URI."""
    return _grey(_fit(images.decode_gray(data), side_px))


def change(data: bytes, side_px: int = SHOWN_PX) -> tuple[str, float]:
    """Return a change as URI, stretched so that its 99.5th percentile is white, and by how much it was stretched."""
    values = images.decode_gray(data)
    touched = values[values > 0]
    factor = max(1.0, 255 / float(np.percentile(touched, 99.5))) if touched.size else 1.0
    stretched = np.clip(values * factor, 0, 255).round().astype(np.uint8)
    return _grey(_fit(stretched, side_px)), factor


def _fit(image: Array, side_px: int, method: int = cv2.INTER_AREA) -> Array:
    """Scale an image down so that neither side is longer than what the page shows."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=method)


def _jpeg(image: Rgb) -> str:
    return html.data_uri(images.encode_jpeg(image, JPEG_QUALITY), "image/jpeg")


def _grey(image: Gray) -> str:
    """Whichever is smaller: flat areas make small PNGs, soft ones small JPEGs."""
    png = images.encode_png(image, 9)
    jpeg = images.encode_jpeg(np.repeat(image[..., None], 3, axis=2), JPEG_QUALITY)
    return html.data_uri(png, "image/png") if len(png) <= len(jpeg) else html.data_uri(jpeg, "image/jpeg")


def border(side_px: int = SHOWN_PX) -> float:
    """Return the share of a framed picture's width that one side of the frame takes; unframed ones leave it free."""
    framed = images.mark_border(np.zeros((side_px, side_px, 3), np.uint8)).shape[1]
    return (framed - side_px) / 2 / framed
