"""Recolouring: lips, irises or the skin's tone move in CIELAB while shading and highlights stay."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from . import holes
from .retouch import Soft, likeness, smooth_step, soft_shape, soft_skin, to_lab

Floats = npt.NDArray[np.float32]
PartName = Literal["lips", "iris", "skin_tone"]

PUPIL = 0.42  # radius of the pupil, as a share of the iris


class Shift(NamedTuple):
    """What may be drawn for a part, and how.

    hue: degrees in the a–b plane. chroma: how far to go there. lightness: how much lighter, L*.
    alike: CIELAB distance at which a pixel is no longer of the part. gloss: L* from which a highlight is
    spared, and at which it is left alone.
    """

    region: str
    hue: tuple[float, float]
    chroma: tuple[float, float]
    lightness: tuple[float, float]
    alike: float
    gloss: tuple[float, float]


SHIFTS: Mapping[str, Shift] = MappingProxyType({
    "lips": Shift("lip", (-80, 45), (18, 32), (-14, 3), alike=32, gloss=(78, 96)),
    "iris": Shift("pupil", (80, 300), (18, 30), (6, 18), alike=80, gloss=(70, 90)),
    "skin_tone": Shift("skin", (35, 85), (3, 8), (-14, -7), alike=24, gloss=(90, 102)),
})  # fmt: skip


class Recolour(Manipulator):
    """Give lips, irises or the whole skin another colour."""

    parts: tuple[PartName, ...] = Field(("lips", "iris", "skin_tone"), min_length=1)
    """What may be recoloured; one is drawn for each forgery."""
    strength_range: tuple[Annotated[float, Field(gt=0, le=2)], Annotated[float, Field(gt=0, le=2)]] = (0.8, 1.3)
    """Factor on how far colours move; 1 is plainly visible."""

    declaration: ClassVar[Declaration] = Declaration(
        name="recolour",
        version="1.0.0",
        family="recolour",
        mask_rule=MaskRule.BLEND,
        regions=tuple(shift.region for shift in SHIFTS.values()),
        summary="Recolours lips, irises or skin, keeping shading and highlights.",
    )

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw a part that the landmarks can say, and where its colour goes."""
        holes.sketch(target)
        known = [part for part in self.parts if SHIFTS[part].region in regions.sayable(target.scheme)]
        if not known:
            raise Rejected("region_unavailable", f"{target.scheme} can say none of {', '.join(self.parts)}")
        part = known[int(rng.integers(len(known)))]
        shift, strength = SHIFTS[part], rng.uniform(*self.strength_range)
        hue, chroma = np.deg2rad(rng.uniform(*shift.hue)), strength * rng.uniform(*shift.chroma)
        lighter = strength * rng.uniform(*shift.lightness)
        move = np.array([lighter, chroma * np.cos(hue), chroma * np.sin(hue)])
        if part == "skin_tone" and rng.random() < 0.5:
            # Paler instead of tanned; as much less color as a tan has more would look ashen.
            move *= (-1, -0.4, -0.4)
        return {"regions": [shift.region], "part": part, "lab_shift": move.round(3).tolist()}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Recolour each face; alpha is the part's soft outline."""
        return [_recolour(job) for job in batch]


def _recolour(job: Job) -> Edit:
    face, part = job.target_face, job.parameters["part"]
    hw = job.target.shape[0], job.target.shape[1]
    where = {"lips": _lips, "iris": _irises, "skin_tone": _skin}[part](face, hw)
    image, alpha = job.target.copy(), np.zeros(hw, np.float32)
    if where.weight.any():
        photo = job.target[where.window]
        lab = to_lab(photo)
        shift = SHIFTS[part]
        amount = _spared(lab, shift.gloss) * likeness(photo, where.weight, shift.alike, 0.012 * face.interocular)
        moved = _moved(lab, amount, np.asarray(job.parameters["lab_shift"], np.float32), where.weight)
        rgb = cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)
        image[where.window] = np.clip(np.rint(rgb * np.float32(255)), 0, 255).astype(np.uint8)
        alpha[where.window] = where.weight
    return Edit(image, alpha)


def _spared(lab: Floats, gloss: tuple[float, float]) -> Floats:
    """1 for ordinary colours, falling to 0 in highlights: gloss has the light's colour, not the part's."""
    low, high = gloss
    return 1 - smooth_step((lab[..., 0] - np.float32(low)) / np.float32(high - low))


def _moved(lab: Floats, amount: Floats, shift: Floats, weight: Floats) -> Floats:
    """Shift colours by `shift` (L*, a*, b*), in proportion to their lightness so that shading stays."""
    usual = max(float(np.average(lab[..., 0], weights=weight)), 1.0)
    shade = np.clip(lab[..., 0] / np.float32(usual), 0.15, 1.3)
    # Light parts burn out when lightened, and dark ones glow when darkened and colored as much as light ones.
    room = np.array([min(1.0, (98 - usual) / 40), 1, 1]) if shift[0] > 0 else np.clip(usual / 70, 0.5, 1)
    shift = np.asarray(shift * room, np.float32)
    moved = lab + (amount * shade)[..., None] * shift
    moved[..., 0] = np.clip(moved[..., 0], 0, 100)
    return np.asarray(moved, np.float32)


def _lips(face: Face, hw: tuple[int, int]) -> Soft:
    covers, without = regions.outline(face, "lip")
    return soft_shape(covers, without, hw, 0.02 * face.interocular)


def _skin(face: Face, hw: tuple[int, int]) -> Soft:
    # Brows stay in: a rim of untouched skin around them would tell more than tinted hairs.
    return soft_skin(face, hw, edge=0.3, near=0.05, without=("eye", "mouth"))


def _irises(face: Face, hw: tuple[int, int]) -> Soft:
    """Both irises where the lids leave them open, without the pupils."""
    eyes = regions.outline(face, "eye").covers
    where = soft_shape(eyes, [], hw, 0.012 * face.interocular)
    rows, columns = np.mgrid[where.window].astype(np.float32)
    ring = np.zeros_like(where.weight)
    for center, radius in face.irises:
        away = np.hypot(columns - center[0], rows - center[1]) / np.float32(max(radius, 0.5))
        ring = np.maximum(ring, smooth_step((1.06 - away) / np.float32(0.22)) * smooth_step((away - PUPIL + 0.1) / 0.2))
    return Soft(where.window, where.weight * ring)
