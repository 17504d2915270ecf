"""Diffusion inpainting: regions of the face taken out, and what stands in a prompt painted into the hole.

Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022, as `diffusers` runs it.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule

from .diffusion import Diffusion, Text, side_of
from .diffusion_pipes import Ask, Kind
from .foreign import handed, handed_area, raw_of, returned, seed_of, settled
from .prompts import describe, draw
from .region_holes import WORDS, RegionHoles


class DiffusionInpaint(Diffusion, RegionHoles):
    """Fill holes with what a diffusion model paints.

    Its autoencoder changes every pixel of the picture; only those of the hole are taken.
    """

    declaration: ClassVar[Declaration] = Declaration(
        name="diffusion_inpaint",
        version="1.0.0",
        family="diffusion_inpainting",
        mask_rule=MaskRule.HOLE,
        regions=WORDS,
        summary="Regions of the face repainted by a diffusion model after a prompt (weights of your own).",
    )
    kind: ClassVar[Kind] = Kind(
        "StableDiffusionInpaintPipeline", ("StableDiffusionInpaintPipeline", "StableDiffusionPipeline"), (9, 4)
    )
    keywords: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"steps": "num_inference_steps", "guidance": "guidance_scale", "strength": "strength"}
    )

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How much noise what was in the hole is buried under, 0–1; at 1 nothing of it is left."""
    prompts: tuple[Text, ...] = ()
    """The recipe's own prompts, of which one is drawn whatever the regions; by default the reviewed ones."""

    @model_validator(mode="after")
    def _some_step(self) -> Self:
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"strength {self.strength:g} of {self.steps} steps leaves no step to take")
        return self

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hole and the prompt."""
        hole = self.plan_hole(target, rng)
        prompt = draw(self.prompts, rng) if self.prompts else describe(hole["regions"], rng)
        return {**hole, "prompt": prompt, **self.settings()}

    def render(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        """Fill the hole of each job; alpha is 1 in it and 0 elsewhere.

        Raises:
            Rejected: the only job failed; of several jobs, failed ones are returned as rejections.
        """
        made = self.make(batch, [self._ask(job) for job in batch])
        return settled([self._edit(job, picture) for job, picture in zip(batch, made, strict=True)])

    def _ask(self, job: Job) -> Ask:
        side, told = side_of(job), job.parameters
        hole = handed_area(self.hole_of(job), side)
        return Ask(handed(job.target, side), told["prompt"], told["negative_prompt"], seed_of(job), hole)

    def _edit(self, job: Job, picture: Rgb | Rejected) -> Edit | Rejected:
        if isinstance(picture, Rejected):
            return picture
        hole = self.hole_of(job)
        image = returned(picture, handed(job.target, side_of(job)), job.target)
        return Edit(image, hole.astype(np.float32), hole, **raw_of(picture, self.keep_raw))
