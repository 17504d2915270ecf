import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from mmtt.errors import Rejected
from mmtt.faces import TEMPLATES, Face, align, invert, outside_share, similarity, transform
from tests.factories import drawn, make_face

quick = settings(max_examples=60, deadline=None)


def photo_face(size_px, scale, turn=0.0, shift=(0.0, 0.0)):
    """A face whose five points lie on the template after a similarity: scale, turn (radians), shift in pixels."""
    face = make_face(0, size_px)
    goal = TEMPLATES["ffhq_512"] * size_px - 0.5
    onto = similarity(face.five_points, goal)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = transform(transform(face.landmarks, onto), np.column_stack([linear, shift]))
    return Face(points, face.scheme)


def smooth(height, width):
    """Waves long enough to survive a reduction, steep enough that rounding to 8 bits does not hide a shift."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([wave(x, y, phase) for phase in (0.0, 1.0, 2.0)], axis=2).round().astype(np.uint8)


def wave(x, y, phase):
    return 128 + 60 * np.sin(x / 9 + phase) + 50 * np.cos(y / 11 - phase)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(2, 70), st.floats(0, 5))
def test_similarity_agrees_with_umeyama_in_skimage(seed, count, noise):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 50, (count, 2)) + rng.normal(0, 200, 2)
    turn, scale = rng.uniform(-3, 3), rng.uniform(0.1, 9)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = scale * source @ rotation.T + rng.normal(0, 300, 2) + rng.normal(0, noise, (count, 2))
    expected = SimilarityTransform.from_estimate(source, target)
    assert np.allclose(similarity(source, target), expected.params[:2], atol=1e-6)


def test_similarity_never_mirrors_and_never_shears():
    points = np.random.default_rng(0).normal(0, 1, (9, 2))
    linear = similarity(points, points * [-1, 1])[:, :2]
    assert np.linalg.det(linear) >= 0
    assert linear[0, 0] == pytest.approx(linear[1, 1])
    assert linear[0, 1] == pytest.approx(-linear[1, 0])


@quick
@given(st.integers(0, 2**32 - 1))
def test_transform_and_invert_are_a_round_trip(seed):
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([rng.normal(0, 1, (2, 2)) + 2 * np.eye(2), rng.normal(0, 100, 2)])
    if abs(np.linalg.det(matrix[:, :2])) < 0.1:
        return
    points = rng.uniform(0, 500, (20, 2))
    assert np.allclose(transform(transform(points, matrix), invert(matrix)), points, atol=0.05)
    assert transform(points, matrix).dtype == np.float32


def test_five_points_are_the_subjects_right_eye_left_eye_nose_and_mouth_corners():
    right_eye, left_eye, nose, right_corner, left_corner = make_face(3, 256).five_points
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_corner[0] < nose[0] < left_corner[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])


def test_axes_of_a_face_turn_with_it():
    upright, lying = photo_face(256, 1.0), photo_face(256, 1.0, turn=np.pi / 2)
    assert np.allclose(upright.across, [1, 0], atol=0.05)
    assert np.allclose(upright.down, [0, 1], atol=0.05)
    assert np.allclose(lying.across, [0, 1], atol=0.05)
    assert np.allclose(lying.down, [-1, 0], atol=0.05)
    assert lying.interocular == pytest.approx(upright.interocular, rel=1e-4)


def test_moved_moves_the_landmarks_and_nothing_else():
    face = make_face(0, 128)
    matrix = np.array([[2.0, 0, 5], [0, 2, 7]])
    moved = face.moved(matrix)
    assert np.allclose(moved.landmarks, face.landmarks * 2 + [5, 7])
    assert (moved.scheme, moved.finder, moved.score) == (face.scheme, face.finder, face.score)
    assert moved.interocular == pytest.approx(2 * face.interocular, rel=1e-5)


@pytest.mark.parametrize(("template", "size_px"), [("ffhq_512", 256), ("ffhq_512", 512), ("arcface_112", 112)])
def test_align_puts_the_five_points_of_a_person_onto_the_template(template, size_px):
    person = drawn(0)
    face = Face(person.landmarks, "openpose_70")
    crop, matrix = align(person.image, face, template, size_px)
    off = face.moved(matrix).five_points - (TEMPLATES[template] * size_px - 0.5)
    assert crop.shape == (size_px, size_px, 3)
    assert crop.dtype == np.uint8
    assert np.hypot(*off.T).mean() < 0.04 * size_px


@pytest.mark.parametrize("scale", [0.7, 1.03, 1.7, 2.3, 4.1, 5.5])
@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_align_shows_each_photo_pixel_where_its_matrix_says(scale, turn):
    """A shift of half a pixel, the classic fault of reducing before warping, would be seen here."""
    face = photo_face(128, scale, turn, (300.3, 150.7))
    crop, matrix = align(smooth(1100, 1000), face, "ffhq_512", 128)
    y, x = np.mgrid[:128, :128]
    at = transform(np.stack([x.ravel(), y.ravel()], axis=1), invert(matrix)).astype(np.float64)
    inside = (at.min(axis=1) >= 8) & (at[:, 0] < 990) & (at[:, 1] < 1090)
    assert inside.sum() > 5000
    off = crop[..., 0].ravel()[inside] - wave(at[inside, 0], at[inside, 1], 0.0)
    assert np.abs(off).max() < 8
    right, below = (wave(at[inside, 0] + dx, at[inside, 1] + dy, 0.0) for dx, dy in ((1, 0), (0, 1)))
    here = wave(at[inside, 0], at[inside, 1], 0.0)
    slopes = np.stack([right - here, below - here, here - 128, np.ones_like(here)], axis=1)
    shift = np.linalg.lstsq(slopes, off, rcond=None)[0][:2]
    assert np.abs(shift).max() / scale < 0.04  # OpenCV warps on a grid of 1/32 of a pixel


@pytest.mark.parametrize("offset", [(0, 0), (3, 1), (2, 2)])
def test_a_point_of_light_stays_at_its_place_at_scale_4(offset):
    """Its centre of mass, within a tenth of a crop pixel; a shift of half a photo's pixels would be four times that."""
    photo = np.zeros((800, 800, 3), np.uint8)
    x, y = 400 + offset[0], 420 + offset[1]
    photo[y - 3 : y + 4, x - 3 : x + 4] = 255
    crop, matrix = align(photo, photo_face(128, 4.0, shift=(130, 140)), "ffhq_512", 128)
    weight = crop[..., 0].astype(np.float64)
    rows, cols = np.mgrid[:128, :128]
    centre = np.array([(weight * cols).sum(), (weight * rows).sum()]) / weight.sum()
    assert np.abs(centre - transform(np.array([[x, y]]), matrix)[0]).max() < 0.1


@pytest.mark.parametrize("scale", [2.0, 3.4])
def test_what_is_cut_out_before_reducing_does_not_show_in_the_crop(scale):
    """The window must reach as far as the filter does; here it is compared with the whole photo, reduced."""
    photo = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    face = photo_face(128, scale, shift=(200.4, 220.6))
    crop, matrix = align(photo, face, "ffhq_512", 128)
    factor = int(scale + 1e-9)
    whole = cv2.resize(photo, (900 // factor, 900 // factor), interpolation=cv2.INTER_AREA)
    back = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    expected = cv2.warpAffine(whole, matrix @ back, (128, 128), flags=cv2.INTER_CUBIC)
    assert np.abs(crop.astype(int) - expected).max() <= 1


def test_reducing_first_keeps_a_fine_pattern_from_aliasing():
    checks = np.indices((1000, 1000)).sum(axis=0) % 2 * 255
    photo = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    crop, _ = align(photo, photo_face(128, 4.3, shift=(200, 200)), "ffhq_512", 128)
    assert crop.std() < 3


def test_beyond_the_photos_edge_the_picture_is_mirrored():
    face = photo_face(128, 1.0, shift=(-40.0, 0.0))
    crop, _ = align(smooth(128, 128), face, "ffhq_512", 128)
    assert np.abs(crop[:, 39].astype(int) - crop[:, 41]).max() <= 1
    assert np.abs(crop[:, 20].astype(int) - crop[:, 60]).max() <= 1


@pytest.mark.parametrize("shift", [(-5000.0, -5000.0), (5000.0, 5000.0), (-5000.0, 300.0)])
@pytest.mark.parametrize("scale", [0.5, 4.0, 60.0])
def test_a_face_far_outside_its_photo_crashes_nothing(shift, scale):
    crop, _ = align(smooth(60, 90), photo_face(128, scale, shift=shift), "ffhq_512", 128)
    assert crop.shape == (128, 128, 3)


@pytest.mark.parametrize("photo", [smooth(1, 1), smooth(1, 300), smooth(300, 2)])
def test_a_photo_a_pixel_wide_crashes_nothing(photo):
    for scale in (0.2, 1.0, 7.0):
        assert align(photo, photo_face(64, scale), "ffhq_512", 64)[0].shape == (64, 64, 3)


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_landmarks_that_span_no_face_are_refused(value):
    face = Face(np.full((68, 2), value, np.float32), "ibug_68")
    with np.errstate(invalid="ignore"), pytest.raises(Rejected) as caught:
        align(smooth(64, 64), face, "ffhq_512", 64)
    assert caught.value.code == "face_too_small"


def test_outside_share_counts_points_beyond_the_frame():
    points = np.array([[0, 0], [19, 9], [19.5, 5], [-1, 5]], np.float32)
    assert outside_share(Face(points, "ibug_68"), (10, 20)) == 0.5
    assert outside_share(make_face(0, 64), (64, 64)) == 0
