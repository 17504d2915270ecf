"""Face parsers: one seam (`FaceParser`), a file for each way to label a face's parts, and here the table of them."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

from mmtt.images import Gray
from mmtt.layout import Layout
from mmtt.recipe import IngestSection
from mmtt.record import Rejection
from mmtt.weights import Weights, require, sha256

from ..photos import Photo
from . import celebamask_hq, facexlib
from .seam import Cropped, FaceParser

__all__ = ["WEIGHTS", "Cropped", "FaceParser", "Parsed", "digests", "make", "parse", "with_parts"]

WEIGHTS: tuple[Weights, ...] = facexlib.WEIGHTS


def make(name: str, pinned: Mapping[str, str]) -> FaceParser:
    """Return the parser of that name; `pinned` holds digests to trust in place of the known ones, by path."""
    if name == "facexlib":
        return facexlib.FacexlibParser(pinned)
    return {"celebamask_hq": celebamask_hq.PartMaskParser}[name]()


class Parsed(NamedTuple):
    """The label map of a face, uint8 of the crop's height and width, and who made it, as records name them."""

    labels: Gray
    parser: str


def parse(cropped: Cropped, section: IngestSection) -> Parsed | None:
    """Return the label map of a face: the first parser that knows it decides.

    None where the recipe names no parser, or none that knows the photo.

    Raises:
        Rejected: what the photo's origin ships cannot be used.
        UserError: weights that are missing, other than expected, or of another network.
    """
    for name in section.parsers:
        parser = make(name, section.models)
        labels = parser.parse(cropped)
        if labels is not None:
            return Parsed(labels, parser.described)
    return None


def digests(section: IngestSection) -> dict[str, str]:
    """Check that the weights of a recipe's parsers are there; return the SHA-256 of each file by its path.

    Raises:
        UserError: weights that are missing or other than expected.
        MissingDependency: a package is not installed.
    """
    if "facexlib" not in section.parsers:
        return {}
    for package in facexlib.PACKAGES:
        if find_spec(package) is None:
            raise facexlib.missing(f"there is no package '{package}'")
    return {weights.path: sha256(require(weights, section.models.get(weights.path))) for weights in WEIGHTS}


def with_parts(
    photos: Iterable[Photo], layout: Layout, section: IngestSection, refused: list[Rejection]
) -> list[Photo]:
    """Return photos that name their part masks, where the recipe wants those; adds to `refused` what cannot be used.

    Raises:
        UserError: there is a folder of part masks for none of the photos.
    """
    if "celebamask_hq" not in section.parsers:
        return list(photos)
    return celebamask_hq.with_parts(photos, layout.parsing, refused)
