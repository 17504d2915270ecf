"""What a plan will cost, told before anything is made: counts, disk, hours from a sample of ten."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmtt.errors import Rejected
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.manifest import shard_paths
from mmtt.manipulator import Manipulator
from mmtt.recipe import Recipe
from mmtt.record import PlanRow
from mmtt.shards import Lookup

from . import manipulators
from .forge import Payload, forge_row
from .plan import Planned

SAMPLE = 10


def budget(layout: Layout, recipe: Recipe, planned: Planned, workers: int) -> dict[str, Any]:
    """Return counts of a plan by family, region and split, and its estimated disk bytes and hours."""
    seconds, size = _sample(layout, recipe, planned.rows)
    total = len(planned.rows)
    return {
        "pristine": dict(sorted(Counter(row.split for row in planned.splits).items())),
        "forgeries": total,
        "by_family": dict(sorted(Counter(row.manipulation for row in planned.rows).items())),
        "by_entry": dict(sorted(Counter(row.entry for row in planned.rows).items())),
        "by_region": dict(sorted(Counter(word for row in planned.rows for word in row.regions).items())),
        "by_split": dict(sorted(Counter(row.split for row in planned.rows).items())),
        "rejections": dict(sorted(Counter(row.code for row in planned.rejections).items())),
        "disk_bytes": round(size * total),
        "hours": seconds * total / max(workers, 1) / 3600,
        "sampled": min(SAMPLE, total),
    }


def _sample(layout: Layout, recipe: Recipe, rows: Sequence[PlanRow]) -> tuple[float, float]:
    """Forge ten rows drawn by digest; return mean seconds and bytes a record."""
    chosen = sorted(rows, key=lambda row: derived_id("sample", row.record_id))[:SAMPLE]
    if not chosen:
        return 0.0, 0.0
    made = manipulators.from_recipe(recipe.forge.manipulators)
    entries = {entry.label: entry for entry in recipe.forge.manipulators}
    lookup = Lookup(shard_paths(layout.pristine))
    payloads = {
        label: Payload(entry, (), (), recipe.forge.mask_tau, find_faces=recipe.forge.find_faces)
        for label, entry in entries.items()
    }
    began, size = time.perf_counter(), 0
    for row in chosen:
        size += _forged_bytes(made[row.entry], row, lookup, payloads[row.entry])
    return (time.perf_counter() - began) / len(chosen), size / len(chosen)


def _forged_bytes(made: Manipulator, row: PlanRow, lookup: Lookup, payload: Payload) -> int:
    """Forge one row and return the bytes of its images; 0 when it is refused."""
    try:
        record = forge_row(made, row, lookup, payload)
    except Rejected:
        return 0
    columns = (record.image, record.mask, record.pristine, record.alpha, record.change)
    return sum(len(data) for data in columns if data)
