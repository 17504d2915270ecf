"""Colours and styles of a person: skin, hair, eyes, lips, beard, glasses."""

from typing import NamedTuple

import numpy as np

HAIR_TONES = (
    np.array(
        [
            (18, 15, 14),
            (38, 26, 20),
            (64, 42, 28),
            (96, 64, 40),
            (150, 108, 64),
            (196, 160, 104),
            (120, 54, 26),
            (150, 148, 146),
            (205, 203, 198),
        ],
        np.float32,
    )
    / 255.0
)
SKIN_TONES = (
    np.array(
        [
            (235, 199, 178),
            (228, 187, 160),
            (218, 171, 138),
            (203, 149, 112),
            (172, 118, 82),
            (136, 88, 60),
            (100, 64, 44),
            (76, 48, 36),
        ],
        np.float32,
    )
    / 255.0
)
IRIS_TONES = (
    np.array(
        [(52, 30, 18), (82, 50, 26), (112, 78, 40), (96, 104, 62), (92, 122, 140), (112, 124, 132)],
        np.float32,
    )
    / 255.0
)


def sample_look(rng: np.random.Generator, masculine: float, age: float) -> "Look":
    """Draw colours and styles; colours are sRGB triples in 0..1."""
    tone = float(np.clip(rng.beta(1.0, 1.15), 0, 1))
    man, dark = masculine > 0.5, tone > 0.5
    beard = (
        str(rng.choice(["none", "stubble", "full", "moustache", "goatee"], p=[0.26, 0.26, 0.28, 0.1, 0.1]))
        if man and age > 0.1
        else "none"
    )
    return Look(
        age=age,
        masculine=masculine,
        tone=tone,
        skin=pick_between(SKIN_TONES, tone),
        hair=sample_hair_colour(rng, age, dark),
        style=sample_style(rng, man, age, tone),
        beard=beard,
        iris=IRIS_TONES[rng.integers(0, 2 if dark else 6)] * rng.uniform(0.85, 1.2),
        lips=lip_colour(rng, tone, man),
        freckles=float(rng.uniform() < 0.25 and tone < 0.4) * rng.uniform(0.4, 1),
        glasses=bool(rng.uniform() < 0.1),
        brow_weight=rng.uniform(0.7, 1.1) + 0.3 * masculine,
    )


def pick_between(table: np.ndarray, t: float) -> np.ndarray:
    """Interpolate a colour table (N,3) at t in 0..1; (3,) float32."""
    at = np.linspace(0, 1, len(table))
    return np.array([np.interp(t, at, table[:, c]) for c in range(3)], np.float32)


def sample_hair_colour(rng: np.random.Generator, age: float, dark: bool) -> np.ndarray:
    """A natural hair colour for the age (0..1), sRGB (3,) in 0..1."""
    colour = HAIR_TONES[rng.integers(0, 3)] if dark else HAIR_TONES[rng.integers(0, 7)]
    grey = np.clip((age - 0.5) * 2.2 + rng.uniform(-0.35, 0.3), 0, 1)
    return colour * (1 - grey) + HAIR_TONES[7 + int(age > 0.8)] * grey


def sample_style(rng: np.random.Generator, man: bool, age: float, tone: float) -> str:
    """Name of a hair style that hair.py knows."""
    if man:
        styles, odds = (
            ["short", "swept", "buzz", "receding", "bald", "curly"],
            [0.34, 0.22, 0.14, 0.1, 0.08, 0.12],
        )
        if age > 0.55:
            odds = [0.3, 0.15, 0.05, 0.32, 0.16, 0.02]
    else:
        styles, odds = ["long", "wavy", "bun", "bob", "curly", "short"], [0.28, 0.2, 0.16, 0.16, 0.12, 0.08]
    if tone > 0.7:
        styles, odds = (
            (["buzz", "afro", "bald", "curly"], [0.4, 0.2, 0.2, 0.2])
            if man
            else (["afro", "bun", "curly", "long"], [0.3, 0.25, 0.3, 0.15])
        )
    return str(rng.choice(styles, p=odds))


def lip_colour(rng: np.random.Generator, tone: float, man: bool) -> np.ndarray:
    """Lip colour, sRGB (3,): a redder, slightly darker skin, or lipstick."""
    natural = pick_between(np.array([(206, 128, 120), (180, 104, 94), (128, 74, 66), (96, 56, 52)]) / 255.0, tone)
    if man or rng.uniform() < 0.5:
        return natural
    stick = np.array([(176, 50, 62), (192, 90, 96), (150, 58, 72), (200, 96, 88)])[rng.integers(4)] / 255.0
    return (0.45 * natural + 0.55 * stick * (1.0 - 0.3 * tone)).astype(np.float32)


class Look(NamedTuple):
    """Colours (sRGB, (3,) float in 0..1), style names and strengths in 0..1."""

    age: float
    masculine: float
    tone: float
    skin: np.ndarray
    hair: np.ndarray
    style: str
    beard: str
    iris: np.ndarray
    lips: np.ndarray
    freckles: float
    glasses: bool
    brow_weight: float
