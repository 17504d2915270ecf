import json
from collections import Counter

import pytest

from mmtt.errors import UserError
from pipelines.importers.columns import Told
from pipelines.importers.pairs import import_pairs
from tests.pipelines.importers.strangers import RIGHTS, bring, forensic, jpeg, made, put, records, refused, splits


@pytest.mark.parametrize(
    ("masks", "frames"),
    [
        ("{method}/masks/images", "{method}/c23/images"),
        ("{method}/masks/c23/images", "{method}/c23/images"),
        ("{method}/c23/masks", "{method}/c23/frames"),
        ("{method}/masks", "{method}/raw/images"),
    ],
)
def test_frames_of_faceforensics_find_masks_families_and_groups(tmp_path, masks, frames):
    forensic(tmp_path / "in", masks=masks, frames=frames)
    layout, _ = bring(tmp_path / "in", tmp_path / "out")
    found, of = records(layout), splits(layout)
    assert not refused(layout)
    assert Counter((record.manipulator, record.manipulation) for record in found.values()) == {
        ("Deepfakes", "face_swap"): 8, ("NeuralTextures", "attribute_edit"): 8,
        ("DeepFakeDetection", "unknown"): 8, (None, None): 4,
    }  # fmt: skip
    group = {name: record.group_id for name, record in found.items()}
    tied = {name.split("/")[-2]: {group[other] for other in group if other.split("/")[-2] == name.split("/")[-2]}
            for name in group}  # fmt: skip
    assert tied["000_003"] == tied["003_000"] == tied["000"] == tied["003"]
    assert tied["001_870"] == tied["870"] != tied["000"]
    assert len({(row.group_id, row.split) for row in of.values()}) == 2
    compression = frames.split("/")[1]
    told = json.loads(found[f"manipulated_sequences/{frames.format(method='Deepfakes')}/000_003/0001.png"].parameters)
    assert {key: told[key] for key in ("target", "source", "frame", "compression", "video")} == {
        "target": "000", "source": "003", "frame": "0001", "compression": compression, "video": "000_003",
    }  # fmt: skip


def test_lists_of_pairs_tell_the_split_and_what_they_do_not_name_is_refused(tmp_path):
    forensic(tmp_path / "in")
    put(tmp_path, "lists/train.json", b'[["000", "003"]]')
    put(tmp_path, "lists/val.json", b'[["870", "999"]]')
    layout, _ = bring(tmp_path / "in", tmp_path / "out", splits=tmp_path / "lists")
    of, found = splits(layout), records(layout)
    assert {name.split("/")[-2]: of[record.record_id].split for name, record in found.items()} == {
        "000_003": "train", "003_000": "train", "000": "train", "003": "train",
        "001_870": "validation", "870_001": "validation", "870": "validation",
    }  # fmt: skip
    assert refused(layout) == {("no_split", "original_sequences/youtube/c23/images/001/0000.png")}


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"train.json": b'[["000", "003"]]', "test.json": b'[["003", "001"]]'}, "Keep it in one list"),
        ({"train.json": b"[[1, 2]]"}, "no list of pairs"),
        ({"train.json": b"{"}, "cannot be read as JSON"),
        ({"other.json": b"[]"}, "none of train.json"),
    ],
)
def test_lists_that_contradict_themselves_are_one_sentence(tmp_path, lists, said):
    forensic(tmp_path / "in")
    for name, data in lists.items():
        put(tmp_path, f"lists/{name}", data)
    with pytest.raises(UserError, match=said):
        import_pairs(tmp_path / "in", tmp_path / "out", Told(name="x"), RIGHTS, splits=tmp_path / "lists")


def test_actors_scenes_and_videos_without_masks(tmp_path):
    source = tmp_path / "in"
    method = "manipulated_sequences/DeepFakeDetection"
    for number, video in enumerate(("01_02__exit_phone_room__YVGY8LOK", "03_04__hugging__ABC", "odd name")):
        put(source, f"{method}/c23/images/{video}/0.png", made(number).forged)
    put(source, f"{method}/masks/images/01_02__exit_phone_room__YVGY8LOK/0.png", made(0).mask)
    put(source, f"{method}/masks/images/odd name/0.jpg", jpeg(made(2).mask))
    put(source, "original_sequences/actors/c23/images/02__walking/0.png", made(3).pristine)
    layout, _ = bring(source, tmp_path / "out")
    found = records(layout)
    assert refused(layout) == {("missing_mask", f"{method}/c23/images/03_04__hugging__ABC/0.png")}
    groups = {name.split("/")[-2][:5]: record.group_id for name, record in found.items()}
    assert groups["01_02"] == groups["02__w"] != groups["odd n"]


def test_a_method_that_is_a_link_is_refused_and_not_entered(tmp_path):
    forensic(tmp_path / "in")
    forensic(tmp_path / "elsewhere")
    (tmp_path / "in/manipulated_sequences/FaceSwap").symlink_to(tmp_path / "elsewhere/manipulated_sequences/Deepfakes")
    layout, _ = bring(tmp_path / "in", tmp_path / "out")
    assert refused(layout) == {("link", "manipulated_sequences/FaceSwap")}
    assert len(records(layout)) == 28
