"""Staging: makes a release in a hidden folder beside its final name, which it takes when it is whole.

    draft → shards → marked pictures → audits → documents → checksums → rename

A killed run leaves the hidden folder. The same release again goes on with the shards that lie there; another one, or
the same of a dataset that changed, begins anew. The same dataset, answers, release before, version and date give the
same bytes, but for `marked/`: a signature may differ each time.
"""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.files import lock, sync, write_atomically
from mmtt.layout import Layout
from mmtt.progress import Progress
from mmtt.recipe import Recipe
from mmtt.release import (
    CHECKSUMS,
    OVERVIEW,
    RELEASE,
    REMOVED,
    SHEET,
    Version,
    checksums,
    write_checksums,
    write_removed,
)

from ..overview import write_overview
from ..overview.sheet import contact_sheet
from . import card, croissant, datasheet, gather, history, licence, shards
from .audited import audit_release
from .draft import RELEASES, Draft, draft

_INPUTS = ".inputs"
AUDITS = "audits.json"
Mark = Callable[[Path, Path | None], object]  # writes `marked/` into a staged release; the release before may help


def release(
    layout: Layout,
    recipe: Recipe,
    version: Version,
    on: date,
    executor: Executor,
    progress: Callable[[str], Progress],
    mark: Mark | None = None,
    *,
    first: bool = False,
) -> Draft:
    """Make a release of a finished dataset; return what it was made of.

    Args:
        layout: the dataset.
        recipe: its recipe.
        version: of the release.
        on: the day of the release.
        executor: a map over shards.
        progress: shows a step.
        mark: writes the marked pictures.
        first: whether nothing was ever published, though records were taken out.

    Raises:
        UserError: as for `draft`, or an audit fails its gate; of the release nothing is then seen.
        LockedError: another command makes a release of this dataset.
    """
    with lock(layout.root / RELEASES):
        made = draft(layout, recipe, version, on, marked=mark is not None, first=first)
        _begin(made)
        todo = shards.jobs(made.chosen.rows, made.texts.reports, made.texts.by_record, recipe.buckets)
        shards.write_shards(todo, made.staged, made.before, executor, progress("release: shards"))
        shards.write_manifest(todo, made.staged, made.release.environment)
        if mark is not None:
            mark(made.staged, made.before)
        _document(made, _audit(made, executor, progress))
        _finish(made)
    return made


def _begin(made: Draft) -> None:
    """Make the hidden folder, or take the one of a killed run that was making the very same."""
    for other in made.staged.parent.glob(".*.partial"):
        if other != made.staged:
            shutil.rmtree(other)  # of another version, killed or refused by an audit: nobody goes on with it
    noted = made.staged / _INPUTS
    if not noted.is_file() or noted.read_text(encoding="ascii") != made.inputs:
        shutil.rmtree(made.staged, ignore_errors=True)
        made.staged.mkdir(parents=True)
        write_atomically(noted, made.inputs.encode())
    for torn in made.staged.rglob(".*.tmp"):
        torn.unlink()
    write_atomically(made.staged / RELEASE, made.release.to_json().encode())


def _audit(made: Draft, executor: Executor, progress: Callable[[str], Progress]) -> list[dict[str, Any]]:
    """Audit what is to be published; refuse it where an audit fails its gate."""
    text, failed = audit_release(made.staged, made.layout.root, executor, progress)
    if failed:
        hint = "Mend it, or move the gate in the recipe (`audit.gates`): card and datasheet tell the figure either way."
        raise UserError(f"What would be published fails the audits {', '.join(failed)}. {hint}")
    write_atomically(made.staged / AUDITS, text.encode())
    return list(json.loads(text)["audits"])


def _document(made: Draft, audits: list[dict[str, Any]]) -> None:
    write_overview(made.staged, made.staged / OVERVIEW)
    write_atomically(made.staged / SHEET, contact_sheet(made.staged, made.answers.about.title))
    facts, version = made.facts(audits, gather.files(made.staged)), Version.parse(made.release.version)
    documents = {
        "README.md": card.render(facts, made.answers),
        "DATASHEET.md": datasheet.render(facts, made.answers),
        "LICENSE": licence.text(facts, made.answers),
        "croissant.json": croissant.text(facts, made.answers),
        history.CHANGELOG: history.changelog(made.before, version, made.release.date, made.changes.sentences()),
        REMOVED: write_removed(made.removed),
    }
    for name, text in documents.items():
        write_atomically(made.staged / name, text.encode())


def _finish(made: Draft) -> None:
    """Write the checksums, and give the folder its name."""
    (made.staged / _INPUTS).unlink()
    write_atomically(made.staged / CHECKSUMS, write_checksums(checksums(made.staged)).encode())
    made.staged.rename(made.folder)
    sync(made.folder.parent)
