"""Landmarks that the origin ships: both JSON forms, and every fault named with its photo."""

import json

import numpy as np
import pytest

from mmtt.errors import UserError
from pipelines.finders.sidecar import SidecarFinder, load
from tests.pipelines.shapes import MEAN_68

POINTS = (MEAN_68 * 512).round(2).tolist()
PHOTO = np.zeros((8, 8, 3), np.uint8)


def plain(**changes):
    return [{"scheme": "ibug_68", "landmarks": POINTS} | changes]


def write(root, data):
    path = root / "landmarks.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def view(path, points=POINTS):
    return {"file_path": path, "face_landmarks": points, "file_url": "https://example.org", "pixel_size": [1024, 1024]}


def test_no_sidecar_is_no_fault_and_knows_no_photo(tmp_path):
    assert load(tmp_path / "landmarks.json") == {}
    assert SidecarFinder({}).find(PHOTO, "a.png") is None
    assert SidecarFinder({"a.png": []}).find(PHOTO, "a.png") == []


def test_both_views_of_ffhq_are_read_by_their_own_path(tmp_path):
    moved = (MEAN_68 * 300 + 40).tolist()
    data = {
        "7": {
            "category": "training",
            "image": view("images1024x1024/00000/00007.png"),
            "in_the_wild": view("in-the-wild-images/00000/00007.png", moved),
            "thumbnail": {"file_path": "thumbnails128x128/00000/00007.png"},
        }
    }
    entries = load(write(tmp_path, data))
    assert set(entries) == {"images1024x1024/00000/00007.png", "in-the-wild-images/00000/00007.png"}
    (face,) = SidecarFinder(entries).find(PHOTO, "in-the-wild-images/00000/00007.png")
    assert np.allclose(face.landmarks, moved)
    assert (face.scheme, face.finder, face.score) == ("ibug_68", "sidecar", 1.0)


def test_the_plain_form_lists_faces_by_path(tmp_path):
    entries = load(write(tmp_path, {"b/a.png": plain() + plain(score=0.5)}))
    first, second = SidecarFinder(entries).find(PHOTO, "b/a.png")
    assert np.allclose(first.landmarks, POINTS)
    assert (first.score, second.score) == (1.0, 0.5)


def test_two_entries_of_one_photo_are_two_faces(tmp_path):
    entries = load(write(tmp_path, {"1": {"in_the_wild": view("a.png")}, "2": {"in_the_wild": view("a.png")}}))
    assert len(entries["a.png"]) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "is not JSON"),
        ([1], "must hold a JSON object"),
        ({"a.png": plain(landmarks=POINTS[:67])}, "'ibug_68' needs 68 finite points x y, got shape (67, 2)"),
        ({"a.png": plain(landmarks=[[*p, 0.0] for p in POINTS])}, "got shape (68, 3)"),
        ({"a.png": plain(landmarks=[[float("nan"), 1.0], *POINTS[1:]])}, "68 finite points"),
        ({"a.png": plain(landmarks=[[1e300, 1.0], *POINTS[1:]])}, "68 finite points"),
        ({"a.png": plain(landmarks=[[10**400, 1.0], *POINTS[1:]])}, "must be numbers"),
        ({"a.png": plain(landmarks=[["x", 1.0], *POINTS[1:]])}, "must be numbers"),
        ({"a.png": plain(landmarks=[[1.0], *POINTS[1:]])}, "must be numbers"),
        ({"a.png": plain(landmarks=None)}, "got shape ()"),
        ({"a.png": plain(scheme="ibug68")}, "'ibug68' is unknown. Did you mean 'ibug_68'?"),
        ({"a.png": plain(scheme=["ibug_68"])}, "is unknown"),
        ({"a.png": plain(score="high")}, "must be numbers"),
        ({"a.png": plain(score=float("nan"))}, "must lie between 0 and 1"),
        ({"a.png": plain(score=1.5)}, "must lie between 0 and 1"),
        ({"a.png": [POINTS]}, "a face needs 'scheme' and 'landmarks'"),
        ({"a.png": plain()[0]}, "neither a list of faces nor an entry of FFHQ's"),
        ({"a.png": 3}, "neither a list of faces nor an entry of FFHQ's"),
        ({"a.png": {"image": {"file_path": "a.png"}}}, "a view needs 'file_path' and 'face_landmarks'"),
        ({"a.png": {"image": view(7)}}, "a view needs 'file_path' and 'face_landmarks'"),
    ],
)
def test_a_fault_is_named_with_file_and_photo(tmp_path, data, message):
    path = write(tmp_path, data)
    with pytest.raises(UserError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert isinstance(data, str | list) or "'a.png'" in str(caught.value)
