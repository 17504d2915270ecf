"""Translate: what a model makes of reports, a translation or a shortening, in columns beside them.

The authors of MMTT translated and shortened their reports by a model, and nothing in the release says so. Here the
words of a person stay what they are: `derived_text` lies beside `text` with the digests of the model and of how it was
asked, and `derived.json` spells out the latter. A report has one derived text, the last that was asked for.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mmtt import weights
from mmtt.errors import Rejected
from mmtt.files import write_atomically
from mmtt.lexicon import words as words_of
from mmtt.progress import Progress, silent
from mmtt.record import Rejection
from mmtt.reports import Report
from mmtt.shards import read_table, write_table

from .computing import device
from .language_models import BATCH, Loaded, Opened, answers, load, open_folder, padded
from .prompts import Prompt, Task, primary, prompt, put, require_able
from .reports import DERIVED, REPORTS, derived_of, with_derived

PROMPTS = "derived.json"
_SAVED_EVERY_S = 60.0
_OF_PERSONS = ("human", "human_edited")
_NOTHING = {field.name: None for field in fields(Report) if field.name.startswith("derived_")}


class Done(NamedTuple):
    """What a run came to: how many texts were made, how many were there already, and what was refused."""

    made: int
    kept: int
    refused: list[Rejection]


class Asked(NamedTuple):
    """A report that a model is to read: how it is put, as tokens; `row` is the report with all but the answer."""

    row: Report
    prompt: Prompt
    tokens: list[int]


class Book:
    """The derived texts of some reports, kept in a file. `rows` holds them by the id of their report."""

    def __init__(self, folder: Path, reports: Sequence[Report]) -> None:
        """Read what was derived before from words that still stand; the rest is forgotten."""
        self.folder, self.reports = folder, [replace(report, **_NOTHING) for report in reports]
        path = folder / DERIVED
        found = with_derived(self.reports, path) if path.exists() else []
        self.rows = {report.report_id: report for report in found if report.derived_text is not None}
        self.told = _read_told(folder / PROMPTS)

    def save(self) -> None:
        """Write what was derived, and how."""
        rows = [self.rows[report.report_id] for report in self.reports if report.report_id in self.rows]
        used = {row.derived_prompt_sha256 for row in rows}
        told = {digest: how for digest, how in self.told.items() if digest in used}
        write_atomically(self.folder / PROMPTS, json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode())
        write_table(self.folder / DERIVED, rows, Report)

    def publish(self) -> None:
        """Write the reports anew, with what was derived."""
        self.save()
        write_table(self.folder / REPORTS, with_derived(self.reports, self.folder / DERIVED), Report)


def _read_told(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def translate(folder: Path, model: Path, language: str, words: int | None = None, progress: Progress = silent) -> Done:
    """Let a model translate or shorten the reports of a folder, those that need it and were not done before.

    What is done is kept, whatever ends the run.

    Args:
        folder: of `reports.parquet`; the caller holds the dataset.
        model: a folder in transformers' format, with safetensors.
        language: of the result, a BCP 47 tag.
        words: to shorten to at most so many; None to translate.
        progress: shows how many batches are done.

    Raises:
        UserError: no reports; or the model cannot be used, and why. MissingDependency: no torch or transformers.
    """
    task = Task("translation" if words is None else "shortening", language, words)
    book = Book(folder, read_table(folder / REPORTS, Report))
    opened = open_folder(model)
    require_able(opened, task)
    asked, kept, refused = _sorted_out(book, opened, task)
    made = 0
    try:
        for answered in progress(_batches(opened, asked), _answered(opened, _batches(opened, asked), task)):
            ...
    finally:
        book.publish()
    return Done(made, kept, refused)
