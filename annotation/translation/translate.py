"""Translate: what a model makes of reports, a translation or a shortening, in columns beside them.

The authors of MMTT translated and shortened their reports by a model, and nothing in the release says so. Here the
words of a person stay what they are: `derived_text` lies beside `text` with the digests of the model and of how it was
asked, and `derived.json` spells out the latter. A report has one derived text, the last that was asked for.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mmtt import weights
from mmtt.devices import device
from mmtt.errors import Rejected
from mmtt.files import write_atomically
from mmtt.progress import Progress, silent
from mmtt.record import Rejection
from mmtt.reports import Report
from mmtt.shards import read_table, write_table
from mmtt.words import words as words_of

from ..reports import DERIVED, REPORTS, with_derived
from .language_models import BATCH, Loaded, Opened, answers, load, open_folder, padded
from .prompts import Prompt, Task, prompt, put, require_able

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
    """A report that a model is to read: `row` is the report with all that will be derived but the text."""

    row: Report
    prompt: Prompt
    tokens: list[int]


class Book:
    """What was derived from some reports, kept in a folder. `rows` holds it by the id of the report."""

    def __init__(self, folder: Path, reports: Sequence[Report]) -> None:
        """Read what was derived before from words that still stand; the rest is forgotten."""
        self.folder, self.reports = folder, [replace(report, **_NOTHING) for report in reports]
        before = with_derived(self.reports, folder / DERIVED)
        self.rows = {
            row.report_id: replace(row, derived_origin=origin_of_derived(row.text_origin))
            for row in before
            if row.derived_text is not None
        }
        self.told = _read_told(folder / PROMPTS)
        self.refused: list[Rejection] = []

    def note(self, row: Report, answer: str | Rejected) -> None:
        """Take a text down, or that there is none and why."""
        if isinstance(answer, Rejected):
            self.rows.pop(row.report_id, None)
            detail = f"report {row.report_id}: {answer.detail}"
            self.refused.append(Rejection(stage="translate", code=answer.code, detail=detail, record_id=row.record_id))
        else:
            self.rows[row.report_id] = replace(row, derived_text=answer)

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


def origin_of_derived(text_origin: str) -> str:
    """Return the origin of what a model makes of a text: a person's words stay a person's, a machine's a machine's."""
    return "human_translated" if text_origin in _OF_PERSONS else text_origin


def translate(folder: Path, model: Path, language: str, words: int | None = None, progress: Progress = silent) -> Done:
    """Let a model translate or shorten the reports of a folder: those that need it and were not done before.

    What is done is kept, whatever ends the run.

    Args:
        folder: of `reports.parquet`; the caller holds the dataset's lock.
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
    where = device()
    asked = list(_asked(book, opened, task, where))
    due = [one for one in asked if not _done(one, book.rows.get(one.row.report_id))]
    before = len(book.refused)
    try:
        _run(book, task, batches(opened, due), lambda: load(opened, where), progress)
    finally:
        book.publish()
    return Done(len(due) - len(book.refused) + before, len(asked) - len(due), book.refused)


def needed(report: Report, task: Task) -> bool:
    """Whether a report has words that are not yet as a task wants them."""
    if not report.text.strip():
        return False
    same = _language(report.language) == _language(task.language)
    return not same or (task.words is not None and len(words_of(report.text, task.language)) > task.words)


def _language(tag: str) -> str:
    return tag.lower().partition("-")[0]


def _asked(book: Book, opened: Opened, task: Task, where: str) -> Iterator[Asked]:
    """Yield every report that needs a task, as the model would read it; note those that it cannot read."""
    model_sha256 = weights.sha256(opened.folder)
    prompts = cache(lambda language: prompt(opened, task, language, where))
    for report in book.reports:
        if not needed(report, task):
            continue
        try:
            one = prompts(report.language)
            read = put(opened, one, report.text)
        except Rejected as reason:
            book.note(report, reason)
            continue
        book.told[one.sha256] = dict(one.told)
        row = replace(
            report,
            derived_kind=task.kind,
            derived_language=task.language,
            derived_origin=origin_of_derived(report.text_origin),
            derived_model_sha256=model_sha256,
            derived_prompt_sha256=one.sha256,
        )
        yield Asked(row, one, read)


def _done(asked: Asked, known: Report | None) -> bool:
    """Whether what is known was derived by the same model in the same way, from the same words: `Book` saw to those."""
    return known is not None and replace(known, derived_text=None) == asked.row


def batches(opened: Opened, asked: Iterable[Asked]) -> list[list[Asked]]:
    """Group what is asked into batches of one prompt and one padded length."""
    groups: dict[tuple[str, int], list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.prompt.sha256, padded(opened, len(one.tokens))].append(one)
    return [
        group[start : start + BATCH] for _, group in sorted(groups.items()) for start in range(0, len(group), BATCH)
    ]


def _run(
    book: Book, task: Task, due: Sequence[Sequence[Asked]], ready: Callable[[], Loaded], progress: Progress
) -> None:
    saved = time.monotonic()
    for batch, told in progress(due, _answered(due, ready)):
        for one, answer in zip(batch, told, strict=True):
            book.note(one.row, _within(answer, task))
        if time.monotonic() - saved > _SAVED_EVERY_S:
            book.save()
            saved = time.monotonic()


def _answered(
    due: Sequence[Sequence[Asked]], ready: Callable[[], Loaded]
) -> Iterator[tuple[Sequence[Asked], list[str | Rejected]]]:
    if not due:  # weights are big: without work they stay where they are
        return
    loaded = ready()
    for batch in due:
        yield batch, answers(loaded, batch[0].prompt.first, [one.tokens for one in batch])


def _within(answer: str | Rejected, task: Task) -> str | Rejected:
    if isinstance(answer, Rejected) or task.words is None:
        return answer
    if (count := len(words_of(answer, task.language))) <= task.words:
        return answer
    return Rejected("too_many_words", f"the answer has {count} words, not {task.words}")
