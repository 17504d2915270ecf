"""Audited: what `mmtt audit` left beside the dataset. Whoever edits that file can write anything into it."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mmtt.audit import Verdict
from mmtt.layout import Layout
from mmtt.samples import digest_of
from mmtt.words import cut

MOST_AUDITS = 100
MOST_BYTES = 50_000_000
LETTERS = 400
_WORDS = ("id", "title", "question", "unit", "better", "sentence", "of", "reason", "about")


class Audits(NamedTuple):
    """What the page shows of the audits.

    state: `current`; `stale`: about another state of the dataset; `absent`: nobody audited; `damaged`: unreadable.
    rows: as `Outcome.to_dict()` gives them, with every text cut and every figure finite. counts: rows by verdict.
    looked: how many rows were audited, of how many pixels were looked at, and of which variant.
    """

    state: Literal["current", "stale", "absent", "damaged"]
    rows: Sequence[Mapping[str, Any]] = ()
    counts: Sequence[tuple[str, int]] = ()
    looked: Mapping[str, Any] = MappingProxyType({})


def read_audits(layout: Layout) -> Audits:
    """Read them, trusting nothing in the file."""
    if not layout.audits.is_file():
        return Audits("absent")
    found = _loaded(layout)
    if not isinstance(found, dict) or not isinstance(found.get("audits"), list):
        return Audits("damaged")
    rows = [_row(row) for row in found["audits"][:MOST_AUDITS] if isinstance(row, dict)]
    counted = Counter(row["verdict"] for row in rows)
    looked = {
        "rows": _count(found.get("rows")),
        "sampled": _count(found.get("sampled")),
        "variant": _text(found, "variant"),
    }
    state: Literal["current", "stale"] = "current" if found.get("digest") == digest_of(layout.root) else "stale"
    return Audits(state, rows, [(str(v), counted[str(v)]) for v in Verdict if counted[str(v)]], looked)


def _loaded(layout: Layout) -> Any:
    try:
        if layout.audits.stat().st_size > MOST_BYTES:
            return None
        return json.loads(layout.audits.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    verdict = row.get("verdict")
    words = {name: _text(row, name) for name in _WORDS}
    interval = row.get("interval")
    ends = [_figure(end) for end in interval] if isinstance(interval, list) and len(interval) == 2 else []
    return words | {
        "verdict": verdict if verdict in list(map(str, Verdict)) else str(Verdict.ABSENT),
        "gate": _figure(row.get("gate")),
        "statistic": _figure(row.get("statistic")),
        "interval": ends if ends and None not in ends else None,
        "n": _count(row.get("n")),
    }


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return cut(value, LETTERS) if isinstance(value, str) else ""


def _figure(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and abs(value) < 1e300 and math.isfinite(value) else None


def _count(value: Any) -> int:
    figure = _figure(value)
    return int(figure) if figure is not None and figure >= 0 else 0
