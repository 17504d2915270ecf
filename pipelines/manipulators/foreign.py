"""What every manipulator that calls a program of others shares: its options, its digests, how often it may fail."""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import regions, weights
from mmtt.errors import Rejected, UserError
from mmtt.faces import Face
from mmtt.ids import digest
from mmtt.images import Rgb
from mmtt.licences import Licence
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.regions import Mask
from mmtt.weights import Weights

from . import programs, work_folder
from .programs import Outcome

T = TypeVar("T")
# Patience decides no byte: a longer one must not forge anything anew.
Seconds = Annotated[float, Field(gt=0, le=86_400, exclude=True)]

IN_PRIVATE = "what it said is in private/"
_LAST_WORDS = 600  # characters of what a program said that the one error repeats
_streaks: dict[str, tuple[int | None, int]] = {}


class Foreign(Manipulator):
    """A manipulator whose pixels come from a program in an environment of its own."""

    program: str
    """Folder of the program inside the folder of `MMTT_MODELS`; may be a link."""
    python: str = ".venv/bin/python"
    """What runs it: a path inside that folder, or a command on PATH."""
    weights: tuple[str, ...] = ()
    """Files or folders of weights, by path inside the program's folder; they get a digest of their own."""
    ignored: tuple[str, ...] = ()
    """What else is no code (output, examples), by path inside the program's folder."""
    code_licence: Licence
    """SPDX id, or `LicenseRef-…` where SPDX lists none."""
    weights_licence: Licence | None = None
    """The same for the weights; may be left out where there are none."""
    timeout_s: Seconds = 300
    """How long a call may take to start …"""
    seconds_per_item: Seconds = 60
    """… and for each picture on top, before it is killed."""
    retries: Annotated[int, Field(ge=0, le=10, exclude=True)] = 1
    """How often a call that crashed or took too long is tried again."""
    give_up_after: Annotated[int, Field(ge=1, exclude=True)] = 12
    """After so many failures in a row that look alike the run ends with one clear error."""
    side_px: Annotated[int, Field(ge=64, le=4096)] | None = None
    """Side at which pictures are handed over; by default their own."""
    keep_raw: bool = False
    """Keep the program's own picture, before the composite, with each record."""
    deterministic: bool = False
    """Whether the same job gives the same bytes, alone and in any batch; few programs on a GPU can say so."""

    origin: ClassVar[str] = "wherever you chose it"
    told: ClassVar[tuple[str, ...]] = ("python", "side_px")
    """Options that decide the picture and are in no digest of the declaration: every plan holds them."""

    @cached_property
    def home(self) -> Path:
        """The program's folder.

        Raises:
            UserError: absent.
        """
        return programs.folder_of(self.program, self.code_licence, self.origin)

    def brought(self) -> Sequence[Weights]:
        """What the user must have put into the program's folder, by path inside it."""
        return [Weights(path, self.weights_licence or "", self.origin) for path in self.weights]

    def declare(self) -> Declaration:
        """Return the declaration with the digests of code and weights; read once for each instance.

        Raises:
            UserError: program, interpreter or weights are absent.
        """
        return self._declared

    @cached_property
    def _declared(self) -> Declaration:
        programs.executable(self.home, self.python)
        brought = [weight._replace(path=f"{self.program}/{weight.path}") for weight in self.brought()]
        digests = [[weight.path, weights.sha256(weights.require(weight))] for weight in brought]
        return self._family()._replace(
            deterministic=self.deterministic,
            code_licence=self.code_licence,
            code_sha256=programs.code_sha256(self.home, (*self.ignored, *(w.path for w in self.brought()))),
            weights_licence=self.weights_licence if digests else None,
            weights_sha256=_one(digests),
        )

    def _family(self) -> Declaration:
        """The declaration with what else the options decide."""
        return self.declaration

    def settings(self) -> dict[str, Any]:
        """Return what every plan holds of the options, as JSON: all that decides a call."""
        return self.model_dump(mode="json", include=set(self.told))

    def run(self, fill: Callable[[Path], list[str]], take: Callable[[Path], T], items: int) -> tuple[T, Outcome]:
        """Call the program in a fresh folder, again if it fails; return what `take` reads there, and how it ended.

        Args:
            fill: writes the inputs into the folder and returns the program's arguments.
            take: reads the outputs, before the folder vanishes.
            items: how many pictures the call is for.

        Raises:
            Rejected: `program_failed`, or as `take` refuses the output.
            UserError: too many failures that look alike, one after the other.
        """
        runner = str(programs.executable(self.home, self.python))
        patience = self.timeout_s + self.seconds_per_item * items
        for _ in range(self.retries + 1):
            with work_folder.fresh() as folder:
                outcome = programs.call([runner, *fill(folder)], self.home, folder, patience)
                if outcome.code == 0:
                    return self._taken(take, folder, outcome), outcome
        self._count(outcome)
        raise Rejected("program_failed", f"{outcome.sentence()}; {IN_PRIVATE}", log=log(outcome))

    def _taken(self, take: Callable[[Path], T], folder: Path, outcome: Outcome) -> T:
        try:
            taken = take(folder)
        except Rejected as reason:
            self._count(outcome)
            raise refused(reason, outcome) from reason
        _streaks.pop(self._key, None)
        return taken

    @cached_property
    def _key(self) -> str:
        return digest(self.model_dump())

    def _count(self, outcome: Outcome) -> None:
        """Note a failure; a program that was never set up well must not fail ten thousand times in silence."""
        code, times = _streaks.pop(self._key, (outcome.code, 0))
        times = times + 1 if code == outcome.code else 1
        if times >= self.give_up_after:
            raise UserError(
                f"'{self.program}' failed {times} times in a row ({outcome.sentence()}; {_end(outcome)}). "
                f"Run it by hand in {self.home} and mend it, or raise `give_up_after`."
            )
        _streaks[self._key] = outcome.code, times


def _one(digests: Sequence[list[str]]) -> str | None:
    """One digest for all weights; of a single file its own, which others may know."""
    return digests[0][1] if len(digests) == 1 else digest(digests) if digests else None


def _end(outcome: Outcome) -> str:
    return f"it said at last: {outcome.said[-_LAST_WORDS:]}" if outcome.said else "it said nothing"


def log(outcome: Outcome, more: str = "") -> str:
    """Return the private note about one item: how the call ended, what it printed, what it said of the item."""
    return "\n".join(filter(None, (f"{outcome.sentence()} after {outcome.seconds:.1f} s", outcome.said, more)))


def refused(reason: Rejected, outcome: Outcome, more: str = "") -> Rejected:
    """Return the rejection of an item with what the program said as its private note.

    Those words hold times, addresses and paths: in `detail` they would make a shard another one in each run.
    """
    words = log(outcome, "\n".join(filter(None, (reason.log, more))))
    return Rejected(reason.code, f"{reason.detail} ({outcome.sentence()}; {IN_PRIVATE})", log=words)


def settled(results: Sequence[Edit | Rejected]) -> list[Edit | Rejected]:
    """Return the results of a batch; items that failed are rejections among them, a single one is raised."""
    if len(results) == 1 and isinstance(results[0], Rejected):
        raise results[0]
    return list(results)


def seed_of(job: Job) -> int:
    """Return the seed of a job, 0 to 2³¹ − 1; the job's generator is left where it was, for the next attempt."""
    return int(copy.deepcopy(job.rng).integers(2**31))


def handed(image: Rgb, side_px: int | None) -> Rgb:
    """Return a picture (RGB uint8 H×W×3) as a program gets it: a square of that side."""
    if side_px is None or image.shape[:2] == (side_px, side_px):
        return image
    shrinks = side_px < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=how), np.uint8)


def handed_area(area: Mask, side_px: int) -> Mask:
    """Return an area (bool H×W) at another size; a pixel of which it holds any part belongs to it."""
    if area.shape == (side_px, side_px):
        return area
    if side_px > area.shape[0]:
        return cv2.resize(area.astype(np.uint8), (side_px, side_px), interpolation=cv2.INTER_NEAREST) > 0
    return cv2.resize(area.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_AREA) > 0


def returned(given: Rgb, sent: Rgb, target: Rgb) -> Rgb:
    """Bring what a program gave back (RGB uint8, as `sent`) to the target's size.

    A pixel that the program left as it was sent is the target's own, bit for bit: enlarging and shrinking would
    otherwise change the whole frame a little, and the mask would tell of an edit where there was none.
    """
    hw = target.shape[0], target.shape[1]
    if given.shape == target.shape:
        return given
    touched = (given != sent).any(axis=2)
    shrinks = hw[0] < given.shape[0]
    if not shrinks:  # cubic kernels reach two pixels far
        touched = cv2.dilate(touched.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    image = cv2.resize(given, hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.where(handed_area(touched, hw[0])[..., None], image, target)


def outline_alpha(face: Face, hw: tuple[int, int], feather: float) -> npt.NDArray[np.float32]:
    """Return alpha, float32 H×W, of the face inside its outline: 0 at the edge, 1 from `feather` inwards.

    `feather` is in interocular distances.
    """
    inside = np.pad(regions.fill([regions.oval(face)], hw), 1).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.clip(depth / max(feather * face.interocular, 1.0), 0, 1).astype(np.float32)


def raw_of(given: Rgb, keep: bool) -> dict[str, Any]:
    """Return the field `raw` of an edit, where the recipe keeps it."""
    return {"raw": given} if keep else {}
