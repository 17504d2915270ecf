"""Roster: the curator's list of annotators, a CSV. It is refused whole, with every fault and its line.

| column | what |
|---|---|
| email | the key: by it the curator knows a person |
| language | in which the person writes: en or zh |
| name | optional: for the list of credentials alone |
| status | active (if left out) or retired |
| writes | human (if left out); model or template where the texts are made up |
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from mmtt.errors import UserError, did_you_mean
from mmtt.recipe import AnnotateSection

REQUIRED = ("email", "language")
OPTIONAL = ("name", "status", "writes")
LANGUAGES: tuple[str, ...] = get_args(AnnotateSection.model_fields["language"].annotation)
STATUSES = ("active", "retired")
WRITES = ("human", "model", "template")
_CHOICES = {"language": LANGUAGES, "status": STATUSES, "writes": WRITES}

# Letters and digits first: what begins with = + - @ is a formula to a spreadsheet.
_EMAIL = re.compile(r"[a-z0-9_][a-z0-9._%+'-]{0,63}@[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII)
_EMAIL_LENGTH = 254
_FORMULA = tuple("=+-@")
_NAME_LENGTH = 100


class Wanted(NamedTuple):
    """One row of the roster; see there."""

    line: int
    email: str
    language: str
    name: str
    status: str
    writes: str


def read_roster(path: Path) -> list[Wanted]:
    """Read a roster.

    Raises:
        UserError: it cannot be read, or is wrong: every fault, one line each.
    """
    faults: list[str] = []
    found = [_wanted(line, row, faults) for line, row in _rows(path, faults)]
    first: dict[str, int] = {}
    for wanted in found:
        if wanted.email in first:
            faults.append(f"line {wanted.line}: {wanted.email} stands in line {first[wanted.email]} already")
        first.setdefault(wanted.email, wanted.line)
    if faults:
        raise UserError("\n  ".join([f"{path} cannot be used; nobody was enrolled:", *faults]))
    return found


def _rows(path: Path, faults: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row that is not empty, with the line at which it begins; a wrong header is the only fault then."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        if wrong := _header_faults(header):
            faults += wrong
            return
        before = reader.line_num
        for cells in reader:
            line, before = before + 1, reader.line_num
            if len(cells) > len(header):
                faults.append(f"line {line}: {len(cells)} cells under {len(header)} columns; is a comma unquoted?")
            elif any(cell.strip() for cell in cells):
                yield line, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: it is no CSV ({error})")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # spreadsheets begin with a mark
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8. Save it as 'CSV UTF-8'.") from None


def _header_faults(header: Sequence[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL)
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        return ["line 1: columns must be parted by commas"]
    faults = [f"line 1: there is no column '{name}'" for name in REQUIRED if name not in header]
    faults += [
        f"line 1: column '{name}' is unknown.{did_you_mean(name, known)}" for name in header if name not in known
    ]
    return faults + [f"line 1: column '{name}' twice" for name in sorted(set(header)) if header.count(name) > 1]


def _wanted(line: int, row: dict[str, str], faults: list[str]) -> Wanted:
    cells = {name: cell.strip() for name, cell in row.items()}
    # Lowering what is not ASCII could make another address of it.
    email = cells["email"].lower() if cells["email"].isascii() else cells["email"]
    choices = {name: (cells.get(name) or _default(name)).casefold() for name in _CHOICES}
    name = cells.get("name", "")
    said = [_email_fault(email), _name_fault(name), *(_choice_fault(*pair) for pair in choices.items())]
    faults += [f"line {line}: {fault}" for fault in said if fault]
    return Wanted(line, email, choices["language"], name, choices["status"], choices["writes"])


def _default(name: str) -> str:
    return "" if name in REQUIRED else _CHOICES[name][0]


def _email_fault(email: str) -> str | None:
    if _EMAIL.fullmatch(email) and len(email) <= _EMAIL_LENGTH:
        return None
    return f"{email!r} is no e-mail address (letters without accents, digits and . _ % + ' - in front of one @)"


def _name_fault(name: str) -> str | None:
    if name.startswith(_FORMULA):
        return f"the name {name!r} begins like a formula, which a spreadsheet would carry out"
    if not all(sign.isprintable() for sign in name):
        return f"the name {name!r} holds a line break or another sign that cannot be printed"
    return f"the name is longer than {_NAME_LENGTH} letters" if len(name) > _NAME_LENGTH else None


def _choice_fault(name: str, chosen: str) -> str | None:
    known = _CHOICES[name]
    return None if chosen in known else f"{name} is {chosen!r}, but must be one of {', '.join(known)}"
