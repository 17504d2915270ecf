"""Samples: the rows that count for training and scores, each with its split, group and texts, but without its pixels.

A dataset's own folders are joined here (shards, gates, splits, reports), and nowhere else; a released folder holds the
same facts in the rows themselves.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import pyarrow as pa

from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest, passed, read_columns, shard_paths
from mmtt.masks import MaskRule
from mmtt.recipe import SPLITS
from mmtt.record import MASTER, Assignment
from mmtt.regions import REGIONS, sayable
from mmtt.release import records_folder
from mmtt.reports import Report, require_same_bytes
from mmtt.reports import tables as report_tables
from mmtt.shards import Shard, read_table

_COLUMNS = (
    "record_id", "variant", "image_sha256", "target_id", "group_id", "manipulation", "manipulator", "mask_rule",
    "mask_share", "regions", "region_shares", "landmark_scheme", "parsed_regions", "split",
)  # fmt: skip


class Reference(NamedTuple):
    """One text about a record: the text, the regions that its author chose, who wrote it, its language (BCP 47)."""

    text: str
    regions: tuple[str, ...]
    text_origin: str
    language: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One row that can be trained on or scored.

    group: what a bootstrap draws and a split keeps together: records tied by a person or by near-duplicate photos; in a
        release by a person alone, as far as known.
    manipulation, manipulator: family and program; None if pristine.
    regions: share of each region inside the mask, 0–1. sayable: the words that this face's landmarks or parsing
        outline. references: its texts, the one that stands for the record first; a degraded variant has its master's.
    shard, row_group, row: where the row lies.
    """

    record_id: str
    variant: str
    image_sha256: str
    split: str
    group: str
    manipulation: str | None
    manipulator: str | None
    mask_share: float
    regions: Mapping[str, float]
    sayable: tuple[str, ...]
    references: tuple[Reference, ...]
    shard: Path
    row_group: int
    row: int

    @property
    def key(self) -> tuple[str, str]:
        """Record and variant: what a prediction answers."""
        return self.record_id, self.variant

    @property
    def manipulated(self) -> bool:
        """Whether the picture was forged."""
        return self.manipulation is not None


def read_samples(
    root: Path,
    *,
    variants: Sequence[str] = (MASTER,),
    pristine: bool = False,
    inexact: bool = False,
    stray_texts: bool = False,
) -> list[Sample]:
    """Return the samples of a dataset or of a released folder, in the order in which they lie.

    Records that a gate refused are left out.

    Args:
        root: a dataset's directory (recipe, `forged/`, `plan/`), a release, or one folder of shards with its manifest.
        variants: which variants; `master` is the undegraded one.
        pristine: whether pristine faces come too, with an empty mask.
        inexact: whether full-frame learned edits come (`null_edit`), whose mask is a threshold over noise.
        stray_texts: whether texts about pictures that are not there are left out, in place of refused.

    Raises:
        UserError: no dataset, an unfinished one, no such variant, no splits, or reports about other pictures.
        SchemaError: shards of another schema.
    """
    of = _of_dataset if (root / "forged").is_dir() else _of_release
    joined = list(of(root, stray_texts))
    if not joined:
        raise UserError(f"{root} holds no record that counts. rejections.parquet of each folder says what was refused.")
    found = [sample for sample, rule in joined if _wanted(sample, rule, variants, pristine, inexact)]
    for variant in variants:
        if not any(sample.variant == variant for sample in found):
            raise UserError(f"{root} holds no records of variant '{variant}'. `mmtt degrade {root}` makes variants.")
    return found


def _wanted(sample: Sample, rule: str, variants: Sequence[str], pristine: bool, inexact: bool) -> bool:
    known = sample.variant in variants and (sample.manipulated or pristine)
    return known and (inexact or rule != MaskRule.NULL_EDIT)


def keys_of(root: Path) -> frozenset[tuple[str, str]]:
    """Return record and variant of every row of a folder that no gate refused, of whatever kind and split."""
    layout, columns = Layout(root), ("record_id", "variant", "manipulation")
    accepted = passed(layout.forged) if layout.forged.is_dir() else None
    folders = [folder for folder in _folders(root) if (folder / MANIFEST).is_file()]
    rows = (row for folder in folders for row in read_columns(folder, columns))
    return frozenset(
        (row["record_id"], row["variant"])
        for row in rows
        if accepted is None or row["manipulation"] is None or row["record_id"] in accepted
    )


def digest_of(root: Path) -> str:
    """Return the digest of all that decides a folder's samples, 64 hex digits; its own name is no part.

    These are its shards, splits and reports, and what the gates refused.
    """
    layout = Layout(root)
    folders = [folder for folder in _folders(root) if (folder / MANIFEST).is_file()]
    shards = [
        [folder.name if layout.forged.is_dir() else "", info.name, info.sha256]
        for folder in folders
        for info in Manifest.load(folder).shards
    ]
    refused = layout.forged / REJECTIONS
    tables = [path for path in (layout.splits, refused, *report_tables(root)) if path.is_file()]
    return digest([sorted(shards), [[path.name, file_sha256(path)] for path in tables]])


def _folders(root: Path) -> list[Path]:
    layout = Layout(root)
    return [layout.pristine, layout.forged, layout.degraded] if layout.forged.is_dir() else [records_folder(root)]


def _of_dataset(root: Path, stray_texts: bool) -> Iterator[tuple[Sample, str]]:
    layout = Layout(root)
    split_of = {row.record_id: row for row in read_table(layout.splits, Assignment)}
    accepted = passed(layout.forged)
    folders = [layout.pristine, layout.forged]
    folders += [layout.degraded] if (layout.degraded / MANIFEST).is_file() else []
    texts = _texts(root, folders[:2], stray_texts)
    for place, row in (found for folder in folders for found in _rows(folder)):
        if row["manipulation"] is not None and row["record_id"] not in accepted:
            continue
        assigned = split_of.get(row["target_id"] or row["record_id"])
        if assigned is None:
            raise UserError(f"{layout.splits} assigns no split to record {row['record_id']}. Run `mmtt plan {root}`.")
        texts_of = texts.get(row["record_id"], ())
        yield _sample(row, place, assigned.split, assigned.component_id, texts_of), row["mask_rule"]


def _of_release(root: Path, stray_texts: bool) -> Iterator[tuple[Sample, str]]:
    folder = records_folder(root)
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{root} is neither a built dataset (no forged/) nor a folder of shards (no {MANIFEST}).")
    texts = _texts(root, [folder], stray_texts) or _texts_in_rows(folder)
    for place, row in _rows(folder):
        if row["split"] not in SPLITS:
            raise UserError(f"Record {row['record_id']} in {place[0]} is in no split. Name a dataset, or a release.")
        texts_of = texts.get(row["record_id"], ())
        yield _sample(row, place, row["split"], row["group_id"], texts_of), row["mask_rule"]


def _texts_in_rows(folder: Path) -> dict[str, tuple[Reference, ...]]:
    """Return the text that each row holds: the one that stands for its record."""
    texts: dict[str, tuple[Reference, ...]] = {}
    for row in read_columns(folder, ["record_id", "report", "report_regions", "report_language", "text_origin"]):
        if row["report"] is not None:
            words = [word for word, said in zip(REGIONS, row["report_regions"] or (), strict=False) if said]
            reference = Reference(
                row["report"], tuple(words), row["text_origin"] or "", row["report_language"] or "und"
            )
            texts[row["record_id"]] = (reference,)
    return texts


def _rows(folder: Path) -> Iterator[tuple[tuple[Path, int, int], dict[str, Any]]]:
    for path in shard_paths(folder):
        shard = Shard(path)
        for group in range(shard.groups):
            for number, row in enumerate(shard.group(group, _COLUMNS).to_pylist()):
                yield (path, group, number), row


def _texts(root: Path, folders: Sequence[Path], stray: bool) -> dict[str, tuple[Reference, ...]]:
    """Return the texts about each record; these folders hold the pictures that they must be about.

    Texts about others are left out if `stray`, else refused.
    """
    reports = [report for path in report_tables(root) for report in read_table(path, Report)]
    if not reports:
        return {}
    reports.sort(key=lambda report: report.rank)
    rows = (row for folder in folders for row in read_columns(folder, ["record_id", "image_sha256"]))
    seen = {row["record_id"]: row["image_sha256"] for row in rows}
    if stray:
        reports = [report for report in reports if seen.get(report.record_id) == report.image_sha256]
    else:
        require_same_bytes(reports, seen)
    found: dict[str, list[Reference]] = defaultdict(list)
    for report in reports:
        reference = Reference(report.text, tuple(report.regions), report.text_origin, report.language)
        found[report.record_id].append(reference)
    return {record_id: tuple(texts) for record_id, texts in found.items()}


@lru_cache(maxsize=4096)
def _sayable(landmark_scheme: str, parsed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words in the paper's order; samples share the tuple, of which there are few."""
    known = {*sayable(landmark_scheme), *parsed}
    return tuple(word for word in REGIONS if word in known)


def _sample(
    row: Mapping[str, Any], place: tuple[Path, int, int], split: str, group: str, references: tuple[Reference, ...]
) -> Sample:
    return Sample(
        record_id=row["record_id"],
        variant=row["variant"],
        image_sha256=row["image_sha256"],
        split=split,
        group=group,
        manipulation=row["manipulation"],
        manipulator=row["manipulator"],
        mask_share=row["mask_share"],
        regions={intern(word): share for word, share in zip(row["regions"], row["region_shares"], strict=True)},
        sayable=_sayable(row["landmark_scheme"], tuple(row["parsed_regions"])),
        references=references,
        shard=place[0],
        row_group=place[1],
        row=place[2],
    )


class Rows:
    """Fetches some columns of samples' rows; the row groups last used stay in memory."""

    def __init__(self, columns: Sequence[str], *, kept_groups: int = 4) -> None:
        self._columns, self._kept = tuple(columns), kept_groups
        self._shards: dict[Path, Shard] = {}
        self._groups: OrderedDict[tuple[Path, int], pa.Table] = OrderedDict()

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """Return the columns of one sample's row; pictures as the bytes that are stored."""
        table = self._group(sample.shard, sample.row_group)
        row = {name: table.column(name)[sample.row].as_py() for name in self._columns}
        return {name: value["bytes"] if _is_picture(value) else value for name, value in row.items()}

    def _group(self, path: Path, number: int) -> pa.Table:
        key = (path, number)
        if key not in self._groups:
            if path not in self._shards:
                self._shards[path] = Shard(path)
            self._groups[key] = self._shards[path].group(number, self._columns)
            while len(self._groups) > self._kept:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"bytes", "path"}


def of_split(samples: Iterable[Sample], split: str) -> list[Sample]:
    """Return the samples of one split, in their order.

    Raises:
        UserError: there are none.
    """
    found = [sample for sample in samples if sample.split == split]
    if not found:
        raise UserError(f"No sample is in split '{split}'; a dataset has {', '.join(SPLITS)}.")
    return found
