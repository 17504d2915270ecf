"""Removal: who or what is to be taken out of a dataset, and all that follows from it.

Each application exposes a module `erase` with the functions named in `Eraser`; `mmtt forget` calls them in turn.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

from mmtt.errors import UserError
from mmtt.files import write_atomically

NOTICES = "notices"  # below private/: what readers of a release are to be told
# What a search looks for: the fields of a removal, and what a trace calls them.
KINDS = {
    "records": "a record_id", "photos": "the path of a photo", "subjects": "a name", "origin_ids": "an id at an origin",
    "digests": "a digest", "phashes": "a perceptual hash", "texts": "a text",
}  # fmt: skip
STAYS = ""  # the kind of a word that stays, so that a shorter one inside it is not met
_LEAST_BYTES = 4
_PLAIN_NUMBER = re.compile(r"[0-9]{1,7}")
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The closure of one request: everything that has to go, and everything that a search must not find afterwards.

    asked: what was asked for, in the curator's words. records: ids of every record that has to go: pristine ones of the
    photos, and all that was forged from them, as target or as donor; a variant has its master's id. pristine: those of
    them that are pristine. photos: paths below `photos/`. subjects: names, as the source table has them, of people who
    go as a whole. origin_ids: ids of the photos at their origin. digests: SHA-256 of photos, pictures, and of every
    image that a row holds. phashes: perceptual hashes of the photos, 16 hex digits. texts: what people wrote about the
    records. buckets: names of the shards to be rewritten, with their folder (`pristine/bucket-0003`). stay: names,
    paths and ids of others that hold one of those that go, as "Jane Doe-Smith" holds "Jane Doe". runs: folders of runs
    and predictions that are looked in.
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
    stay: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

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


def needles(removal: Removal) -> Mapping[bytes, str]:
    """Return what no file may hold afterwards, as bytes, each with the name of its kind (`KINDS`).

    Names, paths and texts also as other files spell and encode them. Left out is what is found everywhere by chance:
    what has under 4 bytes, and plain numbers of under 8 digits. Longer words of others are there with the kind `STAYS`.
    """
    found: dict[bytes, str] = {}
    for name, kind in {**KINDS, "stay": STAYS}.items():
        for text in getattr(removal, name):
            encodings = _ENCODINGS if name in ("photos", "subjects", "stay") else ("utf-8",)
            for spelt in () if _PLAIN_NUMBER.fullmatch(text) else _spellings(text):
                for data in _encoded(spelt, encodings):
                    found.setdefault(data, kind)
    return found


def _spellings(text: str) -> set[str]:
    """A text as it is, in either form of its accents, and as JSON, HTML, addresses, CSV, SQL and logs spell it."""
    escaped = html.escape(text)
    return {
        *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")),
        text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1],
        escaped, escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"), quote(text, errors="replace"),
        text.replace('"', '""'), text.replace("'", "''"),
    }  # fmt: skip


def _encoded(text: str, encodings: Sequence[str]) -> Iterable[bytes]:
    for encoding in encodings:
        with suppress(UnicodeEncodeError):
            if len(text.encode("utf-8", "surrogatepass")) >= _LEAST_BYTES:
                yield text.encode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")


def journal(directory: Path) -> Path:
    """Return where a removal lies while it is under way; it names the person, and is deleted at the end."""
    return directory / "private" / "removals" / "open.json"


def require_none_under_way(directory: Path) -> None:
    """Refuse to make anything in a dataset, or of it, that may still hold somebody who is being taken out.

    Raises:
        UserError: a removal is under way.
    """
    if journal(directory).exists():
        raise UserError(
            f"A removal is not completed in {directory}, which may still hold them. `mmtt forget apply {directory}` "
            "completes it first."
        )


def begin(directory: Path, removal: Removal) -> None:
    """Note that a removal is under way, so that it can be completed whatever happens; `runs` may be other ones.

    Raises:
        UserError: another one is.
    """
    path = journal(directory)
    if path.exists():
        begun = Removal.load(path)
        if replace(begun, runs=removal.runs) != removal:
            raise UserError(
                f"Another removal is under way ({path}). `mmtt forget apply {directory}` completes it first."
            )
        if begun == removal:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, removal.to_json().encode())


def finish(directory: Path) -> None:
    """Delete the journal: nothing is left to do."""
    path = journal(directory)
    path.unlink(missing_ok=True)
    with suppress(OSError):  # another removal may have begun
        path.parent.rmdir()
