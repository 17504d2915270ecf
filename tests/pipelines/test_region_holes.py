"""Holes that are unions of regions: which words, how many, how large, on which side, and what a parsing adds."""

import json
from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmtt import images, regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.manipulator import Declaration
from mmtt.masks import MaskRule
from mmtt.parsing import LABELS, parsed_words
from pipelines.manipulators import holes
from pipelines.manipulators.inpaint import ClassicalInpaint
from pipelines.manipulators.region_holes import DRAWABLE, WORDS, RegionHoles
from tests.pipelines.shapes import random_face

SIZE = 256
seeds = st.integers(0, 2**32 - 1)


class Holes(RegionHoles):
    declaration: ClassVar[Declaration] = Declaration(
        "holes", "1", "classical_inpainting", MaskRule.HOLE, WORDS, "Only."
    )

    def plan(self, target, source, rng):
        return self.plan_hole(target, rng)

    def render(self, batch):
        raise NotImplementedError


class NoHair(Holes):
    declaration: ClassVar[Declaration] = Holes.declaration._replace(regions=DRAWABLE)


def face_of(seed=0, scheme="openpose_70"):
    return random_face(np.random.default_rng(seed), SIZE, scheme)


def parsed_face(seed=0):
    """A face under a band of hair, with an ear on either side, right and left of the picture's middle."""
    face, labels = face_of(seed), np.zeros((SIZE, SIZE), np.uint8)
    x = int(face.five_points[:2, 0].mean())
    labels[:30] = LABELS.index("hair")
    labels[100:140, max(x - 90, 0) : x - 70] = LABELS.index("l_ear")
    labels[100:140, x + 70 : x + 90] = LABELS.index("r_ear")
    return replace(face, parsing_png=images.encode_png(labels), parsed=parsed_words(labels))


def plans(made, face, count=40):
    return [made.plan_hole(face, np.random.default_rng(seed)) for seed in range(count)]


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 11), st.integers(1, 11), st.sampled_from(["openpose_70", "ibug_68"]))
def test_a_plan_is_json_and_keeps_to_its_options(seed, one, other, scheme):
    made, face = Holes(regions_range=(one, other), dilation_range=(0.1, 0.2)), face_of(seed, scheme)
    plan = made.plan_hole(face, np.random.default_rng(seed))
    assert json.loads(json.dumps(plan)) == plan == made.plan_hole(face, np.random.default_rng(seed))
    assert set(plan["regions"]) <= set(regions.sayable(scheme)) and len(set(plan["regions"])) == len(plan["regions"])
    assert min(one, other, 9) <= len(plan["regions"]) <= max(one, other)
    assert plan["side"] in ("both", "right", "left") and 0.1 <= plan["dilation"] <= 0.2
    assert made.hole(face, plan, (SIZE, SIZE)).any()


def test_every_count_and_every_word_comes_up():
    found = plans(Holes(), face_of(), 200)
    assert {len(plan["regions"]) for plan in found} == set(range(1, 11))
    assert {word for plan in found for word in plan["regions"]} == set(regions.sayable("openpose_70"))
    assert {plan["side"] for plan in plans(Holes(one_side_share=0), face_of())} == {"both"}
    assert {plan["side"] for plan in plans(Holes(one_side_share=1), face_of())} == {"right", "left"}


def test_a_hole_scales_with_the_face():
    made, face = Holes(), face_of(3)
    large = face.moved(np.array([[2, 0, 0.5], [0, 2, 0.5]]))
    for plan in plans(made, face, 6):
        small, twice = made.hole(face, plan, (SIZE, SIZE)), made.hole(large, plan, (2 * SIZE, 2 * SIZE))
        assert twice.mean() == pytest.approx(small.mean(), rel=0.06)


def test_learned_holes_may_cross_the_outline_and_classical_ones_may_not():
    face, plan = face_of(1), {"regions": ["jaw", "cheek"], "side": "both", "dilation": 0.15}
    outside = ~holes.inner_face(face, (SIZE, SIZE))
    free, kept = (made.hole(face, plan, (SIZE, SIZE)) for made in (Holes(), ClassicalInpaint()))
    assert (free & outside).sum() > 500
    assert not (kept & outside).any()
    assert np.array_equal(free & ~outside & kept, kept)


def test_growth_is_a_disc_of_that_radius():
    face = face_of(2)
    bare, grown = (holes.region_union(face, ["nose"], "both", by, (SIZE, SIZE)) for by in (0.0, 0.25))
    away = cv2.distanceTransform((~bare).astype(np.uint8), cv2.DIST_L2, 5)
    assert away[grown].max() == pytest.approx(0.25 * face.interocular, abs=1.5)
    assert grown[away < 0.25 * face.interocular - 1].all()


def test_no_hole_is_larger_than_allowed_unless_one_word_is():
    face = face_of(4)
    oval = regions.fill([regions.oval(face)], (SIZE, SIZE)).sum()
    for limit in (0.15, 0.5):
        made = Holes(max_share=limit, regions_range=(2, 11))
        found = [(plan, made.hole(face, plan, (SIZE, SIZE)).sum() / oval) for plan in plans(made, face)]
        assert all(share < limit + 0.05 or len(plan["regions"]) == 1 for plan, share in found)
        assert max(share for plan, share in found if len(plan["regions"]) > 1) > 0.5 * limit
        assert all(plan["side"] != "both" for plan, share in found if share > limit + 0.05)


def test_specks_between_regions_belong_to_the_hole():
    """Skin grown around the features until only specks of them are left; larger islands stay what they are."""
    face, specks = face_of(5), 0
    for growth in np.arange(0, 0.2, 0.004):
        plan = {"regions": ["skin"], "side": "both", "dilation": float(growth)}
        drawn = holes.region_union(face, ["skin"], "both", float(growth), (SIZE, SIZE))
        small = _islands(drawn) > 0 and _largest_island(drawn) < 0.0009 * SIZE**2
        specks += small
        left = _islands(Holes().hole(face, plan, (SIZE, SIZE)))
        assert left == 0 if small or not _islands(drawn) else left > 0 or _largest_island(drawn) < 0.0011 * SIZE**2
    assert specks > 0


def _islands(hole):
    return cv2.connectedComponents((~hole).astype(np.uint8), connectivity=4)[0] - 2


def _largest_island(hole):
    areas = cv2.connectedComponentsWithStats((~hole).astype(np.uint8), connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    return sorted(areas)[-2]


def test_hair_and_ears_come_up_only_where_a_face_was_parsed():
    made = Holes(region_pool=("hair", "ear", "nose"), one_side_share=0)
    assert {word for plan in plans(made, face_of()) for word in plan["regions"]} == {"nose"}
    face = parsed_face()
    assert {word for plan in plans(made, face) for word in plan["regions"]} == {"hair", "ear", "nose"}
    hole = made.hole(face, {"regions": ["hair"], "side": "both", "dilation": 0.0}, (SIZE, SIZE))
    assert hole[:30].all() and not hole[31:].any()
    with pytest.raises(Rejected, match=r"region_unavailable.*hair"):
        Holes(region_pool=("hair",)).plan_hole(face_of(), np.random.default_rng(0))


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_ear_is_the_subjects_own(side):
    face = parsed_face()
    both, one = (holes.region_union(face, ["ear"], which, 0, (SIZE, SIZE)) for which in ("both", side))
    x = np.nonzero(one)[1].mean() - face.five_points[:2, 0].mean()
    assert one.sum() > 100 and (one & both).sum() == one.sum() < both.sum()
    assert (x < 0) == (side == "right")  # the subject's right ear is on the left of the picture


def test_what_a_program_does_not_declare_is_never_planned():
    assert not {word for plan in plans(NoHair(), parsed_face()) for word in plan["regions"]} & {"hair", "ear"}
    with pytest.raises(ValidationError, match="name at least one"):
        NoHair(region_pool=("hair", "nose"))


@pytest.mark.parametrize(
    "options",
    [{"region_pool": ()}, {"region_pool": ("tooth",)}, {"regions_range": (0, 3)}, {"regions_range": (1, 12)},
     {"dilation_range": (0, 0.6)}, {"max_share": 0}, {"one_side_share": 2}],
)  # fmt: skip
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(ValidationError):
        Holes.model_validate(options)


def test_a_face_without_extent_is_rejected():
    with pytest.raises(Rejected, match="face_too_small"):
        Holes().plan_hole(Face(np.full((70, 2), 30, np.float32), "openpose_70"), np.random.default_rng(0))
