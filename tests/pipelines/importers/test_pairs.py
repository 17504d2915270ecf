import io
import json
import os
import pickle
import subprocess
import sys
from collections import Counter

import datasets
import pytest
import yaml
from PIL import Image

from mmtt.audit import gather
from mmtt.errors import UserError
from mmtt.executors import executor, serial
from mmtt.images import decode_gray, encode_png
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.reports import Report
from mmtt.samples import read_samples
from mmtt.shards import read_table
from pipelines.importers.columns import Splits, Told
from pipelines.importers.pairs import import_pairs
from tests.pipelines.importers.strangers import (
    RIGHTS,
    bring,
    encoded,
    forensic,
    jpeg,
    made,
    pictures,
    put,
    records,
    refusals,
    refused,
    splits,
    table,
)

# IMDLBenCo


def test_pairs_of_a_json_are_read_and_negative_is_pristine_in_any_case(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(3))
    put(source, "Tp/real.png", made(8).pristine)
    put(source, "Tp/real2.png", made(9).pristine)
    pairs = [[f"./Tp/p{n}.png", f"./Gt/p{n}.png"] for n in range(3)]
    pairs += [["./Tp/real.png", "Negative"], ["Tp\\real2.png", "NEGATIVE"]]
    table(source, pairs, "train.json")
    layout, notes = bring(source / "train.json", tmp_path / "out")
    found = records(layout)
    assert {name: record.manipulation for name, record in found.items()} == {
        "Tp/p0.png": "unknown",
        "Tp/p1.png": "unknown",
        "Tp/p2.png": "unknown",
        "Tp/real.png": None,
        "Tp/real2.png": None,
    }
    assert found["Tp/p1.png"].image == made(1).forged
    assert found["Tp/p1.png"].mask_share == pytest.approx((made_mask(1) > 127).mean())
    assert not refused(layout)
    assert notes == ["splits: 0 as the source tells, 5 by the digest of their group"]


def made_mask(seed):
    return decode_gray(made(seed).mask)


def test_folders_pair_by_name_where_sorted_order_would_shift_them(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(5))
    (source / "Gt" / "p1.png").unlink()
    (source / "Tp" / "p3.png").unlink()
    layout, _ = bring(source, tmp_path / "out")
    assert {name: record.mask_share for name, record in records(layout).items()} == {
        f"Tp/p{n}.png": pytest.approx((made_mask(n) > 127).mean()) for n in (0, 2, 4)
    }
    assert refused(layout) == {("missing_mask", "Tp/p1.png"), ("missing_image", "Gt/p3.png")}


def test_names_of_strangers_are_paired(tmp_path):
    source = tmp_path / "in"
    names = {
        "UPPER.JPG": "UPPER.PNG",
        "two words.png": "two words.tif",
        "re\u0301sume\u0301.png": "résumé.png",  # é in two ways
        "子/深 い.png": "子/深 い_gt.png",
        "col_sub_01.png": "col_sub_01_edgemask.png",
        "a.b.png": "a.b.png",
    }
    for number, (image, mask) in enumerate(names.items()):
        forged = made(number).forged
        put(source, f"images/{image}", jpeg(forged) if image.endswith("JPG") else forged)
        put(source, f"Masks/{mask}", encoded(made(number).mask, "TIFF" if mask.endswith("tif") else "PNG"))
    put(source, "images/.DS_Store", b"junk")
    put(source, "images/._a.b.png", b"junk")
    layout, _ = bring(source, tmp_path / "out")
    assert set(records(layout)) == {f"images/{name}" for name in names}
    assert not refused(layout)


def test_one_stem_with_two_suffixes_is_refused_and_both_are_named(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(3))
    put(source, "Tp/p0.jpg", jpeg(made(7).forged))
    put(source, "Gt/p1_gt.png", made(7).mask)
    layout, _ = bring(source, tmp_path / "out")
    told = {row.path: row.detail for row in refusals(layout)}
    assert set(told) == {"Tp/p0.jpg", "Tp/p0.png", "Tp/p1.png"}
    assert "'Tp/p0.jpg' and 'Tp/p0.png'" in told["Tp/p0.png"]
    assert "'Gt/p1.png' and 'Gt/p1_gt.png'" in told["Tp/p1.png"]
    assert set(records(layout)) == {"Tp/p2.png"}


def test_folders_called_after_splits_tell_the_split(tmp_path):
    source = tmp_path / "in"
    pictures(source / "train", range(3))
    pictures(source / "val", range(3, 5))
    put(source, "val/Au/real.png", made(9).pristine)
    layout, notes = bring(source, tmp_path / "out")
    of, found = splits(layout), records(layout)
    assert Counter(of[record.record_id].split for record in found.values()) == {"train": 3, "validation": 3}
    assert found["val/Au/real.png"].manipulation is None
    assert notes[0].startswith("splits: 6 as the source tells, 0 by")


def test_what_cannot_be_decoded_or_does_not_fit_is_refused(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(2))
    for name, image, mask in (
        ("torn", made(2).forged[:300], made(2).mask),
        ("empty", b"", made(2).mask),
        ("page", b"<html>", made(2).mask),
        ("other size", made(2).forged, encoded_smaller(made(2).mask)),
        ("black", made(2).forged, black()),
    ):
        put(source, f"Tp/{name}.png", image)
        put(source, f"Gt/{name}.png", mask)
    layout, _ = bring(source, tmp_path / "out")
    assert {code: path for code, path in refused(layout) if code != "bad_image"} == {
        "mask_size": "Tp/other size.png",
        "empty_mask": "Tp/black.png",
    }
    assert len(refused(layout)) == 5
    assert len(records(layout)) == 2


def encoded_smaller(mask):
    out = io.BytesIO()
    Image.open(io.BytesIO(mask)).resize((40, 40)).save(out, "PNG")
    return out.getvalue()


def black():
    return encode_png(made_mask(0) * 0)


# Tables


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl", "t.json", "t.parquet"])
def test_every_form_of_table_gives_the_same_records(tmp_path, name):
    source = tmp_path / "in"
    pictures(source, range(3), images="pics", masks="m")
    rows = [
        {"picture": f"pics/p{n}.png", "mask": f"m/p{n}.png", "id": f"00{n}", "kind": "Deepfakes", "split": "dev"}
        for n in range(3)
    ]
    path = table(source, rows, name.lower())
    path = path.rename(source / name)
    told = Told(name="stranger", columns={"image": "picture", "family": "kind"})
    layout, _ = bring(path, tmp_path / "out", told)
    found = records(layout)
    assert set(found) == {"000", "001", "002"}
    assert {record.manipulation for record in found.values()} == {"face_swap"}
    assert {row.split for row in splits(layout).values()} == {"validation"}
    assert json.loads(found["001"].parameters)["label"] == "Deepfakes"
    recipe = yaml.safe_load(layout.recipe.read_text())
    assert recipe["imported"]["format"] == "pairs"
    assert recipe["imported"]["options"]["columns"] == {"image": "picture", "family": "kind"}
    assert recipe["imported"]["options"]["licence"] == "CC-BY-4.0"


def test_texts_come_with_their_regions_language_and_origin(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(3))
    vector = [0] * 21
    vector[4] = 1
    rows = [
        {"image": "Tp/p0.png", "mask": "Gt/p0.png", "text": "The nose is odd.", "regions": "nose; Lip, halo"},
        {
            "image": "Tp/p1.png",
            "mask": "Gt/p1.png",
            "text": ["One.", "Two."],
            "regions": vector,
            "text_origin": "model",
        },
        {"image": "Tp/p2.png", "mask": "Gt/p2.png", "text": "", "language": "de"},
    ]
    layout, _ = bring(table(source, rows, "t.jsonl"), tmp_path / "out", Told(name="stranger", text_origin="human"))
    ids = {record.record_id: name for name, record in records(layout).items()}
    reports = read_table(layout.root / "reports" / "reports.parquet", Report)
    assert {(ids[r.record_id], r.text, tuple(r.regions), r.text_origin, r.language) for r in reports} == {
        ("Tp/p0.png", "The nose is odd.", ("lip", "nose"), "human", "en"),
        ("Tp/p1.png", "One.", ("nose",), "model", "en"),
        ("Tp/p1.png", "Two.", ("nose",), "model", "en"),
    }


def test_labels_become_families_as_the_user_says_and_others_are_told(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(4))
    put(source, "r.png", made(9).pristine)
    put(source, "r2.png", made(10).pristine)
    put(source, "black.png", black())
    rows = [
        {"image": "Tp/p0.png", "mask": "Gt/p0.png", "label": "swap-v2"},
        {"image": "Tp/p1.png", "mask": "Gt/p1.png", "label": "weird"},
        {"image": "Tp/p2.png", "mask": "", "label": "weird"},
        {"image": "Tp/p3.png", "mask": "Gt/p3.png", "label": "Real"},
        {"image": "r.png", "mask": "", "label": "0"},
        {"image": "r2.png", "mask": "black.png", "label": "Real"},
    ]
    told = Told(name="stranger", families={"swap-v2": "face_swap", "0": "pristine"})
    layout, notes = bring(table(source, rows), tmp_path / "out", told)
    assert {name: record.manipulation for name, record in records(layout).items()} == {
        "Tp/p0.png": "face_swap",
        "Tp/p1.png": "unknown",
        "r.png": None,
        "r2.png": None,
    }
    assert refused(layout) == {("missing_mask", "Tp/p2.png"), ("mask_of_pristine", "Tp/p3.png")}
    assert "'weird' (1)" in notes[1]


def test_a_parquet_that_holds_the_pictures_themselves_is_sent_to_the_other_command(tmp_path):
    table(tmp_path, [{"image": made(0).forged, "mask": made(0).mask}], "t.parquet")
    with pytest.raises(UserError, match="mmtt import hub"):
        import_pairs(tmp_path / "t.parquet", tmp_path / "out", Told(name="x"), RIGHTS)


def test_a_group_lies_in_one_split_and_the_shares_are_the_usual(tmp_path):
    drawn = Splits("stranger")
    counts = Counter(drawn(None, f"person {n}") for n in range(5000))
    assert counts["train"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert counts["test"] / 5000 == pytest.approx(0.1, abs=0.015)
    source = tmp_path / "in"
    pictures(source, range(6))
    rows = [{"image": f"Tp/p{n}.png", "mask": f"Gt/p{n}.png", "subject": f"{n % 2}"} for n in range(6)]
    layout, _ = bring(table(source, rows), tmp_path / "out")
    of = splits(layout).values()
    assert len({row.group_id for row in of}) == 2
    assert len({(row.group_id, row.split) for row in of}) == 2


def test_odd_rows_are_refused_each_with_its_line(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(2))
    lines = [
        json.dumps({"image": "Tp/p0.png", "mask": "Gt/p0.png"}),
        "{broken",
        "[1, 2]",
        "[" * 5000,
        json.dumps({"image": "Tp/p1.png", "mask": "Gt/p1.png", "split": "holdout"}),
        json.dumps({"image": None, "mask": "Gt/p1.png"}),
        json.dumps({"image": "Tp/\ud800.png", "mask": "Gt/p1.png"}),
        json.dumps({"image": "Tp/p0.png", "mask": "Gt/p0.png"}),
    ]
    (source / "t.jsonl").write_text("\n".join(lines))
    layout, _ = bring(source / "t.jsonl", tmp_path / "out")
    assert set(records(layout)) == {"Tp/p0.png"}
    assert Counter(row.code for row in refusals(layout)) == {
        "bad_row": 4,
        "bad_split": 1,
        "missing": 1,
        "duplicate_id": 1,
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", 'image,mask\n"Tp/p0.png,Gt', "cannot be read after line"),
        ("t.csv", "picture,mask\na,b\n", "no column 'image'"),
        ("t.csv", "image,mask,image\na,b,c\n", "two columns called 'image'"),
        ("t.csv", "image,mask\n" + "x" * 10_000_000, "line 2 has 10,000,000 characters or more"),
        ("t.tsv", "image\tmask\n" + "x" * 200_000, "cannot be read after line"),
        ("t.jsonl", '{"image": "' + "x" * 10_000_000, "line 1 has 10,000,000 characters or more"),
        ("t.json", "{}", "no JSON list"),
        ("t.json", "[[", "cannot be read as JSON"),
        ("t.parquet", "PAR1", "cannot be read as Parquet"),
        ("t.xlsx", "PK", "no table that is known"),
        ("t.csv", "image,mask\nnowhere.png,no.png\n", "None of 2 files can be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        import_pairs(tmp_path / name, tmp_path / "out", Told(name="stranger"), RIGHTS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"families": {"fake": "face_swop"}}, "Did you mean 'face_swap'"),
        ({"columns": {"imgae": "x"}}, "Did you mean 'image'"),
        ({"columns": {"image": "imagge"}}, "Did you mean 'image'"),
        ({"text_origin": "humans"}, "Did you mean 'human'"),
    ],
)
def test_a_wrong_word_of_the_user_is_named_with_the_right_one(tmp_path, told, said):
    pictures(tmp_path, range(1))
    path = table(tmp_path, [{"image": "Tp/p0.png", "mask": "Gt/p0.png"}])
    with pytest.raises(UserError, match=said):
        import_pairs(path, tmp_path / "out", Told(name="stranger", **told), RIGHTS)


# Out of the folder, and other traps


def test_nothing_is_read_outside_the_folder(tmp_path):
    source, secret = tmp_path / "in", tmp_path / "secret"
    pictures(source, range(2))
    pictures(secret, range(2, 6), images="a", masks="b")
    (source / "Tp" / "link.png").symlink_to(secret / "a" / "p2.png")
    (source / "Gt" / "link.png").symlink_to(secret / "b" / "p2.png")
    (source / "Tp" / "folder").symlink_to(secret / "a")
    (source / "Tp" / "loop.png").symlink_to("loop.png")
    (source / "Tp" / "near.png").symlink_to("p0.png")
    put(source, "Gt/near.png", made(0).mask)
    rows = [
        {"image": "Tp/p0.png", "mask": "Gt/p0.png"},
        {"image": "../secret/a/p3.png", "mask": "../secret/b/p3.png"},
        {"image": str(secret / "a" / "p4.png"), "mask": "Gt/p0.png"},
        {"image": str(source / "Tp" / "p1.png"), "mask": "Gt/p1.png"},
        {"image": "..\\secret\\a\\p5.png", "mask": "Gt/p0.png"},
        {"image": "Tp/p0.png", "mask": "../secret/b/p3.png"},
        {"image": "Tp/folder/p2.png", "mask": "Gt/p0.png"},
        {"image": "Tp/link.png", "mask": "Gt/p0.png"},
        {"image": "Tp/loop.png", "mask": "Gt/p0.png"},
        {"image": "/dev/zero", "mask": "Gt/p0.png"},
        {"image": "Tp", "mask": "Gt/p0.png"},
    ]
    before = {path: path.read_bytes() for path in secret.rglob("*.png")}
    layout, _ = bring(table(source, rows), tmp_path / "out")
    assert set(records(layout)) == {"Tp/p0.png", "Tp/p1.png"}
    assert Counter(code for code, _ in refused(layout)) == {
        "outside": 5, "outside_folder": 2, "missing": 1, "not_a_file": 1,
    }  # fmt: skip
    (source / "table.csv").unlink()
    layout, _ = bring(source, tmp_path / "other")
    assert set(records(layout)) == {"Tp/p0.png", "Tp/p1.png", "Tp/near.png"}
    assert ("outside_folder", "Tp/link.png") in refused(layout)
    assert ("link", "Tp/folder") in refused(layout)
    assert before == {path: path.read_bytes() for path in secret.rglob("*.png")}


def test_pipes_huge_files_and_names_that_are_no_text_cost_their_own_row(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(1))
    os.mkfifo(source / "Tp" / "pipe.png")
    put(source, "Gt/pipe.png", made(1).mask)
    with (source / "Tp" / "huge.png").open("wb") as file:
        file.truncate(200_000_000)
    put(source, "Gt/huge.png", made(1).mask)
    for below, data in (("Tp", made(1).forged), ("Gt", made(1).mask)):
        with open(os.path.join(os.fsencode(source / below), b"caf\xe9.png"), "wb") as file:
            file.write(data)
    layout, _ = bring(source, tmp_path / "out")
    assert set(records(layout)) == {"Tp/p0.png", "Tp/caf\\xe9.png"}
    assert refused(layout) == {("not_a_file", "Tp/pipe.png"), ("file_too_large", "Tp/huge.png")}


def test_a_hostile_table_is_neither_unpickled_nor_evaluated(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    pictures(tmp_path / "in", range(1))
    put(tmp_path / "in", "t.csv", b"image,mask,id\nTp/p0.png,Gt/p0.png,\"__import__('os').mkdir('owned')\"\n")
    put(tmp_path / "in", "Tp/p1.png", pickle.dumps(Bomb()))
    put(tmp_path / "in", "Gt/p1.png", made(0).mask)
    layout, _ = bring(tmp_path / "in" / "t.csv", tmp_path / "out")
    assert set(records(layout)) == {"__import__('os').mkdir('owned')"}
    (tmp_path / "in" / "t.csv").unlink()
    bring(tmp_path / "in", tmp_path / "other")
    assert not (tmp_path / "owned").exists()


def test_a_file_that_changes_between_the_two_passes_is_noticed(tmp_path):
    pictures(tmp_path / "in", range(3))

    def meddle(_, results):
        yield from results
        put(tmp_path / "in", "Tp/p1.png", made(5).forged)

    with pytest.raises(UserError, match=r"p1\.png changed while it was imported"):
        import_pairs(tmp_path / "in", tmp_path / "out", Told(name="x"), RIGHTS, bars=(meddle, silent))
    path = table(tmp_path / "in", [{"image": "Tp/p0.png", "mask": "Gt/p0.png"}])

    def meddle_with_the_table(_, results):
        yield from results
        path.write_text(path.read_text().replace("p0", "p2"))

    with pytest.raises(UserError, match=r"table\.csv or another file of the source changed"):
        import_pairs(path, tmp_path / "other", Told(name="x"), RIGHTS, bars=(meddle_with_the_table, silent))


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "does not exist"), ("empty", "has no table, and neither Tp/"), ("two", "has 2 tables")],
)
def test_a_source_without_a_layout_is_one_sentence(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    put(tmp_path, "two/a.csv", b"image,mask\n")
    put(tmp_path, "two/b.csv", b"image,mask\n")
    with pytest.raises(UserError, match=said):
        import_pairs(tmp_path / name, tmp_path / "out", Told(name="x"), RIGHTS)


def test_folders_in_which_nothing_pairs_are_one_sentence_with_examples(tmp_path):
    for number in range(4):
        put(tmp_path, f"in/Tp/a{number}.png", made(number).forged)
        put(tmp_path, f"in/Gt/b{number}.png", made(number).mask)
    with pytest.raises(UserError, match=r"Of 8 refused: 'Gt/b0\.png'"):
        import_pairs(tmp_path / "in", tmp_path / "out", Told(name="x"), RIGHTS)


# The whole


def test_the_same_source_gives_the_same_bytes_on_any_number_of_workers(tmp_path):
    pictures(tmp_path / "in", range(40))
    digests = []
    for name, workers in (("a", serial), ("b", executor(2))):
        put(tmp_path, f"{name}/private/salt", b"one salt")
        layout, _ = bring(tmp_path / "in", tmp_path / name, executor=workers)
        files = sorted(path for path in layout.root.rglob("*.parquet"))
        digests.append([(path.relative_to(layout.root), path.read_bytes()) for path in files])
        digests[-1].append(layout.recipe.read_text())
    assert digests[0] == digests[1]


def test_the_digest_follows_the_bytes_and_the_names_and_no_dates(tmp_path):
    def digest(name, change):
        pictures(tmp_path / name, range(3))
        change(tmp_path / name)
        layout, _ = bring(tmp_path / name, tmp_path / f"{name} out")
        return yaml.safe_load(layout.recipe.read_text())["imported"]["digest"]

    plain = digest("a", lambda _: None)
    assert plain == digest("b", lambda root: os.utime(root / "Tp" / "p1.png", (0, 0)))
    assert plain != digest("c", lambda root: put(root, "Tp/p1.png", made(5).forged))
    assert plain != digest("d", lambda root: (root / "Tp/p1.png").rename(root / "Tp/p1.jpg"))


def test_audits_and_readers_take_an_imported_dataset(tmp_path):
    forensic(tmp_path / "in")
    layout, _ = bring(tmp_path / "in", tmp_path / "out")
    assert len(read_samples(layout.root, pristine=True, inexact=True)) == 28
    from pipelines.audits.run import run

    audited, _ = run(layout.root, gather(), serial, lambda _: silent)
    assert audited.rows == 28
    loaded = datasets.load_dataset("parquet", data_files=str(layout.forged / "*.parquet"), split="train",
                                   cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert loaded[0]["image"].size == loaded[0]["mask"].size == (96, 96)


def mmtt(*arguments):
    return subprocess.run([sys.executable, "-m", "mmtt", *map(str, arguments)], capture_output=True, text=True)


def test_the_command_ends_with_3_where_more_is_refused_than_tolerated(tmp_path):
    pictures(tmp_path / "in", range(20))
    (tmp_path / "in/Gt/p7.png").unlink()
    options = ("--name", "A Stranger's Set", "--licence", "CC-BY-4.0")
    done = mmtt("import", "pairs", tmp_path / "in", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "import: 19 records; refused: 1" in done.stdout
    assert "19 by the digest of their group" in done.stdout
    assert Recipe.load(tmp_path / "out" / "recipe.yaml").name == "a-stranger-s-set"
    (tmp_path / "in/Gt/p8.png").unlink()
    done = mmtt("import", "pairs", tmp_path / "in", tmp_path / "more", *options, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)


def test_the_command_asks_for_the_licence_and_refuses_what_is_none(tmp_path):
    pictures(tmp_path / "in", range(2))
    done = mmtt("import", "pairs", tmp_path / "in", tmp_path / "out", "--name", "x")
    assert done.returncode == 2
    assert "--licence" in done.stderr
    done = mmtt("import", "pairs", tmp_path / "in", tmp_path / "out", "--name", "x", "--licence", "CC-BY4")
    assert done.returncode == 2
    assert "Did you mean" in done.stderr
    assert not (tmp_path / "out").exists()
