"""History: the log told as answers. The latest version of each counts, unless something about it does not fit."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from mmtt.ids import digest

from .answers import Answer, Kind, moment, values
from .log import Event, Log
from .protocols import VISIBLE, Control
from .selection import Subject

# What the log may notice about an answer.
SIGNALS: Mapping[str, str] = {
    "author_changed": "Its author was changed on the server.",
    "author_lost": "Its author's account was deleted on the server.",
    "author_unknown": "Nobody in people.csv has its author's account.",
    "edited_by_another": "Another account edited it last.",
    "time_shrank": "The time that it claims became less.",
    "moved": "It was moved to another task.",
    "vanished": "It is gone from the server.",
    "changed_after_acceptance": "It was changed after its report had been accepted.",
}


class Names(Protocol):
    """Knows who is behind an account."""

    def pseudonym(self, user_id: int) -> str | None:
        """Return the pseudonym of a Label Studio account; None for a stranger."""
        ...


@dataclass(frozen=True, slots=True)
class _Told:
    """What the log says of one annotation."""

    versions: Sequence[Event]
    vanished: bool
    accepted: str | None


def answers(log: Log, names: Names, subjects: Iterable[Subject], languages: Mapping[str, str]) -> list[Answer]:
    """Return every answer of the log, in order of their uids.

    Args:
        log: the log.
        names: who is behind an account.
        subjects: the records that can be asked about; an answer about another one has no truth to compare with.
        languages: the language in which each pseudonym writes; `en` where it is not said.
    """
    truth = {subject.record_id: subject.region_shares for subject in subjects}
    facts = tasks(log)
    made = [_answer(uid, told, facts, names, truth, languages) for uid, told in sorted(_annotations(log))]
    return [answer for answer in made if answer is not None]


def tasks(log: Log) -> dict[str, dict[str, Any]]:
    """Return the facts of every task that was ever sent, by its key; those that were erased are left out."""
    found: dict[str, dict[str, Any]] = {}
    for event in log.events("task"):
        if event.payload is not None:
            found.setdefault(event.subject, {**event.payload, "project": event.header["project"]})
    return found


def version(payload: Mapping[str, Any]) -> str:
    """Return what tells one version of an annotation from another, 64 hex digits: what was said, and by whom."""
    return digest([payload["completed_by"], payload["was_cancelled"], payload["result"]])


def versions(log: Log) -> dict[str, str]:
    """Return the latest version of every answer that was not erased, by its uid."""
    latest = {event.subject: event.payload for event in log.events("answer")}
    return {uid: version(payload) for uid, payload in latest.items() if payload is not None}


def _annotations(log: Log) -> Iterable[tuple[str, _Told]]:
    versions: dict[str, list[Event]] = defaultdict(list)
    vanished: set[str] = set()
    accepted: dict[str, str] = {}
    for event in log.events("answer", "vanished", "accepted"):
        if event.kind == "answer":
            versions[event.subject].append(event)
            vanished.discard(event.subject)
        elif event.kind == "vanished":
            vanished.add(event.subject)
        else:
            accepted[event.subject] = (event.payload or {}).get("version", "")
    return ((uid, _Told(told, uid in vanished, accepted.get(uid))) for uid, told in versions.items())


def _answer(
    uid: str,
    told: _Told,
    facts: Mapping[str, Mapping[str, Any]],
    names: Names,
    truth: Mapping[str, Mapping[str, float]],
    languages: Mapping[str, str],
) -> Answer | None:
    first, last = told.versions[0].payload, told.versions[-1].payload
    task = facts.get(told.versions[0].header["task"])
    if first is None or last is None or task is None:
        return None  # erased
    author = _author(first, names)
    held = values(last["result"] or [])
    verdict = next(iter(held.get(Control.VERDICT, ())), None)
    return Answer(
        uid=uid,
        task_key=told.versions[0].header["task"],
        record_id=task["record_id"],
        image_sha256=task["image_sha256"],
        protocol=task["protocol"],
        stage=task["stage"],
        kind=Kind(task["kind"]),
        annotator=author,
        language=languages.get(author, "en"),
        submitted=moment(first["created_at"]),
        updated=moment(last["updated_at"]),
        drafted=moment(last["draft_created_at"]),
        lead_time_s=last["lead_time"],
        skipped=bool(last["was_cancelled"]),
        verdict=verdict,
        regions=held.get(Control.REGIONS, ()),
        text=held.get(Control.REPORT, ""),
        # Label Studio keeps the stars of somebody who then changed their mind about the verdict.
        difficulty=held.get(Control.DIFFICULTY) if verdict == VISIBLE else None,
        flags=held.get(Control.FLAGS, ()),
        match=next(iter(held.get(Control.MATCH, ())), None),
        missed=held.get(Control.MISSED, ()),
        about=task["about"],
        given_sha256=task["given_sha256"],
        round=task["round"],
        region_shares=truth.get(task["record_id"]),
        signals=tuple(_signals(told, author)),
    )


def _author(payload: Mapping[str, Any], names: Names) -> str:
    number = payload["completed_by"]
    return (names.pseudonym(number) if isinstance(number, int) else None) or f"account-{number}"


def _signals(told: _Told, author: str) -> Iterable[str]:
    seen = [event.payload for event in told.versions if event.payload is not None]
    owners = [payload["completed_by"] for payload in seen]
    times = [payload["lead_time"] or 0 for payload in seen]
    noticed = {
        "author_changed": len({owner for owner in owners if owner is not None}) > 1,
        "author_lost": None in owners,
        "author_unknown": author.startswith("account-"),
        "edited_by_another": any(p["updated_by"] not in (None, p["completed_by"]) for p in seen),
        "time_shrank": any(later < earlier for earlier, later in pairwise(times)),
        "moved": len({event.header["task"] for event in told.versions}) > 1,
        "vanished": told.vanished,
        "changed_after_acceptance": told.accepted not in (None, version(seen[-1])),
    }
    return (signal for signal, found in noticed.items() if found)
