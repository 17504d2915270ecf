"""Delivery: one push of everything that is open, project by project, pictures first."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.manifest import shard_paths
from mmtt.progress import Progress, silent
from mmtt.removal import require_none_under_way

from .. import history, pictures, tasks
from ..desk import Desk
from ..pictures import Wanted
from ..tasks import Task
from . import projects
from .calls import Refused
from .push import Answered, Difference, Queue, difference, push
from .studio import Studio

_SHOWN = "tasks"  # below the document root: Label Studio refuses to serve the root itself


class Gallery(NamedTuple):
    """How the server comes to the pictures.

    base: what each address begins with. folder: where they lie on the server's own machine; None where they come from
    elsewhere (S3, another host) and it has nothing to serve.
    """

    base: str
    folder: str | None


class Options(NamedTuple):
    """What a person may ask of a push."""

    dry_run: bool = False
    retire: bool = False
    recreate: bool = False


def local_gallery(root: str) -> Gallery:
    """Return how a server shows pictures out of its document root, as its own machine names that."""
    return Gallery(f"/data/local-files/?d={_SHOWN}/", f"{root.rstrip('/')}/{_SHOWN}")


def due(desk: Desk) -> list[Task]:
    """Return every task that should be on the server now.

    Raises:
        UserError: records are being taken out, and the shards may still hold them: they would be asked about anew.
    """
    require_none_under_way(desk.layout.root)
    return tasks.wanted(desk.chosen, desk.standing, desk.settings, desk.secret)


def render(desk: Desk, executor: Executor, progress: Progress = silent) -> Path:
    """Make the pictures that are missing, and return the document root that holds them."""
    root = desk.folder / "pictures"
    shards = [*shard_paths(desk.layout.pristine), *shard_paths(desk.layout.forged)]
    wanted = [Wanted(task.record_id, task.sees, task.key) for task in due(desk)]
    pictures.render(shards, wanted, root / _SHOWN, executor, progress)
    return root


class Delivery(NamedTuple):
    """What is delivered where, and how."""

    desk: Desk
    studio: Studio
    gallery: Gallery
    options: Options = Options()
    progress: Progress = silent


def deliver(delivery: Delivery) -> dict[str, Difference]:
    """Push what is open, or with `dry_run` only tell; return what is different, by the name of each project.

    Raises:
        UserError: the server refuses or keeps failing, a project was deleted there, or the protocol was changed.
    """
    _require_same_protocol(delivery.desk)
    queues: dict[str, list[Task]] = defaultdict(list)
    for task in due(delivery.desk):
        queues[task.project].append(task)
    for name in projects.known(delivery.desk.log):
        queues.setdefault(name, [])
    act, answered = _tell if delivery.options.dry_run else _send, _answered(delivery.desk)
    return {name: act(delivery, name, queues[name], answered) for name in sorted(queues)}


def _require_same_protocol(desk: Desk) -> None:
    """A project shows one protocol's pictures, and reports under two are two datasets."""
    before = {facts["protocol"] for facts in history.tasks(desk.log).values()} - {desk.settings.protocol}
    if before:
        told = f"People were asked under the protocol '{min(before)}', the recipe now says '{desk.settings.protocol}'."
        raise UserError(f"{told} Set it back, or build another dataset for the other protocol.")


def _tell(delivery: Delivery, name: str, queue: Sequence[Task], answered: Answered) -> Difference:
    desk, studio, gallery, options, _ = delivery
    number = projects.marked(studio, desk.marker, [name]).get(name)
    remotes = [] if number is None else studio.index(number)
    return difference(name, queue, remotes, answered, gallery.base, retire=options.retire)


def _send(delivery: Delivery, name: str, queue: Sequence[Task], answered: Answered) -> Difference:
    desk, studio, gallery, options, progress = delivery
    shown = _shown_name(desk, name)
    setup = projects.setup(name, desk.recipe.name, desk.settings.protocol, desk.settings.language, shown)
    project = projects.ensure(studio, desk.log, setup, desk.marker, recreate=options.recreate)
    if gallery.folder is not None:
        _serve(studio, project.id, gallery.folder)
    target = Queue(name, studio, desk.log, project, gallery.base, progress)
    return push(target, queue, answered, retire=options.retire)


def _serve(studio: Studio, number: int, folder: str) -> None:
    try:
        studio.serve_folder(number, folder)
    except Refused as error:
        hint = "`mmtt annotate serve DIR` shows those of its own dataset; --pictures-url names others."
        raise UserError(f"{studio.url} cannot show pictures out of {folder}. {hint}") from error


def _shown_name(desk: Desk, name: str) -> str | None:
    """A rework project bears its person's login: they know it, and nobody learns a pseudonym from it."""
    if not name.startswith(tasks.REWORK_PREFIX):
        return None
    person = desk.people.named(name.removeprefix(tasks.REWORK_PREFIX))
    return f"rework {person.login.partition('@')[0]}"


def _answered(desk: Desk) -> Answered:
    ours = frozenset(history.tasks(desk.log))
    return Answered(frozenset(event.header["task"] for event in desk.log.events("answer")) & ours, ours)
