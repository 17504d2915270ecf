"""InSwapper through the real library on a miniature network: where the square lands, what is blended, what is told."""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mmtt import images, regions
from mmtt.check import check, verify
from mmtt.errors import MissingDependency, RecipeError, Rejected, UserError
from mmtt.executors import processes, serial
from mmtt.faces import Face, align
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.manifest import read
from mmtt.manipulator import Job, finish
from mmtt.masks import MaskRule
from mmtt.parsing import LABELS, parsed_words
from mmtt.record import Rejection
from mmtt.shards import read_table
from mmtt.weights import FOLDER, sha256
from pipelines import manipulators
from pipelines.manipulators import inswapper
from pipelines.manipulators.inswapper import InSwapper
from pipelines.trial import trial
from tests.factories import build, drawn, tiny_dataset
from tests.support.tiny_insightface import write_buffalo_l, write_inswapper

pytest.importorskip("insightface")
SWAPPER, RECOGNITION = "models/inswapper_128.onnx", "models/buffalo_l/w600k_r50.onnx"


def retuned(path, share, rest=None):
    """Change what the miniature answers: `share` of a colour that the identity decides, `rest` of the target."""
    model = onnx.load(path)
    values = {"share": share, "rest": 1 - share if rest is None else rest}
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(values[tensor.name]), tensor.name))
    path.write_bytes(model.SerializeToString(deterministic=True))


@cache
def base():
    """Both networks' bytes, by path; they take a second to make."""
    with TemporaryDirectory() as folder:
        write_buffalo_l(Path(folder))
        write_inswapper(Path(folder) / SWAPPER)
        return {path: (Path(folder) / path).read_bytes() for path in (SWAPPER, RECOGNITION)}


def write(folder, share=0.4, rest=None):
    for path, data in base().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    retuned(folder / SWAPPER, share, rest)
    return folder


@pytest.fixture(scope="module")
def tinted(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tinted"))


@pytest.fixture(autouse=True)
def models(tinted, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tinted))
    return tinted


@pytest.fixture
def same(tmp_path, monkeypatch):
    """A network that answers the target as it is."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "same"))
    return write(tmp_path / "same", 0)


def options(folder, **more):
    return {"pinned": {p: sha256(folder / p) for p in (SWAPPER, RECOGNITION)}} | more


def made(folder, **more):
    return InSwapper.model_validate(options(folder, **more))


def person(seed=0, size_px=256):
    face = Face(drawn(seed).landmarks, "openpose_70", "drawn")
    crop, matrix = align(drawn(seed).image, face, "ffhq_512", size_px)
    return crop, face.moved(matrix)


def job(swap, seed=0, size_px=256, donor=1, **changes):
    (target, face), (source, theirs) = person(seed, size_px), person(seed + donor, size_px)
    plan = json.loads(json.dumps(swap.plan(face, theirs, np.random.default_rng(seed))))
    return Job(target, face, source, theirs, plan, np.random.default_rng(0))._replace(**changes)


def smooth(size_px):
    """A picture without detail that 128 px could not hold: broad waves, another in each channel."""
    y, x = np.mgrid[:size_px, :size_px] * (2 * np.pi / size_px)
    waves = np.stack([np.sin(x + 0.3), np.sin(y * 1.5), np.cos(x + y)], axis=2)
    return np.round(128 + 90 * waves).astype(np.uint8)


def turned(face, image, degrees, size_px=256):
    centre = (size_px / 2, size_px / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, 0.8)
    return cv2.warpAffine(image, matrix, (size_px, size_px), borderMode=cv2.BORDER_REFLECT), face.moved(matrix)


@pytest.mark.parametrize("degrees", [0, 35, -120])
def test_what_the_network_leaves_alone_lands_exactly_where_it_came_from(same, degrees):
    swap = made(same)
    _, face = person(0)
    picture, face = turned(face, smooth(256), degrees)
    edit = swap.render([job(swap, target=picture, target_face=face)])[0]
    assert (edit.alpha > 0.99).sum() > 5000
    inside = edit.alpha > 0
    difference = np.abs(edit.image[inside].astype(int) - picture[inside])
    assert difference.mean() < 1.2 and difference.max() <= 4  # it casts to bytes by cutting off


def test_colours_are_those_of_the_network(models):
    """Three fifths of the target and two fifths of one colour, in RGB: red stays red."""
    swap = made(models)
    picture = np.full((256, 256, 3), (200, 100, 50), np.uint8)
    edits = [swap.render([job(swap, target=picture, donor=donor)])[0] for donor in (1, 2)]
    given = [edit.image[edit.alpha > 0.9].astype(float) for edit in edits]
    for pixels in given:
        tint = (pixels - 0.6 * np.array([200, 100, 50])) / 0.4 / 255
        assert tint.std(axis=0).max() < 0.01 and tint.min() > -0.01 and tint.max() < 1.01
    assert np.abs(given[0].mean(axis=0) - given[1].mean(axis=0)).max() > 10  # another donor, another colour


def test_keeps_the_contract(models):
    assert trial("inswapper", options(models)) == []
    assert trial("inswapper", options(models, match_colour=True, keep_raw=True)) == []


@pytest.mark.parametrize("size_px", [128, 256, 512])
@pytest.mark.parametrize("scheme", ["openpose_70", "ibug_68"])
def test_alpha_stays_inside_the_face_and_the_square(models, size_px, scheme):
    swap = made(models)
    target, face = person(3, size_px)
    face = Face(face.landmarks[: 70 if scheme == "openpose_70" else 68], scheme)
    edit = swap.render([job(swap, size_px=size_px, target=target, target_face=face)])[0]
    outside = ~regions.fill([inswapper.holes.whole_face(face)], (size_px, size_px))
    assert edit.alpha[outside].max() == 0
    assert 0.98 < edit.alpha.max() <= 1
    forged = finish(target, edit, MaskRule.BLEND, 0)
    assert np.array_equal(forged.image[edit.alpha == 0], target[edit.alpha == 0])
    nose = regions.region_mask(face, "nose", (size_px, size_px))
    assert (forged.mask[nose] > 0).mean() > 0.95
    steps = np.abs(np.diff(edit.alpha, axis=0)).max(), np.abs(np.diff(edit.alpha, axis=1)).max()
    assert max(steps) < 3 / max(swap.feather_range[0] * face.interocular, 3)


def test_a_face_larger_than_the_square_fades_out_at_its_rim(models):
    """Landmarks whose outline is far wider than what the network saw: alpha must end where the answer ends."""
    swap = made(models)
    target, face = person(0, 512)
    wide = face.landmarks.copy()
    wide[:17] = wide[30] + 2.5 * (wide[:17] - wide[30])
    broad = Face(wide, face.scheme)
    edit = swap.render([job(swap, size_px=512, target=target, target_face=broad)])[0]
    _, matrix = inswapper._answer(model_of(swap), target, broad, np.eye(512, dtype=np.float32)[0])
    corners = cv2.transform(np.argwhere(edit.alpha > 0)[None, :, ::-1].astype(np.float64), matrix)[0]
    assert corners.min() >= 1.9 and corners.max() <= 125.1
    assert corners.max() > 124


def model_of(swap):
    path = inswapper.require(swap._weights()[0], swap.pinned[SWAPPER])
    return inswapper._model(path, sha256(path))


def parsed(face, label, rows, columns, size_px=256):
    """The face with a label map that shows skin, and one label in some rows and columns."""
    labels = np.full((size_px, size_px), LABELS.index("skin"), np.uint8)
    labels[rows, columns] = LABELS.index(label)
    return replace(face, parsing_png=images.encode_png(labels), parsed=parsed_words(labels))


@pytest.mark.parametrize("label", ["hair", "eye_g", "hat"])
def test_what_lies_over_a_parsed_face_is_left_alone(models, label):
    swap = made(models)
    plain = job(swap)
    y = int(plain.target_face.five_points[0, 1])
    over = parsed(plain.target_face, label, slice(y - 12, y + 12), slice(None))
    bare, spared = (swap.render([plain._replace(target_face=face)])[0].alpha for face in (plain.target_face, over))
    assert bare[y].max() == 1 and spared[y - 12 : y + 12].max() == 0
    assert np.array_equal(spared[y + 40 :], bare[y + 40 :])
    assert 0 < spared[y + 12].max() < 0.5 < spared[y + 20].max()


def test_matching_colours_brings_the_skin_back(models):
    plain, matched = (made(models, match_colour=match) for match in (False, True))
    one = job(plain, 2)
    edits = [swap.render([job(swap, 2)])[0] for swap in (plain, matched)]
    core = edits[0].alpha > 0.9
    away = [np.abs(e.image[core].astype(float).mean(axis=0) - one.target[core].mean(axis=0)).max() for e in edits]
    assert away[0] > 25 and away[1] < 6


def test_the_batch_changes_no_byte(models):
    swap = made(models, keep_raw=True)
    jobs = [job(swap, seed) for seed in range(8)]

    def told(edits):
        return [(e.image.tobytes(), e.alpha.tobytes(), e.raw.tobytes()) for e in edits]

    whole = told(swap.render(jobs))
    for size in (1, 3):
        parts = [swap.render(jobs[start : start + size]) for start in range(0, 8, size)]
        assert [found for part in parts for found in told(part)] == whole
    assert {edit.raw.shape for edit in swap.render(jobs[:2])} == {(128, 128, 3)}


def test_the_networks_are_loaded_once_a_process_and_say_nothing(models, capfd):
    inswapper._model.cache_clear()
    for seed in range(3):
        made(models).render([job(made(models), seed)])
    assert inswapper._model.cache_info().misses == 1
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_other_bytes_are_named(models, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"inswapper_128\.onnx' has SHA-256 .* expected e4a3f08c"):
        InSwapper().declare()
    with pytest.raises(UserError, match=r"w600k_r50\.onnx' has SHA-256"):
        InSwapper(pinned={SWAPPER: sha256(models / SWAPPER)}).declare()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(UserError, match=r"inswapper_128\.onnx' is missing. Get it from .*deepinsight/insightface"):
        InSwapper().declare()
    write(tmp_path)
    (tmp_path / RECOGNITION).unlink()
    with pytest.raises(UserError, match=r"w600k_r50\.onnx' is missing. Get it from .*buffalo_l\.zip"):
        InSwapper(pinned={SWAPPER: sha256(tmp_path / SWAPPER)}).declare()


def test_one_digest_covers_both_networks(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    found = set()
    for change in (None, SWAPPER, RECOGNITION):
        write(tmp_path)
        if change:
            model = onnx.load(tmp_path / change)
            model.doc_string = "other bytes"
            (tmp_path / change).write_bytes(model.SerializeToString())
        found.add(made(tmp_path).declare().weights_sha256)
    assert len(found) == 3
    write(tmp_path)
    assert digest({p: file_sha256(tmp_path / p) for p in (SWAPPER, RECOGNITION)}) in found


def test_a_file_that_is_no_swapper_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(write(tmp_path)))
    other = tmp_path / "models/other.onnx"
    for data, said in ((b"<html>", "cannot be read"), ((tmp_path / RECOGNITION).read_bytes(), "no inswapper network")):
        other.write_bytes(data)
        swap = InSwapper(model="models/other.onnx", pinned={RECOGNITION: sha256(tmp_path / RECOGNITION)})
        with pytest.raises(UserError, match=rf"other\.onnx .*{said}"):
            swap.render([job(swap)])


def test_a_pin_of_a_file_that_is_not_used_is_a_typo():
    with pytest.raises(RecipeError, match=r"inswaper_128\.onnx' is pinned, but not used. Did you mean"):
        manipulators.make("inswapper", {"pinned": {"models/inswaper_128.onnx": "0" * 64}}, "here")


@pytest.mark.parametrize("package", ["insightface", "onnxruntime"])
def test_a_missing_package_is_told_with_the_command(models, monkeypatch, package):
    one = job(made(models))
    inswapper._model.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[insightface\]'"):
        made(models).render([one])


def test_nan_is_a_rejection_and_no_black_pixel(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    swap = made(write(tmp_path, np.nan, 0))
    with pytest.raises(Rejected, match="not_finite"):
        swap.render([job(swap)])


def test_a_donor_of_whom_nothing_is_known_is_a_rejection(tmp_path, monkeypatch):
    """Only zeros, as identity, would swap in nobody's face."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    write(tmp_path)
    model = onnx.load(tmp_path / RECOGNITION)
    last = model.graph.node[-1]
    for value in (0, np.nan):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        changed.graph.node[-1].output[0] = "before"
        changed.graph.initializer.append(numpy_helper.from_array(np.float32(value), "nothing"))
        changed.graph.node.append(onnx.helper.make_node("Mul", ["before", "nothing"], [last.output[0]]))
        (tmp_path / RECOGNITION).write_bytes(changed.SerializeToString())
        swap = made(tmp_path)
        with pytest.raises(Rejected, match="says nothing of who the donor is"):
            swap.render([job(swap)])


def test_another_way_to_colour_stands_in_the_plan(models):
    plain, matched = (job(made(models, match_colour=match)).parameters for match in (False, True))
    assert matched == {**plain, "match_colour": True} != plain


def test_a_pin_decides_no_byte(models):
    pins = options(models)["pinned"]
    assert InSwapper(pinned=pins).model_dump() == InSwapper().model_dump()


def test_a_face_beside_the_frame_or_without_extent_gives_no_row(models):
    swap = made(models)
    target, face = person(0)
    away = face.moved(np.array([[1, 0, 900], [0, 1, 0]], np.float64))
    with pytest.raises(Rejected, match="empty_mask"):
        finish(target, swap.render([job(swap, target_face=away)])[0], MaskRule.BLEND, 0)
    flat = Face(np.full((70, 2), 30, np.float32), "openpose_70")
    for pair in ((flat, face), (face, flat)):
        with pytest.raises(Rejected, match="degenerate_face"):
            swap.plan(*pair, np.random.default_rng(0))
    with pytest.raises(Rejected, match="no_source"):
        swap.plan(face, None, np.random.default_rng(0))


def entry(models, **more):
    return {"use": "inswapper", "options": options(models, **more)}


def shards_of(layout):
    return {path.name: file_sha256(path) for path in sorted(layout.forged.rglob("*.parquet"))}


def test_a_dataset_is_the_same_in_one_process_and_in_two(tmp_path, models):
    layouts = [tiny_dataset(tmp_path / name, 5, [entry(models, keep_raw=True)]) for name in ("one", "two")]
    for layout, executor in zip(layouts, (serial, processes(2)), strict=True):
        build(layout, executor)
    records = list(read(layouts[0].forged))
    assert len(records) >= 3 and [fault for record in records for fault in check(record)] == []
    assert [*verify(layouts[0].forged)] == []
    assert {r.weights_sha256 for r in records} == {made(models).declare().weights_sha256}
    assert {r.weights_licence for r in records} == {inswapper.LICENCE}
    assert all({"NC", "research-only"} <= set(r.obligations) and r.source_id for r in records)
    assert all(images.decode_rgb(r.raw).shape == (128, 128, 3) for r in records)
    assert shards_of(layouts[0]) == shards_of(layouts[1])


def test_other_weights_are_planned_and_forged_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "models"))
    found = []
    for share in (0.4, 0.7, 0.7):
        written = write(tmp_path / "models", share)
        (written / SWAPPER).rename(written / "swapper.onnx")
        options = {"model": "swapper.onnx", "pinned": {RECOGNITION: sha256(written / RECOGNITION)}}
        layout = tiny_dataset(tmp_path / "data", 4, [{"use": "inswapper", "options": options}])
        build(layout)
        records = list(read(layout.forged))
        found.append(({r.record_id for r in records}, {r.weights_sha256 for r in records}, shards_of(layout)))
    for place in range(3):
        assert found[0][place] != found[1][place] == found[2][place]


def test_a_broken_network_rejects_its_rows_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "models"))
    write(tmp_path / "models", np.nan, 0)
    layout = tiny_dataset(tmp_path / "data", 4, [entry(tmp_path / "models"), "recolour"])
    build(layout)
    assert {r.manipulator for r in read(layout.forged)} == {"recolour"}
    rejected = [r for r in read_table(layout.forged / "rejections.parquet", Rejection) if r.manipulator == "inswapper"]
    assert rejected and {r.code for r in rejected} == {"not_finite"}
