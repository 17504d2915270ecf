"""Operation: one thing that happens to a picture on its way through the world.

A recipe says an operation with ranges; a record gets the one drawn from them. Both are the same class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import cv2
import numpy as np
from pydantic import PlainValidator

from mmtt.faces import Matrix
from mmtt.images import Rgb
from mmtt.settings import Section

Span = float | tuple[float, float]
Whole = int | tuple[int, int]


@dataclass(frozen=True)
class _Bounds:
    low: float
    high: float
    whole: bool
    odd: bool

    def __call__(self, value: Any) -> Any:
        ends = tuple(value) if isinstance(value, list | tuple) else (value,)
        fits = len(ends) == (2 if isinstance(value, list | tuple) else 1) and all(map(self._holds, ends))
        if not fits or ends[0] > ends[-1]:
            raise ValueError(
                f"must be {self._words()} from {self.low:g} to {self.high:g}, or a range [low, high] of it"
            )
        ends = tuple(int(end) if self.whole else float(end) for end in ends)
        return ends if len(ends) == 2 else ends[0]

    def _holds(self, end: Any) -> bool:
        kinds = int if self.whole else int | float
        known = isinstance(end, kinds) and not isinstance(end, bool) and self.low <= end <= self.high
        return known and (not self.odd or end % 2 == 1)

    def _words(self) -> str:
        return "an odd number" if self.odd else "a whole number" if self.whole else "a number"


def within(low: float, high: float, *, whole: bool = False, odd: bool = False) -> Any:
    """A validator of one number between two bounds, or of a range [low, high] between them."""
    return PlainValidator(_Bounds(low, high, whole, odd))


class Operation(Section):
    """An operation and its parameters. A parameter that is a range is drawn anew for each record."""

    op: ClassVar[str]
    library: ClassVar[str] = "opencv"

    def drawn(self, rng: np.random.Generator) -> Self:
        """Return the same operation with one value in place of each range, ends included."""
        values = {name: _draw(value, rng) for name, value in self if isinstance(value, tuple)}
        return self.model_copy(update=values)

    @classmethod
    def version(cls) -> str:
        """Version of what decides its bytes."""
        return {"opencv": cv2.__version__, "numpy": np.__version__}[cls.library]


def _draw(span: tuple[Any, Any], rng: np.random.Generator) -> float | int:
    low, high = span
    return int(rng.integers(low, high, endpoint=True)) if isinstance(low, int) else float(rng.uniform(low, high))


class Pixels(Operation):
    """An operation that leaves every pixel in its place: the image alone goes through it."""

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Return the image, RGB uint8 H×W×3 of the same size, after a drawn operation."""
        raise NotImplementedError


class Move(NamedTuple):
    """Where pixels go: 2×3 matrix from old to new pixels (centres at integers), size of the new frame in pixels."""

    matrix: Matrix
    width: int
    height: int

    def then(self, step: "Callable[[int, int], Move]") -> "Move":
        """Return this move followed by the one that a step makes of its frame."""
        after = step(self.width, self.height)
        return Move(after.matrix @ np.vstack([self.matrix, [0, 0, 1]]), after.width, after.height)


class Geometric(Operation):
    """An operation that moves pixels: image, mask and all that lies on them go through it together.

    It never shows what lay outside the frame that it is given, so that nothing has to be invented there.
    """

    def move(self, width: int, height: int) -> Move:
        """Return what a drawn operation does to a frame of that size."""
        raise NotImplementedError
