"""Protocols: what an annotator sees, and what is asked, in each stage. The names of the controls are fixed here.

| protocol | describe | then |
|---|---|---|
| `blind_then_verified` | the image alone | another person verifies with pristine and mask; disputes are adjudicated |
| `paper` | image and pristine | disputes are adjudicated |
| `informed` | image, pristine and mask | disputes are adjudicated |

A rework task repeats `describe` for one person, with a message. Qualification, gold and catch trials are `describe`
tasks that look like any other.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class View(StrEnum):
    """One way to look at a record. A picture of a task is called the same."""

    IMAGE = "image"
    PRISTINE = "pristine"
    OVERLAY = "overlay"


class StageName(StrEnum):
    """What a person is asked to do."""

    DESCRIBE = "describe"
    VERIFY = "verify"
    ADJUDICATE = "adjudicate"


class Stage(NamedTuple):
    """One stage of a protocol: what is asked, and what is seen."""

    name: StageName
    sees: tuple[View, ...]


_ALL = (View.IMAGE, View.PRISTINE, View.OVERLAY)
_PAIR = (View.IMAGE, View.PRISTINE)

PROTOCOLS: Mapping[str, tuple[Stage, ...]] = MappingProxyType({
    "blind_then_verified": (
        Stage(StageName.DESCRIBE, (View.IMAGE,)),
        Stage(StageName.VERIFY, _ALL),
        Stage(StageName.ADJUDICATE, _ALL),
    ),
    "paper": (Stage(StageName.DESCRIBE, _PAIR), Stage(StageName.ADJUDICATE, _PAIR)),
    "informed": (Stage(StageName.DESCRIBE, _ALL), Stage(StageName.ADJUDICATE, _ALL)),
})  # fmt: skip


class Control(StrEnum):
    """What a person fills in: the `name` of each control of the interface, and so the `from_name` of each result."""

    VERDICT = "verdict"
    REGIONS = "regions"
    REPORT = "report"
    DIFFICULTY = "difficulty"
    FLAGS = "flags"
    MATCH = "match"
    MISSED = "missed"


CONTROLS: Mapping[StageName, tuple[Control, ...]] = MappingProxyType({
    StageName.DESCRIBE: (Control.VERDICT, Control.REGIONS, Control.REPORT, Control.DIFFICULTY, Control.FLAGS),
    StageName.VERIFY: (Control.MATCH, Control.MISSED, Control.REPORT, Control.FLAGS),
    StageName.ADJUDICATE: (Control.VERDICT, Control.REGIONS, Control.REPORT, Control.FLAGS),
})  # fmt: skip

VISIBLE = "visible"
VERDICTS = (VISIBLE, "none_visible", "unusable", "looks_pristine")
SEES_NOTHING = frozenset({"none_visible", "looks_pristine"})
MATCHES = ("yes", "partly", "no")
MINOR = "minor"
FLAGS = ("recognisable", MINOR, "distressing", "technical_fault")
FALSE_POSITIVE = "false_positive"  # verify and adjudicate: the report claims what is not there
DIFFICULTIES = 5  # a rating from 1 (seen at once) to this (hardly seen)

# Texts of a task, besides its pictures (`View`, and `zoom`: aligned crops of what the stage may see).
ZOOM = "zoom"
MESSAGE = "message"  # rework: what to mend
GIVEN = "given"  # verify: the report to verify; adjudicate: all of them, numbered; rework: one's own


def stage(protocol: str, name: str) -> Stage:
    """Return a stage of a protocol.

    Raises:
        KeyError: the protocol has no such stage.
    """
    return {str(stage.name): stage for stage in PROTOCOLS[protocol]}[str(name)]


def texts(name: StageName, *, rework: bool = False) -> tuple[str, ...]:
    """Return the names of the texts that a task of a stage carries beside its pictures."""
    if rework:
        return (MESSAGE, GIVEN)
    return () if name is StageName.DESCRIBE else (GIVEN,)
