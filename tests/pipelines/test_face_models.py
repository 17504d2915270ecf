"""The learned finders, on miniature weights in the true formats: the real libraries load and run them."""

import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmtt import images, regions
from mmtt.check import verify
from mmtt.errors import RecipeError, UserError
from mmtt.executors import processes, serial
from mmtt.faces import Face
from mmtt.landmarks import SCHEMES
from mmtt.layout import Layout
from mmtt.manifest import read, shard_paths
from mmtt.progress import silent
from mmtt.recipe import IngestSection, Recipe
from mmtt.record import Lineage
from mmtt.shards import read_table
from mmtt.weights import FOLDER, Weights, sha256
from pipelines import finders
from pipelines.finders import facexlib, insightface
from pipelines.ingest import ingest
from tests.factories import build, drawn, tiny_dataset, tiny_recipe
from tests.support import tiny_facexlib, tiny_insightface

pytest.importorskip("insightface")
pytest.importorskip("facexlib")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_insightface.write_buffalo_l(folder)
    tiny_facexlib.write_facexlib(folder)
    return folder


@pytest.fixture(autouse=True)
def models(written, tmp_path_factory, monkeypatch):
    """A folder of all weights, of one's own; and no way out of this machine."""
    folder = tmp_path_factory.mktemp("mine") / "models"
    shutil.copytree(written, folder)
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return folder


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("something tries to reach the network")


def pins(models: Path, *wanted: Weights) -> dict[str, str]:
    """The digests of the miniatures, as a recipe pins them."""
    known = wanted or (*insightface.WEIGHTS, *facexlib.WEIGHTS)
    return {weights.path: sha256(models / weights.path) for weights in known if (models / weights.path).exists()}


def section(folder: Path, **keys: object) -> IngestSection:
    return IngestSection.model_validate({"models": pins(folder), "size_px": 256} | keys)


def person(seed: int = 0) -> images.Rgb:
    return drawn(seed).image


def from_sidecar(seed: int = 0) -> Face:
    return Face(drawn(seed).landmarks.astype(np.float32), "openpose_70")


def dataset(root: Path, folder: Path, photos: int = 4, **keys: object) -> Layout:
    recipe = {"models": pins(folder), "size_px": 256, "finders": ["insightface"]} | keys
    # So few faces calibrate no threshold, and one that they cannot reach keeps each a person of their own.
    plan = tiny_recipe()["plan"] | {"identity": {"threshold": 0.999}}
    return tiny_dataset(root, photos=photos, ingest=recipe, plan=plan)


def run(layout: Layout, executor=serial):
    return ingest(layout, Recipe.load(layout.recipe), executor, silent)


def lineage(layout: Layout) -> dict[str, Lineage]:
    return {row.path: row for row in read_table(layout.lineage, Lineage)}


def made_anew(layout: Layout) -> list[str]:
    before = {path.name: path.stat().st_ino for path in layout.pristine.glob("bucket-*.parquet")}
    run(layout)
    return [p.name for p in sorted(layout.pristine.glob("bucket-*")) if before.get(p.name) != p.stat().st_ino]


# InsightFace


def test_insightface_finds_the_face_with_its_106_points(models):
    (face,) = finders.make("insightface", pins(models)).find(person(), "any")
    assert (face.scheme, face.landmarks.dtype) == ("insightface_106", np.float32)
    assert np.abs(face.landmarks - tiny_insightface.points_106() * 512).max() < 0.01
    assert np.abs(face.five_points - tiny_insightface.five_points() * 512).max() < 0.6
    assert 0.5 < face.score <= 1
    assert face.finder == "insightface 2.1 buffalo_l LicenseRef-InsightFace-NonCommercial"


def test_insightface_gets_the_channels_in_its_own_order(models):
    """The miniature detector wants red in the middle: with the channels the wrong way round it sees blue."""
    finder = finders.make("insightface", pins(models))
    assert finder.find(np.ascontiguousarray(person()[:, :, ::-1]), "any") == []
    assert finder.find(np.full((200, 300, 3), 128, np.uint8), "any") == []


@pytest.mark.parametrize("face", ["its own", "from a sidecar"])
@pytest.mark.filterwarnings("ignore:.*estimate.*is deprecated:FutureWarning")
def test_an_embedding_is_the_one_insightface_computes_for_those_five_points(models, face):
    from insightface.app.common import Face as Theirs
    from insightface.model_zoo import get_model

    given = from_sidecar() if face != "its own" else finders.make("insightface", pins(models)).find(person(), "")[0]
    ours = insightface.embedding(person(), given, pins(models))
    arcface = get_model(str(models / insightface.RECOGNITION.path), providers=["CPUExecutionProvider"])
    theirs = Theirs(kps=given.five_points)
    arcface.get(np.ascontiguousarray(person()[:, :, ::-1]), theirs)
    assert (ours.shape, ours.dtype) == ((512,), np.float32)
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)
    assert float(ours @ theirs.normed_embedding) > 0.9999


def test_two_people_have_two_embeddings_and_one_person_has_one(models):
    mine = pins(models, insightface.RECOGNITION)
    one, other = (insightface.embedding(person(seed), from_sidecar(seed), mine) for seed in (0, 1))
    larger = np.repeat(np.repeat(person(0), 2, axis=0), 2, axis=1)
    twice = Face((from_sidecar(0).landmarks + 0.5) * 2 - 0.5, "openpose_70")
    assert np.array_equal(one, insightface.embedding(person(0), from_sidecar(0), mine))
    assert float(one @ insightface.embedding(larger, twice, mine)) > 0.999 > float(one @ other)


def test_networks_run_in_one_thread_so_that_workers_do_not_change_results(models):
    found = [insightface._model(weights, pins(models)) for weights in insightface.WEIGHTS]
    finders.make("insightface", pins(models)).find(person(), "any")
    pool = found[0]._current_resolution_session_pool()
    sessions = [*(model.session for model in found), *pool._sessions.values()]
    assert len(sessions) == 5  # three, and the detector's two sizes
    assert {session.get_session_options().intra_op_num_threads for session in sessions} == {1}
    assert {tuple(session.get_providers()) for session in sessions} == {("CPUExecutionProvider",)}


def test_other_bytes_under_the_same_name_are_loaded_anew(models):
    path = models / insightface.RECOGNITION.path
    before = insightface.embedding(person(), from_sidecar(), pins(models))
    path.write_bytes(path.read_bytes().replace(b"\x3d", b"\x3c"))
    after = insightface.embedding(person(), from_sidecar(), pins(models))
    assert not np.allclose(before, after, atol=1e-3)


def test_the_two_networks_of_the_pack_that_nothing_needs_may_be_absent(models):
    (models / "models/buffalo_l/1k3d68.onnx").unlink()
    (models / "models/buffalo_l/genderage.onnx").unlink()
    assert len(finders.make("insightface", pins(models)).find(person(), "any")) == 1


@pytest.mark.parametrize("content", ["another network", "no network"])
def test_a_file_that_is_not_the_network_is_a_sentence(models, content):
    path = models / insightface.DETECTION.path
    other = (models / insightface.RECOGNITION.path).read_bytes()
    path.write_bytes(other if content == "another network" else b"<html>Not Found</html>")
    with pytest.raises(UserError, match=r"det_10g.onnx .*(no network for detection|cannot be read)"):
        finders.make("insightface", pins(models)).find(person(), "any")


# facexlib


def with_dots(*dots: tuple[int, int], hw: tuple[int, int] = (256, 320)) -> images.Rgb:
    """A grey photo with red dots, each redder than the one before; the miniature finds a face round each."""
    photo = np.full((*hw, 3), 100, np.uint8)
    for number, (x, y) in enumerate(dots):
        photo[y, x] = (190 + 5 * number, 100, 60)
    return photo


def small_only(models: Path) -> dict[str, str]:
    (models / facexlib.DETECTION.path).unlink()
    return pins(models)


def test_facexlib_finds_faces_from_left_to_right_with_98_points_each(models):
    faces = finders.make("facexlib", small_only(models)).find(with_dots((224, 128), (96, 128)), "any")
    assert [face.scheme for face in faces] == ["wflw_98"] * 2
    for face, x in zip(faces, (96, 224), strict=True):
        away = face.landmarks - (tiny_facexlib.points_98() + (x - 0.5, 127.5))
        assert np.abs(away).max() < 0.76 * tiny_facexlib.cell_px()
        # Each point is the middle of a cell, give or take a quarter: any shift common to all would show.
        assert np.abs(away.mean(axis=0)).max() < 0.15 * tiny_facexlib.cell_px()
        assert 0.97 < face.score <= 1
    named = "facexlib 0.3.0 detection_mobilenet0.25_Final MIT alignment_WFLW_4HG Apache-2.0"
    assert faces[0].finder == named


def test_facexlib_gets_the_channels_in_its_own_order(models):
    finder = finders.make("facexlib", small_only(models))
    assert finder.find(np.ascontiguousarray(with_dots((96, 128))[:, :, ::-1]), "any") == []


def test_a_large_photo_is_searched_reduced_and_its_faces_come_back_in_its_own_pixels(models):
    photo = np.full((512, 2560, 3), 100, np.uint8)
    photo[256:258, 1280:1282] = (200, 100, 60)  # one pixel of the half-sized photo
    (face,) = finders.make("facexlib", small_only(models)).find(photo, "any")
    away = face.landmarks - (2 * tiny_facexlib.points_98() + (1279.5, 255.5))
    assert np.abs(away).max() < 2 * 0.76 * tiny_facexlib.cell_px()


def test_the_larger_detector_is_used_where_both_are_there(models):
    photo = with_dots((96, 128), hw=(192, 192))
    assert facexlib.detector() == facexlib.DETECTION
    assert finders.make("facexlib", pins(models)).find(photo, "any") == []  # the miniature resnet finds nothing
    (models / facexlib.DETECTION_SMALL.path).unlink()
    assert facexlib.detector() == facexlib.DETECTION
    (models / facexlib.DETECTION.path).unlink()
    assert facexlib.detector() == facexlib.DETECTION  # what a user who has neither is told to get


class Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("path", [facexlib.DETECTION_SMALL.path, facexlib.LANDMARKS.path])
@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:UserWarning")
def test_weights_are_never_unpickled_even_where_torch_is_told_to(models, tmp_path, monkeypatch, path):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    (models / facexlib.DETECTION.path).unlink()
    (models / path).write_bytes(pickle.dumps(Harmful(tmp_path / "ran")))
    with pytest.raises(UserError, match=r"cannot be read as weights of"):
        finders.make("facexlib", pins(models)).find(with_dots((96, 128)), "any")
    assert not (tmp_path / "ran").exists()


def test_peaks_lie_in_the_highest_cell_a_quarter_towards_the_higher_neighbour():
    y, x = np.mgrid[:64, :64] + 0.5
    rng = np.random.default_rng(0)
    inside, at_the_edge = rng.uniform(1, 63, (40, 2)), np.array([[0.2, 30.1], [63.9, 12], [20, 0.1], [31, 63.8]])
    for goal in (*inside, *at_the_edge, [0.1, 0.1], [63.9, 63.9]):
        heat = np.exp(-((x - goal[0]) ** 2 + (y - goal[1]) ** 2) / 8).astype(np.float32)
        (found,) = facexlib.peaks(heat[None])
        # Beyond the edge there is nothing to lean to, so there the cell's middle itself may be half a cell off.
        assert np.abs(found - goal).max() <= (0.2501 if min(goal) >= 1 and max(goal) <= 63 else 0.76)


def test_wflws_points_are_those_that_facexlib_takes_for_the_68():
    from facexlib.alignment import landmark_98_to_68

    points = np.random.default_rng(0).normal(0, 100, (98, 2)).astype(np.float32)
    theirs, ours = landmark_98_to_68(points), points[list(SCHEMES["wflw_98"].to_68)]
    # It draws brows along the middle of the hair, the mean of upper and lower edge; a scheme names points.
    blended = set(range(18, 26))
    same = [i for i in range(68) if i not in blended]
    assert np.array_equal(theirs[same], ours[same])
    lower = {18: 41, 19: 40, 20: 39, 21: 38, 22: 50, 23: 49, 24: 48, 25: 47}
    for i, below in lower.items():
        assert np.allclose(theirs[i], (ours[i] + points[below]) / 2, atol=1e-4)


@pytest.mark.parametrize("scheme", ["insightface_106", "wflw_98"])
def test_both_schemes_say_pupils_and_brows_but_no_forehead(scheme):
    assert {"pupil", "eyebrow", "lip"} <= set(regions.sayable(scheme))
    assert "forehead" not in regions.sayable(scheme)


@pytest.mark.parametrize("hw", [(2, 700), (700, 2), (1, 1)])
@pytest.mark.parametrize("finder", ["insightface", "facexlib"])
def test_a_sliver_of_a_photo_has_no_face(models, finder, hw):
    assert finders.make(finder, small_only(models)).find(np.full((*hw, 3), 100, np.uint8), "any") == []


# What is missing


NEEDED = {
    "insightface": [insightface.DETECTION, insightface.LANDMARKS],
    "facexlib": [facexlib.DETECTION, facexlib.LANDMARKS],
}


@pytest.mark.parametrize("finder", NEEDED)
def test_missing_weights_are_told_with_where_they_come_from_before_a_photo_is_read(tmp_path, models, finder):
    for weights in NEEDED[finder]:
        layout = dataset(tmp_path / Path(weights.path).stem, models, 1, finders=["sidecar", finder])
        content = (models / weights.path).read_bytes()
        (models / weights.path).unlink()
        (models / facexlib.DETECTION_SMALL.path).unlink(missing_ok=True)
        with pytest.raises(UserError) as caught:
            run(layout)
        assert f"'{weights.path}' is missing. Get it from {weights.origin}" in str(caught.value)
        assert not layout.pristine.exists()
        (models / weights.path).write_bytes(content)


@pytest.mark.parametrize("weights", [*NEEDED["insightface"], *NEEDED["facexlib"], insightface.RECOGNITION])
def test_weights_other_than_the_known_ones_are_refused_unless_the_recipe_pins_them(models, weights):
    both = {"finders": ["insightface", "facexlib"], "embedder": "insightface"}
    finders.digests(section(models, **both))
    unpinned = {path: digest for path, digest in pins(models).items() if path != weights.path}
    with pytest.raises(UserError, match=f"'{weights.path}' has SHA-256 .* expected {weights.sha256}"):
        finders.digests(section(models, models=unpinned, **both))


def test_a_pin_that_nothing_reads_is_refused_with_the_nearest_name(models):
    wrong = {"models/buffalo_l/w600k_r5O.onnx": "0" * 64}
    with pytest.raises(RecipeError, match=r"Did you mean 'models/buffalo_l/w600k_r50.onnx'"):
        finders.digests(section(models, models=wrong))


def test_what_a_recipe_does_not_use_is_not_asked_for(models):
    shutil.rmtree(models)
    assert finders.digests(IngestSection()) == {}


INGEST = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
from pathlib import Path
from mmtt.errors import MissingDependency
from mmtt.executors import serial
from mmtt.recipe import Recipe
from pipelines.ingest import ingest
from mmtt.layout import Layout
from mmtt.progress import silent
layout = Layout(Path({root!r}))
try:
    print(ingest(layout, Recipe.load(layout.recipe), serial, silent).rows)
except MissingDependency as error:
    print(error)
"""


def ingest_without(root: Path, *absent: str) -> str:
    """What ingest in a process of its own, where some packages cannot be imported, prints."""
    code = INGEST.format(absent=absent, root=str(root))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout


@pytest.mark.parametrize(
    ("package", "finder", "extra"),
    [("insightface", "insightface", "insightface"), ("onnxruntime", "insightface", "insightface"),
     ("facexlib", "facexlib", "facexlib"), ("torch", "facexlib", "facexlib")],
)  # fmt: skip
def test_an_absent_package_is_a_sentence_with_the_command(tmp_path, models, package, finder, extra):
    layout = dataset(tmp_path, models, 1, finders=[finder])
    told = ingest_without(tmp_path, package)
    assert f"pip install 'mmtt[{extra}]'" in told
    assert package in told
    assert not layout.pristine.exists()


def test_ingest_with_landmarks_that_are_brought_needs_none_of_the_packages(tmp_path, models):
    dataset(tmp_path, models, 1, finders=["sidecar"], models={})
    absent = ("insightface", "onnxruntime", "onnx", "facexlib", "torch", "torchvision", "mediapipe")
    assert ingest_without(tmp_path, *absent).strip() == "1"


# Through ingest


def test_a_dataset_is_built_on_the_faces_that_insightface_finds(tmp_path, models):
    layout = dataset(tmp_path, models, embedder="insightface")
    build(layout)
    for folder in (layout.pristine, layout.forged):
        assert list(verify(folder)) == []
        rows = list(read(folder))
        assert len(rows) >= 4
        assert {row.landmark_scheme for row in rows} == {"insightface_106"}
        assert {row.landmark_finder.split()[-1] for row in rows} == {insightface.LICENCE}
        # The weights that found a face make no pixel: they add nothing to what the picture obliges to.
        assert not any("NC" in row.obligations or "research-only" in row.obligations for row in rows)


def test_facexlibs_faces_reach_a_shard(tmp_path, models):
    layout = dataset(tmp_path, models, 1, finders=["facexlib"])
    small_only(models)
    (layout.photos / "drawn_00.png").write_bytes(images.encode_png(with_dots((160, 128))))
    run(layout)
    (record,) = read(layout.pristine)
    assert (record.landmark_scheme, len(record.landmarks)) == ("wflw_98", 98)
    assert list(verify(layout.pristine)) == []


def plain_bytes(path: Path) -> bytes:
    """Every value of a Parquet file, uncompressed and undictionaried, and the file itself with its metadata."""
    sink = pa.BufferOutputStream()
    table = pq.read_table(path)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes() + path.read_bytes()


@pytest.mark.parametrize("finder", ["insightface", "sidecar"])
def test_embeddings_stay_in_the_private_lineage_and_never_reach_a_shard(tmp_path, models, finder):
    layout = dataset(tmp_path, models, 3, finders=[finder], embedder="insightface")
    build(layout)
    found = {row.path: np.asarray(row.embedding, np.float32) for row in lineage(layout).values()}
    photos = {name: images.decode_photo((layout.photos / name).read_bytes()) for name in found}
    for name, row in lineage(layout).items():
        expected = insightface.embedding(photos[name], found_face(photos[name], name, finder, models), pins(models))
        assert np.array_equal(found[name], expected)
        assert row.embedding is not None
    public = b"".join(plain_bytes(path) for f in (layout.pristine, layout.forged) for path in shard_paths(f))
    private = plain_bytes(layout.lineage)
    for embedding in found.values():
        parts = [embedding[i : i + 3].tobytes() for i in range(0, 510, 3)]
        parts += [embedding[i : i + 3].astype(np.float64).tobytes() for i in range(0, 510, 3)]
        assert not any(part in public for part in parts)
        assert all(part in private for part in parts[:170])


def found_face(photo: images.Rgb, name: str, finder: str, models: Path) -> Face:
    if finder == "sidecar":
        return from_sidecar(int(name[6:8]))
    (face,) = finders.make("insightface", pins(models)).find(photo, name)
    return face


def test_without_an_embedder_there_is_no_embedding_and_asking_for_one_ingests_again(tmp_path, models):
    layout = dataset(tmp_path, models, 3, finders=["sidecar"])
    run(layout)
    assert {row.embedding for row in lineage(layout).values()} == {None}
    recipe = yaml.safe_load(layout.recipe.read_text())
    recipe["ingest"]["embedder"] = "insightface"
    layout.recipe.write_text(yaml.safe_dump(recipe))
    assert made_anew(layout)
    assert all(len(row.embedding or ()) == 512 for row in lineage(layout).values())


def test_rows_that_are_carried_over_keep_their_embeddings(tmp_path, models):
    run(dataset(tmp_path, models, 3, embedder="insightface"))
    before = lineage(Layout(tmp_path))
    layout = dataset(tmp_path, models, 5, embedder="insightface")
    run(layout)
    after = lineage(layout)
    assert len(after) == 5
    assert {path: after[path] for path in before} == before
    assert all(row.embedding for row in after.values())


def test_other_weights_ingest_again_though_the_recipe_is_the_same(tmp_path, models):
    digests = pins(models)
    (models / facexlib.DETECTION.path).rename(tmp_path / "aside")
    layout = dataset(tmp_path / "data", models, 3, finders=["sidecar", "facexlib"], models=digests)
    assert made_anew(layout)
    assert made_anew(layout) == []
    (tmp_path / "aside").rename(models / facexlib.DETECTION.path)
    assert len(made_anew(layout)) == len(list(shard_paths(layout.pristine)))


def test_workers_get_the_same_bytes_as_one_process(tmp_path, models):
    made = []
    for name, executor in (("serial", serial), ("workers", processes(2))):
        layout = dataset(tmp_path / name, models, 3, embedder="insightface")
        run(layout, executor)
        made.append({path.name: path.read_bytes() for path in (*shard_paths(layout.pristine), layout.lineage)})
    assert made[0] == made[1]
