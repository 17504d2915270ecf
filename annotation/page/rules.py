"""Rules: what each quality rule came to, with a few examples to judge it by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmtt.ids import digest

from ..answers import Answer
from ..desk import Desk
from ..quality import RULES, Effect, Finding
from .exhibits import Exhibit, Exhibits, Picture

EXAMPLES = 2  # of each rule


class Example(NamedTuple):
    """An answer that a rule found, with the pictures of its record."""

    exhibit: Exhibit
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What a rule came to.

    `effect`: what it does here, or `ignored`. `bars`: the recipe's thresholds. `returned`, `held` and
    `told` count answers, `share` is that of all answers, 0–1; `people` are annotators of whom it speaks as a whole.
    """

    name: str
    finds: str
    effect: str
    bars: Sequence[tuple[str, str]]
    returned: int
    held: int
    told: int
    share: float
    people: Sequence[Finding]
    examples: Sequence[Example]

    @property
    def answers(self) -> int:
        """How many answers it found."""
        return self.returned + self.held + self.told


def rules(desk: Desk, exhibits: Exhibits) -> list[Hits]:
    """Return what every rule came to, in the order in which they are applied."""
    by_uid = {answer.uid: answer for answer in desk.answers}
    found: dict[str, list[Finding]] = {name: [] for name in RULES}
    for finding in desk.findings:
        found[finding.rule].append(finding)
    return [_hits(name, findings, by_uid, desk, exhibits) for name, findings in found.items()]


def _hits(name: str, found: Sequence[Finding], by_uid: Mapping[str, Answer], desk: Desk, exhibits: Exhibits) -> Hits:
    effects = _effects(found)
    counts = Counter(effects.values())
    quality = desk.settings.quality
    return Hits(
        name=name,
        finds=RULES[name].finds,
        effect="ignored"
        if name in quality.ignore
        else str(Effect.TELL if name in quality.warn else RULES[name].effect),
        bars=[(key, _bar(desk, key)) for key in RULES[name].keys],
        returned=counts[Effect.RETURN],
        held=counts[Effect.HOLD],
        told=counts[Effect.TELL],
        share=len(effects) / max(len(by_uid), 1),
        people=[finding for finding in found if finding.uid is None],
        examples=[_example(finding, by_uid, exhibits) for finding in choose(found)],
    )


def _effects(found: Sequence[Finding]) -> dict[str, Effect]:
    """Of each answer the gravest effect of a rule."""
    gravity = list(Effect)
    effects: dict[str, Effect] = {}
    for finding in found:
        if finding.uid is not None:
            effects[finding.uid] = min(finding.effect, effects.get(finding.uid, finding.effect), key=gravity.index)
    return effects


def _bar(desk: Desk, key: str) -> str:
    section = desk.settings.quality if hasattr(desk.settings.quality, key) else desk.settings
    return f"{getattr(section, key):g}"


def choose(found: Sequence[Finding], most: int = EXAMPLES) -> list[Finding]:
    """Return a few findings about answers: of as many annotators as there are, drawn by digest."""
    rounds: Counter[str] = Counter()
    drawn: list[tuple[int, int, Finding]] = []
    for finding in sorted((f for f in found if f.uid is not None), key=lambda f: digest([f.rule, f.uid])):
        drawn.append((rounds[finding.annotator], len(drawn), finding))
        rounds[finding.annotator] += 1
    return [finding for *_, finding in sorted(drawn, key=lambda item: item[:2])[:most]]


def _example(finding: Finding, by_uid: Mapping[str, Answer], exhibits: Exhibits) -> Example:
    answer = by_uid[finding.uid or ""]
    return Example(exhibits.of(answer, finding), exhibits.pictures(answer.record_id))
