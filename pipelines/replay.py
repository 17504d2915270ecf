"""Replay: make a forgery again from its row's plan, and compare the bytes."""

from collections.abc import Iterator

from mmtt.errors import Rejected
from mmtt.manifest import read, shard_paths
from mmtt.recipe import Recipe
from mmtt.record import PlanRow, Record
from mmtt.shards import Lookup, read_table

from . import manipulators
from .forge import Payload, forge_row
from .layout import Layout
from .plan import require_fresh


def replay(layout: Layout, recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    """Forge every record of a dataset again; yield (record id, what differs, or None when all bytes are the same)."""
    require_fresh(layout, recipe)
    made = manipulators.from_recipe(recipe.forge.manipulators)
    entries = {entry.label: entry for entry in recipe.forge.manipulators}
    plan = {row.record_id: row for row in read_table(layout.plan / "plan.parquet", PlanRow)}
    lookup = Lookup(shard_paths(layout.pristine))
    for record in read(layout.forged):
        row = plan.get(record.record_id)
        if row is None or row.entry not in entries:
            yield record.record_id, "the plan does not name it"
            continue
        payload = Payload(entries[row.entry], (row,), (), recipe.forge.mask_tau, find_faces=recipe.forge.find_faces)
        try:
            again = forge_row(made[row.entry], row, lookup, payload)
        except Rejected as reason:
            yield record.record_id, f"refused this time: {reason}"
        else:
            yield record.record_id, _difference(record, again)


def _difference(first: Record, second: Record) -> str | None:
    names = [name for name in ("image", "mask", "alpha", "change") if getattr(first, name) != getattr(second, name)]
    return f"other bytes in {', '.join(names)}" if names else None
