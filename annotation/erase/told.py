"""Told: what the log knows of some records: tasks that show them, answers about them, what was written in these.

After the log was erased, it still knows the opaque keys of those tasks, which is enough to find what is left of them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtt.reports import Report
from mmtt.shards import read_table

from ..answers import values
from ..history import tasks
from ..log import Event, Log
from ..private import folder
from ..protocols import Control
from ..reports import DERIVED, REPORTS

LOG = "log.sqlite"
_SHORTEST = 12  # characters; what is shorter is found everywhere


@dataclass(frozen=True, slots=True)
class Told:
    """What the log knows of some records.

    keys: of the tasks that show them. void: keys of tasks whose facts were erased, these or others. others: keys of all
    other tasks. uids: of the answers to the former. seqs: the events that hold any of it.
    """

    keys: frozenset[str] = frozenset()
    void: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    seqs: tuple[int, ...] = ()

    @property
    def sought(self) -> frozenset[str]:
        """Keys of which nothing may be left anywhere but in the log's chain."""
        return self.keys | self.void


def told(log: Log, records: Collection[str]) -> Told:
    """Return what a log knows of some records."""
    facts, sent = tasks(log), {event.subject for event in log.events("task")}
    keys = frozenset(key for key, fact in facts.items() if fact["record_id"] in records)
    void = frozenset(sent - set(facts))
    uids = frozenset(event.subject for event in log.events("answer") if event.header["task"] in keys | void)
    about = {"task": keys | void, "answer": uids, "accepted": uids, "waived": uids, "rejected": uids}
    seqs = [e.seq for e in log.events(*about) if e.payload is not None and e.subject in about[e.kind]]
    return Told(keys, void, frozenset(facts) - keys, uids, tuple(seqs))


def texts(directory: Path, records: Collection[str]) -> list[str]:
    """Return what was written about some records, every version, edited and derived ones too, sorted.

    Left out is what was written about another record in the same words, and what is too short to be anybody's.
    """
    written: dict[bool, set[str]] = {True: set(), False: set()}
    for record_id, text in _written(directory):
        written[record_id in records].add(text.strip())
    others = "\n".join(sorted(written[False]))
    return sorted(text for text in written[True] if len(text) >= _SHORTEST and text not in others)


def _written(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield every text with its record, out of the tables and out of the log."""
    for path in (directory / "reports" / name for name in (REPORTS, DERIVED)):
        for row in read_table(path, Report) if path.is_file() else ():
            yield from ((row.record_id, text) for text in (row.text, row.original_text, row.derived_text) if text)
    path = folder(directory) / LOG
    if path.is_file():
        log = Log(path)
        try:
            yield from _answered(log)
        finally:
            log.close()


def _answered(log: Log) -> Iterator[tuple[str, str]]:
    facts = tasks(log)
    for event in log.events("answer"):
        fact = facts.get(event.header["task"])
        if fact is not None and (text := _text(event)):
            yield fact["record_id"], text


def _text(event: Event) -> str:
    said: Mapping[str, Any] = event.payload or {}
    return str(values(said.get("result") or []).get(Control.REPORT, ""))
