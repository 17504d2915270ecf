"""Questions: those of Datasheets for Datasets (Gebru et al., arXiv 1803.09010), and who answers each of them.

They stand in `questions.toml`. `fill` says who answers: `facts` (the release by itself), `person`, `both`, or `nobody`
(a person may). `about` names the key of the curators' table `about` that does in place of a person's answer. A question
with `people` needs none where the pictures show no person.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, NamedTuple

SECTIONS: Mapping[str, str] = MappingProxyType({
    "M": "Motivation",
    "C": "Composition",
    "L": "Collection process",
    "P": "Preprocessing, cleaning, labeling",
    "U": "Uses",
    "D": "Distribution",
    "T": "Maintenance",
})  # fmt: skip


class Question(NamedTuple):
    """One question: its code (`M1`), its words, who answers, a hint for the person who does, and what does instead."""

    code: str
    text: str
    fill: Literal["facts", "person", "both", "nobody"]
    hint: str = ""
    people: bool = False
    about: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}"

    @property
    def is_for_people(self) -> bool:
        """Whether a person has to answer."""
        return self.fill in ("person", "both")

    @property
    def number(self) -> str:
        """Section and place in it, as readers see them: `1.1`."""
        return f"{list(SECTIONS).index(self.code[0]) + 1}.{self.code[1:]}"


@cache
def questions() -> Mapping[str, Question]:
    """Return every question by its code, in the order of the datasheet."""
    told = tomllib.loads(files(__package__).joinpath("questions.toml").read_text(encoding="utf-8"))
    return MappingProxyType({code: Question(code=code, **asked) for code, asked in told.items()})
