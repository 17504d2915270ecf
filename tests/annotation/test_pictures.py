import os
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest

from annotation.pictures import (
    DARK_RGB,
    LIGHT_RGB,
    Wanted,
    mask_window,
    overlay,
    part_windows,
    path_of,
    pictures,
    render,
)
from annotation.protocols import ZOOM, View
from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import processes, serial
from mmtt.faces import face_of
from mmtt.record import Record
from mmtt.shards import Shard, ShardWriter
from tests.factories import make_face, make_forged_record, make_record

BLIND, PAIR, ALL = (View.IMAGE,), (View.IMAGE, View.PRISTINE), (View.IMAGE, View.PRISTINE, View.OVERLAY)
SIZES = (64, 256, 512, 1024)


def silent(due, results):  # noqa: ARG001
    yield from results


def zoom(record, sees):
    return images.decode_rgb(pictures(record, sees)[ZOOM])


def spot(size_px, *boxes):
    mask = np.zeros((size_px, size_px), np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 255
    return mask


def contrast(first, second):
    """WCAG 2 contrast of two colours or greys, from 1 to 21."""

    def luminance(rgb):
        c = np.asarray(rgb, float) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


# what a stage sees


@pytest.mark.parametrize("sees", [BLIND, PAIR, ALL])
def test_a_task_has_the_views_of_its_stage_and_the_zoom(sees):
    assert list(pictures(make_forged_record(), sees)) == [*sees, ZOOM]


def test_image_and_pristine_are_the_very_bytes():
    record = make_forged_record(size_px=128)
    made = pictures(record, ALL)
    assert images.sha256(made[View.IMAGE]) == record.image_sha256
    assert made[View.PRISTINE] == record.pristine


def test_a_pristine_record_in_a_pair_shows_its_image_twice():
    record = make_record()
    made = pictures(record, PAIR)
    assert made[View.IMAGE] == made[View.PRISTINE] == record.image


def test_a_forgery_without_its_pristine_image_is_refused_by_name_where_it_would_be_seen():
    record = make_forged_record(pristine=None)
    assert pictures(record, BLIND)
    with pytest.raises(UserError, match=record.record_id):
        pictures(record, PAIR)


@pytest.mark.parametrize("sees", [BLIND, PAIR])
def test_without_the_mask_nothing_depends_on_it_nor_on_the_edit(sees):
    record = make_forged_record(size_px=256)
    otherwise = replace(
        record, mask=b"none", manipulation="face_swap", mask_rule="hole", regions=["ear"], alpha=None, change=None
    )
    assert pictures(record, sees) == pictures(otherwise, sees)


@pytest.mark.parametrize("size_px", SIZES)
@pytest.mark.parametrize("sees", [BLIND, PAIR])
def test_a_forgery_and_its_target_differ_only_where_pixels_were_altered(size_px, sees):
    forged, pristine = make_forged_record(size_px=size_px), make_record(size_px=size_px)
    first, second = zoom(forged, sees), zoom(pristine, sees)
    altered = (images.decode_gray(forged.change) > 0).astype(np.uint8) * np.uint8(255)
    white = images.encode_png(cv2.cvtColor(altered, cv2.COLOR_GRAY2RGB))
    where = zoom(replace(pristine, image=white), sees) == 255
    assert first.shape == second.shape == where.shape
    assert np.array_equal(first[~where], second[~where])
    assert not np.array_equal(first, second)


def test_equal_records_give_equal_bytes():
    assert pictures(make_forged_record(3), ALL) == pictures(make_forged_record(3), set(ALL))


@pytest.mark.parametrize("record", [make_record(size_px=128), make_forged_record(size_px=128)])
def test_pictures_carry_no_metadata(record):
    for data in pictures(record, ALL).values():
        kinds, place = set(), 8
        while place < len(data):
            length, kind = struct.unpack(">I4s", data[place : place + 8])
            kinds.add(kind)
            place += length + 12
        assert kinds == {b"IHDR", b"IDAT", b"IEND"}


# windows


@pytest.mark.parametrize("size_px", SIZES)
@pytest.mark.parametrize("scheme", ["openpose_70", "ibug_68"])
def test_windows_hold_their_parts(size_px, scheme):
    face = make_face(1, size_px, scheme)
    eyes, nose, mouth = part_windows(face, (size_px, size_px))
    for window, points in ((eyes, face.points_68[17:27]), (nose, face.points_68[27:36]), (mouth, face.points_68[48:])):
        right, bottom = window.left + window.width, window.top + window.height
        assert ((points >= (window.left, window.top)) & (points <= (right, bottom))).all()
    assert eyes.height == nose.height == mouth.height
    assert nose.width < mouth.width < eyes.width


@pytest.mark.parametrize(("size_px", "factor"), [(64, 8), (256, 5), (512, 2), (1024, 1)])
def test_pixels_are_shown_at_a_whole_multiple(size_px, factor):
    windows = part_windows(make_face(0, size_px), (size_px, size_px))
    assert [w.shown_wh for w in windows] == [(w.width * factor, w.height * factor) for w in windows]


def test_the_rows_of_the_zoom_show_the_same_places():
    record = make_record(size_px=512)
    one, two = zoom(record, BLIND), zoom(record, PAIR)
    gutter = 2 * one.shape[0] - two.shape[0]
    assert one.shape[1] == two.shape[1]
    assert np.array_equal(two[: one.shape[0]], one)
    assert np.array_equal(two[one.shape[0] - gutter :], one)


def test_a_stage_with_the_mask_has_one_more_column():
    record = make_forged_record(size_px=512)
    pair, all_of_it = zoom(record, PAIR), zoom(record, ALL)
    assert all_of_it.shape[1] > pair.shape[1]
    assert np.array_equal(all_of_it[: pair.shape[0] - 6, : pair.shape[1]], pair[:-6])


@pytest.mark.parametrize(
    "move",
    [
        lambda points: points + np.float32(9000),
        lambda points: points - np.float32(9000),
        lambda points: points * np.float32(0),
        lambda points: points * np.float32(40),
        lambda points: points * np.float32(np.nan),
        lambda points: points * np.float32(1e30),
        lambda points: points[:0],
    ],
    ids=["right", "left", "one point", "huge", "nan", "overflow", "missing"],
)
@pytest.mark.parametrize("size_px", [64, 512])
def test_landmarks_that_say_nothing_cost_no_picture(move, size_px):
    record = make_forged_record(size_px=size_px)
    record = replace(record, landmarks=move(np.asarray(record.landmarks, np.float32)).tolist())
    assert zoom(record, ALL).shape[0] > 3 * size_px // 8


def test_a_frame_need_not_be_square():
    image = images.encode_png(images.decode_rgb(make_record(size_px=256).image)[40:200])
    mask = images.encode_png(spot(256, (10, 30, 250, 60))[:160])
    record = make_forged_record(size_px=256, image=image, pristine=image, mask=mask)
    assert zoom(record, ALL).shape[2] == 3
    for window in part_windows(face_of(record), (160, 256)):
        assert 0 <= window.left <= 256 - window.width
        assert 0 <= window.top <= 160 - window.height


@pytest.mark.parametrize(
    "box", [(250, 250, 260, 258), (0, 0, 5, 5), (100, 200, 300, 280), (0, 0, 512, 512), (510, 0, 512, 512)]
)
@pytest.mark.parametrize("side_px", [63, 300, 322, 480])
def test_the_window_of_a_mask_holds_it(box, side_px):
    window = mask_window(spot(512, box), side_px)
    assert window.left <= box[0] <= box[2] <= window.left + window.width
    assert window.top <= box[1] <= box[3] <= window.top + window.height
    assert side_px - 8 < max(window.shown_wh) <= side_px


def test_the_window_of_a_small_mask_shows_its_surroundings_at_a_whole_multiple():
    window = mask_window(spot(512, (250, 250, 290, 280)), 300)
    assert window.width > 40
    assert window.shown_wh == (6 * window.width, 6 * window.height)


def test_the_window_of_an_empty_mask_is_the_frame():
    assert mask_window(spot(512), 300) == (0, 0, 512, 512, (300, 300))


# overlay


def drawn(mask, ground=200):
    size_px = mask.shape[0]
    image = np.full((size_px, size_px, 3), ground, np.uint8)
    return image, overlay(image, mask, make_face(0, size_px))


def is_colour(picture, rgb):
    return (picture == np.array(rgb, np.uint8)).all(axis=2)


def test_an_empty_mask_draws_nothing():
    record = make_record(size_px=128)
    made = pictures(record, ALL)
    assert np.array_equal(images.decode_rgb(made[View.OVERLAY]), images.decode_rgb(record.image))


def test_what_was_altered_is_left_as_it_is_and_all_else_is_dimmed():
    mask = spot(512, (100, 200, 300, 280))
    image, picture = drawn(mask)
    assert np.array_equal(picture[mask > 0], image[mask > 0])
    far = cv2.dilate(mask, np.ones((7, 7), np.uint8)) == 0
    assert (picture[far] == 110).all()


def test_a_light_and_a_dark_line_run_round_the_mask():
    _, picture = drawn(spot(512, (100, 200, 300, 280)))
    assert picture[240, 99].tolist() == list(LIGHT_RGB)
    assert picture[240, 98].tolist() == list(DARK_RGB)
    assert picture[240, 97].tolist() == [110, 110, 110]


def test_on_any_ground_one_of_the_lines_stands_out_by_lightness_alone():
    assert contrast(LIGHT_RGB, DARK_RGB) > 7
    for grey in range(256):
        assert max(contrast(LIGHT_RGB, [grey] * 3), contrast(DARK_RGB, [grey] * 3)) >= 3


def test_a_mask_of_the_whole_frame_is_outlined_inside_it():
    image, picture = drawn(spot(512, (0, 0, 512, 512)))
    assert is_colour(picture, DARK_RGB)[0].all()
    assert is_colour(picture, LIGHT_RGB)[1, 1:-1].all()
    assert np.array_equal(picture[2:-2, 2:-2], image[2:-2, 2:-2])


def test_a_strip_along_the_edge_is_shown():
    _, picture = drawn(spot(512, (0, 0, 2, 512)))
    assert is_colour(picture, LIGHT_RGB)[:, 2].all()


@pytest.mark.parametrize("size_px", [256, 1024])
def test_a_speck_is_outlined_at_a_distance(size_px):
    middle = size_px // 2
    _, picture = drawn(spot(size_px, (middle, middle, middle + 1, middle + 1)))
    ys, xs = np.nonzero(is_colour(picture, LIGHT_RGB))
    assert ys.max() - ys.min() >= size_px // 40
    assert picture[middle, middle].tolist() == [200, 200, 200]
    assert np.hypot(ys - middle, xs - middle).min() > size_px // 80


def test_what_is_no_speck_is_outlined_as_it_is():
    mask = spot(512, (100, 200, 130, 230))
    _, picture = drawn(mask)
    assert is_colour(picture, LIGHT_RGB).sum() == 4 * 30


# writing


@pytest.fixture
def shards(tmp_path):
    paths = []
    for number, records in enumerate(([make_record(s) for s in range(5)], [make_forged_record(s) for s in range(5)])):
        paths.append(tmp_path / f"{number}.parquet")
        writer = ShardWriter(paths[-1], Record, rows_per_group=2)
        for record in records:
            writer.add(record)
        writer.close()
    return paths


def tasks(sees=BLIND):
    records = [maker(seed) for seed in (3, 0, 4) for maker in (make_forged_record, make_record)]
    return [Wanted(record.record_id, sees, f"{i:02d}c0ffee") for i, record in enumerate(records)]


def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_render_writes_each_picture_below_its_stem(shards, tmp_path):
    render(shards, tasks(PAIR), tmp_path / "pictures", serial, silent)
    found = written(tmp_path / "pictures")
    assert set(found) == {path_of(task.stem, view) for task in tasks() for view in (*PAIR, ZOOM)}
    assert found["00/00c0ffee-image.png"] == make_forged_record(3).image
    assert found["01/01c0ffee-zoom.png"] == pictures(make_record(3), PAIR)[ZOOM]


def test_processes_write_the_same(shards, tmp_path):
    render(shards, tasks(ALL), tmp_path / "one", serial, silent)
    render(shards, tasks(ALL), tmp_path / "two", processes(2), silent)
    assert written(tmp_path / "one") == written(tmp_path / "two") != {}


def test_names_and_times_tell_nothing_but_stem_and_view(shards, tmp_path):
    render(shards, tasks(ALL), tmp_path / "pictures", serial, silent)
    files = [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]
    assert {path.name.split("-", 1)[1] for path in files} == {f"{view}.png" for view in (*ALL, ZOOM)}
    assert {path.stat().st_mtime_ns for path in files} == {0}


def test_each_row_group_is_decoded_once(shards, tmp_path, monkeypatch):
    read = []
    whole = Shard.group

    def counted(self, index, columns=None):
        if columns is None:
            read.append((self.path, index))
        return whole(self, index, columns)

    monkeypatch.setattr(Shard, "group", counted)
    again = [task._replace(stem=f"again{task.stem}") for task in tasks(PAIR)]
    render(shards, [*tasks(), *again], tmp_path / "pictures", serial, silent)
    assert sorted(read) == [(path, index) for path in shards for index in (0, 1, 2)]


def test_what_exists_is_kept_and_what_is_missing_is_made(shards, tmp_path):
    folder = tmp_path / "pictures"
    render(shards, tasks(), folder, serial, silent)
    kept, lost = folder / path_of("00c0ffee", "image"), folder / path_of("00c0ffee", ZOOM)
    kept.write_bytes(b"kept")
    lost.unlink()
    render(shards, tasks(), folder, serial, silent)
    assert kept.read_bytes() == b"kept"
    assert lost.read_bytes() == pictures(make_forged_record(3), BLIND)[ZOOM]


def test_nothing_is_read_when_nothing_is_missing(shards, tmp_path):
    render(shards, tasks(), tmp_path / "pictures", serial, silent)
    for path in shards:
        path.unlink()
    render(shards, tasks(), tmp_path / "pictures", serial, silent)


def test_what_a_killed_run_left_is_swept(shards, tmp_path):
    torn = tmp_path / "pictures" / "00" / ".00c0ffee-image.png.123.tmp"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"half")
    render(shards, tasks(), tmp_path / "pictures", serial, silent)
    assert not torn.exists()


def test_a_write_that_fails_leaves_no_picture(shards, tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        render(shards, tasks(), tmp_path / "pictures", serial, silent)
    assert not [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]


def test_an_unknown_record_is_named(shards, tmp_path):
    with pytest.raises(UserError, match="f00d"):
        render(shards, [Wanted("f00d", BLIND, "00")], tmp_path, serial, silent)


def test_progress_counts_row_groups(shards, tmp_path):
    told = []

    def progress(due, results):
        told.append(len(due))
        yield from results

    render(shards, tasks(), tmp_path / "pictures", serial, progress)
    assert told == [6]
