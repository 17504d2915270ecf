"""Inpainting through ONNX: the real runtime on miniature networks; holes, ranges and sizes as exports have them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mmtt import images
from mmtt.check import check, verify
from mmtt.errors import MissingDependency, RecipeError, Rejected, UserError
from mmtt.executors import processes, serial
from mmtt.faces import Face, align
from mmtt.files import file_sha256
from mmtt.manifest import read
from mmtt.manipulator import Job, finish
from mmtt.masks import MaskRule
from mmtt.record import Rejection
from mmtt.shards import read_table
from mmtt.weights import FOLDER
from pipelines import manipulators, onnx_sessions
from pipelines.manipulators import onnx_inpaint
from pipelines.manipulators.onnx_inpaint import OnnxInpaint
from pipelines.trial import trial
from tests.factories import build, drawn, tiny_dataset

pytest.importorskip("onnxruntime")
FLOAT = onnx.TensorProto.FLOAT


def write_inpainter(
    path: Path,
    hw: Sequence[int | str] = ("h", "w"),
    *,
    top: float = 1.0,
    keeps_ones: bool = False,
    blanks: bool = False,
    breaks: bool = False,
    seed: int = 0,
) -> None:
    """Write `image·(1−hole) + blur(image)·hole`, times `top`: two real convolutions, 9×9 and 5×5.

    keeps_ones: the mask's ones are what is known. blanks: it takes out of the image itself what is in the hole.
    breaks: divides by zero, unless the picture's first pixel has no red.
    """
    rng = np.random.default_rng(seed)
    weights = {f"blur{side}": kernel(rng, side) for side in (9, 5)}
    weights |= {"start": np.zeros(4, np.int64), "end": np.ones(4, np.int64)}
    weights |= {"one": np.float32(1), "grey": np.float32(0.06), "top": np.float32(top)}
    mask = "known" if keeps_ones else "hole"
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["known" if mask == "hole" else "hole"]),
        helper.make_node("Mul", ["image", "known"], ["seen"]),
        helper.make_node("Conv", ["seen" if blanks else "image", "blur9"], ["wide"], pads=[4] * 4),
        helper.make_node("Conv", ["wide", "blur5"], ["wider"], pads=[2] * 4),
        helper.make_node("Add", ["wider", "grey"], ["guess"]),
        helper.make_node("Slice", ["image", "start", "end"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["is_bright"], to=onnx.TensorProto.BOOL),
        helper.make_node("Not", ["is_bright"], ["is_dark"]),
        helper.make_node("Cast", ["is_dark"], ["dark"], to=FLOAT),
        helper.make_node("Div", ["guess", "dark" if breaks else "one"], ["risky"]),
        helper.make_node("Where", ["is_hole", "risky", "seen"], ["both"]),
        helper.make_node("Mul", ["both", "top"], ["picture"]),
    ]
    nodes = [*nodes[:1], helper.make_node("Identity", ["mask"], [mask]), *nodes[1:]]
    nodes.insert(2, helper.make_node("Cast", ["hole"], ["is_hole"], to=onnx.TensorProto.BOOL))
    save(path, nodes, {"image": [1, 3, *hw], "mask": [1, 1, *hw]}, {"picture": [1, 3, *hw]}, weights)


def kernel(rng, side):
    """A random blur of each channel, kept apart by zeros, that sums to 1."""
    flat = rng.uniform(0.5, 1.5, (3, side, side)).astype(np.float32)
    flat /= flat.sum(axis=(1, 2), keepdims=True)
    return np.einsum("oi,oyx->oiyx", np.eye(3, dtype=np.float32), flat)


def save(path, nodes, inputs, outputs, weights):
    values = [[helper.make_tensor_value_info(n, FLOAT, s) for n, s in side.items()] for side in (inputs, outputs)]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "inpainter", *values, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One of each kind of export."""
    folder = tmp_path_factory.mktemp("models")
    write_inpainter(folder / "free.onnx")
    write_inpainter(folder / "free_255.onnx", top=255)
    write_inpainter(folder / "fixed_64.onnx", (64, 64))
    write_inpainter(folder / "fixed_255.onnx", (320, 320), top=255)
    write_inpainter(folder / "fixed_flat.onnx", (96, 160))
    write_inpainter(folder / "known.onnx", keeps_ones=True)
    write_inpainter(folder / "blanks.onnx", blanks=True)
    write_inpainter(folder / "breaks.onnx", breaks=True)
    return folder


@pytest.fixture(autouse=True)
def models(folder, monkeypatch):
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


def made(model="free.onnx", **options):
    known = {"model": model, "weights_licence": "MIT", "output_range": "0_255" if "255" in model else "0_1"}
    return OnnxInpaint.model_validate(known | options)


def person(seed=0, size_px=256):
    face = Face(drawn(seed).landmarks, "openpose_70", "drawn")
    crop, matrix = align(drawn(seed).image, face, "ffhq_512", size_px)
    return crop, face.moved(matrix)


def job(inpaint, seed=0, size_px=256, **changes):
    crop, face = person(seed, size_px)
    plan = inpaint.plan(face, None, np.random.default_rng(seed))
    return Job(crop, face, None, None, json.loads(json.dumps(plan)), np.random.default_rng(0))._replace(**changes)


ALL = ["free.onnx", "free_255.onnx", "fixed_64.onnx", "fixed_255.onnx", "fixed_flat.onnx"]


@pytest.mark.parametrize("model", ALL)
def test_keeps_the_contract(model):
    options = {"model": model, "weights_licence": "MIT", "output_range": made(model).output_range}
    assert trial("onnx_inpaint", options) == []


@pytest.mark.parametrize("size_px", [200, 256, 258])
@pytest.mark.parametrize("model", ALL)
def test_only_the_hole_changes_and_nothing_in_it_shines_through(model, size_px):
    inpaint = made(model)
    one = job(inpaint, 1, size_px)
    hole = inpaint.hole_of(one)
    marked = one.target.copy()
    marked[hole] = (255, 0, 255)
    edit, other = inpaint.render([one, one._replace(target=marked)])
    forged = finish(one.target, edit, MaskRule.HOLE, 0)
    assert np.array_equal(forged.image[~hole], one.target[~hole])
    assert np.array_equal(edit.alpha, hole.astype(np.float32)) and np.array_equal(forged.mask > 0, hole)
    assert np.array_equal(forged.image[hole], other.image[hole])


def test_nothing_shines_through_the_padding_of_a_hole_at_the_edge():
    inpaint = made()
    crop, face = person(1, 203)
    low = face.moved(np.array([[1, 0, 0], [0, 1, 60]], np.float64))
    parameters = {"regions": ["chin", "jaw"], "side": "both", "dilation": 0.1}
    one = Job(crop, low, None, None, job(inpaint).parameters | parameters, np.random.default_rng(0))
    hole = inpaint.hole_of(one)
    assert hole[-1].sum() > 20
    marked = crop.copy()
    marked[hole] = (255, 0, 255)
    edits = inpaint.render([one, one._replace(target=marked)])
    assert np.array_equal(edits[0].image[hole], edits[1].image[hole])


def expected(crop, hole):
    """What the network does, by OpenCV: the picture 0–1, blurred twice where the hole is."""
    rng = np.random.default_rng(0)
    seen = np.where(hole[..., None], 0, crop).astype(np.float32) / 255
    guess = np.empty_like(seen)
    kernels = [kernel(rng, side) for side in (9, 5)]
    for channel in range(3):
        guess[..., channel] = seen[..., channel]
        for weights in kernels:
            guess[..., channel] = cv2.filter2D(
                guess[..., channel], -1, weights[channel, channel], borderType=cv2.BORDER_CONSTANT
            )
    return np.where(hole[..., None], guess + 0.06, seen) * 255


@pytest.mark.parametrize("model", ["free.onnx", "free_255.onnx", "known.onnx"])
def test_the_picture_arrives_as_rgb_and_comes_back_in_the_right_range(model):
    inpaint = made(model, mask_is="known" if "known" in model else "hole")
    one = job(inpaint, 2)
    hole = inpaint.hole_of(one)
    found = inpaint.render([one])[0].image
    assert np.abs(found[hole] - expected(one.target, hole)[hole]).max() <= 0.51


def test_a_picture_of_an_odd_size_is_padded_and_comes_back_in_place():
    inpaint = made(keep_raw=True)
    one = job(inpaint, 2, 203)
    edit = inpaint.render([one])[0]
    assert edit.raw.shape == (203, 203, 3)
    hole = inpaint.hole_of(one)
    inner = hole.copy()
    inner[-16:], inner[:, -16:] = False, False  # there the padding has a say
    assert np.abs(edit.image[inner] - expected(one.target, hole)[inner]).max() <= 0.51


def test_a_fixed_size_is_filled_in_place():
    """The raw answer has the network's size; brought back, what was not in the hole lies where it was."""
    inpaint = made("fixed_255.onnx", keep_raw=True)
    one = job(inpaint, 2, 256)
    edit = inpaint.render([one])[0]
    assert edit.raw.shape == (320, 320, 3)
    far = cv2.distanceTransform((~inpaint.hole_of(one)).astype(np.uint8), cv2.DIST_L2, 3) > 12
    assert np.abs(edit.image[far].astype(int) - one.target[far]).mean() < 1.5


@pytest.mark.parametrize("model", ["free.onnx", "fixed_64.onnx"])
def test_the_batch_changes_no_byte(model):
    inpaint = made(model)
    jobs = [job(inpaint, seed) for seed in range(8)]
    whole = [(edit.image.tobytes(), edit.alpha.tobytes()) for edit in inpaint.render(jobs)]
    for size in (1, 3):
        parts = [inpaint.render(jobs[start : start + size]) for start in range(0, 8, size)]
        assert [(e.image.tobytes(), e.alpha.tobytes()) for part in parts for e in part] == whole


def test_a_network_is_loaded_once_a_process():
    onnx_inpaint._network.cache_clear()
    inpaint = made("fixed_64.onnx")
    for seed in range(3):
        inpaint.render([job(inpaint, seed)])
    made("fixed_64.onnx", max_share=0.5).render([job(inpaint, 4)])
    assert onnx_inpaint._network.cache_info().misses == 1


@pytest.mark.parametrize(
    ("model", "declared", "right"), [("free.onnx", "0_255", "0_1"), ("fixed_255.onnx", "0_1", "0_255")]
)
def test_a_wrong_range_is_told_with_the_right_one(model, declared, right):
    inpaint = made(model, output_range=declared)
    with pytest.raises(
        UserError, match=f"output_range: {declared}.*changes what is no hole.*`output_range: {right}` would fit"
    ):
        inpaint.render([job(inpaint)])


@pytest.mark.parametrize(
    ("model", "told"), [("free.onnx", "leaves the hole blank"), ("blanks.onnx", "changes what is no hole")]
)
def test_a_mask_the_wrong_way_round_is_told(model, told):
    inpaint = made(model, mask_is="known")
    with pytest.raises(UserError, match=f"{told}.*Is `mask_is` right"):
        inpaint.render([job(inpaint)])


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"image": [1, 3, 64, 64], "other": [1, 3, 64, 64]}, "image tensor.float. 1×3×64×64"),
        ({"a": [1, 3, 64, 64], "b": [1, 1, 64, 32]}, "different sizes"),
        ({"a": [1, 3, 64, "w"], "b": [1, 1, 64, "w"]}, "different sizes"),
        ({"all": [1, 4, 64, 64], "b": [1, 1, 64, 64]}, "all tensor.float. 1×4×64×64"),
        ({"a": [3, 64, 64], "b": [1, 1, 64, 64]}, "a tensor.float. 3×64×64"),
    ],
)
def test_a_network_that_does_not_fit_is_described(tmp_path, monkeypatch, inputs, found):
    save(
        tmp_path / "odd.onnx",
        [helper.make_node("Identity", [next(iter(inputs))], ["out"])],
        inputs,
        {"out": next(iter(inputs.values()))},
        {},
    )
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(UserError, match=found):
        made("odd.onnx").render([job(made("odd.onnx"))])


def test_a_network_that_answers_another_size_is_refused(tmp_path, monkeypatch):
    nodes = [
        helper.make_node("Mul", ["image", "mask"], ["both"]),
        helper.make_node("AveragePool", ["both"], ["out"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    inputs = {"image": [1, 3, "h", "w"], "mask": [1, 1, "h", "w"]}
    save(tmp_path / "half.onnx", nodes, inputs, {"out": [1, 3, "i", "j"]}, {})
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(UserError, match=r"answers \(1, 3, 128, 128\) to a picture of 256×256"):
        made("half.onnx").render([job(made("half.onnx"))])


def test_a_file_that_is_no_network_is_told(tmp_path, monkeypatch):
    (tmp_path / "text.onnx").write_text("<html>404</html>")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(UserError, match=r"text\.onnx cannot be read as an ONNX network"):
        made("text.onnx").render([job(made("text.onnx"))])


def test_a_missing_file_and_other_bytes_are_named(models):
    with pytest.raises(UserError, match=r"'lama\.onnx' is missing"):
        made("lama.onnx").declare()
    with pytest.raises(UserError, match="has SHA-256"):
        made(sha256="0" * 64).declare()
    assert made(sha256=file_sha256(models / "free.onnx")).declare().weights_sha256 == file_sha256(models / "free.onnx")


def test_what_the_recipe_must_say(monkeypatch):
    with pytest.raises(RecipeError, match="'model' is missing") as told:
        manipulators.make("onnx_inpaint", {"weights_licence": "MIT1"}, "here")
    assert "'output_range' is missing" in str(told.value) and "'MIT1'" in str(told.value)
    with pytest.raises(RecipeError, match="name at least one"):
        manipulators.make("onnx_inpaint", {**made().model_dump(), "region_pool": ["tooth"]}, "here")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnx_inpaint._network.cache_clear()
    onnx_sessions.session.cache_clear()
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[onnx\]'"):
        made().render([job(made())])


def test_nan_is_a_rejection_and_no_pixel():
    inpaint = made("breaks.onnx")
    with pytest.raises(Rejected, match="not_finite"):
        inpaint.render([job(inpaint)])


@pytest.mark.parametrize("other", [{"output_range": "0_255"}, {"mask_is": "known"}, {"multiple": 32}], ids=str)
def test_how_the_network_is_asked_and_read_stands_in_the_plan(other):
    plain, told = job(made()).parameters, job(made(**other)).parameters
    assert plain != told == {**plain, **other}


def test_a_pin_decides_no_byte(models):
    assert made(sha256=file_sha256(models / "free.onnx")).model_dump() == made().model_dump()


def test_too_little_memory_ends_the_run_and_refuses_no_row(tmp_path):
    """The next picture would fare no better."""
    nodes = [
        helper.make_node("Cast", ["sides"], ["whole"], to=onnx.TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["whole"], ["out"]),
    ]
    save(tmp_path / "huge.onnx", nodes, {"sides": [2]}, {"out": ["a", "b"]}, {})
    session = onnx_sessions.session(tmp_path / "huge.onnx", "digest", "here", "pip install")
    assert session.run(None, {"sides": np.array([2, 3], np.float32)})[0].shape == (2, 3)
    with pytest.raises(UserError, match="Too little memory"):
        session.run(None, {"sides": np.full(2, 2**22, np.float32)})


def test_an_empty_hole_is_not_asked_for():
    inpaint = made("breaks.onnx")
    one = job(inpaint)
    one = one._replace(parameters=one.parameters | {"regions": ["hair"], "side": "both", "dilation": 0.1})
    with pytest.raises(Rejected, match="empty_mask"):
        finish(one.target, inpaint.render([one])[0], MaskRule.HOLE, 0)


def test_importing_it_needs_no_runtime():
    code = "import sys, pipelines.manipulators.onnx_inpaint, pipelines.manipulators.inswapper as _; \
        sys.exit(any(name in sys.modules for name in ('onnxruntime', 'insightface', 'onnx', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def entry(model="free.onnx", **options):
    return {"use": "onnx_inpaint", "options": json.loads(made(model, **options).model_dump_json(exclude_none=True))}


def shards_of(layout):
    return {path.name: file_sha256(path) for path in sorted(layout.forged.rglob("*.parquet"))}


def test_a_dataset_is_the_same_in_one_process_and_in_two(tmp_path, models):
    layouts = [tiny_dataset(tmp_path / name, 4, [entry(keep_raw=True)]) for name in ("one", "two")]
    for layout, executor in zip(layouts, (serial, processes(2)), strict=True):
        build(layout, executor)
    records = list(read(layouts[0].forged))
    assert len(records) == 4 and [fault for record in records for fault in check(record)] == []
    assert [*verify(layouts[0].forged)] == []
    assert {r.weights_sha256 for r in records} == {file_sha256(models / "free.onnx")}
    assert {(r.weights_licence, r.manipulation, r.exact_mask) for r in records} == {
        ("MIT", "transformer_inpainting", True)
    }
    assert all(images.decode_rgb(r.raw).shape == (256, 256, 3) for r in records)
    assert shards_of(layouts[0]) == shards_of(layouts[1])


def test_other_weights_are_planned_and_forged_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    layout = tiny_dataset(tmp_path / "data", 2, [entry("net.onnx")])
    found = []
    for seed in (0, 1, 1):
        write_inpainter(tmp_path / "net.onnx", seed=seed)
        build(layout)
        records = list(read(layout.forged))
        found.append(({r.record_id for r in records}, {r.weights_sha256 for r in records}, shards_of(layout)))
    for place in range(3):
        assert found[0][place] != found[1][place] == found[2][place]


def test_a_network_that_breaks_rejects_its_rows_and_the_run_goes_on(tmp_path):
    layout = tiny_dataset(tmp_path, 2, [entry("breaks.onnx"), "recolour"])
    build(layout)
    assert {r.manipulator for r in read(layout.forged)} == {"recolour"}
    rejected = [
        r for r in read_table(layout.forged / "rejections.parquet", Rejection) if r.manipulator == "onnx_inpaint"
    ]
    assert [r.code for r in rejected] == ["not_finite"] * 2


def test_holes_differ_between_rows():
    inpaint = made()
    holes = [inpaint.hole_of(job(inpaint, 0, parameters=inpaint.plan(person(0)[1], None, np.random.default_rng(n))))
             for n in range(5)]  # fmt: skip
    assert not any(np.array_equal(a, b) for a, b in pairwise(holes))
