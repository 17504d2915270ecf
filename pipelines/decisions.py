"""Decisions: what the curator wrote into `identities.csv`, one row `first,second,same` for two records.

A decision is about people, not pictures: it holds for all photos that the sources give to the same subject,
and `yes` makes two people one for every other decision.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.errors import UserError

from .neighbours import Indices

COLUMNS = ("first", "second", "same")


class Row(NamedTuple):
    """One row: two positions among the records, and the line that it stands on."""

    line: int
    first: int
    second: int
    same: bool


@dataclass(frozen=True)
class Decisions:
    """Rows whose two records show one person (`yes`), and how many rows say that two differ.

    `somebody` numbers the people that records show; `differ` holds sorted keys of two such numbers.
    """

    yes: list[Row]
    no: int
    somebody: Indices
    differ: Indices

    def decided(self, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Whether the curator has answered for each of these pairs of positions."""
        one, other = self.somebody[first], self.somebody[second]
        return np.asarray((one == other) | np.isin(_key(one, other), self.differ), bool)


def _key(one: Indices, other: Indices) -> Indices:
    return np.asarray(np.minimum(one, other) << 32 | np.maximum(one, other), np.int64)


def read_decisions(path: Path, record_ids: Sequence[str], person: Indices) -> Decisions:
    """Read the decisions of a dataset; no file means none.

    Args:
        path: `identities.csv`.
        record_ids: the pristine records.
        person: a number for each, equal where the sources name one subject.

    Raises:
        UserError: wrong columns, an unknown record, an answer other than yes and no, or one that contradicts
            another or the sources; it names the line.
    """
    rows = list(_rows(path, {record_id: place for place, record_id in enumerate(record_ids)}))
    somebody = _united(rows, person)
    refused = [row for row in rows if not row.same]
    for row in refused:
        if person[row.first] == person[row.second]:
            raise UserError(f"{path}, line {row.line}: sources.csv gives both to one subject. Mend it there.")
        if somebody[row.first] == somebody[row.second]:
            yes = ", ".join(str(other.line) for other in rows if other.same and _touches(other, row, somebody))
            raise UserError(f"{path}, line {row.line} says no, and other lines say yes ({yes}). Remove what is wrong.")
    first, second = (np.array([getattr(row, side) for row in refused], np.int64) for side in ("first", "second"))
    differ = np.unique(_key(somebody[first], somebody[second]))
    return Decisions([row for row in rows if row.same], len(refused), somebody, differ)


def require_one_split(
    path: Path, said: Decisions, record_ids: Sequence[str], split_of: Mapping[str, str], table: Path
) -> None:
    """Refuse a `yes` for two records that an earlier plan put into two splits, where they would stay.

    `split_of` says the split of each record that has one, `table` is where that is written.

    Raises:
        UserError: there is such a row; it names the line.
    """
    for row in said.yes:
        first, second = record_ids[row.first], record_ids[row.second]
        one, other = split_of.get(first), split_of.get(second)
        if one and other and one != other:
            raise UserError(
                f"{path}, line {row.line} says yes, but an earlier plan put {first} into {one} and {second} into "
                f"{other}. Remove {table} to have every split drawn anew, or take the row out."
            )


def _touches(other: Row, row: Row, somebody: Indices) -> bool:
    return bool(somebody[other.first] == somebody[row.first])


def _united(rows: Sequence[Row], person: Indices) -> Indices:
    """The person of each record once every `yes` has made two of them one: the smallest number."""
    parent: dict[int, int] = {}

    def root(one: int) -> int:
        while parent.get(one, one) != one:
            one = parent[one]
        return one

    for row in rows:
        if row.same:
            low, high = sorted((root(int(person[row.first])), root(int(person[row.second]))))
            parent[high] = low
    united = person.copy()
    for one in parent:
        united[person == one] = root(one)
    return united


def _rows(path: Path, places: dict[str, int]) -> Iterator[Row]:
    if not path.exists():
        return
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        named = tuple(name.strip() for name in reader.fieldnames or ())
        if sorted(named) != sorted(COLUMNS):
            raise UserError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}.")
        reader.fieldnames = named
        for row in reader:
            yield _row(row, f"{path}, line {reader.line_num}", reader.line_num, places)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8: {error}.") from error


def _row(row: dict[str, str | None], where: str, line: int, places: dict[str, int]) -> Row:
    if set(row) != set(COLUMNS) or None in row.values():
        raise UserError(f"{where}: a row has three values: {','.join(COLUMNS)}.")
    first, second, same = ((row[name] or "").strip() for name in COLUMNS)
    for record_id in (first, second):
        if record_id not in places:
            raise UserError(f"{where}: '{record_id}' is no pristine record here. Mend the id, or remove the line.")
    if same.lower() not in ("yes", "no"):
        raise UserError(f"{where}: 'same' is '{same}'; write yes or no.")
    if first == second:
        raise UserError(f"{where}: both are the record {first}.")
    return Row(line, places[first], places[second], same.lower() == "yes")
