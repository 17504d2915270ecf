import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt.parsing import LABELS, OCCLUDERS, WORDS, label_mask, parsed_words, warp
from mmtt.regions import REGIONS

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
SKIN, NOSE, MOUTH, HAIR = (LABELS.index(name) for name in ("skin", "nose", "mouth", "hair"))

# Centre x y and half axes x y of ellipses, as shares of the frame, drawn over one another: a face of one look.
FACE = (
    (HAIR, (0.5, 0.44), (0.36, 0.42)),
    (SKIN, (0.5, 0.52), (0.25, 0.36)),
    (NOSE, (0.5, 0.57), (0.055, 0.09)),
    (LABELS.index("l_eye"), (0.38, 0.46), (0.055, 0.024)),
    (LABELS.index("r_eye"), (0.62, 0.46), (0.055, 0.024)),
    (MOUTH, (0.5, 0.74), (0.11, 0.04)),
)


def similarity(degrees, scale, shift=(0.0, 0.0)):
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, shift])


def drawn_map(side, matrix, hw):
    """The face on a frame of `side` pixels as it looks after an exact map: no resampling, formulas alone."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    y, x = np.mgrid[: hw[0], : hw[1]]
    before = np.stack([x, y, np.ones(hw)], axis=-1) @ inverse[:2].T
    labels = np.zeros(hw, np.uint8)
    for number, centre, half in FACE:
        inside = ((((before + 0.5) / side - centre) / half) ** 2).sum(axis=-1) <= 1
        labels[inside] = number
    labels[((before < -0.5) | (before > side - 0.5)).any(axis=-1)] = 0
    return labels


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_the_numbers_are_those_of_the_datasets_own_table():
    """The table in `face_parsing/README.md` of switchablenorms/CelebAMask-HQ, number by number."""
    table = {0: "background", 1: "skin", 2: "nose", 3: "eye_g", 4: "l_eye", 5: "r_eye", 6: "l_brow", 7: "r_brow",
             8: "l_ear", 9: "r_ear", 10: "mouth", 11: "u_lip", 12: "l_lip", 13: "hair", 14: "hat", 15: "ear_r",
             16: "neck_l", 17: "neck", 18: "cloth"}  # fmt: skip
    assert dict(enumerate(LABELS)) == table


def test_words_are_of_the_paper_and_made_of_labels_that_nothing_else_hides():
    assert set(WORDS) == {"eye", "lip", "mouth", "nose", "ear", "eyebrow", "skin", "hair"} <= set(REGIONS)
    named = {label for labels in WORDS.values() for label in labels}
    assert named | {*OCCLUDERS, "neck", "background"} == set(LABELS)
    assert not named & {*OCCLUDERS, "neck", "background"}
    assert set(WORDS["lip"]) < set(WORDS["mouth"])
    assert set(WORDS["nose"]) < set(WORDS["skin"])


def test_a_mask_shows_exactly_the_labels_that_were_named():
    labels = np.arange(len(LABELS), dtype=np.uint8)[None]
    assert [LABELS[i] for i in np.flatnonzero(label_mask(labels, "hair", "l_ear")[0])] == ["l_ear", "hair"]
    assert not label_mask(labels).any()
    with pytest.raises(KeyError):
        label_mask(labels, "beard")


@pytest.mark.parametrize("side", [256, 512])
def test_a_word_is_parsed_from_a_handful_of_pixels_on_and_not_from_a_speck(side):
    least = side * side // 8192
    labels = np.zeros((side, side), np.uint8)
    labels.ravel()[:least] = HAIR
    labels.ravel()[least : 2 * least - 1] = LABELS.index("l_ear")
    assert parsed_words(labels) == ("hair",)
    labels.ravel()[2 * least] = LABELS.index("r_ear")  # both sides count together
    assert parsed_words(labels) == ("ear", "hair")


def test_the_nose_alone_counts_as_skin_and_the_neck_does_not():
    assert parsed_words(np.full((64, 64), NOSE, np.uint8)) == ("nose", "skin")
    assert parsed_words(np.full((64, 64), LABELS.index("neck"), np.uint8)) == ()


def test_the_identity_changes_nothing():
    labels = np.random.default_rng(0).integers(0, len(LABELS), (61, 83)).astype(np.uint8)
    assert np.array_equal(warp(labels, IDENTITY, labels.shape), labels)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_and_whole_shifts_are_exact(turns):
    labels = np.random.default_rng(turns).integers(0, len(LABELS), (40, 40)).astype(np.uint8)
    matrix = similarity(-90 * turns, 1)
    corners = np.array([[0, 0], [39, 39]]) @ matrix[:, :2].T
    matrix[:, 2] = -corners.min(axis=0)
    assert np.array_equal(warp(labels, matrix, (40, 40)), np.rot90(labels, turns))
    shifted = warp(labels, IDENTITY + [[0, 0, 5], [0, 0, -3]], (40, 40))
    assert np.array_equal(shifted[:37, 5:], labels[3:, :35])
    assert not shifted[37:].any()
    assert not shifted[:, :5].any()


@pytest.mark.parametrize(
    ("side", "matrix", "out"),
    [
        (512, similarity(0, 1, (0.5, 0.5)), 512),
        (512, similarity(0, 0.5, (-0.25, -0.25)), 256),
        (512, similarity(9, 0.5, (21.3, -14.2)), 256),
        (512, similarity(-14, 0.71, (-20.8, 60.4)), 384),
        (512, similarity(5, 0.95, (-8.2, 3.7)), 512),
        (512, similarity(3, 1.6, (-130.6, -170.1)), 640),
        (1024, similarity(7, 0.26, (20.4, 2.6)), 300),
    ],
)
def test_a_map_moves_as_the_face_does(side, matrix, out):
    """Against the same face drawn in the moved frame: no offset of half a pixel, no aliasing, no loss of thin parts."""
    moved = warp(drawn_map(side, IDENTITY, (side, side)), matrix, (out, out))
    expected = drawn_map(side, matrix, (out, out))
    for word, least in (("mouth", 0.97), ("nose", 0.97), ("skin", 0.985), ("hair", 0.985), ("eye", 0.95)):
        found, wanted = (label_mask(labels, *WORDS[word]) for labels in (moved, expected))
        assert iou(found, wanted) >= least, word
        offset = np.argwhere(found).mean(axis=0) - np.argwhere(wanted).mean(axis=0)
        assert np.abs(offset).max() < 0.2 or word in ("hair", "eye"), word


def test_shrinking_weighs_areas():
    """A grid of lines covers 7/16 of each block; reading single pixels would see all of it or nothing."""
    labels = np.full((64, 64), SKIN, np.uint8)
    labels[::4] = labels[:, ::4] = HAIR
    assert (warp(labels, similarity(0, 0.25, (-0.375, -0.375)), (16, 16)) == SKIN).all()
    labels[1::4] = HAIR  # 10/16
    assert (warp(labels, similarity(0, 0.25, (-0.375, -0.375)), (16, 16)) == HAIR).all()


def test_width_and_height_shrink_each_by_their_own_factor():
    labels = np.full((60, 64), SKIN, np.uint8)
    labels[:, ::4] = labels[:, 1::4] = labels[:, 2::4] = HAIR
    flat = warp(labels, np.array([[0.25, 0, -0.375], [0, 1, 0]]), (60, 16))
    assert (flat == HAIR).all()


def test_of_labels_that_cover_the_same_the_one_drawn_later_wins():
    labels = np.array([[SKIN, HAIR], [SKIN, HAIR]], np.uint8)
    assert warp(labels, similarity(0, 0.5, (-0.25, -0.25)), (1, 1)) == HAIR
    assert warp(labels[:, ::-1].copy(), similarity(0, 0.5, (-0.25, -0.25)), (1, 1)) == HAIR


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    degrees=st.floats(-180, 180),
    scale=st.floats(0.05, 4),
    shift=st.tuples(st.floats(-90, 90), st.floats(-90, 90)),
    hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_no_label_is_invented(seed, degrees, scale, shift, hw):
    """Between label 1 and label 18 lie all others: whatever mixes numbers would find them."""
    rng = np.random.default_rng(seed)
    used = rng.choice(np.arange(1, len(LABELS)), 3, replace=False)
    labels = used[rng.integers(0, 3, (23, 31))].astype(np.uint8)
    moved = warp(labels, similarity(degrees, scale, shift), hw)
    assert moved.shape == hw
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) <= {0, *used}
