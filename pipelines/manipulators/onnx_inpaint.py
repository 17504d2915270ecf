"""Inpainting by any network that was exported to ONNX: a LaMa, for one, or another that fills in one pass."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt.errors import Rejected, UserError
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.licences import Licence
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.recipe import Sha256
from mmtt.regions import Mask
from mmtt.weights import Weights, require, sha256

from .. import onnx_sessions
from .region_holes import WORDS, RegionHoles

Range = Literal["0_1", "0_255"]
Meaning = Literal["hole", "known"]
Floats = npt.NDArray[np.float32]

INSTALL = "pip install 'mmtt[onnx]'"
_TOP: Mapping[Range, float] = {"0_1": 1.0, "0_255": 255.0}
_TRIAL_PX = 256  # side of the picture on which networks without a size of their own are tried
_UNLIKE = 0.1  # mean difference, of the range, up to which an answer resembles the picture where there is no hole
_BLANK = 2 / 255  # of the range, up to which a hole is as black as it was handed over


class OnnxInpaint(RegionHoles):
    """Take regions out of a face and let a network fill the hole.

    The network has two inputs, told apart by their channels: the image, float32 1×3×H×W in [0, 1], and the mask,
    float32 1×1×H×W of {0, 1}; its first output is the picture, float32 1×3×H×W. H and W are fixed, and pictures are
    resized, or free, and pictures are padded. What was in the hole is blanked first, as LaMa does itself (Suvorov et
    al., "Resolution-robust large mask inpainting with Fourier convolutions", 2022).
    """

    declaration: ClassVar[Declaration] = Declaration(
        name="onnx_inpaint",
        version="1.0.0",
        family="transformer_inpainting",
        mask_rule=MaskRule.HOLE,
        regions=WORDS,
        summary="Regions of the face filled by a network of yours, exported to ONNX.",
    )

    model: str
    """The network's file, by its path in the folder of `MMTT_MODELS`."""
    weights_licence: Licence
    """SPDX id of the weights' licence, or `LicenseRef-…` where SPDX lists none."""
    output_range: Range
    """Whether the network answers values up to 1 or up to 255; exports differ, and are tried before use."""
    mask_is: Meaning = "hole"
    """What the mask's ones mean: the hole, or what is known."""
    sha256: Annotated[Sha256 | None, Field(exclude=True)] = None
    """Digest that the file must have."""
    family: Literal["transformer_inpainting", "diffusion_inpainting", "classical_inpainting"] = "transformer_inpainting"
    """How rows name the forgery. No family is for convolutional networks: one learned pass is nearest to that of a
    transformer, which is also what the paper filled holes with."""
    multiple: Annotated[int, Field(ge=1, le=256)] = 8
    """Of what the sides of pictures must be multiples, where the network's are free."""
    keep_raw: bool = False
    """Keep the network's own picture, at its own size, with each record."""

    def declare(self) -> Declaration:
        """Return the declaration with the digest and the licence of the network.

        Raises:
            UserError: the file is absent, or other than pinned.
        """
        return self.declaration._replace(
            family=self.family, weights_licence=self.weights_licence, weights_sha256=sha256(self._path())
        )

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hole; the rest says how the network is asked and read."""
        told = {"output_range": self.output_range, "mask_is": self.mask_is, "multiple": self.multiple}
        return {**self.plan_hole(target, rng), **told}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Fill each hole, one by one; alpha is 1 in it and 0 elsewhere.

        Raises:
            UserError: no network that fits. Rejected: it answered NaN, or another size.
        """
        path = self._path()
        digest = sha256(path)
        return [self._fill(path, digest, job) for job in batch]

    def _path(self) -> Path:
        return require(Weights(self.model, self.weights_licence, "wherever you chose it", self.sha256))

    def _fill(self, path: Path, digest: str, job: Job) -> Edit:
        hole, told = self.hole_of(job), job.parameters
        network = _network(path, digest, told["output_range"], told["mask_is"])
        if not hole.any():
            return Edit(job.target, np.zeros(hole.shape, np.float32), hole)
        given = network.fit(job.target, hole) if network.hw else _whole(network, job.target, hole, told["multiple"])
        image = _resized(given, (hole.shape[0], hole.shape[1]))
        return Edit(image, hole.astype(np.float32), hole, raw=given if self.keep_raw else None)


class _Network(NamedTuple):
    """A network that fills holes: its session, the names of its inputs, its size if it has one, and what it means."""

    session: Any
    image: str
    mask: str
    hw: tuple[int, int] | None
    output_range: Range
    mask_is: Meaning

    def fit(self, target: Rgb, hole: Mask) -> Rgb:
        """Fill a picture of any size, at the network's: RGB uint8."""
        assert self.hw is not None
        return self.fill(_resized(target, self.hw), _resized_hole(hole, self.hw))

    def fill(self, picture: Rgb, hole: Mask) -> Rgb:
        """Fill a picture of the right size: RGB uint8 H×W×3, bool H×W.

        Raises:
            Rejected: `bad_output`, of another size.
        """
        answer = self.answer(picture, hole)
        if answer.shape != (1, 3, *hole.shape):
            raise Rejected("bad_output", f"the network answered {answer.shape} to a picture of {hole.shape}")
        scaled = np.rint(answer[0] * np.float32(255 / _TOP[self.output_range])).clip(0, 255)
        return np.ascontiguousarray(scaled.astype(np.uint8).transpose(1, 2, 0))

    def answer(self, picture: Rgb, hole: Mask) -> Floats:
        """What the network puts out, float32, in its own range."""
        image = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        image[:, :, hole] = 0
        mask = (hole if self.mask_is == "hole" else ~hole)[None, None].astype(np.float32)
        found = self.session.run(None, {self.image: image, self.mask: mask})[0]
        return np.asarray(found, np.float32)


def _whole(network: _Network, target: Rgb, hole: Mask, multiple: int) -> Rgb:
    """Fill a picture at its own size, padded to a multiple by mirroring it with its hole."""
    height, width = hole.shape
    more = [(0, -height % multiple), (0, -width % multiple)]
    picture = np.pad(target, [*more, (0, 0)], mode="symmetric")
    return np.ascontiguousarray(network.fill(picture, np.pad(hole, more, mode="symmetric"))[:height, :width])


def _shrinks(here: tuple[int, ...], there: tuple[int, int]) -> bool:
    return there[0] <= here[0] and there[1] <= here[1]


def _resized(image: Rgb, hw: tuple[int, int]) -> Rgb:
    if image.shape[:2] == hw:
        return image
    how = cv2.INTER_AREA if _shrinks(image.shape, hw) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, hw[::-1], interpolation=how), np.uint8)


def _resized_hole(hole: Mask, hw: tuple[int, int]) -> Mask:
    """The hole at another size, with every pixel into which anything of it was mixed by `_resized`."""
    if hole.shape == hw:
        return hole
    if _shrinks(hole.shape, hw):
        return np.asarray(cv2.resize(hole.astype(np.float32), hw[::-1], interpolation=cv2.INTER_AREA) > 0)
    reached = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8))  # cubic kernels reach two pixels far
    return np.asarray(cv2.resize(reached, hw[::-1], interpolation=cv2.INTER_NEAREST) > 0)


@lru_cache(maxsize=4)
def _network(path: Path, digest: str, output_range: Range, mask_is: Meaning) -> _Network:
    """Load a network once a process, read from it what it wants, and try it on a hole.

    Raises:
        UserError: it does not fit, or does not mean what the recipe says.
    """
    session = onnx_sessions.session(path, digest, OnnxInpaint.declaration.name, INSTALL)
    network = _Network(session, *_inputs(path, session), output_range, mask_is)
    _try(path, network)
    return network


def _inputs(path: Path, session: Any) -> tuple[str, str, tuple[int, int] | None]:
    """Names of the image and the mask, and the size if it is fixed."""
    inputs = {tuple(i.shape[1:2]): i for i in session.get_inputs() if i.type == "tensor(float)" and len(i.shape) == 4}
    outputs = session.get_outputs()
    if len(session.get_inputs()) != 2 or set(inputs) != {(3,), (1,)} or outputs[0].type != "tensor(float)":
        expected = "Expected are two inputs, float 1×3×H×W and 1×1×H×W, and an output, float 1×3×H×W"
        raise UserError(f"{path} is no network that fills holes. {expected}; found {_found(session)}.")
    image, mask = inputs[3,], inputs[1,]
    fixed = [isinstance(side, int) for i in (image, mask) for side in i.shape[2:]]
    if any(fixed) and (not all(fixed) or image.shape[2:] != mask.shape[2:]):
        raise UserError(f"{path} wants image and mask of different sizes: {_found(session)}.")
    return image.name, mask.name, (image.shape[2], image.shape[3]) if all(fixed) else None


def _found(session: Any) -> str:
    def told(nodes: Sequence[Any]) -> str:
        return ", ".join(f"{node.name} {node.type} {'×'.join(str(side) for side in node.shape)}" for node in nodes)

    return f"inputs {told(session.get_inputs())}; outputs {told(session.get_outputs())}"


def _try(path: Path, network: _Network) -> None:
    """Fill a hole in a picture of broad ramps: around it the picture must come back, in it something must have come."""
    height, width = network.hw or (_TRIAL_PX, _TRIAL_PX)
    ramps = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    picture = np.stack([*ramps, 255 - ramps[0]], axis=2).astype(np.uint8)
    hole = np.zeros((height, width), np.bool_)
    hole[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = True
    try:
        answer = network.answer(picture, hole)
    except Exception as error:  # whatever a network that was exported amiss makes onnxruntime raise
        raise UserError(f"{path} fails on a picture of {height}×{width} with a hole: {error}") from error
    if answer.shape != (1, 3, height, width):
        raise UserError(f"{path} answers {answer.shape} to a picture of {height}×{width}; expected is its own size.")
    fault = _misread(network, answer[0], picture.transpose(2, 0, 1) / 255, hole)
    if fault:
        said = f"Read by `output_range: {network.output_range}` and `mask_is: {network.mask_is}`, {path}"
        raise UserError(f"{said} {fault}")


def _misread(network: _Network, answer: Floats, wanted: npt.NDArray[np.float64], hole: Mask) -> str | None:
    """What an answer (3×H×W, of the network) tells against the options, by a picture `wanted` (3×H×W, 0–1)."""
    unlike = {name: float(np.abs(answer / top - wanted)[:, ~hole].mean()) for name, top in _TOP.items()}
    if unlike[network.output_range] > _UNLIKE:
        fitting = [name for name, difference in unlike.items() if difference <= _UNLIKE]
        hint = f"`output_range: {fitting[0]}` would fit." if fitting else "Is `mask_is` right, and the image in [0, 1]?"
        return f"changes what is no hole; it answers {answer.min():.3g} to {answer.max():.3g}. {hint}"
    if answer[:, hole].max() <= _BLANK * _TOP[network.output_range]:
        return "leaves the hole blank. Is `mask_is` right?"
    return None
