"""Import a dataset of Parquet shards as `datasets` writes them: a local folder or file, or one of the Hugging Face Hub.

Read with Arrow, some rows at a time; `datasets` is not needed, and no script of a repository is ever run.
"""

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmtt.errors import MissingDependency, Rejected, UserError
from mmtt.executors import Executor, serial
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.images import sha256
from mmtt.progress import Progress, silent
from mmtt.recipe import ImportedSection
from mmtt.record import Rejection
from mmtt.weights import HUB

from .archive import FREE, MAX_SWELL
from .columns import PRISTINE, Told, facts, split_word, word
from .features import class_names, leaves_of_paths, named
from .folders import MAX_FILE_BYTES, Folder, refusal, stamps, unchanged
from .item import Item
from .pair import NEGATIVE, Reader
from .pairs import Imported, Rights, options_of, slug
from .tables import open_parquet, parquet_rows
from .writing import require_folder, write_import

BATCH_ROWS = 4  # cells of a stranger's size, of which a few bytes may stand for many: so many are in memory at once
PATH_ROWS = 10_000
_COUNTED = re.compile(r"(?P<set>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_SUFFIX = frozenset((".parquet",))


class _Found(NamedTuple):
    """Where shards lie, and what is known of where they came from."""

    folder: Folder
    shards: list[str]
    revision: str | None = None


def import_hub(
    source: str,
    directory: Path,
    told: Told,
    rights: Rights,
    *,
    say: Callable[[str], object],
    find_faces: bool = False,
    executor: Executor = serial,
    bars: tuple[Progress, Progress] = (silent, silent),
) -> Imported:
    """Import Parquet shards into a new dataset.

    Args:
        source: a folder, a shard, or `hub:OWNER/NAME@REVISION`; without a revision only what is in the local cache.
        directory: the new dataset.
        told: which column is what, and what the labels mean.
        rights: licence and consent.
        say: is told what is fetched, before it is.
        find_faces: whether landmarks are looked for.
        executor: decodes pictures.
        bars: tell how far the first pass is, which hashes, and the second.

    Raises:
        UserError: no shards, no such column, a damaged shard, or what `write_import` says.
        MissingDependency: a Hub name without `huggingface_hub`.
    """
    recipe_name = slug(told.name)
    require_folder(directory)
    found = _remote(source.removeprefix(HUB), say) if source.startswith(HUB) else _local(Path(source))
    shards = [_Shard(found.folder, name, told) for name in found.shards]
    paths = [shard.path for shard in shards]
    before = stamps(paths)
    hashes = bars[0](shards, map(file_sha256, paths))
    read = [[shard.name, sha256] for shard, sha256 in zip(shards, hashes, strict=True)]
    beside = found.folder.digest_of(name for shard in shards for name in shard.files())
    reader = Reader(told.name)
    options = options_of(told, rights, find_faces, reader, **({"revision": found.revision} if found.revision else {}))
    items = unchanged(paths, before, (item for shard in shards for item in shard.items(reader)))
    manifest = write_import(
        directory, recipe_name, ImportedSection(format="hub", digest=digest([read, beside]), options=options),
        bars[1](range(sum(shard.rows for shard in shards)), items),
        origin=told.name, licence=rights.licence, consent=rights.consent, find_faces=find_faces, executor=executor,
    )  # fmt: skip
    return Imported(manifest=manifest, told=reader.told())


def _local(source: Path) -> _Found:
    if source.is_file():
        return _Found(Folder(source.parent), [source.name])
    if not source.is_dir():
        raise UserError(f"{source} does not exist. Name a folder of Parquet shards, or {HUB}OWNER/NAME@REVISION.")
    return _shards_in(Folder(source))


def _shards_in(folder: Folder, revision: str | None = None) -> _Found:
    listed = list(folder.files(suffixes=_SUFFIX))
    linked = [row.path for row in listed if isinstance(row, Rejection)]
    shards = [name for name in listed if isinstance(name, str)]
    if linked:
        raise UserError(f"{folder.root} has a link to a folder: {linked[0]}. Put the folder itself there.")
    if not shards:
        raise UserError(f"{folder.root} holds no Parquet file.")
    _require_whole(folder, shards)
    return _Found(folder, shards, revision)


def _require_whole(folder: Folder, shards: Sequence[str]) -> None:
    """Refuse a set of which shards are missing: their names tell how many there are."""
    there: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in shards:
        if (counted := _COUNTED.match(name)) is not None:
            there[counted["set"], int(counted["count"])].add(int(counted["number"]))
    for (name, count), numbers in there.items():
        if len(numbers) < count:
            raise UserError(f"{folder.root} has {len(numbers)} of the {count} shards '{name}-…'. Get the others.")


def _remote(name: str, say: Callable[[str], object]) -> _Found:
    """Return a repository's shards in the local cache; where a revision is named, what is missing is fetched."""
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependency(f"Names with '{HUB}' need huggingface_hub: pip install huggingface_hub.") from error
    remote = bool(revision) and not constants.HF_HUB_OFFLINE
    if remote:
        say(f"fetching what the local cache lacks of the Parquet files of {repository} at {revision}")
    try:
        found = snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision or None,
            allow_patterns=["*.parquet"],
            local_files_only=not remote,
        )
    except HFValidationError as error:
        raise UserError(f"'{HUB}{name}' is no name of a Hub dataset: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        hint = "" if revision else f" To fetch it, name a revision: {HUB}{repository}@COMMIT."
        raise UserError(
            f"'{HUB}{name}' is not in the local cache, nor was it fetched: {_first(error)}{hint}"
        ) from error
    path = Path(found)
    # The cache keeps the bytes beside the snapshots, which are links into it.
    return _shards_in(Folder(path, boundary=path.parents[1]), revision=path.name)


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class _Shard:
    """One Parquet file: which column is what, and its rows.

    Raises:
        UserError: it cannot be read, leads out of its folder, or has not the columns.
    """

    def __init__(self, folder: Folder, name: str, told: Told) -> None:
        self.name, self._folder, self._told = name, folder, told
        self.path = folder.root / name
        if not folder.holds(name):
            raise UserError(f"{self.path} leads out of {folder.root}. Put the file itself there.")
        with open_parquet(self.path) as file:
            self.rows, schema = file.metadata.num_rows, file.schema_arrow
        self._columns = told.found_in(schema.names, str(self.path))
        self._names = class_names(schema, self._columns)
        self._split = split_of_path(name)
        pictures = [schema.field(self._columns[ours]) for ours in ("image", "mask") if ours in self._columns]
        self._leaves = [leaf for column in pictures for leaf in leaves_of_paths(self.path, column)]

    def files(self) -> Iterator[str]:
        """Yield the paths below the folder of the files that rows may name in place of bytes."""
        for cells in parquet_rows(self.path, self._leaves, PATH_ROWS) if self._leaves else ():
            for cell in cells.values():
                named = cell.get("path") if isinstance(cell, Mapping) else cell
                place = self._place(named) if isinstance(named, str) else None
                if place is not None:
                    yield place

    def items(self, reader: Reader) -> Iterator[Item | Rejection]:
        """Yield its rows in their order."""
        wanted = list(dict.fromkeys(self._columns.values()))
        most, taken = FREE + MAX_SWELL * self.path.stat().st_size, 0
        for number, cells in enumerate(parquet_rows(self.path, wanted, BATCH_ROWS)):
            taken += sum(map(_bytes_in, cells.values()))
            if taken > most:
                hint = "as no pictures do: a bomb. Nothing more of it is read."
                raise UserError(f"{self.path} swells to more than {MAX_SWELL} times its size, {hint}")
            try:
                yield self._item(reader, number, {ours: cells[theirs] for ours, theirs in self._columns.items()})
            except Rejected as reason:
                yield refusal(f"{self.name}#{number}", reason.code, reason.detail)

    def _item(self, reader: Reader, number: int, row: dict[str, Any]) -> Item:
        for ours, names in self._names.items():
            row[ours] = named(row[ours], names)
        said = facts(row, self._told)
        mask = row.get("mask")
        if isinstance(mask, str) and mask.strip().casefold() == NEGATIVE:
            said, mask = replace(said, family=PRISTINE), None
        where = {"file": self.name, "row": number}
        said = replace(said, split=said.split or self._split, parameters={**said.parameters, **where})
        image = self._bytes(row["image"])
        if image is None:
            raise Rejected("missing", "it has no picture")
        # The file's name would tell the split, and often the class.
        made = word(row.get("id")) or digest([self.name, number, sha256(image)])[:24]
        return reader.item(made, image, self._bytes(mask), said, place=f"{self.name}#{number}")

    def _bytes(self, cell: Any) -> bytes | None:
        """Return a picture's bytes, from the cell or out of the folder; None where there are none."""
        if isinstance(cell, Mapping):
            cell = cell["path"] if cell["bytes"] is None else cell["bytes"]
        if isinstance(cell, str):
            place = self._place(cell)
            if place is None:
                raise Rejected("missing", f"its bytes are not in the shard, and '{cell}' is not in the folder")
            return self._folder.read(place)
        if cell is not None and len(cell) > MAX_FILE_BYTES:
            raise Rejected("file_too_large", f"{len(cell):,} bytes are more than {MAX_FILE_BYTES:,}")
        return None if cell is None else bytes(cell)

    def _place(self, named: str) -> str | None:
        """Return where a file lies that is named from the shard's own folder or from the top; None where nowhere."""
        for told in (f"{PurePosixPath(self.name).parent}/{named}", named):
            with contextlib.suppress(Rejected):
                place = self._folder.place(told)
                if self._folder.holds(place):
                    return place
        return None


def _bytes_in(cell: Any) -> int:
    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return len(data) if isinstance(data, bytes) else 0


def split_of_path(name: str) -> str | None:
    """Return the split that a shard's path tells (`data/train-00000-of-00002.parquet`); None if it tells none.

    The name counts before the folder, that before those above it. Two splits in one name say nothing.
    """
    for part in reversed(PurePosixPath(name.removesuffix(".parquet")).parts):
        said = {split for piece in re.split(r"[^A-Za-z]+", part) if (split := split_word(piece)) is not None}
        if said:
            return said.pop() if len(said) == 1 else None
    return None
