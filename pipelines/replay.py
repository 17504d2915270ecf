"""Replay: make a forgery again from what its row says, and compare the pixels.

The row gives target, donor, parameters and seed; the recipe's entry, after which the row's shard is named, gives the
program and its options. What is not here (weights, a program's version, a pristine record) is told by name.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from mmtt import images, masks
from mmtt.errors import DamagedError, Rejected, UserError
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, Manifest, environment, shard_paths
from mmtt.manipulator import Manipulator
from mmtt.masks import MaskRule
from mmtt.recipe import Entry, Recipe
from mmtt.record import PlanRow, Record, Rejection
from mmtt.shards import Lookup, Shard, read_table

from . import manipulators
from .forge import Payload, forge_row
from .plan import BASIS, require_fresh

IMAGES = ("image", "mask", "alpha", "change")
# Other CPU features and versions round otherwise: a few levels, a thin rim of the mask. More is another picture.
ELSEWHERE_LEVELS = 16
ELSEWHERE_MASK_SHARE = 0.005


class Outcome(NamedTuple):
    """What replaying one record came to.

    verdict: `same` bytes; `within N`, N the largest difference of the image's channels (0–255), where the program is
        declared not to be deterministic (but its planned hole is the same) or the shards were made elsewhere;
        `differs`; `absent`, where something that the row was made with is not here.
    detail: a sentence; empty for `same`.
    """

    record_id: str
    verdict: str
    detail: str = ""

    @property
    def held(self) -> bool:
        """Whether the row is what it says: the same, or as near as its program or machine allows."""
        return self.verdict not in ("differs", "absent")


class _Difference(NamedTuple):
    """How two pictures differ: the largest difference, 0–255, and how many of the frame's pixels differ at all.

    `frame` is 0 where they cannot be compared.
    """

    levels: int
    pixels: int
    frame: int


class _Absent(Exception):
    """Something that the row was made with is not here; the message is the sentence."""


@dataclass(frozen=True)
class _Workshop:
    """All that replaying needs: the recipe's entries, its programs (or why one cannot be had), pristine records.

    made_in: the environment of the shards; empty where it was not noted.
    """

    entries: Mapping[str, Entry]
    programs: Mapping[str, Manipulator | str]
    pristine: Lookup
    made_in: Mapping[str, str]


def replay(layout: Layout, recipe: Recipe, record_ids: Sequence[str] = ()) -> Iterator[Outcome]:
    """Forge records of a dataset again, all of them or those that are named, and compare image, mask, alpha, change.

    Raises:
        UserError: an imported dataset, nothing forged yet, or an id that no forged record has. When all are asked for:
            a plan that was made for another recipe, unless a program is missing, which the outcomes tell.
    """
    if recipe.imported is not None:
        raise UserError(f"{layout.root} was imported: its forgeries were not made here, so none can be made again.")
    programs = {entry.label: _program(entry) for entry in recipe.forge.manipulators}
    if not record_ids and (layout.plan / BASIS).exists() and not any(isinstance(p, str) for p in programs.values()):
        require_fresh(layout, recipe)
    entries = {entry.label: entry for entry in recipe.forge.manipulators}
    made_in = Manifest.load(layout.forged).environment
    workshop = _Workshop(entries, programs, Lookup(shard_paths(layout.pristine)), made_in)
    chosen = _named(layout, record_ids) if record_ids else _all(layout)
    return (_replayed(workshop, label, record) for label, record in chosen)


def _program(entry: Entry) -> Manipulator | str:
    """The manipulator of an entry; a sentence where it, or what it needs, is not here."""
    try:
        made = manipulators.make(entry.use, entry.options, entry.label)
        made.declare()
    except UserError as error:
        return str(error)
    return made


def _elsewhere(made_in: Mapping[str, str]) -> str:
    """How the environment of the shards differs from this one; empty where it does not."""
    here = environment()
    # Until torch is loaded it is open whether a program uses the accelerator, and what needs no torch never does.
    unsaid = set() if "torch" in sys.modules else {"accelerator"}
    names = sorted({n for n in (made_in.keys() | here.keys()) - unsaid if made_in.get(n) != here.get(n)})
    told = (f"{name} {made_in.get(name, 'absent')} there, {here.get(name, 'absent')} here" for name in names)
    return "; ".join(told) if made_in else ""


def _all(layout: Layout) -> Iterator[tuple[str, Record]]:
    """Every forged record, with the entry that its shard is named after."""
    for path in shard_paths(layout.forged):
        for record in Shard(path).records():
            yield path.stem.rpartition("-")[0], record


def _named(layout: Layout, record_ids: Sequence[str]) -> Iterator[tuple[str, Record]]:
    paths = shard_paths(layout.forged)
    lookup = Lookup(paths)
    unknown = [record_id for record_id in record_ids if record_id not in lookup]
    if unknown:
        raise UserError(" ".join(_why_unknown(layout, record_id) for record_id in unknown))
    return ((paths[lookup.place(i)[0]].stem.rpartition("-")[0], lookup.get(i)) for i in record_ids)


def _why_unknown(layout: Layout, record_id: str) -> str:
    if record_id in Lookup(shard_paths(layout.pristine)):
        return f"'{record_id}' is a pristine record; only forgeries can be replayed."
    for row in read_table(layout.forged / REJECTIONS, Rejection):
        if row.record_id == record_id:
            return f"'{record_id}' was refused when it was forged ({row.code}: {row.detail})."
    return f"There is no record '{record_id}' in {layout.forged}."


def _replayed(workshop: _Workshop, label: str, record: Record) -> Outcome:
    try:
        entry, made = _maker(workshop, label, record)
        _require_pristine(workshop.pristine, record)
        payload = Payload(entry, (), (), record.mask_tau, find_faces=False)
        # As the shards were made: threads may reorder sums.
        with threadpool_limits(limits=1):
            again = forge_row(made, _plan_row(entry, record), workshop.pristine, payload)
    except (_Absent, UserError) as error:
        return Outcome(record.record_id, "absent", str(error))
    except Rejected as reason:
        return Outcome(record.record_id, "differs", f"refused this time: {reason}")
    return _judged(record, again, made.declare().deterministic, _elsewhere(workshop.made_in))


def _maker(workshop: _Workshop, label: str, record: Record) -> tuple[Entry, Manipulator]:
    """The entry that made a record, and its program as it was then."""
    fitting = {name: entry for name, entry in workshop.entries.items() if entry.use == record.manipulator}
    label = label if label in fitting or len(fitting) != 1 else next(iter(fitting))
    if label not in fitting:
        told = f"names several ({', '.join(fitting)}), and none of them is '{label}'" if fitting else "names none"
        raise _Absent(f"it was made by the manipulator '{record.manipulator}', of which the recipe {told}")
    made = workshop.programs[label]
    if isinstance(made, str):
        wanted = f" The row was made with SHA-256 {record.weights_sha256}." if record.weights_sha256 else ""
        raise _Absent(f"{made}{wanted}")
    declared = made.declare()
    for what, there, here in (
        ("version", record.manipulator_version, declared.version),
        ("code of SHA-256", record.code_sha256, declared.code_sha256),
        ("weights of SHA-256", record.weights_sha256, declared.weights_sha256),
    ):
        if there != here:
            raise _Absent(f"it was made by '{record.manipulator}' with {what} {there}; here is {here}")
    return fitting[label], made


def _require_pristine(pristine: Lookup, record: Record) -> None:
    for role, record_id in (("target", record.target_id), ("donor", record.source_id)):
        if record_id is not None and record_id not in pristine:
            raise _Absent(f"its {role} {record_id} is not among the pristine records")
    if record.target_id is None or record.parameters is None or record.seed is None:
        raise _Absent("its row does not say target, parameters and seed")
    if record.pristine is not None and pristine.get(record.target_id).image != record.pristine:
        raise _Absent(f"its target {record.target_id} is another picture now than the one in the row")


def _plan_row(entry: Entry, record: Record) -> PlanRow:
    """The plan row that a record followed from, as far as forging reads it."""
    return PlanRow(
        record_id=record.record_id,
        entry=entry.label,
        entry_digest="",
        index=0,
        target_id=str(record.target_id),
        source_id=record.source_id,
        bucket=0,
        split="",
        manipulation=str(record.manipulation),
        manipulator=str(record.manipulator),
        manipulator_version=str(record.manipulator_version),
        parameters=str(record.parameters),
        seed=str(record.seed),
        regions=record.regions,
        obligations=record.obligations,
    )


def _judged(first: Record, again: Record, deterministic: bool, elsewhere: str) -> Outcome:
    found = {
        name: _difference(getattr(first, name), getattr(again, name))
        for name in IMAGES
        if getattr(first, name) != getattr(again, name)
    }
    if not found:
        return Outcome(first.record_id, "same")
    detail = "; ".join(f"{name} {_told(difference)}" for name, difference in found.items())
    none = _Difference(0, 0, 1)
    levels, rim = found.get("image", none).levels, found.get("mask", none)
    comparable = all(difference.frame for difference in found.values())
    if not deterministic and comparable and _hole_held(first, found, elsewhere):
        return Outcome(first.record_id, f"within {levels}", f"{detail} (its program is not deterministic)")
    if elsewhere and comparable and levels <= ELSEWHERE_LEVELS and rim.pixels <= ELSEWHERE_MASK_SHARE * rim.frame:
        return Outcome(first.record_id, f"within {levels}", f"{detail} (made elsewhere: {elsewhere})")
    return Outcome(first.record_id, "differs", f"{detail} (made elsewhere: {elsewhere})" if elsewhere else detail)


def _hole_held(first: Record, found: Mapping[str, _Difference], elsewhere: str) -> bool:
    """Whether a planned hole is the same again, up to rounding elsewhere: no program has a say in it."""
    moved = [found[name] for name in ("mask", "alpha") if name in found and first.mask_rule == MaskRule.HOLE]
    return not moved or (bool(elsewhere) and all(d.pixels <= ELSEWHERE_MASK_SHARE * d.frame for d in moved))


def _difference(first: bytes | None, second: bytes | None) -> _Difference:
    """Compare two stored pictures; a missing or damaged one, or one of another size, differs all over."""
    one, other = _pixels(first), _pixels(second)
    if one is None or other is None or one.shape != other.shape:
        return _Difference(255, 0, 0)
    apart = masks.change_map(one, other)
    return _Difference(int(apart.max()), np.count_nonzero(apart), apart.size)


def _pixels(data: bytes | None) -> images.Rgb | None:
    """RGB of a stored picture, gray ones too."""
    if data is None:
        return None
    for decode in (images.decode_rgb, images.decode_gray):
        with suppress(DamagedError):
            pixels = decode(data)
            return pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    return None


def _told(difference: _Difference) -> str:
    if not difference.frame:
        return "is damaged, missing or of another size"
    if not difference.levels:
        return "has other bytes, but the same pixels"
    return f"differs by up to {difference.levels} in {difference.pixels} of {difference.frame} pixels"
