"""Attribute edits by local warps: expressions and the size of parts, all from the 68 points that every scheme has.

Displacements are in face coordinates (`Axes`): interocular distances, x towards the subject's left, y down.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.faces import Face
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from .warping import Axes, Locals, Pull, face_axes, warp

Attribute = Literal["smile", "frown", "surprise", "eye_size", "nose_width", "jaw_width", "brow_raise"]
Strength = Annotated[float, Field(gt=0, le=1.5)]

_BROWS = slice(lm.RIGHT_BROW.start, lm.LEFT_BROW.stop)
_EYES = slice(lm.RIGHT_EYE.start, lm.LEFT_EYE.stop)
_LIPS = slice(lm.LIPS_OUTER.start, lm.LIPS_INNER.stop)


def _along_mouth(lips: Locals) -> npt.NDArray[np.float32]:
    """Where lip points (the 20 of iBUG) lie between the corners: -1 at the right one, 1 at the left one."""
    middle, half = (lips[0, 0] + lips[6, 0]) / 2, max((lips[6, 0] - lips[0, 0]) / 2, 0.05)
    return np.asarray(np.clip((lips[:, 0] - middle) / half, -1.1, 1.1), dtype=np.float32)


def _apples(p: Locals) -> Locals:
    """The most forward points of the right and left cheek."""
    spots = [0.45 * p[eye] + 0.55 * p[corner] + (side * 0.13, 0) for eye, corner, side in ((41, 48, -1), (46, 54, 1))]
    return np.stack(spots).astype(np.float32)


def _bend_mouth(axes: Axes, p: Locals, *, lift: float, widen: float, cheeks: float) -> list[Pull]:
    """Move the corners up by `lift` and out by `widen`; the lips follow along a curve, the cheeks by `cheeks`."""
    lips = p[_LIPS]
    t = _along_mouth(lips)
    curve = np.abs(t) ** np.float32(1.7)
    bent = np.stack([widen * t * np.sqrt(np.abs(t)), -lift * (curve - 0.12)], axis=1)
    lifted = np.tile(np.array([0, -cheeks], np.float32), (2, 1))
    still = np.concatenate([p[lm.NOSE_BASE], p[_EYES], p[7:10]])
    return [axes.pull(np.concatenate([lips, _apples(p)]), np.concatenate([bent, lifted]), 0.7, still, 0.25)]


def _smile(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    return _bend_mouth(axes, p, lift=0.1 * strength, widen=0.055 * strength, cheeks=0.03 * strength)


def _frown(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    return _bend_mouth(axes, p, lift=-0.09 * strength, widen=-0.02 * strength, cheeks=-0.015 * strength)


def _scaled(points: Locals, centre: Locals, by: Sequence[float]) -> Locals:
    """How points move when scaled about a centre by 1 + `by` (x y)."""
    return np.asarray((points - centre) * np.asarray(by), dtype=np.float32)


def _resize_eyes(axes: Axes, p: Locals, by: Sequence[float]) -> list[Pull]:
    """Scale both eyes about their centres, iris and lids alike; brows and nose stay."""
    wholes, moves = [], []
    for eye in (p[lm.RIGHT_EYE], p[lm.LEFT_EYE]):
        centre = eye.mean(axis=0)
        # A smaller copy of the outline inside makes the middle scale evenly, so that irises stay round.
        whole = np.concatenate([eye, centre + 0.5 * (eye - centre), centre[None]])
        wholes.append(whole)
        moves.append(_scaled(whole, centre, by))
    still = np.concatenate([p[_BROWS], p[lm.NOSE_BRIDGE]])
    return [axes.pull(np.concatenate(wholes), np.concatenate(moves), 0.4, still, 0.2)]


def _eye_size(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    return _resize_eyes(axes, p, (0.2 * strength, 0.24 * strength))


def _nose_width(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    base = p[lm.NOSE_BASE]
    wings = np.stack([base[0] + (-0.08, -0.05), base[4] + (0.08, -0.05)]).astype(np.float32)
    nose = np.concatenate([base, wings])
    still = np.concatenate([p[27:30], p[lm.LIPS_OUTER], p[_EYES]])
    return [axes.pull(nose, _scaled(nose, base[2], (0.17 * strength, 0)), 0.45, still, 0.2)]


def _jaw_width(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    jaw = p[2:15]
    middle = p[[27, 33, 8]].mean(axis=0)
    still = np.concatenate([p[lm.NOSE_BASE], p[lm.LIPS_OUTER], p[_EYES]])
    return [axes.pull(jaw, _scaled(jaw, middle, (0.1 * strength, 0)), 0.8, still, 0.35)]


def _raise_brows(axes: Axes, p: Locals, up: float) -> list[Pull]:
    moves = np.tile(np.array([0, -up], np.float32), (10, 1))
    return [axes.pull(p[_BROWS], moves, 0.5, p[_EYES], 0.2)]


def _brow_raise(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    return _raise_brows(axes, p, 0.075 * strength)


def _surprise(axes: Axes, p: Locals, strength: float) -> list[Pull]:
    lips, chin = p[_LIPS], p[4:13]
    lower = np.concatenate([lips, chin])
    length = max(float(p[8, 1] - p[33, 1]), 0.3)
    drop = 0.13 * strength * np.clip((lower[:, 1] - p[33, 1]) / length, 0, 1)
    narrow = np.zeros(len(lower), np.float32)
    narrow[: len(lips)] = -0.03 * strength * _along_mouth(lips)
    opened = axes.pull(lower, np.stack([narrow, drop], axis=1), 0.7, p[lm.NOSE_BASE], 0.2)
    return [
        opened,
        *_raise_brows(axes, p, 0.055 * strength),
        *_resize_eyes(axes, p, (0.04 * strength, 0.17 * strength)),
    ]


class _Edit(NamedTuple):
    directions: Mapping[str, int]
    words: tuple[str, ...]
    pulls: Callable[[Axes, Locals, float], list[Pull]]


_MORE = MappingProxyType({"more": 1})
_WIDTH = MappingProxyType({"slim": -1, "widen": 1})
_EDITS: Mapping[Attribute, _Edit] = MappingProxyType({
    "smile": _Edit(_MORE, ("lip", "mouth", "cheek"), _smile),
    "frown": _Edit(_MORE, ("lip", "mouth", "cheek", "chin"), _frown),
    "surprise": _Edit(_MORE, ("eye", "lip", "mouth", "chin", "jaw", "eyebrow"), _surprise),
    "eye_size": _Edit(MappingProxyType({"enlarge": 1, "shrink": -1}), ("eye", "pupil"), _eye_size),
    "nose_width": _Edit(_WIDTH, ("nose",), _nose_width),
    "jaw_width": _Edit(_WIDTH, ("cheek", "chin", "jaw"), _jaw_width),
    "brow_raise": _Edit(_MORE, ("forehead", "eyebrow"), _brow_raise),
})  # fmt: skip


class AttributeWarp(Manipulator):
    """Change one expression or the size of one part by moving pixels; the mask is what moved."""

    declaration: ClassVar[Declaration] = Declaration(
        name="attribute_warp",
        version="1",
        family="attribute_edit",
        mask_rule=MaskRule.SUPPORT,
        regions=(
            "eye", "pupil", "lip", "mouth", "nose", "cheek", "forehead", "chin", "jaw", "eyebrow",
        ),
        summary="Smiles, frowns, surprise; eyes, nose, jaw and brows resized or moved by a smooth local warp.",
    )  # fmt: skip

    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1)] = tuple(_EDITS)
    """Those of which one is drawn per forgery."""
    strength_range: tuple[Strength, Strength] = (0.7, 1.1)
    """Strength is drawn evenly from here; 1 is plainly visible and still natural."""

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw the attribute, its direction and strength."""
        face_axes(target)
        attribute = self.attributes[int(rng.integers(len(self.attributes)))]
        directions = sorted(_EDITS[attribute].directions)
        sayable = regions.sayable(target.scheme)
        return {
            "attribute": attribute,
            "direction": directions[int(rng.integers(len(directions)))],
            "strength": round(float(rng.uniform(*self.strength_range)), 4),
            "regions": [word for word in _EDITS[attribute].words if word in sayable],
        }

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Warp every face of the batch."""
        return [_render(job) for job in batch]


def _render(job: Job) -> Edit:
    edit, axes = _EDITS[job.parameters["attribute"]], face_axes(job.target_face)
    signed = edit.directions[job.parameters["direction"]] * float(job.parameters["strength"])
    return warp(job.target, edit.pulls(axes, axes.inward(job.target_face.points_68), signed))
