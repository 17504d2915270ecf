"""Part swap: another person's eyes, brows, nose or mouth, in their own shape, cut in along the best seam."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face, invert, similarity, transform
from mmtt.images import Rgb
from mmtt.landmarks import Points
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from . import blending
from .blending import Cut, Floats, Window
from .glasses import wears_glasses

Width = Annotated[float, Field(ge=0.05, le=0.3)]
Part = Literal["eyes", "brows", "nose", "mouth"]


class _Kind(NamedTuple):
    """One kind of part: its pieces among the 68 points, its region words, how far hulls exceed it (interocular).

    `inner` and `outer` bound the seam. Beyond `skin` the donor's detail is tempered to the target's.
    """

    pieces: tuple[slice, ...]
    words: tuple[str, ...]
    inner: float
    outer: float
    skin: float | None = None
    thickness: float = 0.0  # of parts that the 68 points give as a line, downwards


_KINDS = MappingProxyType({
    "eyes": _Kind((lm.RIGHT_EYE, lm.LEFT_EYE), ("eye", "pupil"), 0.05, 0.17),
    "brows": _Kind((lm.RIGHT_BROW, lm.LEFT_BROW), ("eyebrow",), 0.05, 0.14, thickness=0.08),
    "nose": _Kind((slice(27, 36),), ("nose",), 0.08, 0.2),
    "mouth": _Kind((lm.LIPS_OUTER,), ("lip", "mouth"), 0.04, 0.13, 0.03),
})  # fmt: skip


class PartSwap(Manipulator):
    """Replace one or more parts of the face by the source's, moved, turned and scaled but not bent."""

    declaration: ClassVar[Declaration] = Declaration(
        name="part_swap",
        version="1.0.0",
        family="part_swap",
        mask_rule=MaskRule.BLEND,
        regions=("eye", "pupil", "lip", "mouth", "nose", "eyebrow"),
        summary="Eyes, brows, nose or mouth of another person in their own shape, recoloured to the surrounding skin.",
        needs_source=True,
    )

    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = ("eyes", "brows", "nose", "mouth")
    """The parts to choose from."""
    most_parts: Annotated[int, Field(ge=1, le=4)] = 2
    """At most so many parts per forgery; at least one."""
    feather_range: tuple[Width, Width] = (0.08, 0.16)
    """Width of the blend across the seam, in interocular distances."""

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the parts and the feather."""
        if source is None:
            raise Rejected("no_source", "a part swap needs a second face")
        blending.check_face(target)
        blending.check_face(source)
        choices = sorted(set(self.parts))
        count = int(rng.integers(1, min(self.most_parts, len(choices)) + 1))
        parts = sorted(str(part) for part in rng.choice(choices, count, replace=False))
        sayable = regions.sayable(target.scheme)
        return {
            "regions": [word for part in parts for word in _KINDS[part].words if word in sayable],
            "parts": parts,
            "feather": float(rng.uniform(min(self.feather_range), max(self.feather_range))),
        }

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Forge every job by itself.

        Raises:
            Rejected: `glasses`, when one of the two wears them and more than the mouth is swapped.
        """
        return [_swap_parts(job) for job in batch]


def _swap_parts(job: Job) -> Edit:
    _refuse_glasses(job)
    hw = job.target.shape[:2]
    alpha, image = np.zeros(hw, np.float32), job.target.copy()
    for part in job.parameters["parts"]:
        kind = _KINDS[part]
        for piece in kind.pieces:
            _add_piece(image, alpha, job, kind, piece)
    return Edit(image, alpha)


def _refuse_glasses(job: Job) -> None:
    """Eyes, brows and bridge cannot be cut from under a rim, nor put there."""
    assert job.source is not None and job.source_face is not None
    if set(job.parameters["parts"]) == {"mouth"}:
        return
    if wears_glasses(job.target, job.target_face) or wears_glasses(job.source, job.source_face):
        raise Rejected("glasses", "the rim of glasses crosses the part to swap")


def _add_piece(image: Rgb, alpha: Floats, job: Job, kind: _Kind, piece: slice) -> None:
    """Transplant one eye, brow, nose or mouth and lay it over what `image` and `alpha` already hold."""
    assert job.source is not None and job.source_face is not None
    face = job.target_face
    matrix = _placement(job.source_face, face, kind, piece)
    own = transform(_shape(job.source_face, kind, piece), matrix)
    inner, outer = _hulls(face, own, kind, piece)
    area = blending.window(outer, face, job.target)
    if area is None:
        return
    core = blending.grid_fill(area, outer) & ~blending.grid_fill(area, inner)
    cut = Cut(inner, outer, 0.5, job.parameters["feather"] * face.interocular, 0.2 * face.interocular)
    if kind.skin is not None:
        part = blending.grown(own, kind.skin * face.interocular)
        cut = cut._replace(features=blending.feature_map(area, [part]))
    pixels, new = blending.transplant(area, job.target, _moved(job.source, area, matrix), core, cut)
    _lay_over(image[area.slices], alpha[area.slices], pixels, new)


def _lay_over(image: Rgb, alpha: Floats, pixels: Floats, new: Floats) -> None:
    """Lay a translucent layer over another in place, so that one composite later shows both (Porter & Duff, 1984)."""
    both = new + alpha * (1 - new)
    share = (new / np.maximum(both, np.float32(1e-6)))[..., None]
    image[:] = np.round(image + share * (pixels - image)).astype(np.uint8)
    alpha[:] = both


def _shape(face: Face, kind: _Kind, piece: slice) -> Points:
    points = face.points_68[piece]
    return np.concatenate([points, points + np.float32(kind.thickness * face.interocular) * face.down])


def _placement(source: Face, target: Face, kind: _Kind, piece: slice) -> npt.NDArray[np.float64]:
    """The similarity that brings the source's part where the target's is; of the face's turn, for a line has none."""
    here, there = _shape(target, kind, piece), _shape(source, kind, piece)
    return similarity(there, here)


def _hulls(target: Face, own: Points, kind: _Kind, piece: slice) -> tuple[Points, Points]:
    """What the seam must enclose, both people's part, and what it must not leave."""
    both = np.concatenate([_shape(target, kind, piece), own])
    unit = target.interocular
    return blending.grown(both, kind.inner * unit), blending.grown(both, kind.outer * unit)


def _moved(source: Rgb, area: Window, matrix: npt.NDArray[np.float64]) -> Rgb:
    """The source moved into the window, RGB uint8 h×w×3."""
    back = invert(matrix)
    back[:, 2] += back[:, :2] @ (area.left, area.top)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(source, back, area.hw[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)
