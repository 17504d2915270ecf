"""What follows from the row classes: Arrow schemas, `datasets` features, the card's table.

The `huggingface` key of the Parquet metadata is written by us, so that `datasets.load_dataset`
decodes images without this package, and so that writing does not need `datasets` at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

from mmtt.record import IMAGE, Column, Record

if TYPE_CHECKING:
    import datasets

Row = TypeVar("Row")


@cache
def columns(row_class: Any) -> dict[str, tuple[Column, bool]]:
    """Map each field of a row class to its column and whether it may be null, in order."""
    hints = get_type_hints(row_class, include_extras=True)
    found = {}
    for item in fields(row_class):
        hint = hints[item.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{row_class.__name__}.{item.name} has no Column")
        python_type, column = get_args(hint)[:2]
        found[item.name] = (column, type(None) in get_args(python_type))
    return found


@cache
def arrow_schema(row_class: Any = Record) -> pa.Schema:
    """Return the Arrow schema of a row class, with the metadata that `datasets` reads.

    Every field is nullable for Arrow: `datasets` ignores its own metadata where nullability differs.
    What may really be null is in `columns`, and `to_table` holds to it.
    """
    described = columns(row_class)
    schema = pa.schema([(name, column.type) for name, (column, _) in described.items()])
    feature_json = {name: _feature(column.type) for name, (column, _) in described.items()}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": feature_json}})})


def _feature(arrow_type: pa.DataType) -> Any:
    if arrow_type == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(arrow_type):
        # The bracket form is understood by every `datasets` release; `List` only since 4.0.
        return [_feature(arrow_type.value_type)]
    names = {pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "bool"}
    return {"dtype": names.get(arrow_type, str(arrow_type)), "_type": "Value"}


def features(row_class: type = Record) -> "datasets.Features":
    """Return the `datasets.Features` of a row class (needs `datasets`)."""
    import datasets

    return datasets.Features.from_arrow_schema(arrow_schema(row_class))


def card_table(row_class: type = Record) -> str:
    """Return a Markdown table: column, type, meaning."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for name, (column, nullable) in columns(row_class).items():
        kind = "image" if column.type == IMAGE else str(column.type).replace("element: ", "").replace("item: ", "")
        lines.append(f"| `{name}` | {kind}{', nullable' if nullable else ''} | {column.meaning} |")
    return "\n".join(lines) + "\n"


def to_table(rows: Sequence[Any], row_class: type = Record) -> pa.Table:
    """Turn rows of one class into an Arrow table; bytes of images become `{bytes, path: null}`.

    Raises:
        ValueError: a null where the column must have a value.
    """
    schema = arrow_schema(row_class)
    for name, (_, nullable) in columns(row_class).items():
        if not nullable and any(getattr(row, name) is None for row in rows):
            raise ValueError(f"{row_class.__name__}.{name} must not be null")
    data = {f.name: [_stored(getattr(row, f.name), f.type) for row in rows] for f in schema}
    return pa.table(data, schema=schema)


def _stored(value: Any, arrow_type: pa.DataType) -> Any:
    return {"bytes": value, "path": None} if arrow_type == IMAGE and value is not None else value


def from_mapping(row: Mapping[str, Any], row_class: type[Row]) -> Row:
    """Turn one row of an Arrow table (`to_pylist`) back into its class; absent columns take their defaults."""
    values = {}
    for name, (column, _) in columns(cast(Any, row_class)).items():
        if name not in row:
            continue
        value = row[name]
        values[name] = value["bytes"] if column.type == IMAGE and value is not None else value
    return row_class(**values)


def from_table(table: pa.Table, row_class: type[Row]) -> list[Row]:
    """Turn an Arrow table back into rows of their class."""
    return [from_mapping(row, row_class) for row in table.to_pylist()]
