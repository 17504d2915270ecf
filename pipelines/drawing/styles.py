"""The hair styles: how each grows and how much room it takes."""

from typing import NamedTuple

import numpy as np

POINTS = 13


def reach(style: str) -> tuple[float, float]:
    """Half-width and lower end (IOD) of the area hair of this style may fill."""
    return reach_of(STYLES[style])


def reach_of(style: "Style") -> tuple[float, float]:
    """As reach, for the style itself."""
    return (1.9, 3.3) if style.length > 1.6 else (1.75, 2.1) if style.length >= 0.5 else (1.5, 2.1)


class Scalp(NamedTuple):
    """Ellipsoid on which hair grows: centre (3,) and radii (3,) in IOD."""

    centre: np.ndarray
    radii: np.ndarray


class Style(NamedTuple):
    """How hair grows: strand count, IOD lengths, comb name, and shape parameters."""

    count: int
    length: float
    comb: str
    lift: float = 0.2
    weight: float = 0.0
    body: float = 0.06
    messy: float = 0.1
    wave: float = 0.0
    waves: float = 1.0
    frizz: float = 0.6
    part: float = 0.0
    recede: float = 0.0
    cut: float = 2.8
    cling: float = 0.0
    coat: float = 0.012
    cover: float = 1.0
    strand: float = 0.8
    tie: bool = False


STYLES = {
    "bald": Style(0, 0.0, "out"),
    "buzz": Style(5500, 0.07, "crop", cover=0.8, strand=0.5, body=0.01, messy=0.4),
    "receding": Style(3600, 0.26, "crop", 0.25, recede=0.3, body=0.03, messy=0.25, cover=0.9),
    "short": Style(4200, 0.4, "crop", 0.5, 0.8, body=0.07, messy=0.2, part=-0.4, cling=0.6),
    "swept": Style(4200, 0.8, "back", 0.3, 0.0, body=0.1, messy=0.08, part=0.3, cling=2.2),
    "curly": Style(3000, 0.62, "part", 0.7, 0.8, body=0.2, messy=0.4, wave=0.06, waves=2.6, frizz=1.2),
    "afro": Style(4200, 0.55, "out", 0.2, 0.0, body=0.1, messy=0.35, wave=0.045, waves=3.2, frizz=2.5),
    "long": Style(
        5000,
        3.7,
        "part",
        0.12,
        0.7,
        body=0.12,
        messy=0.06,
        cut=2.75,
        wave=0.02,
        waves=1.5,
        part=0.15,
        cling=1.2,
    ),
    "wavy": Style(
        5000,
        3.6,
        "part",
        0.2,
        0.7,
        body=0.17,
        messy=0.07,
        wave=0.06,
        waves=3.0,
        frizz=0.3,
        cut=2.6,
        part=-0.25,
        cling=1.1,
    ),
    "bob": Style(4600, 3.0, "part", 0.15, 0.8, body=0.15, messy=0.06, wave=0.02, cut=1.75, part=0.25, cling=1.2),
    "bun": Style(4200, 1.0, "tie", 0.25, 0.0, body=0.05, messy=0.05, tie=True),
}
