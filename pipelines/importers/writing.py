"""What every importer ends in: items become a dataset of ours, streaming, whole or absent.

Items are gathered until they fill a shard; one shard's items are all that is in memory. A shard that is already there,
of the same items, is kept, so that an import that was killed goes on where it was; its splits and reports are written
anew, at the end, and the manifests last.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import Executor, serial
from mmtt.files import file_sha256, lock, replacing, write_atomically
from mmtt.ids import digest
from mmtt.layout import Layout, salt
from mmtt.manifest import MANIFEST, Manifest, assemble_manifest, environment_path
from mmtt.recipe import ImportedSection, Recipe, Tolerate
from mmtt.record import Assignment, Lineage, Note, Record, Rejection
from mmtt.removal import require_none_under_way
from mmtt.reports import Report
from mmtt.shards import ShardWriter, read_rows, side_path
from mmtt.stage import ShardJob, is_current, make_shard

from .. import denied
from .arguments import require_licence
from .item import Item
from .rows import STAGE, Origin, group_id, record_id, refused, reports_of, rows_of

VERSION = "1"
SHARD_ROWS = 1000
SHARD_BYTES = 128_000_000
BATCH = 16  # items that one call of a worker decodes
_TORN = ".recipe.yaml.*.tmp"
_LEFT: Mapping[str, tuple[str, ...]] = {
    "private": ("salt", STAGE), "forged": (), "pristine": (), "plan": (),
    "reports": (),
}  # fmt: skip


def write_import(
    directory: Path,
    name: str,
    section: ImportedSection,
    items: Iterable[Item | Rejection],
    *,
    origin: str,
    licence: str,
    consent: str = "none",
    find_faces: bool = False,
    executor: Executor = serial,
) -> Manifest:
    """Make a directory a dataset of ours out of items as they come; return the manifest of its forged folder.

    Pristine items (no `manipulation`) go into `pristine/`, forged ones into `forged/`, their splits and texts into the
    narrow tables. Rejections among the items, and those of items that cannot be used (codes `bad_image`, `not_rgb`,
    `bad_mask`, `missing_mask`, `mask_size`, `empty_mask`, `duplicate_id`, `bad_record`), are counted in the manifests.
    The same items give the same bytes, on any number of workers, under the same salt.

    Args:
        directory: the dataset's; made where missing.
        name: of the recipe.
        section: where it came from, as the recipe will hold it.
        items: may raise; what is finished by then is kept for the next run.
        origin: name of the dataset that they come from, `origin` of each row.
        licence: SPDX id or `LicenseRef-…`.
        consent: what the people shown agreed to.
        find_faces: whether MediaPipe looks for landmarks, from which regions follow.
        executor: decodes the items of a shard.

    Raises:
        UserError: the directory holds another dataset, or is being written, or somebody is being taken out of it; a
            licence that is unknown.
    """
    require_none_under_way(directory)
    layout = Layout(directory)
    refuse_other(directory, name, section)
    require_licence(licence)
    with ExitStack() as held:
        for folder in (layout.forged, layout.pristine, layout.plan, directory / "reports"):
            held.enter_context(lock(folder))
        refuse_other(directory, name, section)  # again: another import may have ended since
        for torn in directory.glob(_TORN):
            torn.unlink(missing_ok=True)
        made = Origin(origin, licence, consent, salt(layout), find_faces)
        if not layout.recipe.exists():
            write_atomically(layout.recipe, _recipe(name, section))
        return _write(layout, made, items, executor)


def refuse_other(directory: Path, name: str, section: ImportedSection | None = None) -> None:
    """Refuse a directory that holds anything but this very import; without a section, anything of another name.

    Raises:
        UserError: it does. RecipeError: its recipe cannot be read.
    """
    require_folder(directory)
    path = Layout(directory).recipe
    if path.exists():
        recipe = Recipe.load(path)
        if recipe.imported is None or recipe.name != name or section not in (None, recipe.imported):
            raise UserError(
                f"{directory} holds another dataset, or other data than these. Import into an empty folder."
            )
    elif directory.exists() and not all(map(_is_left, directory.iterdir())):
        raise UserError(f"{directory} is not empty, and no dataset. Import into an empty folder.")


def require_folder(directory: Path) -> None:
    """Refuse a dataset's place that is a file, or lies below one.

    Raises:
        UserError: it does.
    """
    there = next((path for path in (directory, *directory.parents) if path.exists()), None)
    if there is not None and not there.is_dir():
        raise UserError(f"{there} is a file. Name a folder for the dataset, one that is empty or not there yet.")


def _is_left(path: Path) -> bool:
    """Whether an import that was killed before it wrote the recipe may have left this: locks, its salt, its spool."""
    if path.match(_TORN):
        return True
    known = _LEFT.get(path.name)
    if known is None or not path.is_dir():
        return False
    return all(item.name.startswith(".") or item.name in known for item in path.iterdir())


def _recipe(name: str, section: ImportedSection) -> bytes:
    tolerate = {"imported": Tolerate().imported}  # written, so that it can be seen and moved
    data = {"name": name, "imported": section.model_dump(mode="json"), "tolerate": tolerate}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def _write(layout: Layout, origin: Origin, items: Iterable[Item | Rejection], executor: Executor) -> Manifest:
    reports = layout.root / "reports" / "reports.parquet"
    extra: list[Rejection] = []
    with _table(layout.splits, Assignment) as splits, _table(reports, Report) as texts:
        folders = [
            _Folder(folder, origin, executor, splits, texts, wanted)
            for folder, wanted in ((layout.pristine, False), (layout.forged, True))
        ]
        for item in _unique(origin, items, denied.records(layout.root)):
            if isinstance(item, Rejection):
                extra.append(item)
            else:
                folders[item.manipulation is not None].add(item)
        for folder in folders:
            folder.finish()
    assemble_manifest(layout.pristine, STAGE, folders[0].names)
    return assemble_manifest(layout.forged, STAGE, folders[1].names, extra)


@contextmanager
def _table(path: Path, row_class: type) -> Iterator[ShardWriter]:
    """A narrow table that is written row by row, and is whole or absent."""
    with replacing(path) as temporary:
        writer = ShardWriter(temporary, row_class, rows_per_group=10_000)
        yield writer
        writer.close()


def _unique(origin: Origin, items: Iterable[Item | Rejection], barred: Collection[str]) -> Iterator[Item | Rejection]:
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Item):
            made = record_id(origin.name, item.origin_id)
            if made in barred:
                # Without its id: a search for what was taken out must not find it here.
                yield Rejection(stage=STAGE, code="denied", detail="it was taken out of the dataset for good")
                continue
            if made in seen:
                yield refused(origin, item, "duplicate_id", "an earlier item has the same id; it was kept")
                continue
            seen.add(made)
        yield item


@dataclass
class _Folder:
    """One folder of shards while it is filled."""

    path: Path
    origin: Origin
    executor: Executor
    splits: ShardWriter
    texts: ShardWriter
    forged: bool
    names: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    bytes: int = 0

    def add(self, item: Item) -> None:
        """Take one item; make a shard when enough are there."""
        self.items.append(item)
        self.bytes += len(item.image) + len(item.mask or b"")
        if len(self.items) >= SHARD_ROWS or self.bytes >= SHARD_BYTES:
            self._make()

    def finish(self) -> None:
        """Make the last shard, and remove those of an earlier run that this one has not."""
        if self.items:
            self._make()
        for path in self.path.glob(f"{STAGE}-*.parquet"):
            if path.stem not in self.names:
                (self.path / MANIFEST).unlink(missing_ok=True)
                sides = [side_path(self.path, path.stem, row_class) for row_class in (Rejection, Lineage, Note)]
                for orphan in (path, *sides, environment_path(self.path, path.stem)):
                    orphan.unlink(missing_ok=True)

    def _make(self) -> None:
        job = _job(f"{STAGE}-{len(self.names):05d}", self.origin, self.items)
        if not _is_whole(job, self.path):
            # First, so that no reader trusts a manifest that lies.
            (self.path / MANIFEST).unlink(missing_ok=True)
            # No fingerprints here: this process is the only one that would make them; an audit asks its workers.
            make_shard(partial(_rows, self.origin, self.executor), self.path, job)
        self.names.append(job.name)
        self._note(self.path / f"{job.name}.parquet")
        self.items, self.bytes = [], 0

    def _note(self, shard: Path) -> None:
        """Write splits and texts of the items that became records."""
        stored = {row["record_id"]: row["image_sha256"] for row in read_rows(shard, ["record_id", "image_sha256"])}
        for item in self.items:
            made = record_id(self.origin.name, item.origin_id)
            if made in stored:
                group = group_id(self.origin, item)
                self.splits.add(Assignment(record_id=made, group_id=group, component_id=group, split=item.split))
                for report in reports_of(item, made, stored[made]):
                    self.texts.add(report)


def _job(name: str, origin: Origin, items: list[Item]) -> ShardJob:
    told = asdict(replace(origin, secret=digest(origin.secret)))
    return ShardJob(name, STAGE, digest([_digest(item) for item in items]), digest([STAGE, VERSION, told]), items)


def _digest(item: Item) -> list[Any]:
    """All of an item on which it depends whether there is a record, and which; of texts, whether they can be stored."""
    return [
        item.origin_id,
        item.place,
        images.sha256(item.image),
        None if item.mask is None else images.sha256(item.mask),
        [item.manipulation, item.manipulator, item.split, item.group, dict(item.parameters)],
        [text.text for text in item.texts],
    ]


def _is_whole(job: ShardJob, directory: Path) -> bool:
    """Whether a shard is current, and still has the bytes that were noted when it was made."""
    if not is_current(job, directory):
        return False
    try:
        noted = json.loads(environment_path(directory, job.name).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return bool(noted == file_sha256(directory / f"{job.name}.parquet"))


def _rows(origin: Origin, executor: Executor, job: ShardJob) -> Iterator[Record | Rejection]:
    batches = [job.payload[at : at + BATCH] for at in range(0, len(job.payload), BATCH)]
    done = dict(executor(partial(rows_of, origin), batches))
    for number in range(len(batches)):
        yield from done[number]
