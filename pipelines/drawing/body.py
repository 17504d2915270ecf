"""Neck, shoulders and clothing."""

import numpy as np

from .anatomy import Shape
from .field import Canvas, axes, blur, bump, enlarge, half, line_mask, mix, noise, profile, smoothstep
from .looks import Look
from .shading import Light, shade, to_display, to_linear

CLOTHES = (
    np.array(
        [
            (38, 44, 60),
            (120, 34, 40),
            (60, 84, 70),
            (196, 190, 178),
            (90, 96, 108),
            (176, 120, 62),
            (46, 84, 130),
            (150, 110, 130),
            (34, 34, 36),
            (222, 218, 212),
            (104, 120, 84),
            (188, 150, 150),
        ],
        np.float32,
    )
    / 255.0
)


def paint_body(
    rng: np.random.Generator,
    canvas: Canvas,
    shape: Shape,
    look: Look,
    light: Light,
) -> tuple[np.ndarray, np.ndarray]:
    """Display RGB (H,W,3) and coverage (H,W) of the body below the head, head origin at (0,0) IOD."""
    small = half(canvas)
    x, y = axes(small)
    z, margin = torso(x, y, shape, look)
    cloth = garment(rng, x, y, shape)
    folds = noise(rng, small, 0.7) * 0.09 + drapery(rng, small)
    z = z + blur(cloth, small, 0.015) * (0.06 + folds) + neck_relief(small, x, y, shape, look) * (1 - cloth)
    skin = np.broadcast_to(to_linear(look.skin) * np.array([0.95, 0.9, 0.88]), z.shape + (3,))
    skin = skin * (1 + 0.04 * noise(rng, small, 0.15))[..., None]
    colour = to_linear(CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.85, 1.1))
    weave = 1 + 0.045 * rng.standard_normal(z.shape).astype(np.float32)
    albedo = mix(skin, colour * weave[..., None], cloth).astype(np.float32)
    gloss = (0.2 * (1 - cloth) + 0.04).astype(np.float32)
    radiance, _ = shade(z.astype(np.float32), albedo, gloss, small, light, bleed=0.6, self_shadow=False)
    radiance *= under_chin(x, y, shape, light)[..., None]
    seam = np.abs(blur(cloth, small, 0.02) - 0.5)
    radiance *= (1 - 0.35 * np.exp(-np.square(seam / 0.2)))[..., None]
    return enlarge(to_display(radiance), canvas), np.clip(
        enlarge(margin.astype(np.float32), canvas) * canvas.scale + 0.5, 0, 1
    )


def drapery(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """Soft folds (H,W) in IOD running down and inwards from the shoulders."""
    x, y = axes(canvas)
    along = (np.abs(x) * 2.6 + y * 0.9 + 0.35 * noise(rng, canvas, 0.6)) * 2.2 + 3 * np.sign(x)
    return (0.04 * np.sin(along) * smoothstep(-0.3, 1.2, noise(rng, canvas, 0.8))).astype(np.float32)


def torso(x: np.ndarray, y: np.ndarray, shape: Shape, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Height of neck and shoulders and distance inside their sides, both (H,W) in IOD."""
    neck, broad = 0.62 + 0.17 * look.masculine, 2.35 + 0.55 * look.masculine
    top = shape.chin_y
    width = profile(
        y,
        [
            (0.0, neck * 1.1),
            (top - 0.3, neck * 1.02),
            (top + 0.2, neck * 1.0),
            (top + 0.38, neck * 1.12),
            (top + 0.56, neck * 1.5 + 0.1),
            (top + 0.8, broad * 0.72),
            (top + 1.12, broad * 0.93),
            (top + 1.5, broad * 1.04),
            (top + 2.4, broad * 1.1),
        ],
    )
    depth = profile(y, [(0.0, 0.5), (top, 0.5), (top + 0.6, 0.62), (top + 1.0, 0.95), (top + 2.0, 1.4)])
    u = np.abs(x) / width
    z = depth * np.sqrt(np.clip(1 - u**2.2, 0.0, 1)) - 0.4
    return z, np.where(y > 0.6, width - np.abs(x), -1.0)


def garment(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, shape: Shape) -> np.ndarray:
    """Coverage (H,W) of clothing with a round, wide, pointed or high neckline."""
    kind = rng.integers(4)
    low = shape.chin_y + rng.uniform(0.78, 0.95)
    a = np.abs(x)
    if kind == 0:
        edge = low - 0.42 * np.clip(a / 0.85, 0, 1) ** 2.2
    elif kind == 1:
        edge = low + 0.25 - 0.55 * np.clip(a / 1.15, 0, 1) ** 2.4
    elif kind == 2:
        edge = low + 0.4 - 0.95 * np.clip(a / 0.85, 0, 1)
    else:
        edge = shape.chin_y + 0.42 + 0.05 * a * a
    return smoothstep(-0.012, 0.012, y - edge).astype(np.float32)


def neck_relief(canvas: Canvas, x: np.ndarray, y: np.ndarray, shape: Shape, look: Look) -> np.ndarray:
    """Neck tendons, collar bones and the Adam's apple; (H,W) float32 IOD."""
    top = shape.chin_y
    tendon = np.array([(-0.5, top - 0.2), (-0.28, top + 0.45), (-0.09, top + 0.8)])
    bone = np.array([(-0.12, top + 0.86), (-0.6, top + 0.8), (-1.3, top + 0.72)])
    lines = [sign * line * [1, sign] for line in (tendon, bone) for sign in (1, -1)]
    relief = line_mask(canvas, lines, 0.05, 0.07) * 0.06 - bump(x, y, 0, top + 0.88, 0.07, 0.07) * 0.08
    return relief + bump(x, y, 0, top + 0.42, 0.07, 0.09) * 0.1 * look.masculine


def under_chin(x: np.ndarray, y: np.ndarray, shape: Shape, light: Light) -> np.ndarray:
    """Soft shadow of the head upon the neck, (H,W) in 0..1."""
    lean = -0.35 * light.key[0]
    fall = smoothstep(shape.chin_y + 0.55, shape.chin_y - 0.1, y + 0.25 * np.square(x - lean))
    return (1 - 0.7 * fall * smoothstep(1.3, 0.5, np.abs(x - lean))).astype(np.float32)
