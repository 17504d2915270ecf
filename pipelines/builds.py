"""Builds: what lies in a dataset or a release, row by row and without pixels, for those who look at it.

Unlike `mmtt.samples`, which says what counts, this also holds what gates refused, and builds whose later stages have
not come to their end.
"""

from collections import Counter, namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmtt.errors import SchemaError, UserError
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest
from mmtt.recipe import Recipe
from mmtt.record import IMAGE, Assignment, Lineage, PlanRow, Record, Rejection
from mmtt.regions import REGIONS
from mmtt.release import Release, is_release, records_folder
from mmtt.reports import Report, tables
from mmtt.schema import arrow_schema, columns
from mmtt.shards import Shard, placed, read_table

KEY = ["record_id", "variant"]
PICTURES = tuple(f.name for f in arrow_schema() if f.type == IMAGE)
TEXTS = ("report", "report_regions", "report_language", "text_origin", "protocol", "report_count", "agreement")
_OF_PLAN = (
    "record_id", "entry", "target_id", "index", "source_id", "manipulator_version", "parameters", "seed",
)  # fmt: skip
_OF_REPORT = (
    "report_id", "record_id", "rank", "text", "language", "text_origin", "protocol", "verdict", "settled", "regions",
)  # fmt: skip
STAGES = ("plan", "pristine", "forged", "degraded")


class Place(NamedTuple):
    """Where a row lies."""

    shard: Path
    row_group: int
    row: int


@dataclass(frozen=True)
class Build:
    """A dataset's directory, a release, or one folder of its shards; only finished folders are looked at."""

    root: Path

    @cached_property
    def layout(self) -> Layout:
        """Where things lie."""
        return Layout(self.root)

    @cached_property
    def released(self) -> bool:
        """Whether this is a release or one folder of shards, whose rows hold split and report themselves."""
        return (self._records / MANIFEST).is_file()

    @property
    def _records(self) -> Path:
        return records_folder(self.root)

    @cached_property
    def names_reports(self) -> bool:
        """Whether each report is here with its id, and with those beside it; rows alone hold one text a record."""
        return not self.released or is_release(self.root)

    @cached_property
    def manifests(self) -> Mapping[str, Manifest]:
        """The manifests of its finished folders, by folder name; a release's is called `release`.

        Raises:
            UserError: there are none.
        """
        if self.released:
            return {"release": Manifest.load(self._records)}
        folders = [folder for folder in self._folders if (folder / MANIFEST).is_file()]
        if not folders:
            if is_imported(self.layout):
                raise UserError(unfinished_import(self.root))
            raise UserError(
                f"{self.root} is neither a built dataset nor a folder of shards: no stage there has come to its end."
            )
        return {folder.name: Manifest.load(folder) for folder in folders}

    @property
    def _folders(self) -> list[Path]:
        return [self.layout.pristine, self.layout.forged, self.layout.degraded]

    @property
    def unfinished(self) -> list[str]:
        """Names of folders that a stage has begun, but not finished."""
        begun = [folder.name for folder in self._folders if any(folder.glob("*.parquet"))]
        return [] if self.released else [name for name in begun if name not in self.manifests]

    @cached_property
    def shards(self) -> dict[Path, str]:
        """Every shard, in order, with the SHA-256 that the manifest knows."""
        return {
            (self._records if self.released else self.root / name) / f"{info.name}.parquet": info.sha256
            for name, manifest in self.manifests.items()
            for info in manifest.shards
        }

    def rows(self, wanted: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows, in the order in which they lie.

        Besides: `split` (None where there is none yet), `refused` (the code of the gate that refuses the row now, else
        None), and `shard` (its place in `shards`), `row_group`, `row`.
        """
        names = tuple(dict.fromkeys([*KEY, "target_id", "manipulation", "split", *wanted]))
        tables = tables_of(self.shards, names)
        if not tables:
            raise UserError(nothing_in(self.root, self.rejections))
        return self._joined(pa.concat_tables(tables).to_pandas())

    def _joined(self, rows: pd.DataFrame) -> pd.DataFrame:
        if not self.released:
            photo = rows["target_id"].where(rows["target_id"].notna(), rows["record_id"])
            rows["split"] = _nullable(photo.map(self.splits))
        gates = {row.record_id: row.code for row in reversed(self.rejections) if row.stage == "gate"}
        rows["refused"] = _nullable(rows["record_id"].map(gates).where(rows["manipulation"].notna()))
        return rows

    @cached_property
    def splits(self) -> dict[str, str]:
        """The split of each pristine or imported record."""
        return dict(tuples(self.layout.splits, Assignment, ("record_id", "split")))

    @cached_property
    def plan(self) -> list[Any]:
        """The plan's rows, some columns of `PlanRow`; empty where there is none."""
        return tuples(self.layout.plan / "plan.parquet", PlanRow, _OF_PLAN)

    @cached_property
    def lineage(self) -> list[Any]:
        """Where pristine records came from, some columns of `Lineage`: private, so empty in a copy for others."""
        return tuples(self.layout.lineage, Lineage, ("record_id", "path", "photo_sha256"))

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Everything that a stage refused."""
        folders = [self._records] if self.released else [self.root / name for name in STAGES]
        return [row for folder in folders for row in rejections_in(folder)]

    @cached_property
    def refused_reports(self) -> list[Rejection]:
        """Texts that were written, but do not count."""
        return rejections_in(self.root / "reports")

    def texts(self) -> pd.DataFrame:
        """Return the texts about the records, those of a record together, the one that stands for it first.

        Columns as in `Report`, but `regions` as comma-separated words in the paper's order. Rows alone say neither
        report_id, verdict nor settled (None), and hold one text a record.
        """
        if not self.names_reports:
            stored = self.rows(TEXTS)
            stored = stored[stored["report"].notna()].drop_duplicates("record_id")
            found = stored.rename(columns={"report": "text", "report_language": "language"})
            chosen = [[word for word, said in zip(REGIONS, v, strict=False) if said] for v in found["report_regions"]]
            found = found.assign(rank=0, regions=chosen, **dict.fromkeys(("report_id", "verdict", "settled")))
        else:
            rows = [row for path in tables(self.root) for row in tuples(path, Report, _OF_REPORT)]
            found = pd.DataFrame(rows, columns=list(_OF_REPORT), dtype=object).sort_values(["record_id", "rank"])
        known = {tuple(words): _in_order(words) for words in found["regions"]}
        return found[list(_OF_REPORT)].assign(regions=[known[tuple(words)] for words in found["regions"]])


def named(root: Path) -> str:
    """Return what to call a build: a release by its name and version, any other by its folder."""
    if not is_release(root):
        return root.resolve().name
    release = Release.load(root)
    return f"{release.name} {release.version}"


def _in_order(words: Iterable[str]) -> str:
    named = set(words)
    return ",".join(word for word in REGIONS if word in named)


def is_imported(layout: Layout) -> bool:
    """Whether the recipe says that a dataset is somebody else's; False where there is none that can be read."""
    try:
        return Recipe.load(layout.recipe).imported is not None
    except UserError:
        return False


def unfinished_import(root: Path) -> str:
    """Return the sentence about an import that did not come to its end."""
    return f"The import into {root} has not come to its end: run the same import again, it goes on where it was."


def nothing_in(root: Path, refused: Sequence[Rejection]) -> str:
    """Return the sentence about a build without any rows: whether all was refused, and where that is told."""
    if not refused:
        return f"{root} holds no rows."
    counts = Counter(row.code for row in refused).most_common(3)
    told = ", ".join(f"{count:,} {code}" for code, count in counts)
    where = [str(folder / REJECTIONS) for folder in sorted(root.iterdir()) if folder.is_dir() and rejections_in(folder)]
    return f"{root} holds no rows: all was refused ({told}). Why is told row by row in {' and '.join(where)}."


def rejections_in(folder: Path) -> list[Rejection]:
    """Return what a stage refused; empty where it was never run."""
    path = folder / REJECTIONS
    return read_table(path, Rejection) if path.is_file() else []


def tuples(path: Path, row_class: Any, names: Sequence[str]) -> list[Any]:
    """Some columns of a narrow table as named tuples, which cost a fraction of whole rows; none where it is absent."""
    if not path.is_file():
        return []
    try:
        stored = pq.read_schema(path).names
        if missing := [name for name in names if name not in stored]:
            raise SchemaError(f"{path} lacks the column(s) {', '.join(missing)}; another version wrote it.")
        table = pq.read_table(path, columns=list(names))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}). Run the stage that writes it again.") from error
    kind = namedtuple(row_class.__name__, names)  # type: ignore[misc]
    return [kind(*values) for values in zip(*(table.column(name).to_pylist() for name in names), strict=True)]


def tables_of(shards: Iterable[Path], names: Sequence[str]) -> list[pa.Table]:
    """Return some columns of all rows, a table for each row group.

    Besides `shard` (its place among `shards`), `row_group` and `row`: where each row lies.
    """
    return [
        table.append_column("shard", pa.array([number] * table.num_rows, pa.int32()))
        for number, path in enumerate(shards)
        for table in placed(Shard(path), names)
    ]


def _nullable(column: pd.Series) -> pd.Series:
    """Text, with None where there is none."""
    return column.astype(object).where(column.notna(), None)


def sections() -> dict[str, list[str]]:
    """Group the columns of a record as its definition does: ids, pixels, edit, face, provenance, text."""
    first = {"image": "pixels", "manipulation": "edit", "landmarks": "face", "origin": "provenance", "split": "text"}
    found: dict[str, list[str]] = {"ids": []}
    section = "ids"
    for name in columns(Record):
        section = first.get(name, section)
        found.setdefault(section, []).append(name)
    return found
