"""Many fine strokes drawn at once, grouped by colour so that OpenCV draws each group in one call."""

import cv2
import numpy as np

from .field import Canvas, to_pixels


def stroke_layer(
    canvas: Canvas,
    lines: np.ndarray,
    colours: np.ndarray,
    depth: np.ndarray | None = None,
    thickness: int = 1,
    layers: int = 6,
    levels: int = 20,
) -> np.ndarray:
    """Draw polylines back to front.

    lines (N,P,2) in IOD; colours (N,3) display RGB 0..1; depth (N,) larger is nearer.
    Returns premultiplied RGBA (H,W,4) float32 in 0..1.
    """
    image = np.zeros((canvas.height, canvas.width, 4), np.uint8)
    # wide strokes are blurred afterwards, so they need no costly antialiasing
    kind = cv2.LINE_AA if thickness == 1 else cv2.LINE_8
    pixels = np.round(to_pixels(canvas, lines) * 16).astype(np.int32)
    luma = colours @ np.array([0.3, 0.59, 0.11])
    order = np.argsort(depth, kind="stable") if depth is not None else np.arange(len(lines))
    for group in np.array_split(order, layers):
        for shelf in np.array_split(group[np.argsort(luma[group], kind="stable")], levels):
            if len(shelf):
                r, g, b = (float(v) for v in colours[shelf].mean(axis=0) * 255)
                cv2.polylines(image, list(pixels[shelf]), False, (r, g, b, 255.0), thickness, kind, 4)
    return image.astype(np.float32) * np.float32(1 / 255)


def over(image: np.ndarray, layer: np.ndarray, opacity: float = 1.0) -> np.ndarray:
    """Composite a premultiplied RGBA layer (H,W,4) upon RGB (H,W,3), display space."""
    rows, columns = (np.flatnonzero(layer[..., 3].any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return image
    cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    ink = layer[cut] * np.float32(opacity)
    result = image.copy()
    result[cut] *= 1 - ink[..., 3:]
    result[cut] += ink[..., :3]
    return result


def paint_strokes(
    image: np.ndarray,
    canvas: Canvas,
    lines: np.ndarray,
    colours: np.ndarray,
    opacity: float = 1.0,
    thickness: int = 1,
) -> np.ndarray:
    """Strokes (N,P,2) of colours (N,3) composited upon `image` (H,W,3 display RGB)."""
    return over(image, stroke_layer(canvas, lines, colours, thickness=thickness, layers=2, levels=8), opacity)


def tints(rng: np.random.Generator, colour: np.ndarray, count: int, spread: float) -> np.ndarray:
    """`count` variations (count,3) of one colour in brightness, with a little hue."""
    value = np.exp(rng.normal(0, spread, (count, 1))) * (1 + rng.normal(0, 0.03, (count, 3)))
    return np.clip(colour * value, 0, 1)
