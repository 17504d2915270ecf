"""Removal: who or what is to be taken out of a dataset, and all that follows from it.

Each application exposes a module `erase` with the functions named in `Eraser`; `mmtt forget` calls them in turn.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

from mmtt.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The closure of one request: everything that has to go, and everything that a search must not find afterwards.

    asked: what was asked for, in the curator's words. records: ids of every record that has to go: pristine ones of the
    photos, and all that was forged from them, as target or as donor; a variant has its master's id. pristine: those of
    them that are pristine. photos: paths below `photos/`. subjects: names, as the source table has them, of people who
    go as a whole. origin_ids: ids of the photos at their origin. digests: SHA-256 of photos, pictures, and of every
    image that a row holds. phashes: perceptual hashes of the photos, 16 hex digits. texts: what people wrote about the
    records. buckets: names of the shards to be rewritten, with their folder (`pristine/bucket-0003`).
    """

    asked: str
    records: tuple[str, ...]
    pristine: tuple[str, ...]
    photos: tuple[str, ...]
    subjects: tuple[str, ...]
    origin_ids: tuple[str, ...]
    digests: tuple[str, ...]
    phashes: tuple[str, ...]
    texts: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return it as JSON text that ends in a newline. It names the person: private."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Removal":
        """Read what `to_json` wrote.

        Raises:
            UserError: it cannot be read.
        """
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            listed = {item.name: tuple(told[item.name]) for item in fields(cls) if item.name != "asked"}
            return cls(asked=str(told["asked"]), **listed)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is no closure that `mmtt forget plan --out` wrote ({error}).") from error


class Step(NamedTuple):
    """Something that has to be done, or cannot be: where, and what, as a sentence without a full stop."""

    where: str
    what: str


class Trace(NamedTuple):
    """Something that a search found: where it lies, and what of the closure it is (never its words)."""

    where: str
    what: str


class Eraser(Protocol):
    """What the module `erase` of an application offers."""

    def plan(self, directory: Path, removal: Removal) -> Sequence[Step]:
        """Return what `apply` would do, and what it cannot; nothing is changed.

        Raises:
            UserError: something has to be there first, such as a server that runs.
        """

    def apply(self, directory: Path, removal: Removal) -> Sequence[Step]:
        """Do it, and return what was done. Killed at any moment and called again, it completes."""

    def traces(self, directory: Path, removal: Removal) -> Iterable[Trace]:
        """Search everything that is this application's for what is left."""


def needles(removal: Removal) -> Collection[bytes]:
    """Return what no file may hold afterwards, as bytes: digests, paths, names, ids at the origin, texts, records.

    Very short names and ids (under 4 bytes) are left out: they are found everywhere by chance.
    """
    said = (
        *removal.records, *removal.photos, *removal.subjects, *removal.origin_ids, *removal.digests,
        *removal.phashes, *removal.texts,
    )  # fmt: skip
    return {data for text in said if len(data := text.encode("utf-8", "surrogatepass")) >= 4}
