"""Operations that change values and leave every pixel in its place."""

from typing import Annotated, Any, ClassVar, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Rgb

from .operation import Pixels, Span, Whole, within

_FLAGS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


class Rescale(Pixels):
    """Down to a smaller size and back up to the old one, so that detail is lost and nothing moves.

    scale: factor of the smaller size, 0.05–1.
    interpolation: both ways: `nearest` (as the MMTT paper's robustness test), `linear`, `cubic` or `area`.
    """

    op: ClassVar[str] = "rescale"
    scale: Annotated[Span, within(0.05, 1)]
    interpolation: Literal["nearest", "linear", "cubic", "area"] = "nearest"

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Resize twice."""
        height, width = image.shape[:2]
        small = max(1, int(width * self.scale)), max(1, int(height * self.scale))
        reduced = cv2.resize(image, small, interpolation=_FLAGS[self.interpolation])
        return np.asarray(cv2.resize(reduced, (width, height), interpolation=_FLAGS[self.interpolation]), np.uint8)


class Blur(Pixels):
    """Gaussian blur.

    kernel_px: side of the kernel, odd, 3–63.
    sigma_px: standard deviation, 0–20; 0 lets OpenCV derive it from the kernel, as the MMTT paper's test does.
    """

    op: ClassVar[str] = "blur"
    kernel_px: Annotated[Whole, within(3, 63, whole=True, odd=True)]
    sigma_px: Annotated[Span, within(0, 20)] = 0.0

    def drawn(self, rng: np.random.Generator) -> Self:
        """Return one value in place of each range; of the kernel's, an odd one."""
        some = super().drawn(rng)
        return some.model_copy(update={"kernel_px": some.kernel_px | 1})

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Convolve."""
        return np.asarray(cv2.GaussianBlur(image, (self.kernel_px, self.kernel_px), self.sigma_px), np.uint8)


class Sharpen(Pixels):
    """Unsharp mask: what a blur takes away is added once more.

    amount: how much of it, 0–5. sigma_px: of the blur, 0.3–10.
    """

    op: ClassVar[str] = "sharpen"
    amount: Annotated[Span, within(0, 5)] = 0.5
    sigma_px: Annotated[Span, within(0.3, 10)] = 1.0

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Subtract the blurred image, add the difference."""
        sharp = image.astype(np.float32)
        return _rounded(sharp + np.float32(self.amount) * (sharp - cv2.GaussianBlur(sharp, (0, 0), self.sigma_px)))


class Noise(Pixels):
    """Gaussian noise, independent in every pixel and channel.

    sigma: standard deviation in grey levels, 0–100.
    """

    op: ClassVar[str] = "noise"
    library: ClassVar[str] = "numpy"
    sigma: Annotated[Span, within(0, 100)]

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Add, round, clip."""
        return _rounded(image + np.float32(self.sigma) * rng.standard_normal(image.shape, dtype=np.float32))


class Gamma(Pixels):
    """Another tone curve.

    exponent: values, as shares of full white, are raised to it, 0.2–5; below 1 is brighter.
    """

    op: ClassVar[str] = "gamma"
    library: ClassVar[str] = "numpy"
    exponent: Annotated[Span, within(0.2, 5)]

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Look every value up in the curve."""
        curve = _rounded(255 * (np.arange(256) / 255) ** self.exponent)
        return curve[image]


class Colour(Pixels):
    """Brightness and colour cast.

    brightness: factor of all three channels; red, green, blue: factor of one; each 0.2–5.
    """

    op: ClassVar[str] = "colour"
    library: ClassVar[str] = "numpy"
    brightness: Annotated[Span, within(0.2, 5)] = 1.0
    red: Annotated[Span, within(0.2, 5)] = 1.0
    green: Annotated[Span, within(0.2, 5)] = 1.0
    blue: Annotated[Span, within(0.2, 5)] = 1.0

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Multiply, round, clip."""
        factors = np.float32(self.brightness) * np.array([self.red, self.green, self.blue], np.float32)
        return _rounded(image * factors)


def _rounded(values: npt.NDArray[np.floating[Any]]) -> Rgb:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
