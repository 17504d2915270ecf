"""From an item of somebody else's dataset to rows of ours: the record, its split, its reports.

The picture's bytes stay as they are. The mask is theirs, read as grey and at more than 127; how much of the frame it
covers when it is read in the two other ways that are in use (`> 0`, `== 255`) is noted in `parameters`.
"""

import hashlib
import hmac
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmtt import images
from mmtt.errors import DamagedError, Rejected, UserError
from mmtt.faces import Face
from mmtt.ids import derived_id
from mmtt.images import Array, Gray, Rgb
from mmtt.landmarks import UNKNOWN
from mmtt.lexicon import claimed
from mmtt.licences import obligations
from mmtt.manipulator import FAMILIES, UNTOLD
from mmtt.masks import MaskRule
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.recipe import SPLITS
from mmtt.record import Record, Rejection
from mmtt.regions import REGIONS, edited_shares
from mmtt.reports import Report

from ..photos import readable
from .item import Item, Text

STAGE = "import"
NO_TEMPLATE = "none"
MAX_PIXELS = 100_000_000
MAX_BRIEF = 500  # characters of a rejection's words
MAX_TEXT = 100_000  # characters; the longest report of a person is a thousandth of it
# How masks are read by those who publish them: the name under which the share is noted, and the rule.
READINGS = {
    "mask_share_above_0": lambda gray: gray > 0,
    "mask_share_above_127": lambda gray: gray > ALTERED_ABOVE,
    "mask_share_at_255": lambda gray: gray == 255,
}
NOT_RGB = "not_rgb"
# Pillow's names of what pictures hold that are not RGB of 8 bits, for people.
_MODES = {
    "1": " (black and white)", "L": " (grey)", "LA": " (grey with alpha)", "P": " (palette)",
    "RGBA": " (with alpha)", "CMYK": " (for print)", "I": " (grey of 16 bits)", "I;16": " (grey of 16 bits)",
}  # fmt: skip
_IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


@dataclass(frozen=True)
class Origin:
    """Where an imported dataset comes from, and what all its rows share.

    name: `origin` of every row; with an item's id there it decides the `record_id`. secret: the dataset's salt.
    find_faces: whether MediaPipe looks for a face in each picture, so that regions can be measured.
    """

    name: str
    licence: str
    consent: str
    secret: str
    find_faces: bool = False


def rows_of(origin: Origin, items: Sequence[Item]) -> list[Record | Rejection]:
    """Return a row for each item, in order: a record, or why there can be none."""
    found: list[Record | Rejection] = []
    for item in items:
        try:
            found.append(_record(origin, item))
        except Rejected as reason:
            found.append(refused(origin, item, reason.code, reason.detail))
    return found


def refused(origin: Origin, item: Item, code: str, detail: str) -> Rejection:
    """Return the rejection of an item."""
    made, path = record_id(origin.name, item.origin_id), brief(item.place or item.origin_id)
    return Rejection(stage=STAGE, code=code, detail=brief(detail), path=path, record_id=made)


def brief(text: str) -> str:
    """Return a stranger's words as a rejection holds them: storable, and cut where they are endless."""
    return storable(text)[:MAX_BRIEF]


def storable(text: str) -> str:
    """Return text that can be stored: bytes that are no UTF-8, and halves of characters, are written out."""
    try:
        return readable(text)
    except UnicodeEncodeError:  # half a character, which JSON can hold and no file name
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def record_id(origin: str, origin_id: str) -> str:
    """Return the id of the record made from an item."""
    return derived_id("imported", origin, origin_id)


def group_id(origin: Origin, item: Item) -> str:
    """Return the salted hash of what ties the item to others; of its picture where nothing is known."""
    key = f"picture:{images.sha256(item.image)}" if item.group is None else f"group:{origin.name}:{item.group}"
    return hmac.new(origin.secret.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:24]


def reports_of(item: Item, record: str, image_sha256: str) -> Iterator[Report]:
    """Yield the texts about an item, in its order.

    `regions` are the words that the origin stores, else what our lexicon reads in the text, as `text_regions` are.
    """
    for rank, text in enumerate(item.texts):
        read = _read(text)
        stored = read if text.regions is None else [word for word in REGIONS if word in text.regions]
        yield Report(
            report_id=derived_id("imported report", record, rank),
            record_id=record,
            image_sha256=image_sha256,
            rank=rank,
            settled="single",
            annotator="unknown",
            protocol=text.protocol,
            verdict="visible" if item.manipulation is not None and stored else "unknown",
            regions=stored,
            text_regions=read,
            difficulty=None,
            text=text.text,
            language=text.language,
            text_origin=text.text_origin,
            submitted=None,
            dwell_s=None,
        )


def _read(text: Text) -> list[str]:
    try:
        return list(claimed(text.text, text.language))
    except UserError:  # a language that the lexicon has no words of
        return []


def _record(origin: Origin, item: Item) -> Record:
    _require_sound(item)
    pixels = _decode_image(item.image)
    face = _face(pixels) if origin.find_faces else None
    if item.manipulation is None:
        edit: dict[str, Any] = {"mask": images.encode_png(np.zeros(pixels.shape[:2], np.uint8))}
    else:
        edit = _edit(item, pixels, face)
    return Record(
        record_id=record_id(origin.name, item.origin_id),
        image_sha256=images.sha256(item.image),
        image=item.image,
        **edit,
        landmarks=[] if face is None else face.landmarks.tolist(),
        landmark_scheme=UNKNOWN if face is None else face.scheme,
        landmark_finder="none" if face is None else face.finder,
        align_matrix=_IDENTITY,
        template=NO_TEMPLATE,
        origin=origin.name,
        origin_id=item.origin_id,
        licence=origin.licence,
        consent=origin.consent,
        group_id=group_id(origin, item),
        obligations=sorted(obligations(origin.licence)),
    )


def _require_sound(item: Item) -> None:
    """Refuse what no row may say.

    Raises:
        Rejected: `bad_record`, `missing_mask`.
    """
    words = [item.origin_id, item.manipulation or "", item.manipulator or "", *(text.text for text in item.texts)]
    if any(not _is_text(word) for word in words):
        raise Rejected("bad_record", f"holds a text that is no Unicode, or longer than {MAX_TEXT:,} characters")
    if item.split not in SPLITS:
        raise Rejected("bad_record", f"split {item.split!r} is none of {', '.join(SPLITS)}")
    if item.manipulation is not None and item.manipulation not in (*FAMILIES, UNTOLD):
        raise Rejected("bad_record", f"family {item.manipulation!r} is none of {', '.join((*FAMILIES, UNTOLD))}")
    if item.manipulation is not None and item.mask is None:
        raise Rejected("missing_mask", "a forgery without its mask")
    if item.manipulation is None and item.mask is not None:
        raise Rejected("bad_record", "a mask, but no forgery")


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return len(word) <= MAX_TEXT


def _decode_image(data: bytes) -> Rgb:
    """Decode a picture twice: Pillow knows a truncated one, and OpenCV is what every reader of ours sees.

    Raises:
        Rejected: `bad_image`, `not_rgb`.
    """
    picture = _open(data, "bad_image")
    if picture.mode != "RGB":
        mode = f"{picture.mode}{_MODES.get(picture.mode, '')}"
        raise Rejected(NOT_RGB, f"the picture is {picture.format} of mode {mode}; convert it to RGB of 8 bits")
    _load(picture, "bad_image")
    try:
        return images.decode_rgb(data)
    except DamagedError as error:
        raise Rejected(NOT_RGB, "the picture does not decode into RGB; convert it to RGB of 8 bits") from error


def _open(data: bytes, code: str) -> Image.Image:
    if not data:
        raise Rejected(code, "the file has no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are judged below, and of what Pillow mends
            picture = Image.open(io.BytesIO(data), formats=images.FORMATS)
    except Image.DecompressionBombError as error:
        raise Rejected(code, f"its header claims more than the {MAX_PIXELS:,} pixels that are decoded") from error
    except Exception as error:  # decoders raise anything on hostile headers
        raise Rejected(code, f"the file is none of {', '.join(images.FORMATS)}") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise Rejected(code, f"{picture.width}×{picture.height} is more than {MAX_PIXELS:,} pixels")
    return picture


def _load(picture: Image.Image, code: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.load()
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Rejected(code, f"the {picture.format} cannot be decoded to its end: {str(error)[:200]}") from error


def _edit(item: Item, pixels: Rgb, face: Face | None) -> dict[str, Any]:
    """Return the columns of a forgery."""
    data = item.mask or b""
    picture = _open(data, "bad_mask")
    if picture.size != (pixels.shape[1], pixels.shape[0]):
        sizes = f"{picture.width}×{picture.height}, the picture {pixels.shape[1]}×{pixels.shape[0]}"
        raise Rejected("mask_size", f"the mask is {sizes}")
    _load(picture, "bad_mask")
    gray = _gray(picture)
    mask = (gray > ALTERED_ABOVE).astype(np.uint8) * np.uint8(255)
    if not mask.any():
        raise Rejected("empty_mask", f"no pixel of the mask is above {ALTERED_ABOVE}; the brightest is {gray.max()}")
    shares = {} if face is None else edited_shares(face, mask)
    same = picture.format == "PNG" and picture.mode == "L" and np.array_equal(gray, mask)
    return {
        "mask": images.encode_png(mask),
        "origin_mask": None if same else data,
        "manipulation": item.manipulation,
        "manipulator": item.manipulator,
        "parameters": _parameters(item, picture, gray),
        "mask_rule": MaskRule.IMPORTED,
        "exact_mask": False,  # whatever their makers say of them, nothing here can show it
        "mask_share": np.count_nonzero(mask) / mask.size,
        "regions": list(shares),
        "region_shares": list(shares.values()),
    }


def _gray(picture: Image.Image) -> Gray:
    """Return a mask's values, uint8 H×W, as Pillow reads any picture as grey: that is how masks are read elsewhere."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(picture.convert("L"), np.uint8)
    except Exception as error:
        raise Rejected("bad_mask", f"a mask of mode {picture.mode} cannot be read as grey") from error


def _parameters(item: Item, picture: Image.Image, gray: Array) -> str:
    noted = {name: round(float(reading(gray).mean()), 6) for name, reading in READINGS.items()}
    told = {**item.parameters, "mask_file": f"{picture.format} {picture.mode}", **noted}
    return json.dumps(told, sort_keys=True)


def _face(pixels: Rgb) -> Face | None:
    from ..finders.mediapipe import MediapipeFinder

    faces = MediapipeFinder().find(pixels, "")
    return max(faces, key=lambda face: face.interocular) if faces else None
