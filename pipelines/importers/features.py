"""What the columns of a Parquet shard hold, as `datasets` writes them: pictures, and classes by number."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmtt.errors import UserError

_BYTES, _PATHS = (pa.binary(), pa.large_binary()), (pa.string(), pa.large_string())


def leaves_of_paths(path: Path, column: pa.Field) -> list[str]:
    """Return what to read of a column of pictures in order to know the files that it names.

    Raises:
        UserError: it holds no pictures.
    """
    kind = column.type
    parts = {part.name: part.type for part in kind} if pa.types.is_struct(kind) else {}
    if parts.get("bytes") in (*_BYTES, pa.null()) and parts.get("path") in (*_PATHS, pa.null()):
        return [f"{column.name}.path"]
    if kind in _PATHS:
        return [column.name]
    if kind in _BYTES:
        return []
    raise UserError(f"{path}: column '{column.name}' is {kind}; pictures are bytes, paths, or a struct of both.")


def class_names(schema: pa.Schema, columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the classes that columns hold as numbers, as `datasets` writes them into the metadata."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        features = metadata["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    found = {}
    for ours, theirs in columns.items():
        feature = features.get(theirs) if isinstance(features, dict) else None
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
        ):
            found[ours] = [str(name) for name in feature["names"]]
    return found


def named(value: Any, names: Sequence[str]) -> Any:
    """Return the name of a class by its number; what is no number of a class stays as it is."""
    if value == -1:  # how `datasets` stores that nobody knows
        return None
    known = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if known else value
