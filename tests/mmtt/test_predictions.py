"""Predictions are read strictly: what is wrong with one is told, and is a fault of it alone."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from mmtt.errors import UserError
from mmtt.images import encode_png
from mmtt.metrics.predictions import Prediction, image_id_of, key_of, read_predictions

ALTERED = encode_png(np.full((3, 4), 200, np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Writes lines (objects, or text as it is) and a mask `masks/a.png`; returns the folder."""

    def write(*lines):
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / "masks" / "a.png").write_bytes(ALTERED)
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(texts) + b"\n")
        return tmp_path

    return write


def faults_of(found):
    return [(fault.kind, fault.where) for fault in found.faults]


def test_our_own_layout_is_read_whole(folder):
    line = {"image_id": "a", "caption": "The nose is blurred.", "regions": {"nose": 0.9, "eye": 0}, "verdict": 1}
    found = read_predictions(folder(line | {"mask_path": "masks/a.png"}, {"image_id": "a@mild"}))
    assert sorted(found) == [("a", "master"), ("a", "mild")]
    assert (found["a", "master"].mask == 200).all()
    assert found["a", "master"].report == "The nose is blurred."
    assert found["a", "master"].regions == {"nose": 0.9, "eye": 0.0}
    assert found["a", "master"].verdict == 1.0
    assert found["a", "mild"] == Prediction()
    assert (found.faults, found.promised) == ([], {"mask", "report", "regions", "verdict"})


def test_ids_of_variants_go_both_ways():
    assert all(image_id_of(key_of(text)) == text for text in ("ab12", "ab12@mild"))


def test_other_models_may_list_region_words_and_call_their_text_a_report(folder):
    found = read_predictions(folder({"image_id": "a", "report": "x", "regions": ["nose"]}))
    assert found["a", "master"] == Prediction(None, "x", {"nose": 1.0}, None)
    assert found.promised == {"report", "regions"}


@pytest.mark.parametrize(
    ("img_path", "file"),
    [
        ("dataset/celeb/1.jpg", "dataset/celeb/1.png"),
        ("dataset/celeb/1.JPG", "dataset/celeb/1.png"),
        ("dataset/a.jpg.d/x.jpg.v2.jpeg", "dataset/a.jpg.d/x.jpg.v2.png"),
        ("no_suffix", "no_suffix.png"),
    ],
)
def test_the_authors_masks_lie_at_the_images_path_with_another_suffix(tmp_path, img_path, file):
    place = tmp_path / "masks_of_theirs" / file
    place.parent.mkdir(parents=True)
    place.write_bytes(ALTERED)
    (tmp_path / "pred.jsonl").write_text(json.dumps({"image_id": "a", "img_path": img_path, "caption": "x"}))
    found = read_predictions(tmp_path / "pred.jsonl", tmp_path / "masks_of_theirs")
    assert (found["a", "master"].mask == 200).all()
    assert "mask" not in read_predictions(tmp_path / "pred.jsonl").promised


def test_one_mask_file_for_two_ids_belongs_to_neither(folder):
    root = folder({"image_id": "a", "img_path": "a.jpg"}, {"image_id": "b", "img_path": "a.jpeg"})
    found = read_predictions(root)
    assert [found[key].mask for key in found] == [None, None]
    assert sorted(faults_of(found)) == [("unreadable", "a"), ("unreadable", "b")]
    assert found.promised == {"mask"}


def test_a_doubled_id_is_no_answer_but_its_last_line_can_be_asked_for(folder):
    found = read_predictions(folder(*({"image_id": "a", "caption": text} for text in "xyz"), {"image_id": "b"}))
    assert list(found) == [("b", "master")]
    assert ("a", "master") not in found
    assert found.get(("a", "master")) is None
    assert found.last(("a", "master")).report == "z"
    assert faults_of(found) == [("doubled", "a")]


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"[]", b"7", b"null", b"\xff\xfe{}", b'{"caption": "x"}', b'{"image_id": 7}', b'{"image_id": ""}',
        b'{"image_id": "\\ud800"}', b"[" * 100_000, b'{"image_id": ' + b"9" * 5000 + b"}",
        b'{"image_id": "b", "image_id": "c"}', b'{"image_id": "b", "regions": {"nose": 0, "nose": 1}}',
        b'{"image_id": "b", "caption": "' + b"x" * 3_000_000 + b'"}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_answer_is_told_by_its_number(folder, line):
    found = read_predictions(folder({"image_id": "a"}, line, {"image_id": "z"}))
    assert list(found) == [("a", "master"), ("z", "master")]
    assert faults_of(found) == [("unreadable", "line 2")]
    assert len(found.faults[0].what) <= 200


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("report", {"caption": 7}),
        ("report", {"caption": "x", "report": "y"}),
        ("report", {"caption": "\ud800"}),
        ("report", {"caption": "x" * 20_001}),
        ("regions", {"regions": "nose"}),
        ("regions", {"regions": ["snout"]}),
        ("regions", {"regions": [["nose"]]}),
        ("regions", {"regions": {"nose": 1.5}}),
        ("regions", {"regions": {"nose": float("nan")}}),
        ("regions", {"regions": {"nose": "1"}}),
        ("verdict", {"verdict": "yes"}),
        ("verdict", {"verdict": -0.1}),
        ("verdict", {"verdict": 10**400}),
        ("mask", {"mask_path": 3}),
        ("mask", {"mask_path": "../secret.png"}),
        ("mask", {"mask_path": "/etc/passwd"}),
        ("mask", {"mask_path": "a\0b"}),
        ("mask", {"mask_path": "x" * 5000}),
        ("mask", {"img_path": ".."}),
        ("mask", {"img_path": ""}),
    ],
)
def test_a_value_of_the_wrong_kind_costs_its_own_part_alone(folder, part, fields):
    good = {"image_id": "a", "caption": "x", "regions": [], "verdict": 0.5, "mask_path": "masks/a.png"}
    gone = {"report": ("caption",), "mask": ("mask_path",)}.get(part, (part,))
    line = {name: value for name, value in good.items() if name not in gone} | fields
    found = read_predictions(folder(line))
    answer = found["a", "master"]
    assert [name for name in ("mask", "report", "regions", "verdict") if getattr(answer, name) is None] == [part]
    assert faults_of(found) == [("unreadable", "a")]
    assert found.faults[0].what.startswith(f"{part}: ")
    assert part in found.promised


def test_no_link_leads_out_of_the_folder_of_masks(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.png").write_bytes(ALTERED)
    root = folder({"image_id": "a", "mask_path": "masks/link.png"}, {"image_id": "b", "mask_path": "masks/loop.png"})
    (root / "masks" / "link.png").symlink_to(outside / "secret.png")
    (root / "masks" / "loop.png").symlink_to(root / "masks" / "loop.png")
    found = read_predictions(root)
    assert [found[key].mask for key in found] == [None, None]
    assert "leads out" in found.faults[0].what


def written(*pictures: Image.Image, kind: str = "png") -> bytes:
    data = io.BytesIO()
    pictures[0].save(data, kind, **({"save_all": True, "append_images": pictures[1:]} if pictures[1:] else {}))
    return data.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8))
FRAMES = (NOISE, NOISE.rotate(90))
BAD_MASKS = {
    "empty": b"",
    "text": b"no picture",
    "cut short": written(NOISE)[:-60],
    "of colours": written(Image.merge("RGB", [*FRAMES, NOISE])),
    "of coloured palette": written(Image.merge("RGB", [*FRAMES, NOISE]).convert("P")),
    "transparent": written(Image.merge("LA", [NOISE, NOISE])),
    "16-bit": written(Image.fromarray(np.full((5, 5), 60_000, np.uint16))),
    "animated PNG": written(*FRAMES),
    "animated GIF": written(*FRAMES, kind="gif"),
    "several pages": written(*FRAMES, kind="tiff"),
    "other kind": written(NOISE, kind="ppm"),
    "too large": written(Image.new("1", (10_001, 10_001))),
}


@pytest.mark.parametrize("data", BAD_MASKS.values(), ids=BAD_MASKS)
def test_a_mask_that_cannot_be_used_is_told_once_when_it_is_read(folder, data):
    root = folder({"image_id": "a", "mask_path": "masks/bad.png"})
    (root / "masks" / "bad.png").write_bytes(data)
    found = read_predictions(root)
    assert found.faults == []
    assert [found["a", "master"].mask for _ in range(2)] == [None, None]
    assert faults_of(found) == [("unreadable", "a")]


def test_a_mask_that_is_no_file_is_told_and_not_waited_for(folder):
    root = folder(*({"image_id": name, "mask_path": f"masks/{name}"} for name in ("pipe", "folder", "nothing")))
    os.mkfifo(root / "masks" / "pipe")
    (root / "masks" / "folder").mkdir()
    found = read_predictions(root)
    assert [found[key].mask for key in found] == [None] * 3
    assert [fault.what for fault in found.faults] == ["mask: it is no file"] * 2 + ["mask: there is no such file"]


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_a_grey_mask_stored_in_another_way_is_taken(folder, mode):
    grey = NOISE.point(lambda value: 255 * (value > 90))
    root = folder({"image_id": "a", "mask_path": "masks/other.png"})
    (root / "masks" / "other.png").write_bytes(written(grey.convert(mode)))
    assert (read_predictions(root)["a", "master"].mask == np.asarray(grey)).all()


def test_ids_of_another_dataset_are_translated(folder):
    found = read_predictions(folder({"image_id": "mat_20936"}), record_of={"mat_20936": "ab12"})
    assert list(found) == [("ab12", "master")]
    lines = [{"image_id": "x@y_1"}, {"image_id": "x@y_1@mild"}, {"image_id": "a/b"}]
    found = read_predictions(folder(*lines), record_of={"x@y_1": "ab12", "a/b": "cd34"})
    assert list(found) == [("ab12", "master"), ("ab12", "mild"), ("cd34", "master")]


def test_what_is_not_there_is_one_sentence(tmp_path, folder):
    with pytest.raises(UserError, match=r"predictions.jsonl does not exist"):
        read_predictions(tmp_path)
    with pytest.raises(UserError, match="holds no predictions"):
        read_predictions(folder(b""))
    with pytest.raises(UserError, match="is not a folder"):
        read_predictions(folder({"image_id": "a"}), tmp_path / "nowhere")
