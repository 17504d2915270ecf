"""Tasks: what is asked of whom, as pure functions of records, recipe and what people answered so far."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmtt.recipe import AnnotateSection

from . import protocols
from .answers import Answer, Kind, numbered, text_sha256
from .protocols import GIVEN, MESSAGE, ZOOM, StageName, View
from .selection import Chosen
from .standing import Standing

QUALIFY = "qualify"
REWORK_PREFIX = "rework-"  # then the pseudonym: Label Studio cannot assign tasks, but a project can be one person's
_EVERYBODY = 1000  # a qualification task is for everyone


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question to people. `key` is all that Label Studio learns about which record it shows.

    `project` is our name for the Label Studio project it belongs to; `people` how many should answer it; `quotes` the
    uids of the answers whose words it shows.
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
    quotes: tuple[str, ...] = ()
    protocol: str
    round: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """What the log keeps of it: enough to know what an answer to it is an answer to."""
        return {
            "record_id": self.record_id,
            "image_sha256": self.image_sha256,
            "stage": str(self.stage),
            "kind": str(self.kind),
            "protocol": self.protocol,
            "about": self.about,
            "quotes": list(self.quotes),
            "given_sha256": text_sha256(self.texts[GIVEN]) if GIVEN in self.texts else None,
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
    """Return every task that should be on the server now, in the order of their keys.

    A changed protocol asks anew, and a changed text is judged anew: both are part of the key.
    """
    tasks = [_describe(item, standing, settings, secret) for item in chosen]
    tasks += [_rework(answer, told, standing, secret) for answer, told in standing.returned]
    tasks += [_verify(answer, standing, secret) for answer in standing.to_verify]
    tasks += [_adjudicate(answers, standing, secret) for answers in standing.to_adjudicate.values()]
    return sorted(tasks, key=lambda task: task.key)


def _describe(item: Chosen, standing: Standing, settings: AnnotateSection, secret: str) -> Task:
    examined = item.kind is Kind.QUALIFICATION
    key = key_of(secret, "describe", settings.protocol, item.subject.record_id)
    return Task(
        key=key,
        project=QUALIFY if examined else str(StageName.DESCRIBE),
        record_id=item.subject.record_id,
        image_sha256=item.subject.image_sha256,
        stage=StageName.DESCRIBE,
        kind=item.kind,
        people=_EVERYBODY if examined else item.people + standing.wasted.get(key, 0),
        sees=protocols.stage(settings.protocol, StageName.DESCRIBE).sees,
        protocol=settings.protocol,
    )


def _rework(answer: Answer, told: Iterable[str], standing: Standing, secret: str) -> Task:
    key = key_of(secret, "rework", answer.uid)
    kind = answer.kind if answer.kind in (Kind.GOLD, Kind.CATCH) else Kind.REWORK
    texts = {MESSAGE: "\n".join(told), GIVEN: answer.text or "–"}
    following = _about(answer, key, StageName.DESCRIBE, texts, standing)
    return replace(following, project=f"{REWORK_PREFIX}{answer.annotator}", kind=kind, round=answer.round + 1)


def _verify(answer: Answer, standing: Standing, secret: str) -> Task:
    key = key_of(secret, "verify", answer.uid, text_sha256(answer.text))
    return _about(answer, key, StageName.VERIFY, {GIVEN: answer.text}, standing)


def _adjudicate(answers: Sequence[Answer], standing: Standing, secret: str) -> Task:
    given = numbered(answers)
    key = key_of(secret, "adjudicate", *(answer.uid for answer in answers), text_sha256(given))
    following = _about(answers[0], key, StageName.ADJUDICATE, {GIVEN: given}, standing)
    return replace(following, about=None, quotes=tuple(answer.uid for answer in answers))


def _about(answer: Answer, key: str, stage: StageName, texts: Mapping[str, str], standing: Standing) -> Task:
    """A task that follows from an answer, under the protocol that this was given under."""
    return Task(
        key=key,
        project=str(stage),
        record_id=answer.record_id,
        image_sha256=answer.image_sha256,
        stage=stage,
        kind=Kind.ORDINARY,
        people=1 + standing.wasted.get(key, 0),
        sees=protocols.stage(answer.protocol, stage).sees,
        texts=texts,
        about=answer.uid,
        quotes=(answer.uid,),
        protocol=answer.protocol,
    )
