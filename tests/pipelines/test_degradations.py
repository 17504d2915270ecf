"""Operations, chains of them, and the one resample that moves masks."""

import json
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmtt.errors import RecipeError, Rejected, UserError
from mmtt.faces import invert, transform
from mmtt.recipe import DegradeSection
from mmtt.settings import parse
from pipelines.degradations.chain import (
    OPERATIONS,
    Chain,
    Step,
    chains,
    draw,
    from_json,
    operation,
    presets,
    through,
    to_json,
)
from pipelines.degradations.codecs import Jpeg, Webp
from pipelines.degradations.geometry import (
    Crop,
    Interpolation,
    Resize,
    Rotate,
    coverage,
    unmoved,
    warp_image,
    warp_mask,
)
from pipelines.degradations.operation import Pixels
from pipelines.degradations.photometric import Blur, Colour, Gamma, Noise, Rescale, Sharpen
from tests.benchmarks.degrade import GOALS, SIZES, measure
from tests.pipelines.shapes import random_photo

EXAMPLES = (
    Jpeg(quality=60),
    Webp(quality=60),
    Resize(scale=0.7),
    Resize(side_px=90),
    Rescale(scale=0.5),
    Crop(share=0.7, x=0.1),
    Rotate(degrees=17),
    Blur(kernel_px=5),
    Sharpen(amount=1),
    Noise(sigma=9),
    Gamma(exponent=0.7),
    Colour(red=1.2, brightness=0.9),
)
SEED = "00ff" * 8


def photo(size_px=96, seed=3):
    return random_photo(np.random.default_rng(seed), size_px)


def run(image, *made):
    return through(image, [Step(one, SEED) for one in made])


def disc(centre, radius, hw):
    y, x = np.mgrid[: hw[0], : hw[1]]
    return (np.hypot(x - centre[0], y - centre[1]) <= radius).astype(np.uint8) * np.uint8(255)


def section(*chain, name="mine", **others):
    return parse(DegradeSection, {"variants": [{"name": name, "chain": list(chain)}], **others}, "recipe.yaml")


def test_every_operation_has_an_example():
    assert {made.op for made in EXAMPLES} == set(OPERATIONS)


@pytest.mark.parametrize("made", EXAMPLES, ids=lambda made: made.op)
def test_an_operation_gives_the_same_bytes_twice_and_leaves_its_input_alone(made):
    image = photo()
    before = image.copy()
    first, second = run(image, made)[0], run(image, made)[0]
    assert np.array_equal(first, second) and np.array_equal(image, before)
    assert first.dtype == np.uint8 and first.shape[2:] == (3,)
    assert first.shape != image.shape or (first != image).any()


@pytest.mark.parametrize("made", [m for m in EXAMPLES if isinstance(m, Pixels)], ids=lambda made: made.op)
def test_what_works_on_values_moves_nothing(made):
    image = photo()
    image[30:60, 30:60] = 255 - image[30:60, 30:60] // 4
    after, move = run(image, made)
    assert after.shape == image.shape and np.array_equal(move.matrix, np.eye(2, 3))
    gray = [picture.mean(axis=2).astype(np.float32) for picture in (image, after)]
    (x, y), _ = cv2.phaseCorrelate(*gray)
    assert np.hypot(x, y) < (0.6 if made.op == "rescale" else 0.3)


def test_noise_depends_on_its_seed_alone():
    image = photo()
    other = through(image, [Step(Noise(sigma=9), "01" * 16)])[0]
    np.random.default_rng(0).random()
    assert not np.array_equal(run(image, Noise(sigma=9))[0], other)


def test_noise_has_the_deviation_that_it_says():
    gray = np.full((256, 256, 3), 128, np.uint8)
    added = run(gray, Noise(sigma=10))[0].astype(float) - 128
    assert abs(added.std() - 10) < 0.1 and abs(added.mean()) < 0.1
    assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.02


def test_the_papers_rescale_and_blur_are_opencvs():
    image = photo(128)
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_NEAREST)
    down_up = cv2.resize(small, (128, 128), interpolation=cv2.INTER_NEAREST)
    paper = {chain.name: chain for chain in chains(DegradeSection(presets=("paper",)))}
    assert np.array_equal(run(image, *paper["paper_scale_075"].operations)[0], down_up)
    assert np.array_equal(run(image, *paper["paper_blur_5"].operations)[0], cv2.GaussianBlur(image, (5, 5), 0))
    both = run(image, *paper["paper_scale_075_blur_5"].operations)[0]
    assert np.array_equal(both, cv2.GaussianBlur(down_up, (5, 5), 0))
    assert len(paper) == 6


def test_a_codec_is_the_codec_it_says():
    image = photo()
    errors = {q: np.abs(run(image, Jpeg(quality=q))[0].astype(int) - image).mean() for q in (20, 60, 95)}
    assert errors[20] > errors[60] > errors[95] > 0
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, ::2, 0] = 255
    spread = {s: run(red, Jpeg(quality=95, subsampling=s))[0][..., 0].std() for s in ("4:4:4", "4:2:0")}
    assert spread["4:4:4"] > 1.5 * spread["4:2:0"]
    assert "libjpeg-turbo" in Jpeg.version() and "libwebp" in Webp.version()


def test_tones_move_as_they_say():
    gray = np.full((16, 16, 3), 64, np.uint8)
    assert run(gray, Gamma(exponent=0.5))[0][0, 0].tolist() == [128, 128, 128]
    assert run(gray, Colour(red=2.0, blue=0.5, brightness=1.5))[0][0, 0].tolist() == [192, 96, 48]
    edge = np.full((32, 32, 3), 100, np.uint8)
    edge[:, 16:] = 150
    sharp = run(edge, Sharpen(amount=1))[0]
    assert sharp[:, 15].max() < 100 and sharp[:, 16].min() > 150 and sharp[0, 0, 0] == 100


RANGES = [
    ({"op": "jpeg", "quality": [40, 43]}, "quality", {40, 41, 42, 43}),
    ({"op": "blur", "kernel_px": [3, 9]}, "kernel_px", {3, 5, 7, 9}),
    ({"op": "resize", "side_px": [200, 202]}, "side_px", {200, 201, 202}),
]


@pytest.mark.parametrize(("said", "name", "all_values"), RANGES, ids=lambda value: str(value))
def test_whole_numbers_are_drawn_from_all_of_their_range(said, name, all_values):
    made = operation(said, "here")
    rng = np.random.default_rng(0)
    assert {getattr(made.drawn(rng), name) for _ in range(200)} == all_values


def test_ranges_are_kept_and_what_is_said_is_left_alone():
    made = operation({"op": "crop", "share": [0.5, 0.75], "x": [0, 1], "y": 0.25}, "here")
    drawn = [made.drawn(np.random.default_rng(seed)) for seed in range(200)]
    shares = np.array([one.share for one in drawn])
    assert shares.min() >= 0.5 and shares.max() <= 0.75 and np.ptp(shares) > 0.2
    assert np.ptp([one.x for one in drawn]) > 0.9 and {one.y for one in drawn} == {0.25}


def test_what_is_drawn_depends_on_record_variant_place_and_seed():
    made = (Noise(sigma=(1.0, 9.0)), Noise(sigma=(1.0, 9.0)))
    first = draw(Chain("a", made), 7, "record")
    assert first == draw(Chain("a", made), 7, "record")
    others = [*first, *draw(Chain("b", made), 7, "record"), *draw(Chain("a", made), 8, "record")]
    others += draw(Chain("a", made), 7, "other")
    assert len({step.seed for step in others}) == len({step.operation.sigma for step in others}) == 8


def test_a_step_survives_json():
    for made in EXAMPLES:
        step = Step(made, SEED)
        assert from_json(to_json(step)) == step
        said = json.loads(to_json(step))
        assert said["op"] == made.op and said["library"] and said["version"] and said["seed"] == SEED
    with pytest.raises(UserError, match="cannot be read"):
        from_json('{"op": "jpeg"}')


def test_the_identity_is_exact():
    image, mask = photo(), disc((40, 50), 9, (96, 96))
    for made in (Resize(scale=1.0), Crop(share=1.0), Rotate(degrees=0.0)):
        after, move = run(image, made)
        assert np.array_equal(after, image)
        assert np.array_equal(warp_mask(mask, move), mask)


@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (-180, 2), (-90, 1)])
@pytest.mark.parametrize("hw", [(96, 96), (64, 97)])
def test_quarter_turns_are_exact(degrees, turns, hw):
    image = np.ascontiguousarray(photo(128)[: hw[0], : hw[1]])
    after, move = run(image, Rotate(degrees=degrees))
    assert np.array_equal(after, np.rot90(image, turns))
    mask = disc((30, 20), 7, hw)
    assert np.array_equal(warp_mask(mask, move), np.rot90(mask, turns))


def test_a_crop_is_a_slice():
    image = photo(100)
    assert np.array_equal(run(image, Crop(share=0.5, height_share=0.2, x=0, y=1))[0], image[80:, :50])
    assert np.array_equal(run(image, Crop(share=0.5))[0], image[25:75, 25:75])


def test_halving_is_the_mean_of_four():
    image = photo(64)
    blocks = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(run(image, Resize(scale=0.5))[0] - blocks).max() <= 0.5
    mask = disc((30.3, 33.1), 12, (64, 64))
    # A block that is half full is at least half covered; the straight lines between centres do not reach beyond it.
    assert np.array_equal(warp_mask(mask, unmoved(64, 64).then(Resize(scale=0.5).move)) > 0, _halved(mask) >= 127.5)


def _halved(mask):
    """Reference: bilinear values at points half a pixel apart, averaged over each block of two by two pixels."""
    at = (np.arange(128) + 0.5) / 2 - 0.5
    low = np.clip(np.floor(at).astype(int), 0, 63)
    high, part = np.clip(low + 1, 0, 63), at - np.floor(at)
    rows = mask[low] * (1 - part)[:, None] + mask[high] * part[:, None]
    fine = rows[:, low] * (1 - part) + rows[:, high] * part
    return fine.reshape(32, 4, 32, 4).mean(axis=(1, 3))


def test_shrinking_averages_where_careless_software_aliases():
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    for name in get_args(Interpolation):
        spread = run(stripes, Resize(scale=0.4, interpolation=name))[0][:, 4:-4].std()
        assert spread < 30 if name == "area" else spread > 40, name


@pytest.mark.parametrize("degrees", [-30, 8, 45])
def test_a_rotation_moves_a_disc_to_where_its_centre_goes(degrees):
    mask = disc((70, 40), 11, (128, 128))
    _, move = run(photo(128), Rotate(degrees=degrees))
    turn = np.deg2rad(degrees)
    away = np.array([70, 40]) - 63.5
    goal = [np.cos(turn) * away[0] - np.sin(turn) * away[1], np.sin(turn) * away[0] + np.cos(turn) * away[1]]
    goal = np.array(goal) + (np.array([move.width, move.height]) - 1) / 2
    moved = warp_mask(mask, move)
    found = np.argwhere(moved)[:, ::-1].mean(axis=0)
    assert np.abs(found - goal).max() < 0.15
    assert abs((moved > 0).sum() / (mask > 0).sum() - 1) < 0.03
    assert np.abs(transform(np.array([[70.0, 40.0]]), move.matrix)[0] - goal).max() < 1e-4


sizes = st.integers(16, 600)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.floats(-180, 180))
def test_a_rotated_frame_lies_inside_the_old_one_and_could_be_no_larger(width, height, degrees):
    move = Rotate(degrees=degrees).move(width, height)

    def beyond(extra):
        """How far the corners of the new frame, grown by some pixels on each side, reach beyond the old frame."""
        x, y = np.array([-0.5 - extra, move.width - 0.5 + extra]), np.array([-0.5 - extra, move.height - 0.5 + extra])
        corners = np.array([[a, b] for a in x for b in y])
        back = corners @ invert(move.matrix)[:, :2].T + invert(move.matrix)[:, 2]
        return max((-0.5 - back).max(), (back - [width - 0.5, height - 0.5]).max())

    assert beyond(0) < 0.01
    assert beyond(1) > 0


def ripples(x, y):
    """Waves five to seven pixels long: fine enough to suffer from a second resample."""
    return 127.5 + 60 * np.sin(0.9 * x + 0.3 * y) + 60 * np.cos(0.4 * x - 1.1 * y)


def painted(height, width, matrix=None):
    """The ripples as a picture; where they lie after a move, exactly."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    if matrix is not None:
        back = invert(matrix)
        x, y = (line[0] * x + line[1] * y + line[2] for line in back)
    return np.repeat(np.rint(ripples(x, y)).astype(np.uint8)[..., None], 3, axis=2)


MOVES = (Rotate(degrees=7), Crop(share=0.9, x=0.2), Rotate(degrees=-4), Resize(scale=1.2), Rotate(degrees=9))


def test_moves_in_a_row_are_one_resample_and_land_where_one_by_one_they_would():
    image = painted(160, 160)
    once, move = run(image, *MOVES)
    by_step = image
    for made in MOVES:
        by_step = run(by_step, made)[0]
    truth = painted(move.height, move.width, move.matrix)
    assert by_step.shape == once.shape == truth.shape
    errors = [np.abs(made.astype(float) - truth)[8:-8, 8:-8].mean() for made in (once, by_step)]
    assert errors[0] < 0.5 * errors[1] and errors[1] < 15


def test_what_stands_between_two_moves_parts_them():
    image, noise = painted(160, 160), Noise(sigma=20)
    turned, sized = Rotate(degrees=9), Resize(scale=0.8)
    parted, move = run(image, turned, noise, sized)
    by_hand = run(run(run(image, turned)[0], noise)[0], sized)[0]
    assert np.array_equal(parted, by_hand)
    assert np.allclose(move.matrix, run(image, turned, sized)[1].matrix)


def test_there_and_back_leaves_a_mask_as_it_was():
    mask = disc((40, 50), 4, (128, 128))
    image, move = run(photo(128), Resize(scale=0.5), Jpeg(quality=80), Resize(scale=2.0))
    assert image.shape == (128, 128, 3)
    assert np.array_equal(warp_mask(mask, move), mask)


def test_coverage_is_an_area():
    plane = np.zeros((64, 64), np.uint8)
    plane[:, :33] = 200
    moved = coverage(plane, unmoved(64, 64).then(Resize(scale=0.25).move))
    assert moved.dtype == np.float32 and moved.shape == (16, 16)
    assert np.allclose(moved[:, 8], 200 / 4, atol=1) and np.allclose(moved[:, :7], 200) and not moved[:, 10:].any()


def test_a_frame_too_small_or_too_large_is_rejected():
    with pytest.raises(Rejected, match="too_small: crop leaves 12×96"):
        run(photo(), Crop(share=0.125, height_share=1.0))
    with pytest.raises(Rejected, match="too_large"):
        run(photo(), *[Resize(scale=4.0)] * 4)


def test_services_that_only_shrink_do_not_enlarge():
    assert run(photo(), Resize(side_px=200, enlarge=False))[0].shape == (96, 96, 3)
    assert run(photo(), Resize(side_px=200))[0].shape == (200, 200, 3)
    assert run(photo(96)[:48], Resize(side_px=64, enlarge=False))[0].shape == (32, 64, 3)


@pytest.mark.parametrize("size", SIZES)
def test_masks_keep_their_place(size):
    found = measure(SIZES[size], draws=200)
    assert found["ours"] >= GOALS[size]
    assert found["ours"] > max(value for way, value in found.items() if way != "ours")


BAD = [
    ([{"op": "jpg", "quality": 3}], r"'mine', chain.0: 'jpg' is no operation. Did you mean 'jpeg'\?"),
    ([{"quality": 3}], "chain.0: names no `op`. Known: blur"),
    ([{"op": ["jpeg"]}], "is no operation"),
    ([{"op": "jpeg", "qualty": 60}], r"chain.0 \(jpeg\): 'qualty' is not a key here. Did you mean 'quality'\?"),
    ([{"op": "jpeg"}], "'quality' is missing"),
    ([{"op": "jpeg", "quality": 0}], "must be a whole number from 1 to 100, or a range"),
    ([{"op": "jpeg", "quality": 60.5}], "must be a whole number"),
    ([{"op": "jpeg", "quality": True}], "must be a whole number"),
    ([{"op": "jpeg", "quality": [90, 60]}], r"a range \[low, high\]"),
    ([{"op": "jpeg", "quality": [1, 2, 3]}], r"a range \[low, high\]"),
    ([{"op": "jpeg", "quality": []}], r"a range \[low, high\]"),
    ([{"op": "jpeg", "quality": 60, "subsampling": "4:2:1"}], "'subsampling' is '4:2:1'"),
    ([{"op": "blur", "kernel_px": 4}], "must be an odd number from 3 to 63"),
    ([{"op": "gamma", "exponent": float("nan")}], "must be a number"),
    ([{"op": "crop", "share": "half"}], "must be a number from 0.1 to 1"),
    ([{"op": "resize"}], "either `scale` or `side_px`"),
    ([{"op": "resize", "scale": 0.5, "side_px": 99}], "either `scale` or `side_px`"),
    ([{"op": "rotate", "degrees": 3}, {"op": "noise"}], r"chain.1 \(noise\): 'sigma' is missing"),
]


@pytest.mark.parametrize(("chain", "sentence"), BAD, ids=[sentence[:30] for _, sentence in BAD])
def test_a_bad_chain_is_a_sentence(chain, sentence):
    with pytest.raises(RecipeError, match=sentence):
        chains(section(*chain))


def test_all_faults_of_all_chains_are_told_at_once():
    bad = section({"op": "jpg"}, {"op": "jpeg"}, presets=["papre", "jpeg"])
    with pytest.raises(RecipeError) as told:
        chains(bad)
    assert len(str(told.value).splitlines()) == 3
    assert "'papre' is none. Did you mean 'paper'?" in str(told.value)


def test_a_name_is_given_once_and_never_the_masters():
    sharpen = {"op": "sharpen"}
    with pytest.raises(RecipeError, match="two variants are named 'jpeg_75'"):
        chains(section(sharpen, name="jpeg_75", presets=["jpeg"]))
    with pytest.raises(RecipeError, match="'master' is what the record itself is called"):
        chains(section(sharpen, name="master"))


def test_every_preset_is_a_chain_that_a_recipe_may_write():
    made = chains(DegradeSection(presets=tuple(presets())))
    assert {"paper", "screenshot", "social", "jpeg", "webp"} <= set(presets())
    assert len(made) == sum(len(variants) for variants in presets().values()) > 15
    for chain in made:
        steps = draw(chain, 0, "record")
        image, move = through(photo(256), steps)
        assert image.shape == (move.height, move.width, 3)


def test_a_written_png_holds_the_codecs_traces():
    """The container is lossless whatever the chain: blocks of the codec show in the pixels."""
    image = run(photo(128), Jpeg(quality=10))[0].astype(int)
    steps = np.abs(np.diff(image, axis=1)).mean(axis=(0, 2))
    at_blocks = np.arange(1, 128) % 8 == 0
    assert steps[at_blocks].mean() > 1.2 * steps[~at_blocks].mean()
    assert Image.fromarray(image.astype(np.uint8)).size == (128, 128)


def test_an_image_moves_with_its_mask():
    """A white disc and its mask end in the same place, whatever the moves."""
    mask = disc((60, 75), 13, (128, 128))
    white = np.repeat(mask[..., None], 3, axis=2)
    for moves in (MOVES, (Resize(scale=0.37),), (Crop(share=0.8, x=1), Rotate(degrees=33))):
        _, move = run(white, *moves)
        seen, moved = warp_image(white, move)[..., 0] > 127, warp_mask(mask, move) > 0
        assert (seen & moved).sum() / (seen | moved).sum() > 0.93
