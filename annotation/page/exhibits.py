"""Exhibits: single answers as the curator's page shows them, with their pictures. Every forged picture is framed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from mmtt import html, images
from mmtt.images import Array, Rgb
from mmtt.manifest import shard_paths
from mmtt.record import Record
from mmtt.shards import Lookup

from ..answers import Answer
from ..desk import Desk
from ..protocols import StageName
from ..quality import Finding
from ..quality.people import EDITED

SHOWN_PX = 320
JPEG_QUALITY = 75
MOST_PICTURES = 150  # so that the page stays under about 5 MB


class Picture(NamedTuple):
    """One picture: its kind (`forged`, `pristine` or `mask`), its URI, and its text for those who cannot see it."""

    kind: str
    uri: str
    alt: str


class Chip(NamedTuple):
    """A region: whether it was chosen, and whether it was edited (None where nobody knows); the share, 0–1."""

    word: str
    chosen: bool
    edited: bool | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One answer and what the page tells of it.

    `status`: as in `standing`; empty for a review. `origin`: `model` or `template`; empty for a person's own words.
    `repeats`: a verification that leaves the report's words as they are.
    """

    answer: Answer
    day: str
    status: str
    origin: str
    repeats: bool
    chips: Sequence[Chip]
    finding: Finding | None


class Exhibits:
    """Makes exhibits of a desk's answers, with pictures until the page holds as many as it should."""

    def __init__(self, desk: Desk) -> None:
        layout, self._status = desk.layout, desk.standing.status
        self._forged, self._pristine = Lookup(shard_paths(layout.forged)), Lookup(shard_paths(layout.pristine))
        self._writes = {person.pseudonym: person.writes for person in desk.people.persons}
        self._about: dict[str, list[Answer]] = defaultdict(list)
        for answer in desk.answers:
            self._about[answer.record_id].append(answer)
        self._left = MOST_PICTURES

    def of(self, answer: Answer, finding: Finding | None = None) -> Exhibit:
        """Return an answer without pictures, with what a rule says about it."""
        return Exhibit(
            answer=answer,
            day=answer.submitted.date().isoformat(),
            status=self._status.get(answer.uid, ""),
            origin=self._origin(answer),
            repeats=answer.stage == StageName.VERIFY and answer.text == self._given(answer),
            chips=chips(answer),
            finding=finding,
        )

    def pictures(self, record_id: str) -> list[Picture]:
        """Return the pictures of a record; none of one that is gone, or when the page is full."""
        if self._left <= 0:
            return []
        found = self._found(record_id)
        self._left -= len(found)
        return found

    def _found(self, record_id: str) -> list[Picture]:
        if record_id in self._forged:
            return _forged(self._forged.get(record_id))
        if record_id in self._pristine:
            image = _jpeg(_fit(images.decode_rgb(self._pristine.get(record_id).image)))
            return [Picture("pristine", image, f"Pristine. {record_id}")]
        return []

    def _given(self, answer: Answer) -> str | None:
        return next((one.text for one in self._about[answer.record_id] if one.uid == answer.about), None)

    def _origin(self, answer: Answer) -> str:
        """Who wrote an answer's words, or those that it edits or repeats: a machine's stay a machine's."""
        if not answer.text:
            return ""
        same = [a for a in self._about[answer.record_id] if a.uid == answer.about or a.text == answer.text]
        hands = [self._writes.get(one.annotator, "human") for one in (answer, *same)]
        return next((hand for hand in hands if hand != "human"), "")


def chips(answer: Answer) -> list[Chip]:
    """Return the regions that were chosen or edited, those edited most first; of a verification, those it misses."""
    shares: Mapping[str, float] = answer.region_shares or {}
    edited = () if answer.stage == StageName.VERIFY else (word for word, share in shares.items() if share >= EDITED)
    words = {*answer.regions, *answer.missed, *edited}
    found = [_chip(word, answer, shares) for word in words]
    return sorted(found, key=lambda chip: (not chip.chosen, -chip.share, chip.word))


def _chip(word: str, answer: Answer, shares: Mapping[str, float]) -> Chip:
    edited = None if answer.region_shares is None else shares.get(word, 0.0) >= EDITED
    return Chip(word, word in answer.regions or word in answer.missed, edited, shares.get(word, 0.0))


def _forged(record: Record) -> list[Picture]:
    what = f"{record.manipulation} {record.record_id}"
    framed = images.mark_border(_fit(images.decode_rgb(record.image)))
    mask = images.encode_png(_fit(images.decode_gray(record.mask), cv2.INTER_NEAREST), 9)
    told = f"Mask, white where altered: {html.percent(record.mask_share or 0)} of the frame. {what}"
    return [
        Picture("forged", _jpeg(framed), f"Forged, framed in red. {what}"),
        Picture("mask", html.data_uri(mask, "image/png"), told),
    ]


def _fit(image: Array, method: int = cv2.INTER_AREA) -> Array:
    """Scale an image down so that neither side is longer than what the page shows."""
    height, width = image.shape[:2]
    scale = SHOWN_PX / max(height, width)
    return (
        image if scale >= 1 else cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=method)
    )


def _jpeg(image: Rgb) -> str:
    return html.data_uri(images.encode_jpeg(image, JPEG_QUALITY), "image/jpeg")


def border() -> float:
    """Return the share of a framed picture's width that one side of the frame takes; unframed ones leave it free."""
    framed = images.mark_border(np.zeros((SHOWN_PX, SHOWN_PX, 3), np.uint8)).shape[1]
    return (framed - SHOWN_PX) / 2 / framed
