"""Holes that are unions of face regions, as every inpainter here plans them.

"Progressively altering 1 to 11 specific facial areas determined through a binary mask" is all that the paper
(arXiv 2412.19685) says of its own; sizes, sides and growth are options here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from mmtt import masks, regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.manipulator import Job, Manipulator
from mmtt.regions import Mask

from . import holes

DRAWABLE = tuple(word for word in regions.REGIONS if word not in regions.TEXT_ONLY)
WORDS = tuple(word for word in regions.REGIONS if word in (*DRAWABLE, *regions.PARSED_ONLY))
SIDES = ("right", "left")

Count = Annotated[int, Field(ge=1, le=11)]
Growth = Annotated[float, Field(ge=0, le=0.5)]


class RegionHoles(Manipulator):
    """Base of manipulators that fill a hole: plans which regions it unites, and draws it."""

    regions_range: tuple[Count, Count] = (1, 11)
    """How many region words are united into one hole, least and most."""
    region_pool: tuple[str, ...] = WORDS
    """Region words that may be taken out, where a face's landmarks or parsing can say them."""
    one_side_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    """How often only one of paired regions (eyes, brows, cheeks, ears) is taken, 0–1."""
    dilation_range: tuple[Growth, Growth] = (0.04, 0.15)
    """By how much regions are grown, in interocular distances."""
    max_share: Annotated[float, Field(gt=0, le=2)] = 1.5
    """Of several regions, some are dropped until the hole is at most this share of the face; hair and ears, whose
    extent no landmark tells, do not count."""

    @field_validator("region_pool")
    @classmethod
    def _known_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [word for word in WORDS if word in cls.declaration.regions]
        if not value or set(value) - set(known):
            raise ValueError(f"name at least one of what there is: {', '.join(known)}")
        return value

    def plan_hole(self, face: Face, rng: np.random.Generator) -> dict[str, Any]:
        """Choose a hole: `regions` (words), `side` (both, right or left), `dilation` (interocular distances).

        Raises:
            Rejected: `face_too_small`; `region_unavailable`, when the face can say no word of the pool.
        """
        return self.plan_on_sketch(holes.sketch(face), rng)

    def plan_on_sketch(self, small: Face, rng: np.random.Generator) -> dict[str, Any]:
        """Choose a hole for a face that is on the canvas of `holes.sketch` already."""
        words = self._sayable(small)
        low, high = sorted(min(count, len(words)) for count in self.regions_range)
        chosen = [str(word) for word in rng.permutation(words)[: int(rng.integers(low, high + 1))]]
        side = SIDES[int(rng.integers(2))] if rng.random() < self.one_side_share else "both"
        dilation = round(float(rng.uniform(*self.dilation_range)), 4)
        plan: dict[str, Any] = {"regions": chosen, "side": side, "dilation": dilation}
        while self._share(small, plan) > self.max_share and len(plan["regions"]) > 1:
            plan = {**plan, "regions": plan["regions"][:-1]}
        if self._share(small, plan) > self.max_share:
            plan = {**plan, "side": SIDES[int(rng.integers(2))]}
        return plan

    def hole(self, face: Face, parameters: Mapping[str, Any], hw: tuple[int, int]) -> Mask:
        """Return a planned hole, bool H×W, in a frame of height and width `hw`; it may cross the face's outline.

        Specks that the growth left between regions belong to it: nothing can be told from them.
        """
        hole = holes.region_union(face, parameters["regions"], parameters["side"], parameters["dilation"], hw)
        everywhere = np.ones(hw, np.bool_)
        return masks.fill_pinholes(hole.astype(np.uint8) * np.uint8(255), inside=everywhere) > 0

    def hole_of(self, job: Job) -> Mask:
        """Return the hole of one job, bool H×W of its target."""
        return self.hole(job.target_face, job.parameters, (job.target.shape[0], job.target.shape[1]))

    def _sayable(self, face: Face) -> list[str]:
        known = set(regions.sayable_of(face)) & set(self.declaration.regions)
        words = [word for word in self.region_pool if word in known]
        if not words:
            raise Rejected("region_unavailable", f"{face.scheme} can say none of {', '.join(self.region_pool)}")
        return words

    def _share(self, small: Face, plan: Mapping[str, Any]) -> float:
        """What share of the face a planned hole takes."""
        face = regions.fill([regions.oval(small)], holes.sketch_hw())
        return float(np.count_nonzero(self.hole(small, plan, holes.sketch_hw())) / max(np.count_nonzero(face), 1))
