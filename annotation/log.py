"""The log: everything that was pushed to Label Studio or seen there, appended and never edited. It is the truth.

An event has a header, which anybody may read, and may have a payload: what a person wrote, which record a task shows.
The chain holds a commitment to each payload, keyed with a salt of its own that lies beside the payload. Erasing removes
payload and salt: the chain still proves that nothing else was changed, and the commitment tells nothing, not even to
somebody who guesses the text (without the salt no guess can be tried).

One SQLite file, because a commit is whole or absent whenever the process is killed. `secure_delete` overwrites what is
erased, and the file is rebuilt afterwards; the rollback journal (not WAL) leaves nothing beside it.
"""

import contextlib
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mmtt.errors import UserError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, header TEXT NOT NULL,
    commitment TEXT NOT NULL, chain TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS payloads (seq INTEGER PRIMARY KEY REFERENCES events, salt BLOB NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events stay'); END;
CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events remain'); END;
"""
_START = hashlib.sha256(b"mmtt annotation log 1").hexdigest()


class New(NamedTuple):
    """An event to be appended."""

    kind: str
    subject: str
    header: Mapping[str, Any] = {}
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its place, when it was written (UTC), what it is, about which key or uid, and what it says.

    `payload` is None where there never was one, and where it was erased.
    """

    seq: int
    at: str
    kind: str
    subject: str
    header: dict[str, Any]
    payload: dict[str, Any] | None


class Log:
    """An open log. Whoever appends holds the lock of the folder (`mmtt.files.lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._told():
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.executescript("PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;")
            self._db.execute("PRAGMA temp_store=MEMORY")  # rebuilding copies it: not where others keep files
            self._db.executescript(_SCHEMA)
        path.chmod(0o600)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def append(self, events: Iterable[New]) -> None:
        """Append events: all of them, or none.

        Raises:
            UserError: the disk is full, or the file is damaged.
        """
        with self._told(), self._transaction():
            self._insert(events)

    def _insert(self, events: Iterable[New]) -> None:
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        last, chain = self._last()
        for seq, new in enumerate(events, last + 1):
            header, commitment = _canonical(new.header), ""
            if new.payload is not None:
                salt, body = secrets.token_bytes(32), _canonical(new.payload)
                commitment = _commit(salt, body)
                self._db.execute("INSERT INTO payloads VALUES (?, ?, ?)", (seq, salt, body))
            chain = _link(chain, seq, at, new.kind, new.subject, header, commitment)
            row = (seq, at, new.kind, new.subject, header, commitment, chain)
            self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def events(self, *kinds: str) -> Iterator[Event]:
        """Yield events in order, of all kinds or of some."""
        where = f"WHERE kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        query = f"SELECT seq, at, kind, subject, header, body FROM events LEFT JOIN payloads USING (seq) {where}"
        with self._told():
            for seq, at, kind, subject, header, body in self._db.execute(f"{query} ORDER BY seq", kinds):
                yield Event(seq, at, kind, subject, json.loads(header), json.loads(body) if body else None)

    @property
    def head(self) -> str:
        """The last link of the chain, 64 hex digits: written down elsewhere, it proves that nothing was cut off."""
        return self._last()[1]

    def mark(self, name: str) -> str | None:
        """Return how far something has come (a cursor of `pull`); None before its first time. No fact, so no event."""
        row = self._db.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_marks(self, marks: Mapping[str, str]) -> None:
        """Note how far something has come."""
        with self._told(), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks.items())

    def erase(self, seqs: Collection[int], reason: str) -> int:
        """Remove the payloads of some events for good, and append that this was done; return how many there were.

        Safe to be killed and run again: what is erased already is passed over, and the file is rebuilt every time.
        """
        with self._told(), self._transaction():
            there = self._with_payload(seqs)
            self._db.executemany("DELETE FROM payloads WHERE seq = ?", [(seq,) for seq in there])
            if there:
                self._insert([New("erased", "", {"seqs": there, "reason": reason})])
        with self._told("The payloads are erased, but the file was not rebuilt."):
            self._db.execute("VACUUM")
        return len(there)

    def _with_payload(self, seqs: Collection[int]) -> list[int]:
        return [s for s in sorted(seqs) if self._db.execute("SELECT 1 FROM payloads WHERE seq = ?", (s,)).fetchone()]

    def faults(self) -> list[str]:
        """Follow the chain and return every place where it, or a payload, is not what was written."""
        chain, found, missing, erased = _START, [], set[int](), set[int]()
        query = "SELECT e.*, salt, body FROM events e LEFT JOIN payloads USING (seq) ORDER BY seq"
        for place, (seq, at, kind, subject, header, commitment, link, salt, body) in enumerate(
            self._db.execute(query), 1
        ):
            chain = _link(chain, seq, at, kind, subject, header, commitment)
            if link != chain or seq != place:
                found.append(f"event {seq} ({kind}) breaks the chain")
                chain = link
            if kind == "erased":
                erased |= set(json.loads(header)["seqs"])
            if commitment and body is None:
                missing.add(seq)
            elif body is not None and not hmac.compare_digest(commitment, _commit(salt, body)):
                found.append(f"the payload of event {seq} ({kind}) was changed")
        return found + [f"the payload of event {seq} is gone, and nothing says why" for seq in sorted(missing - erased)]

    def _last(self) -> tuple[int, str]:
        with self._told():
            row = self._db.execute("SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1").fetchone()
            return row or (0, _START)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self, so_far: str = "Nothing of this step was written.") -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            hint = "Mend it (disk full? a damaged file?) and run the command again."
            raise UserError(f"{self.path}: {error}. {so_far} {hint}") from error


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))  # in ASCII: a stranger's lone surrogates survive


def _commit(salt: bytes, body: str) -> str:
    return hmac.new(salt, body.encode(), hashlib.sha256).hexdigest()


def _link(*parts: str | int) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
