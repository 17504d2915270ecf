import cv2
import numpy as np
import pytest
import skimage.data

from mmtt.errors import MissingDependency
from mmtt.faces import Face, align
from mmtt.regions import REGIONS, TEXT_ONLY, edited_shares, fill, outline, oval, region_mask, sayable, union_mask
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
