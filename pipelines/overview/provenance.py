"""Provenance: where one record came from, as groups of terms and values."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmtt import html
from mmtt.record import Record
from mmtt.words import cut

from .facts import NO_SPLIT, Facts

LETTERS = 2000
OPTION_LETTERS = 200


class Term(NamedTuple):
    """One thing known of a record. exact: whether it is an id, a digest or JSON, to be set in fixed letters."""

    name: str
    value: str
    exact: bool = False


class Group(NamedTuple):
    """Terms that belong together."""

    title: str
    terms: list[Term]


def provenance(record: Record, facts: Facts, shard_digests: Mapping[str, str], shard: str) -> list[Group]:
    """Return all that a row tells of where it came from; what is null is left out.

    Args:
        record: a forged record.
        facts: the dataset's.
        shard_digests: SHA-256 of each shard as its manifest lists it, by name.
        shard: name of the shard in which the record lies.
    """
    placed = record.target_id or record.record_id
    groups = [
        Group("Picture" if record.target_id is None else "Target", list(_photo(record, ""))),
        Group("Donor", list(_photo(record, "source_"))),
        Group("Forgery", list(_forgery(record))),
        Group("Face", list(_face(record))),
        Group("Mask", list(_mask(record))),
        Group("Rights", list(_rights(record))),
        Group("Splits", list(_splits(facts, placed))),
        Group("Digests", list(_digests(record, shard_digests, shard))),
    ]
    return [group for group in groups if group.terms]


def options(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an import was told, as names and words; empty ones are left out."""
    named = ((name.replace("_", " "), cut(_words(value), OPTION_LETTERS)) for name, value in told.items())
    return [(name, words) for name, words in named if words]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words}" for name, item in value.items() if (words := _words(item)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return ("yes" if value else "no") if isinstance(value, bool) else "" if value is None else str(value)


def _known(terms: Mapping[str, Any], exact: Iterable[str] = ()) -> Iterable[Term]:
    for name, value in terms.items():
        if value is not None and value != "":
            yield Term(name, cut(str(value), LETTERS), name in exact)


def _photo(record: Record, prefix: str) -> Iterable[Term]:
    """What is known of the photo that was edited, or of the donor's."""

    def of(name: str) -> str | None:
        value: str | None = getattr(record, f"{prefix}{name}")
        return value

    record_id = record.source_id if prefix else record.target_id
    told = {
        "record": record_id,
        "origin": of("origin"),
        "id there": of("origin_id"),
        "licence": of("licence"),
        "consent": of("consent"),
        "group": of("group_id"),
    }
    return _known(told, ("record", "id there", "group"))


def _forgery(record: Record) -> Iterable[Term]:
    told = {
        "family": record.manipulation,
        "program": record.manipulator,
        "version": record.manipulator_version,
        "seed": record.seed,
        "parameters": record.parameters,
    }
    return _known(told, ("seed", "parameters"))


def _face(record: Record) -> Iterable[Term]:
    told = {
        "landmarks": f"{len(record.landmarks)} points, {record.landmark_scheme}" if record.landmarks else "none known",
        "found by": record.landmark_finder,
        "parts outlined by": record.parser,
        "template": record.template,
        "photo to crop": ", ".join(f"{value:.4g}" for value in record.align_matrix),
        "face score": None if record.face_score is None else f"{record.face_score:.2f}",
    }
    return _known(told)


def _mask(record: Record) -> Iterable[Term]:
    told = {
        "rule": record.mask_rule,
        "threshold": f"change above {record.mask_tau}" if record.mask_rule in ("blend", "null_edit") else None,
        "exact": "yes, by construction" if record.exact_mask else "no",
        "area": f"{html.percent(record.mask_share)} of the frame",
        "mean change inside": None if record.change_mean is None else f"{record.change_mean:.1f} of 255",
        "regions": ", ".join(record.regions),
    }
    return _known(told)


def _rights(record: Record) -> Iterable[Term]:
    told = {
        "photo": record.licence,
        "donor": record.source_licence,
        "program": record.code_licence,
        "weights": record.weights_licence,
        "obliges to": ", ".join(record.obligations) or "nothing that is known",
    }
    return _known(told)


def _splits(facts: Facts, placed: str) -> Iterable[Term]:
    told = {"split": facts.splits.get(placed, NO_SPLIT), "component": facts.components.get(placed)}
    return _known(told, ("component",))


def _digests(record: Record, shard_digests: Mapping[str, str], shard: str) -> Iterable[Term]:
    told = {
        "record": record.record_id,
        "image": record.image_sha256,
        "program": record.code_sha256,
        "weights": record.weights_sha256,
        f"shard {shard}": shard_digests.get(shard),
    }
    return _known(told, told)
