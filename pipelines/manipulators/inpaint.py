"""Classical inpainting: a part of the face is taken out and the hole closed without any learned model."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import cv2
import numpy as np
from pydantic import Field, field_validator

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.regions import Mask

from . import exemplar, holes
from .region_holes import DRAWABLE, Count, Growth, RegionHoles
from .retouch import FEATURES, LIKENESS, likeness

Method = Literal["telea", "navier_stokes", "exemplar"]
DIFFUSION = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}


class ClassicalInpaint(RegionHoles):
    """Remove regions of the face, or brush strokes over it, and fill the hole from what is around.

    `exemplar` completes with patches of the same picture (see `exemplar.py`); `telea` (Telea, "An image
    inpainting technique based on the fast marching method", 2004) and `navier_stokes` (Bertalmio et al.,
    "Navier-Stokes, fluid dynamics, and image and video inpainting", 2001) diffuse and so blur, for which
    reason thick holes always go to `exemplar`.
    """

    methods: tuple[Method, ...] = ("telea", "navier_stokes", "exemplar")
    """Ways to fill, drawn evenly."""
    regions_range: tuple[Count, Count] = (1, 2)
    # Hair hangs into most foreheads and would be cut.
    region_pool: tuple[str, ...] = tuple(word for word in DRAWABLE if word not in ("pupil", "forehead", "skin"))
    free_form_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    """How many of the holes are brush strokes instead of regions, 0–1."""
    one_side_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    dilation_range: tuple[Growth, Growth] = (0.06, 0.14)
    stroke_width_range: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.12, 0.4)
    """How wide brush strokes are, in interocular distances."""
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    max_diffused: Annotated[float, Field(ge=0, le=1)] = 0.11
    """Greatest distance to the rim, in interocular distances, of a hole filled by diffusion."""

    declaration: ClassVar[Declaration] = Declaration(
        name="classical_inpaint",
        version="1.0.0",
        family="classical_inpainting",
        mask_rule=MaskRule.HOLE,
        regions=DRAWABLE,
        summary="Takes regions or brush strokes out of a face and closes the hole from its surroundings.",
    )

    @field_validator("methods")
    @classmethod
    def _some(cls, value: tuple[Method, ...]) -> tuple[Method, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(get_args(Method))}")
        return value

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hole and how it will be filled; strokes are in the face's own frame."""
        small = holes.sketch(target)
        method = self.methods[int(rng.integers(len(self.methods)))]
        if rng.random() < self.free_form_share:
            plan = self._plan_strokes(small, method, rng)
        else:
            plan = {**self.plan_on_sketch(small, rng), "strokes": []}
        depth = cv2.distanceTransform(self.hole(small, plan, holes.sketch_hw()).astype(np.uint8), cv2.DIST_L2, 3)
        thick = float(depth.max()) > self.max_diffused * holes.SKETCH_UNIT_PX
        return {**plan, "method": "exemplar" if thick else method}

    def _plan_strokes(self, small: Face, method: Method, rng: np.random.Generator) -> dict[str, Any]:
        widest = 1.0 if method == "exemplar" else 1.8 * self.max_diffused
        widths = sorted(min(width, widest) for width in self.stroke_width_range)
        strokes = holes.draw_strokes(rng, int(rng.integers(1, 4)), (widths[0], widths[1]))
        hole = holes.stroke_hole(small, strokes, holes.sketch_hw())
        if not hole.any():
            raise Rejected("region_unavailable", "the strokes miss the face")
        shares = regions.edited_shares(small, hole.astype(np.uint8) * np.uint8(255))
        words = [word for word, share in shares.items() if share > 0.1 and word != "skin"] or ["skin"]
        return {"regions": words, "side": "both", "dilation": 0.0, "strokes": strokes}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Fill each hole; alpha is 1 in it and 0 elsewhere."""
        return [_inpaint(job, self.hole_of(job)) for job in batch]

    def hole(self, face: Face, parameters: Mapping[str, Any], hw: tuple[int, int]) -> Mask:
        """Return a planned hole, bool H×W, in a frame of height and width `hw`; it stays inside the face."""
        if parameters.get("strokes"):
            return holes.stroke_hole(face, parameters["strokes"], hw)
        return holes.region_hole(face, parameters["regions"], parameters["side"], parameters["dilation"], hw)


def _inpaint(job: Job, hole: Mask) -> Edit:
    image, done = job.target.copy(), job.target.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        margin = int(max(0.45 * job.target_face.interocular, area**0.5, 8))
        window = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
        piece, known = labels[window] == label, ~hole[window]
        # What was in the hole must not shine through any filter.
        image[window][~known] = np.asarray(cv2.mean(job.target[window], known.astype(np.uint8)))[:3]
        face = holes.seen_through(job.target_face, window)
        if job.parameters["method"] == "exemplar":
            source = _sources(image[window], face, known, mend=bool(job.parameters["strokes"]))
            filled = exemplar.fill(image[window], piece, source)
        else:
            filled = _diffused(image[window], piece, face, job.parameters["method"])
        done[window][piece] = filled[piece]
    return Edit(done, hole.astype(np.float32), hole)


def _diffused(photo: Rgb, hole: Mask, face: Face, method: str) -> Rgb:
    radius = max(0.03 * face.interocular, 1.5)
    return np.asarray(cv2.inpaint(photo, hole.astype(np.uint8), radius, DIFFUSION[method]), np.uint8)


def _sources(photo: Rgb, face: Face, known: Mask, mend: bool) -> Mask:
    """Where patches may come from, bool like `known`: the face's skin, no feature twice.

    If `mend`, a feature that the hole cuts in two is completed from what is left of it.
    """
    hw = known.shape[0], known.shape[1]
    source = holes.inner_face(face, hw) & known
    outlines = [polygon for word in FEATURES for polygon in regions.outline(face, word).covers]
    whole, halved = np.zeros_like(known), np.zeros_like(known)
    for polygon in outlines:
        feature = regions.fill([polygon], hw)
        cut = np.count_nonzero(feature & ~known) / max(np.count_nonzero(feature), 1)
        (halved if mend and 0.2 < cut < 0.6 else whole)[feature] = True
    whole |= regions.fill([face.points_68[lm.NOSE_BASE]], hw)
    source &= ~holes.grow(whole, 0.07 * face.interocular)
    if not source.any():
        return known
    skin = likeness(photo, source.astype(np.float32), LIKENESS, 0.02 * face.interocular) > 0.3
    return source & (skin | holes.grow(halved, 0.1 * face.interocular))
