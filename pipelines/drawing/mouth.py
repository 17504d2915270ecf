"""The inside of the mouth with its teeth, the parting line of the lips, and the nostril openings."""

import numpy as np

from .anatomy import Shape, lip_curves
from .field import Canvas, axes, between, blur, line_mask, mix, smoothstep, window
from .looks import Look
from .shading import to_display, to_linear
from .surface import both, nostril


def paint_mouth(
    rng: np.random.Generator, image: np.ndarray, energy: np.ndarray, canvas: Canvas, shape: Shape, look: Look
) -> None:
    """Draw parting line or open mouth into `image` (H,W,3 display RGB) in place."""
    part, cut = window(canvas, -0.75, shape.mouth_y - 0.3, 0.75, shape.mouth_y + 0.4)
    _, mid, under, _ = lip_curves(shape)
    patch = image[cut]
    glow = np.median(energy[cut].reshape(-1, 3), axis=0)
    if shape.gap > 0.01:
        inside = to_display(cavity(rng, part, shape, look, mid) * glow)
        patch = mix(patch, inside, blur(between(part, mid, under), part, 0.004))
    seam = line_mask(part, [mid], 0.012, 0.008) + 0.6 * line_mask(part, [mid], 0.03, 0.02)
    dark = to_display(to_linear(look.lips) * np.array([0.12, 0.05, 0.05]))
    patch = mix(patch, dark, np.clip(seam * (0.7 if shape.gap < 0.01 else 0.4), 0, 0.9))
    edges = mid[[0, -1]]
    for corner in edges:
        patch = mix(patch, dark, 0.6 * spot(part, corner, 0.02))
    image[cut] = patch


def spot(canvas: Canvas, centre: np.ndarray, size: float) -> np.ndarray:
    """Soft round spot (H,W) in 0..1."""
    x, y = axes(canvas)
    return np.exp(-0.5 * (np.square((x - centre[0]) / size) + np.square((y - centre[1]) / size))).astype(np.float32)


def cavity(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look, mid: np.ndarray) -> np.ndarray:
    """Linear colour (H,W,3) of the upper teeth before a dark mouth."""
    x, y = axes(canvas)
    drop = y - np.interp(x[0], mid[:, 0], mid[:, 1]).astype(np.float32)
    widths = np.cumsum([0.0, 0.072, 0.056, 0.06, 0.056, 0.055, 0.05])
    index = np.searchsorted(widths, np.abs(x[0]) * 1.05 / 0.95) - 1
    index = np.clip(index, 0, 5)
    phase = (np.abs(x[0]) * 1.1 - widths[index]) / np.diff(widths)[index]
    length = np.array([0.085, 0.074, 0.08, 0.07, 0.06, 0.05])[index]
    rounded = (length * (1 - 0.16 * np.abs(2 * phase - 1) ** 4)).astype(np.float32)[None, :]
    tooth = smoothstep(0.006, -0.006, drop - rounded)
    gaps = smoothstep(0.0, 0.14, np.minimum(phase, 1 - phase))[None, :] * 0.35 + 0.65
    fade = np.clip(1.08 - (np.abs(x) / (shape.mouth_w * 0.95)) ** 2.2, 0.12, 1)
    lid = 1 - 0.6 * np.exp(-np.maximum(drop, 0) / 0.018)
    white = to_linear(np.array([0.93, 0.9, 0.85]) - np.array([0.05, 0.07, 0.12]) * look.age * rng.uniform(0.5, 1))
    dark = np.array([0.06, 0.014, 0.012], np.float32)
    teeth = white * (gaps * fade * lid).astype(np.float32)[..., None]
    return mix(np.broadcast_to(dark, teeth.shape), teeth, tooth)


def paint_nostrils(image: np.ndarray, canvas: Canvas, shape: Shape, look: Look) -> None:
    """Darken the nostril openings in `image` (H,W,3 display RGB) in place."""
    part, cut = window(canvas, -0.5, shape.nose_y - 0.25, 0.5, shape.nose_y + 0.2)
    holes = both(nostril(shape))
    mask = line_mask(part, holes, 0.024, 0.012) * 1.0 + 0.15 * line_mask(part, holes, 0.03, 0.04)
    dark = to_display(to_linear(look.skin) * np.array([0.10, 0.04, 0.035]))
    image[cut] = mix(image[cut], dark, np.clip(mask, 0, 0.9))
