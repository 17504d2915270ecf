import cv2
import numpy as np
import pytest

from mmtt import landmarks
from mmtt.errors import UserError
from mmtt.landmarks import SCHEMES, UNKNOWN
from tests.factories import make_face
from tests.support import tiny_facexlib, tiny_insightface

SCHEME_NAMES = sorted(SCHEMES.keys() - {UNKNOWN})


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
    assert all(len(set(contour)) == len(contour) >= 8 for contour in scheme.contours.values())


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


def names_of_106() -> list[str]:
    """The points' names at Face++: the 106 are numbered in their alphabetical order."""
    eye = [
        "bottom", "center", "left_corner", "lower_left_quarter", "lower_right_quarter", "pupil", "right_corner",
        "top", "upper_left_quarter", "upper_right_quarter",
    ]  # fmt: skip
    brow = ["lower_left_quarter", "lower_middle", "lower_right_quarter",
            "upper_left_quarter", "upper_middle", "upper_right_quarter"]  # fmt: skip
    lips = [f"mouth_{lip}_lip_{side}_contour{n}" for lip, most in (("upper", 4), ("lower", 3))
            for side in ("left", "right") for n in range(1, most + 1)]  # fmt: skip
    sides = [f"{side}_contour{n}" for side in ("left", "right") for n in range(1, 6)]
    return sorted([
        "contour_chin", *(f"contour_{side}{n}" for side in ("left", "right") for n in range(1, 17)),
        *(f"{side}_eye_{part}" for side in ("left", "right") for part in eye),
        *(f"{side}_eyebrow_{part}" for side in ("left", "right") for part in brow),
        *(f"left_eyebrow_{part}" for part in ("left_corner", "lower_right_corner", "upper_right_corner")),
        *(f"right_eyebrow_{part}" for part in ("right_corner", "lower_left_corner", "upper_left_corner")),
        "mouth_left_corner", "mouth_right_corner", *lips,
        *(f"mouth_{lip}_lip_{edge}" for lip in ("upper", "lower") for edge in ("top", "bottom")),
        "nose_bridge1", "nose_bridge2", "nose_bridge3", "nose_tip", "nose_middle_contour",
        *(f"nose_{side}" for side in sides),
    ])  # fmt: skip


def test_the_106_points_are_taken_by_their_names():
    names = names_of_106()
    scheme = SCHEMES["insightface_106"]
    assert len(set(names)) == len(names) == scheme.points
    at = [names[i] for i in scheme.to_68]
    assert at[:9] == [*(f"contour_left{n}" for n in range(1, 17, 2)), "contour_chin"]
    assert at[9:17] == [f"contour_right{n}" for n in range(15, 0, -2)]
    assert at[17:22] == [f"left_eyebrow_{p}" for p in (
        "left_corner", "upper_left_quarter", "upper_middle", "upper_right_quarter", "upper_right_corner")]  # fmt: skip
    assert at[22:27] == [f"right_eyebrow_{p}" for p in (
        "upper_left_corner", "upper_left_quarter", "upper_middle", "upper_right_quarter", "right_corner")]  # fmt: skip
    assert at[27:36] == ["nose_bridge1", "nose_bridge2", "nose_bridge3", "nose_tip", "nose_left_contour4",
                         "nose_left_contour5", "nose_middle_contour", "nose_right_contour5",
                         "nose_right_contour4"]  # fmt: skip
    eye = ("left_corner", "upper_left_quarter", "upper_right_quarter", "right_corner", "lower_right_quarter",
           "lower_left_quarter")  # fmt: skip
    assert at[36:48] == [f"{side}_eye_{part}" for side in ("left", "right") for part in eye]
    outer = ("left_corner", "upper_lip_left_contour2", "upper_lip_left_contour1", "upper_lip_top",
             "upper_lip_right_contour1", "upper_lip_right_contour2", "right_corner", "lower_lip_right_contour2",
             "lower_lip_right_contour3", "lower_lip_bottom", "lower_lip_left_contour3",
             "lower_lip_left_contour2")  # fmt: skip
    inner = ("upper_lip_left_contour3", "upper_lip_left_contour4", "upper_lip_bottom", "upper_lip_right_contour4",
             "upper_lip_right_contour3", "lower_lip_right_contour1", "lower_lip_top",
             "lower_lip_left_contour1")  # fmt: skip
    assert at[48:] == [f"mouth_{part}" for part in (*outer, *inner)]
    assert [names[i] for (i,) in scheme.irises] == ["left_eye_pupil", "right_eye_pupil"]


def test_the_outlines_of_the_106_points_are_made_of_their_own_parts():
    names = names_of_106()
    parts = {
        "right_eye": "left_eye_", "left_eye": "right_eye_", "right_brow": "left_eyebrow_",
        "left_brow": "right_eyebrow_", "lips_outer": "mouth_", "lips_inner": "mouth_", "nose": "nose_",
    }  # fmt: skip
    contours = SCHEMES["insightface_106"].contours
    assert {n for n, c in contours.items() if not all(names[i].startswith(parts[n]) for i in c)} == set()
    assert len(contours["right_brow"]) == len(contours["left_brow"]) == 9
    assert {len(contours["right_eye"]), len(contours["left_eye"])} == {8}
    assert sorted(contours["lips_outer"] + contours["lips_inner"]) == list(range(52, 72))


@pytest.mark.parametrize("name", ["insightface_106", "wflw_98"])
def test_outlines_run_round_their_part_without_crossing_themselves(name):
    """On an average face: a wrong order makes a polygon that overlaps itself, and so encloses less than its hull."""
    face = {"insightface_106": tiny_insightface.points_106, "wflw_98": tiny_facexlib.points_98}[name]()
    face = face.astype(np.float64) / np.ptp(face[:, 0])
    for part in SCHEMES[name].contours:
        points = landmarks.contour(face, name, part)
        assert cv2.contourArea(points) > 0.6 * cv2.contourArea(cv2.convexHull(points)), part


@pytest.mark.parametrize("name", ["insightface_106", "wflw_98"])
def test_the_subjects_right_is_on_the_pictures_left(name):
    face = {"insightface_106": tiny_insightface.points_106, "wflw_98": tiny_facexlib.points_98}[name]()
    right, left, nose, *mouth = landmarks.five_points(face, name)
    assert right[0] < nose[0] < left[0]
    assert mouth[0][0] < nose[0] < mouth[1][0]
    assert max(right[1], left[1]) < nose[1] < min(mouth[0][1], mouth[1][1])
    for iris, eye, part in zip(landmarks.irises(face, name), (right, left), ("right_eye", "left_eye"), strict=True):
        outline = landmarks.contour(face, name, part)
        assert outline is not None
        assert (outline.min(axis=0) < iris[0]).all()
        assert (iris[0] < outline.max(axis=0)).all()
        assert np.hypot(*(iris[0] - eye)) < 0.1 * landmarks.interocular(face, name)


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
