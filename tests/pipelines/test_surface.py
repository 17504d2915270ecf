"""Inpainting, recolouring and retouching: the contract of every manipulator, and what these promise beyond it."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Edit, Forged, Job, Manipulator, finish
from pipelines.manipulators import exemplar, holes
from pipelines.manipulators.inpaint import ClassicalInpaint
from pipelines.manipulators.recolour import SHIFTS, Recolour
from pipelines.manipulators.retouch import SkinRetouch, guided, soft_skin
from tests.pipelines.shapes import random_face, random_photo

seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([64, 128, 200])
schemes = st.sampled_from(["openpose_70", "ibug_68"])
manipulators = st.sampled_from([ClassicalInpaint(), Recolour(), SkinRetouch()])
methods = st.sampled_from(["telea", "navier_stokes", "exemplar"])


def _scene(seed: int, size: int, scheme: str = "openpose_70") -> tuple[Rgb, Face]:
    rng = np.random.default_rng(seed)
    return random_photo(rng, size), random_face(rng, size, scheme)


def _render(manipulator: Manipulator, photo: Rgb, face: Face, plan: dict[str, Any]) -> Edit:
    return manipulator.render([Job(photo, face, None, None, plan, np.random.default_rng(0))])[0]


def _forge(manipulator: Manipulator, photo: Rgb, face: Face, plan: dict[str, Any]) -> tuple[Edit, Forged]:
    edit = _render(manipulator, photo, face, plan)
    return edit, finish(photo, edit, manipulator.declaration.mask_rule, 0)


def _plan(manipulator: Manipulator, face: Face, seed: int) -> dict[str, Any]:
    return manipulator.plan(face, None, np.random.default_rng(seed))


def _hole_plan(region: str, method: str) -> dict[str, Any]:
    return {"regions": [region], "side": "both", "dilation": 0.1, "strokes": [], "method": method}


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, sizes, schemes)
def test_contract(manipulator: Manipulator, seed: int, size: int, scheme: str) -> None:
    photo, face = _scene(seed, size, scheme)
    before, state = photo.copy(), str(np.random.get_state())
    plan = _plan(manipulator, face, seed)
    edit, forged = _forge(manipulator, photo, face, plan)
    assert np.array_equal(photo, before)
    assert str(np.random.get_state()) == state
    assert np.array_equal(forged.image[forged.alpha == 0], photo[forged.alpha == 0])
    assert (forged.alpha[forged.change > 0] > 0).all()
    assert forged.mask.any()
    again = _render(manipulator, photo, face, json.loads(json.dumps(plan)))
    assert edit.image.tobytes() == again.image.tobytes()
    assert edit.alpha.tobytes() == again.alpha.tobytes()


@settings(max_examples=15, deadline=None)
@given(manipulators, seeds, schemes)
def test_plan_is_json_and_says_its_regions(manipulator: Manipulator, seed: int, scheme: str) -> None:
    face = random_face(np.random.default_rng(seed), 256, scheme)
    plan = _plan(manipulator, face, seed)
    assert json.loads(json.dumps(plan)) == plan == _plan(manipulator, face, seed)
    assert plan["regions"]
    assert set(plan["regions"]) <= set(manipulator.declaration.regions) & set(regions.sayable(scheme))


@settings(max_examples=12, deadline=None)
@given(manipulators, seeds, st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_faces_at_the_edge_do_not_crash(manipulator: Manipulator, seed: int, x: float, y: float) -> None:
    photo, face = _scene(seed, 128)
    moved = face.moved(np.array([[1, 0, x * 128], [0, 1, y * 128]]))
    edit = _render(manipulator, photo, moved, _plan(manipulator, moved, seed))
    assert edit.image.shape == photo.shape
    assert np.isfinite(edit.alpha).all()


@pytest.mark.parametrize("manipulator", [ClassicalInpaint(), Recolour(), SkinRetouch()])
def test_a_face_without_extent_is_rejected(manipulator: Manipulator) -> None:
    face = Face(np.full((70, 2), 30, np.float32), "openpose_70")
    with pytest.raises(Rejected, match="face_too_small"):
        _plan(manipulator, face, 0)


@pytest.mark.parametrize("part", list(SHIFTS))
@pytest.mark.parametrize("seed", range(4))
def test_recolouring_is_visible(part: str, seed: int) -> None:
    photo, face = _scene(seed, 256)
    recolour = Recolour.model_validate({"parts": (part,)})
    _, forged = _forge(recolour, photo, face, _plan(recolour, face, seed))
    assert forged.change[forged.mask > 0].mean() > 6


@pytest.mark.parametrize("seed", range(4))
def test_retouching_is_visible_and_smooths(seed: int) -> None:
    photo, face = _scene(seed, 256)
    retouch = SkinRetouch()
    _, forged = _forge(retouch, photo, face, _plan(retouch, face, seed))
    inside = cv2.erode(forged.mask, np.ones((9, 9), np.uint8)) > 0
    rough = [np.abs(cv2.Laplacian(image.astype(np.float32), -1))[inside].mean() for image in (photo, forged.image)]
    assert forged.change[forged.mask > 0].mean() > 4
    assert rough[1] < 0.75 * rough[0]


def test_irises_need_a_scheme_that_has_them() -> None:
    face = random_face(np.random.default_rng(1), 128, "ibug_68")
    with pytest.raises(Rejected, match="region_unavailable"):
        _plan(Recolour(parts=("iris",)), face, 0)
    with pytest.raises(Rejected, match="region_unavailable"):
        _plan(ClassicalInpaint(region_pool=("forehead",), free_form_share=0), face, 0)


def test_pupils_and_teeth_keep_their_colour() -> None:
    photo, face = _scene(5, 512)
    iris, lips = (Recolour.model_validate({"parts": (part,)}) for part in ("iris", "lips"))
    alpha = _render(iris, photo, face, _plan(iris, face, 1)).alpha
    for centre, radius in face.irises:
        x, y = np.rint(centre).astype(int)
        assert alpha[y, x] == 0
        assert alpha[y, x + round(0.7 * radius)] > 0.5
    alpha = _render(lips, photo, face, _plan(lips, face, 1)).alpha
    inner = regions.region_mask(face, "mouth", (512, 512)) & ~regions.region_mask(face, "lip", (512, 512))
    assert alpha[holes.grow(~inner, 4) ^ True].max(initial=0) < 0.5


@settings(max_examples=12, deadline=None)
@given(seeds, methods, st.sampled_from(["mouth", "nose", "eyebrow", "eye"]))
def test_alpha_is_the_hole_and_nothing_in_it_matters(seed: int, method: str, region: str) -> None:
    photo, face = _scene(seed, 160)
    hole = holes.region_hole(face, [region], "both", 0.1, (160, 160))
    marked = photo.copy()
    marked[hole] = (255, 0, 255)
    edit, forged = _forge(ClassicalInpaint(), marked, face, _hole_plan(region, method))
    assert np.array_equal(edit.alpha, hole.astype(np.float32))
    assert np.array_equal(forged.mask > 0, hole)
    assert np.array_equal(forged.image, _render(ClassicalInpaint(), photo, face, _hole_plan(region, method)).image)


@pytest.mark.parametrize("seed", range(3))
def test_exemplar_fill_has_texture_and_no_seam(seed: int) -> None:
    photo, face = _scene(seed, 256)
    hole = holes.region_hole(face, ["mouth"], "both", 0.1, (256, 256))
    filled = exemplar.fill(photo, hole, ~hole)
    edges = np.abs(cv2.Laplacian(filled.astype(np.float32), -1)).mean(axis=2)
    rim = holes.grow(hole, 1.5) & ~cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert np.array_equal(filled[~hole], photo[~hole])
    assert 0.6 < edges[hole].mean() / edges[~hole].mean() < 1.5
    assert edges[rim].mean() < 1.6 * edges[~hole].mean()


def test_exemplar_continues_a_pattern() -> None:
    stripes = np.tile((np.arange(96) // 8 % 2 * 120 + 60).astype(np.uint8)[:, None, None], (1, 96, 3))
    hole = np.zeros((96, 96), np.bool_)
    hole[36:60, 40:64] = True
    broken = stripes.copy()
    broken[hole] = 0
    filled = exemplar.fill(broken, hole, ~hole)
    assert np.abs(filled[hole].astype(int) - stripes[hole]).mean() < 25


def test_exemplar_without_any_source_leaves_a_smooth_hole() -> None:
    photo = random_photo(np.random.default_rng(0), 64)
    hole = np.zeros((64, 64), np.bool_)
    hole[20:40, 20:40] = True
    filled = exemplar.fill(photo, hole, np.zeros_like(hole))
    assert np.array_equal(filled[~hole], photo[~hole])
    assert filled[hole].std() < photo.std()


def test_membrane_of_a_slope_is_the_slope() -> None:
    slope = np.tile(np.arange(32, dtype=np.float32)[:, None, None], (1, 32, 3))
    known = np.ones((32, 32), np.bool_)
    known[8:24, 8:24] = False
    found = exemplar.membrane(slope * known[..., None], known, sweeps=20)
    assert np.array_equal(found[known], slope[known])
    assert np.abs(found - slope).mean() < 0.5


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(1, 11))
def test_thick_holes_go_to_exemplars_and_stay_modest(seed: int, count: int) -> None:
    face = random_face(np.random.default_rng(seed), 256)
    plan = _plan(ClassicalInpaint(methods=("telea",), regions_range=(count, count), free_form_share=0), face, seed)
    hole = holes.region_hole(face, plan["regions"], plan["side"], plan["dilation"], (256, 256))
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max() / face.interocular
    assert plan["method"] == ("exemplar" if depth > 0.12 else plan["method"])
    assert plan["method"] == "telea" or depth > 0.08


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_side_of_paired_regions(side: str) -> None:
    face = random_face(np.random.default_rng(3), 256)
    hole = holes.region_hole(face, ["eye"], side, 0.05, (256, 256))  # type: ignore[arg-type]
    whole = holes.region_hole(face, ["eye"], "both", 0.05, (256, 256))
    x = np.nonzero(hole)[1].mean()
    assert (x < face.five_points[2, 0]) == (side == "right")
    assert 0.3 < hole.sum() / whole.sum() < 0.7


def test_strokes_stay_on_the_face_at_any_size() -> None:
    rng = np.random.default_rng(8)
    small = random_face(rng, 128)
    large = small.moved(np.array([[4, 0, 1.5], [0, 4, 1.5]]))
    strokes = [{"points": [[-0.3, 0.3], [0.4, 0.9]], "width": 0.3}]
    drawn = holes.stroke_hole(small, strokes, (128, 128)), holes.stroke_hole(large, strokes, (512, 512))
    assert drawn[0].mean() == pytest.approx(drawn[1].mean(), rel=0.1)
    assert not (drawn[0] & ~regions.fill([regions.oval(small)], (128, 128))).any()


def test_unknown_words_and_empty_lists_are_refused() -> None:
    for options in ({"region_pool": ("elbow",)}, {"region_pool": ()}, {"methods": ()}, {"regions_range": (0, 3)}):
        with pytest.raises(ValidationError):
            ClassicalInpaint.model_validate(options)


def test_guided_filter_keeps_edges_and_drops_noise() -> None:
    rng = np.random.default_rng(0)
    step = np.where(np.arange(64) < 32, 0.2, 0.8).astype(np.float32)[None, :, None] * np.ones((64, 1, 3), np.float32)
    noisy = step + rng.normal(0, 0.02, step.shape).astype(np.float32)
    smooth = guided(noisy, 6, 0.1)
    assert np.abs(smooth - step)[:, :24].std() < 0.4 * 0.02
    assert smooth[:, 36].mean() - smooth[:, 27].mean() > 0.5


def test_soft_skin_is_zero_outside_and_on_features() -> None:
    face = random_face(np.random.default_rng(2), 256)
    skin = soft_skin(face, (256, 256), edge=0.2, near=0.1)
    weight = np.zeros((256, 256), np.float32)
    weight[skin.window] = skin.weight
    assert weight[~regions.fill([holes.whole_face(face)], (256, 256))].max() == 0
    assert weight[regions.union_mask(face, ["eye", "mouth"], (256, 256))].max() == 0
    assert weight.max() == 1
