"""Evidence: what an audit may look at. Rows without pixels as one table, pixels of a sample, and texts.

All of it is about one variant of the records that count (`mmtt.samples`), pristine ones included.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmtt import images
from mmtt.errors import DamagedError, UserError
from mmtt.executors import Executor
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.progress import Progress
from mmtt.recipe import AuditSection
from mmtt.record import IMAGE, MASTER, Lineage, Record
from mmtt.reports import Report, tables
from mmtt.samples import Sample, read_samples
from mmtt.schema import arrow_schema, from_mapping
from mmtt.shards import Shard, placed

T = TypeVar("T")
R = TypeVar("R")
CHUNK_ROWS = 32
_DAMAGED = "damaged"  # the one column of an audit's measures where a picture that it asked for cannot be decoded
Measure = Callable[["Pixels"], Mapping[str, float]]
# Everything but pictures, and landmarks, of which there are a thousand numbers a row.
NARROW = tuple(f.name for f in arrow_schema() if f.type != IMAGE and f.name not in ("landmarks", "schema_version"))


class Pixels:
    """One row with its pictures, each decoded once, when it is asked for.

    Raises (all pictures):
        DamagedError: it cannot be decoded.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._found: dict[str, Any] = {}

    @property
    def image(self) -> images.Rgb:
        """The picture, RGB uint8 H×W×3."""
        return cast(images.Rgb, self._decoded("image", images.decode_rgb))

    @property
    def mask(self) -> images.Gray:
        """The mask, uint8 H×W."""
        return cast(images.Gray, self._decoded("mask", images.decode_gray))

    @property
    def pristine(self) -> images.Rgb | None:
        """The target before the edit, RGB uint8 H×W×3."""
        return self._decoded("pristine", images.decode_rgb)

    @property
    def alpha(self) -> images.Gray | None:
        """Weight of the blend, uint8 H×W."""
        return self._decoded("alpha", images.decode_gray)

    @property
    def change(self) -> images.Gray | None:
        """Largest channel difference, uint8 H×W."""
        return self._decoded("change", images.decode_gray)

    def _decoded(self, name: str, decode: Callable[[bytes], T]) -> T | None:
        """Decode a picture once, also one that cannot be decoded: the decoder complains aloud each time."""
        if name not in self._found:
            data = getattr(self.record, name)
            try:
                self._found[name] = None if data is None else decode(data)
            except DamagedError as error:
                self._found[name] = error
        if isinstance(self._found[name], DamagedError):
            raise self._found[name]
        return cast("T | None", self._found[name])


class Evidence:
    """What an audit may look at.

    root: a dataset's directory, a release, or one folder of released shards. settings: sample size, seed, gates.
    variant: whose rows these are. executor: a map over picklable items; `map` shows its progress.
    today: the day on which consents must hold; None where that is not asked.
    private: where results may be kept that are not for publishing; None for a release.
    """

    def __init__(
        self,
        root: Path,
        settings: AuditSection,
        executor: Executor,
        progress: Callable[[str], Progress],
        variant: str = MASTER,
        today: date | None = None,
    ) -> None:
        self.root, self.settings, self.variant, self.executor = root, settings, variant, executor
        self.today = today
        self._progress = progress
        self._measured: pd.DataFrame | None = None
        self._found: dict[Callable[[Evidence], Any], Any] = {}
        self.private = Layout(root).lineage.parent if (root / "forged").is_dir() else None

    @cached_property
    def samples(self) -> list[Sample]:
        """The rows that count, in the order in which they lie: splits, regions and references joined."""
        return read_samples(self.root, variants=(self.variant,), pristine=True, inexact=True, stray_texts=True)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Those rows as a table.

        The columns of `NARROW`, and split, component: as in `Sample.split` and `Sample.group`. shard, row_group,
        row: where the row lies.
        place: its position in `samples`. Lists are numpy arrays; what is null is None or NaN.
        """
        places = pd.DataFrame(
            [(str(s.shard), s.row_group, s.row, s.split, s.group, number) for number, s in enumerate(self.samples)],
            columns=["shard", "row_group", "row", "split", "component", "place"],
        )
        stored = pd.concat([_narrow(path) for path in dict.fromkeys(s.shard for s in self.samples)], ignore_index=True)
        return (
            stored.drop(columns="split")
            .merge(places, on=["shard", "row_group", "row"])
            .sort_values("place", ignore_index=True)
        )

    @cached_property
    def pristine(self) -> pd.DataFrame:
        """The pristine rows of `rows`."""
        return self.rows[self.rows["manipulation"].isna()]

    @cached_property
    def forged(self) -> pd.DataFrame:
        """The forged rows of `rows`."""
        return self.rows[self.rows["manipulation"].notna()]

    @cached_property
    def reports(self) -> pd.DataFrame:
        """The texts, columns of `mmtt.reports.Report`; empty where nobody wrote any.

        So are those of one folder of released shards, whose rows hold the text that stands for each record.
        """
        return _table(tables(self.root), Report)

    @cached_property
    def lineage(self) -> pd.DataFrame:
        """Where pristine records came from, columns of `mmtt.record.Lineage`; private, so empty in a release."""
        path = Layout(self.root).lineage
        return _table([path] if path.is_file() else [], Lineage)

    @cached_property
    def sampled(self) -> pd.DataFrame:
        """The rows whose pixels are looked at, in the order in which they lie.

        Half of them pristine, half forged as far as there are so many; drawn by a digest of seed and record, so that
        adding rows keeps most of a sample.
        """
        half = self.settings.sample // 2
        kinds = sorted((self.pristine, self.forged), key=len)
        few = self.drawn(kinds[0], half)
        return pd.concat([few, self.drawn(kinds[1], self.settings.sample - len(few))]).sort_values("place")

    def drawn(self, rows: pd.DataFrame, count: int) -> pd.DataFrame:
        """Return so many of some rows, or all; drawn by digest, in their order."""
        if len(rows) <= count:
            return rows
        lots = rows["record_id"].map(lambda record_id: derived_id(self.settings.seed, "audit", record_id))
        return rows.loc[lots.sort_values().index[:count]].sort_values("place")

    def map(self, title: str, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return a picklable function's results for some items, in their order, from worker processes."""
        done = dict(self._progress(title)(items, self.executor(function, items)))
        return [done[number] for number in range(len(items))]

    def once(self, function: Callable[["Evidence"], T]) -> T:
        """Return what a function finds here; called once, however many audits ask."""
        if function not in self._found:
            self._found[function] = function(self)
        found: T = self._found[function]
        return found

    def measure(self, measures: Mapping[str, Measure]) -> None:
        """Measure the sampled rows' pixels for several audits at once, each picture decoded once.

        `measures` maps an audit's id to its function.
        """
        tasks = [(chunk, dict(measures)) for chunk in chunks(self.sampled)] if measures else []
        tables = self.map("audit: pixels", _measured, tasks) if tasks else [pd.DataFrame(index=self.sampled.index)]
        self._measured = pd.concat(tables).set_axis(self.sampled.index)

    def measured(self, audit_id: str) -> pd.DataFrame:
        """Return the sampled rows with what one audit's function measured, as further columns.

        Rows of which it asked for a picture that cannot be decoded are left out, whatever other audits measured; M1
        counts those.
        """
        if self._measured is None:
            raise RuntimeError("nothing was measured yet")
        prefix = f"{audit_id}."
        own = self._measured[[name for name in self._measured if name.startswith(prefix)]]
        own = own.rename(columns=lambda name: name.removeprefix(prefix))
        whole = own[_DAMAGED].isna() if _DAMAGED in own else pd.Series(data=True, index=own.index)
        return self.sampled.join(own.drop(columns=_DAMAGED, errors="ignore"))[whole]


class Chunk(NamedTuple):
    """Some rows of one shard: its path, and (row group, row) of each."""

    shard: str
    places: tuple[tuple[int, int], ...]


def chunks(rows: pd.DataFrame) -> list[Chunk]:
    """Cut a table of rows into pieces that lie together, in its order."""
    found = []
    for shard, run in groupby(zip(rows["shard"], rows["row_group"], rows["row"], strict=True), key=lambda row: row[0]):
        places = [(int(group), int(row)) for _, group, row in run]
        found += [Chunk(shard, tuple(places[at : at + CHUNK_ROWS])) for at in range(0, len(places), CHUNK_ROWS)]
    return found


def records_of(chunk: Chunk) -> Iterator[Record]:
    """Yield the records of a chunk, pixels and all."""
    shard = Shard(Path(chunk.shard))
    for group, run in groupby(chunk.places, key=lambda place: place[0]):
        table = shard.group(group)
        for _, row in run:
            yield from_mapping(table.slice(row, 1).to_pylist()[0], Record)


def _measured(task: tuple[Chunk, Mapping[str, Measure]]) -> pd.DataFrame:
    chunk, measures = task
    return pd.DataFrame([_numbers(Pixels(record), measures) for record in records_of(chunk)], dtype=float)


def _numbers(pixels: Pixels, measures: Mapping[str, Measure]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for audit_id, measure in measures.items():
        try:
            told = measure(pixels)
        except DamagedError:
            told = {_DAMAGED: 1.0}
        numbers |= {f"{audit_id}.{name}": float(value) for name, value in told.items()}
    return numbers


def _narrow(path: Path) -> pd.DataFrame:
    tables = list(placed(Shard(path), NARROW))
    return pa.concat_tables(tables).to_pandas().assign(shard=str(path)) if tables else pd.DataFrame()


def _table(paths: Sequence[Path], row_class: Any) -> pd.DataFrame:
    """The rows of some tables, one after another."""
    found = [_read(path) for path in paths] or [arrow_schema(row_class).empty_table()]
    return pa.concat_tables(found, promote_options="default").to_pandas()


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}). Run the stage that writes it again.") from error
