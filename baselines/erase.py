"""Erase: take records out of what was made with them: predictions, scores, decoded pictures. Weights stay.

A run knows the digest of the dataset that it was trained on, and no record by name. So runs on this very dataset, or on
a release that holds the records, are told; of any other nobody can tell. What becomes of a checkpoint is for people to
decide: training is not undone by deleting a line.

Runs lie anywhere. Those below the dataset's own folder are found, and those below the folders that MMTT_RUNS names,
to which `mmtt forget --runs` adds.
"""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mmtt import traces as search
from mmtt.errors import MmttError, UserError
from mmtt.files import replacing
from mmtt.layout import Layout
from mmtt.manifest import read_columns
from mmtt.metrics.predictions import FILE, MASKS, key_of
from mmtt.metrics.rows import ScoreRow
from mmtt.release import records_folder
from mmtt.removal import Removal, Step, Trace, needles
from mmtt.samples import digest_of
from mmtt.shards import read_table, write_table

FOLDERS = "MMTT_RUNS"
_RUN, _CACHE, _SCORES = "run.json", "cache", "scores.parquet"
_SUMMARIES = ("scores.json", "scores.md", "scores.tex")


class Made(NamedTuple):
    """What lies below some folders: runs and exported models, folders of predictions, folders of scores."""

    runs: tuple[Path, ...]
    predictions: tuple[Path, ...]
    scores: tuple[Path, ...]


def folders(directory: Path) -> list[Path]:
    """Return where runs are looked for: the dataset's own folder, and those that MMTT_RUNS names, parted as in PATH.

    Raises:
        UserError: it names something that is no folder.
    """
    named = [Path(part).resolve() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    for path in named:
        if not path.is_dir():
            raise UserError(f"{path} is no folder. Name those that hold runs, predictions and scores.")
    return [directory.resolve(), *named]


def made(directory: Path) -> Made:
    """Return what was made with a dataset, as far as it lies where it is looked for. Links are not followed."""
    layout = Layout(directory.resolve())
    own = {layout.photos, layout.pristine, layout.forged, layout.degraded, layout.plan, layout.parsing}
    own |= {layout.lineage.parent, layout.root / "releases"}
    found: dict[str, set[Path]] = {_RUN: set(), FILE: set(), _SCORES: set()}
    for root in folders(directory):
        for parent, below, files in os.walk(root):
            below[:] = [name for name in below if Path(parent, name) not in own and name != MASKS]
            for name in found.keys() & set(files):
                found[name].add(Path(parent))
    return Made(*(tuple(sorted(found[name])) for name in (_RUN, FILE, _SCORES)))


def plan(directory: Path, removal: Removal) -> Sequence[Step]:
    """Return which models were trained on the records, and which lines, masks, rows and caches go.

    Raises:
        UserError: MMTT_RUNS names something that is no folder; or a file cannot be read.
    """
    there, records = made(directory), set(removal.records)
    steps = [*_models(directory, there.runs, records), *_leaving(there, records)]
    if not os.environ.get(FOLDERS):
        told = "runs, predictions and scores elsewhere are not looked at: name their folders with --runs"
        steps.append(Step("baselines", told))
    return steps


def _models(directory: Path, runs: Sequence[Path], records: Collection[str]) -> Iterator[Step]:
    known = _known(directory, records) if runs else {}
    for run in runs:
        points = len([*run.glob("*/step-*")]) or "an exported model, no"
        trained = known.get(_dataset(run))
        if trained is None:
            told = "was trained on another dataset, or on an earlier state of this one: whether it saw them, nobody can"
            yield Step(str(run), f"{told} tell from it; checkpoints: {points}")
        elif trained:
            told = "weights and tokenizers keep what they learnt: delete it, or train anew without the records"
            yield Step(str(run), f"was trained on {trained}, which holds them; {told}; checkpoints: {points}")


def _dataset(run: Path) -> str:
    try:
        return str(json.loads((run / _RUN).read_text(encoding="utf-8"))["dataset"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _known(directory: Path, records: Collection[str]) -> dict[str, str]:
    """The digests of this dataset and of its releases: a name for each that holds the records, an empty one else."""
    releases = sorted(path for path in (directory / "releases").glob("*") if not path.name.startswith("."))
    found = {}
    for root in (directory, *releases):
        with suppress(MmttError, OSError):
            found[digest_of(root)] = _named(directory, root) if _holds(directory, root, records) else ""
    return found


def _named(directory: Path, root: Path) -> str:
    return "this dataset as it is now" if root == directory else f"release {root.name}"


def _holds(directory: Path, root: Path, records: Collection[str]) -> bool:
    layout = Layout(root)
    shards = [layout.pristine, layout.forged] if root == directory else [records_folder(root)]
    return any(row["record_id"] in records for folder in shards for row in read_columns(folder, ["record_id"]))


def _leaving(there: Made, records: Collection[str]) -> Iterator[Step]:
    for folder in there.predictions:
        if lines := sum(_about(line, records) for line in _lines(folder / FILE)):
            yield Step(str(folder), f"predictions that go, with their masks: {lines}")
        elif masks := len(_masks(folder, records)):
            yield Step(str(folder), f"masks that go: {masks}")
    for folder in there.scores:
        if rows := sum(row.record_id in records for row in read_table(folder / _SCORES, ScoreRow)):
            yield Step(str(folder), f"rows of scores that go: {rows}; `mmtt score` writes the tables anew")
    for run in there.runs:
        if caches := len([*(run / _CACHE).glob("*.npy")]):
            yield Step(str(run / _CACHE), f"files of decoded pictures that go: {caches}; training makes them anew")


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        yield from handle


def _about(line: bytes, records: Collection[str]) -> bool:
    """Whether a line of predictions is about one of the records; one that cannot be read is, if it names one."""
    try:
        told = json.loads(line)
        return key_of(str(told["image_id"]))[0] in records or _names(line, records)
    except (ValueError, TypeError, KeyError):
        return _names(line, records)


def _names(line: bytes, records: Collection[str]) -> bool:
    return any(record.encode() in line for record in records)


def _masks(folder: Path, records: Collection[str]) -> list[Path]:
    """The masks of some records and of their variants, whether a line still names them or not."""
    there = (path for path in (folder / MASKS).glob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in there if key_of(path.stem)[0] in records)


def apply(directory: Path, removal: Removal) -> Sequence[Step]:
    """Take the records out, and return what was done. Checkpoints are left alone.

    Raises:
        UserError: as `plan`.
    """
    there, records = made(directory), set(removal.records)
    steps = [*_leaving(there, records)]
    for folder in there.predictions:
        for mask in _masks(folder, records):
            mask.unlink(missing_ok=True)
        _drop_lines(folder / FILE, records)
    for folder in there.scores:
        _drop_scores(folder, records)
    for run in there.runs:
        for cache in (run / _CACHE).glob("*.npy"):  # no name tells whose pictures they are
            cache.unlink(missing_ok=True)
    return steps


def _drop_lines(path: Path, records: Collection[str]) -> None:
    if any(_about(line, records) for line in _lines(path)):
        with replacing(path) as beside, beside.open("wb") as handle:
            handle.writelines(line for line in _lines(path) if not _about(line, records))


def _drop_scores(folder: Path, records: Collection[str]) -> None:
    """Rows go first: by them a run that was killed is known to be at work. Summaries may name records that failed."""
    rows = read_table(folder / _SCORES, ScoreRow)
    kept = [row for row in rows if row.record_id not in records]
    if len(kept) < len(rows):
        for name in _SUMMARIES:
            (folder / name).unlink(missing_ok=True)
        write_table(folder / _SCORES, kept, ScoreRow)


def traces(directory: Path, removal: Removal) -> Iterator[Trace]:
    """Yield what is left of the records in runs, predictions and scores outside the dataset's own folder."""
    own, *named = folders(directory)
    for root in named:
        for trace in search.search(root, needles(removal)):
            if not (root / trace.where).is_relative_to(own):
                yield Trace(str(root / trace.where), trace.what)
