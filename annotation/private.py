"""Private: the folder of a dataset's annotation that nobody else may enter, and the files in it that hold secrets."""

import csv
import io
import os
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmtt.errors import UserError
from mmtt.files import replacing

_OTHERS = 0o077
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def folder(directory: Path) -> Path:
    """Return where the annotation of a dataset lies; it need not exist."""
    return directory / "private" / "annotation"


def private_folder(directory: Path) -> Path:
    """Return where the annotation of a dataset lies, made if need be, and closed to everybody else on this machine."""
    path = folder(directory)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a small file, whole or absent, that only its owner may read."""
    with replacing(path) as beside:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def read_private(path: Path) -> str:
    """Read a file that holds a secret.

    Raises:
        UserError: it can be read by others, or not at all. FileNotFoundError: there is none.
    """
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        raise UserError(f"{path} holds secrets, but others on this machine may read it: chmod 600 {path}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}).") from None


def new_password() -> str:
    """Return a password that can be read out: 80 bits, nothing that looks like something else or like a formula."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Read a private table.

    Raises:
        UserError, FileNotFoundError: as `read_private`. csv.Error: it is none.
    """
    return list(csv.DictReader(io.StringIO(read_private(path), newline="")))
