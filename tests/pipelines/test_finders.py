"""The embedded finder, on photos that packages bundle. The group photo is searched, and never forged."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage.data

from mmtt import images
from mmtt.errors import Rejected
from mmtt.faces import Face, align, outside_share
from mmtt.recipe import IngestSection
from pipelines.finders.mediapipe import MediapipeFinder
from pipelines.ingest import find_faces

pytestmark = pytest.mark.skipif(find_spec("mediapipe") is None, reason="mediapipe is not installed")


@cache
def group_photo() -> images.Rgb:
    spec = find_spec("insightface")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("insightface is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "images" / "t1.jpg"
    return images.decode_photo(path.read_bytes())


def hopper() -> images.Rgb:
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return images.decode_photo(path.read_bytes())


def found(photo: images.Rgb) -> list[Face]:
    return MediapipeFinder().find(np.ascontiguousarray(photo), "any")


@cache
def group_faces() -> list[Face]:
    return found(group_photo())


def resized(photo: images.Rgb, width: int) -> images.Rgb:
    height = round(photo.shape[0] * width / photo.shape[1])
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("size_px", [256, 512, 1024])
def test_a_group_photo_yields_six_upright_faces(size_px):
    faces = group_faces()
    assert len(faces) == 6
    for face in faces:
        crop, matrix = align(group_photo(), face, "ffhq_512", size_px)
        right, left, nose, *mouth = face.moved(matrix).five_points
        assert crop.shape == (size_px, size_px, 3)
        # Turned heads: no similarity levels their eyes to the pixel (measured: up to 6 px of 256).
        assert abs(right[1] - left[1]) < 0.025 * size_px
        assert left[0] - right[0] > 0.13 * size_px
        assert max(right[1], left[1]) < nose[1] < min(corner[1] for corner in mouth)


def test_the_six_faces_are_six_people_from_left_to_right():
    faces = group_faces()
    centres = np.array([face.landmarks.mean(axis=0) for face in faces])
    apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) + 1e6 * np.eye(6)
    assert apart.min() > 2 * max(face.interocular for face in faces)
    assert list(centres[:, 0]) == sorted(centres[:, 0])


@pytest.mark.parametrize("width", [256, 1024])
def test_a_portrait_yields_one_face_at_any_size(width):
    for photo in (skimage.data.astronaut(), hopper()):
        small = resized(photo, width)
        (face,) = found(small)
        (reference,) = found(photo)
        scale = width / photo.shape[1]
        # Pixel centres lie at integers, hence the half pixels.
        expected = (reference.five_points + 0.5) * scale - 0.5
        assert np.abs(face.five_points - expected).max() < 0.08 * face.interocular


def test_a_mirrored_photo_gives_mirrored_landmarks():
    """A shift by the crop's corner or by half a pixel would show twice."""
    photo = np.asarray(skimage.data.astronaut())
    (face,), (mirrored,) = found(photo), found(photo[:, ::-1])
    back = mirrored.five_points[[1, 0, 2, 4, 3]]
    back[:, 0] = photo.shape[1] - 1 - back[:, 0]
    assert np.abs((back - face.five_points).mean(axis=0)).max() < 0.03 * face.interocular


def test_the_same_photo_gives_the_same_landmarks():
    first, second = found(hopper()), found(hopper())
    assert first[0].landmarks.tobytes() == second[0].landmarks.tobytes()


@pytest.mark.parametrize("hw", [(1, 1), (1, 900), (900, 1), (64, 64)])
def test_no_face_is_no_error(hw):
    assert found(np.full((*hw, 3), 127, np.uint8)) == []


def test_a_wide_photo_is_searched_to_its_end():
    photo = np.full((512, 3_500, 3), 200, np.uint8)
    photo[:, -512:] = skimage.data.astronaut()
    (face,) = found(photo)
    assert face.bbox_xyxy[0] > 3_500 - 512


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_face_cut_in_half_is_refused(side):
    """At the eyes' middle: whatever the mesh makes of the rest, it must not become a record."""
    photo = skimage.data.astronaut()
    (whole,) = found(photo)
    middle = int(whole.five_points[2][0])
    half = photo[:, :middle] if side == "left" else photo[:, middle:]
    section = IngestSection()
    try:
        faces = find_faces(np.ascontiguousarray(half), "half.png", None, section)
    except Rejected as reason:
        assert reason.code == "no_face"
    else:
        assert all(outside_share(face, half.shape[:2]) > section.max_outside_share for face in faces)


def test_the_detector_scores_faces_and_nothing_else():
    (face,) = found(hopper())
    crop, _ = align(hopper(), face, "ffhq_512", 256)
    assert MediapipeFinder().score(crop) > 0.7
    assert MediapipeFinder().score(np.zeros((256, 256, 3), np.uint8)) == 0.0
