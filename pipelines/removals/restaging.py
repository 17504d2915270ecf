"""Restaging: the next version of a dataset that was released, without those who left; older staged folders go."""

import shutil
from collections.abc import Callable, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path

import jinja2

from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.progress import Progress
from mmtt.recipe import Recipe
from mmtt.release import MARKED, REMOVED, Part, Release, Version, read_removed
from mmtt.removal import NOTICES, Removal, Step

from ..release import answers, history, staging
from ..release.draft import RELEASES, draft
from . import rows

_GONE = ".gone"
Mark = Callable[[Path, Path | None], object]


def is_marked(root: Path) -> bool:
    """Whether the newest release has marked pictures."""
    found = history.releases(root)
    return bool(found) and (found[max(found)] / MARKED).is_dir()


def needs_certificate(root: Path, removal: Removal) -> bool:
    """Whether the next release, which a removal asks for, is to have marked pictures as the newest has."""
    found = history.releases(root)
    return is_marked(root) and not _is_empty(Layout(root)) and found[max(found)] in rows.holding(root, removal)


def restage(
    directory: Path,
    removal: Removal,
    on: date,
    executor: Executor,
    progress: Callable[[str], Progress],
    mark: Mark | None = None,
) -> Sequence[Step]:
    """Stage the next version where the newest release holds any of the records, then remove all that do.

    Where the dataset holds nobody any more there is no next version, and what is left to do is told.

    Raises:
        UserError: the next version cannot be staged; what is released stays until it can.
    """
    layout, steps = Layout(directory), []
    found = history.releases(directory)
    if found and _is_empty(layout):
        told = "nobody is left, so no version follows: delete the repository, and ask whoever has a copy to do the same"
        steps.append(Step("releases", told))
    elif found and found[max(found)] in rows.holding(directory, removal):
        recipe = Recipe.load(layout.recipe)
        try:
            version = _next(layout, recipe, max(found), on, marked=mark is not None)
            unmarked = mark is None and needs_certificate(directory, removal)
            staging.release(layout, recipe, version, on, executor, progress, mark)
        except UserError as error:
            hint = f"Mend that, then `mmtt forget apply {directory}` goes on"
            hint += f"; if no version is to follow, delete {directory / RELEASES} first"
            raise UserError(f"All else is done, but the next release cannot be staged: {error} {hint}.") from error
        steps.append(Step(f"releases/{version}", f"is staged; `mmtt publish {directory} --version {version} …`"))
        if unmarked:
            told = "has no marked pictures any more; a later `mmtt release` with --certificate and --key has them again"
            steps.append(Step(f"releases/{version}", told))
    # Asked anew: a killed run may have staged it, and what that one left half-done may have got its name just now.
    found = history.releases(directory)
    if found and _tells_of(newest := found[max(found)], removal):
        steps.append(_notify(layout, newest))
    for folder in rows.holding(directory, removal):
        _remove(folder)
        steps.append(Step(f"releases/{folder.name}", "the folder is gone"))
    return steps


def _is_empty(layout: Layout) -> bool:
    masters = [path for folder in (layout.pristine, layout.forged) for path in rows.shards(folder)]
    return not any(rows.read(path) for path in masters)


def _next(layout: Layout, recipe: Recipe, last: Version, on: date, *, marked: bool) -> Version:
    """The least version that what changed since the last asks for: the dataset may have grown, too."""
    faults = []
    parts: tuple[Part, ...] = ("patch", "minor", "major")
    for version in map(last.after, parts):
        try:
            draft(layout, recipe, version, on, marked=marked)
        except UserError as error:
            faults.append(error)
        else:
            return version
    raise faults[0]


def _tells_of(folder: Path, removal: Removal) -> bool:
    """Whether a release is the first without the records."""
    version = Release.load(folder).version
    return any(
        stone.version == version and stone.record_id in removal.records for stone in read_removed(folder / REMOVED)
    )


def _remove(folder: Path) -> None:
    """Remove a folder, under a name that tells, after a kill, that it is to go."""
    if not folder.name.startswith("."):
        folder = folder.rename(folder.with_name(f".{folder.name}{_GONE}"))
    shutil.rmtree(folder)


def _notify(layout: Layout, folder: Path) -> Step:
    """Write what is to be told to everybody who has a copy; it names nobody."""
    text = notice(folder, answers.load(layout.root))
    path = layout.lineage.parent / NOTICES / f"{folder.name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    where = path.relative_to(layout.root).as_posix()
    return Step(where, "is what everybody who has a copy is to be told; send it to those who were let in")


def notice(folder: Path, told: answers.Answers) -> str:
    """Return the notice for whoever has a copy of an earlier release: Markdown."""
    release, about = Release.load(folder), told.about
    removed = [stone for stone in read_removed(folder / REMOVED) if stone.version == release.version]
    package = (__package__ or "pipelines.removals").rpartition(".")[0]
    source = (files(package) / "templates" / "notice.md.j2").read_text(encoding="utf-8")
    page = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return page.from_string(source).render(
        title=" ".join(about.title.split()),
        release=release,
        count=len(removed),
        repository=about.repository,
        contact=about.removal_contact or about.contact,
    )
