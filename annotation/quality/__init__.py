"""Quality control: rules over answers. Each looks at all of them and says what it finds; none changes anything.

Thresholds are keys of `annotate.quality` in the recipe; there, `ignore` names rules that are not applied, `warn` rules
that only tell. An effect differs from the one listed below where the rule says so. Only what people describe is judged
by its words; of those who verify or adjudicate, structure, time and impartiality are asked. Their work is never worked
over, so that it is held where a description is returned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from mmtt.errors import UserError, did_you_mean
from mmtt.recipe import AnnotateSection, QualitySection

from ..answers import Answer, in_order
from ..protocols import StageName
from .drift import drift
from .duplicates import near_duplicate
from .finding import Case, Effect, Finding, Found, message
from .identity import identity
from .people import Score, checks, monotone, qualification, scores
from .regions import choices, contradiction, grounding
from .structure import anothers_rework, informed, minor, self_verified, structure, tampered
from .text import language, template, words
from .time import dwell, idle, parallel, pasted

__all__ = ["RULES", "Effect", "Finding", "Rule", "Score", "inspect", "scores"]


class Rule(NamedTuple):
    """A rule: what it finds, in a sentence; what becomes of an answer; the function; the recipe's keys, if any."""

    finds: str
    effect: Effect
    find: Callable[[Case], Iterator[Found]]
    keys: tuple[str, ...] = ()


_R, _H, _T = Effect.RETURN, Effect.HOLD, Effect.TELL

RULES: Mapping[str, Rule] = MappingProxyType({
    "structure": Rule("Something is missing, superfluous or unknown; a skip without reason: told.", _R, structure),
    "minor": Rule("Of a record that, as somebody says, shows a minor.", _H, minor),
    "dwell": Rule("Faster than anybody looks; held if tasks overlap or no time is known.", _R, dwell, ("min_dwell_s",)),
    "parallel": Rule("The browser claims more time than has passed: several tasks were open.", _T, parallel),
    "idle": Rule("Open for longer than anybody looks.", _T, idle, ("max_idle_s",)),
    "pasted": Rule("Written faster than anybody types.", _H, pasted, ("max_words_per_s",)),
    "words": Rule("Too short, or too long.", _R, words, ("min_words", "max_words")),
    "language": Rule("In another language than the one declared.", _R, language),
    "near_duplicate": Rule("Written before; held if by another person.", _R, near_duplicate, ("near_duplicate",)),
    "template": Rule("The same runs of words in all of a person's texts.", _T, template, ("template_share",)),
    "monotone": Rule("The same regions, whatever was edited.", _T, monotone, ("monotone_share",)),
    "choices": Rule("The text names other regions than those chosen.", _R, choices, ("choices_overlap",)),
    "contradiction": Rule("Verdict and text exclude each other.", _R, contradiction),
    "grounding": Rule("The regions named were not edited.", _H, grounding, ("grounding_precision",)),
    "identity": Rule("Says who, or what kind of person, is seen; held if only capitals say so.", _R, identity),
    "qualification": Rule("By somebody who has not passed the examination.", _H, qualification,
                          ("qualification_score", "qualification_tasks")),
    "checks": Rule("By somebody who fails the checks hidden in their work.", _H, checks, ("check_score", "min_checks")),
    "drift": Rule("A person's answers have changed.", _T, drift, ("drift_lambda", "drift_sigmas")),
    "tampered": Rule("Something happened to it that the interface does not do.", _H, tampered),
    "self_verified": Rule("Judges a report of the same person, or settles what they verified.", _H, self_verified),
    "informed": Rule("Describes from the image alone what they had seen more of before.", _H, informed),
    "anothers_rework": Rule("Works over the report of another person.", _H, anothers_rework),
})  # fmt: skip


def inspect(answers: Sequence[Answer], settings: QualitySection, annotate: AnnotateSection) -> list[Finding]:
    """Apply the rules.

    Args:
        answers: all answers, in any order.
        settings: thresholds, and which rules are ignored or only warn.
        annotate: what else the recipe says of annotation.

    Returns:
        What was found, in the order in which the answers were submitted and the rules are listed; what is said of
        annotators as a whole comes last.

    Raises:
        UserError: `ignore` or `warn` names no rule.
    """
    _require_known(settings)
    case = Case(in_order(answers), settings, annotate)
    place = {answer.uid: number for number, answer in enumerate(case.answers)}
    found = [
        (found.whole, 0 if found.whole else place[found.answer.uid], _finding(rule, found, settings))
        for rule in RULES
        if rule not in settings.ignore
        for found in RULES[rule].find(case)
    ]
    return [finding for *_, finding in sorted(found, key=lambda item: item[:2])]


def _require_known(settings: QualitySection) -> None:
    for key, names in (("ignore", settings.ignore), ("warn", settings.warn)):
        for name in names:
            if name not in RULES:
                raise UserError(f"annotate.quality.{key}: there is no rule '{name}'.{did_you_mean(name, RULES)}")


def _finding(rule: str, found: Found, settings: QualitySection) -> Finding:
    answer = found.answer
    return Finding(
        rule=rule,
        uid=None if found.whole else answer.uid,
        annotator=answer.annotator,
        value=found.value,
        effect=_T if rule in settings.warn else _possible(found.effect or RULES[rule].effect, answer),
        message=message(rule, found, settings),
        detail=found.detail.encode("utf-8", "backslashreplace").decode(),  # it may quote half a surrogate pair
    )


def _possible(effect: Effect, answer: Answer) -> Effect:
    return _H if effect is _R and answer.stage != StageName.DESCRIBE else effect
