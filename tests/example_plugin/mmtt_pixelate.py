"""A manipulator for MMTT: replaces a part of a face by coarse blocks. Copy it to write one of your own."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule


class Pixelate(Manipulator):
    """Replace eyes, nose or mouth by coarse blocks."""

    blocks: Annotated[int, Field(ge=2, le=64)] = 6
    """How many blocks the distance between the eyes has."""

    declaration: ClassVar[Declaration] = Declaration(
        name="pixelate",
        version="1.0.0",
        family="retouch",
        mask_rule=MaskRule.BLEND,
        regions=("eye", "nose", "mouth"),
        summary="Replaces eyes, nose or mouth by coarse blocks.",
    )

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw a region; what is decided here, in plain numbers and words, is all that `render` may follow."""
        known = [word for word in self.declaration.regions if word in regions.sayable(target.scheme)]
        if not known:
            raise Rejected("region_unavailable", f"{target.scheme} outlines no eyes, nose or mouth")
        block_px = max(2, round(target.interocular / self.blocks))
        return {"regions": [str(rng.choice(known))], "block_px": block_px}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Forge each job by itself: the batch's size must not change a byte."""
        return [_pixelated(job) for job in batch]


def _pixelated(job: Job) -> Edit:
    height, width = job.target.shape[:2]
    block_px = job.parameters["block_px"]
    coarse = (max(1, width // block_px), max(1, height // block_px))
    small = cv2.resize(job.target, coarse, interpolation=cv2.INTER_AREA)
    area = regions.union_mask(job.target_face, job.parameters["regions"], (height, width))
    # The toolkit blends with alpha and derives the mask; where alpha is 0 the target stays as it is.
    alpha = cv2.GaussianBlur(area.astype(np.float32), (0, 0), 1.5)
    return Edit(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), alpha)
