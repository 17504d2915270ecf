"""An import ends in a dataset of ours: whole, verified, and the same bytes however it came about."""

import io
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import yaml
from PIL import Image

from mmtt import images
from mmtt.check import verify_all
from mmtt.errors import UserError
from mmtt.executors import processes
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest, read
from mmtt.recipe import ImportedSection, Recipe
from mmtt.record import Assignment, Record, Rejection
from mmtt.reports import Report
from mmtt.samples import read_samples
from mmtt.shards import read_table
from pipelines.importers import writing
from pipelines.importers.item import Item, Text
from pipelines.importers.writing import write_import
from tests.pipelines.shapes import random_photo

SECTION = ImportedSection(format="pairs", digest="0" * 64, options={"of": "tests"})


def picture(seed: int, size_px: int = 48) -> np.ndarray:
    return random_photo(np.random.default_rng(seed), size_px)


def soft_mask(size_px: int = 48) -> np.ndarray:
    """A disc whose rim runs from 255 to 0: the three ways to read it differ."""
    y, x = np.mgrid[:size_px, :size_px]
    return np.clip(255 * (1.6 - np.hypot(x - size_px / 2, y - size_px / 2) / (size_px / 6)), 0, 255).astype(np.uint8)


def hard_mask(size_px: int = 48) -> np.ndarray:
    return ((soft_mask(size_px) > 127) * 255).astype(np.uint8)


def stored(array: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    picture = Image.fromarray(array)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind)
    return buffer.getvalue()


def item(number: int, **changes) -> Item:
    made = Item(
        origin_id=f"item_{number}",
        image=stored(picture(number)),
        mask=stored(hard_mask()),
        manipulation="face_swap",
        manipulator="e4s",
        split=("train", "validation", "test")[number % 3],
        group=f"person {number // 2}",
        texts=(
            Text(
                text=f"The nose of {number} looks blurred.",
                regions=("nose", "lip"),
                text_origin="human",
                protocol="paper",
            ),
        ),
        parameters={"number": number},
    )
    return replace(made, **changes)


def imported(root: Path, items, **options) -> Manifest:
    (root / "private").mkdir(parents=True, exist_ok=True)
    (root / "private" / "salt").write_text("tests", encoding="ascii")
    wanted = {"origin": "somewhere", "licence": "LicenseRef-theirs"} | options
    return write_import(root, "theirs", SECTION, iter(items), **wanted)


def faults(root: Path) -> list[tuple[str, str]]:
    return list(verify_all([root / "pristine", root / "forged"]))


def codes(root: Path) -> dict[str, int]:
    return Manifest.load(root / "forged").rejections


def bytes_of(root: Path) -> dict[str, bytes]:
    """All files of a dataset but locks and where it was made."""
    kept = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


def test_items_come_back_row_for_row(tmp_path):
    items = [item(number) for number in range(6)] + [item(6, mask=None, manipulation=None, manipulator=None, texts=())]
    manifest = imported(tmp_path / "d", items)
    layout = Layout(tmp_path / "d")
    assert manifest.rows == 6
    assert faults(layout.root) == []
    assert Recipe.load(layout.recipe).imported == SECTION
    records = {record.origin_id: record for folder in (layout.pristine, layout.forged) for record in read(folder)}
    samples = {sample.record_id: sample for sample in read_samples(layout.root, pristine=True)}
    for made in items:
        record = records[made.origin_id]
        sample = samples[record.record_id]
        assert record.image == made.image
        assert (sample.split, sample.manipulation) == (made.split, made.manipulation)
        assert [said.text for said in sample.references] == [text.text for text in made.texts]
        assert record.mask_rule == ("none" if made.mask is None else "imported")
    assert records["item_2"].group_id == records["item_3"].group_id != records["item_4"].group_id
    assert records["item_0"].obligations == ["BY", "NC", "research-only"]
    report = read_table(layout.root / "reports" / "reports.parquet", Report)[0]
    assert (report.regions, report.text_regions, report.text_origin) == (["lip", "nose"], ["nose"], "human")
    assert (report.annotator, report.protocol, report.verdict) == ("unknown", "paper", "visible")


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        (stored(hard_mask()), False),
        (stored(soft_mask()), True),
        (stored(hard_mask(), mode="RGB"), True),
        (stored(hard_mask(), mode="LA"), True),
        (stored(hard_mask(), mode="P"), True),
        (stored(soft_mask(), "JPEG"), True),
    ],
    ids=["binary", "soft", "rgb", "grey and alpha", "palette", "jpeg"],
)
def test_a_mask_is_read_as_grey_above_127_and_kept_where_it_says_more(tmp_path, mask, kept):
    imported(tmp_path / "d", [item(0, mask=mask)])
    (record,) = read(tmp_path / "d" / "forged")
    theirs = np.asarray(Image.open(io.BytesIO(mask)).convert("L"))
    assert np.array_equal(images.decode_gray(record.mask), (theirs > 127) * np.uint8(255))
    assert record.origin_mask == (mask if kept else None)
    told = json.loads(record.parameters)
    assert told["number"] == 0
    shares = [told[name] for name in ("mask_share_above_0", "mask_share_above_127", "mask_share_at_255")]
    assert shares == pytest.approx([(theirs > 0).mean(), (theirs > 127).mean(), (theirs == 255).mean()], abs=1e-5)
    assert record.exact_mask is False
    assert faults(tmp_path / "d") == []


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


SPOILT = {
    "bad_image": {"image": b"no picture"},
    "bad_image, truncated": {"image": _truncated(stored(picture(0, 64), "JPEG"))},
    "bad_image, empty": {"image": b""},
    "not_rgb, grey": {"image": stored(picture(0)[..., 0])},
    "not_rgb, 16 bits": {"image": cv2.imencode(".png", picture(0).astype(np.uint16) * 257)[1].tobytes()},
    "not_rgb, alpha": {"image": stored(picture(0), mode="RGBA")},
    "bad_mask": {"mask": b"no mask"},
    "bad_mask, truncated": {"mask": _truncated(stored(soft_mask()))},
    "mask_size": {"mask": stored(hard_mask(64))},
    "missing_mask": {"mask": None},
    "empty_mask": {"mask": stored(hard_mask() // 2)},
    "bad_record, split": {"split": "dev"},
    "bad_record, family": {"manipulation": "wizardry"},
    "bad_record, text": {"texts": (Text(text="\ud800"),)},
    "bad_record, id": {"origin_id": "\ud800"},
    "duplicate_id": {"origin_id": "item_1"},
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_what_cannot_be_used_is_one_rejection_and_stops_nothing(tmp_path, spoilt, request):
    manifest = imported(tmp_path / "d", [item(1), item(0, **spoilt), item(2)])
    assert manifest.rows == 2
    code = request.node.callspec.id.split(",")[0]
    assert codes(tmp_path / "d") == {code: 1}
    (row,) = read_table(tmp_path / "d" / "forged" / REJECTIONS, Rejection)
    assert (row.stage, row.code) == ("import", code)
    assert row.detail
    assert faults(tmp_path / "d") == []


def test_of_two_items_with_one_id_the_first_is_kept(tmp_path):
    imported(tmp_path / "d", [item(0), item(1, origin_id="item_0")])
    (record,) = read(tmp_path / "d" / "forged")
    assert record.image == item(0).image


def test_rejections_among_the_items_are_counted(tmp_path):
    refused = Rejection(stage="import", code="outside", detail="elsewhere", path="../x")
    imported(tmp_path / "d", [item(0), refused])
    assert codes(tmp_path / "d") == {"outside": 1}


def test_the_same_items_give_the_same_bytes_on_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_ROWS", 10)
    items = [item(number) for number in range(25)]
    imported(tmp_path / "one", items)
    imported(tmp_path / "two", items, executor=processes(2))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert len(Manifest.load(tmp_path / "one" / "forged").shards) == 3


def test_shards_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 3 * len(item(0).image))
    imported(tmp_path / "d", [item(number) for number in range(7)])
    assert max(shard.rows for shard in Manifest.load(tmp_path / "d" / "forged").shards) <= 3


class Stop(Exception):
    pass


def breaking(items, after: int):
    yield from items[:after]
    raise Stop


def test_an_import_that_broke_off_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_ROWS", 4)
    items = [item(number) for number in range(10)]
    imported(tmp_path / "whole", items)
    broken = tmp_path / "broken"
    with pytest.raises(Stop):
        imported(broken, breaking(items, 6))
    assert not list(broken.glob("*/manifest.json"))
    assert not (broken / "plan" / "splits.parquet").exists()
    first = broken / "forged" / "import-00000.parquet"
    inode = first.stat().st_ino
    imported(broken, items)
    assert first.stat().st_ino == inode  # the finished shard was kept
    assert bytes_of(broken) == bytes_of(tmp_path / "whole")


def test_a_shard_whose_bytes_rotted_is_made_again(tmp_path):
    items = [item(number) for number in range(3)]
    imported(tmp_path / "d", items)
    shard = tmp_path / "d" / "forged" / "import-00000.parquet"
    sound = shard.read_bytes()
    shard.write_bytes(sound[:2000] + bytes([sound[2000] ^ 1]) + sound[2001:])
    imported(tmp_path / "d", items)
    assert shard.read_bytes() == sound


def test_a_shard_that_the_items_no_longer_fill_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_ROWS", 2)
    imported(tmp_path / "d", [item(number) for number in range(6)])
    imported(tmp_path / "d", [item(number) for number in range(3)])
    assert faults(tmp_path / "d") == []
    assert len(read_table(tmp_path / "d" / "plan" / "splits.parquet", Assignment)) == 3
    imported(tmp_path / "other", [item(number) for number in range(3)])
    assert bytes_of(tmp_path / "d") == bytes_of(tmp_path / "other")


def test_what_a_curator_added_to_the_recipe_stays(tmp_path):
    imported(tmp_path / "d", [item(0)])
    path = tmp_path / "d" / "recipe.yaml"
    data = yaml.safe_load(path.read_text()) | {"audit": {"sample": 50}}
    path.write_text(yaml.safe_dump(data))
    imported(tmp_path / "d", [item(0)])
    assert Recipe.load(path).audit.sample == 50


def test_a_directory_of_another_dataset_is_refused_untouched(tmp_path):
    root = tmp_path / "d"
    imported(root, [item(0)])
    before = bytes_of(root)
    other = SECTION.model_copy(update={"digest": "1" * 64})
    with pytest.raises(UserError, match="holds another dataset"):
        write_import(root, "theirs", other, iter([item(1)]), origin="elsewhere", licence="CC0-1.0")
    assert bytes_of(root) == before
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="not empty"):
        imported_without_salt(strange)
    assert [path.name for path in strange.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("place", ["forged/theirs.parquet", "plan/notes.txt", "private/lineage.parquet", "forged"])
def test_what_only_looks_like_an_import_that_was_killed_is_refused_untouched(tmp_path, place):
    path = tmp_path / "d" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"theirs")
    with pytest.raises(UserError, match="not empty"):
        imported_without_salt(tmp_path / "d")
    assert [other for other in (tmp_path / "d").rglob("*") if other.is_file()] == [path]


def test_an_import_that_was_killed_while_it_wrote_the_recipe_can_be_run_again(tmp_path):
    root = tmp_path / "d"
    for name in ("forged/.lock", "private/salt", "private/import/.masks.7.tmp", ".recipe.yaml.7.tmp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"tests")
    assert imported(root, [item(0)]).rows == 1
    assert not list(root.glob(".recipe.yaml*"))


def test_of_two_imports_at_once_only_one_has_the_folder(tmp_path, monkeypatch):
    """The other one looked while the folder was empty, and comes to write when the first has ended."""
    root, refuse = tmp_path / "d", writing.refuse_other
    looked: list[Path] = []

    def first_ends_meanwhile(directory, name, section):
        refuse(directory, name, section)
        looked.append(directory)
        if len(looked) == 1:
            monkeypatch.setattr(writing, "refuse_other", refuse)
            imported(root, [item(0)])

    monkeypatch.setattr(writing, "refuse_other", first_ends_meanwhile)
    other = SECTION.model_copy(update={"digest": "1" * 64})
    with pytest.raises(UserError, match="holds another dataset"):
        write_import(root, "theirs", other, iter([item(1)]), origin="elsewhere", licence="CC0-1.0")
    assert [record.origin_id for record in read(root / "forged")] == ["item_0"]


def imported_without_salt(root: Path) -> None:
    write_import(root, "theirs", SECTION, iter([item(0)]), origin="elsewhere", licence="CC0-1.0")


def test_an_unknown_licence_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="no SPDX id"):
        write_import(tmp_path / "d", "theirs", SECTION, iter([]), origin="x", licence="mine")
    assert not (tmp_path / "d").exists()


def test_nothing_at_all_is_still_a_dataset(tmp_path):
    assert imported(tmp_path / "d", []).rows == 0
    assert faults(tmp_path / "d") == []
    assert (tmp_path / "d" / "pristine" / MANIFEST).exists()


def test_records_hold_no_landmarks_unless_asked_for(tmp_path):
    imported(tmp_path / "d", [item(0)])
    (record,) = read(tmp_path / "d" / "forged")
    assert isinstance(record, Record)
    assert (record.landmarks, record.landmark_scheme, record.landmark_finder) == ([], "none", "none")
    assert (record.template, record.align_matrix) == ("none", [1, 0, 0, 0, 1, 0])


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="mediapipe is not installed")
def test_landmarks_are_looked_for_where_that_is_asked_for(tmp_path):
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    portrait = path.read_bytes()
    with Image.open(path) as opened:
        width, height = opened.size
    mask = stored(np.full((height, width), 255, np.uint8))
    imported(tmp_path / "d", [item(0, image=portrait, mask=mask), item(1)], find_faces=True)
    found = {record.origin_id: record for record in read(tmp_path / "d" / "forged")}
    assert found["item_0"].landmark_scheme == "mediapipe_478"
    assert found["item_0"].region_shares == pytest.approx([1] * len(found["item_0"].regions))
    assert "nose" in found["item_0"].regions
    assert found["item_1"].landmark_scheme == "none"  # noise holds no face
    assert faults(tmp_path / "d") == []
