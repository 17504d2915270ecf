"""Skin colour before lighting: zones, mottling, freckles, stubble and lips; and how much skin shines."""

import cv2
import numpy as np

from .anatomy import Shape, lip_curves
from .field import Canvas, axes, between, blur, bump, enlarge, half, mix, noise, pair, smoothstep, window
from .looks import Look
from .shading import to_linear


def skin_albedo(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look) -> np.ndarray:
    """Linear skin colour (H,W,3) float32 of the whole head plane."""
    small = half(canvas)
    base = to_linear(look.skin * rng.uniform(0.975, 1.02, 3))
    red, dark = zones(rng, small, shape, look)
    tint = np.stack([1 + 0.10 * red - dark, 1 - 0.20 * red - 1.08 * dark, 1 - 0.20 * red - 0.95 * dark], axis=-1)
    colour = base * enlarge(tint.astype(np.float32), canvas)
    fine = cv2.GaussianBlur(rng.standard_normal(colour.shape[:2], dtype=np.float32), (0, 0), 0.8)
    colour *= (1 + 0.05 * fine + 0.02 * noise(rng, canvas, 0.03))[..., None]
    if look.freckles:
        colour = mix(colour, base * np.array([0.62, 0.42, 0.3], np.float32), freckles(rng, canvas, look.freckles))
    colour = with_stubble(rng, canvas, shape, look, colour)
    return with_lips(rng, canvas, shape, look, np.maximum(colour, 0.004)).astype(np.float32)


def zones(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Redness and darkness maps (H,W), roughly 0..1."""
    x, y = axes(canvas)
    flush = rng.uniform(0.35, 0.95) * (1.0 - 0.55 * look.tone)
    red = pair(x, y, 0.66, 0.56, 0.24, 0.2) + 0.8 * bump(x, y, 0, shape.nose_y - 0.12, 0.22, 0.12)
    red += 0.5 * bump(x, y, 0, shape.chin_y - 0.2, 0.2, 0.14) + 0.7 * pair(x, y, shape.face_w + 0.05, 0.3, 0.12, 0.4)
    red += 0.35 * pair(x, y, 0.5, 0.0, 0.3, 0.12)
    red = red * flush + 0.1 * noise(rng, canvas, 0.05) + 0.09 * noise(rng, canvas, 0.12) + 0.1 * noise(rng, canvas, 0.3)
    dark = pair(x, y, 0.42, 0.13, 0.17, 0.06) * (0.1 + 0.12 * look.age)
    dark += pair(x, y, 0.48, -0.12, 0.22, 0.06) * 0.1 + 0.05 * noise(rng, canvas, 0.2) + 0.03 * noise(rng, canvas, 0.06)
    spots = smoothstep(1.5, 2.1, noise(rng, canvas, 0.05)) * max(0.0, look.age - 0.45) * 0.5
    return red, dark + spots


def freckles(rng: np.random.Generator, canvas: Canvas, amount: float) -> np.ndarray:
    """Coverage (H,W) in 0..1 of small spots over cheeks and nose."""
    x, y = axes(canvas)
    zone = pair(x, y, 0.55, 0.4, 0.3, 0.25) + bump(x, y, 0, 0.42, 0.25, 0.25) + 0.3 * bump(x, y, 0, -0.6, 0.6, 0.3)
    count = int(420 * amount)
    spots = np.zeros((canvas.height, canvas.width), np.uint8)
    places = rng.uniform([-0.95, -0.8], [0.95, 1.0], (count, 2))
    for (px, py), radius in zip(places, rng.uniform(0.006, 0.017, count), strict=True):
        at = np.round((np.array([px, py]) - [canvas.left, canvas.top]) * canvas.scale * 16).astype(int)
        cv2.circle(spots, (int(at[0]), int(at[1])), int(radius * canvas.scale * 16), 200, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(spots, (0, 0), 0.9).astype(np.float32) / 255.0 * np.clip(zone, 0, 1) * 0.75


def beard_zone(canvas: Canvas, shape: Shape, kind: str) -> np.ndarray:
    """Where facial hair of this kind grows, (H,W) float32 in 0..1."""
    x, y = axes(canvas)
    inside = smoothstep(shape.face_w, shape.face_w - 0.08, np.abs(x) + 0.0 * y)
    my, mouth = shape.mouth_y, np.square(x / (shape.mouth_w * 1.15))
    lip = smoothstep(shape.nose_y + 0.06, shape.nose_y + 0.12, y) * smoothstep(my + 0.05, my - 0.02, y)
    lip = lip * smoothstep(1.15, 0.9, np.sqrt(mouth) + 0.0 * y)
    edge = my + 0.12 - 0.95 * np.clip((np.abs(x) - 0.42) / 0.6, 0, 1.2) ** 1.4
    jaw = smoothstep(-0.08, 0.1, y - edge) * inside
    soul = np.maximum(1 - mouth, 0) * smoothstep(my + 0.3, my + 0.12, y)
    jaw = jaw * (1 - 0.85 * smoothstep(0.1, 0.5, soul))
    chin = smoothstep(0.42, 0.34, np.abs(x) + 0.0 * y) * smoothstep(my - 0.02, my + 0.1, y)
    return {
        "full": np.maximum(jaw, lip),
        "stubble": np.maximum(jaw, lip),
        "moustache": lip,
        "goatee": np.maximum(chin * np.maximum(jaw, smoothstep(0.3, 0.4, np.abs(x) + 0 * y)), lip),
    }[kind]


def with_stubble(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look, colour: np.ndarray) -> np.ndarray:
    """Darken the beard zone of men; (H,W,3) linear."""
    if look.masculine < 0.5:
        return colour
    kind = "full" if look.beard == "none" else look.beard
    strength = {"none": 0.1, "stubble": 0.5, "full": 0.6, "moustache": 0.4, "goatee": 0.5}[look.beard]
    zone = blur(beard_zone(canvas, shape, kind), canvas, 0.03)
    grain = 0.75 + 0.25 * noise(rng, canvas, 0.012)
    return mix(colour, to_linear(0.6 * look.hair + 0.4 * look.skin * 0.5), np.clip(zone * strength * grain, 0, 0.9))


def with_lips(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look, colour: np.ndarray) -> np.ndarray:
    """Colour the vermilion, softly edged and finely lined; (H,W,3) linear."""
    canvas, cut = window(canvas, -0.7, shape.mouth_y - 0.3, 0.7, shape.mouth_y + 0.45)
    x, y = axes(canvas)
    top, _, _, low = lip_curves(shape)
    mask = cv2.GaussianBlur(between(canvas, top, low), (0, 0), max(0.6, 0.011 * canvas.scale))
    lines = np.interp(x[0] * 90 + 200, np.arange(400), rng.standard_normal(400)).astype(np.float32)[None, :]
    parting = np.exp(-0.5 * np.square((y - shape.mouth_y) / 0.035))
    lip = to_linear(look.lips) * (1 + 0.06 * lines - 0.3 * parting + 0.05 * noise(rng, canvas, 0.05))[..., None]
    colour[cut] = mix(colour[cut], lip, mask * 0.9)
    return colour


def skin_gloss(rng: np.random.Generator, canvas: Canvas, shape: Shape, look: Look) -> np.ndarray:
    """How strongly each point mirrors the light, (H,W) float32."""
    x, y = axes(canvas)
    oil = rng.uniform(0.5, 0.95)
    zone = 0.5 + 0.5 * bump(x, y, 0, -0.6, 0.5, 0.25) + 0.7 * bump(x, y, 0, shape.nose_y - 0.15, 0.12, 0.4)
    zone += 0.45 * pair(x, y, 0.68, 0.35, 0.2, 0.13) - 0.3 * pair(x, y, 0.5, 0.0, 0.25, 0.2)
    zone -= 0.45 * bump(x, y, 0, shape.nose_y + 0.15, 0.3, 0.1)
    top, _, _, low = lip_curves(shape)
    lips = blur(between(canvas, top, low), canvas, 0.012)
    zone *= 1 - 0.45 * look.age
    rough = 1 + 0.2 * noise(rng, canvas, 0.02)
    return ((zone * oil * (1 - lips) + lips * (1.1 - 0.5 * look.masculine)) * rough * 0.45).astype(np.float32)
