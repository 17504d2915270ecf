"""Face finders: one seam (`mmtt.faces.FaceFinder`), a file for each way to find faces, and here the table of them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType

from mmtt.errors import RecipeError, did_you_mean
from mmtt.faces import Face, FaceFinder
from mmtt.images import Rgb
from mmtt.recipe import IngestSection
from mmtt.weights import Weights, require, sha256

from . import facexlib, insightface
from .mediapipe import MediapipeFinder

KNOWN: tuple[Weights, ...] = (*insightface.WEIGHTS, *facexlib.WEIGHTS)


def make(name: str, pinned: Mapping[str, str]) -> FaceFinder:
    """Return the finder of that name; `pinned` holds digests to trust in place of the known ones, by path.

    Finders are light: the networks behind them are loaded on the first photo, once a process.
    """
    if name == "insightface":
        return insightface.InsightFaceFinder(pinned)
    if name == "facexlib":
        return facexlib.FacexlibFinder(pinned)
    return {"mediapipe": MediapipeFinder}[name]()


def embedded(face: Face, photo: Rgb, section: IngestSection) -> Face:
    """Return the face with the embedding that the recipe asks for; as it is where it asks for none."""
    if section.embedder == "none":
        return face
    return replace(face, embedding=insightface.embedding(photo, face, section.models))


def used(section: IngestSection) -> list[Weights]:
    """Return the weights that a recipe's finders and embedder read."""
    found: list[Weights] = []
    if "insightface" in section.finders:
        found += [insightface.DETECTION, insightface.LANDMARKS]
    if section.embedder == "insightface":
        found.append(insightface.RECOGNITION)
    if "facexlib" in section.finders:
        found += [facexlib.detector(), facexlib.LANDMARKS]
    return found


def digests(section: IngestSection, others: Iterable[Weights] = ()) -> dict[str, str]:
    """Check that all that a recipe's finders and embedder need is there; return the SHA-256 of each file by its path.

    `others` are weights that something else reads, and that a recipe may pin too.

    Raises:
        UserError: weights that are missing or other than expected.
        RecipeError: a pinned digest of a file that nothing reads.
        MissingDependency: a package is not installed.
    """
    known = [weights.path for weights in (*KNOWN, *others)]
    unknown = sorted(set(section.models) - set(known))
    if unknown:
        raise RecipeError(f"'ingest.models' pins '{unknown[0]}', which nothing reads.{did_you_mean(unknown[0], known)}")
    needed = used(section)
    for module in (insightface, facexlib):
        if set(needed) & set(module.WEIGHTS):
            _require_packages(module)
    return {weights.path: sha256(require(weights, section.models.get(weights.path))) for weights in needed}


def _require_packages(module: ModuleType) -> None:
    for name in module.PACKAGES:
        if find_spec(name) is None:
            raise module.missing(f"there is no package '{name}'")
