"""E4S as the paper used it: face swaps by regional GAN inversion, called in the user's own checkout.

Liu et al., "Fine-grained face swapping via regional GAN inversion", 2023 (https://github.com/e4s2022/e4s). How to
set it up, and its traps: `COMMAND.md`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Gray, Rgb
from mmtt.licences import Licence
from mmtt.manipulator import Declaration, Edit, Job
from mmtt.masks import MaskRule
from mmtt.parsing import label_mask
from mmtt.weights import Weights

from . import work_folder
from .foreign import Foreign, Seconds, handed, log, outline_alpha, raw_of, returned, settled

SIDE_PX = 1024  # E4S resizes everything else to it, and answers in it
PARSING_PX = 512  # a label map of another size fails where E4S joins it with its own
DILATION = 5  # in pixels of the label map, as E4S dilates what it pastes
# E4S pastes all but these; hat, necklace and clothes are background to it.
_KEPT = ("background", "hair", "hat", "ear_r", "neck_l", "cloth")

_CHECKPOINTS = "pretrained_ckpts"
_GPEN = "its pretrained_ckpts/gpen/fetch_gpen_models.sh"
_BROUGHT = {
    "e4s/iteration_300000.pt": "the Google Drive link in E4S' INSTALLATION.md, 1.2",
    "facevid2vid/00000189-checkpoint.pth.tar": "the folder Vox-256-New linked in E4S' INSTALLATION.md, 1.3.2",
    "facevid2vid/vox-256.yaml": "the folder Vox-256-New linked in E4S' INSTALLATION.md, 1.3.2",
    "gpen/weights/GPEN-BFR-512.pth": _GPEN,
    "gpen/weights/ParseNet-latest.pth": _GPEN,
    "gpen/weights/RetinaFace-R50.pth": _GPEN,
    "gpen/weights/realesrnet_x4.pth": _GPEN,
}
_PARSERS = {
    "default": ("face_parsing/79999_iter.pth", "the face-parsing.PyTorch link in E4S' INSTALLATION.md, 1.3.1"),
    "segnext": ("face_parsing/segnext.small.best_mIoU_iter_140000.pth", "E4S' INSTALLATION.md, 1.3.1 (small)"),
}
_REGIONS = ("eye", "pupil", "lip", "mouth", "nose", "ear", "cheek", "forehead", "chin", "jaw", "eyebrow", "skin")


class E4s(Foreign):
    """Swap faces with E4S: one process for each pair, because its script takes one pair."""

    declaration: ClassVar[Declaration] = Declaration(
        name="e4s",
        version="1.0.0",
        family="face_swap",
        mask_rule=MaskRule.BLEND,
        regions=_REGIONS,
        summary="Another person's face by regional GAN inversion (E4S, in your own checkout and environment).",
        needs_source=True,
        deterministic=False,
        code_licence="MIT",
        weights_licence="LicenseRef-E4S-weights",
    )
    origin: ClassVar[str] = "https://github.com/e4s2022/e4s"
    told: ClassVar[tuple[str, ...]] = (*Foreign.told, "blending", "face_parser", "hand_parsing", "feather")

    program: str = "e4s"
    code_licence: Licence = "MIT"
    weights_licence: Licence | None = "LicenseRef-E4S-weights"
    ignored: tuple[str, ...] = (_CHECKPOINTS, "example", "data")
    timeout_s: Seconds = 600
    side_px: Literal[1024] = SIDE_PX
    blending: Literal["multiband", "soft"] = "multiband"
    """How E4S itself blends its face into the target; its authors recommend `multiband` (`--lap_bld`)."""
    face_parser: Literal["default", "segnext"] = "default"
    """Which face parser E4S loads."""
    hand_parsing: bool = True
    """Give E4S the target's label map where the face was parsed at ingest; else E4S parses it."""
    feather: Annotated[float, Field(ge=0.02, le=0.5)] = 0.15
    """Where the face was not parsed: width of the soft edge inside its outline, in interocular distances."""

    def brought(self) -> Sequence[Weights]:
        """The checkpoints that E4S loads, and what the recipe names besides."""
        places = [*_BROUGHT.items(), _PARSERS[self.face_parser]]
        licence = self.weights_licence or ""
        known = [Weights(f"{_CHECKPOINTS}/{path}", licence, origin) for path, origin in places]
        return [*known, *super().brought()]

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Nothing is drawn: E4S has no choices to make."""
        if source is None:
            raise Rejected("no_source", "a face swap needs a second face")
        return {"regions": [word for word in regions.sayable_of(target) if word in _REGIONS], **self.settings()}

    def render(self, batch: Sequence[Job]) -> list[Edit | Rejected]:
        """Forge every pair in a process of its own.

        Raises:
            Rejected: the only job of the batch failed; of several, the failed ones are returned as rejections.
        """
        return settled([self._attempt(job) for job in batch])

    def _attempt(self, job: Job) -> Edit | Rejected:
        try:
            return self._swap(job)
        except Rejected as reason:
            return reason

    def _swap(self, job: Job) -> Edit:
        if job.source is None:
            raise Rejected("no_source", "a face swap needs a second face")
        target, source = handed(job.target, SIDE_PX), handed(job.source, SIDE_PX)
        parsing, told = job.target_face.parsing, job.parameters

        def fill(folder: Path) -> list[str]:
            out = folder / "outputs"
            out.mkdir()
            paths = [work_folder.put(folder, f"{name}.png", image) for name, image in
                     (("source", source), ("target", target))]  # fmt: skip
            args = ["scripts/face_swap.py", "--source", str(paths[0]), "--target", str(paths[1])]
            if parsing is not None and told["hand_parsing"]:
                args += ["--target_mask", str(work_folder.put(folder, "target_mask.png", _for_e4s(parsing)))]
            return [*args, *_flags(told), "--output_dir", str(out)]

        given, outcome = self.run(fill, _take, 1)
        hw = job.target.shape[0], job.target.shape[1]
        alpha = outline_alpha(job.target_face, hw, told["feather"]) if parsing is None else parsed_alpha(parsing)
        image = returned(given, target, job.target)
        return Edit(image, alpha, log=log(outcome), **raw_of(given, self.keep_raw))


def _flags(told: Mapping[str, Any]) -> list[str]:
    """Only what differs from E4S' defaults: older checkouts know no `--faceParser_name`."""
    parser = [] if told["face_parser"] == "default" else ["--faceParser_name", told["face_parser"]]
    return [*(["--lap_bld"] if told["blending"] == "multiband" else []), *parser]


def _for_e4s(parsing: Gray) -> Gray:
    return np.asarray(cv2.resize(parsing, (PARSING_PX, PARSING_PX), interpolation=cv2.INTER_NEAREST), np.uint8)


def _take(folder: Path) -> Rgb:
    """E4S names its picture after both of its inputs, and writes RGBA unless it blends with `--lap_bld`."""
    name = "swap_source_to_target.png"
    found = work_folder.collect(folder / "outputs", (name,))
    if not found:
        raise Rejected("no_output", "E4S ended well but wrote no picture")
    return work_folder.read_rgb(found[name], name, (SIDE_PX, SIDE_PX))


def parsed_alpha(parsing: Gray) -> npt.NDArray[np.float32]:
    """Return alpha, float32 H×W, of what E4S pastes by a label map (uint8 H×W, numbers of `mmtt.parsing`).

    1 on all classes that E4S swaps, falling to 0 at its dilation radius.
    """
    swapped = ~label_mask(parsing, *_KEPT)
    away = cv2.distanceTransform((~swapped).astype(np.uint8), cv2.DIST_L2, 5)
    reach = DILATION * parsing.shape[0] / PARSING_PX
    return np.clip(1 - away / (reach + 1), 0, 1).astype(np.float32)
