"""The audits' page: each question with its answer, its figures, and the rows that look worst, as pictures."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import cv2

from mmtt import html, images
from mmtt.audit import KINDS, Example, Verdict
from mmtt.errors import DamagedError
from mmtt.evidence import Evidence, Pixels, chunks, records_of
from mmtt.words import printable

from ..examples import border, cut
from .run import Audited, Outcome

SHOWN_PX, JPEG_QUALITY = 192, 82
SHOWN_EXAMPLES = 6
MOST_PICTURES = 240  # of the whole page: about three megabytes
ROWS_OF_DETAIL = 40
_SHOWS_WORST = (Verdict.FAILS, Verdict.DOUBTFUL, Verdict.TOLD, Verdict.PASSES)


class Shown(NamedTuple):
    """One worst row as the page shows it: its pictures as URIs, framed where forged; None where it is not a row."""

    example: Example
    uri: str | None
    forged: bool
    other_uri: str | None
    other_forged: bool


class Table(NamedTuple):
    """Figures of one detail: column names (empty for one figure a row), and rows of a name and its figures."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Any]]]
    left_out: int


def page(audited: Audited, evidence: Evidence) -> str:
    """Return the page as HTML that opens offline; everything in it is escaped."""
    pictures = _pictures(audited, evidence)
    outcomes = [_context(outcome, pictures) for outcome in audited.outcomes]
    return html.render(
        __package__.rpartition(".")[0],
        "audits.html.j2",
        audited=audited,
        name=printable(audited.name),
        counts=audited.counts(),
        outcomes=outcomes,
        sections=[(kind, [row for row in outcomes if row["id"][0] == letter]) for letter, kind in KINDS.items()],
        border=border(SHOWN_PX),
    )


def _context(outcome: Outcome, pictures: Mapping[str, tuple[str, bool]]) -> dict[str, Any]:
    told = outcome.to_dict()
    scalars, tables = _details(told.get("details", {}))
    worst = [Example(**named) for named in told.get("worst", ())[:SHOWN_EXAMPLES]]
    return told | {"scalars": scalars, "tables": tables, "shown": [_shown(example, pictures) for example in worst]}


def _shown(example: Example, pictures: Mapping[str, tuple[str, bool]]) -> Shown:
    uri, forged = pictures.get(example.record_id, (None, False))
    other_uri, other_forged = pictures.get(example.other_id or "", (None, False))
    return Shown(example, uri, forged, other_uri, other_forged)


def _details(details: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[Table]]:
    """Sort details into single figures and tables; what is neither is shown as its text."""
    scalars, tables = [], []
    for name, value in details.items():
        if isinstance(value, Mapping):
            tables.append(_tabled(name, value))
        else:
            scalars.append((name, cut(str(value), 200) if isinstance(value, str | list) else value))
    return scalars, tables


def _tabled(title: str, figures: Mapping[str, Any]) -> Table:
    deep = any(isinstance(value, Mapping) for value in figures.values())
    columns = list(dict.fromkeys(key for value in figures.values() if isinstance(value, Mapping) for key in value))
    rows = [
        (name, [value.get(column) for column in columns] if isinstance(value, Mapping) else [value])
        for name, value in figures.items()
    ]
    return Table(title, columns if deep else [], rows[:ROWS_OF_DETAIL], max(len(rows) - ROWS_OF_DETAIL, 0))


def _pictures(audited: Audited, evidence: Evidence) -> dict[str, tuple[str, bool]]:
    """Return the thumbnail of every record that the page shows, and whether it is forged."""
    wanted = list(dict.fromkeys(_named(audited.outcomes)))[:MOST_PICTURES]
    rows = evidence.rows[evidence.rows["record_id"].isin(wanted)]
    found = {}
    for chunk in chunks(rows):
        for record in records_of(chunk):
            uri = _thumbnail(Pixels(record))
            if uri is not None:
                found[record.record_id] = (uri, record.manipulation is not None)
    return found


def _named(outcomes: Iterable[Outcome]) -> Iterable[str]:
    for outcome in sorted(outcomes, key=lambda outcome: _SHOWS_WORST.index(outcome.verdict) if outcome.finding else 9):
        for example in outcome.finding.worst[:SHOWN_EXAMPLES] if outcome.finding else ():
            yield from (name for name in (example.record_id, example.other_id) if name)


def _thumbnail(pixels: Pixels) -> str | None:
    try:
        image = pixels.image
    except DamagedError:
        return None
    scale = SHOWN_PX / max(image.shape[:2])
    small = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    marked = small if pixels.record.manipulation is None else images.mark_border(small)
    return html.data_uri(images.encode_jpeg(marked, JPEG_QUALITY), "image/jpeg")
