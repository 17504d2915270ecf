"""Catalog: all rows of a build without pixels in one table, filters over it, and single rows fetched on demand."""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.errors import UserError
from mmtt.record import MASTER
from mmtt.regions import REGIONS
from mmtt.samples import Rows
from mmtt.schema import arrow_schema

from ..builds import KEY, PICTURES, Build, Place, named
from .hits import Hit, Pointer, pointers

MOST_ROWS = 200
MOST_SEARCHED = 1000  # each word is looked for in every row
PRISTINE = "pristine"
_LISTED = ("manipulator", "origin", "regions")
_SEARCHED = ("record_id", "target_id", "source_id", "origin", "origin_id", "source_origin_id", "manipulator")
_DETAILS = tuple(name for name in arrow_schema().names if name not in PICTURES)
_PLAIN = ("family", "manipulator", "split", "variant", "origin")
FILTERS = (*_PLAIN, "region", "report", "verdict", "gate", "hit", "search")
Places = npt.NDArray[np.int64]


class NotThere(Exception):
    """No such record, or it has no such picture."""


class Catalog:
    """What a dataset's or release's rows are. Safe to be asked by several threads."""

    def __init__(self, root: Path) -> None:
        self.build = Build(root)
        self.name = named(root)
        self.rows = _table(self.build)
        self._at = {
            key: place for place, key in enumerate(zip(self.rows["record_id"], self.rows["variant"], strict=True))
        }
        texts = self.build.texts()
        self._texts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for text in texts.astype(object).where(texts.notna(), None).to_dict("records"):
            self._texts[text["record_id"]].append(text)
        self._search = self._searchable()
        self._pointers = {pointer.key: pointer for pointer in map(self._known, pointers(self.build)) if pointer.hits}
        self._bits = _region_bits(self.rows.pop("regions"))
        # Open Parquet files are not for several threads.
        self._lock = threading.Lock()
        self._fetch = Rows((*_DETAILS, *PICTURES))
        self._shards = list(self.build.shards)

    def _searchable(self) -> pd.Series:
        said = self.rows["record_id"].map(
            lambda name: " ".join(str(text["text"]) for text in self._texts.get(name, ()))
        )
        for name in _SEARCHED:
            said = said.str.cat(self.rows[name].fillna("").astype(str), sep="\n")
        for name in set(_SEARCHED) - {*KEY, *_LISTED}:
            self.rows.pop(name)
        return said.str.casefold()

    def _known(self, pointer: Pointer) -> Pointer:
        hits = {(hit.record_id, hit.variant): hit for hit in reversed(pointer.hits)}
        ordered = [
            hits[key] for key in dict.fromkeys((h.record_id, h.variant) for h in pointer.hits) if key in self._at
        ]
        return Pointer(pointer.key, pointer.title, ordered)

    def facets(self) -> dict[str, Any]:
        """Return what there is to filter by: for each filter [value, label, count], as plain JSON."""
        found = {name: _counted(self.rows[name]) for name in _PLAIN}
        counts = [(word, int(((self._bits >> place) & 1).sum())) for place, word in enumerate(REGIONS)]
        found["region"] = [[word, word, count] for word, count in counts if count]
        texts = [text for of_one in self._texts.values() for text in of_one]
        found["verdict"] = _counted(pd.Series([text["verdict"] for text in texts], dtype=object))
        refused = _counted(self.rows["refused"])
        found["gate"] = [["refused", "refused by a gate", int(self.rows["refused"].notna().sum())], *refused]
        found["gate"] = found["gate"] if refused else []
        found["hit"] = [[p.key, p.title, len(p.hits)] for p in self._pointers.values()]
        return {"name": self.name, "rows": len(self.rows), "unfinished": self.build.unfinished, "filters": found}

    def page(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return some rows that pass all filters, as plain JSON: total, offset, records.

        Args:
            asked: filters by name; `offset`, `count` as digits; `holding`, `ID:VARIANT` of a record whose page is
                wanted in place of an offset, if it passes.

        Raises:
            UserError: no such filter, or no number.
        """
        offset, count = (_number(asked, name, default) for name, default in (("offset", 0), ("count", 50)))
        count = min(count, MOST_ROWS)
        unknown = set(asked) - {*FILTERS, "offset", "count", "holding"}
        if unknown:
            raise UserError(f"There is no filter '{min(unknown)}'. Known: {', '.join(FILTERS)}.")
        places = self._passing({name: asked[name] for name in FILTERS if asked.get(name)})
        record_id, _, variant = asked.get("holding", "").partition(":")
        held = np.flatnonzero(places == self._at.get((record_id, variant), -1))
        if held.size and count:
            offset = int(held[0]) // count * count
        shown = self.rows.iloc[places[offset : offset + count]]
        listed = shown[[*KEY, "family", "manipulator", "split", "refused"]]
        records = listed.astype(object).where(listed.notna(), None).to_dict("records")
        return {"total": len(places), "offset": offset, "records": records}

    def _passing(self, asked: dict[str, str]) -> Places:
        """Positions of the rows that pass; those that something points at in its order, the others as they lie."""
        keep = np.ones(len(self.rows), bool)
        hit = asked.pop("hit", None)
        for name, value in asked.items():
            keep &= self._mask(name, value)
        if "gate" not in asked:
            keep &= self.rows["refused"].isna().to_numpy() | (hit is not None)
        if hit is None:
            return np.flatnonzero(keep)
        pointed = self._pointers[hit].hits if hit in self._pointers else []
        places = np.array([self._at[h.record_id, h.variant] for h in pointed], np.int64)
        return np.asarray(places[keep[places]])

    def _mask(self, name: str, value: str) -> npt.NDArray[np.bool_]:
        if name in _PLAIN:
            return (self.rows[name] == value).to_numpy(bool)
        filters: dict[str, Callable[[str], Any]] = {
            "region": lambda word: (self._bits >> REGIONS.index(word)) & 1 if word in REGIONS else False,
            "report": lambda wanted: self._told(lambda texts: bool(texts)) == (wanted == "yes"),
            "verdict": lambda verdict: self._told(lambda texts: any(t["verdict"] == verdict for t in texts)),
            "gate": lambda code: self.rows["refused"].notna() if code == "refused" else self.rows["refused"] == code,
            "search": self._found,
        }
        return np.broadcast_to(np.asarray(filters[name](value), bool), len(self.rows))

    def _told(self, holds: Callable[[list[dict[str, Any]]], bool]) -> npt.NDArray[np.bool_]:
        return self.rows["record_id"].map(lambda name: holds(self._texts.get(name, []))).to_numpy(bool)

    def _found(self, words: str) -> npt.NDArray[np.bool_]:
        if len(words) > MOST_SEARCHED:
            raise UserError(f"A search has at most {MOST_SEARCHED:,} characters.")
        keep = np.ones(len(self.rows), bool)
        for word in words.casefold().split():
            keep &= self._search.str.contains(word, regex=False).to_numpy(bool)
        return keep

    def record(self, record_id: str, variant: str = MASTER) -> dict[str, Any]:
        """Return one row as plain JSON: its columns, texts, which pictures it has, and what points at it.

        Raises:
            NotThere: no such record. UserError: its shard cannot be read, or is another one by now.
        """
        row, place = self._row(record_id, variant), self._at[record_id, variant]
        columns = {name: row[name] for name in _DETAILS if name != "landmarks"}
        listed = self.rows.iloc[place]
        facts = {"split": listed["split"], "refused": listed["refused"], "landmarks": len(row["landmarks"])}
        hits = [
            {"key": p.key, "title": p.title, "why": hit.why, "other_id": hit.other_id if self._is(hit) else None}
            for p in self._pointers.values()
            for hit in p.hits
            if (hit.record_id, hit.variant) == (record_id, variant)
        ]
        told = self._texts.get(record_id, [])
        texts = [{name: value for name, value in text.items() if name != "record_id"} for text in told]
        pictures = [name for name in PICTURES if row[name] is not None]
        return finite({"columns": columns | facts, "pictures": pictures, "texts": texts, "hits": hits})

    def _is(self, hit: Hit) -> bool:
        return (hit.other_id, MASTER) in self._at

    def picture(self, record_id: str, variant: str, column: str) -> bytes:
        """Return a picture's bytes as they are stored.

        Raises:
            NotThere: no such record, or it has no such picture. UserError: as for `record`.
        """
        if column not in PICTURES or (data := self._row(record_id, variant)[column]) is None:
            raise NotThere
        return bytes(data)

    def _row(self, record_id: str, variant: str) -> dict[str, Any]:
        at = self._at.get((record_id, variant))
        if at is None:
            raise NotThere
        found = self.rows.iloc[at]
        place = Place(self._shards[found["shard"]], int(found["row_group"]), int(found["row"]))
        with self._lock:
            row = self._fetch(place)
        if (row["record_id"], row["variant"]) != (record_id, variant):
            raise UserError(f"{place.shard} is not what it was. End `mmtt view`, and start it again.")
        return row


def finite(value: Any) -> Any:
    """Return plain values with None for numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(build: Build) -> pd.DataFrame:
    rows = build.rows([*_LISTED, *_SEARCHED]).drop_duplicates(KEY, ignore_index=True)
    rows["family"] = rows.pop("manipulation").fillna(PRISTINE)
    return rows


def _region_bits(regions: pd.Series) -> Places:
    """The regions of each row as bits, in the order of the 21 words."""
    bit = {word: 1 << place for place, word in enumerate(REGIONS)}
    return np.array([sum(bit.get(word, 0) for word in words) for words in regions], np.int64)


def _counted(column: pd.Series) -> list[list[Any]]:
    counts = column.dropna().value_counts()
    return [[str(value), str(value), int(counts[value])] for value in sorted(counts.index)]


def _number(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UserError(f"'{name}' must be a whole number.")
    return int(text)
