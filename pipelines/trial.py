"""Try a manipulator on drawn people, before it is let near a dataset."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from mmtt.contract import Case, violations
from mmtt.faces import Face, align
from mmtt.images import Rgb

from . import manipulators
from .drawing import draw_person

PEOPLE = 6
SIZE_PX = 256


def trial(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """Return what a manipulator with these options does against its contract, as sentences.

    Raises:
        RecipeError: there is no manipulator of that name, or no such option. UserError: it cannot be loaded, or
            wants weights or a package that are absent.
    """
    made = manipulators.make(name, options, name)
    return [*manipulators.shadowed(name), *violations(made, [_case(seed) for seed in range(PEOPLE)])]


def _case(seed: int) -> Case:
    """A drawn person and the next one; copies, since a bad manipulator may write to them."""
    pictures, faces = zip(*(_crop(number % PEOPLE) for number in (seed, seed + 1)), strict=True)
    own = [replace(face, landmarks=face.landmarks.copy()) for face in faces]
    return Case(pictures[0].copy(), own[0], pictures[1].copy(), own[1], seed)


@cache
def _crop(seed: int) -> tuple[Rgb, Face]:
    person = draw_person(seed, 2 * SIZE_PX)
    face = Face(person.landmarks, "openpose_70", "drawn")
    crop, matrix = align(person.image, face, "ffhq_512", SIZE_PX)
    return crop, face.moved(matrix)
