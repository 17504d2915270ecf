"""Provenance: where a release and its columns came from, in the words of PROV-O (https://www.w3.org/TR/prov-o/)."""

from collections.abc import Mapping
from typing import Any

from .facts import Facts

# Columns whose values say where the row's picture, or its text, came from.
_EQUIVALENT: Mapping[str, str] = {
    "target_id": "prov:wasDerivedFrom",
    "source_id": "prov:wasDerivedFrom",
    "manipulator": "prov:wasGeneratedBy",
    "annotator": "prov:wasAttributedTo",
}
_FINDERS = {"landmarks": "landmark_finder", "parsing": "parser"}  # columns that programs filled, and who names those


def of_dataset(facts: Facts) -> dict[str, Any]:
    """Return what the release was made of, how and by whom: from the origins of its photos, by this toolkit."""
    release = facts.release
    toolkit = f"mmtt {release.environment['mmtt']}" if "mmtt" in release.environment else "mmtt"
    before = {"prov:wasRevisionOf": _version(release.name, release.previous)} if release.previous else {}
    return {
        "prov:wasDerivedFrom": [_origin(*row) for row in sorted(_origins(facts))],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"mmtt release --version {release.version}, recipe {release.recipe_sha256}",
            "prov:endedAtTime": release.date,
            "prov:wasAssociatedWith": _program(toolkit),
        },
        **before,
    }


def of_column(column: str, facts: Facts) -> dict[str, Any]:
    """Return where a column's values came from, as far as one sentence is true of all rows."""
    if column in _EQUIVALENT:
        return {"equivalentProperty": _EQUIVALENT[column]}
    if column == "mask":
        label = "compositing: the mask follows from the edit by the rule in `mask_rule`, not from anybody's judgement"
        return {"prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": label}}
    if column in _FINDERS:
        names = sorted(set(facts.rows[_FINDERS[column]].dropna()) - {"none"})
        return {"prov:wasAttributedTo": [_program(name) for name in names]} if names else {}
    return {}


def _origins(facts: Facts) -> set[tuple[str, str]]:
    rows = facts.rows
    own = set(zip(rows["origin"], rows["licence"], strict=True))
    donors = rows[rows["source_origin"].notna()]
    return own | set(zip(donors["source_origin"], donors["source_licence"], strict=True))


def _origin(name: str, licence: str) -> dict[str, Any]:
    return {"@type": "prov:Entity", "prov:label": name, "license": licence}


def _program(name: str) -> dict[str, Any]:
    return {"@type": "prov:SoftwareAgent", "prov:label": name}


def _version(name: str, version: str) -> dict[str, Any]:
    return {"@type": "prov:Entity", "prov:label": f"{name} {version}"}
