"""InsightFace's pack `buffalo_l` and `inswapper_128` in miniature: the true formats, made-up weights, no download.

The router of `insightface.model_zoo` knows a network by its inputs and outputs; these have the shapes of the
real ones, so the real loading and calling code runs on them, in milliseconds. What they answer is simple and
can be foretold:

- the detector finds one face, on `BOX`, where the middle of the picture is redder than blue (skin is; with
  the channels swapped it is not, and neither is a grey picture), and none elsewhere;
- the landmark network answers the average face in that box;
- the recognition network projects the crop's 8×8 mean colours at random: other pixels, another embedding.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from tests.pipelines.shapes import MEAN_68

PACK = "models/buffalo_l"
# Left, top, right, bottom as shares of a square picture: about where `tests.factories.drawn` has its faces.
BOX = (0.335, 0.385, 0.665, 0.712)
_STRIDES = (8, 16, 32)
_FLOAT = onnx.TensorProto.FLOAT

Floats = npt.NDArray[np.float32]


def write_buffalo_l(folder: Path) -> Path:
    """Write the five files of the pack under `folder/models/buffalo_l`; return that folder. Same bytes each time."""
    pack = folder / PACK
    pack.mkdir(parents=True, exist_ok=True)
    _save(pack / "det_10g.onnx", _detector())
    _save(pack / "w600k_r50.onnx", _recognition())
    _save(pack / "2d106det.onnx", _constant("landmark_106", 192, _landmarks()))
    _save(pack / "1k3d68.onnx", _constant("landmark_3d", 192, np.zeros(3309, np.float32)))
    _save(pack / "genderage.onnx", _constant("genderage", 96, np.array([1, 0, 0.3], np.float32)))
    return pack


def write_inswapper(path: Path) -> None:
    """Write a swapper: inputs `target` 1×3×128×128 and `source` 1×512, output RGB 0–1, last initializer 512×512.

    It answers three fifths of the target and two fifths of a colour that the source's embedding decides.
    """
    rng = np.random.default_rng(5)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        "tint": rng.normal(0, 2, (512, 3)).astype(np.float32),
        "shape": np.array([1, 3, 1, 1], np.int64),
        "share": np.float32(0.4),
        "rest": np.float32(0.6),
        "emap": np.linalg.qr(rng.normal(size=(512, 512)))[0].astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["source", "tint"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["colour"]),
        helper.make_node("Reshape", ["colour", "shape"], ["flat"]),
        helper.make_node("Mul", ["flat", "share"], ["part"]),
        helper.make_node("Mul", ["target", "rest"], ["kept"]),
        helper.make_node("Add", ["kept", "part"], ["output"]),
    ]
    inputs = {"target": [1, 3, 128, 128], "source": [1, 512]}
    _save(path, _model("inswapper", inputs, {"output": [1, 3, 128, 128]}, nodes, weights))


def points_106() -> Floats:
    """The average face in the numbering of `2d106det`, float32 106×2, as shares of a square picture."""
    return (np.array(BOX[:2]) + _numbered(_unit(MEAN_68)) * (np.array(BOX[2:]) - BOX[:2])).astype(np.float32)


def five_points() -> Floats:
    """What the detector answers: eyes, nose tip, mouth corners, as seen from the left, as shares of the picture."""
    p = _unit(MEAN_68)
    five = np.stack([p[36:42].mean(axis=0), p[42:48].mean(axis=0), p[30], p[48], p[54]])
    return (np.array(BOX[:2]) + five * (np.array(BOX[2:]) - BOX[:2])).astype(np.float32)


def _unit(points: Floats) -> Floats:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / (high - low), np.float32)


def _numbered(p: Floats) -> Floats:
    """The 68 points as 106: numbers follow the points' names in alphabetical order (see `mmtt.landmarks`)."""
    jaw = np.stack([np.interp(np.arange(33) / 2, np.arange(17), p[:17, axis]) for axis in (0, 1)], axis=1)
    low = np.array([0, 0.04], np.float32)
    flank = np.array([[0.06, 0], [0.09, 0], [0.03, 0]], np.float32)
    right_brow, left_brow = p[17:22], p[22:27]
    blocks = [
        jaw[[16, 0, *range(9, 16), *range(1, 9)]],
        jaw[[32, *range(23, 16, -1), *range(31, 23, -1)]],
        _eye(p[36:42]),
        right_brow[[0]], right_brow[[1, 2, 4, 3]] + low, right_brow[[1, 2, 4, 3]],
        p[[48, 57, 67, 59, 58, 65, 55, 56, 66, 54, 62, 50, 49, 60, 61, 52, 53, 64, 63, 51]],
        p[27:30],
        p[[28, 29, 31]] - flank, p[[31, 32, 33]], p[[28, 29, 35]] + flank, p[[35, 34, 30]],
        _eye(p[42:48]),
        left_brow[[0, 1, 2, 3]] + low, left_brow[[4, 0, 1, 2, 3]],
    ]  # fmt: skip
    return np.concatenate(blocks).astype(np.float32)


def _eye(p: Floats) -> Floats:
    """Ten points of an eye whose six start at the corner on the picture's left and go over the upper lid."""
    top, bottom, middle = p[1:3].mean(axis=0), p[4:6].mean(axis=0), p.mean(axis=0)
    return np.stack([bottom, middle, p[0], p[5], p[4], middle, p[3], top, p[1], p[2]])


def _landmarks() -> Floats:
    """In the units of the network: −1 to 1 over a square of one and a half times the box."""
    centre = (np.array(BOX[:2]) + BOX[2:]) / 2
    half = 0.75 * (np.array(BOX[2:]) - BOX[:2]).max()
    return np.asarray((points_106() - centre) / half, np.float32).ravel()


def _detector() -> onnx.ModelProto:
    """SCRFD: three strides, two anchors a cell, nine outputs (scores, then boxes, then points)."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, npt.NDArray[np.generic]] = {}
    for stride in _STRIDES:
        _level(stride, nodes, weights)
    outputs = {f"{kind}_{stride}": ["n", size] for kind, size in (("score", 1), ("box", 4), ("points", 10))
               for stride in _STRIDES}  # fmt: skip
    return _model("det_10g", {"input.1": [1, 3, "h", "w"]}, outputs, nodes, weights)


def _level(stride: int, nodes: list[onnx.NodeProto], weights: dict[str, npt.NDArray[np.generic]]) -> None:
    """One stride: the middle cell of the coarsest one speaks, all others are silent.

    Distances are in strides, and the picture is 2·x0 of them wide and high, x0 being the middle cell.
    """
    s = f"_{stride}"
    redness = np.zeros((1, 3, stride, stride), np.float32)
    redness[0, 0], redness[0, 2] = 60 / stride**2, -60 / stride**2
    box = np.array([0.5 - BOX[0], 0.5 - BOX[1], BOX[2] - 0.5, BOX[3] - 0.5], np.float32)
    weights |= {
        "redness" + s: redness if stride == 32 else np.zeros_like(redness),
        "bias" + s: np.array([-6], np.float32),
        "nothing" + s: np.zeros((1, 3, stride, stride), np.float32),
        "one" + s: np.array([1], np.float32),
        "two" + s: np.float32(2),
        "axis_x" + s: np.int64(3),
        "axis_y" + s: np.int64(2),
        "first" + s: np.array([1, 0], np.float32).reshape(1, 1, 2),
        "column" + s: np.array([-1, 1, 1], np.int64),
        "flat" + s: np.array([-1, 1], np.int64),
        "box" + s + "_rel": box.reshape(1, 4),
        "points" + s + "_rel": (five_points() - 0.5).reshape(1, 10),
    }
    nodes += [
        _conv("redness" + s, "bias" + s, "raw" + s, stride),
        helper.make_node("Sigmoid", ["raw" + s], ["red" + s]),
        _conv("nothing" + s, "one" + s, "ones" + s, stride),
        *_middle(s, "x"),
        *_middle(s, "y"),
        helper.make_node("Mul", ["at_x" + s, "at_y" + s], ["at" + s]),
        helper.make_node("Mul", ["red" + s, "at" + s], ["there" + s]),
        helper.make_node("Reshape", ["there" + s, "column" + s], ["column_of" + s]),
        helper.make_node("Mul", ["column_of" + s, "first" + s], ["anchors" + s]),
        helper.make_node("Reshape", ["anchors" + s, "flat" + s], ["score" + s]),
        *_spread(s, "box"),
        *_spread(s, "points"),
    ]


def _conv(weight: str, bias: str, out: str, stride: int) -> onnx.NodeProto:
    shape = [stride, stride]
    return helper.make_node("Conv", ["input.1", weight, bias], [out], kernel_shape=shape, strides=shape)


def _middle(s: str, axis: str) -> list[onnx.NodeProto]:
    """1 in the cells that are the middle along an axis, 0 elsewhere, and the number of cells."""
    count, twice = f"count_{axis}{s}", f"twice_{axis}{s}"
    return [
        helper.make_node("CumSum", ["ones" + s, f"axis_{axis}{s}"], [f"i_{axis}{s}"], exclusive=1),
        helper.make_node("CumSum", ["ones" + s, f"axis_{axis}{s}"], [f"j_{axis}{s}"]),
        helper.make_node("ReduceMax", [f"j_{axis}{s}"], [count], keepdims=1),
        helper.make_node("Mul", [f"i_{axis}{s}", "two" + s], [twice]),
        helper.make_node("Equal", [twice, count], [f"is_{axis}{s}"]),
        helper.make_node("Cast", [f"is_{axis}{s}"], [f"at_{axis}{s}"], to=_FLOAT),
    ]


def _spread(s: str, kind: str) -> list[onnx.NodeProto]:
    """The same answer for every anchor, in strides: shares of the picture times the number of cells."""
    return [
        helper.make_node("Mul", [f"score{s}", "two" + s], [f"{kind}_a{s}"]),
        helper.make_node("Sub", [f"{kind}_a{s}", f"{kind}_a{s}"], [f"{kind}_zero{s}"]),
        helper.make_node("Reshape", [f"count_x{s}", "flat" + s], [f"{kind}_n{s}"]),
        helper.make_node("Mul", [f"{kind}{s}_rel", f"{kind}_n{s}"], [f"{kind}_one{s}"]),
        helper.make_node("Add", [f"{kind}_zero{s}", f"{kind}_one{s}"], [f"{kind}{s}"]),
    ]


def _recognition() -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    weights = {"project": rng.normal(0, 0.1, (8 * 8 * 3, 512)).astype(np.float32)}
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["means"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "project"], ["683"]),
    ]
    return _model("w600k_r50", {"input.1": ["n", 3, 112, 112]}, {"683": ["n", 512]}, nodes, weights)


def _constant(name: str, side: int, answer: Floats) -> onnx.ModelProto:
    """A network that answers the same whatever it sees."""
    weights = {"none": np.zeros((3, answer.size), np.float32), "answer": answer.astype(np.float32)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "none", "answer"], ["fc1"]),
    ]
    return _model(name, {"data": ["n", 3, side, side]}, {"fc1": ["n", answer.size]}, nodes, weights)


def _model(
    name: str,
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    nodes: list[onnx.NodeProto],
    weights: dict[str, npt.NDArray[np.generic]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, _FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, _FLOAT, shape) for key, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _save(path: Path, model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
