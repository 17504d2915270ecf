"""Finding: what a rule says about an answer or an annotator; and what the rules look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from mmtt.recipe import AnnotateSection, QualitySection

from ..answers import Answer, Kind
from ..protocols import VISIBLE, StageName


class Effect(StrEnum):
    """What becomes of an answer about which a rule has something to say."""

    RETURN = "return"  # to its author's rework queue, with the message
    HOLD = "hold"  # not accepted until a person decides
    TELL = "tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule says about one answer, or, where `uid` is None, about an annotator as a whole.

    `value` is what was compared with the threshold. `message` is a sentence for the annotator, in the language of the
    answer; it tells nothing that an annotator must not know. `detail` is for the curator, in English.
    """

    rule: str
    uid: str | None
    annotator: str
    value: float | None
    effect: Effect
    message: str
    detail: str


class Found(NamedTuple):
    """What a rule yields: `inspect` makes a finding of it.

    `answer` is the one it is about, or the annotator's latest one where it is about them as a whole (`whole`). `effect`
    is the rule's own where it is None; `variant` picks one of several messages of a rule.
    """

    answer: Answer
    detail: str
    value: float | None = None
    effect: Effect | None = None
    variant: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Case:
    """What the rules look at: all answers, in the order in which they were submitted, and the thresholds."""

    answers: tuple[Answer, ...]
    quality: QualitySection
    annotate: AnnotateSection

    @property
    def described(self) -> list[Answer]:
        """What people described, rework included; skipped tasks are left out."""
        return [a for a in self.answers if a.stage == StageName.DESCRIBE and not a.skipped]

    @property
    def written(self) -> list[Answer]:
        """Descriptions that hold a text."""
        return [a for a in self.described if a.text.strip()]

    @property
    def reports(self) -> list[Answer]:
        """Descriptions of something visible, in words."""
        return [a for a in self.written if a.verdict == VISIBLE]

    @property
    def standing(self) -> list[Answer]:
        """Those reports that were not worked over since: what an annotator's habits are judged by."""
        replaced = {a.about for a in self.described if a.reworked}
        return [a for a in self.reports if a.uid not in replaced]


def by_annotator(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Return each annotator's answers, in the order given."""
    grouped: dict[str, list[Answer]] = {}
    for answer in answers:
        grouped.setdefault(answer.annotator, []).append(answer)
    return grouped


def is_production(answer: Answer) -> bool:
    """Whether an answer is meant for the dataset, and not a test of its author."""
    return answer.kind in (Kind.ORDINARY, Kind.REWORK)


def spoken(language: str) -> str:
    """Return the language in which somebody is spoken to: `zh` for every tag of Chinese, else `en`."""
    return "zh" if language.lower().startswith("zh") else "en"


@cache
def lexicon(name: str) -> Any:
    """Return what a YAML file beside this module holds."""
    return yaml.safe_load((files(__package__ or "annotation.quality") / name).read_text(encoding="utf-8"))


def message(rule: str, found: Found, quality: QualitySection) -> str:
    """Return what an annotator is told."""
    key = f"{rule}.{found.variant}" if found.variant else rule
    template: str = lexicon("messages.yaml")[key][spoken(found.answer.language)]
    return template.format(value=found.value, quality=quality)


def share(flags: Sequence[bool]) -> float:
    """Return the share of true ones, 0–1; 0 of none."""
    return sum(flags) / len(flags) if flags else 0.0
