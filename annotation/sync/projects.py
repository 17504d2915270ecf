"""Projects: one Label Studio project for each queue of tasks, found again by a marker in its description."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmtt.errors import UserError
from mmtt.ids import derived_id

from ..log import Log, New
from ..protocols import StageName
from ..tasks import QUALIFY, REWORK_PREFIX
from .calls import RECREATE, Ambiguous
from .studio import Project, Studio

_TITLE_LETTERS = 50  # Label Studio's limit


class Setup(NamedTuple):
    """What a project is set up with: its name here, its title there, its interface and instructions."""

    name: str
    title: str
    config: str
    interface_sha256: str
    instruction: str


def setup(name: str, dataset: str, protocol: str, language: str, shown: str | None = None) -> Setup:
    """Return how the project `describe`, `qualify`, `verify`, `adjudicate` or `rework-PSEUDONYM` is set up.

    `shown` is what people there read in its place: no pseudonym may stand beside the account that it hides.
    """
    from .. import interface

    rework = name.startswith(REWORK_PREFIX)
    stage = StageName.DESCRIBE if rework or name == QUALIFY else StageName(name)
    config = interface.build(protocol, stage, language, rework=rework)
    shown = shown or name
    title = f"{dataset[: _TITLE_LETTERS - len(shown) - 2]}: {shown}"
    instruction = interface.instructions(stage, language, protocol, rework=rework)
    return Setup(name, title, config, interface.interface_sha256(config), instruction)


def known(log: Log) -> dict[str, int]:
    """Return the number of each project that the log knows, the latest of each name."""
    return {event.subject: event.header["number"] for event in log.events("project")}


def marked(studio: Studio, marker: str, names: Iterable[str]) -> dict[str, int]:
    """Return the number of each of this dataset's projects on a server, by the mark in their descriptions."""
    lines = {p.description.rsplit("\n")[-1]: p.id for p in reversed(studio.projects())}
    return {name: lines[_mark(marker, name)] for name in names if _mark(marker, name) in lines}


def _mark(marker: str, name: str) -> str:
    """The last line of a project's description. It tells nothing: everybody on the server may read it."""
    return f"mmtt {derived_id(marker, name)}"


def require_marked(studio: Studio, log: Log, marker: str) -> dict[str, int]:
    """Return the number of each project that the log knows, as `marked`.

    Raises:
        UserError: one is not on this server: it was deleted, or this is another server.
    """
    there = marked(studio, marker, known(log))
    for name, number in known(log).items():
        if name not in there:
            raise UserError(f"{studio.url} has no project '{name}' (it was number {number}): deleted? {RECREATE}")
    return there


def ensure(studio: Studio, log: Log, wanted: Setup, marker: str, *, recreate: bool = False) -> Project:
    """Return the project of a queue, made where there is none yet, with today's interface and instructions.

    It is found by its mark even when the answer to its making was lost. A project that is gone is only made anew when
    that is asked for.

    Raises:
        UserError: it is gone from the server.
    """
    before = known(log).get(wanted.name)
    number = marked(studio, marker, [wanted.name]).get(wanted.name)
    if number is None and before is not None and not recreate:
        require_marked(studio, log, marker)
    if number is None:
        number = _make(studio, wanted, _mark(marker, wanted.name))
    if number != before:
        header = {"number": number, "interface_sha256": wanted.interface_sha256}
        log.append([New("project", wanted.name, header)])
    project = studio.project(number)
    _refresh(studio, project, wanted)
    return project


def _make(studio: Studio, wanted: Setup, marked: str) -> int:
    settings: dict[str, Any] = {
        "title": wanted.title,
        "description": f"Driven by mmtt: please leave the settings alone.\n{marked}",
        "label_config": wanted.config,
        "expert_instruction": wanted.instruction,
        "show_instruction": True,
        "maximum_annotations": 1,
        "skip_queue": "REQUEUE_FOR_OTHERS",
        "show_collab_predictions": False,
        "sampling": "Uniform sampling",  # tasks come in blocks by how many people they want: see `push`
    }
    try:
        return studio.create_project(**settings)
    except Ambiguous:
        made = [p.id for p in studio.projects() if p.description.rsplit("\n")[-1] == marked]
        if made:
            return made[0]
        raise UserError(f"{studio.url} did not say whether it made '{wanted.title}'. Run the command again.") from None


def _refresh(studio: Studio, project: Project, wanted: Setup) -> None:
    """Bring interface and instructions up to date: answers are keyed by aliases, which do not change."""
    stale: Mapping[str, str] = {
        name: now
        for name, before, now in (
            ("label_config", project.config, wanted.config),
            ("expert_instruction", project.instruction, wanted.instruction),
            ("title", project.title, wanted.title),
        )
        if before.strip() != now.strip()
    }
    if stale:
        try:
            studio.configure(project.id, **stale)
        except Ambiguous:
            studio.configure(project.id, **stale)  # the same once more does no harm
