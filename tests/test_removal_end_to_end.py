"""One person is taken out of everything: dataset, Label Studio, predictions, releases, the Hub; nothing is left.

Drawn people are forged, described through a real Label Studio, released with marks, published to a Hub on the loopback
and predicted on. Then one of them leaves. What finds out whether anything is left is `stranger_search`, which shares no
code with ours. All that is said is made up.
"""

import csv
import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotators import Annotator, description
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from stranger_search import find, spellings
from typer.testing import CliRunner

from annotation.desk import open_desk
from annotation.history import tasks
from annotation.quality import RULES
from annotation.server.serve import running
from mmtt.cli import app, mount
from tests.factories import answered, build, source_row, tiny_dataset, write_sources
from tests.support.hub import Hub
from tests.support.hub import hub as loopback

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own library
mount("pipelines", "annotation", "baselines")

SUPPORT = Path(__file__).parent / "support"
REPO = "curator/faces"
WHO = 'Ottilie "Otti" Zschokke-Ångström'
HERS = {"holiday/otti & sea.png": "flickr-4711-otti", "otti_2.png": "flickr-4712-otti"}
PEOPLE = ["Ada Quill", WHO, "Ben Rask", "Cid Vorn", WHO, "Dora Wex", "Eve Yarrow", "Finn Zell"]
# A dozen drawn people say nothing about shortcuts, and their texts are made up.
GATES = dict.fromkeys(["S1", "S2", "S3", "S4", "S7", "L1", "L2", "L3", "F1", "X1", "X2", "X6", "X7", "M2", "R2"])
ASKED = {"protocol": "informed", "overlap": 1, "overlap_share": 0.0, "qualification_tasks": 0, "gold_share": 0.0,
         "catch_share": 0.0, "verify_share": 0.0}  # fmt: skip
RANDOM = random.Random(7)


def mmtt(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


class World:
    """The dataset, what was made with it, and where it is published; `said`: the words about each task, by its key."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self.root, self.runs, self.signer, self.hub = home / "faces", home / "runs", home / "signer", hub
        self.certificate = ("--certificate", self.signer / "certificate.pem", "--key", self.signer / "key.pem")
        self.said: dict[str, set[str]] = {}

    @property
    def places(self) -> list[Path]:
        return [self.root, self.runs, self.hub.folder]

    def rows(self, folder: str) -> dict[str, dict]:
        """The rows of a folder of shards, by record; pictures as their bytes."""
        found = [row for path in self.shards(folder) for row in pq.read_table(path).to_pylist()]
        plain = lambda cell: cell["bytes"] if isinstance(cell, dict) and "bytes" in cell else cell  # noqa: E731
        return {row["record_id"]: {name: plain(cell) for name, cell in row.items()} for row in found}

    def shards(self, folder: str) -> list[Path]:
        names = (self.root / folder).glob("*.parquet")
        return sorted(path for path in names if "record_id" in pq.read_schema(path).names and "image" in
                      pq.read_schema(path).names)  # fmt: skip


@pytest.fixture
def world(tmp_path, monkeypatch) -> Iterator[World]:
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "MMTT_RUNS"):
        monkeypatch.delenv(name, raising=False)
    with loopback(tmp_path / "hub") as hub:
        hub.enter(monkeypatch)
        made = World(tmp_path, hub)
        yield made
        end_orphan(made.root)


def test_nothing_is_left_of_somebody_who_was_taken_out(world, tmp_path):
    build_faces(world)
    ask(world)
    mmtt("mark", "certificate", world.signer)
    answered(world.root, repository=REPO)
    mmtt("release", world.root, "--version", "1.0.0", *world.certificate)
    mmtt("publish", world.root, "--version", "1.0.0", "--repo", REPO)
    predict(world)

    closure = tmp_path / "closure.json"
    mmtt("forget", "plan", world.root, WHO, "--out", closure, "--runs", world.runs)
    planned = set(json.loads(closure.read_text())["buckets"])
    going = closed(world)
    sought = needles(world, going)
    everywhere(world, find(world.places, sought), sought)
    before = state(world)

    words = ("forget", "apply", world.root, WHO, "--yes", "--runs", world.runs, *world.certificate)
    assert killed_and_run_again(world, *words) >= 3
    assert interrupted_on_the_hub(world) >= 2
    end_orphan(world.root)

    left = {kind: {shown(world, path) for path in paths} for kind, paths in find(world.places, sought).items()}
    removed = {"faces/releases/1.0.1/removed.csv", "hub/removed.csv", "faces/private/denied.csv"}
    assert left == {"a record": removed, "the key of a task": {"faces/private/annotation/log.sqlite"}}
    assert mmtt("forget", "verify", world.root, closure, "--repo", REPO, "--runs", world.runs)
    nothing_else_changed(world, going, planned, before)
    it_is_there_to_be_read(world, going)


def build_faces(world: World) -> None:
    """Eight photos of seven people, one of them twice, once in a folder and under a name that has to be spelt."""
    layout = tiny_dataset(world.root, 8, ("recolour", "face_swap"), audit={"gates": GATES, "sample": 20}, buckets=4,
                          annotate=ASKED | {"quality": {"ignore": list(RULES)}})  # fmt: skip
    rows = [
        source_row(f"drawn_{n:02d}.png", who, origin_id=f"id-{n}", consent="nobody") for n, who in enumerate(PEOPLE)
    ]
    landmarks = json.loads(layout.landmarks.read_text())
    for row, (name, origin_id) in zip([row for row in rows if row["subject"] == WHO], HERS.items(), strict=True):
        landmarks[name] = landmarks.pop(row["file"])
        (layout.photos / name).parent.mkdir(exist_ok=True)
        (layout.photos / row["file"]).rename(layout.photos / name)
        row |= {"file": name, "origin_id": origin_id}
    layout.landmarks.write_text(json.dumps(landmarks))
    write_sources(world.root, rows)
    build(layout)
    mmtt("overview", world.root)
    mmtt("audit", world.root)


def ask(world: World) -> None:
    """Every forgery is described through Label Studio; there are a draft, an answer never pulled, and a snapshot."""
    table = world.root / "private" / "people.csv"
    table.write_text("email,name,language,status,writes\nann@example.org,Ann,en,active,template\n")
    with running(world.root) as connection:
        mmtt("annotate", "people", world.root, table)
        pushed = json.loads(mmtt("annotate", "push", world.root, "--json"))
        assert pushed["describe"]["create"] == len(world.rows("forged"))
        with (world.root / "private" / "annotation" / "credentials.csv").open() as handle:
            (row,) = csv.DictReader(handle)
        ann = Annotator(row["url"], row["login"], row["password"])
        try:
            answer_all(world, ann, connection)
        finally:
            ann.close()
    mmtt("annotate", "page", world.root)


def answer_all(world: World, ann: Annotator, connection) -> None:
    (project,) = (p for p in ann.get("/api/projects/").json()["results"] if "describe" in p["title"].lower())
    numbers = {}
    while (task := ann.next_task(project["id"])) is not None:
        numbers[task["data"]["key"]] = task["id"]
        ann.submit(task["id"], description(say(world, task["data"]["key"], "nose"), "nose"))
    mmtt("annotate", "pull", world.root)
    mmtt("annotate", "reports", world.root)
    for key, number in numbers.items():
        ann.submit(number, description(say(world, key, "chin"), "chin"))  # never pulled
        asked = {"result": description(say(world, key, "brow"), "eyebrow"), "lead_time": 3.0}
        post(connection, f"/api/tasks/{number}/drafts", asked)
    post(connection, f"/api/projects/{project['id']}/exports/", {"title": "a copy"})


def say(world: World, key: str, region: str) -> str:
    text = f"The {region} has a “seam” of kind {hashlib.sha1((key + region).encode()).hexdigest()[:12]} along its edge."
    world.said.setdefault(key, set()).add(text)
    return text


def post(connection, path: str, body: dict) -> None:
    headers = {"Authorization": f"Token {connection.token}"}
    httpx.post(connection.url + path, json=body, headers=headers, trust_env=False, timeout=60).raise_for_status()


def predict(world: World) -> None:
    """Predictions of every record with their scores, a run, and a cache of decoded pictures."""
    rows, out = world.rows("forged"), world.runs / "scores"
    masks = out / "predictions" / "masks"
    masks.mkdir(parents=True)
    lines = [json.dumps({"image_id": name, "caption": "The nose.", "mask_path": f"masks/{name}.png"}) for name in rows]
    (out / "predictions" / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    for name in rows:
        Image.new("L", (8, 8)).save(masks / f"{name}.png")
    mmtt("score", out / "predictions", world.root, "--split", "train", "--out", out)
    run = world.runs / "trained"
    (run / "cache").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"format": 1, "dataset": "0" * 64, "versions": {}}))
    np.save(run / "cache" / "abc.npy", np.stack([pixels(row["image"]) for row in rows.values()]))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def closed(world: World) -> dict[str, dict]:
    """What has to go, found without ours: pristine rows of her photos, and what was forged of them either way."""
    pristine = {name: row for name, row in world.rows("pristine").items() if row["origin_id"] in HERS.values()}
    forged = {
        name: row for name, row in world.rows("forged").items() if {row["target_id"], row["source_id"]} & set(pristine)
    }
    assert len(pristine) == 2 and len(forged) > 4 and any(row["source_id"] in pristine for row in forged.values())
    return pristine | forged


def needles(world: World, going: dict[str, dict]) -> dict[str, set[bytes]]:
    """What must be found nowhere, by its kind."""
    photos = [(world.root / "photos" / name).read_bytes() for name in HERS]
    # Where she gave a face to somebody else, that person's picture stays. All masks of pristine rows are the same.
    stay = {image for name, row in (world.rows("pristine") | world.rows("forged")).items() if name not in going
            for image in pictures(row)}  # fmt: skip
    images = {image for row in going.values() for image in pictures(row)} - stay
    shows = fact_of(world)
    keys = {key for key in world.said if shows[key] in going}
    texts = [text for key in keys for text in world.said[key]]
    spelt = lambda words: {told for word in words for told in spellings(word)}  # noqa: E731
    return {
        "her name": spelt({WHO, "Zschokke"}),
        "a photo's path": spelt({*HERS, "otti_2"}),
        "an id at an origin": spelt(HERS.values()),
        "a record": spelt(going),
        "a digest": spelt(hashlib.sha256(image).hexdigest() for image in (*photos, *images)),
        "a picture": {streamed(image) for image in (*photos, *images)},
        "pixels": {pixels(row["image"])[128].tobytes() for row in going.values()},
        "a text": spelt(texts),
        "a word of a text": spelt(
            re.findall(r"kind (\w+)", " ".join(said for key in keys for said in world.said[key]))
        ),
        "the key of a task": spelt(keys),
    }


def pictures(row: dict) -> list[bytes]:
    return [row[name] for name in ("image", "pristine", "mask", "alpha", "change") if row.get(name)]


def streamed(png: bytes) -> bytes:
    """Some of the compressed pixels of its middle, which stay as they are when a picture is given other chunks."""
    return png[len(png) // 2 :][:512] if len(png) > 2048 else png


def fact_of(world: World) -> dict[str, str]:
    """The record that each task shows."""
    with open_desk(world.root) as desk:
        return {key: fact["record_id"] for key, fact in tasks(desk.log).items()}


def everywhere(world: World, found: dict[str, set[Path]], sought: dict[str, set[bytes]]) -> None:
    """The search itself works: before the removal it finds every kind, and it finds them in every kind of file."""
    assert found.keys() == sought.keys(), sought.keys() - found.keys()
    names = {path.name for paths in found.values() for path in paths}
    assert names >= {"label_studio.sqlite3", "log.sqlite", "reports.parquet", "predictions.jsonl", "abc.npy",
                     "scores.parquet", "lineage.parquet", "landmarks.json", "sources.csv", "overview.html"}  # fmt: skip
    assert any(world.hub.folder in path.parents for path in found["a picture"])
    assert any("marked" in path.parts for path in found["a record"])
    assert any(path.parent.name == "1.0.0" for path in found["a record"])


def state(world: World) -> dict:
    release = world.root / "releases" / "1.0.0"
    return {
        "rows": {folder: world.rows(folder) for folder in ("pristine", "forged", "releases/1.0.0/data")},
        "splits": {r["record_id"]: r for r in pq.read_table(world.root / "plan" / "splits.parquet").to_pylist()},
        "shards": {f"{folder}/{path.stem}": digest(path) for folder in ("pristine", "forged")
                   for path in world.shards(folder)},
        "released": {path.relative_to(release).as_posix(): (digest(path), ids(path))
                     for path in release.rglob("*.parquet")},
    }  # fmt: skip


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ids(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["record_id"]).column("record_id").to_pylist())


def killed_and_run_again(world: World, *words: object) -> int:
    """Run a command, killed at moments of chance, until it comes to its end; return how often it was killed."""
    for kills, moment in enumerate([*(RANDOM.randrange(1, 60) for _ in range(5)), 0]):
        done = run_until(world, moment, *words)
        while done.returncode == 2 and "Label Studio already runs" in done.stderr:
            time.sleep(5)  # the server that a killed run had just started still starts
            done = run_until(world, moment, *words)
        if done.returncode == 0:
            assert "finds nothing that is left" in done.stdout
            return kills
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    raise AssertionError("it never came to its end")


def run_until(world: World, moment: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SUPPORT / "killed_command.py", moment, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment(world))


def environment(world: World) -> dict[str, str]:
    paths = os.pathsep.join([str(SUPPORT.parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **world.hub.environment(), "PYTHONPATH": paths}


def end_orphan(root: Path) -> None:
    """End the Label Studio that a killed run has left; its process is named in the lock that it still holds."""
    path = root / "private" / "annotation" / "studio" / ".serving"
    if not path.exists():
        return
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if named := re.search(r"kill (\d+)", lock.read()):
                os.killpg(int(named[1]), signal.SIGKILL)


def interrupted_on_the_hub(world: World) -> int:
    """Publish the next version and purge the Hub, killed at two requests of chance; nobody ever sees half of it."""
    kills, seen, hub = 0, set(), world.hub.repo(REPO)
    command = [sys.executable, "-m", "mmtt", "forget", "hub", str(world.root), "--repo", REPO, "--yes"]
    with watching(lambda: seen.add(tuple(sorted(hub.at("main").tree.items())))):
        for most in (RANDOM.randrange(2, 15), RANDOM.randrange(15, 40), None):
            start = len(world.hub.requests)
            process = subprocess.Popen(
                command, env=environment(world), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            while process.poll() is None and (most is None or len(world.hub.requests) < start + most):
                time.sleep(0.005)
            if process.poll() is None:
                process.kill()
                kills += 1
            said = process.communicate()[0].decode()
    assert process.returncode == 0, said
    assert len(seen) == 2, "the old version, and the new one"
    assert [*hub.tags] == ["v1.0.1"] and [*hub.branches] == ["main"] and len(hub.commits) == 1
    return kills


@contextmanager
def watching(look) -> Iterator[None]:
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.002):
            look()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def shown(world: World, path: Path) -> str:
    """A path as people know it; what the Hub keeps lies under digests."""
    tree = world.hub.repo(REPO).at("main").tree
    names = {entry.blob: name for name, entry in tree.items()}
    if world.hub.folder in path.parents:
        return f"hub/{names.get(path.name, path.name)}"
    return path.relative_to(world.root.parent).as_posix()


def nothing_else_changed(world: World, going: dict[str, dict], planned: set[str], before: dict) -> None:
    """The other rows, their splits and the shards that hold none of hers are what they were."""
    after = {folder: world.rows(folder) for folder in ("pristine", "forged", "releases/1.0.1/data")}
    for (old, rows), left in zip(before["rows"].items(), after.values(), strict=True):
        assert left == {name: row for name, row in rows.items() if name not in going}, old
    splits = {row["record_id"]: row for row in pq.read_table(world.root / "plan" / "splits.parquet").to_pylist()}
    assert splits == {name: row for name, row in before["splits"].items() if name not in going}
    changed = {name for name, told in before["shards"].items() if not (world.root / f"{name}.parquet").exists()
               or digest(world.root / f"{name}.parquet") != told}  # fmt: skip
    assert changed and changed <= planned
    release = world.root / "releases" / "1.0.1"
    for name, (told, records) in before["released"].items():
        if not records & going.keys():
            assert digest(release / name) == told
        else:
            assert not (release / name).exists() or not ids(release / name) & going.keys()


LOAD = """
import json, sys, datasets
datasets.disable_progress_bars()
told = {}
for config in ("default", "raw_reports", "marked"):
    whole = datasets.load_dataset(sys.argv[1], config, revision="v1.0.1")
    told[config] = sorted(name for part in whole.values() for name in part["record_id"][:])
print(json.dumps(told))
"""


def it_is_there_to_be_read(world: World, going: dict[str, dict]) -> None:
    """Whoever loads the new version from the Hub has what stayed."""
    told = {**environment(world), "HF_HOME": str(world.root.parent / "reader")}
    run = subprocess.run([sys.executable, "-c", LOAD, REPO], env=told, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout)
    stay = sorted(name for name in {**world.rows("pristine"), **world.rows("forged")} if name not in going)
    assert loaded["default"] == loaded["marked"] == stay
    assert loaded["raw_reports"] and set(loaded["raw_reports"]) <= set(stay)


def test_the_search_finds_what_is_packed(tmp_path):
    """Each way of packing by itself: what a plain search of bytes would not see."""
    word, info = 'Zschokke "Otti" Ångström' * 9, PngInfo()
    info.add_text("Comment", word, zip=True)
    picture = io.BytesIO()
    Image.new("L", (4, 4)).save(picture, "PNG", pnginfo=info)
    (tmp_path / "a.png").write_bytes(picture.getvalue())
    (tmp_path / "b.gz").write_bytes(gzip.compress(word.encode()))
    (tmp_path / "c.html").write_bytes(b"<img src='data:image/png;base64," + b64encode(picture.getvalue()) + b"'>")
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", word)
    nested = {"said": [{"by": [word]}]}
    pq.write_table(pa.Table.from_pylist([nested] * 3), tmp_path / "e.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "f.sqlite") as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE said (word TEXT)")
        base.execute("INSERT INTO said VALUES (?)", (word,))
    base.close()
    (tmp_path / "g.json").write_text(json.dumps({word: 1}))
    (tmp_path / "clean.txt").write_text("nobody")
    (tmp_path / word[:60]).write_text("in the name")
    found = find([tmp_path], {"it": spellings(word), "name": spellings(word[:60])})
    assert {path.name for path in found["it"]} == {
        "a.png",
        "b.gz",
        "c.html",
        "d.zip",
        "e.parquet",
        "f.sqlite",
        "g.json",
    }
    assert word[:60] in {path.name for path in found["name"]} and "clean.txt" not in {p.name for p in found["name"]}
