"""Chains: from a recipe's words to drawn steps, from drawn steps to JSON and back, and through pixels."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import yaml

from mmtt.errors import RecipeError, Rejected, UserError, did_you_mean
from mmtt.ids import digest
from mmtt.images import Rgb
from mmtt.recipe import DegradeSection, Variant
from mmtt.record import MASTER
from mmtt.settings import parse

from .codecs import Jpeg, Webp
from .geometry import Crop, Interpolation, Resize, Rotate, unmoved, warp_image
from .operation import Geometric, Move, Operation
from .photometric import Blur, Colour, Gamma, Noise, Rescale, Sharpen

_ALL = (Jpeg, Webp, Resize, Rescale, Crop, Rotate, Blur, Sharpen, Noise, Gamma, Colour)
OPERATIONS: Mapping[str, type[Operation]] = MappingProxyType({made.op: made for made in _ALL})
MIN_SIDE_PX, MAX_SIDE_PX = 16, 8192


class Chain(NamedTuple):
    """A variant's name and the operations that make it, in order."""

    name: str
    operations: tuple[Operation, ...]


class Step(NamedTuple):
    """One drawn operation, and the hex seed of its generator."""

    operation: Operation
    seed: str


@cache
def presets() -> Mapping[str, tuple[Variant, ...]]:
    """Return the named sets of variants that this package ships."""
    read = yaml.safe_load((files(__package__) / "presets.yaml").read_text(encoding="utf-8"))
    return {name: tuple(Variant.model_validate(variant) for variant in variants) for name, variants in read.items()}


def chains(section: DegradeSection) -> list[Chain]:
    """Return every variant that a recipe asks for: those of its presets, then its own.

    Raises:
        RecipeError: every unknown preset, operation, key and value, and every name that is given twice.
    """
    faults = [f"degrade.presets: '{name}' is none.{did_you_mean(name, presets())}" for name in _unknown(section)]
    asked = [variant for name in section.presets for variant in presets().get(name, ())] + list(section.variants)
    names = [variant.name for variant in asked]
    faults += [f"degrade: two variants are named '{n}'." for n in sorted({n for n in names if names.count(n) > 1})]
    faults += [f"degrade.variants: '{MASTER}' is what the record itself is called."] * (MASTER in names)
    made = [Chain(variant.name, tuple(_operations(variant, faults))) for variant in asked]
    if faults:
        raise RecipeError("\n".join(faults))
    return made


def _unknown(section: DegradeSection) -> list[str]:
    return [name for name in section.presets if name not in presets()]


def _operations(variant: Variant, faults: list[str]) -> Iterator[Operation]:
    for place, said in enumerate(variant.chain):
        where = f"degrade.variants: '{variant.name}', chain.{place}"
        try:
            yield operation(said, where)
        except RecipeError as error:
            faults.append(str(error))


def operation(said: Mapping[str, Any], where: str) -> Operation:
    """Return the operation that a mapping like `{op: jpeg, quality: [60, 90]}` says.

    Raises:
        RecipeError: no such operation, or wrong keys or values.
    """
    name = str(said.get("op", ""))
    if name not in OPERATIONS:
        given = f"'{name}' is no operation." if name else "names no `op`."
        raise RecipeError(f"{where}: {given}{did_you_mean(name, OPERATIONS)}")
    return parse(OPERATIONS[name], {key: value for key, value in said.items() if key != "op"}, f"{where} ({name})")


def draw(chain: Chain, seed: int, record_id: str) -> list[Step]:
    """Return the steps of a chain for one record: what is drawn depends on recipe seed, record, variant and place."""
    steps = []
    for place, made in enumerate(chain.operations):
        own = digest([seed, "degrade", record_id, chain.name, place])[:32]
        steps.append(Step(made.drawn(_generator(digest([own, "parameters"]))), own))
    return steps


def _generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(int(seed, 16))


def to_json(step: Step) -> str:
    """Return what a record keeps of a step."""
    made = step.operation
    told = {
        "op": made.op,
        "parameters": made.model_dump(exclude_none=True),
        "library": made.library,
        "version": made.version(),
    }
    return json.dumps({**told, "seed": step.seed}, sort_keys=True)


def from_json(text: str) -> Step:
    """Return the step that a record keeps.

    Raises:
        UserError: it is none.
    """
    try:
        said = json.loads(text)
        return Step(operation({**said["parameters"], "op": said["op"]}, "degradations"), str(said["seed"]))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"A record's degradation cannot be read ({error}): {text[:80]}") from error


def through(image: Rgb, steps: Iterable[Step]) -> tuple[Rgb, Move]:
    """Send an image, RGB uint8 H×W×3, through drawn steps; return it and where its pixels went in all.

    Successive geometric steps are one resample.

    Raises:
        Rejected: `too_small` or `too_large`, when a frame leaves 16–8192 px a side.
    """
    total = unmoved(image.shape[1], image.shape[0])
    for moves, run in groupby(steps, lambda step: isinstance(step.operation, Geometric)):
        if moves:
            made = [step.operation for step in run]
            image = warp_image(image, _composed(made, unmoved(total.width, total.height)), _interpolation(made))
            total = _composed(made, total)
        else:
            for step in run:
                image = step.operation.apply(image, _generator(step.seed))
    return image, total


def _composed(made: Sequence[Geometric], move: Move) -> Move:
    for step in made:
        move = move.then(step.move)
        if min(move.width, move.height) < MIN_SIDE_PX:
            raise Rejected("too_small", f"{step.op} leaves {move.width}×{move.height} px, less than {MIN_SIDE_PX}")
        if max(move.width, move.height) > MAX_SIDE_PX:
            raise Rejected("too_large", f"{step.op} makes {move.width}×{move.height} px, more than {MAX_SIDE_PX}")
    return move


def _interpolation(made: Sequence[Geometric]) -> Interpolation:
    said = [step.interpolation for step in made if isinstance(step, Resize)]
    return said[-1] if said else "area"
