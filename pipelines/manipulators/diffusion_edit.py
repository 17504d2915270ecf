"""Attribute edits by instruction: "make the person look surprised", followed by a diffusion model.

Brooks et al., "InstructPix2Pix: Learning to follow image editing instructions", 2023, as `diffusers` runs it.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from mmtt import regions
from mmtt.errors import Rejected, did_you_mean
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.regions import REGIONS, Mask
from mmtt.settings import Section

from . import holes
from .diffusion import Diffusion, Text, side_of
from .diffusion_pipes import Ask, Kind
from .foreign import handed, raw_of, returned, seed_of, settled
from .prompts import EDITS, Attribute, draw
from .region_holes import Growth

Word = Literal[REGIONS]


class Instruction(Section):
    """An instruction of the recipe's own: what attribute it changes, in which words, and the regions concerned."""

    attribute: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    text: Text
    regions: Annotated[tuple[Word, ...], Field(min_length=1)]


class DiffusionEdit(Diffusion):
    """Change an attribute of a face by an instruction.

    A model that redraws the whole frame changes every pixel a little, even when it is asked for nothing. Under
    `frame: full` the mask is where it changed more than that: `Edit.null` is the same call (seed, steps, guidance of
    the picture) with no instruction at all. Under `frame: regions` only what the attribute concerns is taken, by a
    soft alpha, and the mask is exact.
    """

    declaration: ClassVar[Declaration] = Declaration(
        name="diffusion_edit",
        version="1.0.0",
        family="attribute_edit",
        mask_rule=MaskRule.NULL_EDIT,
        regions=tuple(word for word in REGIONS if any(word in edit.regions for edit in EDITS.values())),
        summary="Expressions, age, hair and what is worn, changed by a diffusion model after an instruction.",
    )
    kind: ClassVar[Kind] = Kind(
        "StableDiffusionInstructPix2PixPipeline", ("StableDiffusionInstructPix2PixPipeline",), (8,)
    )
    keywords: ClassVar[Mapping[str, str]] = MappingProxyType({
        "steps": "num_inference_steps", "guidance": "guidance_scale", "image_guidance": "image_guidance_scale",
    })  # fmt: skip

    attributes: tuple[str, ...] = tuple(EDITS)
    """Reviewed attributes to draw from."""
    instructions: tuple[Instruction, ...] = ()
    """The recipe's own, drawn from beside them."""
    frame: Literal["full", "regions"] = "full"
    """Take the whole frame, or only the regions that the attribute concerns."""
    image_guidance: Annotated[float, Field(ge=1, le=50)] = 1.5
    """How closely to keep to the picture."""
    dilation: Growth = 0.12
    """By how much those regions are grown, in interocular distances."""
    feather: Growth = 0.12
    """Over what width alpha falls from 1 to 0 beyond them, in interocular distances."""

    @field_validator("attributes")
    @classmethod
    def _known_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in EDITS:
                raise ValueError(f"there is no attribute '{name}'.{did_you_mean(name, EDITS)}".rstrip("."))
        return value

    @model_validator(mode="after")
    def _some_attribute(self) -> Self:
        if not self.attributes and not self.instructions:
            raise ValueError("name some attributes, or instructions of your own")
        return self

    def family(self) -> Declaration:
        """Composited on the regions only, the mask follows from alpha."""
        own = {word for instruction in self.instructions for word in instruction.regions}
        rule = MaskRule.BLEND if self.frame == "regions" else MaskRule.NULL_EDIT
        words = tuple(word for word in REGIONS if word in own or word in self.declaration.regions)
        return self.declaration._replace(mask_rule=rule, regions=words)

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw an attribute of which the face can say where it is, and words for it.

        Raises:
            Rejected: `region_unavailable`, when that is none (hair is only outlined by a parsing).
        """
        holes.sketch(target)  # refuses a face that is too small
        sayable = set(regions.sayable_of(target))
        pool = [(name, edit) for name, edit in self._pool() if sayable & set(edit.regions)]
        if not pool:
            raise Rejected("region_unavailable", f"{target.scheme} can say where none of the attributes is")
        name, edit = pool[int(rng.integers(len(pool)))]
        return {
            "regions": list(edit.regions),
            "attribute": name,
            "prompt": draw(edit.instructions, rng),
            "frame": self.frame,
            "dilation": self.dilation,
            "feather": self.feather,
            **self.settings(),
        }

    def _pool(self) -> list[tuple[str, Attribute]]:
        own = [(each.attribute, Attribute((each.text,), each.regions)) for each in self.instructions]
        return [*((name, EDITS[name]) for name in self.attributes), *own]

    def render(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        """Follow the instruction of each job; full frames also get what the model does without one.

        Raises:
            Rejected: the only job failed; of several jobs, failed ones are returned as rejections.
        """
        full = self.frame == "full"
        asks = [_ask(job) for job in batch]
        # Asked for nothing: neither what to do nor what to avoid.
        nothing = [ask._replace(prompt="", negative_prompt="") for ask in asks] if full else []
        made = self.make([*batch, *batch[: len(nothing)]], [*asks, *nothing])
        nulls = made[len(batch) :] if full else [None] * len(batch)
        return settled([self._edit(*each) for each in zip(batch, made[: len(batch)], nulls, strict=True)])

    def _edit(self, job: Job, picture: Rgb | Rejected, null: Rgb | Rejected | None) -> Edit | Rejected:
        for given in (picture, null):
            if isinstance(given, Rejected):
                return given
        sent = handed(job.target, side_of(job))
        image, intent = returned(picture, sent, job.target), _intent(job)
        raw = raw_of(picture, self.keep_raw)
        if null is None:
            return Edit(image, _soft(intent, job), intent=intent, **raw)
        alpha = np.ones(intent.shape, np.float32)
        return Edit(image, alpha, null=returned(null, sent, job.target), intent=intent, **raw)


def _ask(job: Job) -> Ask:
    told = job.parameters
    return Ask(handed(job.target, side_of(job)), told["prompt"], told["negative_prompt"], seed_of(job))


def _intent(job: Job) -> Mask:
    """Where the attribute is, bool H×W; of words without an outline, the others that go with them."""
    told, hw = job.parameters, (job.target.shape[0], job.target.shape[1])
    return holes.region_union(job.target_face, told["regions"], "both", told["dilation"], hw)


def _soft(area: Mask, job: Job) -> npt.NDArray[np.float32]:
    """Alpha, float32 H×W: 1 in the area, falling to 0 over the feather's width around it."""
    if not area.any():
        return area.astype(np.float32)
    width = max(job.parameters["feather"] * job.target_face.interocular, 1.0)
    away = cv2.distanceTransform((~area).astype(np.uint8), cv2.DIST_L2, 5)
    return np.clip(1 - away / np.float32(width), 0, 1).astype(np.float32)
