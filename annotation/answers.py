"""Answers: what one person answered to one task, as plain facts; and what Label Studio wrote, turned into that."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from .protocols import Control


class Kind(StrEnum):
    """Why a task was given out. Its annotator cannot tell; only our own table knows."""

    ORDINARY = "ordinary"
    QUALIFICATION = "qualification"
    GOLD = "gold"  # a known forgery whose regions are known
    CATCH = "catch"  # a pristine face
    REWORK = "rework"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One person's answer to one task, in its latest version.

    Times are the server's, UTC. `lead_time_s` is what the browser claims, `drafted` when the server first saved a
    draft; both may be missing. `region_shares` is the ground truth of the record: how much of each region was edited.
    """

    uid: str  # the annotation's own id, given by the server; never reused
    task_key: str
    record_id: str
    image_sha256: str
    protocol: str
    stage: str
    kind: Kind
    annotator: str  # pseudonym
    language: str
    submitted: datetime
    updated: datetime
    drafted: datetime | None = None
    lead_time_s: float | None = None
    skipped: bool = False
    verdict: str | None = None
    regions: tuple[str, ...] = ()
    text: str = ""
    difficulty: int | None = None
    flags: tuple[str, ...] = ()
    match: str | None = None
    missed: tuple[str, ...] = ()
    about: str | None = None  # uid of the answer that is verified or worked over
    given_sha256: str | None = None  # of the text that was shown: a verdict is about these very words
    round: int = 0  # how often the work was sent back before
    region_shares: Mapping[str, float] | None = None
    signals: tuple[str, ...] = ()  # what the log noticed: see `history.SIGNALS`

    @property
    def reworked(self) -> bool:
        """Whether it works over an earlier answer, of whatever kind that was."""
        return self.round > 0


def in_order(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Return answers in the order in which they were submitted; those of one moment in that of their ids."""
    return tuple(sorted(answers, key=lambda answer: (answer.submitted, answer.uid)))


def numbered(answers: Iterable[Answer]) -> str:
    """Return the texts of several answers as one, numbered: what an adjudicator is shown."""
    return "\n\n".join(f"{number}. {answer.text or '–'}" for number, answer in enumerate(answers, 1))


def text_sha256(text: str) -> str:
    """Return what tells one text from another, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def values(result: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each control holds, from the `result` of an annotation.

    Choices become tuples of aliases in the order of the answer, texts one string (paragraphs joined by newlines),
    a rating an int. Results of unknown controls, or of another shape, are left out: a server accepts anything.
    """
    found: dict[str, Any] = {}
    for item in result:
        if not isinstance(item, Mapping):
            continue
        name, value = item.get("from_name"), item.get("value")
        if name not in tuple(Control) or not isinstance(value, Mapping):
            continue
        read = _READERS.get(str(item.get("type")))
        if read is not None and (held := read(value)) is not None:
            found[str(name)] = held
    return found


def _choices(value: Mapping[str, Any]) -> tuple[str, ...] | None:
    chosen = value.get("choices")
    return tuple(c for c in chosen if isinstance(c, str)) if isinstance(chosen, list) else None


def _text(value: Mapping[str, Any]) -> str | None:
    text = value.get("text")
    lines = [text] if isinstance(text, str) else text
    if not isinstance(lines, list):
        return None
    text = "\n".join(line for line in lines if isinstance(line, str)).strip()
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair can be stored nowhere


def _rating(value: Mapping[str, Any]) -> int | None:
    rating = value.get("rating")
    return rating if isinstance(rating, int) and not isinstance(rating, bool) else None


_READERS = {"choices": _choices, "textarea": _text, "rating": _rating}


def moment(text: str | None) -> datetime | None:
    """Return a server's ISO 8601 time as UTC; None for none."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
