"""Every manipulator, built-in or installed, passes through the same table and the same contract test."""

import numpy as np
import pytest

from mmtt.contract import Case, violations
from mmtt.errors import RecipeError
from mmtt.recipe import Entry
from pipelines import manipulators
from tests.factories import drawn
from tests.pipelines.shapes import random_face, random_photo


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    size_px = int(rng.choice([96, 160, 256]))
    scheme = str(rng.choice(["openpose_70", "ibug_68"]))
    faces = [random_face(rng, size_px, scheme) for _ in range(2)]
    return Case(random_photo(rng, size_px), faces[0], random_photo(rng, size_px), faces[1], seed)


def drawn_case(seed: int) -> Case:
    from mmtt.faces import Face, align

    crops = []
    for number in (seed, seed + 1):
        person = drawn(number)
        face = Face(person.landmarks, "openpose_70", "drawn")
        crop, matrix = align(person.image, face, "ffhq_512", 256)
        crops += [crop, face.moved(matrix)]
    return Case(*crops, seed)


@pytest.mark.parametrize("name", manipulators.WEIGHT_FREE)
def test_keeps_its_contract(name):
    cases = [*(random_case(seed) for seed in range(12)), *(drawn_case(seed) for seed in range(4))]
    assert violations(manipulators.make(name, {}, name), cases) == []


@pytest.mark.parametrize("name", manipulators.BUILT_IN)
def test_is_declared_under_its_own_name(name):
    assert manipulators.find(name).declaration.name == name


def test_a_typo_names_the_nearest_manipulator():
    with pytest.raises(RecipeError, match=r"no manipulator 'face_swop'. Did you mean 'face_swap'"):
        manipulators.find("face_swop")


def test_every_fault_of_every_entry_is_told_at_once():
    entries = (Entry(use="recolor"), Entry(use="retouch", options={"strenght": 1}))
    with pytest.raises(RecipeError) as told:
        manipulators.from_recipe(entries)
    assert "recolour" in str(told.value) and "strenght" in str(told.value)
