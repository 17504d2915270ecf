"""The page: what was counted, measured and chosen, put together.

Counts come from narrow columns; pixels are read for the few examples that are shown, and masks for the heat maps'
samples. Nothing on the page depends on the hour or the machine: the same dataset gives the same page.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt import html
from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST
from mmtt.recipe import Recipe
from mmtt.release import Release, is_release

from .. import examples
from ..builds import unfinished_import
from . import heat, provenance, tables, texts
from .audited import read_audits
from .facts import Facts, read_facts
from .gallery import TILE_PX, Gallery, Shown


def write_overview(root: Path, out: Path | None = None) -> Path:
    """Write the overview of a forged or an imported dataset, or of a release, and return where it lies.

    Args:
        root: the dataset's directory, or the release's; a release's page says nothing that is private.
        out: the page; by default `overview.html` in that directory.

    Raises:
        UserError: a stage has not come to its end yet.
    """
    layout = Layout(root)
    release = Release.load(root) if is_release(root) else None
    recipe = None if release else _recipe(layout)
    facts = read_facts(root)
    families = tables.by_family(facts.forged)
    gallery = Gallery(facts)
    shown = gallery.shown(families)
    maps, top = heat.heat_maps(families, list(facts.shards))
    imported = recipe.imported if recipe else None
    page = html.render(
        (__package__ or "").rpartition(".")[0],
        "overview.html.j2",
        own_script="overview.js",
        name=release.name if release else recipe.name if recipe else "",
        release=release,
        recipe=recipe,
        imported=imported,
        options=provenance.options(imported.options) if imported else [],
        pristine_count=len(facts.pristine),
        forged_count=len(facts.forged),
        damaged_count=gallery.damaged,
        families=[_family(name, rows, shown[name], maps.get(name)) for name, rows in families.items()],
        heat_top=top,
        heat_scale=heat.scale(),
        audits=read_audits(layout),
        left_out=list(facts.left_out.items()),
        border=examples.border(),
        tile_border=examples.border(TILE_PX),
        **_tables(facts),
        **_texts(root, shown),
    )
    path = out or layout.overview
    write_atomically(path, page.encode())
    return path


def _recipe(layout: Layout) -> Recipe:
    """The recipe of a dataset whose stages, where it was imported, came to their end."""
    recipe = Recipe.load(layout.recipe)
    folders = (layout.pristine, layout.forged)
    if recipe.imported and not all((folder / MANIFEST).is_file() for folder in folders):
        raise UserError(unfinished_import(layout.root))
    return recipe


def _family(name: str, rows: pd.DataFrame, shown: Shown, found: heat.Heat | None) -> dict[str, Any]:
    return {
        "name": name,
        "about": tables.ABOUT.get(name, ""),
        "count": len(rows),
        "programs": tables.programs(rows),
        "tiles": shown.tiles,
        "examples": shown.examples,
        "heat": found,
    }


def _tables(facts: Facts) -> dict[str, Any]:
    refused = facts.refused
    return {
        "refused_count": len(refused),
        "gated_count": sum(row.stage == "gate" for row in refused),
        "splits": tables.split_table(facts),
        "shares": tables.share_table(facts.forged),
        "regions": tables.region_bars(facts.lists),
        "rejections": tables.first_rows(tables.rejection_table(refused)),
        "origins": tables.first_rows(tables.origin_table(facts)),
        "programs": tables.first_rows(tables.program_table(facts.forged)),
        "obligations": tables.obligations(facts.lists),
        "variants": facts.variants,
    }


def _texts(root: Path, shown: Mapping[str, Shown]) -> dict[str, Any]:
    """The texts' statistics, and the texts about each record that is shown."""
    found = texts.read_texts(root)
    ids = {tile.record.record_id for family in shown.values() for tile in family.tiles}
    about: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in found[found["record_id"].isin(ids)].to_dict("records"):
        about[row["record_id"]].append(texts.told({str(name): value for name, value in row.items()}))
    return {"texts": texts.statistics(found, ids), "texts_about": dict(about), "shown_ids": ids}
