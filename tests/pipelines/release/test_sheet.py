"""The contact sheet: forgeries of every family, each framed, between its target and its mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmtt import images
from mmtt.errors import UserError
from mmtt.images import Rgb
from mmtt.record import Record
from pipelines.overview.sheet import FORGERIES, SIDE_PX, contact_sheet
from tests.factories import make_forged_record, make_record
from tests.pipelines.release.by_hand import stage

RED = (178, 24, 43)  # of `mmtt.images.mark_border`
FAMILIES = ("face_swap", "part_swap", "self_blend", "attribute_edit", "recolour", "retouch", "ours: ночь\x1b[2J")
EDGE = (images.mark_border(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)).shape[0] - SIDE_PX) // 2


def colour(number: int) -> tuple[int, int, int]:
    """A colour that is no other forgery's, and neither red nor grey."""
    return 10 + 12 * number, 200, 255 - 12 * number


def painted(number: int, family: str, **changes) -> Record:
    """A forgery in one colour, so that it can be found again on a sheet."""
    image = images.encode_png(np.full((64, 64, 3), colour(number), np.uint8))
    record = make_forged_record(number, split="train", manipulation=family, image=image)
    return replace(record, image_sha256=images.sha256(image), **changes)


def sheet_of(root: Path, records: list[Record], title: str = "Drawn faces") -> Rgb:
    return images.decode_rgb(contact_sheet(stage(root, records), title))


def place_of(sheet: Rgb, number: int) -> tuple[int, int] | None:
    """Left and top of a painted forgery on a sheet; None where it is not shown."""
    rows, columns = np.nonzero((sheet == colour(number)).all(axis=2))
    return None if rows.size < SIDE_PX**2 else (int(columns.min()), int(rows.min()))


def test_every_family_is_shown_and_no_more_than_twelve(tmp_path):
    records = [painted(number, FAMILIES[0 if number < 12 else number - 11]) for number in range(18)]
    sheet = sheet_of(tmp_path, records)
    shown = [number for number in range(18) if place_of(sheet, number)]
    assert len(shown) == FORGERIES
    assert set(range(12, 18)) <= set(shown)


def test_every_forgery_is_framed_in_red(tmp_path):
    sheet = sheet_of(tmp_path, [painted(number, FAMILIES[number % 3]) for number in range(5)])
    for number in range(5):
        left, top = place_of(sheet, number)
        around = sheet[top - EDGE : top + SIDE_PX + EDGE, left - EDGE : left + SIDE_PX + EDGE]
        sides = (around[EDGE:-EDGE, :EDGE], around[EDGE:-EDGE, -EDGE:])
        assert all((side == RED).all() for side in sides), number
        assert all((edge[[0, -1]] == RED).all() for edge in (around[:EDGE], around[-EDGE:])), number
        assert (around[:EDGE].min(axis=2) > 180).any(), "the frame says what it is"


def test_a_forgery_stands_between_its_target_and_its_mask(tmp_path):
    blue = images.encode_png(np.full((64, 64, 3), (0, 0, 200), np.uint8))
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    record = painted(0, "recolour", pristine=blue, mask=images.encode_png(mask))
    sheet = sheet_of(tmp_path, [record])
    left, top = place_of(sheet, 0)
    assert (sheet[top : top + SIDE_PX, left - EDGE - 60 : left - EDGE - 10] == (0, 0, 200)).all()
    after = left + SIDE_PX + EDGE + 10
    assert not sheet[top : top + SIDE_PX, after : after + 40].any()
    assert (sheet[top : top + SIDE_PX, after + 70 : after + 110] == 255).all()


def test_the_same_release_gives_the_same_bytes(tmp_path):
    records = [painted(number, FAMILIES[number]) for number in range(7)]
    one, other = stage(tmp_path / "a", records), stage(tmp_path / "b", records)
    assert contact_sheet(one, "T") == contact_sheet(other, "T")
    assert contact_sheet(stage(tmp_path / "c", records[::-1]), "T") == contact_sheet(one, "T")


def test_an_imported_forgery_has_no_target_to_show(tmp_path):
    record = painted(0, "unknown", pristine=None, alpha=None, change=None, target_id=None, mask_rule="imported")
    assert place_of(sheet_of(tmp_path, [record]), 0) is not None


def test_a_damaged_picture_makes_room_for_the_next(tmp_path):
    records = [painted(number, "recolour") for number in range(3)]
    records[1] = replace(records[1], image=b"no picture")
    sheet = sheet_of(tmp_path, records)
    assert [place_of(sheet, number) is not None for number in range(3)] == [True, False, True]


def test_a_release_without_forgeries_has_an_empty_sheet(tmp_path):
    sheet = sheet_of(tmp_path, [make_record(0, split="train")])
    assert not (sheet == RED).all(axis=2).any()


def test_what_is_neither_a_release_nor_a_dataset_is_told(tmp_path):
    with pytest.raises(UserError):
        contact_sheet(tmp_path, "T")


def test_it_is_headed_by_the_title_and_by_the_name_where_no_letters_at_hand_can_write_that(tmp_path):
    records = [painted(0, "recolour")]
    heads = [sheet_of(tmp_path / str(n), records, title)[:40] for n, title in enumerate(("Faces", "tiny", "ночь"))]
    assert (heads[0] != heads[1]).any()
    assert (heads[2] == heads[1]).all(), "the recipe's name is 'tiny'"
