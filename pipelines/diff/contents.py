"""Contents: every column of a shard's rows as one small value each, so that two builds can be compared as tables.

A picture is the digest of its stored bytes, and none is decoded. `image` has a column for its digest already; so has
`pristine`, which is the target's image (`mmtt verify` ties the two), so neither is read.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mmtt.record import IMAGE
from mmtt.schema import arrow_schema
from mmtt.shards import Shard

from ..builds import TEXTS, sections

# A migrated shard says another version in every row, and splits have a comparison of their own.
NEVER = ("image", "pristine", "schema_version", "split")
_DIGEST_BYTES = 16


def compared(texts: bool) -> dict[str, str]:
    """Map each column that is compared to the section of a record that it belongs to; `image_sha256` is a pixel fact.

    texts: whether both sides hold reports in their rows.
    """
    left_out = {*NEVER, "record_id", "variant", *(() if texts else TEXTS)}
    section_of = {name: section for section, names in sections().items() for name in names if name not in left_out}
    return section_of | {"image_sha256": "pixels"}


def contents(task: tuple[Path, tuple[str, ...]]) -> pd.DataFrame:
    """Return the rows of a shard: record_id, variant, and some columns as values that can be compared."""
    path, names = task
    shard = Shard(path)
    wanted = ("record_id", "variant", *names)
    groups = [_comparable(shard.group(group, wanted)) for group in range(shard.groups)]
    return pd.concat(groups, ignore_index=True) if groups else pd.DataFrame(columns=list(wanted))


def _comparable(table: pa.Table) -> pd.DataFrame:
    types = {field.name: field.type for field in arrow_schema()}
    return pd.DataFrame(
        {name: _values(table.column(name).combine_chunks(), types[name]) for name in table.column_names}
    )


def _values(column: pa.Array, kind: pa.DataType) -> pd.Series:
    if kind == IMAGE:
        return pd.Series(_digests(pc.struct_field(column, "bytes").to_pylist()), dtype=object)
    if pa.types.is_list(kind):
        return pd.Series(_digests(_rows_of_lists(column)), dtype=object)
    return pd.Series(column.to_pylist(), dtype=object)


def _digests(values: Iterable[bytes | None]) -> list[str | None]:
    found = ((None if value is None else hashlib.blake2b(value, digest_size=_DIGEST_BYTES)) for value in values)
    return [None if one is None else one.hexdigest() for one in found]


def _rows_of_lists(column: pa.Array) -> list[bytes | None]:
    """The values of each row's list as bytes: a thousand landmarks a row are too many to be Python's numbers."""
    offsets, values, null = np.arange(len(column) + 1), column, column.is_null().to_pylist()
    while pa.types.is_list(values.type):
        offsets, values = values.offsets.to_numpy()[offsets], values.values
    bounds = list(zip(offsets[:-1], offsets[1:], null, strict=True))
    if pa.types.is_string(values.type):
        words = values.to_pylist()
        return [None if absent else repr(words[low:high]).encode() for low, high, absent in bounds]
    numbers = values.to_numpy(zero_copy_only=False)
    return [None if absent else numbers[low:high].tobytes() for low, high, absent in bounds]
