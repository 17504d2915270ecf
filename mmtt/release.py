"""Release: a folder to be published, complete in itself. What lies where in it, and what it says of itself.

DIR/releases/1.2.0/
  README.md  DATASHEET.md  LICENSE  CHANGELOG.md       for people
  croissant.json  audits.json                          for machines
  overview.html  contact-sheet.png                     to look at
  removed.csv                                          tombstones: records that an earlier version held
  data/<split>-<bucket>-of-<buckets>.parquet           records, reports joined; data/manifest.json lists them
  reports/<split>-<bucket>-of-<buckets>.parquet        every report, a row each; where people were asked
  marked/<split>-<bucket>-of-<buckets>.parquet         pictures with content credentials; where they were asked for
  release.json                                         name, version, what it follows, counts
  SHA256SUMS                                           of every other file, written last
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, Self

from pydantic import TypeAdapter, ValidationError

from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.words import printable

RELEASE = "release.json"
CHECKSUMS = "SHA256SUMS"
REMOVED = "removed.csv"
DATA, REPORTS, MARKED = "data", "reports", "marked"
OVERVIEW, SHEET = "overview.html", "contact-sheet.png"
# Configs of the Hub, and the folder of each; the first is what one gets without naming any.
CONFIGS: Mapping[str, str] = MappingProxyType({"default": DATA, "raw_reports": REPORTS, "marked": MARKED})
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_RECORD_ID = re.compile(r"[0-9a-f]{24}")


Part = Literal["major", "minor", "patch"]


class Version(NamedTuple):
    """A semantic version. major: schema or splits changed; minor: records added; patch: removals and corrections."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.0`.

        Raises:
            UserError: it is no such version.
        """
        found = _VERSION.fullmatch(text)
        if found is None:
            raise UserError(f"'{text}' is no version like 1.2.0 (major.minor.patch).")
        return cls(*map(int, found.groups()))

    def after(self, part: Part) -> "Version":
        """Return the next version in which that part grew."""
        grown = {"major": (self.major + 1, 0, 0), "minor": (self.major, self.minor + 1, 0)}
        return Version(*grown.get(part, (self.major, self.minor, self.patch + 1)))

    def __str__(self) -> str:
        return ".".join(map(str, self))


class Tombstone(NamedTuple):
    """A record that an earlier version held: its id, the first version without it, and why (`REASONS`)."""

    record_id: str
    version: str
    reason: str


REASONS = ("erasure", "curation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a release says of itself.

    name: of the dataset, as in its recipe. date: day of release, ISO 8601. previous: the version that it follows.
    licence: of the whole. recipe_sha256: of the recipe's bytes. rows: of each config, by split. left_out: records that
    count in the dataset but not here, by reason. environment: where the shards were made. repository: OWNER/NAME on the
    Hub; empty where none is named.
    """

    name: str
    version: str
    date: str
    previous: str | None
    licence: str
    schema_version: int
    recipe_sha256: str
    buckets: int
    rows: dict[str, dict[str, int]]
    left_out: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    repository: str = ""

    def to_json(self) -> str:
        """Return it as JSON text that ends in a newline."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, folder: Path) -> "Release":
        """Read what a release says of itself.

        Raises:
            UserError: it is no release, or says what no release says.
        """
        path = folder / RELEASE
        try:
            told = TypeAdapter(cls).validate_json(path.read_bytes())
            Version.parse(told.version)
            date.fromisoformat(told.date)
            return told
        except FileNotFoundError:
            raise UserError(f"{folder} is no release: it has no {RELEASE}. `mmtt release` makes one.") from None
        except ValidationError as error:
            fault = error.errors()[0]
            raise _unreadable(path, f"{'.'.join(map(str, fault['loc'])) or 'the whole'}: {fault['msg']}") from None
        except (OSError, ValueError, UserError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, why: object) -> UserError:
    return UserError(printable(f"{path} cannot be read ({why}). Take the release as it was published."))


def is_release(folder: Path) -> bool:
    """Whether a folder is a release, staged or downloaded."""
    return (folder / RELEASE).is_file()


def records_folder(root: Path) -> Path:
    """Return where the shards of records lie: in a release one folder down, else in the folder itself."""
    return root / DATA if is_release(root) else root


def write_removed(tombstones: Iterable[Tombstone]) -> str:
    """Return the text of `removed.csv`, sorted by record."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Tombstone._fields)
    writer.writerows(sorted(tombstones))
    return table.getvalue()


def read_removed(path: Path) -> list[Tombstone]:
    """Read a `removed.csv`; columns that a later mmtt adds are passed over.

    Raises:
        UserError: it cannot be read, or a line names no record.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}). Take it from the newest release.") from error
    for number, row in enumerate(rows, 2):
        if not _RECORD_ID.fullmatch(row.get("record_id") or ""):
            raise UserError(f"{path}, line {number}: no record_id of 24 hex digits. Take it from the newest release.")
    return [Tombstone(*(row.get(name) or "" for name in Tombstone._fields)) for row in rows]


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a release but the list itself, by path with `/`, sorted; nothing is trusted.

    Hidden files and folders are no part of a release: `.git`, `.cache`, what a killed writer left.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    named = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    return {name: file_sha256(folder / name) for name in named if name != CHECKSUMS}


def write_checksums(digests: Mapping[str, str]) -> str:
    """Return the text of `SHA256SUMS`, as `sha256sum --check` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(digests.items()))


def read_checksums(folder: Path) -> dict[str, str]:
    """Read the digests that a release lists, by path.

    Raises:
        UserError: there is no list, or a line of it is none, or leads out of the folder.
    """
    path = folder / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}). The release is not whole; make or download it again."
        ) from error
    found = {}
    for number, line in enumerate(lines, 1):
        sha256, _, name = line.partition("  ")
        parts = name.split("/")
        if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not all(parts) or {".", ".."} & set(parts):
            raise UserError(f"{path}, line {number} is no digest and path inside the release.")
        found[name] = sha256
    return found
