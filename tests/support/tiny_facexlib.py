"""facexlib's weights with made-up values: the true file names, keys and shapes, a few hundred kilobytes, no download.

Tensors are windows into one short run of numbers, which `torch.save` writes once; loading makes them whole. Most
are random. Two networks are made so that their answer can be foretold:

- RetinaFace finds one face of `BOX_PX` around each pixel that is red and has both coordinates divisible by 32
  (the coarsest cells look at that one pixel), and none in a grey picture;
- the landmark network answers the average face in that box, to a quarter of a cell of its 64×64 maps.
"""

from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.pipelines.shapes import MEAN_68

FOLDER = "facexlib"
FILES = (
    "detection_mobilenet0.25_Final.pth",
    "detection_Resnet50_Final.pth",
    "alignment_WFLW_4HG.pth",
    "parsing_bisenet.pth",
)
BOX_PX = (96, 112)  # width, height
CROP = 1.25  # the landmark network sees a square of this many times the box's longer side
_MAP = 64

Floats = npt.NDArray[np.float32]


def write_facexlib(folder: Path, files: Sequence[str] = FILES) -> Path:
    """Write the files under `folder/facexlib`; return that folder. Same bytes each time, made once a process."""
    where = folder / FOLDER
    where.mkdir(parents=True, exist_ok=True)
    for name in files:
        (where / name).write_bytes(_bytes(name))
    return where


def points_98() -> Floats:
    """What the landmark network answers: float32 98×2 in pixels from the middle of the box."""
    p = _unit(MEAN_68)
    low = np.array([0, 0.04], np.float32)
    blocks = [
        np.stack([np.interp(np.arange(33) / 2, np.arange(17), p[:17, axis]) for axis in (0, 1)], axis=1),
        p[17:22], p[[21, 20, 19, 18]] + low, p[22:27], p[[25, 24, 23, 22]] + low, p[27:36],
        _eye(p[36:42]), _eye(p[42:48]), p[48:68], p[36:42].mean(axis=0)[None], p[42:48].mean(axis=0)[None],
    ]  # fmt: skip
    shares = np.concatenate(blocks)
    return np.asarray((shares - 0.5) * BOX_PX, np.float32)


def cell_px() -> float:
    """Size in pixels of a cell of the landmark network's maps."""
    return CROP * max(BOX_PX) / _MAP


def _unit(points: Floats) -> Floats:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / (high - low), np.float32)


def _eye(p: Floats) -> Floats:
    return np.stack([p[0], p[1], p[1:3].mean(axis=0), p[2], p[3], p[4], p[4:6].mean(axis=0), p[5]])


@cache
def _bytes(name: str) -> bytes:
    import torch

    made: dict[str, Callable[[], Any]] = {
        FILES[0]: lambda: _retinaface("mobile0.25"),
        FILES[1]: lambda: _retinaface("resnet50"),
        FILES[2]: lambda: {"state_dict": _fan()},
        FILES[3]: _bisenet,
    }
    buffer = BytesIO()
    torch.save(made[name](), buffer)
    return buffer.getvalue()


def _retinaface(network: str) -> dict[str, Any]:
    """Keys carry `module.`, as in the published files. The resnet is random, with a head that finds nothing."""
    import warnings

    import torch
    from facexlib.detection.retinaface import RetinaFace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = _random(RetinaFace(network_name=network, device="cpu").state_dict())
    for level in range(3):
        for head in ("ClassHead", "BboxHead", "LandmarkHead"):
            key = f"{head}.{level}.conv1x1"
            state[key + ".weight"] = torch.zeros_like(state[key + ".weight"])
            state[key + ".bias"] = torch.zeros_like(state[key + ".bias"])
        state[f"ClassHead.{level}.conv1x1.bias"][0::2] = 6.0  # background, unless something speaks up
    if network == "mobile0.25":
        _look_for_red(state)
    return {f"module.{key}": value for key, value in state.items()}


def _look_for_red(state: dict[str, Any]) -> None:
    """Let channel 0 carry red minus blue of one pixel of each 32×32 cell up to the coarsest class head."""
    import torch

    for key, value in state.items():
        if key.startswith(("body", "fpn", "ssh")) and value.ndim == 4:
            carries = not key.startswith("ssh") or key.startswith("ssh3.conv3X3")
            state[key] = _zeros(value, whole=carries)
            if carries:
                state[key][0, 0, value.shape[2] // 2, value.shape[3] // 2] = 1.0
    first = state["body.stage1.0.0.weight"]
    first[0, :, 1, 1] = torch.tensor([-1.0, 0.0, 1.0])  # blue, green, red
    state["ClassHead.2.conv1x1.weight"][1, 0] = 0.15  # of the anchor of 256 px
    shift = -16 / (0.1 * 256)  # from the middle of the cell to the pixel that was looked at
    width, height = (float(np.log(side / 256) / 0.2) for side in BOX_PX)
    state["BboxHead.2.conv1x1.bias"][:4] = torch.tensor([shift, shift, width, height])


def _zeros(like: Any, whole: bool) -> Any:
    """Zeros of that shape: whole where they are to be written to, else one zero seen many times."""
    import torch

    return torch.zeros(like.shape) if whole else torch.zeros(1).expand(like.shape)


def _fan() -> dict[str, Any]:
    """Make the last of the four stacks answer `points_98` whatever it sees.

    Its coordinate layer adds channels with x and y. Hinges on them (the ReLU before the last layer) add up to
    minus the distance |x − x₀| + |y − y₀| from any cell.
    """
    import torch
    from facexlib.alignment import FAN

    state = _random(FAN(num_modules=4, num_landmarks=98, device="cpu").state_dict())
    made_here = ("m3.coordconv.conv.weight", "conv_last3.", "l3.")
    for key, value in state.items():
        if key.startswith(("m3.", "top_m_3.", *made_here)) and ".bn" not in key:
            state[key] = _zeros(value, whole=key.startswith(made_here))
    # Behind the 256 channels of the picture lie y and x.
    state["m3.coordconv.conv.weight"][1, 256] = state["m3.coordconv.conv.weight"][0, 257] = 1.0
    steps = torch.tensor(_hourglass_of_a_line())
    for axis in (0, 1):
        rows = slice(axis * _MAP, (axis + 1) * _MAP)
        state["conv_last3.weight"][rows, axis] = 1.0
        state["conv_last3.bias"][rows] = -steps
    cells = np.floor((points_98() / (CROP * max(BOX_PX)) + 0.5) * _MAP).astype(int)
    for point, cell in enumerate(cells):
        for axis in (0, 1):
            state["l3.weight"][point, axis * _MAP] += 1.0  # the first hinge is the line itself, rising
            state["l3.weight"][point, axis * _MAP + int(cell[axis])] -= 2.0
    return state


def _hourglass_of_a_line() -> Floats:
    """What an hourglass of blocks that pass everything on makes of x from −1 to 1, float32 64, rising."""
    line = np.linspace(-1, 1, _MAP)
    return np.asarray(sum(np.repeat(line.reshape(-1, n).mean(axis=1), n) for n in (1, 2, 4, 8, 16)), np.float32)


def _bisenet() -> dict[str, Any]:
    from facexlib.parsing.bisenet import BiSeNet

    return _random(BiSeNet(num_class=19).state_dict())


def _random(state: dict[str, Any]) -> dict[str, Any]:
    """The same keys and shapes, every weight a window into one run of random numbers; batch norms pass all on."""
    import torch

    numbers = torch.randn(131_072, generator=torch.Generator().manual_seed(1)) * 0.05
    one, zero = torch.ones(1), torch.zeros(1)
    made = {}
    for place, (key, value) in enumerate(state.items()):
        if value.ndim > 1:
            made[key] = numbers.as_strided(value.shape, (41, 7, 3, 1)[-value.ndim :], 97 * place % 30_000)
        elif key.endswith("num_batches_tracked"):
            made[key] = value
        else:
            whole = key.endswith((".running_var", ".weight"))
            made[key] = (one if whole else zero).expand(value.shape)
    return {key: value.clone() if key.startswith(("ClassHead", "BboxHead", "LandmarkHead")) else value
            for key, value in made.items()}  # fmt: skip
