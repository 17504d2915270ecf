"""The whole picture: background, body, head turned and placed, glasses and sensor noise."""

from typing import NamedTuple

import cv2
import numpy as np

from .anatomy import Shape, landmarks, outline, sample_shape
from .body import paint_body
from .brows import paint_beard, paint_brows
from .extras import paint_glasses
from .eyes import paint_eyes
from .field import Canvas, blur, make_canvas, mix, noise, polygon_mask, to_pixels, window
from .hair import hair_layers
from .looks import Look, sample_look
from .mouth import paint_mouth, paint_nostrils
from .shading import Light, sample_light, shade, to_display, turned
from .skin import skin_albedo, skin_gloss
from .strokes import over
from .styles import reach
from .surface import ear_height, head_height


def draw_person(seed: int, size_px: int = 768) -> "DrawnPerson":
    """Paint a person who does not exist, with exact landmarks.

    The same seed and size give the same bytes. size_px is the side of the square picture, 512..1024.
    image: (size_px,size_px,3) uint8 RGB. landmarks: (70,2) float32 xy in pixels, integer values at
    pixel centres, in OpenPose-70 order (iBUG 68, then image-left and image-right pupil).
    """
    rng = np.random.default_rng(seed)
    masculine = float(rng.choice([rng.uniform(0, 0.25), rng.uniform(0.75, 1.0)]))
    age = float(rng.beta(1.1, 1.5))
    shape, look = sample_shape(rng, masculine, age), sample_look(rng, masculine, age)
    pose, light = sample_pose(rng, size_px), sample_light(rng)
    head, behind, lift = paint_head(rng, shape, look, turned(light, rotation(pose)), pose)
    canvas = head_canvas(pose, look)
    bend = displacement(rng, lift, canvas, pose)
    frame = Canvas(pose.iod, -pose.centre[0] / pose.iod, -pose.centre[1] / pose.iod, size_px, size_px)
    body, cover = paint_body(rng, frame, shape, look, light)
    maps = inverse_maps(bend, canvas, pose, frame)
    image = background(rng, size_px, light)
    if behind.any():
        image = over(image, placed(behind, maps))
    image = over(mix(image, body, cover), placed(head, maps))
    points = place_points(landmarks(shape, pose.gaze), bend, canvas, pose)
    return DrawnPerson(finish(rng, image), points.astype(np.float32))


def sample_pose(rng: np.random.Generator, size: int) -> "Pose":
    """Head size, position and turn."""
    centre = np.array([rng.uniform(0.46, 0.54), rng.uniform(0.42, 0.47)]) * size
    angles = np.deg2rad(np.clip(rng.normal(0, [6.0, 2.5, 3.5]), [-12, -4, -8], [12, 4, 8]))
    gaze = np.array([-0.05 * np.sin(angles[0]) * 3, 0.0]) + rng.normal(0, 0.006, 2)
    return Pose(size * rng.uniform(0.142, 0.162), centre, *(float(a) for a in angles), gaze)


def head_canvas(pose: "Pose", look: Look) -> Canvas:
    """The plane a frontal head is painted on, finer than the picture."""
    wide, low = reach(look.style)
    return make_canvas(pose.iod * 1.25, -wide, -2.5, wide, low)


def rotation(pose: "Pose") -> np.ndarray:
    """Rotation (3,3) of the head: yaw and pitch, then roll in the picture plane."""
    cy, sy, cp, sp = np.cos(pose.yaw), np.sin(pose.yaw), np.cos(pose.pitch), np.sin(pose.pitch)
    cr, sr = np.cos(pose.roll), np.sin(pose.roll)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ pitch @ yaw


def paint_head(
    rng: np.random.Generator,
    shape: Shape,
    look: Look,
    light: Light,
    pose: "Pose",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head with front hair and back hair, premultiplied RGBA (H,W,4), and the height to turn by (H,W)."""
    whole = head_canvas(pose, look)
    side = shape.face_w + 0.3
    canvas, cut = window(whole, -side, shape.crown_y - 0.12, side, shape.chin_y + 0.2)
    z, lift = head_height(rng, canvas, shape, look.age, look.masculine)
    mask = polygon_mask(canvas, outline(shape))
    ears, ear_cover = ear_height(canvas, shape)
    z = np.where((mask > 0.5) | (ear_cover < 0.02), z, ears)
    albedo, gloss = skin_albedo(rng, canvas, shape, look), skin_gloss(rng, canvas, shape, look)
    radiance, energy = shade(z, albedo, gloss, canvas, light)
    behind, hair = hair_layers(rng, whole, shape, look, light)
    image = to_display(radiance)
    paint_nostrils(image, canvas, shape, look)
    paint_mouth(rng, image, energy, canvas, shape, look)
    paint_eyes(rng, image, energy, canvas, shape, look, light, pose.gaze)
    image = paint_brows(rng, image, canvas, shape, look)
    image = paint_beard(rng, image, energy, canvas, shape, look)
    image *= (1 - 0.5 * hair_shadow(hair[cut][..., 3], canvas, light))[..., None]
    if look.glasses:
        image = paint_glasses(rng, image, canvas, shape, light)
    head = np.concatenate([image, np.ones_like(mask)[..., None]], axis=2) * np.maximum(mask, ear_cover)[..., None]
    hair[cut] += head * (1 - hair[cut][..., 3:])
    return hair, behind, spread(lift, whole, cut)


def spread(values: np.ndarray, canvas: Canvas, cut: tuple[slice, slice]) -> np.ndarray:
    """A field known inside `cut`, continued outwards from its border to all of the canvas (H,W)."""
    (rows, columns) = cut
    return cv2.copyMakeBorder(
        values,
        rows.start,
        canvas.height - rows.stop,
        columns.start,
        canvas.width - columns.stop,
        cv2.BORDER_REPLICATE,
    )


def hair_shadow(alpha: np.ndarray, canvas: Canvas, light: Light) -> np.ndarray:
    """Shadow (H,W) in 0..1 that hair of this coverage throws on the skin next to it."""
    shift = -light.key[:2] * 0.09 * canvas.scale
    moved = cv2.warpAffine(alpha, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), alpha.shape[::-1])
    return blur(moved, canvas, 0.045)


def displacement(rng: np.random.Generator, lift: np.ndarray, canvas: Canvas, pose: "Pose") -> np.ndarray:
    """Shift (H,W,2) in IOD that turns the head and makes its halves slightly unlike."""
    uneven = np.stack([noise(rng, canvas, 0.9), noise(rng, canvas, 0.9)], axis=-1) * 0.012
    turn = np.array([np.sin(pose.yaw), np.sin(pose.pitch)], np.float32)
    return (uneven + (lift[..., None] - 0.9) * turn).astype(np.float32)


def inverse_maps(bend: np.ndarray, canvas: Canvas, pose: "Pose", frame: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """For every picture pixel, where on the head canvas it comes from; two (H,W) float32 maps."""
    coarse = np.arange(0.5, frame.width, 2, dtype=np.float32)
    grid = (np.stack(np.meshgrid(coarse, coarse), axis=-1) - pose.centre) / pose.iod - PIVOT
    target = (grid @ roll_matrix(pose) + PIVOT).astype(np.float32)
    squeeze = np.array([np.cos(pose.yaw), np.cos(pose.pitch)], np.float32)
    source = target / squeeze
    for _ in range(6):
        at = to_pixels(canvas, source).astype(np.float32)
        shift = cv2.remap(bend, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        source = (target - shift) / squeeze
    at = to_pixels(canvas, source).astype(np.float32)
    full = cv2.resize(at, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    return full[..., 0], full[..., 1]


def roll_matrix(pose: "Pose") -> np.ndarray:
    """In-plane rotation (2,2) applied to column vectors."""
    c, s = np.cos(pose.roll), np.sin(pose.roll)
    return np.array([[c, -s], [s, c]])


def place_points(points: np.ndarray, bend: np.ndarray, canvas: Canvas, pose: "Pose") -> np.ndarray:
    """Canonical points (N,2) in IOD to picture pixels (N,2), by the map the painting went through."""
    at = to_pixels(canvas, points).astype(np.float32)
    shift = cv2.remap(bend, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    turned_points = points * np.array([np.cos(pose.yaw), np.cos(pose.pitch)]) + shift
    return ((turned_points - PIVOT) @ roll_matrix(pose).T + PIVOT) * pose.iod + pose.centre


def placed(layer: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Resample a head-plane layer (H,W,4) into the picture."""
    return cv2.remap(layer, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def background(rng: np.random.Generator, size: int, light: Light) -> np.ndarray:
    """Out-of-focus backdrop, display RGB (size,size,3) float32."""
    hue = rng.uniform(0, 180)
    first, second = (
        hsv_colour(hue + rng.uniform(-25, 25), rng.uniform(25, 95), rng.uniform(70, 205)) for _ in range(2)
    )
    small = Canvas(64.0, 0.0, 0.0, 64, 64)
    blobs = noise(rng, small, 0.22) * 0.5 + noise(rng, small, 0.1) * 0.2
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)
    blend = np.clip(0.5 + 0.25 * ramp[None, :] * np.sign(light.key[0]) - 0.15 * ramp[:, None] + 0.3 * blobs, 0, 1)
    colour = first + (second - first) * blend[..., None]
    vignette = 1 - 0.22 * (np.square(ramp)[None, :] + np.square(ramp)[:, None])
    smooth = cv2.GaussianBlur((colour * vignette[..., None]).astype(np.float32), (0, 0), 2)
    return cv2.resize(smooth, (size, size), interpolation=cv2.INTER_CUBIC)


def hsv_colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """Display RGB (3,) in 0..1 of an OpenCV HSV triple (hue in half degrees)."""
    pixel = np.array([[[hue % 180, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32) / 255.0


def finish(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Sensor noise and quantisation: (H,W,3) uint8."""
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(1.5) + np.float32(0.5)
    return np.clip(image * np.float32(255) + grain[..., None], 0, 255).astype(np.uint8)


PIVOT = np.array([0.0, 1.5])


class Pose(NamedTuple):
    """Placement: IOD in pixels, pixel of the point between the eyes, angles in radians, gaze in IOD."""

    iod: float
    centre: np.ndarray
    yaw: float
    pitch: float
    roll: float
    gaze: np.ndarray


class DrawnPerson(NamedTuple):
    """image (H,W,3) uint8 RGB; landmarks (70,2) float32 xy pixels, integer values at pixel centres."""

    image: np.ndarray
    landmarks: np.ndarray
