"""Sampled fields over a plane measured in inter-ocular distances (IOD), and the curves drawn on them."""

from typing import NamedTuple

import cv2
import numpy as np


def make_canvas(scale: float, left: float, top: float, right: float, bottom: float) -> "Canvas":
    """Canvas of even pixel size covering left..right, top..bottom (IOD) at `scale` pixels per IOD."""
    width, height = (round((b - a) * scale / 2) * 2 for a, b in ((left, right), (top, bottom)))
    return Canvas(scale, left, top, width, height)


def half(canvas: "Canvas") -> "Canvas":
    """The same area at half the resolution, sampled where cv2.resize expects it."""
    offset = 0.5 / canvas.scale
    return Canvas(canvas.scale / 2, canvas.left + offset, canvas.top + offset, canvas.width // 2, canvas.height // 2)


def enlarge(values: np.ndarray, canvas: "Canvas") -> np.ndarray:
    """Resample a field (h,w[,c]) from half(canvas) to canvas, smoothly."""
    return cv2.resize(values, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)


def axes(canvas: "Canvas") -> tuple[np.ndarray, np.ndarray]:
    """Pixel-centre coordinates in IOD: x as (1,W) float32, y as (H,1) float32."""
    x = canvas.left + np.arange(canvas.width, dtype=np.float32) / canvas.scale
    y = canvas.top + np.arange(canvas.height, dtype=np.float32) / canvas.scale
    return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


def to_pixels(canvas: "Canvas", points: np.ndarray) -> np.ndarray:
    """Points (...,2) in IOD to canvas pixels, integer values being pixel centres."""
    origin = np.array([canvas.left, canvas.top], points.dtype if points.dtype.kind == "f" else float)
    return (points - origin) * canvas.scale


def window(
    canvas: "Canvas",
    left: float,
    top: float,
    right: float,
    bottom: float,
) -> tuple["Canvas", tuple[slice, slice]]:
    """Sub-canvas over the given IOD box, of even size, with the slices that cut it out of a full field."""
    corners = to_pixels(canvas, np.array([[left, top], [right, bottom]]))
    (x0, y0), (x1, y1) = np.clip(np.round(corners), 0, [canvas.width, canvas.height]).astype(int)
    x1, y1 = x1 - (x1 - x0) % 2, y1 - (y1 - y0) % 2
    part = Canvas(
        canvas.scale,
        canvas.left + x0 / canvas.scale,
        canvas.top + y0 / canvas.scale,
        int(x1 - x0),
        int(y1 - y0),
    )
    return part, (slice(y0, y1), slice(x0, x1))


def bump(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    """Axis-aligned Gaussian of height 1 with standard deviations sx, sy (IOD); (H,W) float32."""
    return np.exp(-0.5 * ((x - cx) / sx) ** 2) * np.exp(-0.5 * ((y - cy) / sy) ** 2)


def pair(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    """Two mirrored bumps at +cx and -cx; (H,W) float32."""
    across = np.exp(-0.5 * ((x - cx) / sx) ** 2) + np.exp(-0.5 * ((x + cx) / sx) ** 2)
    return across * np.exp(-0.5 * ((y - cy) / sy) ** 2)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Cubic step from 0 at `low` to 1 at `high`, elementwise."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def noise(rng: np.random.Generator, canvas: "Canvas", cell: float) -> np.ndarray:
    """Smooth noise of unit-order amplitude with features of about `cell` IOD; (H,W) float32."""
    cells = max(1.2, cell * canvas.scale)
    shape = (int(canvas.height / cells) + 3, int(canvas.width / cells) + 3)
    coarse = rng.standard_normal(shape, dtype=np.float32)
    return cv2.resize(coarse, (canvas.width, canvas.height), interpolation=cv2.INTER_CUBIC)


def blur(values: np.ndarray, canvas: "Canvas", sigma: float) -> np.ndarray:
    """Gaussian blur with sigma in IOD."""
    return cv2.GaussianBlur(values, (0, 0), max(0.3, sigma * canvas.scale))


def spline(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Open Catmull-Rom curve (M,2) passing through every point of (N,2)."""
    points = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    a, b, c, d = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def profile(x: np.ndarray, knots: list[tuple[float, float]]) -> np.ndarray:
    """Smooth scalar function through knots (position, value), held flat outside; same shape as x."""
    curve = spline(np.array(knots), 12)
    return np.interp(x, curve[:, 0], curve[:, 1]).astype(np.float32)


def line_mask(canvas: "Canvas", lines: list[np.ndarray], width: float, soft: float) -> np.ndarray:
    """Polylines [(N,2) IOD] drawn `width` IOD wide, blurred by `soft` IOD; (H,W) float32 in 0..1."""
    mask = np.zeros((canvas.height, canvas.width), np.uint8)
    pixels = [np.round(to_pixels(canvas, line) * 16).astype(np.int32) for line in lines]
    cv2.polylines(mask, pixels, False, 255, max(1, round(width * canvas.scale)), cv2.LINE_AA, 4)
    return blur(mask, canvas, soft).astype(np.float32) / 255.0


def polygon_mask(canvas: "Canvas", outline: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """Filled polygon (N,2) in IOD, its edge blurred by `soft` IOD; (H,W) float32 in 0..1."""
    mask = np.zeros((canvas.height, canvas.width), np.uint8)
    cv2.fillPoly(mask, [np.round(to_pixels(canvas, outline) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return (blur(mask, canvas, soft) if soft else mask).astype(np.float32) / 255.0


def between(canvas: "Canvas", upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Antialiased area under curve `upper` and over curve `lower`, both (N,2) IOD with rising x."""
    x, y = axes(canvas)
    top = np.interp(x[0], upper[:, 0], upper[:, 1], left=9, right=9).astype(np.float32)
    low = np.interp(x[0], lower[:, 0], lower[:, 1], left=-9, right=-9).astype(np.float32)
    return np.clip((y - top) * canvas.scale + 0.5, 0, 1) * np.clip((low - y) * canvas.scale + 0.5, 0, 1)


def mix(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend colour `over` ((3,) or (H,W,3)) upon `under` (H,W,3) by alpha (H,W) in 0..1."""
    return under + (over - under) * alpha[..., None]


class Canvas(NamedTuple):
    """A pixel grid: `scale` pixels per IOD; pixel (0,0) has its centre at (left, top) IOD."""

    scale: float
    left: float
    top: float
    width: int
    height: int
