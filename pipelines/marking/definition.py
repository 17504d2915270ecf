"""Definition: what the content credentials of a picture say. Pure: the same record gives the same words.

Sources: C2PA 2.2, actions (18.15), ingredients (18.16); IPTC NewsCodes, digital source type, of 2024-10-23; CAWG 1.1,
training and data mining.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from mmtt import __version__
from mmtt.ids import digest
from mmtt.release import Release

from ..importers.rows import NO_TEMPLATE
from .words import RECORD

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# "Modification or correction by algorithm without changing the main content of the media": a crop, resampled once.
PRISTINE = "algorithmicallyEnhanced"
# "Mix or composite of several elements, any of which may or may not be generative AI": what is blended over a target.
COMPOSITE = "composite"
# "Augmentation, correction or enhancement using a Generative AI model, such as with inpainting or outpainting".
LEARNED = "compositeWithTrainedAlgorithmicMedia"
_LEARNED_FAMILIES = ("transformer_inpainting", "diffusion_inpainting")
_ONLY = "Only to detect, localize or describe manipulations of faces; never to make them, nor to identify anybody."
_MINING = {
    "cawg.ai_generative_training": {"use": "notAllowed"},
    "cawg.ai_inference": {"use": "constrained", "constraint_info": _ONLY},
    "cawg.ai_training": {"use": "constrained", "constraint_info": _ONLY},
    "cawg.data_mining": {"use": "constrained", "constraint_info": _ONLY},
}
COLUMNS = (
    "record_id", "image_sha256", "split", "mask", "manipulation", "manipulator", "manipulator_version", "parameters",
    "weights_sha256", "weights_licence", "template", "origin", "target_id", "source_id",
)  # fmt: skip


class Ingredient(NamedTuple):
    """A pristine record that went into a forgery; its picture's digest, where it is released too."""

    record_id: str
    image_sha256: str | None


class Picture(NamedTuple):
    """All of a record that its mark tells: plain values, so that their digest says whether a mark is still true."""

    record_id: str
    image_sha256: str
    split: str
    mask_sha256: str
    manipulation: str | None
    manipulator: str | None
    manipulator_version: str | None
    parameters_sha256: str | None
    weights_sha256: str | None
    learned: bool
    template: str
    origin: str
    target: Ingredient | None
    donor: Ingredient | None

    @classmethod
    def of(cls, row: Mapping[str, Any], digests: Mapping[str, str]) -> "Picture":
        """Return what a row's mark tells.

        Args:
            row: `COLUMNS` of a record, `mask` as bytes.
            digests: `image_sha256` of the released pristine records by id.
        """
        told = {name: row[name] for name in COLUMNS if name in cls._fields}
        parameters = row["parameters"]
        return cls(
            **told,
            mask_sha256=sha256(row["mask"]).hexdigest(),
            parameters_sha256=None if parameters is None else sha256(parameters.encode("utf-8")).hexdigest(),
            learned=bool(row["weights_sha256"] or row["weights_licence"]) or row["manipulation"] in _LEARNED_FAMILIES,
            target=_ingredient(row["target_id"], digests),
            donor=_ingredient(row["source_id"], digests),
        )


def _ingredient(record_id: str | None, digests: Mapping[str, str]) -> Ingredient | None:
    return None if record_id is None else Ingredient(record_id, digests.get(record_id))


def source_type(picture: Picture) -> str:
    """Return the IPTC term for where a picture came from; never one that claims a camera, which nobody checked."""
    if picture.manipulation is None:
        return SOURCE_TYPE + PRISTINE
    return SOURCE_TYPE + (LEARNED if picture.learned else COMPOSITE)


def definition(picture: Picture, release: Release, *, framed: bool = False) -> dict[str, Any]:
    """Return the manifest of a picture as c2pa's builder takes it.

    No ingredient brings pixels: it is told by record and digest. Labels follow from the record, where the builder would
    draw them.

    Args:
        picture: what is told.
        release: the one that it belongs to.
        framed: whether a frame that says that it is forged lies around it.
    """
    parts = _ingredients(picture)
    return {
        "claim_generator_info": [{"name": "mmtt", "version": __version__}],
        "title": picture.record_id,
        "format": "image/png",
        "label": f"urn:c2pa:{_uuid('manifest', picture, release.version, framed)}",
        "instance_id": f"xmp:iid:{_uuid('instance', picture.image_sha256, framed)}",
        "ingredients": parts,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": _actions(picture, parts, framed)}},
            {"label": "cawg.training-mining", "data": {"entries": _MINING}},
            {"label": RECORD, "data": _record(picture, release)},
        ],
    }


def _uuid(*what: Any) -> UUID:
    return UUID(hex=digest(list(what))[:32], version=4)


def _ingredients(picture: Picture) -> list[dict[str, Any]]:
    """The picture that was edited, or cropped, and the donor."""
    found = [_described("parentOf", picture.target, f"a picture from {picture.origin}")]
    return found + ([_described("componentOf", picture.donor, "")] if picture.donor else [])


def _described(relationship: str, part: Ingredient | None, otherwise: str) -> dict[str, Any]:
    told = {
        "title": f"record {part.record_id}" if part else otherwise,
        "relationship": relationship,
        "instance_id": f"xmp:iid:{_uuid(relationship, part or otherwise)}",
    }
    if part and part.image_sha256:
        told |= {"format": "image/png", "description": f"SHA-256 of its picture: {part.image_sha256}"}
    return told


def _actions(picture: Picture, parts: list[dict[str, Any]], framed: bool) -> list[dict[str, Any]]:
    used = [{"ingredientIds": [part["instance_id"]]} for part in parts]
    done: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": used[0]}]
    if picture.donor:
        done.append({"action": "c2pa.placed", "parameters": used[1], "description": "The face that was taken over."})
    done.append(_edit(picture))
    if framed:
        done.append({"action": "c2pa.edited", "description": "A frame that says FORGED was laid around the picture."})
    return done


def _edit(picture: Picture) -> dict[str, Any]:
    if picture.manipulation is None:
        return _taken(picture) | {
            "digitalSourceType": source_type(picture),
            "softwareAgent": {"name": "mmtt", "version": __version__},
        }
    agent = {"name": picture.manipulator or "unknown"}
    return {
        "action": "c2pa.edited",
        "digitalSourceType": source_type(picture),
        "softwareAgent": agent | ({"version": picture.manipulator_version} if picture.manipulator_version else {}),
        "description": f"Forged for research: {picture.manipulation}.",
    }


def _taken(picture: Picture) -> dict[str, Any]:
    if picture.template == NO_TEMPLATE:
        return {"action": "c2pa.converted", "description": "Its pixels are as its origin gave them."}
    told = f"Aligned to the template {picture.template}, resampled once; nothing else was changed."
    return {"action": "c2pa.cropped", "description": told}


def _record(picture: Picture, release: Release) -> dict[str, Any]:
    told = {
        "record_id": picture.record_id,
        "dataset": release.name,
        "release": release.version,
        "recipe_sha256": release.recipe_sha256,
        "manipulated": picture.manipulation is not None,
        "manipulation": picture.manipulation,
        "manipulator": picture.manipulator,
        "manipulator_version": picture.manipulator_version,
        "parameters_sha256": picture.parameters_sha256,
        "weights_sha256": picture.weights_sha256,
        "mask_sha256": picture.mask_sha256,
        "master_sha256": picture.image_sha256,
        "target": picture.target._asdict() if picture.target else None,
        "donor": picture.donor._asdict() if picture.donor else None,
    }
    return {name: value for name, value in told.items() if value is not None}
