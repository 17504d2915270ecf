import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from typing import ClassVar
from urllib.parse import unquote

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmtt.audit import gather
from mmtt.errors import MissingDependency, UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import silent
from mmtt.reports import Report
from mmtt.shards import read_table
from pipelines.importers import hub
from pipelines.importers.columns import Told
from pipelines.importers.hub import import_hub, split_of_path
from tests.pipelines.importers.strangers import bring, jpeg, made, put, records, refused, splits

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TOLD = Told(name="stranger", families={"fake": "face_swap"})
REVISION = "0123456789abcdef0123456789abcdef01234567"


def bring_hub(source, target, told=TOLD, said=None, **options):
    say = [].append if said is None else said.append
    return bring(str(source), target, told, run=partial(import_hub, say=say), **options)


def written_by_datasets(folder, *, names=("real", "fake")):
    """Write two splits as `datasets` does: pictures with their bytes, class numbers with their names."""
    features = datasets.Features({
        "image": datasets.Image(), "mask": datasets.Image(), "label": datasets.ClassLabel(names=list(names)),
        "report": datasets.Value("large_string"), "regions": datasets.List(datasets.Value("string")),
    })  # fmt: skip
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        rows = [row(number) for number in numbers]
        columns = {name: [entry[name] for entry in rows] for name in features}
        folder.mkdir(parents=True, exist_ok=True)
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet", batch_size=4)


def row(number):
    fake = number % 3 != 0
    return {
        "image": {"bytes": made(number).forged if fake else made(number).pristine, "path": f"{number}.png"},
        "mask": {"bytes": made(number).mask, "path": None} if fake else None,
        "label": int(fake),
        "report": "The nose is blurred." if fake else None,
        "regions": ["nose"] if fake else [],
    }


def by_image(layout):
    return {record.image: record for record in records(layout).values()}


def plain(path, rows, schema=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)
    return path


def test_shards_that_datasets_wrote_come_back_row_for_row(tmp_path):
    written_by_datasets(tmp_path / "in" / "data")
    told = Told(name="stranger", families={"fake": "face_swap"}, columns={"text": "report"}, text_origin="human")
    layout, _ = bring_hub(tmp_path / "in", tmp_path / "out", told)
    found, of = by_image(layout), splits(layout)
    assert not refused(layout)
    assert len(found) == 9
    for number in range(9):
        name, place = ("train", number) if number < 6 else ("test", number - 6)
        record = found[row(number)["image"]["bytes"]]
        assert re.fullmatch(r"[0-9a-f]{24}", record.origin_id), "tells neither file nor row, so neither split nor class"
        if number % 3:
            told_of = json.loads(record.parameters)
            assert (told_of["file"], told_of["row"]) == (f"data/{name}-00000-of-00001.parquet", place)
        assert record.manipulation == ("face_swap" if number % 3 else None)
        assert of[record.record_id].split == name
    reports = read_table(layout.root / "reports" / "reports.parquet", Report)
    assert {(report.text, tuple(report.regions), report.text_origin) for report in reports} == {
        ("The nose is blurred.", ("nose",), "human")
    }
    assert len(reports) == 6
    loaded = datasets.load_dataset("parquet", data_files=str(layout.forged / "*.parquet"), split="train",
                                   cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert len(loaded) == 6
    assert loaded[0]["image"].size == (96, 96)
    recipe = yaml.safe_load(layout.recipe.read_text())
    assert recipe["imported"]["format"] == "hub"
    assert recipe["imported"]["options"]["families"] == {"fake": "face_swap"}


def test_audits_run_over_what_was_imported(tmp_path):
    from pipelines.audits.run import run

    written_by_datasets(tmp_path / "in")
    layout, _ = bring_hub(tmp_path / "in", tmp_path / "out")
    audited, _ = run(layout.root, gather(), serial, lambda _: silent)
    assert audited.rows == 9


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/test-00000-of-00001-0a1b2c.parquet", "test"),
        ("default/validation/0000.parquet", "validation"),
        ("dev.parquet", "validation"),
        ("training/part-1.parquet", "train"),
        ("test/train-0.parquet", "train"),
        ("train_test.parquet", None),
        ("latest/0.parquet", None),
        ("0000.parquet", None),
    ],
)
def test_a_split_is_read_from_the_name_of_a_shard(path, split):
    assert split_of_path(path) == split


def test_without_a_split_the_group_decides_and_a_column_wins_over_the_name(tmp_path):
    rows = [
        {"image": made(n).forged, "mask": made(n).mask, "subject": f"{n % 2}", "split": "test" if n == 4 else None}
        for n in range(5)
    ]
    plain(tmp_path / "in" / "0000.parquet", rows)
    layout, said = bring_hub(tmp_path / "in", tmp_path / "out")
    assert said == ["splits: 1 as the source tells, 4 by the digest of their group"]
    plain(tmp_path / "named" / "train.parquet", rows)
    layout, _ = bring_hub(tmp_path / "named", tmp_path / "other")
    found, of = by_image(layout), splits(layout)
    assert [of[found[made(n).forged].record_id].split for n in range(5)] == ["train"] * 4 + ["test"]


def test_labels_and_masks_that_are_missing(tmp_path):
    rows = [
        {"image": made(0).pristine, "mask": None, "label": "Authentic"},
        {"image": made(1).forged, "mask": made(1).mask, "label": "Authentic"},
        {"image": made(2).forged, "mask": None, "label": "tampered"},
        {"image": made(3).forged, "mask": made(3).mask, "label": None},
        {"image": None, "mask": made(3).mask, "label": None},
        {"image": b"", "mask": made(3).mask, "label": None},
    ]
    path = plain(tmp_path / "t.parquet", rows)
    layout, _ = bring_hub(path, tmp_path / "out")
    assert {image: record.manipulation for image, record in by_image(layout).items()} == {
        made(0).pristine: None,
        made(3).forged: "unknown",
    }
    assert refused(layout) == {
        ("mask_of_pristine", "t.parquet#1"),
        ("missing_mask", "t.parquet#2"),
        ("missing", "t.parquet#4"),
        ("bad_image", "t.parquet#5"),
    }


def test_class_numbers_mean_what_the_metadata_says_and_minus_one_is_nothing(tmp_path):
    features = {"label": {"names": ["real", "fake"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("image", PICTURE), ("mask", PICTURE), ("label", pa.int64())], metadata=metadata)
    rows = [
        {
            "image": {"bytes": made(n).forged, "path": None},
            "mask": {"bytes": made(n).mask, "path": None},
            "label": label,
        }
        for n, label in enumerate((-1, 1, 7))
    ]
    rows.append({"image": {"bytes": made(9).pristine, "path": None}, "mask": None, "label": 0})
    path = plain(tmp_path / "t.parquet", rows, schema)
    layout, said = bring_hub(path, tmp_path / "out")
    assert {image: record.manipulation for image, record in by_image(layout).items()} == {
        made(0).forged: "unknown",
        made(1).forged: "face_swap",
        made(2).forged: "unknown",
        made(9).pristine: None,
    }
    assert "'7' (1)" in said[1]


def test_pictures_that_are_named_by_path_come_from_the_folder_alone(tmp_path):
    root = tmp_path / "in"
    put(root, "data/pics/0.png", made(0).forged)
    put(root, "masks/0.png", made(0).mask)
    put(root, "masks/1.png", made(1).mask)
    put(tmp_path, "secret.png", made(2).forged)
    (root / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["pics/0.png", "../../secret.png", str(tmp_path / "secret.png"), "link.png", "gone.png", "http://x/y.png"]
    rows = [
        {"image": {"bytes": None, "path": name}, "mask": "masks/1.png" if number else "masks/0.png"}
        for number, name in enumerate(names)
    ]
    plain(root / "data" / "train.parquet", rows)
    layout, _ = bring_hub(root, tmp_path / "out")
    assert set(by_image(layout)) == {made(0).forged}
    assert refused(layout) == {("missing", f"data/train.parquet#{n}") for n in range(1, 6)}
    before = yaml.safe_load(layout.recipe.read_text())["imported"]["digest"]
    put(root, "data/pics/0.png", made(3).forged)
    layout, _ = bring_hub(root, tmp_path / "other")
    assert yaml.safe_load(layout.recipe.read_text())["imported"]["digest"] != before


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary()])
def test_bare_bytes_and_large_columns_are_read(tmp_path, kind):
    schema = pa.schema([("image", kind), ("mask", kind), ("text", pa.large_list(pa.large_string()))])
    rows = [{"image": jpeg(made(n).forged), "mask": made(n).mask, "text": ["One.", "Two."]} for n in range(3)]
    layout, _ = bring_hub(plain(tmp_path / "t.parquet", rows, schema), tmp_path / "out")
    assert {record.image for record in records(layout).values()} == {jpeg(made(n).forged) for n in range(3)}
    assert len(read_table(layout.root / "reports" / "reports.parquet", Report)) == 6


def test_what_cannot_be_used_is_one_sentence(tmp_path):
    good = plain(tmp_path / "good" / "a.parquet", [{"picture": made(0).forged, "mask": made(0).mask, "n": 1}])
    (tmp_path / "empty").mkdir()
    put(tmp_path, "torn/a.parquet", good.read_bytes()[:-20])
    put(tmp_path, "half/train-00001-of-00002.parquet", good.read_bytes())
    shutil.copytree(tmp_path / "good", tmp_path / "linked")
    (tmp_path / "linked" / "b.parquet").symlink_to(good)
    for name, columns in (("odd", [("cells", [{"bytes": 7, "path": "x"}])]), ("twice", [("picture", ["x"])] * 2)):
        (tmp_path / name).mkdir()
        arrays, names = [pa.array(cells) for _, cells in columns], [column for column, _ in columns]
        pq.write_table(pa.Table.from_arrays(arrays, names), tmp_path / name / "a.parquet")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").symlink_to(tmp_path / "good")
    named = {"image": "picture"}
    for source, columns, said in (
        ("none", {}, "does not exist"),
        ("empty", {}, "holds no Parquet file"),
        ("torn", {}, "cannot be read as Parquet"),
        ("good", {}, "Name it: --column image=NAME. It has: picture, mask, n"),
        ("good", {"image": "pictures"}, "Did you mean 'picture'"),
        ("good", {"image": "n"}, "'n' is int64; pictures are bytes"),
        ("odd", {"image": "cells"}, "'cells' is struct<bytes: int64, path: string>; pictures are bytes"),
        ("twice", named, "two columns called 'picture'"),
        ("linked", named, "leads out of"),
        ("half", named, "has 1 of the 2 shards 'train-…'"),
        ("folder", named, "link to a folder"),
    ):
        with pytest.raises(UserError, match=said):
            bring_hub(tmp_path / source, tmp_path / "out", Told(name="x", columns=columns))
    assert not (tmp_path / "out").exists()


def test_a_shard_that_is_damaged_in_its_middle_is_one_sentence(tmp_path):
    path = plain(tmp_path / "a.parquet", [{"image": made(n).forged, "mask": made(n).mask} for n in range(8)])
    data = bytearray(path.read_bytes())
    data[4:4000] = bytes(3996)
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        bring_hub(path, tmp_path / "out", Told(name="x"))


def test_a_few_bytes_that_stand_for_many_end_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "FREE", 1_000_000)
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array([bytes(100_000)], pa.binary()))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": cells, "mask": cells}), path, store_schema=False)
    assert path.stat().st_size < 10_000
    with pytest.raises(UserError, match="a bomb"):
        bring_hub(path, tmp_path / "out", Told(name="x"))


def test_a_shard_that_changes_after_its_digest_was_taken_is_told(tmp_path):
    path = plain(tmp_path / "a.parquet", [{"image": made(n).forged, "mask": made(n).mask} for n in range(3)])
    other = plain(tmp_path / "other" / "a.parquet", [{"image": made(9).forged, "mask": made(9).mask}])

    def meddle(_, results):
        yield from results
        shutil.copy(other, path)

    with pytest.raises(UserError, match=r"a\.parquet or another file of the source changed"):
        bring_hub(path, tmp_path / "out", Told(name="x"), bars=(meddle, silent))


# The Hub's cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A local cache as the Hub's client keeps it: the bytes aside, snapshots of links to them."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    repository = folder / "datasets--someone--faces"
    snapshot = repository / "snapshots" / REVISION
    plain(repository / "blobs" / "abc", [{"image": made(n).forged, "mask": made(n).mask} for n in range(3)])
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data" / "test-00000-of-00001.parquet").symlink_to("../../../blobs/abc")
    put(repository, "refs/main", REVISION.encode())
    return folder


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", [f"hub:someone/faces@{REVISION}", "hub:someone/faces"])
def test_a_dataset_of_the_hub_is_read_from_the_cache(tmp_path, name):
    said = []
    layout, _ = bring_hub(name, tmp_path / "out", said=said)
    assert said == []
    assert len(records(layout)) == 3
    assert {row.split for row in splits(layout).values()} == {"test"}
    assert yaml.safe_load(layout.recipe.read_text())["imported"]["options"]["revision"] == REVISION


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hub:someone/else", "To fetch it, name a revision: hub:someone/else@COMMIT"),
        ("hub:someone/else@main", "is not in the local cache, nor was it fetched"),
        ("hub:no name", "is no name of a Hub dataset"),
    ],
)
def test_what_is_not_in_the_cache_is_one_sentence_and_nothing_is_fetched_unsaid(tmp_path, name, said):
    lines = []
    with pytest.raises(UserError, match=said):
        bring_hub(name, tmp_path / "out", said=lines)
    assert lines == []
    assert not (tmp_path / "out").exists()


def test_without_the_hubs_client_the_message_holds_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match="pip install huggingface_hub"):
        bring_hub("hub:someone/faces@main", tmp_path / "out")


def test_the_command_maps_columns_and_labels(tmp_path):
    rows = [{"picture": made(n).forged, "seg": made(n).mask, "kind": "swap=1"} for n in range(3)]
    rows.append({"picture": made(4).pristine, "seg": None, "kind": "0"})
    plain(tmp_path / "in" / "test.parquet", rows)
    command = [sys.executable, "-m", "mmtt", "import", "hub", tmp_path / "in", tmp_path / "out", "--name", "x"]
    maps = [f"--column={name}" for name in ("image=picture", "mask=seg", "family=kind")]
    labels = ["--family", "swap=1=part_swap", "--family", "0=pristine"]
    done = subprocess.run(
        [*map(str, command), "--licence", "CC0-1.0", *maps, *labels], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    families = {record.manipulation for record in records(Layout(tmp_path / "out")).values()}
    assert families == {"part_swap", None}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for: one dataset with a shard and a script."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        self.asked.append(f"{self.command} {self.path}")
        name = unquote(self.path).rpartition(f"/resolve/{REVISION}/")[2]
        if self.path.startswith("/api/"):
            listed = [{"rfilename": name} for name in self.files]
            files = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in self.files.items()]
            tree = "/tree/" in self.path
            data = json.dumps(files if tree else {"id": "someone/faces", "sha": REVISION, "siblings": listed}).encode()
        elif name in self.files:
            data = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if body else b"")

    def log_message(self, *_):
        pass


def test_a_named_revision_is_fetched_and_told_and_nothing_but_its_shards(tmp_path):
    path = plain(tmp_path / "made.parquet", [{"image": made(n).forged, "mask": made(n).mask} for n in range(3)])
    Hub.files = {"data/train-00000-of-00001.parquet": path.read_bytes(), "faces.py": b"raise SystemExit(9)"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
    }  # fmt: skip
    command = [sys.executable, "-m", "mmtt", "import", "hub", f"hub:someone/faces@{REVISION}", str(tmp_path / "out")]
    options = ["--name", "x", "--licence", "CC0-1.0"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    assert "fetching what the local cache lacks" in done.stderr
    assert len(records(Layout(tmp_path / "out"))) == 3
    assert not any("faces.py" in line for line in Hub.asked)
