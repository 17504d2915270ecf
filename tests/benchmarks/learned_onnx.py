"""What `inswapper` and `onnx_inpaint` cost beside the networks that they call. Never a test; quote ratios.

The networks are random, of about the cost of real ones on one CPU core: a third to two thirds of a second a call. The
recognition network is a miniature, so that the ratio of `inswapper` tells of our own code.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from threadpoolctl import threadpool_limits

from mmtt.faces import Face, align
from mmtt.manipulator import Job, Manipulator
from mmtt.weights import FOLDER, sha256
from pipelines.manipulators import inswapper, onnx_inpaint
from tests.factories import drawn
from tests.support.tiny_insightface import write_buffalo_l

BATCH, SIZE_PX, PAIRS = 8, 512, 3
GOAL = 1.15
FLOAT = onnx.TensorProto.FLOAT


def main() -> None:
    """Measure both and print the medians of pairs, measured one after the other."""
    threadpool_limits(1)  # as forge itself does
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        told("onnx_inpaint", *inpainting(Path(folder)))
        told("inswapper", *swapping(Path(folder)))


def told(name: str, ours: Callable[[], Any], bare: Callable[[], Any]) -> None:
    """Print ours over bare."""
    ours(), bare()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(PAIRS)]
    ratio = statistics.median(a / b for a, b in pairs)
    apart = statistics.median(a - b for a, b in pairs)
    bare_ms = 1000 * statistics.median(b for _, b in pairs) / BATCH
    print(
        f"{name:14} {BATCH} × {SIZE_PX} px: {bare_ms:6.0f} ms a bare call, {1000 * apart / BATCH:+5.1f} ms of ours; "
        f"ratio {ratio:.3f} (goal: under {GOAL})"
    )


def seconds(function: Callable[[], Any]) -> float:
    """Seconds of one call on the CPU; all of it runs in one thread, and what else the machine does has no say."""
    began = time.process_time()
    function()
    return time.process_time() - began


def inpainting(folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A batch of holes, and the same holes through the session alone."""
    heavy_inpainter(folder / "heavy.onnx")
    made = onnx_inpaint.OnnxInpaint(model="heavy.onnx", weights_licence="CC0-1.0", output_range="0_1")
    batch = jobs(made)
    network = onnx_inpaint._network(made._path(), sha256(made._path()), "0_1", "hole")
    fed: list[dict[str, Any]] = []
    for job in batch:
        mask = made.hole_of(job)[None, None].astype(np.float32)
        image = job.target.transpose(2, 0, 1)[None].astype(np.float32) / 255
        fed.append({network.image: image * (1 - mask), network.mask: mask})
    session = network.session._session
    return lambda: made.render(batch), lambda: [session.run(None, feeds) for feeds in fed]


def swapping(folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A batch of swaps, and the same faces through InsightFace's call alone."""
    from insightface.app.common import Face as Known

    write_buffalo_l(folder)
    heavy_swapper(folder / inswapper.SWAPPER.path)
    pinned = {path: sha256(folder / path) for path in (inswapper.SWAPPER.path, inswapper.RECOGNITION.path)}
    made = inswapper.InSwapper(pinned=pinned)
    batch = jobs(made)
    path = folder / inswapper.SWAPPER.path
    model = inswapper._model(path, sha256(path))
    fed = [
        (
            np.ascontiguousarray(job.target[:, :, ::-1]),
            Known(kps=job.target_face.five_points),
            Known(embedding=inswapper.embedding(job.source, job.source_face, pinned)),
        )
        for job in batch
        if job.source is not None and job.source_face is not None
    ]
    return lambda: made.render(batch), lambda: [model.get(*given, paste_back=False) for given in fed]


def jobs(made: Manipulator) -> list[Job]:
    """A batch of drawn people, each with the next one as the donor."""
    people = [person(seed) for seed in range(BATCH)]
    batch = []
    for seed, (image, face) in enumerate(people):
        donor, theirs = people[(seed + 1) % BATCH]
        plan = made.plan(face, theirs, np.random.default_rng(seed))
        batch.append(Job(image, face, donor, theirs, plan, np.random.default_rng(seed)))
    return batch


def person(seed: int) -> tuple[np.ndarray, Face]:
    """A drawn person, aligned, and the face."""
    face = Face(drawn(seed).landmarks, "openpose_70", "drawn")
    crop, matrix = align(drawn(seed).image, face, "ffhq_512", SIZE_PX)
    return crop, face.moved(matrix)


def heavy_inpainter(path: Path) -> None:
    """Two convolutions of 64 channels at full size, between one that opens and one that closes."""
    nodes = [
        helper.make_node("Concat", ["image", "mask"], ["a0"], axis=1),
        *convolutions((4, 64, 64, 64, 3)),
        helper.make_node("Sigmoid", ["a4"], ["guess"]),
        helper.make_node("Cast", ["mask"], ["hole"], to=onnx.TensorProto.BOOL),
        helper.make_node("Where", ["hole", "guess", "image"], ["picture"]),
    ]
    side = ["h", "w"]
    inputs = {"image": [1, 3, *side], "mask": [1, 1, *side]}
    save(path, nodes, inputs, {"picture": [1, 3, *side]}, kernels((4, 64, 64, 64, 3)))


def heavy_swapper(path: Path) -> None:
    """Seven convolutions of 512 channels at a quarter of the size."""
    sizes = (48, *[512] * 8, 48)
    rng = np.random.default_rng(1)
    weights = kernels(sizes) | {"zero": np.zeros((512, 1), np.float32)}
    weights["emap"] = np.linalg.qr(rng.normal(size=(512, 512)))[0].astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["source", "zero"], ["nothing"]),
        helper.make_node("Add", ["target", "nothing"], ["given"]),
        helper.make_node("SpaceToDepth", ["given"], ["a0"], blocksize=4),
        *convolutions(sizes),
        helper.make_node("DepthToSpace", [f"a{len(sizes) - 1}"], ["small"], blocksize=4),
        helper.make_node("Sigmoid", ["small"], ["output"]),
    ]
    inputs = {"target": [1, 3, 128, 128], "source": [1, 512]}
    save(path, nodes, inputs, {"output": [1, 3, 128, 128]}, weights)


def convolutions(sizes: Sequence[int]) -> list[onnx.NodeProto]:
    """3×3 convolutions `a0` → `a1` → …, each with its ReLU but the last."""
    nodes = []
    for number in range(len(sizes) - 1):
        last = number == len(sizes) - 2
        out = f"a{number + 1}" if last else f"c{number + 1}"
        nodes.append(helper.make_node("Conv", [f"a{number}", f"w{number}"], [out], pads=[1] * 4))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"a{number + 1}"]))
    return nodes


def kernels(sizes: Sequence[int]) -> dict[str, Any]:
    """Random weights that keep the scale of what they convolve."""
    rng = np.random.default_rng(0)
    pairs = enumerate(zip(sizes[1:], sizes[:-1], strict=True))
    return {f"w{n}": rng.normal(0, (2 / (9 * i)) ** 0.5, (o, i, 3, 3)).astype(np.float32) for n, (o, i) in pairs}


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, Any]
) -> None:
    """Write a network."""
    values = [[helper.make_tensor_value_info(n, FLOAT, s) for n, s in side.items()] for side in (inputs, outputs)]
    initial = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, path.stem, *values, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
