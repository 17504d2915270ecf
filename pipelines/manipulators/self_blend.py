"""Self-blended pictures: a slightly altered copy of a face, laid back over itself through a random soft hull.

The idea is of Shiohara & Yamasaki, "Detecting deepfakes with self-blended images", 2022: what gives swaps
away is the blend, and that needs no second person. Hulls, perturbations and their ranges here are our own.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.faces import Face
from mmtt.landmarks import Points
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from . import blending
from .blending import Floats, Window

Width = Annotated[float, Field(ge=0.02, le=0.6)]
Ratio = Annotated[float, Field(ge=0.3, le=1)]
Hull = Literal["face", "features", "upper", "lower", "eyes", "mouth"]

# Which of the 68 points a hull surrounds, and the regions that it covers.
_HULLS: Mapping[str, tuple[tuple[slice, ...], tuple[str, ...]]] = MappingProxyType({
    "face": ((slice(1, 16), slice(17, 27)), ("eye", "lip", "mouth", "nose", "cheek", "chin", "eyebrow", "skin")),
    "features": ((slice(17, 68),), ("eye", "lip", "mouth", "nose", "eyebrow", "skin")),
    "upper": ((slice(17, 27), slice(29, 30), slice(36, 48)), ("eye", "eyebrow", "skin")),
    "lower": ((slice(3, 14), lm.NOSE_BASE), ("lip", "mouth", "chin", "skin")),
    "eyes": ((lm.RIGHT_EYE, lm.LEFT_EYE), ("eye", "skin")),
    "mouth": ((lm.LIPS_OUTER,), ("lip", "mouth", "skin")),
})  # fmt: skip
_WAVES = 5  # from two to six lobes around a hull
_GRAY = np.array([[0.299, 0.587, 0.114]] * 3, np.float32)


class SelfBlend(Manipulator):
    """Blend a recoloured, moved, softened or sharpened copy of the target over itself."""

    declaration: ClassVar[Declaration] = Declaration(
        name="self_blend",
        version="1.0.0",
        family="self_blend",
        mask_rule=MaskRule.BLEND,
        regions=("eye", "lip", "mouth", "nose", "cheek", "chin", "eyebrow", "skin"),
        summary="A slightly recoloured and moved copy of the face laid over itself through a random soft hull.",
    )

    hulls: Annotated[tuple[Hull, ...], Field(min_length=1)] = ("face", "features", "upper", "lower", "eyes", "mouth")
    """The areas to choose from."""
    strength: Annotated[float, Field(ge=0.25, le=1.5)] = 1.0
    """How far colour, contrast, sharpness and place depart from the target's."""
    ratio_range: tuple[Ratio, Ratio] = (0.5, 1.0)
    """The largest alpha."""
    feather_range: tuple[Width, Width] = (0.08, 0.35)
    """Width of the soft edge in interocular distances."""

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose the hull, its waves and softness, and what happens to the copy."""
        blending.check_face(target)
        hull = str(rng.choice(self.hulls))
        ratio = float(rng.uniform(min(self.ratio_range), max(self.ratio_range)))
        return {
            "regions": [word for word in _HULLS[hull][1] if word in regions.sayable(target.scheme)],
            "hull": hull,
            "ratio": ratio,
            "feather": float(rng.uniform(min(self.feather_range), max(self.feather_range))),
            "growth": float(rng.uniform(0.1, 0.22)),
            "waves": [[float(rng.normal(0, 0.02)), float(rng.uniform(0, 2 * np.pi))] for _ in range(_WAVES)],
            **_colour_plan(self.strength, rng),
            # A half-transparent copy out of place would double every feature.
            **_motion_plan(self.strength * max(0.0, 2 * ratio - 1), rng),
        }

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Forge every job by itself."""
        return [_blend(job) for job in batch]


def _colour_plan(strength: float, rng: np.random.Generator) -> dict[str, Any]:
    """How the copy's pixels change; the light alone, up or down, is enough to be seen."""
    light = rng.choice([-1, 1]) * rng.uniform(0.05, 0.13)
    gain = 1 + strength * (light + rng.uniform(-0.035, 0.035, 3))
    return {
        "gain_rgb": [float(value) for value in gain],
        "saturation": float(1 + strength * rng.uniform(-0.15, 0.15)),
        "contrast": float(1 + strength * rng.uniform(-0.08, 0.08)),
        "sharpness": float(strength * rng.choice([0.0, rng.uniform(-0.8, -0.3), rng.uniform(0.3, 0.8)])),
    }


def _motion_plan(strength: float, rng: np.random.Generator) -> dict[str, Any]:
    """Where the copy goes: shift in interocular distances, turn in degrees, scale."""
    return {
        "shift": [float(strength * value) for value in rng.uniform(-0.025, 0.025, 2)],
        "turn_deg": float(strength * rng.uniform(-1, 1)),
        "scale": float(1 + strength * rng.uniform(-0.02, 0.02)),
    }


def _blend(job: Job) -> Edit:
    face, options = job.target_face, job.parameters
    points = np.concatenate([face.points_68[part] for part in _HULLS[options["hull"]][0]])
    edge = _waved_hull(points, options, face.interocular)
    width = options["feather"] * face.interocular
    area = blending.window(edge, face, job.target, margin=options["feather"] / 2)
    if area is None:
        return Edit(job.target, np.zeros(job.target.shape[:2], np.float32))
    pixels = _recoloured(_moved_copy(job, area, points.mean(axis=0)), options, face.interocular)
    alpha = blending.soft_fill(area, edge, width) * np.float32(options["ratio"])
    return Edit(*blending.in_frame(area, job.target, pixels, alpha))


def _waved_hull(points: Points, options: Mapping[str, Any], interocular: float) -> Points:
    """The hull of the points, grown unless it follows the jaw, its radius waving with two to six lobes."""
    centre = points.mean(axis=0)
    rays, radii = blending.radial(points, centre)
    jaw = options["hull"] in ("face", "lower")
    radii = 0.9 * radii if jaw else radii + options["growth"] * interocular
    angles = np.arctan2(rays[:, 1], rays[:, 0])
    waves = [size * np.cos(lobes * angles + phase) for lobes, (size, phase) in enumerate(options["waves"], start=2)]
    return np.asarray(centre + (radii * (1 + sum(waves)))[:, None] * rays, np.float32)


def _moved_copy(job: Job, area: Window, centre: Points) -> Floats:
    """The target as seen in the window once it is turned, scaled and shifted, float32 h×w×3."""
    options = job.parameters
    matrix = np.asarray(cv2.getRotationMatrix2D(centre.tolist(), options["turn_deg"], options["scale"]), np.float64)
    matrix[:, 2] += np.array(options["shift"]) * job.target_face.interocular - (area.left, area.top)
    moved = cv2.warpAffine(job.target, matrix, area.hw[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def _recoloured(copy: Floats, options: Mapping[str, Any], interocular: float) -> Floats:
    """The copy h×w×3 with its sharpness, contrast, saturation and light changed, 0–255."""
    soft = cv2.GaussianBlur(copy, (0, 0), max(0.012 * interocular, 0.6), borderType=cv2.BORDER_REFLECT_101)
    copy = np.asarray(copy + np.float32(options["sharpness"]) * (copy - soft), np.float32)
    mean = np.asarray(cv2.mean(copy), np.float32)[:3]
    saturation, contrast = np.float32(options["saturation"]), np.float32(options["contrast"])
    # All three are one linear map of colours: saturation towards gray, contrast around the mean, light from black.
    gain = np.array(options["gain_rgb"], np.float32)
    mix = gain[:, None] * contrast * (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * _GRAY)
    return np.clip(cv2.transform(copy, np.column_stack([mix, gain * (1 - contrast) * mean])), 0, 255)
