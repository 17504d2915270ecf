"""Manipulator: a program that forges. The one door for built-in and installed ones alike.

A manipulator *plans* from landmarks alone (pure, JSON, cheap) and *renders* pixels with a soft alpha.
It never composites: the toolkit does, once, so that the mask is a fact for every program, present and
future. Its fields are its options in the recipe; unknown options are refused.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from mmtt import masks
from mmtt.errors import Rejected, UserError
from mmtt.faces import Face
from mmtt.images import Gray, Rgb
from mmtt.masks import MaskRule

FAMILIES = (
    "face_swap", "part_swap", "self_blend", "attribute_edit", "transformer_inpainting",
    "diffusion_inpainting", "classical_inpainting", "recolour", "retouch",
)  # fmt: skip
UNTOLD = "unknown"  # the family of a forgery whose origin does not say; imported rows alone may bear it


_ROUNDING = 1e-3
# What an edit must hold besides image and alpha.
_NEEDED: Mapping[MaskRule, tuple[str, ...]] = MappingProxyType({
    MaskRule.SUPPORT: ("support",),
    MaskRule.HOLE: ("support",),
    MaskRule.NULL_EDIT: ("null", "intent"),
})  # fmt: skip


class Declaration(NamedTuple):
    """What a manipulator says of itself. `regions` are those of the 21 words that it can edit."""

    name: str
    version: str
    family: str
    mask_rule: MaskRule
    regions: tuple[str, ...]
    summary: str
    needs_source: bool = False
    deterministic: bool = True
    code_licence: str = "Apache-2.0"
    code_sha256: str | None = None
    weights_licence: str | None = None
    weights_sha256: str | None = None


class Job(NamedTuple):
    """One forgery to render. Images are RGB uint8 H×W×3, both of the same size; faces in their own frames."""

    target: Rgb
    target_face: Face
    source: Rgb | None
    source_face: Face | None
    parameters: Mapping[str, Any]
    rng: np.random.Generator


class Edit(NamedTuple):
    """What a manipulator returns.

    image: RGB uint8 H×W×3, the edited pixels in the target's frame; only where alpha > 0 do they matter.
    alpha: float32 H×W in [0, 1], how much of `image` is to be blended at each pixel.
    support: bool H×W; for warps, displaced by more than half a pixel; for inpainting, the hole, outside of which
        alpha must be 0.
    null: RGB uint8 H×W×3, for full-frame edits: what the same model gives when it is asked for nothing.
    intent: bool H×W, for full-frame edits: the area that was asked for.
    raw: RGB uint8 of any size, the program's own output where the recipe keeps it.
    log: what the program said; private.
    """

    image: Rgb
    alpha: npt.NDArray[np.float32]
    support: npt.NDArray[np.bool_] | None = None
    null: Rgb | None = None
    intent: npt.NDArray[np.bool_] | None = None
    raw: Rgb | None = None
    log: str | None = None


class Manipulator(BaseModel, ABC):
    """Base of every forging program; subclass fields are its recipe options.

    An option declared with `Field(exclude=True)` says how the program runs here (a device, a time limit), never what
    it makes: no digest holds it, and changing it makes nothing again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    declaration: ClassVar[Declaration]

    def declare(self) -> Declaration:
        """Return the declaration with these options; programs that use weights or other code add their digests.

        Raises:
            UserError: weights or code that the options name are absent.
        """
        return self.declaration

    @abstractmethod
    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Decide everything about one forgery from landmarks alone; the result must survive JSON.

        The key `regions` lists the region words that will be edited.

        Raises:
            Rejected: this face cannot be edited so (a region that its landmarks cannot say, for one).
        """

    @abstractmethod
    def render(self, batch: Sequence[Job]) -> Sequence[Edit | Rejected]:
        """Forge a batch, in its order; its size must not change any byte of the result.

        A job that alone cannot be done may stand in the result as its rejection. An exception costs the batch: it
        is then rendered one job at a time.
        """


def decisive(manipulator: Manipulator) -> list[Any]:
    """Return what of a program decides its bytes, for digests: its options but the excluded ones, its declaration.

    Raises:
        UserError: weights or code that the options name are absent, or an option holds what JSON does not know.
    """
    options = manipulator.model_dump()
    try:
        json.dumps(options)
    except TypeError as error:
        name = manipulator.declaration.name
        raise UserError(f"An option of '{name}' holds what a recipe cannot: {error}. Lists, not sets.") from error
    return [options, manipulator.declare()._replace(summary="")]


def blame(error: Exception) -> Rejected:
    """Turn whatever a manipulator raised into the rejection of one item: a stranger's code must not end a run.

    What the user can mend (a missing package, say) concerns every item and is raised again.
    """
    if isinstance(error, UserError):
        raise error
    return error if isinstance(error, Rejected) else Rejected("manipulator_failed", f"{type(error).__name__}: {error}")


class Forged(NamedTuple):
    """A finished forgery: image RGB uint8 H×W×3; alpha, change and mask uint8 H×W; the tau of its mask rule."""

    image: Rgb
    alpha: Gray
    change: Gray
    mask: Gray
    tau: int


def finish(target: Rgb, edit: Edit, rule: MaskRule, tau: int) -> Forged:
    """Composite an edit over its target (RGB uint8 H×W×3) and derive change and mask.

    `tau` is the recipe's; under `null_edit` the model's own noise on this very target takes its place.

    Raises:
        Rejected: `bad_edit` when shapes or types break the contract, when something is absent that the rule needs,
            or alpha reaches out of a hole; `empty_mask` when nothing changed.
    """
    _check_edit(target, edit)
    _check_rule(edit, rule)
    if rule is MaskRule.NULL_EDIT and edit.null is not None:
        tau = masks.null_tau(masks.change_map(target, edit.null))
    alpha = masks.quantise_alpha(edit.alpha)
    image = masks.composite(target, edit.image, alpha)
    change = masks.change_map(target, image)
    mask = masks.derive_mask(rule, alpha, change, tau=tau, support=edit.support)
    if not mask.any() or not change.any():
        raise Rejected("empty_mask", "the edit changed no pixel")
    return Forged(image, alpha, change, mask, tau)


def _check_edit(target: Rgb, edit: Edit) -> None:
    if not isinstance(edit, Edit) or not isinstance(edit.image, np.ndarray) or not isinstance(edit.alpha, np.ndarray):
        raise Rejected("bad_edit", "render must return an Edit of numpy arrays for each job")
    if edit.image.shape != target.shape or edit.image.dtype != np.uint8:
        raise Rejected("bad_edit", f"image is {edit.image.dtype} {edit.image.shape}, target uint8 {target.shape}")
    if edit.alpha.shape != target.shape[:2] or edit.alpha.dtype != np.float32:
        raise Rejected("bad_edit", f"alpha is {edit.alpha.dtype} {edit.alpha.shape}, expected float32 of the frame")
    if not np.isfinite(edit.alpha).all():
        raise Rejected("bad_edit", "alpha is not finite")
    if edit.alpha.min() < -_ROUNDING or edit.alpha.max() > 1 + _ROUNDING:
        raise Rejected("bad_edit", f"alpha spans {edit.alpha.min():g} to {edit.alpha.max():g}, beyond [0, 1]")
    frame = target.shape
    _require("support", edit.support, np.bool_, frame[:2])
    _require("intent", edit.intent, np.bool_, frame[:2])
    _require("null", edit.null, np.uint8, frame)
    _require("raw", edit.raw, np.uint8, (*getattr(edit.raw, "shape", frame)[:2], 3))
    if edit.raw is not None and not edit.raw.size:
        raise Rejected("bad_edit", f"raw has no pixel: {edit.raw.shape}")
    if not isinstance(edit.log, str | None):
        raise Rejected("bad_edit", f"log is {type(edit.log).__name__}, expected text")


def _check_rule(edit: Edit, rule: MaskRule) -> None:
    """Refuse an edit that leaves out what its mask rule needs, or reaches out of its hole."""
    for name in _NEEDED.get(rule, ()):
        if getattr(edit, name) is None:
            raise Rejected("bad_edit", f"an edit under the rule '{rule}' must return its `{name}`")
    if rule is MaskRule.HOLE and edit.support is not None and (edit.alpha[~edit.support] > 0).any():
        raise Rejected("bad_edit", "alpha is above 0 outside the hole (`support`): nothing may change there")


def _require(name: str, array: Any, dtype: type, shape: tuple[int, ...]) -> None:
    """Refuse an optional array of an edit that is there, but not what it must be."""
    if array is not None and not (isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise Rejected("bad_edit", f"{name} is {found}, expected a numpy array, {np.dtype(dtype)} {shape}")
