"""Face swap by InsightFace's `inswapper_128`: the donor's identity in the target's pose, expression and light.

The network sees and answers a square of 128 px around the face. InsightFace's own code would paste it back with a mask
that it keeps to itself; here the square is asked for, warped back by us and blended with an alpha of ours, so that the
ground truth is exact. A face wider than the square is answered as softly as 128 px can hold: no sharpening follows.
"""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mmtt import regions
from mmtt.errors import MissingDependency, Rejected, UserError, did_you_mean
from mmtt.faces import Face
from mmtt.ids import digest
from mmtt.images import Rgb
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule
from mmtt.parsing import OCCLUDERS, label_mask
from mmtt.recipe import Sha256
from mmtt.weights import Weights, require, sha256

from .. import onnx_sessions
from ..finders.insightface import INSTALL, LICENCE, RECOGNITION, embedding
from . import blending, holes, tones
from .blending import Floats, Window
from .region_holes import DRAWABLE

SWAPPER = Weights(
    "models/inswapper_128.onnx",
    LICENCE,
    "InsightFace (https://github.com/deepinsight/insightface), which has offered and withdrawn it",
    "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
)
SIDE_PX = 128
_RIM_PX = 2  # of the square, where convolutions saw its edge
_BOX_FEATHER_PX = 10
_KEPT_FEATHER = 0.06  # around what is kept, in interocular distances
_SIGMA = 0.3  # how far colours are averaged, in interocular distances

Width = Annotated[float, Field(ge=0.02, le=0.6)]


class InSwapper(Manipulator):
    """Replace the face by the source's, through `inswapper_128` and the ArcFace embedding of `buffalo_l`."""

    declaration: ClassVar[Declaration] = Declaration(
        name="inswapper",
        version="1.0.0",
        family="face_swap",
        mask_rule=MaskRule.BLEND,
        regions=DRAWABLE,
        summary="The source's identity by a learned network (inswapper_128), blended inside the face's outline.",
        needs_source=True,
        code_licence="MIT",
        weights_licence=LICENCE,
    )

    model: str = SWAPPER.path
    """The swapper's file, by its path in the folder of `MMTT_MODELS`."""
    pinned: dict[str, Sha256] = Field(default_factory=dict, exclude=True)
    """Digests to trust in place of the known ones, by the files' paths: the swapper's and the recognition network's."""
    feather_range: tuple[Width, Width] = (0.12, 0.3)
    """Width of the soft edge inside the face's outline, in interocular distances."""
    match_colour: bool = False
    """Give the answer the target's local light and colour, as `face_swap` does; the network mostly keeps them."""
    keep_raw: bool = False
    """Keep the network's own square with each record."""

    @model_validator(mode="after")
    def _known_paths(self) -> Self:
        known = [weights.path for weights in self._weights()]
        for path in self.pinned:
            if path not in known:
                raise ValueError(f"'{path}' is pinned, but not used.{did_you_mean(path, known)}")
        return self

    def declare(self) -> Declaration:
        """Return the declaration with one digest for both networks.

        Raises:
            UserError: a file is absent, or other than expected.
        """
        paths = {weights.path: require(weights, self.pinned.get(weights.path)) for weights in self._weights()}
        return self.declaration._replace(weights_sha256=digest({name: sha256(path) for name, path in paths.items()}))

    def _weights(self) -> tuple[Weights, Weights]:
        known = SWAPPER.sha256 if self.model == SWAPPER.path else None
        return SWAPPER._replace(path=self.model, sha256=known), RECOGNITION

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the feather; regions are what the landmarks outline, never the pixels of a label map."""
        if source is None:
            raise Rejected("no_source", "a face swap needs a second face")
        blending.check_face(target)
        blending.check_face(source)
        feather = float(rng.uniform(min(self.feather_range), max(self.feather_range)))
        words = [word for word in DRAWABLE if word in regions.sayable(target.scheme)]
        return {"regions": words, "feather": feather, "match_colour": self.match_colour}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Swap one by one.

        Raises:
            UserError: no such networks. Rejected: `not_finite`, when either network answers NaN.
            MissingDependency: insightface or onnxruntime is not installed.
        """
        swapper = self._weights()[0]
        path = require(swapper, self.pinned.get(swapper.path))
        model = _model(path, sha256(path))
        return [self._swap(model, job) for job in batch]

    def _swap(self, model: Any, job: Job) -> Edit:
        assert job.source is not None and job.source_face is not None
        identity = embedding(job.source, job.source_face, self.pinned)
        if not identity.any() or not np.isfinite(identity).all():
            raise Rejected("not_finite", "the recognition network says nothing of who the donor is")
        square, matrix = _answer(model, job.target, job.target_face, identity)
        area = blending.window(holes.whole_face(job.target_face), job.target_face, job.target)
        if area is None:
            return Edit(job.target, np.zeros(job.target.shape[:2], np.float32))
        pixels, alpha = _back(area, square, matrix), _alpha(area, job, matrix)
        given = _recoloured(area, job, pixels, alpha) if job.parameters["match_colour"] else pixels
        image, alpha = blending.in_frame(area, job.target, given, alpha)
        return Edit(image, alpha, raw=square if self.keep_raw else None)


def _answer(model: Any, target: Rgb, face: Face, identity: Floats) -> tuple[Rgb, npt.NDArray[np.float64]]:
    """The network's square, RGB uint8 128×128×3, and the 2×3 matrix from the frame to it."""
    from insightface.app.common import Face as Known

    bgr = cv2.cvtColor(target, cv2.COLOR_RGB2BGR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # InsightFace calls scikit-image in a way that will go
        square, matrix = model.get(bgr, Known(kps=face.five_points), Known(embedding=identity), paste_back=False)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_BGR2RGB), np.uint8), np.asarray(matrix, np.float64)


def _back(area: Window, square: Rgb, matrix: npt.NDArray[np.float64]) -> Rgb:
    """The square as the window shows it, RGB uint8 h×w×3; its rim is continued."""
    here = matrix @ np.array([[1, 0, area.left], [0, 1, area.top], [0, 0, 1]], np.float64)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(square, here, area.hw[::-1], flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _alpha(area: Window, job: Job, matrix: npt.NDArray[np.float64]) -> Floats:
    """Alpha of the window, float32 h×w: inside both the outline and the square, off hair and glasses if parsed."""
    face = job.target_face
    outline = _soft(_inside(area, face), job.parameters["feather"] * face.interocular)
    alpha = np.minimum(outline, _soft_box(area, matrix))
    kept = _kept(face)
    if kept is not None and kept[area.slices].any():
        alpha = np.minimum(alpha, _soft(~kept[area.slices], _KEPT_FEATHER * face.interocular))
    return alpha


def _inside(area: Window, face: Face) -> regions.Mask:
    return regions.fill([holes.whole_face(face) - np.array([area.left, area.top], np.float32)], area.hw)


def _soft(inside: regions.Mask, width: float) -> Floats:
    """0 outside an area (bool h×w), rising to 1 over `width` pixels inwards."""
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return _ramp(depth / np.float32(max(width, 1)))


def _soft_box(area: Window, matrix: npt.NDArray[np.float64]) -> Floats:
    """0 outside the network's square, rising to 1 from its rim inwards, float32 h×w."""
    rows = np.arange(area.top, area.bottom, dtype=np.float32)[:, None]
    columns = np.arange(area.left, area.right, dtype=np.float32)
    middle = np.float32((SIDE_PX - 1) / 2)
    across, down = (np.abs(a * columns + (b * rows + (c - middle))) for a, b, c in matrix.astype(np.float32))
    return _ramp((middle - _RIM_PX - np.maximum(across, down)) / np.float32(_BOX_FEATHER_PX))


def _ramp(share: Floats) -> Floats:
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _kept(face: Face) -> regions.Mask | None:
    """What lies over the face, bool H×W: hair, glasses, a hat; None where it was not parsed."""
    return None if face.parsing is None else label_mask(face.parsing, "hair", *OCCLUDERS)


def _recoloured(area: Window, job: Job, pixels: Rgb, alpha: Floats) -> Floats:
    """The answer in the target's local light and colour, float32 h×w×3, 0–255."""
    given, wanted = area.shrink(pixels), area.shrink(job.target)
    core = cv2.resize(alpha, area.grid_hw[::-1], interpolation=cv2.INTER_AREA) > 0.5
    skin = np.minimum(tones.skin_likeness(given, core), tones.skin_likeness(wanted, core))
    gain, offset = tones.recolour(given, wanted, skin, _SIGMA * job.target_face.interocular / area.step)
    return np.clip(area.enlarge(gain) * pixels + area.enlarge(offset), 0, 255)


@lru_cache(maxsize=2)
def _model(path: Path, _digest: str) -> Any:
    """Load the swapper once a process; the digest is there so that another file under the same name is loaded anew.

    Raises:
        UserError: no such network. MissingDependency: insightface or onnxruntime is not installed.
    """
    try:
        from insightface import model_zoo
        from insightface.model_zoo.inswapper import INSwapper

        options = onnx_sessions.options()
    except ImportError as error:
        raise MissingDependency(f"'inswapper' needs insightface and onnxruntime ({error}): {INSTALL}.") from error
    try:
        with redirect_stdout(io.StringIO()):  # it prints its shape, where `--json` would be read
            model = model_zoo.get_model(str(path), providers=list(onnx_sessions.PROVIDERS), sess_options=options)
    except Exception as error:  # whatever a broken file makes onnx and onnxruntime raise
        raise UserError(f"{path} cannot be read as an ONNX network: {error}") from error
    if not isinstance(model, INSwapper) or model.emap.shape != (512, 512):
        raise UserError(f"{path} is no inswapper network: two inputs, 128 px, and a last initializer of 512×512.")
    model.session = onnx_sessions.Finite(model.session)
    return model
