import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.forgerytalker.config import DataConfig
from baselines.forgerytalker.data import Draw, Geometry, batches, normalise, open_data
from baselines.forgerytalker.data.geometry import FRAME, MEAN, STD, drawn, joined, normalised
from baselines.forgerytalker.data.loader import job_of
from tests.baselines.released import SIZE_PX, forged, painted, release

shares = st.floats(0, 1, width=32)
draws = st.builds(Draw, st.floats(0.0625, 1, width=32), shares, shares, st.booleans())
sides = st.integers(5, 40)


@given(draws, sides, sides, st.integers(3, 48), st.integers(0, 2**32 - 1))
def test_a_mask_goes_where_a_picture_painted_with_it_goes(draw, height, width, size, seed):
    mask = (np.random.default_rng(seed).random((height, width)) < 0.4).astype(np.uint8) * np.uint8(255)
    image, moved = Geometry.of(draw, height, width, size)(joined(np.repeat(mask[..., None], 3, axis=2), mask))
    assert image.shape == (size, size, 3)
    assert moved.shape == (size, size)
    assert set(np.unique(moved)) <= {0, 1}
    assert np.array_equal(image[..., 0] >= 128, moved == 1)


@given(draws, sides, sides)
def test_a_crop_lies_inside_the_frame_whatever_was_drawn(draw, height, width):
    made = Geometry.of(draw, height, width, 8)
    assert made.top >= 0 and made.top + made.height <= height and made.height >= 1
    assert made.left >= 0 and made.left + made.width <= width and made.width >= 1


@given(st.integers(0, 2**32 - 1))
def test_a_draw_stays_in_its_range_and_never_mirrors_where_that_is_off(seed):
    draw = drawn(np.random.default_rng(seed), (0.5, 0.75), flip=False)
    assert 0.5 <= draw.side <= 0.75
    assert not draw.flip


def test_half_of_the_draws_are_mirrored():
    rng = np.random.default_rng(0)
    assert 450 < sum(drawn(rng, (1, 1), flip=True).flip for _ in range(1000)) < 550


def test_the_frame_at_its_own_size_is_left_as_it_is():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 12, 4), dtype=np.uint8)
    image, mask = Geometry.whole(12, 12, 12)(pixels)
    assert np.array_equal(image, pixels[..., :3])
    assert np.array_equal(mask, pixels[..., 3] >= 128)


def test_a_pixel_that_is_half_covered_is_altered_and_one_less_than_half_is_not():
    mask = np.zeros((4, 8), np.uint8)
    mask[:2, :4] = 255  # 8 of the left 16
    mask[0, 4:] = mask[1, 4:7] = 255  # 7 of the right 16
    _, moved = Geometry.whole(4, 8, 2)(joined(np.zeros((4, 8, 3), np.uint8), mask))
    assert Geometry(0, 0, 4, 4, False, 1)(joined(np.zeros((4, 8, 3), np.uint8), mask))[1].tolist() == [[1]]
    assert Geometry(0, 4, 4, 4, False, 1)(joined(np.zeros((4, 8, 3), np.uint8), mask))[1].tolist() == [[0]]
    assert moved.shape == (2, 2)


def test_a_mask_of_another_size_is_never_joined_to_a_picture():
    with pytest.raises(ValueError, match="belongs to no picture"):
        joined(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


def test_pictures_are_normalised_as_clips():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    expected = ((image / 255 - MEAN.astype(float)) / STD.astype(float)).transpose(2, 0, 1)
    assert normalised(image).dtype == np.float32
    assert np.allclose(normalised(image), expected, atol=1e-6)
    assert np.array_equal(normalise(image, 6), normalised(image))
    assert normalise(image, 3).shape == (3, 3, 3)


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Records that each show a white square somewhere, and where: record id → (top, left, side)."""
    rng, records, places = np.random.default_rng(3), [], {}
    for seed in range(24):
        side = int(rng.integers(8, 24))
        top, left = (int(v) for v in rng.integers(0, SIZE_PX - side, 2))
        records.append(painted(seed, top, left, side))
        places[records[-1].record_id] = (top, left, side)
    return release(tmp_path_factory.mktemp("marked") / "shards", records), places


@pytest.mark.parametrize("size_px", [32, 48, 96])
@pytest.mark.parametrize("cache_px", [None, 32])
def test_a_mark_in_picture_and_mask_comes_out_of_the_loader_at_one_place_and_at_the_right_one(
    marked, size_px, cache_px
):
    root, places = marked
    config = DataConfig(size_px=size_px, crop=(0.5, 1.0), cache_px=cache_px)
    data = open_data(root, config, "train", need_reports=True, need_regions=True)
    index, seen, flips = {s.key: at for at, s in enumerate(data.samples)}, 0, 0
    for epoch in range(3):
        for batch in batches(data, batch=8, seed=5, epoch=epoch, train=True):
            white = batch.pixels_BCHW[:, 0].numpy() * STD[0] + MEAN[0] >= 127.5 / 255
            assert np.array_equal(white, batch.mask_BHW.numpy() == 1)
            for key, mask in zip(batch.keys, batch.mask_BHW.numpy(), strict=True):
                draw = job_of(data, index[key], 5, epoch).draw
                # Off by a pixel of what was read, for the crop's edges are whole, and by one of what came out.
                off = 1 + size_px / draw.side / (cache_px or SIZE_PX)
                rim = 4 * off * size_px * places[key[0]][2] / SIZE_PX / draw.side
                assert np.abs(mask - expected(places[key[0]], draw, size_px)).sum() <= rim
                seen, flips = seen + int(mask.any()), flips + draw.flip
    assert seen > 60 and 20 < flips < 52


def expected(place, draw, size_px):
    """The square drawn from its own numbers, without any array that was moved."""
    top, left, side = (v / SIZE_PX for v in place)
    centres = (np.arange(size_px) + 0.5) / size_px
    down = draw.down * (1 - draw.side) + centres * draw.side
    across = draw.across * (1 - draw.side) + (centres[::-1] if draw.flip else centres) * draw.side
    inside = ((down >= top) & (down < top + side))[:, None] & ((across >= left) & (across < left + side))[None]
    return inside.astype(np.float32)


def test_what_is_not_trained_on_is_seen_whole(tmp_path):
    root = release(tmp_path / "shards", [forged(seed) for seed in range(3)])
    data = open_data(root, DataConfig(size_px=SIZE_PX), "train", need_reports=False, need_regions=False)
    (batch,) = batches(data, batch=3, seed=0, epoch=0, train=False)
    assert data.job(0).draw == FRAME
    for at in range(3):
        assert np.array_equal(batch.pixels_BCHW[at].numpy(), normalised(data[at].image))
        assert np.array_equal(batch.mask_BHW[at].numpy(), data[at].mask)


@settings(max_examples=20)
@given(draws)
def test_the_same_draw_takes_the_same_share_of_a_smaller_copy(draw):
    large, small = Geometry.of(draw, 512, 512, 8), Geometry.of(draw, 128, 128, 8)
    for name in ("top", "left", "height", "width"):
        assert abs(getattr(large, name) / 512 - getattr(small, name) / 128) <= 1 / 128
