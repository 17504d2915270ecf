"""Words: how statements are put, and the few figures that several of them tell."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mmtt.reports import Report

from .. import figures
from ..facts import Facts
from ..markdown import code, plain, so_many


class Told(NamedTuple):
    """A statement: sentences, and a table beside them; both Markdown, strangers' words escaped."""

    text: str
    table: str = ""


def joined(items: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`; nothing of nothing."""
    *rest, last = list(items) or [""]
    return f"{', '.join(rest)} and {last}" if rest else last


def counted(counts: Mapping[str, int]) -> str:
    """Return names with their counts, the most frequent first: `a (12) and b (3)`."""
    return joined(f"{plain(name)} ({count:,})" for name, count in ranked(counts))


def ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return names and counts, the most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> str:
    """Return a Markdown table, whose first columns are of words and whose others are of numbers, to the right."""
    escaped = [[f"{cell:,}" if isinstance(cell, int) else str(plain(cell)) for cell in row] for row in rows]
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def forged(facts: Facts) -> pd.DataFrame:
    """Return the forged rows."""
    return facts.rows[facts.rows["manipulation"].notna()]


def span(text: str) -> str:
    """Return a word of the data's own as a span of code."""
    return f"`{code(' '.join(text.split()))}`"


def values(column: "pd.Series[Any]") -> Counter[str]:
    """Count the values of a column that are there."""
    return Counter(str(value) for value in column.dropna())


def imported(facts: Facts) -> str:
    """Return whence an imported dataset came, as words; empty for one that was made here."""
    told = facts.recipe.imported
    found = f"(format {span(told.format)}, SHA-256 of all that was read {span(told.digest)})" if told else ""
    return f"the records were imported from a dataset that others made {found}" if told else ""


def by_people(facts: Facts) -> list[Report]:
    """Return the texts that people wrote, or may have written."""
    return figures.by_people(facts.reports)


def days(facts: Facts) -> list[str]:
    """Return the days on which texts were handed in, ISO 8601, sorted; those by people alone."""
    return sorted({report.submitted for report in by_people(facts) if report.submitted})


def said_of(facts: Facts, *ids: str) -> str:
    """Return what some audits found, a sentence each, as far as they found anything."""
    of = {told["id"]: told for told in facts.audits}
    return " ".join(plain(of[name]["sentence"]) for name in ids if of.get(name, {}).get("sentence"))


def records(count: int) -> str:
    """Return a number of records as words."""
    return so_many(count, "record")


def share(part: int, of: int) -> str:
    """Return a part of a whole: `12 of 40`, or `all 40`, or `none of 40`."""
    return f"all {of:,}" if part == of else f"none of {of:,}" if part == 0 else f"{part:,} of {of:,}"
