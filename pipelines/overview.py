"""Overview: one HTML page that shows what is in a dataset. It opens offline; nothing in it is fetched.

Counts come from narrow columns; pixels are read for the few examples that are shown. Nothing on the
page depends on the hour or the machine: the same dataset gives the same page.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mmtt import html
from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.manifest import passed, read_columns, shard_paths
from mmtt.manipulator import FAMILIES
from mmtt.recipe import SPLITS, Recipe
from mmtt.record import Assignment, Rejection
from mmtt.regions import REGIONS
from mmtt.shards import Lookup, read_table

from . import examples, manipulators

REASONS = 3
REASON_LETTERS = 240
SHARE_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)

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
}

_PRISTINE = ["record_id", "origin", "licence", "consent", "group_id"]
_FORGED = [
    "record_id", "target_id", "manipulation", "manipulator", "parameters", "mask_share", "change_mean",
    "regions", "region_shares", "origin", "licence", "consent", "landmark_finder",
]  # fmt: skip

Rows = Sequence[Mapping[str, Any]]


def write_overview(layout: Layout) -> Path:
    """Write the overview of a forged dataset and return where it lies.

    Raises:
        UserError: a stage has not come to its end yet.
    """
    recipe = Recipe.load(layout.recipe)
    pristine, accepted = read_columns(layout.pristine, _PRISTINE), passed(layout.forged)
    forged = [row for row in read_columns(layout.forged, _FORGED) if row["record_id"] in accepted]
    splits = {row.record_id: row.split for row in read_table(layout.splits, Assignment)}
    refused = [row for stage in (layout.pristine, layout.plan, layout.forged) for row in _rejections(stage)]
    page = html.render(
        __package__ or "",
        "overview.html.j2",
        recipe=recipe,
        pristine_count=len(pristine),
        forged_count=len(forged),
        refused_count=len(refused),
        gated_count=sum(row.stage == "gate" for row in refused),
        families=_families(layout, forged, splits),
        splits=_split_table(pristine, forged, splits),
        shares=_share_table(forged),
        regions=_region_bars(forged),
        rejections=_rejection_table(refused),
        origins=_origin_table(pristine, forged),
        border=examples.border(),
    )
    write_atomically(layout.overview, page.encode())
    return layout.overview


def _rejections(stage: Path) -> list[Rejection]:
    return read_table(stage / "rejections.parquet", Rejection)


def _by_family(forged: Rows) -> dict[str, Rows]:
    """Group rows by family: known ones in their usual order, then those that an installed program declares."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in forged:
        groups[row["manipulation"]].append(row)
    return {family: groups[family] for family in sorted(groups, key=_family_order)}


def _family_order(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def _families(layout: Layout, forged: Rows, splits: Mapping[str, str]) -> list[dict[str, Any]]:
    forgeries, targets = Lookup(shard_paths(layout.forged)), Lookup(shard_paths(layout.pristine))

    def example(record_id: str) -> dict[str, Any]:
        return examples.example(forgeries.get(record_id), targets, splits)

    return [
        {
            "name": family,
            "about": ABOUT.get(family, ""),
            "count": len(rows),
            "manipulators": _programs(rows),
            "examples": [example(record_id) for record_id in examples.choose(rows)],
        }
        for family, rows in _by_family(forged).items()
    ]


def _programs(rows: Rows) -> list[dict[str, Any]]:
    counted = Counter(row["manipulator"] for row in rows)
    return [{"name": name, "count": count, "summary": _summary(name)} for name, count in sorted(counted.items())]


def _summary(name: str) -> str:
    try:
        return manipulators.find(name).declaration.summary
    except (UserError, ImportError):
        return ""  # forged where a program was installed that is not installed here


def _split_table(pristine: Rows, forged: Rows, splits: Mapping[str, str]) -> dict[str, Any]:
    groups = {"pristine": [splits.get(row["record_id"], "none") for row in pristine]}
    families = _by_family(forged)
    groups |= {family: [splits.get(row["target_id"], "none") for row in rows] for family, rows in families.items()}
    used = set().union(*groups.values())
    names = [*SPLITS, *sorted(used - set(SPLITS))]
    counted = {family: Counter(found) for family, found in groups.items()}
    return {
        "names": names,
        "rows": [
            {
                "name": family,
                "counts": [counts[name] for name in names],
                "total": counts.total(),
                "mask": _median(families.get(family, ()), "mask_share"),
                "change": _median(families.get(family, ()), "change_mean"),
            }
            for family, counts in counted.items()
        ],
        "totals": [sum(counts[name] for counts in counted.values()) for name in names],
    }


def _median(rows: Rows, column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return median(values) if values else None


def _share_table(forged: Rows) -> dict[str, Any]:
    """How large the masks are: for each family, how many fall between two edges."""
    edges = [f"{100 * edge:g}" for edge in SHARE_EDGES]
    between = [f"{low}–{high} %" for low, high in itertools.pairwise(edges)]
    return {
        "names": [f"under {edges[0]} %", *between, f"{edges[-1]} % and more"],
        "rows": [
            (family, _histogram(row["mask_share"] for row in rows)) for family, rows in _by_family(forged).items()
        ],
    }


def _histogram(values: Iterable[float]) -> list[tuple[int, float]]:
    """Counts between the edges, each with its share of the largest."""
    bins = np.bincount(np.searchsorted(SHARE_EDGES, list(values), side="right"), minlength=len(SHARE_EDGES) + 1)
    return [(int(count), float(count / bins.max())) for count in bins]


def _region_bars(forged: Rows) -> list[dict[str, Any]]:
    """For each region word, how many masks touch it, and how many cover half of it or more."""
    touched: Counter[str] = Counter()
    half: Counter[str] = Counter()
    for row in forged:
        touched.update(row["regions"])
        half.update(w for w, share in zip(row["regions"], row["region_shares"], strict=True) if share >= 0.5)
    words = [*REGIONS, *sorted(set(touched) - set(REGIONS))]
    bars = [{"word": word, "touched": touched[word], "half": half[word]} for word in words if touched[word]]
    return sorted(bars, key=lambda bar: -touched[str(bar["word"])])


def _rejection_table(refused: Sequence[Rejection]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in refused:
        groups[row.stage, row.code].append(examples.cut(row.detail, REASON_LETTERS))
    stages = ("ingest", "plan", "forge", "gate")

    def order(key: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        return (stages.index(key[0]) if key[0] in stages else len(stages), key)

    return [
        {"stage": key[0], "code": key[1], "count": len(groups[key]), "reasons": sorted(set(groups[key]))[:REASONS]}
        for key in sorted(groups, key=order)
    ]


def _origin_table(pristine: Rows, forged: Rows) -> list[dict[str, Any]]:
    def source(row: Mapping[str, Any]) -> tuple[str, str, str]:
        return (row["origin"], row["licence"], row["consent"])

    made = Counter(map(source, forged))
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in pristine:
        groups[source(row)].append(row["group_id"])
    return [
        {
            "origin": o,
            "licence": lic,
            "consent": c,
            "pristine": len(ids),
            "groups": len(set(ids)),
            "forged": made[o, lic, c],
        }
        for (o, lic, c), ids in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
