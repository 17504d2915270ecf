"""Item: one picture of somebody else's dataset as an importer read it, before anything of ours is derived."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What a column of a table may hold, and the names by which it is found where the user maps none.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image",),
    "mask": ("mask",),
    "id": ("id",),
    "family": ("family", "manipulation", "label"),
    "manipulator": ("manipulator",),
    "split": ("split",),
    "group": ("group", "subject"),
    "text": ("text",),
    "language": ("language",),
    "text_origin": ("text_origin",),
    "regions": ("regions",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text about a picture: its words, the regions that its origin says it names (of the 21), its language.

    regions: None where the origin stores none. text_origin, protocol: as in `mmtt.reports.Report`.
    """

    text: str
    regions: tuple[str, ...] | None = None
    text_origin: str = "unknown"
    language: str = "en"
    protocol: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture.

    origin_id: its id there; with the origin's name it decides the `record_id`.
    image: the file's bytes, which stay as they are. mask: the mask file's bytes; None for a pristine picture.
    manipulation, manipulator: family and program; None if pristine.
    split: train, validation or test.
    group: what ties it to others (a person, the photo that it was made from); None where nothing is known.
    parameters: what the origin tells of how it was made, as plain JSON.
    place: where it lies in the source, for whoever looks for a refused one; its id where that says so.
    """

    origin_id: str
    image: bytes
    mask: bytes | None
    manipulation: str | None
    manipulator: str | None
    split: str
    group: str | None = None
    texts: tuple[Text, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = None
