"""The published MMTT comes in row for row; what is wrong with a copy of it is one rejection or one clear sentence."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mmtt.check import verify_all
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, Manifest, read
from mmtt.progress import silent
from mmtt.record import Rejection
from mmtt.reports import Report
from mmtt.samples import read_samples
from mmtt.shards import read_rows, read_table
from pipelines import cli_import
from pipelines.importers import archive, mmtt_release
from pipelines.importers.mmtt_release import import_release
from tests.factories import make_forged_record, make_record
from tests.pipelines.importers.release_maker import (
    THEIRS,
    Sample,
    differences,
    put,
    sample,
    write_lists,
    write_release,
)

TEXTS = ("The left eye looks blurred.", "The brow is cut off.", "Wrong nose; the skin is fine.", "The jaw line breaks.")


@cache
def samples(count: int) -> tuple[Sample, ...]:
    """Records of all four families; three photos make a group."""
    makers = list(THEIRS)
    return tuple(
        sample(
            make_forged_record(number, manipulator=makers[number % len(makers)]),
            number // 3,
            TEXTS[number % len(TEXTS)],
            ("train", "train", "validation", "test")[number // 3 % 4],
        )
        for number in range(count)
    )


LICENCE = "LicenseRef-CelebA-HQ-FFHQ"
AS_RELEASED = {"licence": LICENCE, "text_origin": "human_translated"}


def imported(source: Path, root: Path, **options) -> Manifest:
    (root / "private").mkdir(parents=True, exist_ok=True)
    (root / "private" / "salt").write_text("tests", encoding="ascii")
    return import_release(source, root, serial, (silent, silent), **AS_RELEASED | options).manifest


def changed(made: Sample, **keys) -> Sample:
    return replace(made, value={**made.value, **keys})


def refused(root: Path) -> list[tuple[str, str]]:
    rows = read_table(root / "forged" / REJECTIONS, Rejection)
    assert all(row.stage == "import" and row.detail for row in rows)
    return [(row.code, row.path) for row in rows]


def tree(root: Path) -> dict[str, bytes]:
    kept = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


def test_a_release_comes_back_row_for_row(tmp_path):
    made = samples(48)
    write_release(tmp_path / "release", made)
    assert len(list((tmp_path / "release").glob("dataset.tar.gz.part*"))) > 3
    assert imported(tmp_path / "release", tmp_path / "d").rows == 48
    assert list(differences(tmp_path / "d", made)) == []
    assert refused(tmp_path / "d") == []
    assert list(verify_all([tmp_path / "d" / "pristine", tmp_path / "d" / "forged"])) == []
    assert len(read_samples(tmp_path / "d")) == 48
    families = {record.manipulator: record.manipulation for record in read(tmp_path / "d" / "forged")}
    assert families == {
        "e4s": "face_swap", "mat": "transformer_inpainting", "stable_diffusion": "diffusion_inpainting",
        "unknown": "attribute_edit",
    }  # fmt: skip
    assert not list((tmp_path / "d").rglob("*.tmp"))


def test_texts_say_what_is_known_of_where_they_come_from(tmp_path):
    write_release(tmp_path / "release", samples(4))
    imported(tmp_path / "release", tmp_path / "d")
    report = read_table(tmp_path / "d" / "reports" / "reports.parquet", Report)[0]
    assert (report.text_origin, report.protocol, report.annotator) == ("human_translated", "paper", "unknown")
    imported(tmp_path / "release", tmp_path / "other", text_origin="template")
    report = read_table(tmp_path / "other" / "reports" / "reports.parquet", Report)[0]
    assert report.text_origin == "template"


def test_forgeries_of_one_photo_share_a_group_and_folders_of_photos_do_not(tmp_path):
    made = samples(3)
    ids = [("e4s_123", "dataset/celeb512/e4s/123.png"), ("mat_123", "dataset/celeb512/mat/123.png"),
           ("sd_123", "dataset/FFHQ512/sd/123.png")]  # fmt: skip
    named = [changed(one, image_id=name, img_path=path) for one, (name, path) in zip(made, ids, strict=True)]
    write_release(tmp_path / "release", named)
    imported(tmp_path / "release", tmp_path / "d")
    group = {record.origin_id: record.group_id for record in read(tmp_path / "d" / "forged")}
    assert group["e4s_123"] == group["mat_123"] != group["sd_123"]


@pytest.mark.parametrize("prefix", ["", "./", "dataset/"], ids=["as listed", "with a dot", "nested once more"])
@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_files_are_found_however_the_archive_writes_their_folder(tmp_path, prefix, tar_format):
    made = samples(6)
    write_release(tmp_path / "release", made, tar_format=tar_format)
    listed = {path.name: path.read_bytes() for path in (tmp_path / "release").glob("dataset_json*")}
    moved = [
        changed(one, img_path=prefix + one.value["img_path"], mask_path=prefix + one.value["mask_path"]) for one in made
    ]
    write_release(tmp_path / "release", moved, tar_format=tar_format)
    for name, data in listed.items():
        (tmp_path / "release" / name).write_bytes(data)
    imported(tmp_path / "release", tmp_path / "d")
    assert list(differences(tmp_path / "d", made)) == []


def test_simple_lists_stand_in_where_there_are_no_others(tmp_path):
    write_release(tmp_path / "release", samples(6), suffix="-simple")
    assert imported(tmp_path / "release", tmp_path / "d").rows == 6
    assert "train-mutilabel-simple.json" in Layout(tmp_path / "d").recipe.read_text()


def test_the_same_release_gives_the_same_bytes_however_it_is_cut(tmp_path):
    write_release(tmp_path / "few", samples(12), part_bytes=10_000_000)
    write_release(tmp_path / "many", samples(12), part_bytes=20_000)
    imported(tmp_path / "few", tmp_path / "one")
    imported(tmp_path / "many", tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


GOOD = 8  # records beside each odd one
FACES = "dataset/celeb512/e4s_gan"


def odd(**keys) -> Sample:
    """One more record, spoilt."""
    files = {name: keys.pop(name) for name in ("image", "mask") if name in keys}
    whole = changed(
        samples(GOOD + 1)[-1], image_id="e4s_999", img_path=f"{FACES}/odd.png", mask_path=f"{FACES}/odd_mask.png"
    )
    return replace(changed(whole, **keys), **files)


ODD = {
    "missing_mask": odd(mask=None),
    "missing_image": odd(image=None),
    "mask_size": odd(mask=make_forged_record(0, 32).mask),
    "bad_image": odd(image=b"no picture"),
    "bad_mask": odd(mask=b"no mask"),
    "empty_mask": odd(mask=make_record(0).mask),
    "not_rgb": odd(image=make_forged_record(0).alpha),
    "duplicate_id": odd(image_id=samples(1)[0].value["image_id"]),
    "bad_record: no text": odd(caption=None),
    "bad_record: a number for an id": odd(image_id=7),
    "bad_record: no path": odd(img_path=["x"]),
    "bad_record: empty path": odd(mask_path=" "),
    "bad_record: a short vector": odd(multilabel=[0, 1]),
    "bad_record: a vector of words": odd(multilabel=["eye"] * 21),
    "bad_record: half a character": odd(caption="\ud800"),
    "unsafe_path: up": odd(img_path="dataset/../../../etc/passwd", image=None),
    "unsafe_path: root": odd(mask_path="/etc/passwd", mask=None),
}  # fmt: skip


@pytest.mark.parametrize("spoilt", ODD.values(), ids=ODD)
def test_an_odd_record_is_one_rejection(tmp_path, spoilt, request):
    made = (*samples(GOOD), spoilt)
    files = [replace(one, value={**one.value, "img_path": str(one.value["img_path"]), "mask_path": "m"})
             if not isinstance(one.value["img_path"], str) else one for one in made]  # fmt: skip
    write_release(tmp_path / "release", files)
    relist(tmp_path / "release", made)
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD
    ((code, path),) = refused(tmp_path / "d")
    assert code == request.node.callspec.id.split(":")[0]
    assert path
    assert list(differences(tmp_path / "d", samples(GOOD))) == []
    assert list(verify_all([tmp_path / "d" / "pristine", tmp_path / "d" / "forged"])) == []


def relist(folder: Path, made) -> None:
    lists = {
        f"{split}-mutilabel.json": json.dumps([one.value for one in made if one.split == split]).encode()
        for split in ("train", "eval", "test")
    }
    write_lists(folder, lists)


@pytest.mark.parametrize("value", [7, None, "text", [1], True], ids=str)
def test_what_is_no_record_is_one_rejection(tmp_path, value):
    write_release(tmp_path / "release", samples(GOOD))
    values = [one.value for one in samples(GOOD)]
    write_lists(tmp_path / "release", {"train-mutilabel.json": json.dumps([value, *values]).encode()})
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD
    assert refused(tmp_path / "d") == [("bad_record", "train-mutilabel.json[0]")]


def test_a_record_without_words_is_kept_without_a_text(tmp_path):
    write_release(tmp_path / "release", [*samples(GOOD), odd(caption=" ")])
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD + 1
    assert refused(tmp_path / "d") == [("empty_text", "e4s_999")]


def hostile_entries() -> dict[str, tuple[str, dict]]:
    return {
        "traversal": ("../../escaped", {}),
        "absolute": ("/tmp/escaped", {}),
        "symbolic link": ("dataset/link", {"type": tarfile.SYMTYPE, "linkname": "../../.."}),
        "hard link": ("dataset/hard", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        "device": ("dataset/null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        "pipe": ("dataset/pipe", {"type": tarfile.FIFOTYPE}),
    }


@pytest.mark.parametrize("entry", hostile_entries().values(), ids=hostile_entries())
def test_a_hostile_entry_is_one_rejection_and_nothing_outside_is_touched(tmp_path, entry):
    name, header = entry
    (tmp_path / "escaped").write_bytes(b"as it was")
    write_release(
        tmp_path / "release", samples(GOOD), also=lambda tar: put(tar, name, b"" if header else b"evil", **header)
    )
    before = tree(tmp_path)
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD
    assert [path for _, path in refused(tmp_path / "d")] == [name]
    after = {name: data for name, data in tree(tmp_path).items() if not name.startswith("d/")}
    assert after == before
    assert not Path("/tmp/escaped").exists()


def test_a_link_in_place_of_a_picture_is_one_rejection(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(samples(1)[0].image)

    def also(tar):
        put(tar, f"{FACES}/odd.png", b"", type=tarfile.SYMTYPE, linkname=str(secret))

    write_release(tmp_path / "release", [*samples(GOOD), odd(image=None)], also=also)
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD
    assert refused(tmp_path / "d") == [("not_a_file", "e4s_999")]


def test_a_bomb_in_place_of_a_picture_is_one_rejection(tmp_path, monkeypatch):
    monkeypatch.setattr(mmtt_release, "MAX_ENTRY", 100_000)
    write_release(tmp_path / "release", [*samples(GOOD), odd(image=bytes(5_000_000))])
    assert imported(tmp_path / "release", tmp_path / "d").rows == GOOD
    assert refused(tmp_path / "d") == [("too_large", "e4s_999")]


def test_a_bomb_of_an_archive_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE", 1_000_000)
    write_release(tmp_path / "release", samples(GOOD), also=lambda tar: put(tar, "bomb", bytes(100_000_000)))
    with pytest.raises(UserError, match="a zip bomb"):
        imported(tmp_path / "release", tmp_path / "d")
    assert not list((tmp_path / "d").rglob("*.parquet"))


def test_of_two_entries_with_one_name_the_first_is_kept(tmp_path):
    first = samples(GOOD)[0]

    def also(tar):
        put(tar, first.value["img_path"], b"another")

    write_release(tmp_path / "release", samples(GOOD), also=also)
    imported(tmp_path / "release", tmp_path / "d")
    assert refused(tmp_path / "d") == [("duplicate_entry", first.value["img_path"])]
    assert list(differences(tmp_path / "d", samples(GOOD))) == []


def test_a_host_of_odd_entries_ends_the_import(tmp_path, monkeypatch):
    monkeypatch.setattr(mmtt_release, "MAX_ODD", 5)

    def also(tar):
        for number in range(6):
            put(tar, f"../{number}", b"")

    write_release(tmp_path / "release", samples(GOOD), also=also)
    with pytest.raises(UserError, match="More than 5 entries"):
        imported(tmp_path / "release", tmp_path / "d")


SYNTAX = {
    "in the middle": (b'[\n {"image_id": "a"},\n {"image_id" "b"}\n]', "line 3, column 14"),
    "cut off": (b'[\n {"image_id": "a"},', "line 2, column 20"),
    "an object": (b'{"image_id": "a"}', "line 1, column 1"),
    "something after it": (b"[] []", "line 1, column 4"),
    "no comma": (b"[{} {}]", "line 1, column 5"),
    "empty": (b"", "line 1, column 1"),
    "endless nesting": (b"[" * 200_000, "holds what no list of records holds"),
    "an endless number": (b"[" + b"9" * 10_000 + b"]", "holds what no list of records holds"),
    "no UTF-8": (b'[{"caption": "\xff"}]', "no UTF-8 at byte 14"),
}


@pytest.mark.parametrize(("text", "told"), SYNTAX.values(), ids=SYNTAX)
def test_bad_json_is_one_sentence_and_nothing_is_written(tmp_path, text, told):
    write_release(tmp_path / "release", samples(GOOD))
    write_lists(tmp_path / "release", {"train-mutilabel.json": b"[]", "eval-mutilabel.json": text})
    with pytest.raises(UserError, match=f"eval-mutilabel.json.*{told}"):
        import_release(tmp_path / "release", tmp_path / "d", serial, (silent, silent), **AS_RELEASED)
    assert not (tmp_path / "d").exists()


def test_an_archive_without_lists_is_no_release(tmp_path):
    write_release(tmp_path / "release", samples(GOOD))
    write_lists(tmp_path / "release", {"captions.json": b"{}"})
    with pytest.raises(UserError, match="It is no release of MMTT"):
        import_release(tmp_path / "release", tmp_path / "d", serial, (silent, silent), **AS_RELEASED)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("how", ["cut", "gone", "gap"])
def test_a_part_that_is_not_whole_is_one_sentence(tmp_path, how):
    write_release(tmp_path / "release", samples(24))
    parts = sorted((tmp_path / "release").glob("dataset.tar.gz.part*"))
    if how == "cut":
        parts[-1].write_bytes(parts[-1].read_bytes()[:-300])
    else:
        parts[-1 if how == "gone" else 1].unlink()
    told = "a part before .* is missing" if how == "gap" else "ends before the archive does"
    with pytest.raises(UserError, match=told):
        imported(tmp_path / "release", tmp_path / "d")
    assert not list((tmp_path / "d").rglob("*.parquet"))
    assert not list((tmp_path / "d").rglob("*.tmp"))


def test_another_release_is_not_mixed_into_this_one(tmp_path):
    write_release(tmp_path / "release", samples(6))
    imported(tmp_path / "release", tmp_path / "d")
    before = tree(tmp_path / "d")
    write_release(tmp_path / "other", samples(9))
    with pytest.raises(UserError, match="other data than these"):
        imported(tmp_path / "other", tmp_path / "d")
    assert tree(tmp_path / "d") == before


KILLED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from mmtt.executors import serial
from mmtt.progress import silent
from pipelines.importers import writing
from pipelines.importers.mmtt_release import import_release
writing.SHARD_ROWS = 4
import_release(Path(sys.argv[1]), Path(sys.argv[2]), serial, (silent, silent), **{options!r})
"""


def moments(folder: Path) -> Iterator[str]:
    """What is there to see of a running import, from early to late."""
    yield from (path.name for path in folder.rglob("*.parquet"))
    yield from (path.name for path in folder.rglob(".masks.*.tmp"))


@pytest.mark.parametrize("moment", [".masks.", "import-00001.parquet", "import-00004.parquet"])
def test_an_import_that_is_killed_and_run_again_ends_in_the_same_bytes(tmp_path, monkeypatch, moment):
    from pipelines.importers import writing

    monkeypatch.setattr(writing, "SHARD_ROWS", 4)
    write_release(tmp_path / "release", samples(24))
    whole, root = tmp_path / "whole", tmp_path / "d"
    imported(tmp_path / "release", whole)
    (root / "private").mkdir(parents=True)
    (root / "private" / "salt").write_text("tests", encoding="ascii")
    program = KILLED.format(root=str(Path(__file__).parents[3]), options=AS_RELEASED)
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "release"), str(root)])
    try:
        deadline = time.monotonic() + 30
        while not any(name.startswith(moment) for name in moments(root)) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    imported(tmp_path / "release", root)
    assert tree(root) == tree(whole)


def command(*words: str):
    app = typer.Typer()
    cli_import.register(app)
    return CliRunner().invoke(app, ["import", *words])


def test_the_command_tells_what_came_in_and_how_masks_and_labels_read(tmp_path):
    write_release(tmp_path / "release", samples(16))
    told = command("mmtt-release", str(tmp_path / "release"), str(tmp_path / "d"), "--json")
    assert told.exit_code == 0, told.output
    (stage,) = json.loads(told.stdout)
    assert (stage["stage"], stage["accepted"], stage["rejections"]) == ("import", 16, {})
    assert stage["families"] == {
        "attribute_edit": 4, "diffusion_inpainting": 4, "face_swap": 4, "transformer_inpainting": 4
    }  # fmt: skip
    shares = stage["mask_shares"]
    assert shares["mask_share_above_0"] > shares["mask_share_above_127"] > shares["mask_share_at_255"] > 0
    assert stage["label_only"]["forehead"] > 0  # theirs: a brow is a forehead
    assert stage["label_only"]["wrinkle"] > 0  # theirs: a jaw line is a wrinkle
    again = command("mmtt-release", str(tmp_path / "release"), str(tmp_path / "d"))
    assert "import: 16 records; refused: none" in again.stdout
    assert "16 texts are labelled otherwise" in again.stdout


def test_files_that_no_list_names_are_counted_and_left(tmp_path):
    write_release(tmp_path / "release", samples(8), also=lambda tar: put(tar, "dataset/README.txt", b"hello"))
    told = command("mmtt-release", str(tmp_path / "release"), str(tmp_path / "d"))
    assert "files that no list names, and that were left where they are: 1" in told.stdout
    assert refused(tmp_path / "d") == []


def test_an_origin_of_texts_that_there_is_not_is_told(tmp_path):
    write_release(tmp_path / "release", samples(1))
    with pytest.raises(UserError, match="Did you mean 'template'"):
        import_release(
            tmp_path / "release", tmp_path / "d", serial, (silent, silent), licence=LICENCE, text_origin="templates"
        )
    assert not (tmp_path / "d").exists()


def test_a_release_that_changes_while_it_is_read_is_told(tmp_path):
    write_release(tmp_path / "release", samples(8))

    def change(*told):
        yield from told[1]
        write_release(tmp_path / "release", reversed(samples(8)))

    (tmp_path / "d" / "private").mkdir(parents=True)
    with pytest.raises(UserError, match="changed while it was read"):
        import_release(tmp_path / "release", tmp_path / "d", serial, (change, silent), **AS_RELEASED)
    assert not list((tmp_path / "d").rglob("manifest.json"))


def test_more_rejections_than_tolerated_exit_with_3(tmp_path):
    write_release(tmp_path / "release", [*samples(GOOD), odd(mask=None)])
    told = command("mmtt-release", str(tmp_path / "release"), str(tmp_path / "d"))
    assert told.exit_code == 3
    assert "1 import/missing_mask" in told.stdout


def test_parameters_hold_what_the_lists_tell(tmp_path):
    write_release(tmp_path / "release", samples(8))
    imported(tmp_path / "release", tmp_path / "d")
    shard = tmp_path / "d" / "forged" / "import-00000.parquet"
    told = {row["origin_id"]: json.loads(row["parameters"]) for row in read_rows(shard, ["origin_id", "parameters"])}
    for made in samples(8):
        kept = told[made.value["image_id"]]
        assert all(kept[key] == made.value[key] for key in ("img_path", "mask_path", "instance_id"))
        assert kept.get("attribute") == made.value.get("attribute")
