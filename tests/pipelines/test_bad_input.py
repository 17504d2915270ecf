"""Whatever strangers put into the photo folder: it never stops a run, and it never vanishes."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image

from mmtt import images
from mmtt.errors import Rejected, UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.manifest import Manifest, read_columns
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Lineage, Rejection
from mmtt.shards import read_table
from pipelines.ingest import ingest
from pipelines.photos import read_photo
from tests.factories import drawn, source_row, tiny_dataset, write_sources

ROOT = Path(__file__).parents[2]
NAMES = [
    b"\xff\xfe\x80.png",
    b"new\nline.png",
    b"\"quotes', commas.png",
    b"-rf.png",
    b"x" * 251 + b".png",
    b"a \xf0\x9f\x99\x82.png",
]

needs_mediapipe = pytest.mark.skipif(find_spec("mediapipe") is None, reason="mediapipe is not installed")


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side: int) -> bytes:
    """A valid black PNG of 1 bit a pixel: kilobytes that unpack to side² pixels."""
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def noise(height: int, width: int) -> bytes:
    return images.encode_png(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def variant(number: int) -> bytes:
    """The same drawn person in other bytes."""
    pixels = drawn(0).image.copy()
    pixels[0, 0] = number
    return images.encode_png(pixels)


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Name → (bytes, the code that it is refused with)."""
    portrait = np.asarray(skimage.data.astronaut())
    jpeg = encoded(Image.fromarray(portrait), "JPEG")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "empty.png": (b"", "empty"),
        "text.jpg": (b"I am no picture.\n" * 40, "not_an_image"),
        "bomb.png": (bomb(12_000), "too_many_pixels"),
        "larger_bomb.png": (bomb(15_000), "too_many_pixels"),
        "animated.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "animated"),
        "wide.png": (noise(8, 20_000), "too_wide"),
        "one_pixel.png": (noise(1, 1), "no_face"),
        "noise.png": (noise(256, 256), "no_face"),
        "portrait_cut_in_half.png": (images.encode_png(np.ascontiguousarray(portrait[:, :222])), "no_face"),
        "portrait_cut_at_the_edge.png": (images.encode_png(np.ascontiguousarray(portrait[:, :234])), "face_cut_off"),
        "half_outside.png": (variant(1), "face_cut_off"),
        "tiny_face.png": (variant(2), "face_too_small"),
        "one_point.png": (variant(3), "face_too_small"),
        "two_hundred.png": (variant(4), "too_many_faces"),
        "listed_without_faces.png": (variant(5), "no_face"),
        "a_copy.png": (variant(100), "duplicate_photo"),
        "no_row.png": (variant(6), "no_source"),
        "no_licence.png": (variant(7), "no_licence"),
        "odd_licence.png": (variant(8), "licence_unknown"),
        "no_origin.png": (variant(9), "no_origin"),
        "sub/Thumbs.db": (b"\xd0\xcf\x11\xe0", "not_an_image"),
    }


def listed(scale: float = 1.0, shift: float = 0.0) -> list[dict[str, object]]:
    points = drawn(0).landmarks * scale + np.float32([shift, 0])
    return [{"scheme": "openpose_70", "landmarks": points.tolist()}]


LANDMARKS = {
    "half_outside.png": listed(shift=-256.0),
    "tiny_face.png": listed(scale=0.05),
    "one_point.png": listed(scale=0.0),
    "two_hundred.png": listed() * 200,
    "listed_without_faces.png": [],
}
ROWS = {
    "no_licence.png": {"licence": ""},
    "odd_licence.png": {"licence": "all rights reserved"},
    "no_origin.png": {"origin": ""},
}


def special_files(photos: Path) -> dict[str, str]:
    """What is no photo though it has a name: links, pipes, devices. Name → code."""
    outside = photos.parent / "outside.png"
    outside.write_bytes(variant(10))
    (photos.parent / "elsewhere").mkdir()
    for name, goal in (
        ("dangling.png", "nowhere.png"),
        ("self.png", "self.png"),
        ("leads_out.png", outside),
        ("zero.png", "/dev/zero"),
        ("loop", photos),
        ("folder_outside", photos.parent / "elsewhere"),
    ):
        (photos / name).symlink_to(goal)
    os.mkfifo(photos / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(photos / "socket.png"))
    return {
        "dangling.png": "unreadable",
        "self.png": "unreadable",
        "leads_out.png": "outside_folder",
        "zero.png": "outside_folder",
        "loop": "not_a_file",
        "folder_outside": "outside_folder",
        "pipe.png": "not_a_file",
        "socket.png": "not_a_file",
    }


def dreadful(root: Path) -> tuple[Layout, dict[str, str], list[str]]:
    """A dataset of everything that is bad and some that is good: expected codes by path, accepted paths."""
    layout = tiny_dataset(root, photos=2, ingest={"finders": ["sidecar", "mediapipe"], "size_px": 256})
    (layout.photos / "sub").mkdir()
    bad = bad_files()
    for name, (data, _) in bad.items():
        (layout.photos / name).write_bytes(data)
    accepted = {"drawn_00.png": listed(), "drawn_01.png": listed(), "really_a_png.jpg": listed()}
    (layout.photos / "really_a_png.jpg").write_bytes(variant(99))
    (layout.photos / "a_bit_before.png").write_bytes(variant(100))
    accepted["a_bit_before.png"] = listed()
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(layout.photos) + b"/" + name)).write_bytes(variant(50 + number))
        accepted[name.decode("utf-8", "backslashreplace")] = listed()
    codes = {name: code for name, (_, code) in bad.items()} | special_files(layout.photos)
    codes |= {"not_there.png": "photo_missing"}
    named = sorted({*codes, *accepted} - {"no_row.png"})
    write_sources(root, [source_row(name, **ROWS.get(name, {})) for name in named])
    layout.landmarks.write_text(json.dumps(accepted | LANDMARKS))
    return layout, codes, sorted(accepted)


def mmtt(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mmtt", *arguments], cwd=ROOT, capture_output=True, text=True)


def refused(layout: Layout) -> dict[str, str]:
    return {row.path: row.code for row in read_table(layout.pristine / "rejections.parquet", Rejection)}


@needs_mediapipe
def test_every_bad_file_becomes_a_rejection_and_every_good_one_a_record(tmp_path):
    layout, codes, accepted = dreadful(tmp_path)
    told = mmtt("ingest", str(tmp_path), "--json")
    assert (told.returncode, told.stderr) == (3, "")
    assert refused(layout) == codes
    assert sorted(row.path for row in read_table(layout.lineage, Lineage)) == accepted

    manifest = Manifest.load(layout.pristine)
    assert manifest.rejections == dict(Counter(codes.values()))
    on_disk = sum(len(files) for _, _, files in os.walk(layout.photos)) + 2  # links to folders are listed as folders
    assert manifest.rows + sum(manifest.rejections.values()) == on_disk + 1  # the row without a photo
    expected = {"accepted": len(accepted), "rejections": {f"ingest/{c}": n for c, n in manifest.rejections.items()}}
    assert json.loads(told.stdout) == [{"stage": "ingest"} | expected]

    recipe = yaml.safe_load(layout.recipe.read_text()) | {"tolerate": {"ingest": 0.9}}
    layout.recipe.write_text(yaml.safe_dump(recipe))
    again = mmtt("ingest", str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert all(f"{n} ingest/{code}" in again.stdout for code, n in manifest.rejections.items())
    assert Manifest.load(layout.pristine) == manifest


def test_a_photo_of_two_hundred_faces_gives_two_hundred_records(tmp_path):
    layout = tiny_dataset(tmp_path, photos=1)
    section = {"finders": ["sidecar"], "size_px": 256, "faces": "all", "max_faces": 200}
    layout.recipe.write_text(yaml.safe_dump(yaml.safe_load(layout.recipe.read_text()) | {"ingest": section}))
    faces = [face for shift in np.linspace(-10, 10, 200) for face in listed(shift=float(shift))]
    layout.landmarks.write_text(json.dumps({"drawn_00.png": faces}))
    manifest = ingest(layout, Recipe.load(layout.recipe), serial, silent)
    assert (manifest.rows, manifest.rejections) == (200, {})
    rows = read_columns(layout.pristine, ["record_id", "group_id"])
    assert len({row["record_id"] for row in rows}) == 200
    assert len({row["group_id"] for row in rows}) == 1


def test_each_bad_face_of_a_photo_is_told_and_the_others_stay(tmp_path):
    section = {"finders": ["sidecar"], "size_px": 256, "faces": "all"}
    layout = tiny_dataset(tmp_path, photos=2, ingest=section, buckets=1)
    second = json.loads(layout.landmarks.read_text())["drawn_01.png"]
    mixed = [*listed(shift=300.0), *listed(), *listed(scale=0.05)]
    layout.landmarks.write_text(json.dumps({"drawn_00.png": mixed}))
    recipe = Recipe.load(layout.recipe)
    manifest = ingest(layout, recipe, serial, silent)
    assert (manifest.rows, manifest.rejections) == (1, {"face_cut_off": 1, "face_too_small": 1, "no_face": 1})
    rejected = read_table(layout.pristine / "rejections.parquet", Rejection)
    assert [row.detail.split(":")[0] for row in rejected][:2] == ["face 0", "face 2"]
    # The bucket is written again for the other photo's sake: nothing is lost, nothing is doubled.
    layout.landmarks.write_text(json.dumps({"drawn_00.png": mixed, "drawn_01.png": second}))
    manifest = ingest(layout, recipe, serial, silent)
    assert (manifest.rows, manifest.rejections) == (2, {"face_cut_off": 1, "face_too_small": 1})


def test_landmarks_at_random_are_refused_or_aligned_but_never_stop_a_run(tmp_path):
    rng = np.random.default_rng(0)
    spans = [0.01, 1.0, 40.0, 500.0, 1e9]
    layout = tiny_dataset(tmp_path, photos=1, ingest={"finders": ["sidecar"], "size_px": 256, "max_outside_share": 1})
    landmarks = {}
    for number in range(25):
        (layout.photos / f"{number}.png").write_bytes(noise(64, 64 + number))
        points = rng.normal(256, spans[number % 5], (70, 2))
        points[:, number % 2] *= rng.choice([-1, 0, 1])
        landmarks[f"{number}.png"] = [{"scheme": "openpose_70", "landmarks": points.tolist()}]
    layout.landmarks.write_text(json.dumps(landmarks))
    write_sources(tmp_path, [source_row("*")])
    manifest = ingest(layout, Recipe.load(layout.recipe), serial, silent)
    assert manifest.rows + sum(manifest.rejections.values()) == 26


def test_a_file_is_read_only_up_to_the_limit(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(1000))
    assert read_photo(path, tmp_path, 1000) == bytes(1000)
    with pytest.raises(Rejected, match="1,000 bytes are more than 999"):
        read_photo(path, tmp_path, 999)


def test_a_photo_that_changes_while_it_is_ingested_is_refused(tmp_path):
    layout = tiny_dataset(tmp_path, photos=2)

    def meddling(function, items):
        (layout.photos / "drawn_00.png").write_bytes(variant(1))
        return serial(function, items)

    manifest = ingest(layout, Recipe.load(layout.recipe), meddling, silent)
    assert (manifest.rows, manifest.rejections) == (1, {"changed_meanwhile": 1})


def test_no_photos_at_all_is_the_users_mistake(tmp_path):
    layout = tiny_dataset(tmp_path, photos=1)
    (layout.photos / "drawn_00.png").unlink()
    recipe = Recipe.load(layout.recipe)
    with pytest.raises(UserError, match=r"holds no files. Put the photos there"):
        ingest(layout, recipe, serial, silent)
    layout.photos.rmdir()
    with pytest.raises(UserError, match=r"is not a folder. Put the photos there"):
        ingest(layout, recipe, serial, silent)
