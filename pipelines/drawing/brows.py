"""Eyebrows and beards made of single hairs."""

import numpy as np

from .anatomy import Shape, brow_points
from .field import Canvas, blur, spline, to_pixels
from .looks import Look
from .skin import beard_zone
from .strokes import over, paint_strokes, stroke_layer, tints


def paint_brows(rng: np.random.Generator, image: np.ndarray, canvas: Canvas, shape: Shape, look: Look) -> np.ndarray:
    """Both eyebrows upon `image` (H,W,3 display RGB)."""
    left = brow_strokes(rng, shape, look.brow_weight)
    right = brow_strokes(rng, shape, look.brow_weight) * np.array([-1, 1])
    lines = np.concatenate([left, right])
    ink = np.clip(look.hair * 0.58, 0, 0.45) * (1 - 0.25 * look.tone)
    under = stroke_layer(canvas, lines, np.broadcast_to(ink, (len(lines), 3)), thickness=2, layers=1, levels=1)
    image = over(image, blur(under, canvas, 0.022), 0.26)
    return paint_strokes(image, canvas, lines, tints(rng, ink * 0.85, len(lines), 0.25), 0.6)


def brow_strokes(rng: np.random.Generator, shape: Shape, weight: float) -> np.ndarray:
    """Hairs (N,5,2) of the image-left brow, rooted about its centre line."""
    count = int(300 * weight)
    line = spline(brow_points(shape), 12)
    at = np.clip(rng.beta(1.15, 1.0, count), 0, 1)
    s = np.linspace(0, 1, len(line))
    root = np.stack([np.interp(at, s, line[:, i]) for i in range(2)], axis=1)
    thick = 0.045 * weight**0.5 * np.interp(at, [0, 0.15, 0.55, 0.9, 1], [0.15, 0.5, 0.95, 1.0, 0.75])
    side = np.clip(rng.normal(0, 0.5, count), -1.2, 1.2)
    root[:, 1] += side * thick
    lean = np.interp(at, [0, 0.4, 0.85, 1], [0.25, 0.0, -0.55, -1.2]) + 0.35 * side + rng.normal(0, 0.12, count)
    length = rng.uniform(0.045, 0.1, count) * np.interp(at, [0, 0.3, 1], [0.6, 1, 0.85])
    t = np.linspace(0, 1, 5)[None, :]
    x = root[:, :1] - length[:, None] * t * np.cos(lean)[:, None]
    y = root[:, 1:] + length[:, None] * (t * np.sin(lean)[:, None] + 0.12 * t * t)
    return np.stack([x, y], axis=-1)


def paint_beard(
    rng: np.random.Generator, image: np.ndarray, energy: np.ndarray, canvas: Canvas, shape: Shape, look: Look
) -> np.ndarray:
    """Beard or moustache upon `image` (H,W,3 display RGB), lit like `energy` (H,W,3)."""
    if look.beard == "none":
        return image
    short = look.beard == "stubble"
    zone = beard_zone(canvas, shape, look.beard)
    count, length = (4200, 0.022) if short else (6500, 0.13)
    lines = beard_strokes(rng, canvas, zone, count, length, shape)
    at = np.round(to_pixels(canvas, lines[:, 0])).astype(int)
    glow = energy[at[:, 1].clip(0, canvas.height - 1), at[:, 0].clip(0, canvas.width - 1)]
    ink = tints(rng, look.hair * 0.9 + 0.02, len(lines), 0.3) * np.clip(glow, 0.15, 1.4) ** 0.45
    layer = stroke_layer(canvas, lines, ink, depth=-lines[:, 0, 1], layers=6, levels=8)
    if short:
        return over(image, layer, 0.45)
    shadow = blur(layer[..., 3], canvas, 0.05)[..., None]
    return over(image * (1 - 0.35 * shadow * (1 - zone[..., None])), layer, 0.85)


def beard_strokes(
    rng: np.random.Generator, canvas: Canvas, zone: np.ndarray, count: int, length: float, shape: Shape
) -> np.ndarray:
    """Hairs (N,5,2) rooted with density `zone`, combed down and away from the midline."""
    root = rng.uniform([-1.2, 0.2], [1.2, shape.chin_y], (count * 2, 2))
    at = np.round(to_pixels(canvas, root)).astype(int)
    keep = zone[at[:, 1].clip(0, canvas.height - 1), at[:, 0].clip(0, canvas.width - 1)]
    root = root[keep > rng.uniform(0.15, 0.85, len(root))][:count]
    t = np.linspace(0, 1, 5)[None, :]
    on_lip = root[:, 1] < shape.mouth_y - 0.02
    lean = np.where(on_lip, 1.1 * np.sign(root[:, 0]), 0.35 * root[:, 0]) + rng.normal(0, 0.3, len(root))
    size = (length * rng.uniform(0.5, 1.1, len(root)) * np.where(on_lip & (np.abs(root[:, 0]) < 0.45), 0.38, 1.0))[
        :, None
    ]
    curl = rng.normal(0, 0.25, (len(root), 1)) * size
    x = root[:, :1] + size * t * np.sin(lean)[:, None] + curl * t * t
    y = root[:, 1:] + size * t * np.cos(lean)[:, None] * 0.85
    return np.stack([x, y], axis=-1)
