"""Hits: records that an audit or a rule points at, so that one can look at them.

`audits.json` may have come with somebody else's dataset: whatever in it is not what it should be is passed over.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmtt.record import MASTER

from ..builds import Build


@dataclass(frozen=True, slots=True)
class Hit:
    """One record that is pointed at: why, as a sentence, and the record that it was compared with."""

    record_id: str
    variant: str
    why: str
    other_id: str | None = None


@dataclass(slots=True)
class Pointer:
    """What points at records, the worst first: `S2`, or a rule."""

    key: str
    title: str
    hits: list[Hit] = field(default_factory=list)


def pointers(build: Build) -> list[Pointer]:
    """Return all that points at records of a build: audits, and the rules that sent reports back."""
    return [*(pointer for pointer in _audits(build) if pointer.hits), *_rules(build)]


def _audits(build: Build) -> Iterator[Pointer]:
    try:
        told = json.loads(build.layout.audits.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    for audit in _list(told, "audits"):
        if isinstance(audit, Mapping) and isinstance(audit.get("id"), str):
            title = f"{audit['id']} {audit.get('title', '')}: {audit.get('verdict', '')}"
            yield Pointer(audit["id"], title, [hit for item in _list(audit, "worst") for hit in _hit(item)])


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _hit(item: Any) -> Iterator[Hit]:
    if isinstance(item, Mapping) and isinstance(item.get("record_id"), str):
        variant, other = item.get("variant", MASTER), item.get("other_id")
        yield Hit(item["record_id"], str(variant), str(item.get("why", "")), other if isinstance(other, str) else None)


def _rules(build: Build) -> list[Pointer]:
    found: dict[str, Pointer] = {}
    for row in build.refused_reports:
        if row.record_id is not None:
            key = f"report {row.code}"
            pointer = found.setdefault(key, Pointer(key, f"report refused: {row.code}"))
            pointer.hits.append(Hit(row.record_id, MASTER, row.detail))
    return [found[key] for key in sorted(found)]
