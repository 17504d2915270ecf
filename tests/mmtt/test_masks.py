import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mmtt.errors import Rejected
from mmtt.manipulator import Edit, finish
from mmtt.masks import MaskRule, change_map, composite, derive_mask, fill_pinholes, quantise_alpha
from tests.factories import make_edit, within_hole

quick = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def random_edit(seed, hw):
    rng = np.random.default_rng(seed)
    target, edited = (rng.integers(0, 256, (*hw, 3), np.uint8) for _ in range(2))
    alpha = rng.integers(0, 256, hw, np.uint8)
    alpha[rng.random(hw) < 0.4] = 0
    alpha[rng.random(hw) < 0.3] = 255
    return target, edited, alpha


@quick
@given(SEEDS, SIZES)
def test_composite_keeps_the_target_at_alpha_0_and_the_edit_at_255_bit_for_bit(seed, hw):
    target, edited, alpha = random_edit(seed, hw)
    before = target.copy()
    result = composite(target, edited, alpha)
    assert np.array_equal(result[alpha == 0], target[alpha == 0])
    assert np.array_equal(result[alpha == 255], edited[alpha == 255])
    assert np.array_equal(target, before)


@quick
@given(SEEDS, SIZES)
def test_composite_is_the_weighted_mean_rounded_to_the_nearest(seed, hw):
    target, edited, alpha = random_edit(seed, hw)
    share = alpha[..., None] / 255
    exact = share * edited + (1 - share) * target
    assert np.abs(composite(target, edited, alpha) - exact).max() <= 0.5 + 1e-9


def test_composite_without_any_alpha_is_the_target():
    target, edited, alpha = random_edit(0, (5, 7))
    assert np.array_equal(composite(target, edited, np.zeros_like(alpha)), target)


@quick
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1, 2, width=32)))
def test_quantised_alpha_is_0_only_where_alpha_is_0(alpha):
    levels = quantise_alpha(alpha)
    clipped = np.clip(alpha.astype(np.float64), 0, 1)
    assert np.array_equal(levels == 0, clipped == 0)
    assert np.array_equal(levels[clipped == 1], np.full((clipped == 1).sum(), 255))
    assert ((levels / 255 - clipped >= -1e-6) & (levels / 255 - clipped <= 1 / 255 + 1e-6)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_faintest_touch_still_counts(dtype):
    faintest = np.full((2, 2), np.finfo(dtype).tiny, dtype)
    assert (quantise_alpha(faintest) == 1).all()


@quick
@given(SEEDS, SIZES)
def test_change_is_the_largest_channel_difference(seed, hw):
    target, edited, _ = random_edit(seed, hw)
    expected = np.abs(target.astype(int) - edited.astype(int)).max(axis=2)
    assert np.array_equal(change_map(target, edited), expected)


@quick
@given(SEEDS, SIZES, st.integers(0, 254))
def test_blend_masks_pixels_of_half_alpha_whose_change_is_above_tau(seed, hw, tau):
    target, edited, alpha = random_edit(seed, hw)
    change = change_map(target, composite(target, edited, alpha))
    mask = derive_mask(MaskRule.BLEND, alpha, change, tau=tau)
    expected = (2 * alpha.astype(int) >= max(int(alpha.max()), 1)) & (change > tau)
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask[expected] == 255).all()
    filled = (mask > 0) & ~expected
    assert (alpha[filled] > 0).all()
    assert filled.sum() == 0 or mask.size > 1000


def test_half_is_counted_from_the_highest_alpha_of_the_edit():
    alpha = np.array([[0, 19, 20, 40]], np.uint8)
    mask = derive_mask(MaskRule.BLEND, alpha, np.full_like(alpha, 9))
    assert mask.tolist() == [[0, 0, 255, 255]]


def test_an_edit_that_was_never_blended_has_no_mask():
    nothing = np.zeros((4, 4), np.uint8)
    assert not derive_mask(MaskRule.BLEND, nothing, np.full_like(nothing, 200)).any()


@pytest.mark.parametrize("rule", [MaskRule.SUPPORT, MaskRule.HOLE])
def test_support_and_hole_masks_are_the_declared_pixels_within_alpha(rule):
    rng = np.random.default_rng(0)
    support, alpha = rng.random((20, 20)) < 0.5, rng.integers(0, 2, (20, 20), np.uint8) * 255
    mask = derive_mask(rule, alpha.astype(np.uint8), np.zeros((20, 20), np.uint8), tau=254, support=support)
    assert np.array_equal(mask == 255, support & (alpha > 0))
    with pytest.raises(ValueError, match="support"):
        derive_mask(rule, alpha, alpha)


@pytest.mark.parametrize("rule", [MaskRule.NONE, MaskRule.IMPORTED])
def test_no_mask_is_invented_for_what_was_not_composited(rule):
    with pytest.raises(ValueError, match="no mask follows"):
        derive_mask(rule, np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8))


def square_with_hole(side_px, hole_px, frame=100):
    """A 100×100 frame: 0.1 % of it are 10 pixels."""
    mask = np.zeros((frame, frame), np.uint8)
    mask[30 : 30 + side_px, 30 : 30 + side_px] = 255
    mask[40, 40 : 40 + hole_px] = 0
    return mask


@pytest.mark.parametrize(("hole_px", "filled"), [(1, True), (9, True), (10, False), (30, False)])
def test_only_holes_below_a_thousandth_of_the_frame_are_filled(hole_px, filled):
    mask = square_with_hole(50, hole_px)
    result = fill_pinholes(mask, inside=np.ones((100, 100), np.bool_))
    assert (result[40, 40 : 40 + hole_px] == 255).all() == filled
    assert np.array_equal(np.delete(result, 40, axis=0), np.delete(mask, 40, axis=0))


def test_a_hole_is_not_filled_where_nothing_was_blended():
    mask, inside = square_with_hole(50, 4), np.ones((100, 100), np.bool_)
    inside[40, 42:] = False
    assert fill_pinholes(mask, inside)[40, 40:44].tolist() == [255, 255, 0, 0]


@pytest.mark.parametrize("place", [(30, 40), (79, 40), (40, 30), (40, 79)])
def test_a_notch_that_is_open_to_the_outside_is_no_hole(place):
    mask = square_with_hole(50, 0)
    mask[place] = 0
    assert np.array_equal(fill_pinholes(mask, np.ones_like(mask, np.bool_)), mask)


def test_a_hole_at_the_frames_edge_and_everything_around_the_mask_stay():
    mask = np.full((100, 100), 255, np.uint8)
    mask[0, 5] = mask[99, 99] = 0
    assert np.array_equal(fill_pinholes(mask, np.ones_like(mask, np.bool_)), mask)


def test_the_gap_between_two_dots_is_no_hole_however_large_the_frame():
    dots = np.zeros((300, 300), np.uint8)
    dots[10, 10] = dots[10, 13] = 255
    assert np.array_equal(fill_pinholes(dots, np.ones_like(dots, np.bool_)), dots)


def test_a_hole_is_closed_by_pixels_that_touch_at_their_corners():
    diamond = np.zeros((50, 50), np.uint8)
    diamond[[9, 10, 10, 11], [10, 9, 11, 10]] = 255
    assert fill_pinholes(diamond, np.ones_like(diamond, np.bool_))[10, 10] == 255


@quick
@given(SEEDS, st.floats(0, 1))
def test_filling_adds_only_and_a_second_time_nothing(seed, density):
    rng = np.random.default_rng(seed)
    mask = (rng.random((70, 60)) < density).astype(np.uint8) * np.uint8(255)
    inside = rng.random(mask.shape) < 0.8
    before = mask.copy()
    once = fill_pinholes(mask, inside)
    assert np.array_equal(mask, before)
    assert (once[mask > 0] == 255).all()
    assert inside[(once > 0) & (mask == 0)].all()


@pytest.mark.parametrize("rule", [MaskRule.BLEND, MaskRule.SUPPORT, MaskRule.HOLE])
def test_finish_gives_a_mask_inside_alpha_and_changes_nothing_outside(rule):
    target, edit = make_edit(1, 96)
    forged = finish(target, within_hole(edit) if rule is MaskRule.HOLE else edit, rule, 0)
    assert np.array_equal(forged.image[forged.alpha == 0], target[forged.alpha == 0])
    assert np.array_equal(forged.change, change_map(target, forged.image))
    assert (forged.alpha[forged.mask > 0] > 0).all()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"image": np.zeros((64, 63, 3), np.uint8)}, "bad_edit"),
        ({"image": np.zeros((64, 64, 3), np.float32)}, "bad_edit"),
        ({"alpha": np.zeros((64, 64), np.float64)}, "bad_edit"),
        ({"alpha": np.zeros((64, 64, 1), np.float32)}, "bad_edit"),
        ({"alpha": np.full((64, 64), np.nan, np.float32)}, "bad_edit"),
        ({"support": np.zeros((64, 64), np.uint8)}, "bad_edit"),
        ({"alpha": np.zeros((64, 64), np.float32)}, "empty_mask"),
        ({"image": make_edit(0, 64)[0]}, "empty_mask"),
        ({"support": np.zeros((64, 64), np.bool_)}, "empty_mask"),
        ({"support": None}, "bad_edit"),
        ({"raw": np.zeros((0, 64, 3), np.uint8)}, "bad_edit"),
        ({"raw": np.zeros((0, 0, 3), np.uint8)}, "bad_edit"),
    ],
)
def test_finish_refuses_an_edit_that_breaks_the_contract_or_does_nothing(changed, code):
    target, edit = make_edit(0, 64)
    with pytest.raises(Rejected) as caught:
        finish(target, Edit(**{**edit._asdict(), **changed}), MaskRule.SUPPORT, 0)
    assert caught.value.code == code


def refused(edit, rule, target):
    with pytest.raises(Rejected) as caught:
        finish(target, edit, rule, 0)
    return str(caught.value)


def test_nothing_may_change_outside_a_hole_and_a_warp_may_reach_beyond_its_support():
    target, edit = make_edit(0, 64)
    kept = within_hole(edit)
    forged = finish(target, kept, MaskRule.HOLE, 0)
    assert not forged.change[forged.mask == 0].any()
    astray = kept.alpha.copy()
    astray[tuple(np.argwhere(~edit.support)[0])] = 1e-6
    assert "alpha is above 0 outside the hole" in refused(kept._replace(alpha=astray), MaskRule.HOLE, target)
    assert finish(target, edit, MaskRule.SUPPORT, 0).change[~edit.support].any()


@pytest.mark.parametrize(
    ("rule", "name"),
    [(MaskRule.HOLE, "support"), (MaskRule.SUPPORT, "support"), (MaskRule.NULL_EDIT, "null"),
     (MaskRule.NULL_EDIT, "intent")],
)  # fmt: skip
def test_an_edit_without_what_its_rule_needs_is_refused(rule, name):
    target, edit = make_edit(0, 64)
    whole = within_hole(edit)._replace(null=target, intent=edit.support)
    finish(target, whole, rule, 0)
    assert refused(whole._replace(**{name: None}), rule, target).startswith("bad_edit")
    assert f"must return its `{name}`" in refused(whole._replace(**{name: None}), rule, target)
