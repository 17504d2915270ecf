"""What a face parser is given, and what it gives."""

from pathlib import Path
from typing import NamedTuple, Protocol

from mmtt.faces import Face, Matrix
from mmtt.images import Gray, Rgb

from ..photos import Photo


class Cropped(NamedTuple):
    """A face cut out of a photo.

    crop: RGB uint8 H×W×3. face: in the crop's pixels. matrix: 2×3, from the photo's pixels to the crop's.
    photo_hw: height and width of the photo. folder: where part masks lie.
    """

    photo: Photo
    photo_hw: tuple[int, int]
    crop: Rgb
    face: Face
    matrix: Matrix
    folder: Path


class FaceParser(Protocol):
    """Labels the parts of a face. One seam for maps that the origin ships and for networks."""

    name: str

    @property
    def described(self) -> str:
        """Who parses, with version and licence where it is a network, as records name them."""
        ...

    def parse(self, cropped: Cropped) -> Gray | None:
        """Return the crop's label map, uint8 H×W, numbers of `mmtt.parsing.LABELS`; None for a face it knows not."""
        ...
