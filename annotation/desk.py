"""Desk: one dataset's annotation, opened. Where its files lie, what is in them, and what follows from them.

DIR/private/annotation/
  log.sqlite         everything that was sent or seen: see `log`
  people.csv         who is behind a pseudonym
  pictures/          what annotators see, under opaque names; nothing else may lie there
  connection.json    the server's address and token
  studio/            data of a server that `mmtt annotate serve` runs
DIR/reports/         reports that count, translations of them, how far people agree, and what was refused
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmtt.errors import UserError
from mmtt.files import lock
from mmtt.ids import digest
from mmtt.layout import Layout, locate, salt
from mmtt.recipe import AnnotateSection, Recipe

from . import history, people, quality, selection, standing
from .answers import Answer, Kind
from .log import Log
from .private import folder, private_folder
from .protocols import StageName
from .selection import Chosen, Subject
from .standing import Standing
from .tasks import key_of


@dataclass(frozen=True)
class Desk:
    """One dataset's annotation. What is derived is derived once, from the log as it was then."""

    layout: Layout
    recipe: Recipe
    log: Log

    @property
    def folder(self) -> Path:
        """Where everything of annotation lies."""
        return folder(self.layout.root)

    @cached_property
    def settings(self) -> AnnotateSection:
        """What the recipe says of annotation; a small dataset has fewer examination questions than it asks for."""
        examined = sum(chosen.kind is Kind.QUALIFICATION for chosen in self.chosen)
        return self.recipe.annotate.model_copy(update={"qualification_tasks": examined})

    @property
    def secret(self) -> str:
        """What keeps the names of tasks from being guessed."""
        return salt(self.layout)

    @property
    def marker(self) -> str:
        """What tells this dataset's projects from any other's on the same server."""
        return key_of(self.secret, "projects", self.recipe.name)

    @property
    def nobody(self) -> set[int]:
        """Accounts of people who were erased."""
        return {p.user_id for p in self.people.persons if p.status == people.ERASED and p.user_id is not None}

    @cached_property
    def people(self) -> people.People:
        """Who annotates."""
        return people.load(self.layout.root)

    @cached_property
    def subjects(self) -> list[Subject]:
        """What may be asked about."""
        return selection.subjects(self.layout.pristine, self.layout.forged)

    @cached_property
    def _asked_as(self) -> dict[str, Kind]:
        """What each record was first asked about as."""
        facts = history.tasks(self.log).values()
        described = [fact for fact in facts if fact["stage"] == StageName.DESCRIBE and fact["round"] == 0]
        return {fact["record_id"]: Kind(fact["kind"]) for fact in reversed(described)}

    @cached_property
    def chosen(self) -> list[Chosen]:
        """What is asked, as what, of how many people."""
        return selection.choose(self.subjects, self.recipe.annotate, self.recipe.seed, self._asked_as)

    @cached_property
    def answers(self) -> list[Answer]:
        """Every answer so far, in its latest version."""
        languages = self.people.languages()
        return history.answers(self.log, self.people, self.subjects, languages)

    @cached_property
    def findings(self) -> list[quality.Finding]:
        """What the quality rules found, without what a person waived."""
        found = quality.inspect(self.answers, self.settings.quality, self.settings)
        versions = history.versions(self.log)
        waived = {
            (event.subject, event.header["rule"])
            for event in self.log.events("waived")
            if event.payload is not None and event.payload["version"] == versions.get(event.subject)
        }
        return [finding for finding in found if (finding.uid, finding.rule) not in waived]

    @cached_property
    def standing(self) -> Standing:
        """Where every answer stands, and what has to be asked next."""
        active = {person.pseudonym for person in self.people.persons if person.status == people.ACTIVE}
        gone = {answer.annotator for answer in self.answers} - active  # strangers' accounts as well
        rejected = {event.subject for event in self.log.events("rejected")}
        current = [answer for answer in self.answers if self.is_current(answer)]
        return standing.standing(current, self.findings, self.settings, self.recipe.seed, gone, rejected)

    def is_current(self, answer: Answer) -> bool:
        """Whether an answer's record is still there, with the very picture that was seen."""
        return self._pictures.get(answer.record_id) == answer.image_sha256

    @cached_property
    def _pictures(self) -> dict[str, str]:
        return {subject.record_id: subject.image_sha256 for subject in self.subjects}

    @property
    def counting(self) -> list[Answer]:
        """Described answers that stand: neither returned nor held."""
        return [answer for answer in self.answers if self.standing.status.get(answer.uid) in ("accepted", "doubted")]

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator for a purpose: the same recipe draws the same."""
        return np.random.default_rng(int(digest([self.recipe.seed, purpose])[:16], 16))


@contextmanager
def open_desk(directory: Path, *, write: bool = False) -> Iterator[Desk]:
    """Open a dataset's annotation; to write in it, one process at a time.

    Raises:
        UserError: no dataset, or nothing forged yet. LockedError: another process writes.
    """
    layout = locate(directory)
    recipe = Recipe.load(layout.recipe)
    # What was asked about once has a log: a removal that was killed goes on from there, its manifests put aside.
    if not (layout.forged / "manifest.json").exists() and not (folder(layout.root) / "log.sqlite").exists():
        raise UserError(f"{layout.root} has nothing to ask about yet. Run `mmtt build {layout.recipe}` first.")
    if not write:
        yield from _opened(layout, recipe)
    else:
        with lock(private_folder(layout.root)):
            yield from _opened(layout, recipe)


def _opened(layout: Layout, recipe: Recipe) -> Iterator[Desk]:
    log = Log(private_folder(layout.root) / "log.sqlite")
    try:
        yield Desk(layout, recipe, log)
    finally:
        log.close()
