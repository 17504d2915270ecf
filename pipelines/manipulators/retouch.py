"""Beauty filter: skin is smoothed, its small dark marks are lifted and the whole glows a little."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import regions
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import Points
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from . import holes

Floats = npt.NDArray[np.float32]
Share = Annotated[float, Field(ge=0, le=1)]

FEATURES = ("eye", "eyebrow", "mouth")
LIKENESS = 20.0  # CIELAB units at which a colour is hardly skin any more
MARK = 0.1  # deepest mark that is lifted, as a share of full intensity; more is a shadow


class Soft(NamedTuple):
    """A soft shape: a window of the frame and, in it, how much of each pixel to edit, float32 h×w in [0, 1]."""

    window: tuple[slice, slice]
    weight: Floats


class SkinRetouch(Manipulator):
    """Smooth the skin with an edge-preserving filter, lift blemishes and fine wrinkles, add glow."""

    radius_range: tuple[Share, Share] = (0.05, 0.1)
    """Radius of the filter, in interocular distances."""
    edge_range: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.05, 0.1)
    """Contrast, as a share of full intensity, from which an edge is kept."""
    texture_range: tuple[Share, Share] = (0.05, 0.25)
    """How much of the skin's texture survives, 0–1."""
    glow_range: tuple[Share, Share] = (0.12, 0.3)
    """How much of a blurred, brightened copy is laid over, 0–1."""

    declaration: ClassVar[Declaration] = Declaration(
        name="retouch",
        version="1.0.0",
        family="retouch",
        mask_rule=MaskRule.BLEND,
        regions=("skin",),
        summary="Smooths skin, lifts blemishes and adds glow, as beauty filters do.",
    )

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Draw the strengths."""
        holes.sketch(target)
        ranges = {"radius": self.radius_range, "edge": self.edge_range, "texture": self.texture_range}
        drawn = {name: round(float(rng.uniform(*span)), 4) for name, span in ranges.items()}
        return {"regions": ["skin"], **drawn, "glow": round(float(rng.uniform(*self.glow_range)), 4)}

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Retouch each face; alpha is soft at the face's outline and around eyes, brows and lips."""
        return [_retouch(job) for job in batch]


def soft_skin(face: Face, hw: tuple[int, int], *, edge: float, near: float, without: Sequence[str] = FEATURES) -> Soft:
    """Return the face without some regions, fading out towards its outline.

    Args:
        face: in a frame of the size `hw`.
        hw: height and width of the frame.
        edge: how wide the fade at the outline is, in interocular distances.
        near: how wide it is around the regions left out.
        without: region words left out.
    """
    window = holes.window_around(holes.whole_face(face), 1, hw)
    moved, size = holes.seen_through(face, window), _size(window)
    parts = [polygon for word in without for polygon in regions.outline(moved, word).covers]
    # Padded, so that a face that leaves the frame fades out at the frame's edge too.
    inside = np.pad(regions.fill([holes.whole_face(moved)], size), 1).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5), np.float32)[1:-1, 1:-1]
    # Without any such part in the window OpenCV says that it is unimaginably far.
    away = np.minimum(cv2.distanceTransform((~regions.fill(parts, size)).astype(np.uint8), cv2.DIST_L2, 5), 1e6)
    outer = smooth_step(depth / np.float32(edge * face.interocular))
    inner = smooth_step(np.asarray(away, np.float32) / np.float32(near * face.interocular) - np.float32(0.25))
    return Soft(window, outer * inner)


def soft_shape(covers: Sequence[Points], without: Sequence[Points], hw: tuple[int, int], feather_px: float) -> Soft:
    """Return polygons (float32 N×2) minus others, the edge softened by about `feather_px` pixels either way."""
    window = holes.window_around(np.concatenate(covers), 2 * feather_px + 1, hw)
    origin = np.array([window[1].start, window[0].start], np.float32)
    drawn = regions.fill([polygon - origin for polygon in covers], _size(window))
    drawn &= ~regions.fill([polygon - origin for polygon in without], _size(window))
    blurred = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), max(feather_px, 0.4))
    return Soft(window, smooth_step((np.asarray(blurred, np.float32) - np.float32(0.1)) / np.float32(0.8)))


def _size(window: tuple[slice, slice]) -> tuple[int, int]:
    return window[0].stop - window[0].start, window[1].stop - window[1].start


def smooth_step(x: Floats) -> Floats:
    """Rise from 0 at x ≤ 0 to 1 at x ≥ 1 without a kink at either end."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def likeness(photo: Rgb, weight: Floats, width: float, blur_px: float) -> Floats:
    """Return how alike each pixel is in colour to those that count most, float32 h×w in [0, 1], smooth.

    Keeps edits off hair, glasses and whatever else covers what the landmarks outline.

    Args:
        photo: RGB uint8 h×w×3.
        weight: float32 h×w; pixels with more than half of its maximum make the reference.
        width: CIELAB distance at which next to nothing of the likeness is left.
        blur_px: how far to smooth, in pixels.
    """
    small = tuple(max(1, side // 2) for side in weight.shape[::-1])
    lab = to_lab(np.asarray(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), np.uint8))
    sure = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
    usual = np.median(lab[sure >= 0.5 * sure.max()], axis=0).astype(np.float32)
    away = np.square(lab - usual)
    # Shading changes lightness far more than hue, and gloss more than shade.
    far = away[..., 1] + away[..., 2] + np.where(lab[..., 0] > usual[0], 0.02, 0.2).astype(np.float32) * away[..., 0]
    alike = smooth_step(2 * np.exp(-far / np.float32(width**2)) - np.float32(0.6))
    # The rim of glasses is half skin in every pixel: what is unlike spreads a little.
    square = np.ones((2 * max(1, round(blur_px / 2)) + 1,) * 2, np.uint8)
    soft = cv2.GaussianBlur(cv2.erode(alike, square), (0, 0), max(blur_px / 2, 0.5))
    return np.asarray(cv2.resize(soft, weight.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def to_lab(photo: Rgb) -> Floats:
    """RGB uint8 to CIELAB float32: L 0–100, a and b about ±100."""
    return np.asarray(cv2.cvtColor(photo.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def guided(image: Floats, radius_px: int, edge: float) -> Floats:
    """Smooth float32 h×w×3 in [0, 1], each channel guided by itself, keeping contrasts well above `edge`.

    He, Sun and Tang, "Guided image filtering", 2010; coefficients at half size as in He and Sun, "Fast
    guided filter", 2015.
    """
    half = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)
    small = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    window = (2 * max(1, radius_px // 2) + 1,) * 2
    mean, square = cv2.blur(small, window), cv2.blur(cv2.multiply(small, small), window)
    variance = np.maximum(square - mean * mean, 0)
    slope = np.asarray(variance / (variance + np.float32(edge**2)), np.float32)
    offset = np.asarray(mean - slope * mean, np.float32)
    slope, offset = (
        np.asarray(cv2.resize(cv2.blur(c, window), image.shape[1::-1]), np.float32) for c in (slope, offset)
    )
    return np.asarray(slope * image + offset, np.float32)


def _retouch(job: Job) -> Edit:
    skin = soft_skin(job.target_face, (job.target.shape[0], job.target.shape[1]), edge=0.2, near=0.12)
    unit, photo = job.target_face.interocular, job.target[skin.window]
    original = photo.astype(np.float32) / np.float32(255)
    amount = likeness(photo, skin.weight, LIKENESS, 0.015 * unit)[..., None]
    mixed = original + amount * (_beautified(original, unit, job.parameters) - original)
    image, alpha = job.target.copy(), np.zeros(job.target.shape[:2], np.float32)
    image[skin.window] = np.clip(np.rint(mixed * np.float32(255)), 0, 255).astype(np.uint8)
    alpha[skin.window] = skin.weight
    return Edit(image, alpha)


def _beautified(skin: Floats, unit: float, parameters: Mapping[str, Any]) -> Floats:
    """Lift marks, smooth, give back some texture, glow: float32 h×w×3 in [0, 1]; `unit` is the interocular distance."""
    side = 2 * max(1, round(0.03 * unit)) + 1
    closed = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    lifted = np.asarray(skin + np.float32(0.8) * np.minimum(closed - skin, np.float32(MARK)), np.float32)
    smooth = guided(lifted, round(parameters["radius"] * unit), parameters["edge"])
    texture = np.asarray(skin - cv2.GaussianBlur(skin, (0, 0), max(0.02 * unit, 0.5)), np.float32)
    smooth += np.float32(parameters["texture"]) * texture
    haze = cv2.blur(smooth, (2 * max(1, round(0.1 * unit)) + 1,) * 2)
    return np.asarray(smooth + np.float32(parameters["glow"]) * (1 - smooth) * haze, np.float32)
