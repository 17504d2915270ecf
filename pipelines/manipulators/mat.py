"""MAT as the paper used it: holes filled by a mask-aware transformer, called in the user's own checkout.

Li et al., "MAT: Mask-aware transformer for large hole image inpainting", 2022 (https://github.com/fenglinglwb/MAT).
How to set it up, and its traps: `COMMAND.md`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Gray
from mmtt.licences import Licence
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.regions import Mask
from mmtt.weights import Weights

from . import work_folder
from .foreign import Foreign, handed, handed_area, log, raw_of, refused, returned, settled
from .programs import Outcome
from .region_holes import WORDS, RegionHoles


class Mat(Foreign, RegionHoles):
    """Take regions out of a face and let MAT fill the hole: a whole batch in one process."""

    declaration: ClassVar[Declaration] = Declaration(
        name="mat",
        version="1.0.0",
        family="transformer_inpainting",
        mask_rule=MaskRule.HOLE,
        regions=WORDS,
        summary="Regions of the face filled by a mask-aware transformer (MAT, in your own checkout and environment).",
        deterministic=False,
        code_licence="CC-BY-NC-4.0",
        weights_licence="CC-BY-NC-4.0",
    )
    origin: ClassVar[str] = "https://github.com/fenglinglwb/MAT"
    told: ClassVar[tuple[str, ...]] = (*Foreign.told, "network", "resolution", "truncation", "alone")

    program: str = "mat"
    code_licence: Licence = "CC-BY-NC-4.0"
    weights_licence: Licence | None = "CC-BY-NC-4.0"
    ignored: tuple[str, ...] = ("pretrained", "samples", "test_sets", "figures")
    network: str = "pretrained/CelebA-HQ.pkl"
    """The network, a pickle: it is opened in the program's environment, never in ours."""
    resolution: Literal[256, 512] = 512
    """For which size the network was trained."""
    side_px: Annotated[int, Field(ge=256, le=4096)] = 512
    """Side at which pictures are handed over, a multiple of `resolution`."""
    truncation: Annotated[float, Field(ge=0, le=1)] = 1.0
    """MAT's `--trunc`."""
    alone: bool = False
    """One process for each picture: MAT draws its noise in order, so a picture's neighbours have a say otherwise."""

    @model_validator(mode="after")
    def _whole_multiple(self) -> Self:
        if self.side_px % self.resolution:
            raise ValueError(f"side_px {self.side_px} is no multiple of resolution {self.resolution}, as MAT needs it")
        return self

    def brought(self) -> Sequence[Weights]:
        """The network, and what the recipe names besides."""
        link = "the OneDrive link in MAT's README"
        return [Weights(self.network, self.weights_licence or "", link), *super().brought()]

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hole."""
        return {**self.plan_hole(target, rng), **self.settings()}

    def render(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        """Fill the holes of a batch in one process, or each alone.

        Raises:
            Rejected: the call failed, or the only job did; of several jobs, failed ones are returned as rejections.
        """
        if self.alone and len(batch) > 1:
            return [self._attempt(job) for job in batch]
        return settled(self._fill_all(batch))

    def _attempt(self, job: Job) -> Edit | Rejected:
        try:
            return self._fill_all([job])[0]
        except Rejected as reason:
            return reason

    def _fill_all(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        holes = [self.hole_of(job) for job in batch]
        # MAT pairs images with masks by the sorted order of two folders: equal names are the only safe ones.
        names = [f"{number:06d}.png" for number in range(len(batch))]

        def fill(folder: Path) -> list[str]:
            (folder / "outputs").mkdir()
            for name, job, hole in zip(names, batch, holes, strict=True):
                work_folder.put(folder, f"images/{name}", handed(job.target, self.side_px))
                work_folder.put(folder, f"masks/{name}", _for_mat(hole, self.side_px))
            paths = {"dpath": folder / "images", "mpath": folder / "masks", "outdir": folder / "outputs"}
            places = [part for flag, path in paths.items() for part in (f"--{flag}", str(path))]
            return ["generate_image.py", "--network", self.network, *places, *self._flags()]

        def take(folder: Path) -> dict[str, bytes]:
            found = work_folder.collect(folder / "outputs", names)
            if not found:
                raise Rejected("no_output", "MAT ended well but wrote no picture")
            return found

        found, outcome = self.run(fill, take, len(batch))
        items = zip(names, batch, holes, strict=True)
        return [self._edit(job, hole, name, found.get(name), outcome) for name, job, hole in items]

    def _flags(self) -> list[str]:
        return ["--resolution", str(self.resolution), "--trunc", f"{self.truncation:g}", "--noise-mode", "const"]

    def _edit(self, job: Job, hole: Mask, name: str, data: bytes | None, outcome: Outcome) -> Edit | Rejected:
        try:
            if data is None:
                raise Rejected("no_output", f"MAT wrote no {name}")
            given = work_folder.read_rgb(data, name, (self.side_px, self.side_px))
        except Rejected as reason:
            return refused(reason, outcome)
        image = returned(given, handed(job.target, self.side_px), job.target)
        return Edit(image, hole.astype(np.float32), hole, log=log(outcome), **raw_of(given, self.keep_raw))


def _for_mat(hole: Mask, side_px: int) -> Gray:
    """MAT's mask is the reverse of ours, 0 in the hole and 255 around it; grey would be a half-hole."""
    return np.where(handed_area(hole, side_px), 0, 255).astype(np.uint8)
