"""Swaps and self-blending: the contract of every manipulator, and what these three promise beyond it."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Edit, Job, Manipulator, finish
from pipelines.manipulators import blending, tones
from pipelines.manipulators.face_swap import FaceSwap
from pipelines.manipulators.glasses import wears_glasses
from pipelines.manipulators.part_swap import PartSwap
from pipelines.manipulators.self_blend import SelfBlend
from tests.pipelines.shapes import MEAN_68, random_face, random_photo

seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([64, 128, 200, 256])
schemes = st.sampled_from(["openpose_70", "ibug_68"])
widths = st.tuples(st.floats(0.05, 0.3), st.floats(0.05, 0.3))
manipulators = st.one_of(
    st.builds(
        FaceSwap,
        feather_range=widths,
        reach_range=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    ),
    st.builds(PartSwap, most_parts=st.integers(1, 4), feather_range=widths),
    st.builds(SelfBlend, strength=st.floats(0.5, 1.5), feather_range=widths),
)


def _scene(seed: int, size: int, scheme: str) -> tuple[Rgb, Face]:
    rng = np.random.default_rng(seed)
    return random_photo(rng, size), random_face(rng, size, scheme)


def _job(manipulator: Manipulator, target: tuple[Rgb, Face], source: tuple[Rgb, Face], seed: int) -> Job:
    plan = manipulator.plan(target[1], source[1], np.random.default_rng(seed))
    assert plan["regions"]
    assert set(plan["regions"]) <= set(manipulator.declaration.regions)
    back: dict[str, Any] = json.loads(json.dumps(plan))
    assert back == plan
    return Job(*target, *source, back, np.random.default_rng(seed))


def _bytes(edit: Edit) -> bytes:
    return edit.image.tobytes() + edit.alpha.tobytes()


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, sizes, schemes, schemes)
def test_contract(manipulator: Manipulator, seed: int, size: int, scheme: str, other: str) -> None:
    target, source = _scene(seed, size, scheme), _scene(seed ^ 1, size, other)
    before, state = target[0].copy(), str(np.random.get_state())
    edit = manipulator.render([_job(manipulator, target, source, seed)])[0]
    forged = finish(target[0], edit, manipulator.declaration.mask_rule, 0)
    assert str(np.random.get_state()) == state
    assert np.array_equal(target[0], before)
    assert np.array_equal(forged.image[forged.alpha == 0], before[forged.alpha == 0])
    assert (forged.alpha[forged.change > 0] > 0).all()
    assert forged.mask.any()
    jobs = [_job(manipulator, source, target, 0), _job(manipulator, target, source, seed)]
    assert _bytes(manipulator.render(jobs)[1]) == _bytes(edit)


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_faces_beyond_the_edge_do_not_crash(manipulator: Manipulator, seed: int, x: float, y: float) -> None:
    target, source = _scene(seed, 128, "ibug_68"), _scene(seed ^ 1, 128, "ibug_68")
    shift = np.array([[1, 0, 128 * x], [0, 1, 128 * y]])
    job = _job(manipulator, (target[0], target[1].moved(shift)), (source[0], source[1].moved(-shift)), seed)
    edit = manipulator.render([job])[0]
    assert edit.alpha.shape == (128, 128)
    assert np.isfinite(edit.alpha).all()


@settings(max_examples=10, deadline=None)
@given(seeds, sizes)
def test_alpha_has_no_pinholes(seed: int, size: int) -> None:
    target, source = _scene(seed, size, "ibug_68"), _scene(seed ^ 1, size, "ibug_68")
    alpha = FaceSwap().render([_job(FaceSwap(), target, source, seed)])[0].alpha
    outside = np.pad((alpha < 0.5).astype(np.uint8), 1, constant_values=1)
    areas = cv2.connectedComponentsWithStats(outside, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    assert len(areas) <= 2  # what lies around the face, and perhaps the target's own mouth


@pytest.mark.parametrize("manipulator", [FaceSwap(), PartSwap(), SelfBlend()])
@pytest.mark.parametrize("kind", ["point", "nan", "line"])
def test_degenerate_faces_are_rejected(manipulator: Manipulator, kind: str) -> None:
    photo, good = _scene(3, 128, "ibug_68")
    line = MEAN_68 * [128, 0] + [0, 60]
    points = {"point": 0 * MEAN_68 + 60, "nan": MEAN_68 * np.float32(np.nan), "line": line}[kind]
    bad = Face(points.astype(np.float32), "ibug_68")
    with pytest.raises(Rejected):
        job = _job(manipulator, (photo, bad), (photo, good), 0)
        finish(photo, manipulator.render([job])[0], manipulator.declaration.mask_rule, 0)


@pytest.mark.parametrize("manipulator", [FaceSwap(), PartSwap()])
def test_a_swap_needs_a_source(manipulator: Manipulator) -> None:
    with pytest.raises(Rejected, match="no_source"):
        manipulator.plan(_scene(0, 128, "ibug_68")[1], None, np.random.default_rng(0))


def test_poses_that_differ_too_much_are_rejected() -> None:
    face = random_face(np.random.default_rng(0), 256)
    narrow = face.moved(np.array([[1, 0, 0], [0.0, 6, 0]]))
    with pytest.raises(Rejected, match="poses_differ"):
        FaceSwap().plan(face, narrow, np.random.default_rng(0))


def _opened(face: Face, by: float) -> Face:
    points = face.landmarks.copy()
    points[55:60, 1] += by * face.interocular
    points[65:68, 1] += by * face.interocular
    return Face(points, face.scheme)


def test_the_target_keeps_a_mouth_that_the_source_cannot_fill() -> None:
    shut = Face(MEAN_68 * 256, "ibug_68")
    shut = _opened(shut, -float(np.ptp(shut.landmarks[[62, 66], 1])) / shut.interocular)
    wide, rng = _opened(shut, 0.3), np.random.default_rng(0)
    faces = (shut, wide)
    kept = {(t, s): FaceSwap().plan(faces[t], faces[s], rng)["kept_mouth"] for t in (0, 1) for s in (0, 1)}
    assert kept == {(0, 0): "nothing", (1, 1): "nothing", (1, 0): "interior", (0, 1): "lips"}


def test_glasses_are_seen_and_kept_out_of_parts() -> None:
    photo, face = _scene(5, 256, "ibug_68")
    photo = np.full_like(photo, (190, 140, 120))
    worn = photo.copy()
    eyes = face.five_points[:2].round().astype(int)
    cv2.line(worn, eyes[0].tolist(), eyes[1].tolist(), (20, 20, 20), 5)
    assert not wears_glasses(photo, face)
    assert wears_glasses(worn, face)
    swap = PartSwap(parts=("nose",))
    with pytest.raises(Rejected, match="glasses"):
        swap.render([_job(swap, (photo, face), (worn, face), 0)])
    with pytest.raises(Rejected, match="glasses"):
        FaceSwap(refuse_glasses=True).render([_job(FaceSwap(), (photo, face), (worn, face), 0)])


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_mesh_takes_points_to_points(seed: int) -> None:
    photo, face = _scene(seed, 256, "ibug_68")
    frame = np.array([[-99, -99], [355, -99], [355, 355], [-99, 355]], np.float32)
    matrix = np.array([[1.1, 0.1, 5], [-0.1, 0.9, 3]])
    here = np.concatenate([face.landmarks, frame])
    area = blending.window(face.landmarks, face, photo)
    assert area is not None
    x, y = blending.mesh_map(area, here, here @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32))
    rows, columns = np.mgrid[area.slices]
    inside = (slice(20, -20), slice(20, -20))  # the smoothing flattens the rim
    assert np.abs(x - (1.1 * columns + 0.1 * rows + 5))[inside].max() < 0.1
    assert np.abs(y - (-0.1 * columns + 0.9 * rows + 3))[inside].max() < 0.1


def test_the_seam_avoids_what_costs() -> None:
    circle = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)], axis=1)
    inner, outer = (128 + radius * circle for radius in (30.0, 90.0))
    area = blending.Window(0, 0, 256, 256, 2)
    away = np.hypot(*(np.indices(area.grid_hw) * 2 + 0.5 - 128))
    cost = np.where(np.abs(away - 70) < 6, 0, 50).astype(np.float32)
    path = blending.seam(area, cost, inner.astype(np.float32), outer.astype(np.float32), 0.1)
    assert np.abs(np.hypot(*(path - 128).T) - 70).max() < 8


def test_grain_is_never_added() -> None:
    rng = np.random.default_rng(0)
    smooth = np.full((96, 96, 3), 128, np.uint8)
    rough = np.clip(128 + rng.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)
    area = blending.Window(0, 0, 96, 96, 2)
    weight = np.ones(area.grid_hw, np.float32)
    assert np.array_equal(blending.calmed(area, smooth, rough, weight), smooth)
    assert blending.calmed(area, rough, smooth, weight).std() < 0.7 * rough.std()


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0, 1))
def test_creases_are_eased_and_faint_detail_is_kept(seed: int, likeness: float) -> None:
    rng = np.random.default_rng(seed)
    plain = 150 + cv2.GaussianBlur(rng.normal(0, 12, (96, 96, 3)), (0, 0), 2).astype(np.float32)
    creased = plain.copy()
    creased[:, 46:50] -= 90
    skin = np.full((96, 96), likeness, np.float32)
    eased = creased + tones.tempered(creased, plain, skin, 8)
    assert (eased[20:76, 47:49] > creased[20:76, 47:49] + 15).all()
    assert eased[20:76, 47:49].mean() < plain.mean() - 15  # still a crease
    assert np.abs(tones.tempered(plain, creased, skin, 8)).max() < 1e-3
