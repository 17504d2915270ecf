"""Spectacles."""

import numpy as np

from .anatomy import Shape
from .field import Canvas, axes, line_mask, mix, polygon_mask, spline
from .shading import Light
from .surface import both


def paint_glasses(
    rng: np.random.Generator,
    image: np.ndarray,
    canvas: Canvas,
    shape: Shape,
    light: Light,
) -> np.ndarray:
    """Thin-rimmed spectacles with a soft shadow and a faint reflection, upon `image` (H,W,3 display RGB)."""
    rim = lens(rng.uniform(0.34, 0.38), rng.uniform(0.25, 0.3), rng.uniform(2.2, 3.2))
    bridge = spline(np.array([(-0.16, 0.0), (-0.08, -0.05), (0.08, -0.05), (0.16, 0.0)]))
    temple = np.array([(-0.86, -0.03), (-shape.face_w - 0.03, -0.04)])
    lines = [*both(rim), bridge, *both(temple)]
    width = rng.uniform(0.022, 0.045)
    colour = np.array([(0.06, 0.055, 0.06), (0.2, 0.11, 0.06), (0.45, 0.38, 0.26)][rng.integers(3)], np.float32)
    drop = np.array([-light.key[0] * 0.05, 0.05])
    image = image * (1 - 0.3 * line_mask(canvas, [line + drop for line in lines], width, 0.02))[..., None]
    x, y = axes(canvas)
    sheen = np.clip(np.sin((x - y) * 4 + 1.2), 0, 1) ** 6
    for side in both(rim):
        image = mix(image, np.array([0.85, 0.9, 0.95], np.float32), polygon_mask(canvas, side) * sheen * 0.12)
    image = mix(image, colour, line_mask(canvas, lines, width, 0.004))
    gleam = line_mask(canvas, [line - [0, width * 0.25] for line in lines], width * 0.2, 0.005)
    return mix(image, np.minimum(colour + 0.5, 1), gleam * 0.5)


def lens(rx: float, ry: float, power: float) -> np.ndarray:
    """Closed rounded-rectangle outline (N,2) of the image-left lens."""
    a = np.linspace(0, 2 * np.pi, 80)
    c, s = np.cos(a), np.sin(a)
    x = np.sign(c) * np.abs(c) ** (2 / power) * rx - 0.51
    return np.stack([x, np.sign(s) * np.abs(s) ** (2 / power) * ry + 0.04], axis=1)
