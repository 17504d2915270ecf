"""Statements: what a release can say by itself to the questions of a datasheet, each naming the release.

A statement goes on from the words "In release 1.2.0". One of facts or of what a curator says `about` the whole is None
where those leave the question to a person.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..answers import About, Answers, is_about_people
from ..facts import Facts
from ..questions import questions
from . import collection, composition, conditions, processing
from .words import Told

__all__ = ["Told", "automatic"]

_ALWAYS: Mapping[str, Told] = MappingProxyType(composition.ALWAYS)
_OF_FACTS: Mapping[str, Callable[[Facts], Told]] = MappingProxyType(
    composition.OF_FACTS | collection.OF_FACTS | processing.OF_FACTS | conditions.OF_FACTS
)
_OF_ABOUT: Mapping[str, Callable[[About], Told | None]] = MappingProxyType(conditions.OF_ABOUT)
_OF_BOTH: Mapping[str, Callable[[Facts, Answers], Told | None]] = MappingProxyType(
    {**collection.OF_BOTH, **conditions.OF_BOTH}
)
_NOBODY = Told(" no picture shows a person: all faces are drawn. The question does not arise.")


def automatic(facts: Facts, answers: Answers) -> dict[str, Told]:
    """Return what a release says by itself, by the code of the question."""
    found = {
        **_ALWAYS,
        **{code: statement(facts) for code, statement in _OF_FACTS.items()},
        **{code: statement(answers.about) for code, statement in _OF_ABOUT.items()},
        **{code: statement(facts, answers) for code, statement in _OF_BOTH.items()},
    }
    if not is_about_people(facts):
        found |= dict.fromkeys((code for code, asked in questions().items() if asked.people), _NOBODY)
    begin = f"In release {facts.release.version}"
    return {code: Told(begin + told.text, told.table) for code, told in found.items() if told is not None}
