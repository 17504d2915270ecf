"""Gallery: the few records that are shown, as tiles of a contact sheet, as examples, and with their provenance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import pyarrow as pa

from mmtt.errors import DamagedError
from mmtt.record import Record
from mmtt.shards import Lookup

from .. import examples
from ..examples import Picture
from .facts import NO_SPLIT, Facts
from .provenance import Group, provenance

T = TypeVar("T")
TILES, EXAMPLES = 12, 2
TILE_PX = 192
# Pictures are nearly all of the page. The sheets are filled first, one tile of every family in turn, then the examples.
TILE_LETTERS, EXAMPLE_LETTERS = 2_200_000, 2_400_000


class Tile(NamedTuple):
    """One forgery of a contact sheet: its layers, the framed picture first, and who it is made from."""

    record: Record
    split: str
    layers: list[Picture]
    ancestors: list[Picture]
    groups: list[Group]


class Shown(NamedTuple):
    """What is shown of one family."""

    tiles: list[Tile]
    examples: list[dict[str, Any]]


class Gallery:
    """Fetches records; those whose pictures cannot be decoded are counted in `damaged` and shown nowhere."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._paths = facts.shards_of(facts.forged)
        self._forged = Lookup(self._paths)
        self._pristine = Lookup(facts.shards_of(facts.pristine))
        self._digests = {path.stem: facts.shards[path] for path in self._paths}
        self.damaged = 0

    def shown(self, families: Mapping[str, pd.DataFrame]) -> dict[str, Shown]:
        """Return what is shown of each family."""
        chosen = {family: examples.choose(candidates(self._facts, rows), TILES) for family, rows in families.items()}
        tiles = _filled(chosen, TILES, TILE_LETTERS, self._tile)
        kept = {family: [tile.record.record_id for tile in row] for family, row in tiles.items()}
        large = _filled(kept, EXAMPLES, EXAMPLE_LETTERS, self._example)
        return {family: Shown(tiles[family], large[family]) for family in families}

    def _tile(self, record_id: str) -> tuple[Tile, int] | None:
        record = self._forged.get(record_id)
        try:
            layers, ancestors = list(_layers(record)), list(self._ancestors(record))
        except DamagedError:
            self.damaged += 1
            return None
        split = self._facts.splits.get(record.target_id or record.record_id, NO_SPLIT)
        shard = self._paths[self._forged.place(record_id)[0]].stem
        groups = provenance(record, self._facts, self._digests, shard)
        return Tile(record, split, layers, ancestors, groups), _letters([*layers, *ancestors])

    def _example(self, record_id: str) -> tuple[dict[str, Any], int] | None:
        try:
            example = examples.example(self._forged.get(record_id), self._pristine, self._facts.splits)
        except DamagedError:
            return None  # its tile could be decoded; what else it holds is for `mmtt verify` to judge
        return example, _letters(example["pictures"])

    def _ancestors(self, record: Record) -> Iterator[Picture]:
        if record.source_id is not None and record.source_id in self._pristine:
            yield examples.photo("donor", self._pristine.get(record.source_id).image, "", "The donor", TILE_PX)
        if record.pristine is not None:
            yield examples.photo("target", record.pristine, "", "The target", TILE_PX)


def candidates(facts: Facts, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a few forged rows of every program, by digest; faces that came with landmarks, maybe drawn, come last."""
    given = rows["landmark_finder"].str.startswith("sidecar")
    ordered = rows.assign(given=given).sort_values(["given", "record_id"])
    few = ordered.groupby("manipulator", sort=False).head(examples.CANDIDATES)
    parameters = facts.lists["parameters"].take(pa.array(few.index)).to_pylist()
    told = few.assign(parameters=pd.Series(parameters, index=few.index, dtype=object)).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in told]


def _filled(
    chosen: Mapping[str, Sequence[str]], most: int, letters: int, make: Callable[[str], tuple[T, int] | None]
) -> dict[str, list[T]]:
    """Make what is shown of the first of every family, then of the second of every family, until the room is used."""
    found: dict[str, list[T]] = {family: [] for family in chosen}
    for turn in range(most):
        for family, ids in chosen.items():
            made = make(ids[turn]) if turn < len(ids) and letters > 0 else None
            if made is not None:
                found[family].append(made[0])
                letters -= made[1]
    return found


def _letters(pictures: Sequence[Picture]) -> int:
    return sum(len(picture.uri) for picture in pictures)


def _layers(record: Record) -> Iterator[Picture]:
    what = f"{record.manipulator} {record.record_id}"
    yield Picture("forged", examples.framed(record.image, TILE_PX), "", f"Forged, framed in red: {what}")
    if record.alpha is not None:
        uri = examples.alpha(record.alpha, TILE_PX)
        yield Picture("alpha", uri, "alpha: weight of the blend", f"Alpha, the weight of the blend: {what}")
    if record.change is not None:
        uri, factor = examples.change(record.change, TILE_PX)
        yield Picture("change", uri, f"change, shown ×{factor:.1f}", f"Change, shown {factor:.1f} times: {what}")
    if record.alpha is None and record.change is None:
        yield Picture("mask", examples.mask(record, TILE_PX), "mask", f"Mask, white where altered: {what}")
