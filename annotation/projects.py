"""Projects: one Label Studio project for each queue of tasks, found again by a marker in its description."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmtt.errors import UserError

from .log import Log, New
from .protocols import StageName
from .studio import Ambiguous, Project, Studio

_TITLE_LETTERS = 50  # Label Studio's limit
_REWORK = "rework-"


class Setup(NamedTuple):
    """What a project is set up with: its name here, its title there, its interface and instructions."""

    name: str
    title: str
    config: str
    interface_sha256: str
    instruction: str


def setup(name: str, dataset: str, protocol: str, language: str) -> Setup:
    """Return how the project `describe`, `qualify`, `verify`, `adjudicate` or `rework-PSEUDONYM` is set up."""
    from . import interface

    rework = name.startswith(_REWORK)
    stage = StageName.DESCRIBE if rework or name == "qualify" else StageName(name)
    config = interface.build(protocol, stage, language, rework=rework)
    shown = name.replace(_REWORK, "rework ")
    title = f"{dataset[: _TITLE_LETTERS - len(shown) - 2]}: {shown}"
    instruction = interface.instructions(stage, language, protocol)
    return Setup(name, title, config, interface.interface_sha256(config), instruction)


def known(log: Log) -> dict[str, int]:
    """Return the number of each project that the log knows, the latest of each name."""
    return {event.subject: event.header["number"] for event in log.events("project")}


def ensure(studio: Studio, log: Log, wanted: Setup, marker: str, *, recreate: bool = False) -> Project:
    """Return the project of a queue, made where there is none yet, with today's interface and instructions.

    It is found by its marker even when the answer to its making was lost. A project that is gone is only made anew when
    that is asked for.

    Raises:
        UserError: it was deleted on the server.
    """
    marked = f"{marker} {wanted.name}"
    there = {project.description.rsplit("\n")[-1]: project for project in studio.projects()}
    number = known(log).get(wanted.name)
    if marked not in there and number is not None and not recreate:
        return studio.project(number)  # says that it was deleted, or gives back one whose description was edited
    if marked not in there:
        there[marked] = studio.project(_make(studio, wanted, marked))
    project = there[marked]
    if number != project.id:
        header = {"number": project.id, "interface_sha256": wanted.interface_sha256}
        log.append([New("project", wanted.name, header)])
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
        "sampling": "Sequential sampling",
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
        )
        if before.strip() != now.strip()
    }
    if stale:
        try:
            studio.configure(project.id, **stale)
        except Ambiguous:
            studio.configure(project.id, **stale)  # the same once more does no harm
