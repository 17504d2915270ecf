"""The deny-list, `private/denied.csv`: what was taken out of a dataset for good, so that no build brings it back.

Photos and names are stored as HMAC-SHA-256 under `private/salt`, so that the list tells nobody who left. Perceptual
hashes cannot be: they are compared bit by bit. `kept` are photos that were there when a near-duplicate of theirs left,
and that the curator kept.
"""

import csv
import hashlib
import hmac
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from mmtt.errors import Rejected, UserError
from mmtt.files import write_atomically
from mmtt.layout import Layout, salt
from mmtt.record import PlanRow, Rejection

NEAR_BITS = 3
PHOTO, SUBJECT, PHASH, RECORD, KEPT = "photo", "subject", "phash", "record", "kept"
_COLUMNS = ("kind", "value", "date")
_KINDS = (PHOTO, SUBJECT, PHASH, RECORD, KEPT)


@dataclass(frozen=True)
class Denied:
    """What a dataset must not hold again. Empty where nothing was ever taken out."""

    secret: str = ""
    values: frozenset[tuple[str, str]] = frozenset()
    phashes: tuple[int, ...] = field(default=())

    def require_photo(self, sha256: str, subject: str) -> None:
        """Refuse a photo, or a person, that was taken out.

        Raises:
            Rejected: `denied`.
        """
        if self._has(PHOTO, sha256):
            raise Rejected("denied", "this photo was taken out of the dataset for good")
        if subject and self._has(SUBJECT, subject):
            raise Rejected("denied", "the person whom the source table names was taken out of the dataset for good")

    def require_new(self, sha256: str, phash: str) -> None:
        """Refuse a photo that looks like one that was taken out: another file, size or quality of it.

        Raises:
            Rejected: `denied`.
        """
        if self.phashes and nearest(phash, self.phashes) <= NEAR_BITS and not self._has(KEPT, sha256):
            raise Rejected("denied", "it looks like a photo that was taken out of the dataset for good")

    def is_gone(self, whom: str) -> bool:
        """Whether a person of this name, or a record of this id, was taken out."""
        return self._has(SUBJECT, whom) or (RECORD, whom) in self.values

    def _has(self, kind: str, value: str) -> bool:
        return bool(self.values) and (kind, hashed(self.secret, kind, value)) in self.values


def hashed(secret: str, kind: str, value: str) -> str:
    """Return the keyed hash under which a photo's digest or a name is stored, 64 hex digits."""
    said = f"denied:{kind}:{value}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()


def nearest(phash: str, others: Iterable[int]) -> int:
    """Return in how many bits the nearest of some hashes differs from one, 64 where there is none."""
    number = int(phash, 16)
    return min(((number ^ other).bit_count() for other in others), default=64)


def path_of(root: Path) -> Path:
    """Return where the list of a dataset lies."""
    return Layout(root).lineage.parent / "denied.csv"


def load(root: Path) -> Denied:
    """Read the deny-list of a dataset.

    Raises:
        UserError: it cannot be read, or the salt that its hashes are made with is gone.
    """
    rows = _rows(path_of(root))
    if not rows:
        return Denied()
    if not (Layout(root).lineage.parent / "salt").is_file():
        raise UserError(f"{path_of(root)} is made with {path_of(root).with_name('salt')}, which is gone. Restore it.")
    phashes = tuple(sorted({int(value, 16) for kind, value, _ in rows if kind == PHASH}))
    return Denied(salt(Layout(root)), frozenset((kind, value) for kind, value, _ in rows), phashes)


def records(root: Path) -> frozenset[str]:
    """Return the ids of the records that were taken out for good."""
    return frozenset(value for kind, value, _ in _rows(path_of(root)) if kind == RECORD)


def sift(root: Path, rows: Sequence[PlanRow], refused: Sequence[Rejection]) -> tuple[list[PlanRow], list[Rejection]]:
    """Return the plan's rows without the forgeries that were taken out, and its rejections with those.

    They are not named: a search for what was taken out must not find them here.
    """
    barred, detail = records(root), "a forgery that was taken out of the dataset for good"
    gone = [
        Rejection(stage="plan", code="denied", detail=detail, manipulator=row.entry)
        for row in rows
        if row.record_id in barred
    ]
    return [row for row in rows if row.record_id not in barred], [*refused, *gone]


def add(root: Path, on: date, found: Iterable[tuple[str, str]]) -> None:
    """Add kinds and values to the list; photos, `kept` ones and names are hashed. What is there keeps its date."""
    secret = salt(Layout(root))
    plain = (PHASH, RECORD)
    new = {(kind, value if kind in plain else hashed(secret, kind, value)) for kind, value in found}
    known = {(kind, value): day for kind, value, day in _rows(path_of(root))}
    dated = dict.fromkeys(new, on.isoformat()) | known
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(sorted((*key, day) for key, day in dated.items()))
    path_of(root).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path_of(root), text.getvalue().encode("ascii"))


def _rows(path: Path) -> Collection[tuple[str, str, str]]:
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(path.read_text(encoding="ascii").splitlines()))
        for row in rows:
            if row.get("kind") not in _KINDS or not int(row.get("value") or "", 16) >= 0:
                raise ValueError(f"a row is {row}")
    except (OSError, ValueError, csv.Error) as error:
        hint = "Restore it: without it those who were taken out would come back."
        raise UserError(f"{path} cannot be read as a deny-list ({error}). {hint}") from error
    return [(row["kind"], row["value"], row.get("date") or "") for row in rows]
