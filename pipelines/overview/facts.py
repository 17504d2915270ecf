"""Facts: the narrow columns of a dataset, read once, joined with splits and with what was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, Manifest, shard_paths
from mmtt.record import Assignment, Rejection
from mmtt.release import Release, is_release, records_folder
from mmtt.schema import arrow_schema
from mmtt.shards import Shard, read_table

from ..builds import rejections_in, tables_of

NO_SPLIT = "none"
_WORDS = (
    "record_id", "target_id", "manipulation", "manipulator", "manipulator_version", "mask_rule", "code_licence",
    "weights_licence", "origin", "licence", "consent", "group_id", "landmark_finder", "split",
)  # fmt: skip
_NUMBERS = ("mask_share", "change_mean")
# Stay in Arrow: as Python objects they would cost more than all the rest.
_LISTS = ("regions", "region_shares", "obligations", "parameters")
_PLACE = ("shard", "row_group", "row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the page counts.

    pristine, forged: a row each, without pictures; forged ones are those that every gate let pass. Columns: those of
        the record that are words or numbers, `split`, and where the row lies (shard, row_group, row). What is null is
        None, or NaN where it is a number.
    lists: the columns of the forged rows that hold many values, in the same order.
    shards: path and SHA-256 of each, by the number in the column `shard`.
    splits: of each pristine or imported record, and of each that was forged from, by id.
    components: of pristine records, and of imported ones, by id; a release does not tell them.
    refused: every rejection of every stage. variants: rows of each degraded variant.
    left_out: what counts in the dataset but is not in its release, by reason.
    """

    pristine: pd.DataFrame
    forged: pd.DataFrame
    lists: pa.Table
    shards: Mapping[Path, str]
    splits: Mapping[str, str]
    components: Mapping[str, str]
    refused: Sequence[Rejection]
    variants: Mapping[str, int]
    left_out: Mapping[str, int]

    def shards_of(self, rows: pd.DataFrame) -> list[Path]:
        """Return the shards in which some rows lie, in order."""
        paths = list(self.shards)
        return [paths[number] for number in sorted(rows["shard"].unique())]


def read_facts(root: Path) -> Facts:
    """Read them from a dataset's directory or a release.

    Raises:
        UserError: a stage has not come to its end yet.
    """
    return _of_release(root) if is_release(root) else _of_dataset(Layout(root))


def _of_release(root: Path) -> Facts:
    shards = _listed(records_folder(root))
    table = _narrow(list(shards))
    placed = pc.coalesce(table["target_id"], table["record_id"]).to_pylist()
    splits = dict(zip(placed, table["split"].to_pylist(), strict=True))
    forged = pc.is_valid(table["manipulation"])
    return Facts(
        pristine=_frame(table.filter(pc.invert(forged)), splits),
        forged=_frame(table.filter(forged), splits),
        lists=table.filter(forged).select(_LISTS),
        shards=shards,
        splits=splits,
        components={},
        refused=(),
        variants={},
        left_out=Release.load(root).left_out,
    )


def _listed(folder: Path) -> dict[Path, str]:
    return {folder / f"{info.name}.parquet": info.sha256 for info in Manifest.load(folder).shards}


def _of_dataset(layout: Layout) -> Facts:
    shards = {**_listed(layout.pristine), **_listed(layout.forged)}
    assigned = read_table(layout.splits, Assignment)
    splits = {row.record_id: row.split for row in assigned}
    refused = [row for folder in _stages(layout) for row in rejections_in(folder)]
    table = _narrow(list(shards))
    gated = pa.array([row.record_id for row in refused if row.stage == "gate"], pa.string())
    forged = pc.is_valid(table["manipulation"])
    accepted = table.filter(pc.and_(forged, pc.invert(pc.is_in(table["record_id"], gated))))
    return Facts(
        pristine=_frame(table.filter(pc.invert(forged)), splits),
        forged=_frame(accepted, splits),
        lists=accepted.select(_LISTS),
        shards=shards,
        splits=splits,
        components={row.record_id: row.component_id for row in assigned},
        refused=refused,
        variants=_variants(layout.degraded),
        left_out={},
    )


def _stages(layout: Layout) -> list[Path]:
    return [layout.pristine, layout.plan, layout.forged, layout.degraded]


def _narrow(shards: Sequence[Path]) -> pa.Table:
    columns = [*_WORDS, *_NUMBERS, *_LISTS]
    tables = tables_of(shards, columns)
    return pa.concat_tables(tables) if tables else _empty(columns)


def _empty(columns: Sequence[str]) -> pa.Table:
    stored = arrow_schema()
    fields = [stored.field(name) for name in columns] + [pa.field(name, pa.int32()) for name in _PLACE]
    return pa.schema(fields).empty_table()


def _frame(table: pa.Table, splits: Mapping[str, str]) -> pd.DataFrame:
    frame = table.select([*_WORDS, *_NUMBERS, *_PLACE]).to_pandas()
    assigned = frame["target_id"].fillna(frame["record_id"]).map(splits).fillna(NO_SPLIT)
    return frame.assign(split=assigned, manipulator=frame["manipulator"].fillna("unknown"))


def _variants(folder: Path) -> dict[str, int]:
    if not (folder / MANIFEST).is_file():
        return {}
    counted: dict[str, int] = {}
    for path in shard_paths(folder):
        for names in Shard(path).column("variant"):
            for name in names:
                counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items()))
