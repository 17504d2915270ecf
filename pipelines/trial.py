"""Try a manipulator on drawn people, before it is let near a dataset."""

from mmtt.contract import Case, violations
from mmtt.faces import Face, align
from mmtt.images import Rgb

from . import manipulators
from .drawing import draw_person

PEOPLE = 6
SIZE_PX = 256


def trial(name: str) -> list[str]:
    """Return what a manipulator, with its default options, does against its contract.

    Raises:
        RecipeError: there is no manipulator of that name.
    """
    made = manipulators.make(name, {}, name)
    people = [_crop(seed) for seed in range(PEOPLE)]
    pairs = zip(people, people[1:] + people[:1], strict=True)
    return violations(made, [Case(*target, *source, seed) for seed, (target, source) in enumerate(pairs)])


def _crop(seed: int) -> tuple[Rgb, Face]:
    person = draw_person(seed, 2 * SIZE_PX)
    face = Face(person.landmarks, "openpose_70", "drawn")
    crop, matrix = align(person.image, face, "ffhq_512", SIZE_PX)
    return crop, face.moved(matrix)
