"""Traces: what encoding, scaling and noise leave in pixels, measured in places that `outside` may leave out.

Each function here is an audit's `measure`: pixels in, numbers by name and place out.
"""

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.evidence import Pixels

from .outside import CELLS, block_means, cell_means, covered, luma, named, strips

_TINY = 1e-3
PHASES, BANDS = 8, 16
LOWEST = 1 / 32  # cycles a pixel; below, content dominates
Floats = npt.NDArray[np.float32]
_DCT = np.array(
    [[(0.5 if u else 8**-0.5) * np.cos((2 * x + 1) * u * np.pi / 16) for x in range(8)] for u in range(8)], np.float32
)
_ORDER = np.add.outer(np.arange(8), np.arange(8))  # u + v of each coefficient
# Weighs differences so that a linear ramp gives 0 (Immerkaer, "Fast noise variance estimation", 1996).
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def outside_traces(pixels: Pixels) -> dict[str, float]:
    """Measure S2's features in each cell: noise, spectrum, 8×8 grid, chroma; all as logarithms or shares."""
    y = luma(pixels)
    if y is None:
        return {}
    noise = cell_means(np.abs(_filtered(y)))
    blurred = [y, *(cv2.GaussianBlur(y, (0, 0), sigma) for sigma in (0.7, 1.4, 2.8))]
    fine, middle, coarse = (cell_means(np.abs(a - b)) for a, b in pairwise(blurred))
    found = {
        "noise": _log(noise),
        "noise peaks": _log(cell_means(_filtered(y) ** 2)) - 2 * _log(noise),
        "spectrum fine": _log(fine) - _log(middle),
        "spectrum coarse": _log(middle) - _log(coarse),
        "grid": _grid_in_cells(y),
        "flat blocks": _flatness(y),
        "chroma": _log(_chroma_noise(pixels)) - _log(noise),
    }
    return covered(pixels) | {key: value for name, cells in found.items() for key, value in named(name, cells).items()}


def _filtered(y: Floats) -> Floats:
    return np.asarray(cv2.filter2D(y, cv2.CV_32F, _NOISE), dtype=np.float32)


def _log(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(values + _TINY))


def _chroma_noise(pixels: Pixels) -> npt.NDArray[np.float64]:
    image = pixels.image.astype(np.float32)
    return cell_means(
        np.abs(_filtered(image[..., 0] - image[..., 1])) + np.abs(_filtered(image[..., 2] - image[..., 1]))
    )


def _steps(y: Floats) -> Floats:
    """How much the step from the pixel to the left differs from the steps beside it, H×W; 0 at the border."""
    step = np.diff(y, axis=1)
    found = np.zeros_like(y)
    found[:, 2:-1] = np.abs(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2)
    return found


def _grid_in_cells(y: Floats) -> npt.NDArray[np.float64]:
    """How much stronger steps are on the lines of JPEG's grid than on all, as a logarithm, 8×8."""
    across, down = _steps(y), _steps(np.ascontiguousarray(y.T)).T
    on_x, on_y = (np.arange(length) % 8 == 0 for length in (y.shape[1], y.shape[0]))
    on = cell_means(across * on_x) + cell_means(down * on_y[:, None])
    return _log(8 * on) - _log(cell_means(across + down))


def _coefficients(y: Floats, offset: int) -> Floats:
    """Return the DCT of the 8×8 blocks that start at an offset, float32 rows×columns×8×8."""
    height, width = ((length - offset) // 8 for length in y.shape)
    cut = y[offset : offset + 8 * height, offset : offset + 8 * width] - 128
    rows = cut.reshape(-1, 8) @ _DCT.T
    blocks = rows.reshape(height, 8, width, 8).transpose(0, 2, 3, 1) @ _DCT.T
    return np.asarray(blocks.swapaxes(2, 3), dtype=np.float32)


def _flatness(y: Floats) -> npt.NDArray[np.float64]:
    """How many more of the higher coefficients vanish in JPEG's blocks than in blocks between them, 8×8, −1–1.

    Quantisation leaves them at zero in its own grid only (Fan and de Queiroz, 2003, look at the grid's steps instead,
    which vanish at high quality).
    """
    high = _ORDER >= 5
    shares = [(np.abs(_coefficients(y, offset)[..., high]) < 0.5).mean(axis=-1) for offset in (0, 4)]
    own, between = (block_means(share, y.shape, offset) for share, offset in zip(shares, (0, 4), strict=True))
    return np.asarray(own - between)


def grid_traces(pixels: Pixels) -> dict[str, float]:
    """Measure S3's features in each strip: steps by phase of an 8×8 grid, first digits of DCTs, flat blocks."""
    y = luma(pixels)
    if y is None:
        return {}
    phases = np.concatenate([_phases(y), _phases(np.ascontiguousarray(y.T))])
    found = covered(pixels) | named("flat", strips(_flatness(y)))
    found |= {key: value for phase in range(PHASES) for key, value in named(f"phase {phase}", phases[:, phase]).items()}
    digits = _first_digits(y)
    for digit in range(1, 10):
        found |= named(f"digit {digit}", strips(block_means((digits == digit).mean(axis=-1), y.shape, 0)))
    return found


def _phases(y: Floats) -> npt.NDArray[np.float64]:
    """Mean step at each phase over the mean of all, in each of 8 strips, float64 8×8."""
    steps = _steps(y)[:, 2:-1]
    strip = np.add.reduceat(steps.astype(np.float64), np.arange(CELLS) * len(y) // CELLS, axis=0)
    phase = np.arange(2, y.shape[1] - 1) % PHASES
    means = np.stack([strip[:, phase == number].mean(axis=1) for number in range(PHASES)], axis=1)
    return np.asarray((means + _TINY) / (means.mean(axis=1, keepdims=True) + _TINY))


def _first_digits(y: Floats) -> npt.NDArray[np.int64]:
    """First digit of the nine lowest AC coefficients of each block, rows×columns×9; 0 where one is below 1."""
    low = np.abs(_coefficients(y, 0)[..., (_ORDER >= 1) & (_ORDER <= 3)])
    safe = np.maximum(low, 1)
    return np.where(low < 1, 0, safe / 10 ** np.floor(np.log10(safe))).astype(np.int64)


def resampling_traces(pixels: Pixels) -> dict[str, float]:
    """Measure S4's features in each strip: how periodic the second differences along it are, in 16 bands of frequency.

    Interpolation makes the variance of second differences periodic (Gallagher, "Detection of linear and cubic
    interpolation in JPEG compressed images", 2005; Mahdian and Saic, 2008). The power of their mean along the strip
    is told relative to its median; bands cover 1/32 to 1/2 cycles a pixel, the multiples of JPEG's 1/8 left out.
    """
    y = luma(pixels)
    if y is None:
        return {}
    power = np.concatenate([_periodicity(y), _periodicity(np.ascontiguousarray(y.T))])
    bands = {f"band {band:02d}": power[:, band] for band in range(BANDS)}
    return covered(pixels) | {key: value for name, row in bands.items() for key, value in named(name, row).items()}


def _periodicity(y: Floats) -> npt.NDArray[np.float64]:
    second = np.abs(np.diff(y, n=2, axis=1)).astype(np.float64)
    starts = np.arange(CELLS) * len(y) // CELLS
    profile = np.add.reduceat(second, starts, axis=0) + _TINY
    level = profile / np.maximum(cv2.blur(profile, (33, 1), borderType=cv2.BORDER_REFLECT), _TINY) - 1
    power = np.abs(np.fft.rfft(level * np.hanning(level.shape[1]), axis=1)) ** 2
    frequency = np.fft.rfftfreq(level.shape[1])
    from_grid = np.abs(frequency * 8 - np.round(frequency * 8)) < 12 / level.shape[1]
    used = (frequency >= LOWEST) & ~from_grid
    power = power / (np.median(power[:, used], axis=1, keepdims=True) + 1e-12)
    band = ((frequency - LOWEST) / (0.5 - LOWEST + 1e-9) * BANDS).astype(np.int64)
    within = [used & (band == number) for number in range(BANDS)]
    return np.stack([power[:, some].max(axis=1) if some.any() else np.ones(len(power)) for some in within], axis=1)
