"""Light on a height field: wrapped Lambert with warm bleeding, soft specular, occlusion and cast shadow."""

from typing import NamedTuple

import cv2
import numpy as np

from .field import Canvas, blur, enlarge, half, smoothstep


def sample_light(rng: np.random.Generator) -> "Light":
    """A soft key light from the upper left or right, tinted, with a weaker opposite fill."""
    side = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.85)
    key = np.array([side, -rng.uniform(0.35, 0.65), 1.0], np.float32)
    fill = np.array([-side * 1.6, -0.1, 0.7], np.float32)
    warm = rng.uniform(-0.06, 0.08)
    tint = np.array([1 + warm, 1.0, 1 - warm], np.float32)
    return Light(
        key / np.linalg.norm(key),
        fill / np.linalg.norm(fill),
        tint * rng.uniform(0.96, 1.1),
        (2 - tint) * rng.uniform(0.1, 0.22),
        rng.uniform(0.17, 0.25),
    )


def turned(light: "Light", rotation: np.ndarray) -> "Light":
    """The light as seen from a head rotated by `rotation` (3,3)."""
    back = rotation.T.astype(np.float32)
    return light._replace(key=back @ light.key, fill=back @ light.fill)


def normals(z: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normal components of a height field (H,W) in IOD sampled at `scale` pixels per IOD."""
    dx = cv2.Scharr(z, cv2.CV_32F, 1, 0) * (scale / 32.0)
    dy = cv2.Scharr(z, cv2.CV_32F, 0, 1) * (scale / 32.0)
    inverse = 1.0 / np.sqrt(dx * dx + dy * dy + 1.0)
    return -dx * inverse, -dy * inverse, inverse


def cast_shadow(z: np.ndarray, canvas: Canvas, light: np.ndarray) -> np.ndarray:
    """Lit fraction (H,W) in 0..1 after shadows the surface throws on itself along `light` (3,)."""
    flat = light[:2] / np.linalg.norm(light[:2])
    slope = light[2] / np.linalg.norm(light[:2])
    small = cv2.resize(z, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    reach = np.zeros_like(small)
    for step in np.linspace(0.05, 0.7, 10):
        shift = -flat * step * canvas.scale / 4
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        seen = cv2.warpAffine(small, move, small.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        np.maximum(reach, seen - small - step * slope, out=reach)
    soft = cv2.GaussianBlur(1.0 - 0.85 * smoothstep(0.0, 0.16, reach), (0, 0), max(1.0, 0.014 * canvas.scale))
    return cv2.resize(soft, z.shape[::-1], interpolation=cv2.INTER_LINEAR)


def occlusion(z: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Ambient light reaching each point (H,W) in 0..1, from how far it lies under its surroundings."""
    small = cv2.resize(z, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    part = half(canvas)
    dark = sum(
        strength * np.maximum(blur(small, part, sigma) - small, 0)
        for sigma, strength in ((0.025, 7.0), (0.07, 3.2), (0.16, 1.4))
    )
    return enlarge(1.0 / (1.0 + dark), canvas)


def shade(
    z: np.ndarray,
    albedo: np.ndarray,
    gloss: np.ndarray,
    canvas: Canvas,
    light: "Light",
    bleed: float = 1.0,
    self_shadow: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Light a surface.

    z (H,W) float32 IOD; albedo (H,W,3) linear 0..1; gloss (H,W) 0..1; bleed 0..1 softens red
    into the shadows as skin does. Returns linear radiance and irradiance, both (H,W,3) float32.
    """
    nx, ny, nz = normals(z, canvas.scale)
    key = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
    fill = np.maximum(nx * light.fill[0] + ny * light.fill[1] + nz * light.fill[2] + 0.3, 0) / 1.3
    open_sky = occlusion(z, canvas)
    lit = cast_shadow(z, canvas, light.key) if self_shadow else np.ones_like(z)
    around = light.ambient * (0.75 - 0.35 * ny) * open_sky
    root_sky = np.sqrt(open_sky)
    energy = np.empty(z.shape + (3,), np.float32)
    for c, (spread, wrap) in enumerate(((0.022, 0.3), (0.01, 0.12), (0.005, 0.06))):
        soft = blur(key, canvas, spread * bleed) if bleed else key
        diffuse = np.maximum(soft + wrap, 0) / (1 + wrap)
        shadow, ground = (lit + 0.2 * bleed * (1 - lit), root_sky) if c == 0 else (lit, open_sky)
        energy[..., c] = light.colour[c] * diffuse * shadow * (0.35 + 0.65 * ground) + fill * light.tint[c] * ground
        energy[..., c] += around
    shine = highlights(nx, ny, nz, light) * gloss * lit * open_sky
    return albedo * energy + shine[..., None] * light.colour, energy


def highlights(nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, light: "Light") -> np.ndarray:
    """Broad and narrow Blinn-Phong lobes of the key light; (H,W) float32."""
    halfway = light.key + np.array([0, 0, 1], np.float32)
    halfway = halfway / np.linalg.norm(halfway)
    facing = np.maximum(nx * halfway[0] + ny * halfway[1] + nz * halfway[2], 0)
    f4 = np.square(np.square(facing))
    f16 = np.square(np.square(f4))
    grazing = np.square(np.square(1.0 - nz))
    return 0.09 * f16 + 0.2 * np.square(np.square(f16)) * f16 + 0.1 * grazing * facing


def to_linear(colour: np.ndarray) -> np.ndarray:
    """Display values in 0..1 to linear light (gamma 2, for its cheap inverse), any shape."""
    return np.square(np.maximum(colour, 0)).astype(np.float32)


def to_display(radiance: np.ndarray) -> np.ndarray:
    """Linear radiance to display values in 0..1 with a soft shoulder, any shape."""
    rolled = radiance * 1.22 / (1.0 + 0.22 * radiance)
    return np.sqrt(np.clip(rolled, 0, 1))


class Light(NamedTuple):
    """Unit directions to the lights, colours (3,) and the ambient level."""

    key: np.ndarray
    fill: np.ndarray
    colour: np.ndarray
    tint: np.ndarray
    ambient: float
