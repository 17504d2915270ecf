"""Tables: counts of a dataset by family, split, area, region, program, origin, and of what was refused."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mmtt.errors import UserError
from mmtt.manipulator import FAMILIES
from mmtt.recipe import SPLITS
from mmtt.record import Rejection
from mmtt.regions import REGIONS
from mmtt.words import cut

from .. import manipulators
from .facts import Facts

REASONS = 3
REASON_LETTERS = 240
MOST_ROWS = 60
SHARE_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
STAGES = ("ingest", "import", "plan", "forge", "gate", "degrade")

ABOUT: Mapping[str, str] = {
    "face_swap": "The inner face of another person, laid over the target's.",
    "part_swap": "Single features of another person, set into the target's face.",
    "self_blend": "The face blended with an altered copy of itself: no second person, only the traces of blending.",
    "attribute_edit": "One trait of the same face changed: its expression, the size of a feature, its age.",
    "transformer_inpainting": "A hole in the face, filled by a learned transformer.",
    "diffusion_inpainting": "A hole in the face, filled by a learned diffusion model.",
    "classical_inpainting": "A hole in the face, filled from the picture itself; nothing is learned.",
    "recolour": "Features of the face in another colour.",
    "retouch": "Skin smoothed and evened, as beauty filters do.",
    "unknown": "Altered in a way that the dataset it comes from does not tell.",
}


class Cut(NamedTuple):
    """The first rows of a table, and how many more there are."""

    rows: list[dict[str, Any]]
    left_out: int


def first_rows(rows: Sequence[dict[str, Any]]) -> Cut:
    """Return as many rows as a page shows."""
    return Cut(list(rows[:MOST_ROWS]), max(len(rows) - MOST_ROWS, 0))


def by_family(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Group rows by family: known ones in their usual order, then those that a program or an origin names."""
    groups = dict(iter(rows.groupby("manipulation", sort=False)))
    return {str(family): groups[family] for family in sorted(groups, key=_family_order)}


def _family_order(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def programs(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each program of some forgeries, with how many it made and what it says of itself."""
    counted = sorted(Counter(rows["manipulator"]).items())
    return [{"name": name, "count": count, "summary": _summary(name)} for name, count in counted]


def _summary(name: str) -> str:
    try:
        return manipulators.find(name).declaration.summary
    except (UserError, ImportError):
        return ""  # forged where a program was installed that is not installed here


def split_table(facts: Facts) -> dict[str, Any]:
    """Return how many records of each family are in each split, with the median area and change."""
    groups = {"pristine": facts.pristine, **by_family(facts.forged)}
    counted = {name: Counter(rows["split"]) for name, rows in groups.items() if len(rows)}
    used = set().union(*counted.values())
    names = [*SPLITS, *sorted(used - set(SPLITS))]
    return {
        "names": names,
        "rows": [
            {
                "name": family,
                "counts": [counts[name] for name in names],
                "total": counts.total(),
                "mask": _median(groups[family], "mask_share") if family != "pristine" else None,
                "change": _median(groups[family], "change_mean"),
            }
            for family, counts in counted.items()
        ],
        "totals": [sum(counts[name] for counts in counted.values()) for name in names],
    }


def _median(rows: pd.DataFrame, column: str) -> float | None:
    values = rows[column].dropna()
    return float(values.median()) if len(values) else None


def share_table(forged: pd.DataFrame) -> dict[str, Any]:
    """Return how large the masks are: for each family, how many fall between two edges."""
    edges = [f"{100 * edge:g}" for edge in SHARE_EDGES]
    between = [f"{low}–{high} %" for low, high in itertools.pairwise(edges)]
    return {
        "names": [f"under {edges[0]} %", *between, f"{edges[-1]} % and more"],
        "rows": [(family, histogram(rows["mask_share"], SHARE_EDGES)) for family, rows in by_family(forged).items()],
    }


def histogram(values: Iterable[float], edges: Sequence[float]) -> list[tuple[int, float]]:
    """Return the counts below, between and above some edges, each with its share of the largest count."""
    bins = np.bincount(np.searchsorted(edges, list(values), side="right"), minlength=len(edges) + 1)
    return [(int(count), float(count / max(bins.max(), 1))) for count in bins]


def region_bars(lists: pa.Table) -> list[dict[str, Any]]:
    """Return for each region word how many masks touch it, and how many cover half of it or more."""
    words = pc.list_flatten(lists["regions"])
    shares = pc.list_flatten(lists["region_shares"])
    touched = counts_of(words)
    half = counts_of(words.filter(pc.greater_equal(shares, 0.5)))
    named = [*REGIONS, *sorted(set(touched) - set(REGIONS))]
    bars = [{"word": word, "touched": touched[word], "half": half[word]} for word in named if touched[word]]
    return sorted(bars, key=lambda bar: -int(bar["touched"]))


def counts_of(values: pa.ChunkedArray | pa.Array) -> Counter[str]:
    """Return how often each value occurs."""
    return Counter({item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()})


def rejection_table(refused: Sequence[Rejection]) -> list[dict[str, Any]]:
    """Return how many items each stage refused for each reason, with a few of its sentences."""
    counts: Counter[tuple[str, str]] = Counter()
    reasons: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in refused:
        counts[row.stage, row.code] += 1
        reasons[row.stage, row.code].add(row.detail)

    def order(key: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        return (STAGES.index(key[0]) if key[0] in STAGES else len(STAGES), key)

    def told(key: tuple[str, str]) -> list[str]:
        return [cut(reason, REASON_LETTERS) for reason in sorted(reasons[key])[:REASONS]]

    return [
        {"stage": key[0], "code": key[1], "count": counts[key], "reasons": told(key)}
        for key in sorted(counts, key=order)
    ]


def origin_table(facts: Facts) -> list[dict[str, Any]]:
    """Return where the pictures come from: records and groups by origin, licence and consent, most first.

    pictures: those that came from there, pristine ones and the `ready` forged, which have no target here. forged: all
    forgeries, those made here of its pictures among them.
    """
    key = ["origin", "licence", "consent"]
    both = pd.concat([facts.pristine, facts.forged]) if len(facts.pristine) else facts.forged
    rows = []
    for source, members in both.groupby(key, dropna=False):
        forged = int(members["manipulation"].notna().sum())
        known = dict(zip(key, map(str, source), strict=True))
        pristine, ready = len(members) - forged, forged - int(members["target_id"].notna().sum())
        counts = {"pictures": pristine + ready, "ready": ready, "pristine": pristine, "forged": forged}
        rows.append({**known, **counts, "groups": members["group_id"].nunique()})
    return sorted(rows, key=lambda row: (-row["pictures"], -row["forged"], *(row[name] for name in key)))


def program_table(forged: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the programs with their versions and licences; what is null is None."""
    key = ["manipulation", "manipulator", "manipulator_version", "code_licence", "weights_licence"]
    counted = forged.groupby(key, dropna=False).size()
    rows = [
        {name: None if pd.isna(value) else str(value) for name, value in zip(key, values, strict=True)}
        | {"count": int(count)}
        for values, count in counted.items()
    ]
    return sorted(rows, key=lambda row: (_family_order(str(row["manipulation"])), *(row[name] or "" for name in key)))


def obligations(lists: pa.Table) -> list[tuple[str, int]]:
    """Return what the forgeries oblige to, and how many of them do, most first."""
    return sorted(counts_of(pc.list_flatten(lists["obligations"])).items(), key=lambda item: (-item[1], item[0]))
