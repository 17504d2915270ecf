"""The height field of a frontal head, in IOD: skull, features, ears, wrinkles."""

import cv2
import numpy as np

from .anatomy import Shape, eye_curves, half_width, lip_curves
from .field import (
    Canvas,
    axes,
    blur,
    bump,
    enlarge,
    half,
    line_mask,
    noise,
    pair,
    profile,
    smoothstep,
    spline,
    window,
)


def head_height(
    rng: np.random.Generator,
    canvas: Canvas,
    shape: Shape,
    age: float,
    masculine: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Height of the head towards the viewer and its smooth version for turning; both (H,W) float32, IOD."""
    small = half(canvas)
    x, y = axes(small)
    base = skull(x, y, shape)
    snout = blur(nose(x, y, shape).astype(np.float32), small, 0.026)
    z = base + sockets(x, y, shape, masculine) + cheeks(x, y, shape, age) + snout
    z += mouth_mound(x, y, shape) + wrinkles(rng, small, shape, age)
    jaw = np.maximum(base, 1.0 * bump(x, y, 0, shape.chin_y, 0.5, 0.3))
    turning = blur(jaw + 1.3 * snout, small, 0.08)
    full = enlarge(z, canvas)
    part, cut = window(canvas, -1.0, -0.4, 1.0, shape.mouth_y + 0.5)
    full[cut] += lips(part, shape) + lids(part, shape) + nostril_rims(part, shape)
    return full + pores(rng, canvas, age), enlarge(turning, canvas)


def skull(x: np.ndarray, y: np.ndarray, shape: Shape) -> np.ndarray:
    """Rounded cross-sections under the midline profile; (H,W) float32."""
    depth = profile(
        y,
        [
            (shape.crown_y - 0.02, 0.0),
            (shape.crown_y * 0.95, 0.5),
            (shape.crown_y * 0.8, 0.95),
            (-0.8, 1.3),
            (-0.4, 1.4),
            (0.0, 1.34),
            (0.5, 1.36),
            (1.1, 1.38),
            (shape.chin_y * 0.87, 1.3),
            (shape.chin_y * 0.96, 1.12),
            (shape.chin_y, 0.8),
        ],
    )
    # a little larger than the outline, which thus cuts the surface before it turns edge-on
    width = np.maximum(half_width(shape, 0.95 * y) * 1.025, 0.02).astype(np.float32)
    u = np.minimum(np.abs(x) / width, 0.985)
    return depth * np.sqrt(1.0 - np.power(u, 2.25))


def sockets(x: np.ndarray, y: np.ndarray, shape: Shape, masculine: float) -> np.ndarray:
    """Brow ridge, hollow around the eyes and the eyeballs behind the lids."""
    ridge = pair(x, y, 0.5, -shape.brow_y + 0.02, 0.28, 0.1) * (0.07 + 0.05 * masculine)
    hollow = pair(x, y, 0.42, -0.08, 0.26, 0.15) * 0.17 + pair(x, y, 0.3, 0.05, 0.1, 0.12) * 0.07
    ball = pair(x, y, 0.5, -0.01, 0.15, 0.105) * 0.17
    return ridge - hollow + ball + bump(x, y, 0, -0.33, 0.18, 0.12) * 0.05


def cheeks(x: np.ndarray, y: np.ndarray, shape: Shape, age: float) -> np.ndarray:
    """Cheekbones, the apples a smile lifts, hollows under them, and chin."""
    bones = pair(x, y, 0.78, 0.38, 0.24, 0.16) * 0.07
    apples = pair(x, y, 0.58, 0.58 - 0.03 * shape.smile, 0.2, 0.19) * (0.06 + 0.08 * shape.smile)
    hollow = pair(x, y, 0.74, 1.0, 0.18, 0.22) * (0.04 + 0.05 * age)
    chin = bump(x, y, 0, shape.chin_y - 0.2, 0.23, 0.13) * 0.12
    temples = pair(x, y, 0.93, -0.35, 0.15, 0.25) * 0.07
    return bones + apples - hollow + chin - temples


def nose(x: np.ndarray, y: np.ndarray, shape: Shape) -> np.ndarray:
    """Bridge, tip and wings; reaches shape.nose_h above the face."""
    base, w, h = shape.nose_y, shape.nose_w, shape.nose_h
    rise = profile(
        y,
        [
            (-0.3, 0.02),
            (-0.05, 0.09),
            (base * 0.4, 0.46 * h),
            (base - 0.26, 0.7 * h),
            (base - 0.15, 0.6 * h),
            (base - 0.05, 0.2 * h),
            (base + 0.04, 0.0),
        ],
    )
    spread = profile(y, [(-0.3, 0.13), (0.0, 0.1), (base * 0.5, 0.11), (base - 0.2, 0.1), (base, 0.1)])
    bridge = rise * np.exp(-0.5 * np.square(x / spread))
    tip = ball(x, y, 0, base - 0.13, 0.185, 0.17) * h
    wings = ball(np.abs(x), y, 0.68 * w, base - 0.075, 0.37 * w, 0.125) * 0.66 * h
    septum = ball(x, y, 0, base - 0.0, 0.085, 0.085) * 0.5 * h
    parts = np.stack([np.broadcast_to(part, bridge.shape) for part in (bridge, tip, wings, septum)])
    return np.power(np.power(np.maximum(parts, 0), 3.0).sum(axis=0), 1 / 3.0)


def ball(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """Half ellipsoid of height 1 over an ellipse of radii rx, ry (IOD); (H,W) float32."""
    return np.power(np.maximum(1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, 0), 0.6)


def mouth_mound(x: np.ndarray, y: np.ndarray, shape: Shape) -> np.ndarray:
    """The teeth's rounding under the mouth, the philtrum and the hollow over the chin."""
    my = shape.mouth_y
    mound = bump(x, y, 0, my, 0.33, 0.22) * 0.13
    groove = bump(x, y, 0, (my + shape.nose_y) / 2, 0.035, 0.09) * 0.022
    columns = pair(x, y, 0.07, (my + shape.nose_y) / 2, 0.04, 0.1) * 0.012
    corners = pair(x, y, shape.mouth_w * 1.03, my - 0.05 * shape.smile, 0.06, 0.06) * (0.04 + 0.05 * shape.smile)
    sulcus = bump(x, y, 0, my + shape.lip_low + shape.gap + 0.09, 0.2, 0.055) * 0.09
    return mound - groove + columns - corners - sulcus


def lips(canvas: Canvas, shape: Shape) -> np.ndarray:
    """Pillow-shaped relief of both lips with the parting line between them."""
    x, y = axes(canvas)
    top, mid, under, low = (
        np.interp(x[0], c[:, 0], c[:, 1], left=shape.mouth_y, right=shape.mouth_y).astype(np.float32)
        for c in lip_curves(shape)
    )
    upper = np.clip((y - top) / np.maximum(mid - top, 0.012), 0, 1)
    lower = np.clip((y - under) / np.maximum(low - under, 0.012), 0, 1)
    inside = np.clip(1.05 - np.abs(x) / shape.mouth_w, 0, 1) ** 0.5
    relief = (0.05 * np.sin(np.pi * upper**0.9) + 0.085 * np.sin(np.pi * lower**0.8)) * inside
    parting = np.exp(-0.5 * np.square((y - 0.5 * (mid + under)) / 0.022)) * (np.abs(x) < shape.mouth_w)
    return blur((relief - 0.04 * parting).astype(np.float32), canvas, 0.012)


def lids(canvas: Canvas, shape: Shape) -> np.ndarray:
    """The upper-lid crease, the lid margins and a slight bag under each eye."""
    upper, lower = eye_curves(shape)
    s = np.linspace(0, 1, len(upper))[:, None]
    crease = upper + np.array([0.0, -1.0]) * (0.03 + 0.05 * np.sin(np.pi * s) ** 0.7)
    bag = lower + np.array([0.0, 1.0]) * (0.04 + 0.09 * np.sin(np.pi * s))
    return (
        0.03 * line_mask(canvas, both(lower + [0, 0.015]), 0.02, 0.012)
        + 0.03 * line_mask(canvas, both(upper - [0, 0.015]), 0.02, 0.014)
        - 0.075 * line_mask(canvas, both(crease), 0.016, 0.012)
        - 0.03 * line_mask(canvas, both(bag), 0.02, 0.025)
    )


def both(line: np.ndarray) -> list[np.ndarray]:
    """A line (N,2) and its mirror image about the midline."""
    return [line, line * np.array([-1, 1])]


def nostril_rims(canvas: Canvas, shape: Shape) -> np.ndarray:
    """Creases around the wings of the nose and the pits of the nostrils."""
    w, b = shape.nose_w, shape.nose_y
    wing = spline(
        np.array(
            [
                (-0.74 * w, b - 0.19),
                (-0.99 * w, b - 0.12),
                (-1.04 * w, b - 0.04),
                (-0.88 * w, b + 0.02),
                (-0.62 * w, b + 0.02),
            ]
        )
    )
    return -0.07 * line_mask(canvas, both(wing), 0.016, 0.018) - 0.1 * line_mask(
        canvas, both(nostril(shape)), 0.016, 0.014
    )


def nostril(shape: Shape) -> np.ndarray:
    """Centre line (N,2) of the image-left nostril, outer end first."""
    w, b = shape.nose_w, shape.nose_y
    return spline(np.array([(-0.64 * w, b - 0.012), (-0.5 * w, b - 0.03), (-0.3 * w, b - 0.012)]))


def wrinkles(rng: np.random.Generator, canvas: Canvas, shape: Shape, age: float) -> np.ndarray:
    """Nasolabial folds on everyone, and with age forehead lines, crow's feet and marionette lines."""
    w, my = shape.nose_w, shape.mouth_y
    fold = spline(
        np.array(
            [
                (-w * 1.05, shape.nose_y - 0.12),
                (-w * 1.35 - 0.03, shape.nose_y + 0.1),
                (-shape.mouth_w - 0.09, my - 0.1),
                (-shape.mouth_w - 0.12, my + 0.06),
            ]
        )
    )
    z = -(0.05 + 0.12 * age + 0.08 * shape.smile) * line_mask(canvas, both(fold), 0.03, 0.04)
    if age < 0.3:
        return z
    deep, shallow = age_lines(rng, shape)
    amount = (age - 0.3) / 0.7
    z -= (0.14 * amount) * line_mask(canvas, deep, 0.014, 0.016)
    z -= (0.085 * amount) * line_mask(canvas, shallow, 0.012, 0.012)
    return z + 0.003 * amount * noise(rng, canvas, 0.05)


def age_lines(rng: np.random.Generator, shape: Shape) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Deep lines (forehead, frown, marionette) and shallow ones (crow's feet, under-eye), each (N,2)."""
    deep = []
    for level in np.linspace(-shape.brow_y - 0.16, -0.86, 4):
        x = np.linspace(-rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.6), 7)
        deep.append(spline(np.stack([x, level + 0.05 * x * x + rng.normal(0, 0.012, 7)], axis=1)))
    deep += both(np.array([(-0.09, -0.38), (-0.075, -0.28), (-0.085, -0.2)]))
    deep += both(np.array([(-shape.mouth_w - 0.05, shape.mouth_y + 0.06), (-shape.mouth_w - 0.1, shape.mouth_y + 0.3)]))
    shallow = []
    for angle in (-0.5, -0.2, 0.1, 0.4):
        reach = np.linspace(0.05, rng.uniform(0.17, 0.26), 5)[:, None]
        ray = np.array([-0.5 - shape.eye_w, 0.0]) + reach * np.array([-np.cos(angle), np.sin(angle)])
        shallow += both(ray + np.array([0, 1]) * reach**2)
    for drop in (0.13, 0.19):
        x = np.linspace(-0.68, -0.32, 7)
        shallow += both(np.stack([x, drop + 0.06 * np.cos((x + 0.5) * 6)], axis=1))
    return deep, shallow


def pores(rng: np.random.Generator, canvas: Canvas, age: float) -> np.ndarray:
    """Fine skin relief; (H,W) float32, IOD."""
    fine = cv2.GaussianBlur(rng.standard_normal((canvas.height, canvas.width), dtype=np.float32), (0, 0), 0.9)
    return fine * (0.002 + 0.0006 * age) + noise(rng, canvas, 0.03) * 0.0009


def ear_height(canvas: Canvas, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Height and coverage of both ears beside the head; both (H,W) float32."""
    x, y = axes(canvas)
    side = np.abs(x) - shape.face_w + 0.02 + 0.05 * (y - 0.3)
    r = np.sqrt(np.square((side - 0.03) / 0.15) + np.square((y - 0.27) / 0.37))
    cover = smoothstep(1.0 + 0.04, 1.0 - 0.04, r)
    rim = np.exp(-0.5 * np.square((r - 0.82) / 0.12)) * 0.1
    inner = np.exp(-0.5 * np.square((r - 0.42) / 0.12)) * 0.06
    lobe = pair(x, y, shape.face_w, 0.56, 0.07, 0.07) * 0.08
    return (-0.05 + rim + inner + lobe - 0.3 * side).astype(np.float32), cover.astype(np.float32)
