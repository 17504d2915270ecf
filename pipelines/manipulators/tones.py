"""Tones: how the light, the colour and the detail of one picture's skin are given to another's.

Every picture here is RGB float32 h×w×3, 0–255, on a window's grid (see `blending`).
"""

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_EXCESS = np.float32(1.5)  # how often the target's local deviation a donor's may be
_FAINT = np.float32(1.5)  # grey levels of deviation that count as none
_LEAST = np.float32(0.3)  # the share of its detail that a donor keeps in any case


def skin_likeness(grid: Floats, core: npt.NDArray[np.bool_]) -> Floats:
    """Return how much each pixel of an RGB float32 h×w×3 looks like the median of those in `core`, float32 h×w 0–1.

    Hair, glasses, eyes and background get little; shading gets much, as brightness counts less than colour.
    """
    opponent = _floats(cv2.transform(grid, np.array([[0.08, 0.09, 0.08], [1, -1, 0], [0.5, 0.5, -1]], np.float32)))
    sample = (opponent[core] if core.any() else opponent.reshape(-1, 3))[::4]
    middle = np.median(sample, axis=0)
    spread = np.float32(2.5) * np.maximum(np.median(np.abs(sample - middle), axis=0), np.float32(3))
    distance = cv2.transform(((opponent - middle) / spread) ** 2, np.ones((1, 3), np.float32))
    return _floats(cv2.exp(np.float32(-0.5) * distance))


def recolour(donor: Floats, target: Floats, weight: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return gain and offset, h×w×3, that give `donor` the light and colour of `target` (RGB float32 h×w×3) everywhere.

    Reinhard et al., "Color transfer between images", 2001, made local and multiplicative, as light is. Means
    are normalised Gaussian ones (Knutsson & Westin, 1993): `weight` h×w says which pixels speak, `sigma` how
    far. The relative contrast is one number, so that no texture is invented.
    """
    (given, spread_given), (wanted, spread_wanted) = (_local_mean(i, weight, sigma) for i in (donor, target))
    contrast = np.float32(np.clip(spread_wanted / max(spread_given, 1e-6), 0.65, 1.2))
    # Bounded, the rest being added: else the whites of dark eyes would burn and blue be torn from brown.
    gain = np.clip(wanted / given, 0.5, 2.0) * contrast
    # Faded where the donor is dark, so that pupils, nostrils and frames stay black.
    share = cv2.transform(donor / given, np.full((3, 3), 0.4, np.float32))
    return _floats(gain), _floats((wanted - gain * given) * np.minimum(share, np.float32(1)))


def _local_mean(image: Floats, weight: Floats, sigma: float) -> tuple[Floats, float]:
    """Weighted Gaussian mean of h×w×3, or the mean over all where no weight is near, and the spread relative to it."""
    faint, total = np.float32(0.02), max(_floats(cv2.mean(weight))[0], 1e-6)
    weighted = image * _floats(cv2.merge([weight] * 3))
    everywhere = _floats(cv2.mean(weighted))[:3] / np.float32(total)
    near, blurred = _floats(cv2.merge([_wide_blur(weight, sigma)] * 3)), _wide_blur(weighted, sigma)
    local = (blurred + faint * everywhere) / (near + faint) + np.float32(1e-3)
    detail = gray(image) / gray(local) - 1
    return _floats(local), float(_floats(cv2.mean(weight * detail * detail))[0] / total) ** 0.5


def _wide_blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur h×w(×3) with nothing beyond the edge, at the coarsest resolution that its width allows."""
    height, width = image.shape[:2]
    factor = max(1, int(min(sigma / 3, min(height, width) / 4)))
    small = cv2.resize(image, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_CONSTANT)
    return _floats(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def tempered(donor: Floats, target: Floats, skin: Floats, sigma: float) -> Floats:
    """Return what to add to `donor`, so that its creases are not much deeper than the target's detail nearby.

    Local deviations are matched, downwards only and not beyond a bound, so that no skin turns to wax. `skin`
    h×w says where both show it; detail is what is narrower than `sigma`.
    """
    # Means and deviations vary slowly: half the resolution shows them.
    half = tuple(max(1, side // 2) for side in skin.shape[::-1])
    low, goal, weight = (
        _floats(cv2.resize(i, half, interpolation=cv2.INTER_AREA)) for i in (donor, gray(target), skin)
    )
    weight += np.float32(0.02)  # where no skin is near, whatever there is speaks
    middle = _wide_mean(low, weight, sigma / 2)
    wanted = _deviation(goal - _wide_mean(goal, weight, sigma / 2), weight, sigma / 2)
    # Of the donor everything counts: its deepest creases do not look like skin.
    given = _deviation(gray(low - middle), np.ones_like(weight), sigma / 2)
    share = _floats(np.clip((_EXCESS * wanted + _FAINT) / (given + _FAINT), _LEAST, 1))
    whole = skin.shape[::-1]
    change = _floats(cv2.resize(middle, whole, interpolation=cv2.INTER_LINEAR)) - donor
    change *= (1 - _floats(cv2.resize(share, whole, interpolation=cv2.INTER_LINEAR)))[..., None]
    return change


def _wide_mean(image: Floats, weight: Floats, sigma: float) -> Floats:
    """Weighted Gaussian mean of h×w(×3)."""
    near = _wide_blur(weight, sigma) + np.float32(1e-6)
    if image.ndim == 3:
        weight, near = _floats(cv2.merge([weight] * 3)), _floats(cv2.merge([near] * 3))
    return _floats(_wide_blur(image * weight, sigma) / near)


def _deviation(detail: Floats, weight: Floats, sigma: float) -> Floats:
    """Local root mean square, h×w."""
    return _floats(np.sqrt(_wide_mean(detail * detail, weight, sigma)))


def gray(image: Floats) -> Floats:
    """Return the mean of the three colours, float32 h×w."""
    return _floats(cv2.transform(image, np.full((1, 3), 1 / 3, np.float32)))


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float32)
