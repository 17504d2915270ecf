"""Headers are read as their formats define them, and no bytes whatever crash or detain the reader."""

import io
import struct
import time
import zlib
from math import isnan

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmtt import images
from pipelines.audits.containers import CONTAINERS, MOST_PARTS, parts
from pipelines.audits.shortcuts.headers import FEATURES, read_header

_PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8))


def _encoded(kind: str, **options) -> bytes:
    stream = io.BytesIO()
    _PIXELS.save(stream, kind, **options)
    return stream.getvalue()


FILES = {
    "PNG": _encoded("PNG"),
    "JPEG": _encoded("JPEG", quality=88),
    "WebP": _encoded("WEBP", quality=80),
    "GIF": _encoded("GIF"),
    "BMP": _encoded("BMP"),
    "TIFF": _encoded("TIFF"),
}


@pytest.mark.parametrize("name", FILES)
def test_container_and_size_are_read(name):
    found = read_header(FILES[name])
    assert CONTAINERS[int(found["container"])] == name
    assert name == "TIFF" or (found["width"], found["height"]) == (56, 40)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0II*\0", "lossless": True}])
def test_size_of_other_webp_kinds_is_read(options):
    found = read_header(_encoded("WEBP", **options))
    assert (found["width"], found["height"], found["EXIF"]) == (56, 40, float("exif" in options))


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
def test_quality_is_that_of_the_encoder(quality):
    assert read_header(_encoded("JPEG", quality=quality))["JPEG quality"] == quality


def test_jpeg_details_are_told_apart():
    plain = read_header(FILES["JPEG"])
    assert plain["Huffman tables"] == 1 and plain["JPEG process"] == 0 and plain["restart interval"] == 0
    fancy = read_header(
        _encoded("JPEG", quality=88, optimize=True, progressive=True, subsampling=0, comment=b"made by x")
    )
    assert fancy["JPEG process"] == 2 and fancy["comment"] == 1
    assert fancy["chroma subsampling"] != plain["chroma subsampling"]
    assert read_header(_encoded("JPEG", quality=88, optimize=True))["Huffman tables"] == 0
    assert read_header(_encoded("JPEG", restart_marker_rows=1))["restart interval"] > 0
    assert read_header(_encoded("JPEG", icc_profile=b"profile"))["ICC profile"] == 1


def test_png_details_are_told_apart():
    plain, level_9 = read_header(FILES["PNG"]), read_header(_encoded("PNG", compress_level=9))
    assert plain["ancillary chunks"] == level_9["ancillary chunks"] and plain["zlib header"] != level_9["zlib header"]
    info = PngInfo()
    info.add_text("Software", "x")
    told = read_header(_encoded("PNG", pnginfo=info))
    assert told["comment"] == 1 and told["ancillary chunks"] != plain["ancillary chunks"]
    assert read_header(FILES["PNG"] + b"\0")["bytes after the end"] == 1


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP"])
def test_what_follows_the_end_is_told_and_nothing_else_is(name):
    assert read_header(FILES[name])["bytes after the end"] == 0
    assert read_header(FILES[name] + FILES["JPEG"])["bytes after the end"] == 1


def test_what_a_jpeg_holds_behind_its_first_scan_is_seen_and_its_scans_are_passed_over():
    several = _encoded("JPEG", quality=88, progressive=True)
    assert [part.kind for part in parts(several)].count(b"\xda") > 1
    assert read_header(several[:-2] + b"\xff\xfe\x00\x04hi\xff\xd9")["comment"] == 1


def test_bytes_that_only_content_moves_are_no_feature():
    """Two pictures, one encoder: nothing differs but what a single IDAT chunk cannot tell."""
    flat = images.encode_png(np.zeros((200, 200, 3), np.uint8))
    busy = images.encode_png(np.random.default_rng(1).integers(0, 256, (200, 200, 3)).astype(np.uint8))
    first, second = read_header(flat), read_header(busy)
    assert isnan(first.pop("IDAT size")) and second.pop("IDAT size") == 8192
    assert repr(first) == repr(second)


def _sound(found: dict[str, float]) -> bool:
    return tuple(found) == FEATURES and all(isinstance(value, float) for value in found.values())


@given(st.sampled_from(["", *FILES]), st.binary(max_size=400))
@example("PNG", b"")
@settings(max_examples=150, deadline=None)
def test_random_bytes_after_any_magic_are_read_without_harm(name, noise):
    assert _sound(read_header(FILES.get(name, b"")[:12] + noise))


@given(st.sampled_from(list(FILES)), st.integers(0, 2**32), st.integers(1, 12), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_mutated_and_cut_files_are_read_without_harm(name, seed, changes, kept):
    rng, data = np.random.default_rng(seed), bytearray(FILES[name])
    for at in rng.integers(0, min(len(data), 700), changes):
        data[at] = rng.integers(256)
    assert _sound(read_header(bytes(data[: int(kept * len(data))])))


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sI", 0, b"tEXt", zlib.crc32(b"tEXt")) * 1_000_000,
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 2_000_000,
        b"\xff\xd8" + b"\xff" * 8_000_000,
        b"\xff\xd8\xff\xc4\xff\xff" + b"\0" * 65_533 + (b"\xff\xc4\xff\xff" + b"\0" * 65_533) * 120,
        b"\xff\xd8" + (b"\xff\xc4\xff\xff" + (b"\0\x0c" + b"\0" * 27) * 2259 + b"\0" * 22) * 120,
    ],
    ids=["chunks", "segments", "fill bytes", "empty tables", "small tables"],
)
def test_a_file_made_to_detain_the_reader_costs_no_time(data):
    began = time.process_time()
    assert _sound(read_header(data))
    assert time.process_time() - began < 2
    assert len(data) > 4 * MOST_PARTS
