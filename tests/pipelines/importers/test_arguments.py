"""What a user says wrong of a whole dataset is told in one sentence, before anything is read or written."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image

from mmtt.errors import UserError
from mmtt.manifest import MANIFEST
from pipelines import cli_import
from pipelines.builds import Build
from pipelines.importers.columns import Told
from pipelines.importers.pairs import Rights
from pipelines.importers.writing import require_folder
from pipelines.overview import write_overview
from tests.pipelines.importers.strangers import bring, made, pictures, put, refusals, refused, table

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "markup as a licence": (lambda: Rights(licence="LicenseRef-<b>x</b>"), "after LicenseRef- stand only letters"),
    "an endless licence": (lambda: Rights(licence="LicenseRef-" + "x" * 5000), "must have 1 to 200 characters"),
    "a consent with controls": (lambda: Rights(licence="MIT", consent="a\x1b[2J"), "--consent 'a"),
    "a consent in words of one's own": (
        lambda: Rights(licence="MIT", consent="redistributon"),
        "--consent: 'redistributon' is no word of a consent. Did you mean 'redistribution'?",
    ),
    "a name with controls": (lambda: Told(name="a\x00b"), "--name 'a"),
    "no name": (lambda: Told(name="  "), "--name"),
    "a language of two words": (lambda: Told(name="x", language="en us"), "no BCP 47 tag, such as en"),
    "a column that is none": (
        lambda: Told(name="x", columns={"imag": "a"}),
        "Did you mean 'image'? Known: image, mask",
    ),
    "a family that is none": (lambda: Told(name="x", families={"a": "b"}), "Known: attribute_edit"),
    "a column twice": (
        lambda: cli_import._told("x", ["image=a", "image=a"], None, "unknown", "en"),
        "--column image=… is given twice",
    ),
    "a label twice": (
        lambda: cli_import._told("x", None, ["a=recolour", "a=retouch"], "unknown", "en"),
        "--family a=… is given twice",
    ),
    "a table without columns": (lambda: Told(name="x").found_in([], "t.csv"), "It has no column at all."),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused_in_one_sentence(name):
    say, sentence = WRONG[name]
    with pytest.raises(UserError) as error:
        say()
    assert sentence in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("language", ["en", "zh-Hant", "pt-BR", "und"])
def test_tags_of_languages_are_taken(language):
    assert Told(name="x", language=language).language == language


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_is_no_place_for_a_dataset(tmp_path, below):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file is a file\. Name a folder"):
        require_folder(tmp_path / "file" / below)


def header_of_a_bomb() -> bytes:
    """A PNG that says it is 60,000×60,000."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def odd(root: Path) -> Path:
    """A folder with a table of pictures of which none can be used."""
    picture = Image.open(io.BytesIO(made(0).forged))
    for mode, kind in (("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG")):
        held = io.BytesIO()
        picture.convert(mode).save(held, kind)
        put(root, f"{mode}.{kind.lower()}", held.getvalue())
    put(root, "bomb.png", header_of_a_bomb())
    put(root, "m.png", made(0).mask)
    names = ("L.png", "RGBA.png", "P.png", "CMYK.jpeg", "bomb.png")
    return table(root, [{"image": name, "mask": "m.png"} for name in names])


def test_a_summary_says_which_pictures_are_not_rgb_and_what_to_do(tmp_path, capsys):
    layout, _ = bring(odd(tmp_path / "in"), tmp_path / "out")
    assert refused(layout) >= {("not_rgb", "L.png"), ("not_rgb", "P.png"), ("bad_image", "bomb.png")}
    assert [row.detail for row in refusals(layout) if row.path == "bomb.png"] == [
        "its header claims more than the 100,000,000 pixels that are decoded"
    ]
    with pytest.raises(typer.Exit) as ended:
        cli_import.conclude(layout.root, False, {}, lambda _: [])
    assert ended.value.exit_code == 3
    told = capsys.readouterr().out
    for kind in (
        "PNG of mode L (grey)",
        "PNG of mode RGBA (with alpha)",
        "PNG of mode P (palette)",
        "JPEG of mode CMYK",
    ):
        assert f"1 {kind}" in told
    assert "convert them, and import again" in told
    recipe = yaml.safe_load(layout.recipe.read_text())
    assert recipe["tolerate"] == {"imported": 0.05}
    layout.recipe.write_text(yaml.safe_dump(recipe | {"tolerate": {"imported": 1.0}}))
    with pytest.raises(typer.Exit) as ended:
        cli_import.conclude(layout.root, False, {}, lambda _: [])
    assert ended.value.exit_code == 0


def test_an_import_of_which_all_was_refused_says_so_and_where(tmp_path):
    layout, _ = bring(odd(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(UserError, match=r"all was refused \(4 not_rgb, 1 bad_image\).*/forged/rejections\.parquet"):
        Build(layout.root).rows(())
    assert "everything that was to be imported was refused, 5 in all" in write_overview(layout.root).read_text("utf-8")


def test_an_import_that_did_not_come_to_its_end_is_to_be_run_again(tmp_path):
    pictures(tmp_path / "in", range(1))
    layout, _ = bring(tmp_path / "in", tmp_path / "out")
    for folder in (layout.forged, layout.pristine):
        (folder / MANIFEST).unlink()
    shutil.rmtree(layout.root / "reports")
    for look in (lambda: Build(layout.root).rows(()), lambda: write_overview(layout.root)):
        with pytest.raises(UserError, match="has not come to its end: run the same import again"):
            look()
