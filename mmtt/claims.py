"""What a row says in words, judged without looking at a pixel: names, numbers, and columns that imply each other."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmtt.errors import Rejected
from mmtt.landmarks import SCHEMES
from mmtt.licences import combine, obligations
from mmtt.manipulator import FAMILIES, UNTOLD
from mmtt.masks import MaskRule
from mmtt.recipe import SPLITS
from mmtt.record import MASTER, SCHEMA_VERSION, Record
from mmtt.regions import REGIONS

# Columns that only an edit can fill.
_OF_AN_EDIT = (
    "target_id", "source_id", "pristine", "alpha", "change", "intent", "raw", "manipulator", "manipulator_version",
    "parameters", "seed", "code_sha256", "weights_sha256", "code_licence", "weights_licence",
)  # fmt: skip


def wrong_claims(record: Record, rule: MaskRule) -> list[str]:
    """Return what is wrong with a row's words and numbers, as sentences; `rule` is its `mask_rule`."""
    return [
        *_words(record),
        *_of_mask(record, rule),
        *_of_edit(record, rule),
        *_degradations(record),
        *_owed(record, rule),
    ]


def _words(record: Record) -> Iterator[str]:
    known = (*FAMILIES, UNTOLD) if record.mask_rule == MaskRule.IMPORTED else FAMILIES
    if record.manipulation is not None and record.manipulation not in known:
        yield f"manipulation '{record.manipulation}' is none of the families"
    if set(record.regions) - set(REGIONS) or len(record.regions) != len(record.region_shares):
        yield "regions are not of the 21 words, or have no share each"
    if record.split not in (None, *SPLITS):
        yield f"split '{record.split}' is none of {', '.join(SPLITS)}"
    scheme = SCHEMES.get(record.landmark_scheme)
    shape = np.shape(record.landmarks) if record.landmarks else (0, 2)
    if scheme is None or shape != (scheme.points, 2):
        yield f"landmarks of shape {shape} are not of scheme '{record.landmark_scheme}'"
    if (record.parser is None) != (record.parsing is None):
        yield "parser and parsing are not there together"
    if record.schema_version > SCHEMA_VERSION:
        yield f"schema version {record.schema_version} is newer than {SCHEMA_VERSION}"


def _of_mask(record: Record, rule: MaskRule) -> Iterator[str]:
    if (record.manipulation is None) != (rule is MaskRule.NONE):
        yield f"mask_rule '{rule}' does not fit manipulation {record.manipulation}"
    # Whoever imports other people's masks says of them whether they are exact.
    if rule is not MaskRule.IMPORTED and record.exact_mask != (rule is not MaskRule.NULL_EDIT):
        yield f"exact_mask is {record.exact_mask} under the rule '{rule}'"
    if not 0 <= record.mask_tau <= 255:
        yield f"mask_tau is {record.mask_tau}, not within 0–255"
    if rule is MaskRule.NULL_EDIT and record.intent is None:
        yield f"rule '{rule}' needs intent"


def _of_edit(record: Record, rule: MaskRule) -> Iterator[str]:
    if rule is MaskRule.NONE:
        found = [name for name in _OF_AN_EDIT if getattr(record, name) is not None]
        if found:
            yield f"a pristine record has columns of an edit: {', '.join(found)}"
    elif record.weights_sha256 is not None and not record.weights_licence:
        yield "weights_sha256 is there without weights_licence"


def _owed(record: Record, rule: MaskRule) -> Iterator[str]:
    """Obligations follow from the licences beside them; of imported rows nobody knows all licences."""
    if rule is MaskRule.IMPORTED:
        return
    try:
        if rule is MaskRule.NONE:
            owed = sorted(obligations(record.licence))
        else:
            owed = combine({
                "photo": record.licence, "donor": record.source_licence, "code": record.code_licence,
                "weights": record.weights_licence,
            })  # fmt: skip
    except Rejected as reason:
        yield f"its licences do not go together: {reason.detail}"
        return
    if record.obligations != owed:
        yield f"obligations are {record.obligations}; its licences oblige to {owed}"


def _degradations(record: Record) -> Iterator[str]:
    if record.variant == MASTER:
        yield from ["a master has degradations"] if record.degradations else []
        return
    if not record.degradations:
        yield f"variant '{record.variant}' does not say what was done to it"
    for place, text in enumerate(record.degradations):
        said = json_object(text)
        if said is None or not isinstance(said.get("op"), str):
            yield f"degradation {place} is no JSON object that names an `op`"


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text holds; None where it holds none."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
