"""Warps and ageing: the contract of every manipulator, and what these two promise beyond it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Edit, Forged, Job, Manipulator, finish
from pipelines.manipulators.ageing import Ageing
from pipelines.manipulators.attribute_warp import AttributeWarp
from pipelines.manipulators.warping import Pull, displacement, warp
from tests.pipelines.shapes import random_face, random_photo

seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([128, 160, 256])
schemes = st.sampled_from(["openpose_70", "ibug_68"])
manipulators = st.sampled_from([AttributeWarp(), Ageing()])
ATTRIBUTES = AttributeWarp().attributes


def _render(manipulator: Manipulator, photo: Rgb, face: Face, plan: dict[str, Any], seed: int) -> Edit:
    return manipulator.render([Job(photo, face, None, None, plan, np.random.default_rng(seed))])[0]


def _forge(manipulator: Manipulator, photo: Rgb, face: Face, seed: int) -> tuple[Edit, Forged]:
    plan = manipulator.plan(face, None, np.random.default_rng(seed))
    edit = _render(manipulator, photo, face, plan, seed)
    return edit, finish(photo, edit, manipulator.declaration.mask_rule, 0)


def _scene(seed: int, size: int, scheme: str = "openpose_70") -> tuple[Rgb, Face]:
    rng = np.random.default_rng(seed)
    return random_photo(rng, size), random_face(rng, size, scheme)


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, sizes, schemes)
def test_contract(manipulator: Manipulator, seed: int, size: int, scheme: str) -> None:
    photo, face = _scene(seed, size, scheme)
    before, state = photo.copy(), str(np.random.get_state())
    edit, forged = _forge(manipulator, photo, face, seed)
    assert np.array_equal(photo, before)
    assert str(np.random.get_state()) == state
    assert np.array_equal(forged.image[forged.alpha == 0], photo[forged.alpha == 0])
    assert forged.mask.any()
    assert (forged.alpha[forged.mask > 0] > 0).all()
    assert forged.change[forged.mask > 0].mean() > 1
    again, _ = _forge(manipulator, photo, face, seed)
    assert edit.image.tobytes() == again.image.tobytes()
    assert edit.alpha.tobytes() == again.alpha.tobytes()


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, schemes)
def test_plan_is_json_of_sayable_regions(manipulator: Manipulator, seed: int, scheme: str) -> None:
    face = random_face(np.random.default_rng(seed), 256, scheme)
    plan = manipulator.plan(face, None, np.random.default_rng(seed))
    assert json.loads(json.dumps(plan)) == plan
    assert plan["regions"]
    assert set(plan["regions"]) <= set(regions.sayable(scheme)) & set(manipulator.declaration.regions)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@settings(max_examples=10, deadline=None)
@given(seed=seeds, size=sizes)
def test_every_attribute_moves_something(attribute: str, seed: int, size: int) -> None:
    photo, face = _scene(seed, size)
    edit, forged = _forge(AttributeWarp(attributes=(attribute,)), photo, face, seed)  # type: ignore[arg-type]
    assert set(np.unique(edit.alpha)) <= {0.0, 1.0}
    assert edit.support is not None
    assert np.array_equal(edit.support, forged.mask > 0)
    assert (edit.alpha[edit.support] == 1).all()
    assert (edit.alpha == 0).any()


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(-1.5, 1.5))
def test_faces_at_the_edge_or_outside(seed: int, shift: float) -> None:
    photo, face = _scene(seed, 128)
    away = replace(face, landmarks=face.landmarks + np.float32(shift * 128))
    for manipulator in (AttributeWarp(), Ageing()):
        try:
            edit, forged = _forge(manipulator, photo, away, seed)
        except Rejected:
            continue
        assert np.array_equal(forged.image[edit.alpha == 0], photo[edit.alpha == 0])


@pytest.mark.parametrize("manipulator", [AttributeWarp(), Ageing()])
@pytest.mark.parametrize("value", [64.0, np.nan])
def test_degenerate_faces_are_rejected(manipulator: Manipulator, value: float) -> None:
    point = Face(np.full((70, 2), value, np.float32), "openpose_70")
    with pytest.raises(Rejected, match="degenerate_face"):
        manipulator.plan(point, None, np.random.default_rng(0))


def _full_shift(pulls: list[Pull], size: int) -> np.ndarray[Any, Any]:
    rows, cols, shift = displacement(pulls, (size, size))
    full = np.zeros((size, size, 2), np.float32)
    full[rows, cols] = shift
    return full


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0.1, 60), st.integers(1, 12))
def test_no_displacement_folds(seed: int, strength: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(20, 108, (count, 2)).astype(np.float32)
    moves = rng.normal(0, strength, (count, 2)).astype(np.float32)
    still = rng.uniform(20, 108, (3, 2)).astype(np.float32)
    try:
        shift = _full_shift([Pull(points, moves, 30.0, still, 12.0)], 128)
    except Rejected:  # what would move lies wholly outside
        reject()
    gy, gx = np.gradient(shift, axis=(0, 1))
    determinant = (1 - gx[..., 0]) * (1 - gy[..., 1]) - gx[..., 1] * gy[..., 0]
    assert determinant.min() > 0


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_pull_arrives_and_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    point = rng.integers(50, 78, (1, 2)).astype(np.float32)
    move = rng.integers(-4, 5, (1, 2)).astype(np.float32)
    nobody = np.zeros((0, 2), np.float32)
    shift = _full_shift([Pull(point, move, 28.0, nobody, 1.0)], 128)
    x, y = (point + move)[0].astype(int)
    assert np.allclose(shift[y, x], move[0], atol=0.1)
    rows, cols = np.mgrid[:128, :128]
    # Two cells of the grid, of two pixels each, are what interpolation may add to the radius.
    assert not shift[np.hypot(rows - y, cols - x) > 28 + 6].any()


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_smile_lifts_and_widens(seed: int) -> None:
    photo, face = _scene(seed, 256)
    smile = AttributeWarp(attributes=("smile",), strength_range=(1, 1))
    canvas = np.zeros_like(photo)
    corners = face.points_68[[48, 54]]
    for x, y in np.rint(corners).astype(int):
        canvas[y - 1 : y + 2, x - 1 : x + 2] = 255
    plan = smile.plan(face, None, np.random.default_rng(seed))
    moved = _render(smile, canvas, face, plan, seed).image[..., 0].astype(np.float64)
    middle = corners.mean(axis=0)
    rows, cols = np.mgrid[:256, :256]
    side = (cols - middle[0]) * face.across[0] + (rows - middle[1]) * face.across[1]
    for corner, here, sign in zip(corners, (side < 0, side > 0), (-1, 1), strict=True):
        weight = moved * here
        centre = np.array([(cols * weight).sum(), (rows * weight).sum()]) / weight.sum()
        assert (centre - corner) @ face.down < -0.03 * face.interocular
        assert sign * (centre - corner) @ face.across > 0.01 * face.interocular


@settings(max_examples=10, deadline=None)
@given(seeds, schemes)
def test_age_is_in_the_detail(seed: int, scheme: str) -> None:
    photo, face = _scene(seed, 256, scheme)
    roughness = {}
    for direction in ("older", "younger"):
        manipulator = Ageing(directions=(direction,), strength_range=(1, 1))
        _, forged = _forge(manipulator, photo, face, seed)
        inside = forged.mask > 0
        roughness[direction] = [
            float(np.abs(np.diff(image.astype(np.float64).mean(axis=2), axis=0))[inside[1:]].mean())
            for image in (photo, forged.image)
        ]
    assert roughness["older"][1] > roughness["older"][0]
    assert roughness["younger"][1] < roughness["younger"][0]


def test_identical_bytes_in_any_batch() -> None:
    scenes = [_scene(seed, 128) for seed in range(3)]
    for manipulator in (AttributeWarp(), Ageing()):
        plans = [manipulator.plan(face, None, np.random.default_rng(i)) for i, (_, face) in enumerate(scenes)]
        jobs = [
            [Job(p, f, None, None, plan, np.random.default_rng(7)) for (p, f), plan in zip(scenes, plans, strict=True)]
            for _ in range(2)
        ]
        together = manipulator.render(jobs[0])
        alone = [manipulator.render([job])[0] for job in jobs[1]]
        assert all(a.image.tobytes() == b.image.tobytes() for a, b in zip(together, alone, strict=True))


def test_what_does_not_move_is_rejected_outside() -> None:
    photo = np.zeros((64, 64, 3), np.uint8)
    far = Pull(np.full((1, 2), 500, np.float32), np.ones((1, 2), np.float32), 20.0, np.zeros((0, 2), np.float32), 1.0)
    with pytest.raises(Rejected, match="outside_frame"):
        warp(photo, [far])
