"""Selection: which records are asked about, as what, by how many people.

Drawn by digest, so that nobody can steer it, and so that adding photos changes nothing for what was there before.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mmtt.manifest import passed, read_columns
from mmtt.recipe import AnnotateSection

from .answers import Kind
from .protocols import StageName, View, stage

# What anybody sees who looks for a minute: a known forgery of this size can be an examination question.
PLAIN_CHANGE_MEAN = 8.0
PLAIN_REGION_SHARE = 0.3
_CATCH_IN_QUALIFICATION = 0.25
_ALL = ["record_id", "image_sha256"]
_FORGED = [*_ALL, "manipulation", "change_mean", "regions", "region_shares"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A record that people may be asked about: its id and bytes, its family, and the truth about its regions.

    `region_shares`: the share of each region that was edited, 0–1; empty for a pristine record. `family` is None there.
    """

    record_id: str
    image_sha256: str
    family: str | None
    region_shares: Mapping[str, float]
    plain: bool


class Chosen(NamedTuple):
    """A record, why it is asked about, and by how many people."""

    subject: Subject
    kind: Kind
    people: int


def subjects(pristine: Path, forged: Path) -> list[Subject]:
    """Read what can be asked about: pristine records, and forged ones that passed the gates, in order of their ids."""
    accepted = passed(forged)
    found = [_pristine(row) for row in read_columns(pristine, _ALL)]
    found += [_forged(row) for row in read_columns(forged, _FORGED) if row["record_id"] in accepted]
    return sorted(found, key=lambda subject: subject.record_id)


def _pristine(row: Mapping[str, Any]) -> Subject:
    return Subject(row["record_id"], row["image_sha256"], None, {}, False)


def _forged(row: Mapping[str, Any]) -> Subject:
    shares = dict(zip(row["regions"], row["region_shares"], strict=True))
    plain = (row["change_mean"] or 0) >= PLAIN_CHANGE_MEAN and max(shares.values(), default=0) >= PLAIN_REGION_SHARE
    return Subject(row["record_id"], row["image_sha256"], row["manipulation"], shares, plain)


def draw(record_id: str, purpose: str, seed: int) -> float:
    """Return the number in [0, 1) that a record draws for a purpose; it never changes."""
    return int(hashlib.sha256(f"{seed}/{purpose}/{record_id}".encode()).hexdigest()[:13], 16) / 16**13


def choose(
    known: Sequence[Subject], settings: AnnotateSection, seed: int, asked_as: Mapping[str, Kind] = MappingProxyType({})
) -> list[Chosen]:
    """Decide what is asked: the qualification round, ordinary work, gold and catch trials hidden in it.

    What was asked already stays what it was asked as (`asked_as`, by record), whatever comes or changes later.

    Gold, catch trials and the overlap cohort are all seen by `overlap` people: by the number of answers nobody can tell
    an examination question from a shared one. Catch trials are for those who see the image alone: beside its pristine
    or its empty mask, everybody knows one.
    """
    blind = stage(settings.protocol, StageName.DESCRIBE).sees == (View.IMAGE,)
    examined = _qualification(known, settings.qualification_tasks, seed, blind, asked_as)
    used = {subject.record_id for subject in examined}
    chosen = [Chosen(subject, Kind.QUALIFICATION, 1) for subject in examined]
    rest = [subject for subject in known if subject.record_id not in used]
    asked = [s for s in rest if s.family is not None and draw(s.record_id, "share", seed) < settings.share]
    chosen += [_ordinary_or_gold(subject, settings, seed, asked_as) for subject in asked]
    pristine = [subject for subject in rest if subject.family is None]
    share = settings.catch_share * len(asked) / max(len(pristine), 1) if blind else 0
    caught = [s for s in pristine if draw(s.record_id, "catch", seed) < share or s.record_id in asked_as]
    return chosen + [Chosen(subject, Kind.CATCH, settings.overlap) for subject in caught]


def _ordinary_or_gold(subject: Subject, settings: AnnotateSection, seed: int, asked_as: Mapping[str, Kind]) -> Chosen:
    gold = subject.plain and draw(subject.record_id, "gold", seed) < settings.gold_share
    if asked_as.get(subject.record_id, Kind.GOLD if gold else Kind.ORDINARY) is Kind.GOLD:
        return Chosen(subject, Kind.GOLD, settings.overlap)
    shared = draw(subject.record_id, "overlap", seed) < settings.overlap_share
    return Chosen(subject, Kind.ORDINARY, settings.overlap if shared else 1)


def _qualification(
    known: Iterable[Subject], count: int, seed: int, blind: bool, asked_as: Mapping[str, Kind]
) -> list[Subject]:
    """Plain forgeries and, for those who see the image alone, a quarter of pristine faces: those that draw lowest."""
    ordered = sorted(known, key=lambda subject: draw(subject.record_id, "qualification", seed))
    kept = [subject for subject in ordered if asked_as.get(subject.record_id) is Kind.QUALIFICATION]
    fresh = [subject for subject in ordered if subject.record_id not in asked_as]
    due = round(count * _CATCH_IN_QUALIFICATION * blind) - sum(subject.family is None for subject in kept)
    pristine = [subject for subject in fresh if subject.family is None][: max(due, 0)]
    forged = [subject for subject in fresh if subject.plain][: max(count - len(kept) - len(pristine), 0)]
    return [*kept, *pristine, *forged]
