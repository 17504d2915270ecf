"""Embeddings: which faces carry one, which pairs are known, and the cosine that tells people apart.

The threshold is calibrated on the dataset itself: faces of different named subjects, and faces that share
a photo, are known to be different people; it is the cosine that only a given share of such pairs exceeds.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmtt.errors import SchemaError, UserError
from mmtt.files import replacing
from mmtt.recipe import IdentitySection
from mmtt.record import Lineage
from mmtt.schema import arrow_schema, from_table

from .neighbours import Indices, Vectors

# Pairs that calibration looks at: all among so many named faces, and so many of faces that share a photo.
NAMED_FACES = 3_000
PHOTO_PAIRS = 1_000_000
SAME_FACES = 20
# Of 3 / rate pairs none above the threshold leaves its rate below that with 95 % confidence (rule of three).
FEWEST_EXCEEDING = 3
STRICTEST_RATE, LAXEST_RATE = 1e-5, 1e-3  # where the recipe names none
_ROWS_PER_GROUP = 10_000

Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Faces:
    """Pristine faces in the order of their ids; those that have an embedding stand at `at`.

    `person` is equal where the sources name one subject for a photo's only face. In a photo of several, nobody
    knows which of them is the one named, so each is somebody of its own.
    """

    rows: list[Lineage]
    at: Indices
    vectors: Vectors
    unusable: int
    group: Indices
    person: Indices
    named: npt.NDArray[np.bool_]


class TooFewPairs(UserError):
    """Too few pairs are known to differ for the false-alarm rate that the recipe asks for."""


@dataclass(frozen=True)
class Calibration:
    """Cosines of pairs whose answer is known, and the threshold; `given` where the recipe says it."""

    threshold: float
    given: bool
    different: int
    same: int
    false_alarms: float | None
    recall: float | None


def read_lineage(path: Path) -> tuple[list[Lineage], list[Embedding | None]]:
    """Read a lineage, its embeddings apart: as Python numbers they would take gigabytes.

    Raises:
        UserError: no such table, or none that can be read; SchemaError: other columns.
    """
    try:
        table = pq.read_table(path)
        rows = from_table(table.drop_columns([n for n in table.column_names if n == "embedding"]), Lineage)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read ({error}). Run `mmtt ingest` again.") from error
    except TypeError as error:
        raise SchemaError(f"{path} has other columns than this mmtt writes ({error}). Ingest again.") from error
    if "embedding" not in table.column_names:
        return rows, [None] * len(rows)
    column = table.column("embedding").combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return rows, [part if part.size else None for part in np.split(values, np.cumsum(lengths))[:-1]]


def gather_lineage(tables: Iterable[Path], path: Path) -> None:
    """Write the lineage of a dataset out of those of its shards, by record id; it is whole or absent.

    Raises:
        UserError: one of them cannot be read.
    """
    schema = arrow_schema(Lineage)
    try:
        found = [schema.empty_table(), *(pq.read_table(table) for table in tables)]
        merged = pa.concat_tables(found, promote_options="default").select(schema.names)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"A lineage below {path.parent} cannot be read ({error}). Run `mmtt ingest` again.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    # In one piece, since the bytes of a Parquet file follow from how its table is cut.
    whole = merged.sort_by("record_id").combine_chunks().replace_schema_metadata(schema.metadata)
    with replacing(path) as temporary:
        pq.write_table(whole, temporary, row_group_size=_ROWS_PER_GROUP, compression="zstd")


def faces_of(rows: list[Lineage], embeddings: list[Embedding | None], known: Container[str]) -> Faces:
    """Return the faces that are among the known record ids.

    An embedding that holds NaN or has no length counts as none.

    Raises:
        UserError: embeddings of two sizes, which are of two models and cannot be compared.
    """
    alone = Counter(row.photo_sha256 for row in rows)
    chosen = sorted((i for i, row in enumerate(rows) if row.record_id in known), key=lambda i: rows[i].record_id)
    kept = [rows[i] for i in chosen]
    usable = [(place, found) for place, i in enumerate(chosen) if (found := embeddings[i]) is not None]
    at, vectors = _unit([found for _, found in usable])
    named = np.array([bool(row.subject) and alone[row.photo_sha256] == 1 for row in kept], bool)
    keys = [f"s {row.subject}" if name else f"r {row.record_id}" for row, name in zip(kept, named, strict=True)]
    return Faces(
        rows=kept,
        at=np.array([place for place, _ in usable], np.int64)[at],
        vectors=vectors,
        unusable=len(usable) - len(at),
        group=_numbers([row.group_id for row in kept]),
        person=_numbers(keys),
        named=named,
    )


def _numbers(names: list[str]) -> Indices:
    return np.asarray(np.unique(np.array(names, object), return_inverse=True)[1], np.int64)


def _unit(embeddings: list[Embedding]) -> tuple[Indices, Vectors]:
    """The positions of those that can be compared, and these at unit length: float32 N×D."""
    sizes = sorted({found.size for found in embeddings})
    if len(sizes) > 1:
        told = " and ".join(map(str, sizes))
        raise UserError(f"The lineage holds embeddings of {told} numbers, from different models. Run `mmtt ingest`.")
    if not embeddings:
        return np.zeros(0, np.int64), np.zeros((0, 1), np.float32)
    vectors = np.stack(embeddings)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    at = np.flatnonzero(np.isfinite(lengths) & (lengths > 1e-6))
    return at, np.ascontiguousarray(vectors[at] / lengths[at, None], np.float32)


def calibrate(faces: Faces, section: IdentitySection) -> Calibration:
    """Return the threshold above which two faces are one person, and what it does on pairs that are known.

    It is the cosine that at most the share `false_alarm_rate` of the known-different pairs exceeds (by default
    between 1e-5 and 1e-3, the strictest that their number allows), rounded up to four digits: all pairs of up
    to 3,000 named faces (of every subject one, then a second, by record id) and up to a million pairs of faces
    in one photo.

    Raises:
        TooFewPairs: the recipe gives no threshold, and there are too few such pairs to find one.
    """
    different = np.concatenate([_named_apart(faces), _photo_apart(faces)])
    same = _named_alike(faces)
    threshold, rate = section.threshold, section.false_alarm_rate or _rate(len(different))
    if threshold is None:
        wanted = int(np.ceil(FEWEST_EXCEEDING / rate))
        if len(different) < wanted:
            raise TooFewPairs(
                f"Only {len(different):,} pairs of faces are known to show different people; to find the cosine that "
                f"a share of {rate:g} exceeds, {wanted:,} are needed. Name more subjects in sources.csv, or set "
                "plan.identity.threshold in the recipe."
            )
        threshold = float(np.ceil(np.quantile(different, 1 - rate, method="higher") * 1e4) / 1e4)
    alarms = float((different > threshold).mean()) if len(different) else None
    recall = float((same > threshold).mean()) if len(same) else None
    return Calibration(threshold, section.threshold is not None, len(different), len(same), alarms, recall)


def _rate(pairs: int) -> float:
    """The strictest rate that so many known-different pairs can tell of, within bounds."""
    return float(np.clip(FEWEST_EXCEEDING / max(pairs, 1), STRICTEST_RATE, LAXEST_RATE))


def _named_apart(faces: Faces) -> Vectors:
    """Cosines of faces of different named subjects, every subject as equally present as can be."""
    named = np.flatnonzero(faces.named[faces.at])
    seen: Counter[int] = Counter()
    turns = []
    for place, person in zip(named, faces.person[faces.at[named]].tolist(), strict=True):
        turns.append((seen[person], int(place)))
        seen[person] += 1
    chosen = np.array([place for _, place in sorted(turns)[:NAMED_FACES]], np.int64)
    person = faces.person[faces.at[chosen]]
    apart = np.triu(person[:, None] != person, 1)
    return np.asarray((faces.vectors[chosen] @ faces.vectors[chosen].T)[apart], dtype=np.float32)


def _together(keys: Indices, most: int) -> Iterator[Indices]:
    """Positions that share a key, at most so many each, for keys that stand more than once; keys in order."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    return (places[:most] for places in np.split(order, edges) if len(places) > 1)


def _photo_apart(faces: Faces) -> Vectors:
    """Cosines of faces that share a photo, photos in the order of their digests."""
    photos = _numbers([faces.rows[place].photo_sha256 for place in faces.at])
    found: list[Vectors] = [np.zeros(0, np.float32)]
    count = 0
    for places in _together(photos, len(photos)):
        found.append(_among(faces.vectors[places]))
        count += len(found[-1])
        if count >= PHOTO_PAIRS:
            break
    return np.concatenate(found)


def _named_alike(faces: Faces) -> Vectors:
    """Cosines of faces of one named subject in different photos, at most 20 faces each."""
    found = [_among(faces.vectors[places]) for places in _together(faces.person[faces.at], SAME_FACES)]
    return np.concatenate([np.zeros(0, np.float32), *found])


def _among(vectors: Vectors) -> Vectors:
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)], dtype=np.float32)
