"""Tasks: what is asked of whom, as pure functions of records, recipe and what people answered so far."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmtt.recipe import AnnotateSection

from . import protocols
from .answers import Answer, Kind
from .protocols import GIVEN, MESSAGE, ZOOM, Stage, StageName, View
from .selection import Chosen
from .standing import Standing

QUALIFY = "qualify"
REWORK_PREFIX = "rework-"  # then the pseudonym: Label Studio cannot assign tasks, but a project can be one person's
_EVERYBODY = 1000  # a qualification task is for everyone


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question to people. `key` is all that Label Studio learns about which record it shows.

    `project` is our name for the Label Studio project it belongs to; `people` how many should answer it.
    """

    key: str
    project: str
    record_id: str
    image_sha256: str
    stage: StageName
    kind: Kind
    people: int
    sees: tuple[View, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    about: str | None = None
    round: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """What the log keeps of it: enough to know what an answer to it is an answer to."""
        return {
            "record_id": self.record_id,
            "image_sha256": self.image_sha256,
            "stage": str(self.stage),
            "kind": str(self.kind),
            "about": self.about,
            "round": self.round,
        }

    def data(self, base: str) -> dict[str, str]:
        """Return what Label Studio is given: the key, the pictures' addresses below `base`, the texts."""
        from .pictures import path_of

        shown = {str(view): f"{base}{path_of(self.key, str(view))}" for view in (*self.sees, ZOOM)}
        return {"key": self.key, **shown, **self.texts}


def key_of(secret: str, *parts: str | int) -> str:
    """Return the opaque name of a task, 24 hex digits: without the secret nobody can tell which record it shows."""
    text = "/".join(str(part) for part in parts)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:24]


def wanted(chosen: Sequence[Chosen], standing: Standing, settings: AnnotateSection, secret: str) -> list[Task]:
    """Return every task that should be on the server now, in the order in which it should be served.

    The order is that of the keys: families and catch trials are mixed, and the curator cannot steer it.
    """
    describe = protocols.stage(settings.protocol, StageName.DESCRIBE)
    known = {item.subject.record_id: item for item in chosen}
    tasks = [_describe(item, describe, standing, secret) for item in chosen]
    tasks += [_rework(answer, told, describe, secret) for answer, told in standing.returned]
    tasks += [_verify(answer, standing, settings, secret) for answer in standing.to_verify]
    tasks += [
        _adjudicate(record_id, answers, settings, secret)
        for record_id, answers in standing.to_adjudicate.items()
        if record_id in known
    ]
    return sorted(tasks, key=lambda task: task.key)


def _describe(item: Chosen, stage: Stage, standing: Standing, secret: str) -> Task:
    examined = item.kind is Kind.QUALIFICATION
    key = key_of(secret, "describe", item.subject.record_id)
    return Task(
        key=key,
        project=QUALIFY if examined else str(StageName.DESCRIBE),
        record_id=item.subject.record_id,
        image_sha256=item.subject.image_sha256,
        stage=StageName.DESCRIBE,
        kind=item.kind,
        people=_EVERYBODY if examined else item.people + standing.wasted.get(key, 0),
        sees=stage.sees,
    )


def _rework(answer: Answer, told: Iterable[str], stage: Stage, secret: str) -> Task:
    return Task(
        key=key_of(secret, "rework", answer.uid),
        project=f"{REWORK_PREFIX}{answer.annotator}",
        record_id=answer.record_id,
        image_sha256=answer.image_sha256,
        stage=StageName.DESCRIBE,
        kind=answer.kind if answer.kind in (Kind.GOLD, Kind.CATCH) else Kind.REWORK,
        people=1,
        sees=stage.sees,
        texts={MESSAGE: "\n".join(told), GIVEN: answer.text or "–"},
        about=answer.uid,
        round=answer.round + 1,
    )


def _verify(answer: Answer, standing: Standing, settings: AnnotateSection, secret: str) -> Task:
    key = key_of(secret, "verify", answer.uid)
    return Task(
        key=key,
        project=str(StageName.VERIFY),
        record_id=answer.record_id,
        image_sha256=answer.image_sha256,
        stage=StageName.VERIFY,
        kind=Kind.ORDINARY,
        people=1 + standing.wasted.get(key, 0),
        sees=protocols.stage(settings.protocol, StageName.VERIFY).sees,
        texts={GIVEN: answer.text},
        about=answer.uid,
    )


def _adjudicate(record_id: str, answers: Sequence[Answer], settings: AnnotateSection, secret: str) -> Task:
    numbered = [f"{number}. {answer.text or '–'}" for number, answer in enumerate(answers, 1)]
    return Task(
        key=key_of(secret, "adjudicate", *(answer.uid for answer in answers)),
        project=str(StageName.ADJUDICATE),
        record_id=record_id,
        image_sha256=answers[0].image_sha256,
        stage=StageName.ADJUDICATE,
        kind=Kind.ORDINARY,
        people=1,
        sees=protocols.stage(settings.protocol, StageName.ADJUDICATE).sees,
        texts={GIVEN: "\n\n".join(numbered)},
    )
