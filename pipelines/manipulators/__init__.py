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
from mmtt.manipulator import Manipulator
from mmtt.recipe import Entry, parse

GROUP = "mmtt.manipulators"

# Relative, because the applications ride inside `mmtt` in the wheel.
BUILT_IN: Mapping[str, str] = MappingProxyType(
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
        RecipeError: no such name. UserError: an installed one that is no manipulator.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found = getattr(import_module(module, __package__), attribute)
    elif name in _installed():
        found = _installed()[name].load()
    else:
        raise RecipeError(f"There is no manipulator '{name}'.{did_you_mean(name, names())}")
    if not (isinstance(found, type) and issubclass(found, Manipulator)):
        raise UserError(f"The installed manipulator '{name}' is not a subclass of mmtt.manipulator.Manipulator.")
    return found


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
