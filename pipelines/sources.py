"""The sidecar that says where photos come from: `sources.csv` or `sources.jsonl`.

A photo without a licence is never used. A row whose `file` is `*` speaks for every photo that no
other row names.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Literal

from mmtt import consent
from mmtt.errors import Rejected, UserError, did_you_mean
from mmtt.licences import obligations

COLUMNS_HELP = {
    "file": "path of the photo below photos/, or * for all that no other row names",
    "origin": "dataset or collection that it came from",
    "licence": "SPDX id; LicenseRef-… for what SPDX does not list",
    "origin_id": "its id there (default: SHA-256 of the photo)",
    "subject": "who it shows, if known; photos of one subject stay in one split; private",
    "consent": f"what the person agreed to, of {', '.join(consent.SCOPES)}; `none` if nobody was asked; `nobody` if no "
    "person is shown",
    "consent_expiry": "ISO date of the last day on which the consent holds",
    "consent_evidence_sha256": "SHA-256 of the signed evidence",
    "withdrawal": "where the person can take it back",
    "age": "years at the time of the photo, or a range such as 10-19, of which the lower end counts; private",
}
ADULT = 18  # years
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_YEARS = re.compile(r"(\d{1,3})(?:\.\d+)?(?:-\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """What the sidecar says of one photo."""

    file: str
    origin: str
    licence: str
    origin_id: str = ""
    subject: str = ""
    consent: str = "none"
    consent_expiry: str = ""
    consent_evidence_sha256: str = ""
    withdrawal: str = ""
    age: str = ""

    @property
    def content(self) -> dict[str, str]:
        """What it says, by column. A blank `age` is left out, so that tables from before that column mean the same."""
        return {name: value for name, value in asdict(self).items() if value or name != "age"}

    @property
    def years(self) -> int | None:
        """How old the person is at least; None where nobody said."""
        told = _YEARS.fullmatch(self.age)
        return None if told is None else int(told[1])

    def require_admitted(self, minors: Literal["refuse", "keep"]) -> None:
        """Refuse a photo of a person who is, or may be, a minor, where minors are refused.

        Raises:
            Rejected: `minor`.
        """
        if minors == "refuse" and self.years is not None and self.years < ADULT:
            raise Rejected("minor", f"its row says that the person is {self.age}: that is, or may be, under {ADULT}")

    def require_usable(self) -> None:
        """Refuse a photo whose row does not say enough.

        Raises:
            Rejected: `no_licence`, `licence_unknown`, `no_origin`, `bad_consent`, `bad_age`.
        """
        if not self.licence:
            raise Rejected("no_licence", f"the row of '{self.file}' names no licence")
        obligations(self.licence)
        if not self.origin:
            raise Rejected("no_origin", f"the row of '{self.file}' names no origin")
        consent.require_known(self.consent)
        if self.consent_expiry and not _is_date(self.consent_expiry):
            raise Rejected("bad_consent", f"consent_expiry '{self.consent_expiry}' is no date like 2027-12-31")
        if self.consent_evidence_sha256 and not _SHA256.match(self.consent_evidence_sha256):
            raise Rejected("bad_consent", "consent_evidence_sha256 is not 64 lower-case hex digits")
        if self.age and self.years is None:
            raise Rejected("bad_age", f"age '{self.age}' is neither whole years, like 34, nor a range, like 30-39")


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def load(root: Path) -> dict[str, Source]:
    """Read `sources.csv` or `sources.jsonl` of a dataset, as a map from photo path to row.

    Raises:
        UserError: neither or both exist, an unknown or missing column, the same photo twice.
    """
    found = [path for path in (root / "sources.csv", root / "sources.jsonl") if path.is_file()]
    if len(found) != 1:
        state = "both sources.csv and sources.jsonl" if found else "neither sources.csv nor sources.jsonl"
        raise UserError(f"{root} has {state}. Keep one, with the columns {', '.join(COLUMNS_HELP)}.")
    path = found[0]
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from error
    rows = _csv_rows(text, path) if path.suffix == ".csv" else _jsonl_rows(text, path)
    sources: dict[str, Source] = {}
    for number, row in rows:
        source = _source(row, f"{path}, line {number}")
        if source.file in sources:
            raise UserError(f"{path}, line {number}: '{source.file}' has a row already. Keep one.")
        sources[source.file] = source
    return sources


def _csv_rows(text: str, path: Path) -> list[tuple[int, Mapping[str, object]]]:
    # Line ends are left to the CSV reader: they may be part of a quoted file name.
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} is not CSV after line {reader.line_num}: {error}. Check its quotes.") from error


def _jsonl_rows(text: str, path: Path) -> list[tuple[int, Mapping[str, object]]]:
    rows: list[tuple[int, Mapping[str, object]]] = []
    # Not splitlines: JSON strings may hold U+2028 and its like.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number} is not JSON: {error}.") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is not a JSON object.")
            rows.append((number, row))
    return rows


def _source(row: Mapping[str, object], where: str) -> Source:
    known = [field.name for field in fields(Source)]
    for key in row:
        if key is None:
            raise UserError(f"{where} has more fields than the header. Quote a field that holds a comma.")
        if key not in known:
            raise UserError(f"{where}: '{key}' is not a column.{did_you_mean(key, known)}")
    missing = [key for key in ("file", "origin", "licence") if key not in row]
    if missing:
        raise UserError(f"{where}: the column '{missing[0]}' is missing.")
    return Source(**{key: str(value).strip() for key, value in row.items() if value not in (None, "")} | _blank(row))


def _blank(row: Mapping[str, object]) -> dict[str, str]:
    return {key: "" for key in ("file", "origin", "licence") if row[key] in (None, "")}
