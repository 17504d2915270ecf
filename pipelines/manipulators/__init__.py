"""The one table of manipulators: built-in and installed ones pass through the same door.

A third party's package declares an entry point in the group `mmtt.manipulators`; its name is the name
in the recipe, its object a subclass of `mmtt.manipulator.Manipulator`.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from mmtt.errors import RecipeError, UserError, did_you_mean
from mmtt.manipulator import Declaration, Manipulator
from mmtt.recipe import Entry
from mmtt.settings import parse

GROUP = "mmtt.manipulators"

# Relative, because the applications ride inside `mmtt` in the wheel.
WEIGHT_FREE: Mapping[str, str] = MappingProxyType(
    {
        "face_swap": ".face_swap:FaceSwap",
        "part_swap": ".part_swap:PartSwap",
        "self_blend": ".self_blend:SelfBlend",
        "attribute_warp": ".attribute_warp:AttributeWarp",
        "ageing": ".ageing:Ageing",
        "classical_inpaint": ".inpaint:ClassicalInpaint",
        "recolour": ".recolour:Recolour",
        "retouch": ".retouch:SkinRetouch",
    }
)
# These need weights, or a whole program, that the user brings.
LEARNED: Mapping[str, str] = MappingProxyType(
    {
        "command": ".command:Command",
        "e4s": ".e4s:E4s",
        "mat": ".mat:Mat",
        "diffusion_inpaint": ".diffusion_inpaint:DiffusionInpaint",
        "diffusion_edit": ".diffusion_edit:DiffusionEdit",
        "inswapper": ".inswapper:InSwapper",
        "onnx_inpaint": ".onnx_inpaint:OnnxInpaint",
    }
)
BUILT_IN: Mapping[str, str] = MappingProxyType({**WEIGHT_FREE, **LEARNED})


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def names() -> list[str]:
    """Return the names of all manipulators, built-in first, without importing any."""
    return [*BUILT_IN, *sorted(set(_installed()) - set(BUILT_IN))]


@cache
def find(name: str) -> type[Manipulator]:
    """Import and return a manipulator's class.

    Raises:
        RecipeError: no such name. UserError: an installed one that cannot be imported, or is no manipulator.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        built_in: type[Manipulator] = getattr(import_module(module, __package__), attribute)
        return built_in
    if name in _installed():
        if len(_offered(name)) > 1:
            packages = ", ".join(sorted(point.dist.name if point.dist else "?" for point in _offered(name)))
            raise UserError(f"Several packages install a manipulator '{name}': {packages}. Keep one of them.")
        return _load(_installed()[name])
    raise RecipeError(f"There is no manipulator '{name}'.{did_you_mean(name, names())}")


def _offered(name: str) -> list[EntryPoint]:
    return list(entry_points(group=GROUP, name=name))


def _load(point: EntryPoint) -> type[Manipulator]:
    """Import what a third party installed; whatever it does wrong is a sentence that names it."""
    whose = f"The installed manipulator '{point.name}'{_from(point)}"
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # a module that leaves must not take the command with it, with code 0
        raise UserError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Manipulator)):
        raise UserError(f"{whose} is not a subclass of mmtt.manipulator.Manipulator.")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise UserError(f"{whose} does not define {', '.join(missing)}.")
    if not isinstance(getattr(found, "declaration", None), Declaration):
        raise UserError(f"{whose} has no `declaration` (a mmtt.manipulator.Declaration).")
    if found.declaration.name != point.name:
        raise UserError(f"{whose} declares the name '{found.declaration.name}'. Give both the same name.")
    return found


def _from(point: EntryPoint) -> str:
    return f" of the package '{point.dist.name}'" if point.dist else ""


def shadowed(*wanted: str) -> list[str]:
    """Return a sentence for each installed manipulator that is not used, because a built-in one has its name.

    `wanted` limits it to these names.
    """
    points = sorted(point for name in BUILT_IN if not wanted or name in wanted for point in _offered(name))
    return [f"The installed manipulator '{p.name}'{_from(p)} is not used: a built-in has its name." for p in points]


def make(name: str, options: Mapping[str, Any], where: str) -> Manipulator:
    """Return a manipulator with its options.

    Raises:
        RecipeError: unknown name, unknown option, bad value.
    """
    return parse(find(name), dict(options), where)


def from_recipe(entries: tuple[Entry, ...]) -> dict[str, Manipulator]:
    """Return the recipe's manipulators by label; every fault of every entry is reported at once.

    Raises:
        RecipeError: unknown names, unknown options, bad values.
    """
    made, faults = {}, []
    for number, entry in enumerate(entries):
        where = f"forge.manipulators.{number}"
        try:
            made[entry.label] = make(entry.use, entry.options, f"{where}.options")
        except RecipeError as error:
            faults.append(str(error) if "options" in str(error) else f"{where}.use: {error}")
    if faults:
        raise RecipeError("\n".join(faults))
    return made
