"""What both diffusion manipulators share: their options, their digests, and how a batch is put to the pipeline."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from mmtt import weights
from mmtt.errors import Rejected
from mmtt.images import Rgb
from mmtt.licences import Licence
from mmtt.manipulator import Declaration, Job, Manipulator
from mmtt.recipe import Sha256

from .diffusion_pipes import GRID_PX, Ask, Kind, Precision, Scheduler, Source, check_folder, located, pictures
from .prompts import NEGATIVE

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Diffusion(Manipulator):
    """Base of manipulators that ask a diffusion pipeline."""

    kind: ClassVar[Kind]
    keywords: ClassVar[Mapping[str, str]]
    """Options that each call is told, and what the pipeline calls them."""

    model: Text
    """The pipeline's folder inside that of `MMTT_MODELS`, or `hub:OWNER/NAME@REVISION` out of the Hub's local cache."""
    weights_licence: Licence
    """SPDX id, the name of an OpenRAIL licence, or `LicenseRef-…`."""
    sha256: Annotated[Sha256 | None, Field(exclude=True)] = None
    """Digest of the folder as records show it (`weights_sha256`), to accept no other bytes."""
    variant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    """Which of several sets of weights in the folder, `fp16` for one."""
    precision: Precision = "float32"
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    """Denoising steps."""
    guidance: Annotated[float, Field(ge=1, le=50)] = 7.5
    """How closely to follow the prompt; 1 is without classifier-free guidance (Ho and Salimans, 2022)."""
    negative_prompt: Annotated[str, Field(max_length=500)] = NEGATIVE
    scheduler: Scheduler = "own"
    """The sampler; by default the one that the pipeline was saved with."""
    size_px: Annotated[int, Field(ge=64, le=2048, multiple_of=GRID_PX)] | None = None
    """Side at which the model works, best the one it was trained at; by default the target's."""
    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    """How many pictures a call always computes; short batches are filled up, so that shapes never vary."""
    deterministic: bool = True
    """The same bytes each time, on a CPU or on the same kind of GPU (there slower); needs a batch_size of 1."""
    keep_raw: bool = False
    """Keep the pipeline's own picture, before the composite, with each record."""

    @model_validator(mode="after")
    def _no_neighbours(self) -> Self:
        # Measured on a CPU with one thread: its place in a batch changes the last bits of a picture.
        if self.deterministic and self.batch_size > 1:
            raise ValueError(f"batch_size {self.batch_size} needs deterministic: false, since neighbours have a say")
        return self

    def declare(self) -> Declaration:
        """Return the declaration with the digest and licence of the weights; read once for each instance.

        Raises:
            UserError: the folder is absent, other than pinned, or no pipeline of this kind in safetensors.
        """
        return self._declared

    @cached_property
    def _declared(self) -> Declaration:
        return self.family()._replace(
            deterministic=self.deterministic,
            weights_licence=self.weights_licence,
            weights_sha256=weights.sha256(self._folder),
        )

    def family(self) -> Declaration:
        """Return the declaration with what else the options decide."""
        return self.declaration

    @cached_property
    def _folder(self) -> Path:
        folder = located(self.model, self.weights_licence, self.sha256)
        check_folder(folder, self.kind)
        return folder

    def settings(self) -> dict[str, Any]:
        """Return what every plan holds of the options: all that decides a call."""
        names = (*self.keywords, "negative_prompt", "scheduler", "precision", "size_px", "batch_size")
        return {name: getattr(self, name) for name in names}

    def make(self, jobs: Sequence[Job], asks: Sequence[Ask]) -> list[Rgb | Rejected]:
        """Return what the pipeline makes of each job's ask, RGB uint8 S×S×3; it always computes whole batches.

        Raises:
            UserError: a prompt that the model would cut; weights that cannot be read; too little memory.
            MissingDependency: torch, diffusers or transformers is absent.
        """
        names, made = tuple(self.settings()), []
        pairs = [([job.parameters[name] for name in names], ask) for job, ask in zip(jobs, asks, strict=True)]
        for (told, _), alike in groupby(pairs, lambda pair: (pair[0], pair[1].image.shape)):
            made += self._in_batches([ask for _, ask in alike], dict(zip(names, told, strict=True)))
        return made

    def _in_batches(self, asks: Sequence[Ask], settings: Mapping[str, Any]) -> list[Rgb | Rejected]:
        source = Source(
            self._folder, str(self.declare().weights_sha256), self.kind, self.variant, settings["precision"]
        )
        told = {keyword: settings[name] for name, keyword in self.keywords.items()}
        made: list[Rgb | Rejected] = []
        for start in range(0, len(asks), settings["batch_size"]):
            batch = asks[start : start + settings["batch_size"]]
            full = [*batch, *[batch[-1]] * (settings["batch_size"] - len(batch))]
            found = pictures(source, full, settings["scheduler"], told, deterministic=self.deterministic)
            made += found[: len(batch)]
        return made


def side_of(job: Job) -> int:
    """Return the side, in pixels, of the square that a job's target is handed over as."""
    return int(job.parameters["size_px"] or -(-max(job.target.shape[:2]) // GRID_PX) * GRID_PX)
