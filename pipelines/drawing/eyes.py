"""Eyeballs between the lids: sclera, iris, pupil, catchlight, lid shadow and lashes."""

import cv2
import numpy as np

from .anatomy import Shape, eye_curves
from .field import Canvas, axes, between, line_mask, mix, smoothstep, window
from .looks import Look
from .shading import Light, to_display, to_linear
from .strokes import paint_strokes

IRIS_RADIUS = 0.094


def paint_eyes(
    rng: np.random.Generator,
    image: np.ndarray,
    energy: np.ndarray,
    canvas: Canvas,
    shape: Shape,
    look: Look,
    light: Light,
    gaze: np.ndarray,
) -> None:
    """Draw both eyes into `image` (H,W,3 float display RGB) in place, lit like `energy` (H,W,3)."""
    fibres = rng.standard_normal((10, 72)).astype(np.float32)
    pupil = rng.uniform(0.34, 0.46)
    for side in (-1, 1):
        upper, lower = (facing(curve, side) for curve in eye_curves(shape))
        part, cut = window(canvas, side * 0.5 - 0.42, -0.32, side * 0.5 + 0.42, 0.3)
        glow = np.median(energy[cut].reshape(-1, 3), axis=0)
        ball = eyeball(part, side, look, light, gaze, fibres, pupil, upper)
        ball = to_display(ball * (0.35 + 0.65 * glow))
        ball = catchlight(ball, part, side, light, gaze)
        opening = between(part, upper, lower)
        patch = margins(image[cut], part, upper, lower)
        image[cut] = lash_line(mix(patch, ball, opening), part, upper, lower, side, look)


def facing(curve: np.ndarray, side: int) -> np.ndarray:
    """The image-left curve (N,2) as it is for side -1, mirrored with rising x for side +1."""
    return curve if side < 0 else curve[::-1] * np.array([-1, 1])


def eyeball(
    canvas: Canvas,
    side: int,
    look: Look,
    light: Light,
    gaze: np.ndarray,
    fibres: np.ndarray,
    pupil: float,
    upper: np.ndarray,
) -> np.ndarray:
    """Linear colour (H,W,3) of the bare eyeball under the shadow of the upper lid."""
    x, y = axes(canvas)
    dx, dy = x - side * 0.5 - gaze[0], y - gaze[1]
    r = np.sqrt(dx * dx + dy * dy) / IRIS_RADIUS
    u, v = (x - side * 0.5) / 0.34, y / 0.3
    round_off = np.clip(1.03 - 0.95 * u * u - 0.8 * v * v, 0.2, 1) + 0.22 * light.key[0] * u
    white = to_linear(np.array([0.85, 0.81, 0.775]) - 0.05 * look.age - 0.04 * look.tone)
    corner = smoothstep(0.5, 0.95, np.abs(u) + 0 * y)
    ball = mix(white * round_off[..., None], to_linear(np.array([0.75, 0.5, 0.46])) * 0.8, corner * 0.6)
    ball = mix(ball, np.array([0.55, 0.23, 0.2], np.float32), caruncle(x, y, side))
    soft = 0.07
    ball = mix(ball, iris(r, np.arctan2(dy, dx), look, fibres, light, dx, dy), smoothstep(1 + soft, 1 - soft, r))
    ball = mix(ball, np.array([0.004, 0.004, 0.005], np.float32), smoothstep(pupil + 0.06, pupil - 0.06, r))
    lid = y - np.interp(x[0], upper[:, 0], upper[:, 1]).astype(np.float32)
    return ball * (1 - 0.75 * np.exp(-np.maximum(lid, 0) / 0.04))[..., None]


def caruncle(x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    """Coverage of the pink corner beside the nose."""
    return np.exp(-np.square((x - side * 0.275) / 0.04) - np.square((y - 0.015) / 0.03)) * 0.8


def iris(
    r: np.ndarray,
    angle: np.ndarray,
    look: Look,
    fibres: np.ndarray,
    light: Light,
    dx: np.ndarray,
    dy: np.ndarray,
) -> np.ndarray:
    """Linear iris colour (H,W,3): fibres, a warm inner ring, a dark limbal ring and a lit lower side."""
    turn = ((angle / (2 * np.pi)) % 1.0 * fibres.shape[1]).astype(np.float32)
    wrapped = np.concatenate([fibres, fibres[:, :1]], axis=1)
    rays = cv2.remap(wrapped, turn, np.clip(r * 9, 0, 9).astype(np.float32), cv2.INTER_LINEAR)
    colour = to_linear(look.iris)
    warm = to_linear(np.clip(look.iris * np.array([1.35, 1.1, 0.75]), 0, 1))
    base = colour + (warm - colour) * smoothstep(0.75, 0.4, r)[..., None]
    across = -(dx * light.key[0] + dy * light.key[1]) / IRIS_RADIUS
    tone = (1.15 + 0.28 * rays) * (1 - 0.8 * smoothstep(0.74, 1.02, r)) * (1.0 + 0.7 * across)
    return base * np.clip(tone, 0.1, 3)[..., None]


def catchlight(ball: np.ndarray, canvas: Canvas, side: int, light: Light, gaze: np.ndarray) -> np.ndarray:
    """Reflection of the key light, and a faint one of the fill, upon a display-space eyeball (H,W,3)."""
    x, y = axes(canvas)
    cx = side * 0.5 + gaze[0] + 0.05 * np.sign(light.key[0]) * min(1.0, abs(light.key[0]) * 2)
    spot = np.square((x - cx) / 0.017) ** 2 + np.square((y - gaze[1] + 0.036) / 0.018) ** 2
    faint = np.square((x - side * 1.0 - gaze[0] * 2 + cx) / 0.03) + np.square((y - gaze[1] - 0.045) / 0.02)
    ball = mix(ball, np.array([0.75, 0.8, 0.85], np.float32), 0.22 * np.exp(-faint))
    return mix(ball, np.array([1.0, 0.99, 0.97], np.float32), 0.93 * np.exp(-0.8 * spot))


def margins(skin: np.ndarray, canvas: Canvas, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Crease and lid-margin colouring around the opening, on display-space skin (H,W,3)."""
    s = np.linspace(0, 1, len(upper))[:, None]
    crease = upper - np.array([0.0, 1.0]) * (0.03 + 0.05 * np.sin(np.pi * s) ** 0.7)
    dark = 0.3 * line_mask(canvas, [crease[2:-2]], 0.012, 0.008)
    dark = dark + 0.18 * line_mask(canvas, [upper], 0.05, 0.03) + 0.1 * line_mask(canvas, [lower], 0.04, 0.02)
    skin = skin * (1 - dark[..., None] * np.array([0.75, 1.0, 1.0], np.float32))
    wet = line_mask(canvas, [lower[3:-2] + [0, 0.006]], 0.014, 0.006)
    return mix(skin, np.clip(skin * np.array([1.12, 0.98, 0.96], np.float32) + 0.05, 0, 1), wet * 0.7)


def lash_line(
    image: np.ndarray, canvas: Canvas, upper: np.ndarray, lower: np.ndarray, side: int, look: Look
) -> np.ndarray:
    """Dark upper lid edge and lashes on a display-space patch (H,W,3)."""
    made_up = 1.0 - look.masculine
    ink = np.clip(look.hair * 0.4, 0, 0.14).astype(np.float32) * (0.5 + 0.5 * look.masculine) + 0.02
    edge = line_mask(canvas, [upper - [0, 0.004]], 0.016 + 0.012 * made_up, 0.005)
    low = line_mask(canvas, [lower], 0.008, 0.006)
    image = mix(image, ink, np.clip(edge * (0.85 + 0.25 * made_up), 0, 0.95))
    image = mix(image, ink + 0.1, low * 0.38)
    lines = np.concatenate(
        [
            lashes(upper, side, 24, 0.04 + 0.03 * made_up, -1.0),
            lashes(lower, side, 13, 0.018 + 0.012 * made_up, 1.0),
        ]
    )
    return paint_strokes(image, canvas, lines, np.broadcast_to(ink, (len(lines), 3)), 0.42)


def lashes(lid: np.ndarray, side: int, count: int, length: float, way: float) -> np.ndarray:
    """Curved lashes (count,4,2) fanning outwards from a lid edge; way is -1 for the upper lid."""
    at = np.linspace(0.06, 0.97, count)
    s = np.linspace(0, 1, len(lid))
    root = np.stack([np.interp(at, s, lid[:, i]) for i in range(2)], axis=1)
    fan = (root[:, 0] - side * 0.47) / 0.24
    reach = length * (0.55 + 0.45 * np.clip(fan * side, -0.6, 1)) * (0.85 + 0.15 * np.sin(np.arange(count) * 2.4))
    t = np.linspace(0, 1, 4)[None, :]
    dx = reach[:, None] * t * (fan[:, None] * 0.75)
    dy = way * reach[:, None] * (t**1.4 if way > 0 else t**1.6 - 0.25 * np.sin(np.pi * t) * 0.8)
    return root[:, None] + np.stack([dx, dy], axis=-1)
