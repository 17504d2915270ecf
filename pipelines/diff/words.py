"""A difference told to people: counts, reasons, one example of each."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmtt.words import printable

from .compare import Difference

MOST_LINES = 20
_LONGEST = 160
_TITLES = {"schema": "schema version", "refused": "refused by a stage"}


def as_text(found: Difference) -> str:
    """Return a difference for a terminal."""
    lines = [f"A {found.a}: {found.rows_a:,} rows", f"B {found.b}: {found.rows_b:,} rows", *found.notes]
    same = found.rows_b - len(found.added) - len(found.changed)
    counts = (len(found.added), len(found.removed), len(found.changed), same)
    lines.append("rows: {:,} added, {:,} removed, {:,} changed, {:,} the same".format(*counts))
    lines += _grouped("added", [(row.why, row) for row in found.added])
    lines += _grouped("removed", [(row.why, row) for row in found.removed])
    lines += _grouped("changed", [(f"{_sections(row.columns)}: {row.why}", row) for row in found.changed])
    for title, moves in (("splits", found.splits), ("gates", found.gates)):
        lines.append(f"{title}: {f'{len(moves):,} rows move' if moves else 'the same'}")
        lines += _grouped("", [(f"{row.before} → {row.after}", row) for row in moves])
    lines += _reports(found)
    lines += _because(found.because)
    return "\n".join(printable(line) for line in lines)


def _sections(columns: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{section} ({', '.join(names)})" for section, names in columns.items())


def _grouped(title: str, rows: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A line for each reason, the commonest first, with how often and for example which."""
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for reason, row in rows:
        groups[reason].append(row)
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
    for reason, members in ranked[:MOST_LINES]:
        first = members[0]
        name = first.record_id if first.variant == "master" else f"{first.record_id} {first.variant}"
        name += f" ({_short(first.origin_id)})" if getattr(first, "origin_id", None) else ""
        yield f"  {f'{title} ' if title else ''}{len(members):,} × {reason}; for example {name}"
    if len(ranked) > MOST_LINES:
        yield f"  … and {len(ranked) - MOST_LINES} more reasons; --json tells all"


def _reports(found: Difference) -> Iterator[str]:
    for letter, count in found.strays.items():
        told = f"{count:,} {'report is' if count == 1 else 'reports are'} about records that {letter} lacks"
        yield f"reports of {letter}: {told}; `mmtt annotate reports` writes them again"
    if not found.reports:
        yield "reports: the same"
        return
    counts = [
        f"{sum(change.what == what for change in found.reports):,} {what}" for what in ("added", "removed", "changed")
    ]
    first = found.reports[0]
    yield f"reports: {', '.join(counts)}; for example {first.what}, about {first.record_id}"


def _because(because: Mapping[str, Any]) -> Iterator[str]:
    for name, told in because.items():
        lines = list(_lines(told))
        yield f"{_TITLES.get(name, name)}:"
        yield from (f"  {line}" for line in lines[:MOST_LINES])
        if len(lines) > MOST_LINES:
            yield f"  … and {len(lines) - MOST_LINES} more; --json tells all"


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    for key, value in told.items():
        if isinstance(value, tuple):
            yield f"{key}: {_short(value[0])} → {_short(value[1])}"
        elif isinstance(value, list):
            yield f"{len(value):,} {key}: {', '.join(value[:3])}{' …' if len(value) > 3 else ''}"
        else:
            yield f"{value:,} {key}"


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
