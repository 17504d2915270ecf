"""X4: how long people took for their reports, against what looking and writing takes at the very least.

What is told is coarse, as published times are, even where the log knows them to the second.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.recipe import QualitySection, Recipe
from mmtt.reports import DWELL_EDGES_S
from mmtt.words import words

from ..answers import in_order
from ..desk import open_desk
from ..private import folder
from ..quality.time import spells

LOOK_S = 20.0  # to look at a picture, before anything is written
RUN = 5  # equal times in a row, to the tenth of a second, that no hand produces
_FEWEST = 10  # reports of an annotator whose usual time is compared
_FAR = 3.5  # robust standard deviations (Iglewicz & Hoaglin, 1993)


class _Time(NamedTuple):
    """What the log says of a report: seconds spent at most, what the browser claimed, and its place in time."""

    spent: float | None
    claimed: float | None
    place: int


def judge_dwell(evidence: Evidence) -> Finding:
    """Count the reports that were written too fast, or one after the other in exactly the same time."""
    reports = evidence.reports
    table = _timed(reports[reports["settled"] != "adjudicated"], _logged(evidence))
    if table.empty:
        raise NotApplicable("No report says how long it took.")
    quality = _quality(evidence)
    length = table["text"].map(lambda text: len(words(text, "en")))  # the same in every language
    table = table.assign(floor=LOOK_S + length / quality.max_words_per_s)
    fast, beat = table["at_most"] <= table["floor"], _at_a_beat(table)
    wrong = fast | beat
    people = table.assign(fast=fast, beat=beat).groupby("annotator")
    return Finding(
        statistic=float(wrong.mean()),
        n=len(table),
        of="reports",
        sentence=f"{int(fast.sum()):,} of {len(table):,} reports took less time than looking and writing do; "
        f"{int(beat.sum()):,} came at a beat.",
        details={
            "share below the floor by annotator": _shares(people["fast"].mean()),
            "share at a beat by annotator": _shares(people["beat"].mean()),
            "reports by seconds spent, at least": _brackets(table),
            "median seconds, at least, of those far from the others": _outliers(table),
            "times known to the second": int(table["exact"].sum()),
            "seconds for looking": LOOK_S,
            "words a second": quality.max_words_per_s,
        },
        worst=_worst(table[wrong]),
    )


def _quality(evidence: Evidence) -> QualitySection:
    path = Layout(evidence.root).recipe
    return Recipe.load(path).annotate.quality if path.is_file() else QualitySection()


def _logged(evidence: Evidence) -> Mapping[str, _Time]:
    """Return what the log knows of each report, by its id; empty where there is no log."""
    if not (folder(evidence.root) / "log.sqlite").is_file():
        return {}
    with open_desk(evidence.root) as desk:
        ordered = in_order(desk.answers)
    times = spells(ordered)
    return {
        derived_id("report", answer.record_id, answer.uid): _Time(
            times[answer.uid].dwell, times[answer.uid].lead, place
        )
        for place, answer in enumerate(ordered)
    }


def _timed(reports: pd.DataFrame, logged: Mapping[str, _Time]) -> pd.DataFrame:
    """Return the reports whose time is known, in the order in which they were written as far as that is known.

    at_least, at_most: seconds between which the time lies: published times are the lower edges of brackets. exact:
    whether they are one. claimed: what is compared for beats; NaN where only a bracket is known.
    """
    known = reports["report_id"].map(logged.get)
    spent = known.map(lambda time: np.nan if time is None or time.spent is None else time.spent).astype(float)
    published = reports["dwell_s"].astype(float)
    coarse = spent.isna() & published.isin(DWELL_EDGES_S)
    edges = np.array([*DWELL_EDGES_S, np.inf])
    above = pd.Series(
        edges[np.searchsorted(edges, published.fillna(0), side="right").clip(0, len(edges) - 1)], reports.index
    )
    at_least = spent.fillna(published)
    claimed = known.map(lambda time: np.nan if time is None or time.claimed is None else time.claimed).astype(float)
    table = reports.assign(
        at_least=at_least,
        at_most=at_least.where(~coarse, above),
        exact=~coarse,
        claimed=claimed.fillna(published.where(~coarse & spent.isna())),
        place=known.map(lambda time: 0 if time is None else time.place).astype(int),
    )
    return table[table["at_least"].notna()].sort_values(["annotator", "place", "submitted", "report_id"])


def _at_a_beat(table: pd.DataFrame) -> pd.Series:
    """Return which reports are one of `RUN` or more of one person in a row that took the same time."""
    flags: list[bool] = []
    keys = zip(table["annotator"], table["claimed"].round(1), strict=True)
    for (_, seconds), run in groupby(keys):
        length = len(list(run))
        flags += [length >= RUN and seconds == seconds] * length  # NaN is no time
    return pd.Series(flags, index=table.index)


def _shares(shares: pd.Series) -> dict[str, float]:
    found = shares[shares > 0].sort_values(ascending=False, kind="stable")
    return {str(name): float(share) for name, share in found.iloc[:20].items()}


def _brackets(table: pd.DataFrame) -> dict[str, int]:
    edges = np.array(DWELL_EDGES_S)
    counts = np.bincount(np.searchsorted(edges, table["at_least"], side="right") - 1, minlength=len(edges))
    return {str(edge): int(count) for edge, count in zip(edges, counts, strict=True)}


def _outliers(table: pd.DataFrame) -> dict[str, float]:
    """Return the annotators whose usual time is far from the others', times being log-normal, and their median."""
    logs = np.log(table["at_least"].clip(lower=1)).groupby(table["annotator"])
    means = logs.mean()[logs.size() >= _FEWEST]
    spread = 1.4826 * float((means - means.median()).abs().median()) if len(means) else 0.0
    far = means[(means - means.median()).abs() > _FAR * spread] if spread > 0 else means.iloc[:0]
    medians = table.groupby("annotator")["at_least"].median()
    return {str(name): _bracket(medians[name]) for name in far.index}


def _bracket(seconds: float) -> int:
    """Return the lower edge of a time's bracket: exact times would tell one person from another."""
    return max(edge for edge in DWELL_EDGES_S if edge <= max(seconds, 0))


def _worst(wrong: pd.DataFrame) -> tuple[Example, ...]:
    ordered = wrong.assign(lack=wrong["floor"] - wrong["at_most"]).sort_values(
        ["lack", "report_id"], ascending=[False, True]
    )
    return tuple(
        Example(
            row.record_id,
            f"{row.annotator} took less than the {row.floor:.0f} s that looking and writing so much takes at the least"
            if row.lack >= 0
            else f"{row.annotator} took as long as for the reports before or after it, to a tenth of a second",
        )
        for row in ordered.head(MOST_EXAMPLES).itertuples()
    )
