from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from mmtt import images
from mmtt.errors import MissingDependency
from mmtt.faces import Face, align
from mmtt.parsing import LABELS, WORDS, label_mask, parsed_words
from mmtt.regions import (
    PARSED_ONLY,
    REGIONS,
    TEXT_ONLY,
    edited_shares,
    fill,
    outline,
    oval,
    region_mask,
    sayable,
    sayable_of,
    union_mask,
)
from pipelines.finders.mediapipe import MediapipeFinder
from tests.factories import drawn, make_face

SIZE = 256


@pytest.fixture(scope="module")
def mesh():
    """The 478 points of a portrait in the public domain."""
    photo = np.ascontiguousarray(skimage.data.astronaut()[:300, 100:400], np.uint8)
    try:
        found = MediapipeFinder().find(photo, "astronaut")
    except MissingDependency as error:
        pytest.skip(str(error))
    return found[0].moved(align(photo, found[0], "ffhq_512", SIZE)[1])


@pytest.fixture(params=["ibug_68", "openpose_70", "mediapipe_478"])
def face(request):
    if request.param == "mediapipe_478":
        return request.getfixturevalue("mesh")
    return make_face(2, SIZE, request.param)


def centre(mask):
    return np.argwhere(mask).mean(axis=0)[::-1]


def test_the_words_are_the_papers_in_the_papers_order():
    """Index in the published 21-vector: an order that moves would relabel every report."""
    assert REGIONS == (
        "eye", "pupil", "lip", "mouth", "nose", "ear", "cheek", "forehead", "chin", "jaw", "eyebrow",
        "tooth", "tongue", "beard", "mustache", "skin", "hair", "wrinkle", "freckle", "scar", "dimple",
    )  # fmt: skip


def test_what_geometry_cannot_say_is_text_only():
    assert TEXT_ONLY == (
        "ear", "tooth", "tongue", "beard", "mustache", "hair", "wrinkle", "freckle", "scar", "dimple",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "absent"),
    [("ibug_68", {"pupil", "forehead"}), ("openpose_70", {"forehead"}), ("mediapipe_478", set())],
)
def test_each_scheme_says_all_it_has_points_for_in_order(scheme, absent):
    assert sayable(scheme) == tuple(word for word in REGIONS if word not in {*TEXT_ONLY, *absent})


def test_a_region_has_pixels_exactly_where_its_scheme_can_say_it(face):
    drawable = {word for word in REGIONS if region_mask(face, word, (SIZE, SIZE)).any()}
    assert drawable == set(sayable(face.scheme))
    assert {word for word in REGIONS if outline(face, word).covers} == drawable


def test_masks_lie_inside_the_face(face):
    hull = fill([cv2.convexHull(face.landmarks)[:, 0]], (SIZE, SIZE)).astype(np.uint8)
    reach = 2 * round(0.1 * face.interocular) + 1
    inside = cv2.dilate(hull, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    for word in sayable(face.scheme):
        drawn_mask = region_mask(face, word, (SIZE, SIZE))
        assert drawn_mask.dtype == np.bool_
        assert not (drawn_mask & ~inside).any(), word


def test_regions_lie_as_in_a_face(face):
    masks = {word: region_mask(face, word, (SIZE, SIZE)) for word in sayable(face.scheme)}
    height = {word: (centre(mask) - centre(masks["nose"])) @ face.down for word, mask in masks.items()}
    assert height["eyebrow"] < height["eye"] < height["nose"] < height["mouth"] < height["chin"]
    assert abs(height["cheek"]) < height["mouth"]
    assert height.get("forehead", -1e9) < height["eyebrow"]
    for word, mask in masks.items():
        sideways = (centre(mask) - centre(masks["nose"])) @ face.across
        assert abs(sideways) < 0.2 * face.interocular, word


def test_parts_of_parts_are_inside_them_and_neighbours_do_not_overlap(face):
    masks = {word: region_mask(face, word, (SIZE, SIZE)) for word in sayable(face.scheme)}
    assert not (masks["lip"] & ~masks["mouth"]).any()
    assert not (masks.get("pupil", masks["eye"]) & ~masks["eye"]).any()
    for other in ("eye", "eyebrow", "mouth"):
        assert not (masks["skin"] & masks[other]).any(), other
    for first, second in (("eye", "eyebrow"), ("eye", "nose"), ("nose", "mouth"), ("chin", "mouth"), ("eye", "cheek")):
        overlap = (masks[first] & masks[second]).sum() / min(masks[first].sum(), masks[second].sum())
        assert overlap < 0.1, (first, second)


def test_union_is_all_of_its_regions(face):
    both = union_mask(face, ("nose", "eye", "tooth"), (SIZE, SIZE))
    assert np.array_equal(both, region_mask(face, "nose", (SIZE, SIZE)) | region_mask(face, "eye", (SIZE, SIZE)))
    assert not union_mask(face, (), (SIZE, SIZE)).any()


def test_edited_shares_measure_how_much_of_each_region_a_mask_covers(face):
    nose = region_mask(face, "nose", (SIZE, SIZE))
    shares = edited_shares(face, nose.astype(np.uint8) * np.uint8(255))
    assert shares["nose"] == 1.0
    assert "chin" not in shares
    assert "eye" not in shares or shares["eye"] < 0.1
    half = nose.copy()
    half[: int(centre(nose)[1])] = False
    assert edited_shares(face, half.astype(np.uint8) * np.uint8(255))["nose"] == half.sum() / nose.sum()


def test_edited_shares_name_what_is_touched_and_nothing_else(face):
    whole, nothing = np.full((SIZE, SIZE), 255, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    assert edited_shares(face, whole) == dict.fromkeys(sayable(face.scheme), 1.0)
    assert list(edited_shares(face, whole)) == list(sayable(face.scheme))
    assert edited_shares(face, nothing) == {}


def test_a_drawn_persons_regions_hold_what_was_drawn_there():
    person = drawn(0)
    face = Face(person.landmarks, "openpose_70")
    brightness = person.image.mean(axis=2)

    def mean(word):
        return brightness[region_mask(face, word, brightness.shape)].mean()

    assert mean("pupil") < mean("skin")
    assert mean("pupil") < mean("eye")


@pytest.mark.parametrize("shift", [(-200, 0), (0, 230), (-1e4, 1e4), (1e9, -1e9)])
def test_faces_that_leave_the_frame_are_clipped(face, shift):
    moved = face.moved(np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]]))
    for word in sayable(face.scheme):
        assert region_mask(moved, word, (SIZE, SIZE)).shape == (SIZE, SIZE)
    if max(map(abs, shift)) > 1000:
        assert not union_mask(moved, sayable(face.scheme), (SIZE, SIZE)).any()


def test_frames_need_not_be_square(face):
    tall = region_mask(face, "nose", (SIZE, SIZE // 2 + 40))
    assert np.array_equal(tall, region_mask(face, "nose", (SIZE, SIZE))[:, : SIZE // 2 + 40])


def test_the_oval_holds_the_eyes_and_the_mouth(face):
    inside = fill([oval(face)], (SIZE, SIZE))
    for word in ("eye", "nose", "mouth"):
        mask = region_mask(face, word, (SIZE, SIZE))
        assert (mask & inside).sum() > 0.98 * mask.sum()


def parsed(face, *drop):
    """The face with a label map that differs from its polygons: everything 9 pixels lower, ears and hair besides."""
    down = face.moved(np.array([[1.0, 0, 0], [0, 1, 9]]))
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[:40, 30:-30] = LABELS.index("hair")
    labels[120:150, 8:20] = LABELS.index("l_ear")
    labels[120:150, -20:-8] = LABELS.index("r_ear")
    labels[-20:] = LABELS.index("neck")
    for word, label in (("skin", "skin"), ("nose", "nose"), ("eye", "r_eye"), ("eyebrow", "l_brow"),
                        ("mouth", "mouth"), ("lip", "l_lip")):  # fmt: skip
        labels[region_mask(down, word, (SIZE, SIZE))] = 0 if word in drop else LABELS.index(label)
    return replace(face, parsing_png=images.encode_png(labels), parsed=parsed_words(labels)), labels


def test_hair_and_ears_are_measured_where_a_map_shows_them_and_nowhere_else(face):
    assert PARSED_ONLY == ("ear", "hair")
    assert not set(PARSED_ONLY) & set(sayable_of(face))
    known, labels = parsed(face)
    assert sayable_of(known) == tuple(w for w in REGIONS if w in {*sayable(face.scheme), "ear", "hair"})
    for word in PARSED_ONLY:
        assert not region_mask(face, word, (SIZE, SIZE)).any()
        assert np.array_equal(region_mask(known, word, (SIZE, SIZE)), label_mask(labels, *WORDS[word]))
        assert region_mask(known, word, (SIZE, SIZE)).any()


def test_what_a_map_shows_is_its_pixels_and_the_rest_stays_polygons(face):
    known, labels = parsed(face)
    assert set(known.parsed) == set(WORDS)
    for word in set(sayable_of(known)) - {"pupil"}:
        expected = label_mask(labels, *WORDS[word]) if word in WORDS else region_mask(face, word, (SIZE, SIZE))
        assert np.array_equal(region_mask(known, word, (SIZE, SIZE)), expected), word
    assert not np.array_equal(region_mask(known, "nose", (SIZE, SIZE)), region_mask(face, "nose", (SIZE, SIZE)))
    both = region_mask(known, "hair", (SIZE, SIZE)) | region_mask(known, "chin", (SIZE, SIZE))
    assert np.array_equal(union_mask(known, ("hair", "chin"), (SIZE, SIZE)), both)


def test_pupils_lie_inside_the_eyes_that_the_map_shows(face):
    known, _ = parsed(face)
    pupil, eye = region_mask(known, "pupil", (SIZE, SIZE)), region_mask(known, "eye", (SIZE, SIZE))
    assert not (pupil & ~eye).any()


def test_a_word_that_the_map_does_not_show_is_drawn_from_polygons(face):
    """Eyes behind sunglasses: the face still has eyes."""
    known, _ = parsed(face, "eye")
    assert "eye" not in known.parsed
    assert np.array_equal(region_mask(known, "eye", (SIZE, SIZE)), region_mask(face, "eye", (SIZE, SIZE)))
    assert "eye" in edited_shares(known, np.full((SIZE, SIZE), 255, np.uint8))


def test_edited_shares_are_those_of_the_map_in_the_papers_order(face):
    known, labels = parsed(face)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:20] = 255
    mask[labels == LABELS.index("r_ear")] = 255
    shares = edited_shares(known, mask)
    assert shares["hair"] == (labels[:20] == LABELS.index("hair")).sum() / (labels == LABELS.index("hair")).sum()
    assert shares["ear"] == 0.5
    assert list(shares) == [word for word in REGIONS if word in shares]
    assert set(edited_shares(known, np.full((SIZE, SIZE), 255, np.uint8))) >= {*WORDS, "chin", "jaw"}


def test_a_map_says_nothing_about_a_frame_of_another_size(face):
    known, _ = parsed(face)
    with pytest.raises(ValueError, match=r"\(256, 256\).*\(128, 256\)"):
        region_mask(known, "hair", (SIZE // 2, SIZE))
    assert region_mask(known, "chin", (SIZE // 2, SIZE)).shape == (SIZE // 2, SIZE)


def test_a_moved_face_goes_back_to_its_polygons(face):
    """Its map stays behind: nothing may be read from it in the wrong place."""
    known, _ = parsed(face)
    moved = known.moved(np.array([[1.0, 0, 3], [0, 1, 4]]))
    assert sayable_of(moved) == sayable_of(known)
    assert not region_mask(moved, "hair", (SIZE, SIZE)).any()
    assert region_mask(moved, "nose", (SIZE, SIZE)).any()
    assert set(edited_shares(moved, np.full((SIZE, SIZE), 255, np.uint8))) <= set(sayable(face.scheme))


def test_words_of_a_stranger_that_no_map_outlines_are_not_measured(face):
    known, _ = parsed(face)
    lying = replace(known, parsed=("tooth", "no word at all"))
    assert not region_mask(lying, "tooth", (SIZE, SIZE)).any()
    assert set(edited_shares(lying, np.full((SIZE, SIZE), 255, np.uint8))) == set(sayable(face.scheme))
