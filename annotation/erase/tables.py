"""Tables: what is written of some records in DIR/reports, in the folder of pictures, on the curator's page.

Rows of other records stay as they are: nothing is derived from the log anew, which might settle other reports
differently. `agreement.json` keeps its figures over all records until `mmtt annotate reports` counts again.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmtt.errors import UserError
from mmtt.files import file_sha256, write_atomically
from mmtt.record import Rejection
from mmtt.reports import Report
from mmtt.shards import read_table, write_table

from ..reports import AGREEMENT, DERIVED, REJECTIONS, REPORTS
from ..translation.translate import PROMPTS
from .told import Told

_TABLES: tuple[tuple[str, type[Report | Rejection]], ...] = (
    (DERIVED, Report),
    (REJECTIONS, Rejection),
    (REPORTS, Report),
)


def count(folder: Path, records: Collection[str]) -> dict[str, int]:
    """Return how many rows each table of a folder of reports has about some records."""
    found = {
        name: sum(row.record_id in records for row in read_table(folder / name, row_class))
        for name, row_class in _TABLES
        if (folder / name).is_file()
    }
    agreed = _agreement(folder)["records"] if (folder / AGREEMENT).is_file() else {}
    return {name: rows for name, rows in (found | {AGREEMENT: len(set(agreed) & set(records))}).items() if rows}


def drop(folder: Path, records: Collection[str]) -> None:
    """Take the rows about some records out of every table of a folder of reports; each stays whole."""
    for torn in folder.glob(".*.tmp"):
        torn.unlink(missing_ok=True)
    for name, row_class in _TABLES:
        rows = read_table(folder / name, row_class) if (folder / name).is_file() else []
        kept = [row for row in rows if row.record_id not in records]
        if len(kept) < len(rows):
            write_table(folder / name, kept, row_class)
    if (folder / PROMPTS).is_file() and (folder / DERIVED).is_file():
        _drop_prompts(folder)
    if (folder / AGREEMENT).is_file():
        told = _agreement(folder)
        kept_only = {name: value for name, value in told["records"].items() if name not in records}
        if len(kept_only) < len(told["records"]):
            write_atomically(folder / AGREEMENT, _json({**told, "records": kept_only}))


def _drop_prompts(folder: Path) -> None:
    """Forget how a model was asked for texts of which none is left."""
    used = {row.derived_prompt_sha256 for row in read_table(folder / DERIVED, Report)}
    told = json.loads((folder / PROMPTS).read_text(encoding="utf-8"))
    kept = {digest: how for digest, how in told.items() if digest in used}
    if len(kept) < len(told):
        write_atomically(folder / PROMPTS, json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False).encode())


def _agreement(folder: Path) -> dict[str, Any]:
    path = folder / AGREEMENT
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {**told, "records": dict(told["records"])}
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}). `mmtt annotate reports DIR` writes it again.") from error


def pictures(folder: Path, known: Told, digests: Collection[str]) -> list[Path]:
    """Return the pictures of some tasks, and those of a task that the log does not know which shows one of some images.

    Args:
        folder: of pictures; names begin with the key of their task.
        known: what the log knows of the tasks.
        digests: SHA-256 of images.
    """
    paths = sorted(path for path in folder.rglob("*.png") if path.is_file() and not path.is_symlink())
    those = known.sought | known.others
    unsure = [path for path in paths if _key(path) not in those]
    shown = {_key(path) for path in unsure if file_sha256(path) in digests}
    return [path for path in paths if _key(path) in known.sought or _key(path) in shown]


def _key(path: Path) -> str:
    return path.name.partition("-")[0]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
