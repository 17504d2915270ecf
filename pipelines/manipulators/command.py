"""Command: any program forges, in an environment of its own, driven by files. How to write one: `COMMAND.md`.

We write a folder with `job.json` and the pictures, call the program once for a batch, and read what it wrote by name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, field_validator, model_validator

from mmtt.errors import Rejected, did_you_mean
from mmtt.faces import Face
from mmtt.manipulator import FAMILIES, Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.regions import REGIONS, Mask

from . import work_folder
from .foreign import Foreign, handed, handed_area, log, outline_alpha, raw_of, refused, returned, seed_of, settled
from .programs import Outcome, readable
from .region_holes import RegionHoles

PROTOCOL = 1
_PLACES = ("job", "targets", "sources", "holes", "outputs")
_PLACE = re.compile(r"\{(\w+)\}")


class _Item(NamedTuple):
    """One job under its id, with what it hands over."""

    name: str
    job: Job
    hole: Mask | None


class Command(Foreign, RegionHoles):
    """Forge with a program of the user's choice; the toolkit composites what it returns."""

    declaration: ClassVar[Declaration] = Declaration(
        name="command",
        version="1.0.0",
        family="face_swap",
        mask_rule=MaskRule.BLEND,
        regions=REGIONS,
        summary="Any program in an environment of its own, called for a batch of files (see COMMAND.md).",
        deterministic=False,
        code_licence="LicenseRef-unknown",
    )

    told: ClassVar[tuple[str, ...]] = (*Foreign.told, "program", "args", "composite", "feather", "parameters")

    args: tuple[str, ...] = ("forge_batch.py", "{job}")
    """Arguments; {job}, {targets}, {sources}, {holes} and {outputs} become paths. No shell reads them."""
    family: Literal[FAMILIES]  # type: ignore[valid-type]
    """Which kind of forgery this is."""
    composite: Literal["alpha", "face", "hole"] = "alpha"
    """What is blended in: where the program's own alpha says, inside the face's outline, or in a hole that we plan."""
    needs_source: bool = False
    """Whether the program takes a second face."""
    regions: tuple[str, ...] = ("skin",)
    """Which of the 21 words are edited, unless `composite` is `hole`: then the plan says."""
    feather: Annotated[float, Field(ge=0.02, le=0.5)] = 0.15
    """For `face`: width of the soft edge inside the outline, in interocular distances."""
    parameters: dict[str, JsonValue] = Field(default={})
    """Handed on to the program as they are."""

    @field_validator("args")
    @classmethod
    def _known_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in _PLACE.findall(" ".join(value)):
            if word not in _PLACES:
                raise ValueError(f"{{{word}}} stands for nothing.{did_you_mean(word, _PLACES)}")
        return value

    @field_validator("regions")
    @classmethod
    def _known_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [word for word in value if word not in REGIONS]
        if unknown or not value:
            raise ValueError(f"name at least one of the 21 words.{did_you_mean((*unknown, '')[0], REGIONS)}")
        return value

    @model_validator(mode="after")
    def _licence_of_weights(self) -> Self:
        if self.weights and self.weights_licence is None:
            raise ValueError("weights are named, but not their `weights_licence`")
        return self

    def _family(self) -> Declaration:
        rule = MaskRule.HOLE if self._makes_holes else MaskRule.BLEND
        return self.declaration._replace(family=self.family, mask_rule=rule, needs_source=self.needs_source)

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hole, if one is asked for, and note what the program will be told."""
        if self.needs_source and source is None:
            raise Rejected("no_source", "this program needs a second face")
        area = self.plan_hole(target, rng) if self._makes_holes else {"regions": list(self.regions)}
        return {**area, **self.settings()}

    def render(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        """Forge a batch in one call of the program.

        Raises:
            Rejected: the call failed, or the only job did; of several jobs, failed ones are returned as rejections.
        """
        items = [
            _Item(f"{number:06d}", job, self.hole_of(job) if self._makes_holes else None)
            for number, job in enumerate(batch)
        ]

        def fill(folder: Path) -> list[str]:
            self._write(folder, items)
            return [_PLACE.sub(lambda found: str(_place(folder, found[1])), arg) for arg in self.args]

        def take(folder: Path) -> dict[str, bytes]:
            expected = {name for item in items for name in self._names(item).values()}
            found = work_folder.collect(folder / "outputs", expected)
            if not any(self._names(item)["image"] in found for item in items):
                raise Rejected("no_output", "the program ended well but wrote no picture")
            return found

        found, outcome = self.run(fill, take, len(items))
        return settled([self._edit(item, found, outcome) for item in items])

    @property
    def _makes_holes(self) -> bool:
        return self.composite == "hole"

    def _names(self, item: _Item) -> dict[str, str]:
        """The files that may come back for an item."""
        alpha = {"alpha": f"{item.name}.alpha.png"} if self.composite == "alpha" else {}
        return {"image": f"{item.name}.png", **alpha, "log": f"{item.name}.log.txt"}

    def _write(self, folder: Path, items: Sequence[_Item]) -> None:
        for place in ("targets", "sources", "holes", "outputs"):
            (folder / place).mkdir()
        told = {"protocol": PROTOCOL, "items": [self._put(folder, item) for item in items]}
        (folder / "job.json").write_text(json.dumps(told, indent=1), encoding="utf-8")

    def _put(self, folder: Path, item: _Item) -> dict[str, Any]:
        """Write the pictures of one item; return its entry in `job.json`."""
        job, name = item.job, f"{item.name}.png"
        work_folder.put(folder, f"targets/{name}", handed(job.target, job.parameters["side_px"]))
        if job.source is not None:
            work_folder.put(folder, f"sources/{name}", handed(job.source, job.parameters["side_px"]))
        if item.hole is not None:
            hole = handed_area(item.hole, _side(job))
            work_folder.put(folder, f"holes/{name}", hole.astype(np.uint8) * np.uint8(255))
        files = self._names(item)
        return {
            "id": item.name,
            "target": f"targets/{name}",
            "source": f"sources/{name}" if job.source is not None else None,
            "hole": f"holes/{name}" if item.hole is not None else None,
            "output": f"outputs/{files['image']}",
            "alpha": f"outputs/{files['alpha']}" if "alpha" in files else None,
            "log": f"outputs/{files['log']}",
            "regions": job.parameters["regions"],
            "target_points": _points(job.target_face, _side(job) / job.target.shape[0]),
            "source_points": _points(job.source_face, _side(job) / job.target.shape[0]),
            "parameters": job.parameters["parameters"],
            "seed": seed_of(job),
        }

    def _edit(self, item: _Item, found: Mapping[str, bytes], outcome: Outcome) -> Edit | Rejected:
        files, job = self._names(item), item.job
        said = readable(found.get(files["log"], b""))
        try:
            hw = (_side(job), _side(job))
            given = work_folder.read_rgb(_present(found, files["image"]), files["image"], hw)
            alpha = self._alpha(item, found, hw)
        except Rejected as reason:
            return refused(reason, outcome, said)
        image = returned(given, handed(job.target, job.parameters["side_px"]), job.target)
        return Edit(image, alpha, item.hole, log=log(outcome, said), **raw_of(given, self.keep_raw))

    def _alpha(self, item: _Item, found: Mapping[str, bytes], hw: tuple[int, int]) -> npt.NDArray[np.float32]:
        frame = item.job.target.shape[0], item.job.target.shape[1]
        if item.hole is not None:
            return item.hole.astype(np.float32)
        if self.composite == "face":
            return outline_alpha(item.job.target_face, frame, item.job.parameters["feather"])
        name = self._names(item)["alpha"]
        alpha = work_folder.read_gray(_present(found, name), name, hw).astype(np.float32) / 255
        return np.clip(cv2.resize(alpha, frame[::-1], interpolation=cv2.INTER_AREA), 0, 1) if hw != frame else alpha


def _side(job: Job) -> int:
    return int(job.parameters["side_px"] or job.target.shape[0])


def _place(folder: Path, word: str) -> Path:
    return folder / ("job.json" if word == "job" else word)


def _present(found: Mapping[str, bytes], name: str) -> bytes:
    if name not in found:
        raise Rejected("no_output", f"the program wrote no {name}")
    return found[name]


def _points(face: Face | None, scale: float) -> list[list[float]] | None:
    """Eyes, nose tip and mouth corners, x y in pixels of the picture that is handed over."""
    if face is None:
        return None
    return np.round((face.five_points + 0.5) * scale - 0.5, 2).tolist()
