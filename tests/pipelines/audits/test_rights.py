"""Audits of rights: licences that do not close, marks that only some files carry, metadata that should not be there."""

import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmtt import images
from mmtt.audit import Verdict
from pipelines.audits.rights.metadata import MARKS, marks, pieces, remains
from tests.factories import make_forged_record, make_record, stored_dataset
from tests.pipelines.audits.verdicts import outcome

THUMBNAIL, GPS, BODY_SERIAL, ARTIST, COMMENT, SOFTWARE = 0x0201, 0x8825, 0xA431, 0x013B, 0x9286, 0x0131
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"/></x:xmpmeta>'
)


def records(seeds=range(4)):
    return [make_record(seed, licence="CC-BY-4.0", obligations=["BY"]) for seed in seeds], [
        make_forged_record(seed, licence="CC-BY-4.0") for seed in seeds
    ]


def picture(seed=0):
    return Image.fromarray(images.decode_rgb(make_record(seed).image))


def exif_of(**directories):
    """An Exif block of directories: `main`, `exif`, `gps` map tags to values."""
    exif = Image.Exif()
    exif.update(directories.get("main", {}))
    for number, name in ((0x8769, "exif"), (GPS, "gps")):
        exif.get_ifd(number).update(directories.get(name, {}))
    return exif.tobytes()


def with_thumbnail(order="<"):
    """A TIFF header, a first directory of one entry, a second one that points to a JPEG."""
    small = saved("JPEG", picture().resize((8, 8)))
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, 8)
    first = struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, 1, 0, 26)
    second = struct.pack(order + "HHHIIHHIII", 2, THUMBNAIL, 4, 1, 56, 0x0202, 4, 1, len(small), 0)
    return head + first + second + small


def saved(kind, image=None, **options):
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(kind, content, data=None):
    data = data or make_record(0).image
    return data[:33] + chunk(kind, content) + data[33:]


def jpeg_with(marker, content):
    data = saved("JPEG")
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


def text_png(key, value, *, packed=False):
    info = PngImagePlugin.PngInfo()
    info.add_itxt(key, value, zip=packed)
    return saved("PNG", pnginfo=info)


# --- R1 ---

LICENCES = {
    "a photo that allows no derivatives": {"licence": "CC-BY-ND-4.0"},
    "a donor that allows no derivatives": {"source_licence": "CC-BY-NC-ND-4.0"},
    "an obligation left out": {"obligations": []},
    "research-only weights that nobody tells of": {"weights_licence": "LicenseRef-weights"},
    "share-alike and research-only together": {
        "licence": "CC-BY-SA-4.0", "weights_licence": "LicenseRef-weights", "obligations": ["BY", "NC", "research-only"]
    },
    "a licence that nobody knows": {"licence": "as is"},
    "no licence of the program": {"code_licence": None},
    "another licence than its target": {"licence": "CC0-1.0"},
}  # fmt: skip


def test_licences_that_close_pass(tmp_path):
    pristine, forged = records()
    donated = replace(forged[0], source_id=pristine[1].record_id, source_licence="CC-BY-4.0")
    found = outcome(stored_dataset(tmp_path, pristine, [donated, *forged[1:]]), "R1")
    assert found.verdict is Verdict.PASSES
    assert found.finding.low is None
    assert found.finding.n == 8


@pytest.mark.parametrize("fault", LICENCES)
def test_a_licence_that_does_not_close_fails(fault, tmp_path):
    pristine, forged = records()
    forged[0] = replace(forged[0], **LICENCES[fault])
    found = outcome(stored_dataset(tmp_path, pristine, forged), "R1")
    assert found.verdict is Verdict.FAILS
    assert found.finding.statistic == 1 / 8
    assert [example.record_id for example in found.finding.worst] == [forged[0].record_id]


def test_a_donor_of_another_licence_than_is_told_fails(tmp_path):
    pristine, forged = records()
    forged[0] = replace(forged[0], source_id=pristine[1].record_id, source_licence="CC0-1.0")
    found = outcome(stored_dataset(tmp_path, pristine, forged), "R1")
    assert found.finding.worst[0].why == "its source_licence is not that of its donor"


@pytest.mark.parametrize(
    ("licence", "owed", "verdict"),
    [
        ("LicenseRef-celeba", ["BY", "NC", "research-only"], Verdict.PASSES),
        ("CC-BY-4.0", ["BY", "NC"], Verdict.PASSES),
        ("CC-BY-NC-4.0", ["BY"], Verdict.FAILS),
        ("CC-BY-ND-4.0", ["BY", "ND"], Verdict.FAILS),
    ],
)
def test_an_imported_row_may_owe_more_than_is_known_but_not_less(licence, owed, verdict, tmp_path):
    record = make_forged_record(
        0, mask_rule="imported", target_id=None, code_licence=None, licence=licence, obligations=owed
    )
    found = outcome(stored_dataset(tmp_path, [make_record(1)], [record]), "R1")
    assert found.verdict is verdict
    assert found.finding.details["forgeries by program of unknown licence"] == {"darken": 1}


# --- R3 ---

MARKED = {
    "text": text_png("Disclosure", "This picture was forged for research."),
    "packed text": text_png("Disclosure", "A deepfake.", packed=True),
    "text in JPEG": jpeg_with(0xFE, b"synthetic"),
    "C2PA": png_with(b"caBX", b"\0\0\0\x20jumbjumd c2pa"),
    "C2PA in JPEG": jpeg_with(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumbjumd c2pa"),
    "source type": png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "source type in JPEG": jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
}


@pytest.mark.parametrize("name", MARKED)
def test_a_mark_is_read_back(name):
    assert marks(MARKED[name]), name
    assert not remains(MARKED[name])


def test_plain_pictures_carry_nothing():
    for data in (make_record(0).image, saved("JPEG"), saved("WEBP"), saved("PNG"), saved("TIFF"), saved("BMP")):
        assert not marks(data)
        assert not remains(data)


def marked(record):
    data = png_with(b"caBX", b"\0\0\0\x20jumbjumd c2pa", record.image)
    return replace(record, image=data, image_sha256=images.sha256(data))


def test_a_mark_on_some_is_a_fault_and_on_all_or_none_is_not(tmp_path):
    pristine, forged = records()
    everywhere = [marked(r) for r in pristine], [marked(r) for r in forged]
    assert outcome(stored_dataset(tmp_path / "none", pristine, forged), "R3").verdict is Verdict.ABSENT
    assert outcome(stored_dataset(tmp_path / "all", *everywhere), "R3").verdict is Verdict.PASSES
    found = outcome(stored_dataset(tmp_path / "forged", pristine, everywhere[1]), "R3")
    assert found.verdict is Verdict.FAILS
    assert found.finding.statistic == 0.5
    assert found.finding.details["share marked by C2PA"] == {"forged": 1.0, "pristine": 0.0}
    found = outcome(stored_dataset(tmp_path / "one", everywhere[0], [*everywhere[1][:-1], forged[-1]]), "R3")
    assert found.verdict is Verdict.FAILS
    assert found.finding.worst[0].why == "its image lacks the mark C2PA"


def test_marks_of_two_kinds_that_tell_the_classes_apart_are_a_fault(tmp_path):
    pristine, forged = records()
    source = png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    pristine = [replace(record, image=source, image_sha256=images.sha256(source)) for record in pristine]
    found = outcome(stored_dataset(tmp_path, pristine, [marked(record) for record in forged]), "R3")
    assert found.verdict is Verdict.FAILS
    assert found.finding.statistic == 1
    assert set(MARKS) > {"C2PA"}


# --- R4 ---

LEFT = {
    "an EXIF thumbnail in JPEG": ("thumbnail", jpeg_with(0xE1, b"Exif\0\0" + with_thumbnail())),
    "an EXIF thumbnail in PNG": ("thumbnail", png_with(b"eXIf", with_thumbnail(">"))),
    "an EXIF thumbnail in WebP": ("thumbnail", saved("WEBP", exif=b"Exif\0\0" + with_thumbnail())),
    "a position": ("GPS position", saved("JPEG", exif=exif_of(gps={1: "N", 2: (52.0, 31.0, 0.0)}))),
    "a camera's number": ("serial number or owner", saved("JPEG", exif=exif_of(exif={BODY_SERIAL: "0815-4711"}))),
    "a photographer": ("serial number or owner", saved("PNG", exif=exif_of(main={ARTIST: "A Person"}))),
    "a user's comment": ("comment or text", saved("JPEG", exif=exif_of(exif={COMMENT: b"ASCII\0\0\0my aunt"}))),
    "a JPEG comment": ("comment or text", saved("JPEG", comment=b"taken at home")),
    "a PNG text": ("comment or text", text_png("Author", "A Person")),
    "a packed PNG text": ("comment or text", png_with(b"zTXt", b"Comment\0\0" + zlib.compress(b"taken at home"))),
    "EXIF in hexadecimal": (
        "thumbnail",
        png_with(b"tEXt", b"Raw profile type exif\0\nexif\n   9\n" + (b"Exif\0\0" + with_thumbnail()).hex().encode()),
    ),
    "a thumbnail of Photoshop's": ("thumbnail", jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x0c\0\0\0\0\0\x04jpeg")),
    "a thumbnail in XMP": (
        "thumbnail", jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0<xmpGImg:image>/9j/</xmpGImg:image>")
    ),
    "a second view": ("thumbnail", jpeg_with(0xE2, b"MPF\0II*\0")),
    "a picture after the end": ("bytes after the end", saved("JPEG") + saved("JPEG")),
    "a picture after a PNG's end": ("bytes after the end", saved("PNG") + saved("JPEG")),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_was_left_in_a_file_is_found(name):
    expected, data = LEFT[name]
    assert expected in remains(data)


def test_what_an_encoder_says_of_itself_is_no_leak():
    assert not remains(saved("JPEG", exif=exif_of(main={SOFTWARE: "encoder 1.0"})))
    assert not remains(saved("PNG", dpi=(72, 72)))
    assert not remains(text_png("Software", "encoder 1.0"))
    assert not remains(saved("JPEG", progressive=True, quality=95))


ENCODERS = (
    b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n", b"Lavc57.107.100\0", b"LEAD Technologies Inc. V1.01",
    b"Created with GIMP", b"Created with The GIMP", b"File written by Adobe Photoshop\xa8 4.0", b"AppleMark\n",
    b"Intel(R) JPEG Library, version 1,5,4,36", b"Compressed by jpeg-recompress", b"", b" \0",
)  # fmt: skip


@pytest.mark.parametrize("words", ENCODERS)
def test_what_an_encoder_comments_is_no_leak_but_what_follows_may_be(words):
    assert not remains(jpeg_with(0xFE, words))
    assert not remains(png_with(b"tEXt", b"Comment\0" + words))
    told = words + b" of my aunt at home, in the garden behind the house" * 3
    assert remains(jpeg_with(0xFE, told)) == {"comment or text"}


@pytest.mark.parametrize("column", ["image", "pristine", "origin_mask"])
def test_a_thumbnail_in_any_picture_of_a_row_fails(column, tmp_path):
    pristine, forged = records()
    forged[0] = replace(forged[0], **{column: LEFT["an EXIF thumbnail in PNG"][1]})
    found = outcome(stored_dataset(tmp_path, pristine, forged), "R4")
    assert found.verdict is Verdict.FAILS
    assert found.finding.worst[0].why == "its files carry: thumbnail"
    json.dumps(found.to_dict(), allow_nan=False)


def test_pictures_without_metadata_pass(tmp_path):
    assert outcome(stored_dataset(tmp_path, *records()), "R4").verdict is Verdict.PASSES


def test_no_bytes_make_the_reader_fail_or_wait():
    rng = np.random.default_rng(0)
    wholes = [*MARKED.values(), *(data for _, data in LEFT.values()), saved("WEBP")]
    for data in wholes:
        for _ in range(10):
            torn = bytearray(data[: rng.integers(1, len(data))])
            for at in rng.integers(len(torn), size=8):
                torn[at] = rng.integers(256)
            list(pieces(bytes(torn)))
            assert marks(bytes(torn)) <= set(MARKS)
            remains(bytes(torn))


def test_directories_that_point_at_each_other_and_texts_that_inflate_end():
    loop = b"II" + struct.pack("<HI", 42, 8) + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    assert not remains(png_with(b"eXIf", loop))
    bomb = zlib.compress(bytes(20_000_000))
    assert remains(png_with(b"zTXt", b"Comment\0\0" + bomb)) == {"comment or text"}
