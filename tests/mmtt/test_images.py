import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mmtt import images
from mmtt.errors import DamagedError, Rejected
from tests.factories import make_edit

RED, WHITE = (200, 30, 40), (255, 255, 255)


def encoded(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def plain(color=RED, mode="RGB", size=(12, 8)):
    return Image.new(mode, size, color)


def png(width, height, depth, kind, rows):
    """A PNG written by hand: Pillow writes neither lies nor 16-bit RGB."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def png_header(width, height):
    return png(width, height, 8, 2, b"\0" * 100)


def png_16_bits(pixels):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 16, 2 if pixels.ndim == 3 else 0, rows)


def refused(data, **options):
    with pytest.raises(Rejected) as caught:
        images.decode_photo(data, **options)
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "color", "tolerance"),
    [
        (encoded(plain()), RED, 0),
        (encoded(plain(), "BMP"), RED, 0),
        (encoded(plain(), "TIFF"), RED, 0),
        (encoded(plain(), "WEBP", lossless=True), RED, 0),
        (encoded(plain(), "JPEG", quality=98), RED, 4),
        (encoded(plain().convert("CMYK"), "JPEG", quality=98), RED, 4),
        (encoded(plain().convert("CMYK"), "TIFF"), RED, 1),
        (encoded(plain().quantize(4)), RED, 0),
        (encoded(plain().quantize(4), "GIF"), RED, 0),
        (encoded(plain(77, "L")), (77, 77, 77), 0),
        (encoded(plain(1, "1")), WHITE, 0),
        (encoded(plain((*RED, 255), "RGBA")), RED, 0),
        (encoded(plain((*RED, 0), "RGBA")), WHITE, 0),
        (encoded(plain((0, 0, 0, 128), "RGBA")), (127, 127, 127), 1),
        (encoded(plain((77, 255), "LA")), (77, 77, 77), 0),
        (encoded(plain((77, 0), "LA")), WHITE, 0),
        (encoded(plain().quantize(4), transparency=0), WHITE, 0),
        (encoded(plain(), transparency=RED), WHITE, 0),
    ],
)
def test_every_kind_of_picture_becomes_rgb_of_8_bits(data, color, tolerance):
    rgb = images.decode_photo(data)
    assert rgb.shape == (8, 12, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - color).max() <= tolerance


@pytest.mark.parametrize("value", [0, 200, 257 * 77, 65535])
def test_16_bit_grey_is_scaled_by_its_depth_and_not_by_its_content(value):
    rgb = images.decode_photo(png_16_bits(np.full((8, 12), value)))
    assert np.array_equal(rgb, np.full((8, 12, 3), round(value / 257)))


def test_16_bit_rgb_keeps_its_colours():
    rgb = images.decode_photo(png_16_bits(np.broadcast_to(np.array(RED) * 257, (8, 12, 3))))
    assert np.array_equal(rgb[0, 0], RED)


@pytest.mark.parametrize("pixels", [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 1 << 20, np.int32)])
def test_pixels_deeper_than_16_bits_are_refused_instead_of_becoming_black_or_white(pixels):
    assert refused(encoded(Image.fromarray(pixels), "TIFF")) == "unsupported_depth"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, form):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (255, 0, 0)
    upright[8:, 16:] = (0, 0, 255)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    rgb = images.decode_photo(encoded(stored, form, exif=exif, **options))
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).mean() < 12


def swapped_profile():
    """A profile whose red is sRGB's green and the other way round: no conversion leaves it unseen."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(struct.unpack(">I", data[128:132])[0])
    }
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


@pytest.mark.parametrize(
    "picture",
    [plain((250, 20, 30)), plain((250, 20, 30, 255), "RGBA"), plain((250, 20, 30)).quantize(4)],
    ids=["RGB", "with alpha", "palette"],
)
def test_icc_profile_becomes_srgb(picture):
    rgb = images.decode_photo(encoded(picture, icc_profile=swapped_profile()))
    assert np.abs(rgb[0, 0].astype(int) - (20, 250, 30)).max() <= 3


def test_broken_icc_profile_is_ignored():
    assert tuple(images.decode_photo(encoded(plain(), icc_profile=b"no profile"))[0, 0]) == RED


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(form):
    frames = [plain((10 * i, 0, 0)) for i in range(3)]
    assert refused(encoded(frames[0], form, save_all=True, append_images=frames[1:])) == "animated"


def test_of_a_cameras_several_views_the_first_is_the_photo():
    data = encoded(plain(), "MPO", save_all=True, append_images=[plain((0, 0, 255))])
    assert np.abs(images.decode_photo(data)[0, 0].astype(int) - RED).max() <= 4


def test_what_is_no_picture_is_refused_by_name():
    assert refused(b"") == "empty"
    assert refused(b"not a picture, whatever its name ends in") == "not_an_image"
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_truncated_picture_is_never_half_a_picture(form):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = encoded(noise, form)
    for share in (0.1, 0.5, 0.9):
        assert refused(data[: int(len(data) * share)]) in ("truncated", "not_an_image")


def test_a_picture_that_only_claims_to_be_huge_is_refused_before_it_is_decoded():
    assert refused(png_header(60_000, 60_000)) == "too_many_pixels"
    assert refused(png_header(9_600, 9_600), max_pixels=92_000_000) == "too_many_pixels"
    assert refused(encoded(plain()), max_pixels=95) == "too_many_pixels"
    assert images.decode_photo(encoded(plain()), max_pixels=96).shape == (8, 12, 3)


def test_one_pixel_is_a_photo():
    assert np.array_equal(images.decode_photo(encoded(plain(size=(1, 1)))), [[RED]])


def seeds():
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (9, 7, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    animated = {"save_all": True, "append_images": [plain(size=(7, 9))]}
    return [
        *(encoded(noise, form, exif=exif, icc_profile=swapped_profile()) for form in ("JPEG", "PNG", "WEBP", "TIFF")),
        encoded(noise, "BMP"),
        encoded(noise, "GIF"),
        *(encoded(noise, form, **animated) for form in ("GIF", "TIFF", "WEBP", "PNG")),
        encoded(noise, "TIFF", compression="tiff_lzw"),
        encoded(noise.convert("CMYK"), "JPEG"),
        encoded(noise.quantize(7), transparency=b"\1\2\3"),
    ]


def decodes_or_refuses(data):
    try:
        rgb = images.decode_photo(data, max_pixels=10_000)
    except Rejected as reason:
        assert reason.code in {
            "empty", "not_an_image", "too_many_pixels", "animated", "unsupported_depth", "truncated"
        }  # fmt: skip
    else:
        assert rgb.dtype == np.uint8
        assert rgb.shape[2] == 3


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", b"GIF89a", b"II*\0", b"BM", b"\xff\xd8\xff", b"RIFF"]), st.binary(max_size=300))
def test_hostile_bytes_are_only_ever_rejected(start, rest):
    decodes_or_refuses(start + rest)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(seeds()), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_picture_with_flipped_bytes_is_decoded_or_rejected(data, flips):
    broken = bytearray(data)
    for place, value in flips:
        broken[min(int(place * len(broken)), len(broken) - 1)] = value
    decodes_or_refuses(bytes(broken))


def test_our_pngs_hold_the_pixels_and_nothing_else():
    rgb, edit = make_edit(3, 64)
    gray = (edit.alpha * 255).astype(np.uint8)
    assert np.array_equal(images.decode_rgb(images.encode_png(rgb)), rgb)
    assert np.array_equal(images.decode_gray(images.encode_png(gray)), gray)
    assert images.encode_png(rgb) == images.encode_png(rgb.copy())
    assert Image.open(io.BytesIO(images.encode_png(rgb))).info == {}
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(images.encode_png(rgb)))), rgb)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", images.encode_png(np.zeros((4, 4), np.uint8)), images.encode_png(np.zeros((4, 4, 3), np.uint16))],
    ids=["empty", "text", "grey", "16 bits"],
)
def test_a_picture_of_another_kind_is_no_rgb(data):
    with pytest.raises(ValueError, match="not"):
        images.decode_rgb(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", images.encode_png(np.zeros((4, 4, 3), np.uint8)), images.encode_png(np.zeros((4, 4), np.uint16))],
    ids=["empty", "text", "RGB", "16 bits"],
)
def test_a_picture_of_another_kind_is_no_mask(data):
    with pytest.raises(ValueError, match="not"):
        images.decode_gray(data)


def test_a_picture_with_its_mask_is_both_of_them_in_one_array():
    image, edit = make_edit(0, 48)
    data, mask = images.encode_png(image), (edit.alpha * 255).astype(np.uint8)
    used = np.empty((48, 48, 4), np.uint8)
    pixels = images.decode_with_mask(data, images.encode_png(mask), used)
    assert pixels is used
    assert np.array_equal(pixels[..., :3], image)
    assert np.array_equal(pixels[..., 3], mask)
    assert np.array_equal(images.decode_with_mask(data, images.encode_png(mask), used[:9]), pixels)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "not RGB"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), "not of one channel"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), r"\(4, 5\) belongs to no picture of \(4, 4\)"),
    ],
)
def test_a_mask_that_is_none_of_its_picture_is_damage(first, second, told):
    with pytest.raises(DamagedError, match=told):
        images.decode_with_mask(images.encode_png(first), images.encode_png(second))


def test_perceptual_hash_survives_resizing_and_tells_pictures_apart():
    first, second = make_edit(0, 128)[0], make_edit(1, 128)[0]
    smaller = np.asarray(Image.fromarray(first).resize((96, 96), Image.Resampling.LANCZOS))

    def distance(a, b):
        return (int(images.perceptual_hash(a), 16) ^ int(images.perceptual_hash(b), 16)).bit_count()

    assert len(images.perceptual_hash(first)) == 16
    assert distance(first, smaller) <= 4 < 16 < distance(first, second)


def test_the_mark_lies_beside_the_picture_and_never_on_it():
    rgb = make_edit(0, 64)[0]
    framed = images.mark_border(rgb)
    edge = (framed.shape[0] - 64) // 2
    assert np.array_equal(framed[edge:-edge, edge:-edge], rgb)
    assert len(np.unique(framed[:edge].reshape(-1, 3), axis=0)) > 1
