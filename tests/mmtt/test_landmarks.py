import numpy as np
import pytest

from mmtt import landmarks
from mmtt.errors import UserError
from mmtt.landmarks import SCHEMES
from tests.factories import make_face

SCHEME_NAMES = sorted(SCHEMES)


@pytest.mark.parametrize("name", SCHEME_NAMES)
def test_every_number_of_a_scheme_names_one_of_its_points(name):
    scheme = SCHEMES[name]
    numbers = [
        *scheme.to_68,
        *(i for c in scheme.contours.values() for i in c),
        *(i for iris in scheme.irises for i in iris),
    ]
    assert scheme.name == name
    assert len(set(scheme.to_68)) == len(scheme.to_68) == 68
    assert 0 <= min(numbers) <= max(numbers) < scheme.points
    assert all(len(set(contour)) == len(contour) >= 10 for contour in scheme.contours.values())


def test_the_meshs_contours_hold_the_68_points_they_refine():
    scheme = SCHEMES["mediapipe_478"]
    at = np.array(scheme.to_68)
    refined = {
        "right_eye": landmarks.RIGHT_EYE,
        "left_eye": landmarks.LEFT_EYE,
        "right_brow": landmarks.RIGHT_BROW,
        "left_brow": landmarks.LEFT_BROW,
        "lips_outer": landmarks.LIPS_OUTER,
        "lips_inner": landmarks.LIPS_INNER,
        "oval": slice(1, 16),
    }
    for name, part in refined.items():
        held = set(at[part].tolist()) & set(scheme.contours[name])
        assert len(held) >= 0.5 * len(at[part]), name


def test_the_slices_cover_the_68_points_once():
    parts = (
        landmarks.JAW, landmarks.RIGHT_BROW, landmarks.LEFT_BROW, landmarks.NOSE_BRIDGE, landmarks.NOSE_BASE,
        landmarks.RIGHT_EYE, landmarks.LEFT_EYE, landmarks.LIPS_OUTER, landmarks.LIPS_INNER,
    )  # fmt: skip
    assert [i for part in parts for i in range(68)[part]] == list(range(68))


def test_five_points_are_eye_centres_nose_tip_and_mouth_corners():
    points = make_face(0, 200, "ibug_68").landmarks
    five = landmarks.five_points(points, "ibug_68")
    assert five.dtype == np.float32
    assert np.allclose(five[:2], [points[36:42].mean(axis=0), points[42:48].mean(axis=0)])
    assert np.array_equal(five[2:], points[[30, 48, 54]])
    assert landmarks.interocular(points, "ibug_68") == pytest.approx(np.linalg.norm(five[1] - five[0]), rel=1e-6)


def test_irises_have_the_measured_radius_or_that_of_an_adult():
    points = make_face(0, 200).landmarks
    assert landmarks.irises(points, "ibug_68") == []
    centres = [centre for centre, _ in landmarks.irises(points, "openpose_70")]
    radii = [radius for _, radius in landmarks.irises(points, "openpose_70")]
    assert np.array_equal(centres, points[68:70])
    assert radii == pytest.approx([0.095 * landmarks.interocular(points, "openpose_70")] * 2)
    mesh = np.zeros((478, 2), np.float32)
    mesh[469:473] = [[3, 0], [0, 3], [-3, 0], [0, -3]]
    assert landmarks.irises(mesh, "mediapipe_478")[0][1] == pytest.approx(3)


def test_an_unknown_scheme_is_refused_with_the_nearest_one():
    with pytest.raises(UserError, match=r"'ibug68' is unknown. Did you mean 'ibug_68'"):
        landmarks.points_68(np.zeros((68, 2), np.float32), "ibug68")
