"""Sampled facial proportions and the landmarks that follow from them."""

from typing import NamedTuple

import numpy as np

from .field import spline


def sample_shape(rng: np.random.Generator, masculine: float, age: float) -> "Shape":
    """Draw facial proportions in IOD units; `masculine` and `age` lie in 0..1."""
    u = rng.uniform
    smile = max(0.0, u(-0.25, 0.85))
    gap = u(0.035, 0.085) if smile > 0.25 and u() < 0.6 else 0.0
    return Shape(
        face_w=u(1.03, 1.15) + 0.03 * masculine,
        jaw_power=u(1.95, 2.2) + 0.2 * masculine,
        taper=u(0.02, 0.16),
        chin_y=u(1.72, 1.84) + 0.10 * masculine,
        crown_y=-u(1.66, 1.8),
        eye_w=u(0.232, 0.258),
        eye_up=u(0.076, 0.098) - 0.008 * masculine - 0.012 * age,
        eye_low=u(0.066, 0.08),
        eye_tilt=u(-0.012, 0.045),
        brow_y=u(0.32, 0.37) - 0.035 * masculine,
        brow_arch=u(0.03, 0.07) - 0.025 * masculine,
        nose_y=u(0.72, 0.8) + 0.03 * age,
        nose_w=u(0.245, 0.3) + 0.025 * masculine,
        nose_h=u(0.34, 0.44),
        mouth_y=u(1.1, 1.17) + 0.02 * masculine,
        mouth_w=u(0.38, 0.43) + 0.05 * smile,
        lip_up=u(0.085, 0.125) - 0.02 * masculine - 0.015 * age,
        lip_low=u(0.125, 0.165) - 0.015 * masculine - 0.02 * age,
        smile=smile,
        gap=gap,
    )


def half_width(shape: "Shape", y: np.ndarray) -> np.ndarray:
    """Half-width of the head outline (without ears) at heights y (IOD); 0 above crown and below chin."""
    down = np.clip(y / shape.chin_y, 0, 1)
    up = np.clip(y / shape.crown_y, 0, 1)
    jaw = (1 - down**shape.jaw_power) ** (1 / shape.jaw_power) * (1 - shape.taper * down * down)
    skull = (1 - up**2.5) ** (1 / 2.5) * (1 + 0.09 * np.sin(np.pi * np.clip(up * 1.1, 0, 1)))
    return shape.face_w * np.where(y > 0, jaw, skull)


def outline(shape: "Shape") -> np.ndarray:
    """Closed head outline (N,2) in IOD, from the left temple over the chin and back over the crown."""
    fine = np.linspace(-np.pi / 2, np.pi / 2, 160)
    y = np.where(fine < 0, -shape.crown_y, shape.chin_y) * np.sin(fine)
    left = np.stack([-half_width(shape, y), y], axis=1)
    return np.concatenate([left, left[::-1] * np.array([-1, 1])])


def jaw_points(shape: "Shape") -> np.ndarray:
    """Landmarks 0-16 (17,2): evenly spaced along the outline from ear to ear over the chin."""
    y = shape.chin_y * np.sin(np.linspace(0.02, np.pi / 2, 200))
    left = np.stack([-half_width(shape, y), y], axis=1)
    path = np.concatenate([left, left[-2::-1] * np.array([-1, 1])])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 17)
    return np.stack([np.interp(at, length, path[:, i]) for i in range(2)], axis=1)


def brow_points(shape: "Shape") -> np.ndarray:
    """Landmarks 17-21 (5,2): the image-left brow, outer to inner."""
    b, arch = -shape.brow_y, shape.brow_arch
    return np.array(
        [
            (-0.94, b + 0.07),
            (-0.79, b - arch * 0.7),
            (-0.61, b - arch),
            (-0.42, b - arch * 0.45),
            (-0.24, b + 0.03),
        ]
    )


def eye_curves(shape: "Shape") -> tuple[np.ndarray, np.ndarray]:
    """Image-left eye: upper and lower lid edge, each (33,2), outer corner to inner corner."""
    s = np.linspace(0, 1, 33)
    x = -0.5 + shape.eye_w * (2 * s - 1)
    chord = -shape.eye_tilt + (shape.eye_tilt + 0.022) * s
    upper = chord - (shape.eye_up + chord.mean() + 0.01) * np.sin(np.pi * s**0.94) ** 0.8
    lower = chord + (shape.eye_low - chord.mean()) * np.sin(np.pi * s**1.1) ** 0.9
    return np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)


def eye_points(shape: "Shape") -> np.ndarray:
    """Landmarks 36-41 (6,2): outer corner, upper lid, inner corner, lower lid."""
    upper, lower = eye_curves(shape)
    return np.stack([upper[0], upper[10], upper[22], upper[32], lower[22], lower[10]])


def nose_points(shape: "Shape") -> np.ndarray:
    """Landmarks 27-35 (9,2): the bridge from nasion to tip, then the base from left to right."""
    tip, base, w = shape.nose_y - 0.16, shape.nose_y, shape.nose_w
    bridge = np.stack([np.zeros(4), np.linspace(0.0, tip, 4)], axis=1)
    under = np.array(
        [
            (-0.72 * w, base - 0.015),
            (-0.36 * w, base + 0.015),
            (0, base + 0.03),
            (0.36 * w, base + 0.015),
            (0.72 * w, base - 0.015),
        ]
    )
    return np.concatenate([bridge, under])


def mouth_points(shape: "Shape") -> np.ndarray:
    """Landmarks 48-67 (20,2): outer lip, then inner lip, each from the image-left corner over the top."""
    w, up, low, gap = shape.mouth_w, shape.lip_up, shape.lip_low, shape.gap
    half_outer = np.array([(-1, 0), (-0.6, -0.64 * up), (-0.2, -up), (0, -0.84 * up)])
    half_lower = np.array([(-0.66, 0.62 * low + 0.7 * gap), (-0.3, low * 0.97 + gap), (0, 1.03 * low + gap)])
    half_inner = np.array([(-0.9, 0.0), (-0.4, -0.01), (0, 0.006)])
    half_under = np.array([(-0.4, -0.01 + gap * 0.92), (0, 0.006 + gap)])
    mirror = np.array([-1, 1])
    points = np.concatenate(
        [
            half_outer,
            half_outer[2::-1] * mirror,
            half_lower[:2] * mirror,
            half_lower[2:],
            half_lower[1::-1],
            half_inner,
            half_inner[1::-1] * mirror,
            half_under[:1] * mirror,
            half_under[1:],
            half_under[:1],
        ]
    )
    points[:, 0] *= w
    points[:, 1] += shape.mouth_y + 0.02 * shape.smile - 0.09 * shape.smile * (points[:, 0] / w) ** 2
    return points


def lip_curves(shape: "Shape") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outer top, inner top, inner bottom, outer bottom lip curves (N,2), passing through the landmarks."""
    p = mouth_points(shape)
    bottom, under = p[[0, 11, 10, 9, 8, 7, 6]], p[[12, 19, 18, 17, 16]]
    return spline(p[:7]), spline(p[12:17]), spline(under), spline(bottom)


def landmarks(shape: "Shape", gaze: np.ndarray) -> np.ndarray:
    """All 70 canonical landmarks (70,2) in IOD for a frontal face; `gaze` (2,) shifts both pupils."""
    mirror = np.array([-1, 1])
    brow, eye = brow_points(shape), eye_points(shape)
    right_eye = (eye * mirror)[[3, 2, 1, 0, 5, 4]]
    pupils = np.array([(-0.5, 0.0), (0.5, 0.0)]) + gaze
    return np.concatenate(
        [
            jaw_points(shape),
            brow,
            brow[::-1] * mirror,
            nose_points(shape),
            eye,
            right_eye,
            mouth_points(shape),
            pupils,
        ]
    )


class Shape(NamedTuple):
    """Proportions in IOD, origin midway between the pupils, x to the image right and y down."""

    face_w: float
    jaw_power: float
    taper: float
    chin_y: float
    crown_y: float
    eye_w: float
    eye_up: float
    eye_low: float
    eye_tilt: float
    brow_y: float
    brow_arch: float
    nose_y: float
    nose_w: float
    nose_h: float
    mouth_y: float
    mouth_w: float
    lip_up: float
    lip_low: float
    smile: float
    gap: float
