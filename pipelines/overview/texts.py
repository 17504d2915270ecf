"""Texts: how many there are, who wrote them, how long they are, what they name, and a few of them."""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt.regions import REGIONS
from mmtt.reports import Report, tables
from mmtt.words import cut, words

from ..builds import tuples
from .tables import histogram

EXAMPLES = 6
LETTERS = 700
MOST_PEOPLE = 10  # pairs grow with the square
WORD_EDGES = (10, 20, 40, 60, 90, 120)
_COLUMNS = [
    "report_id", "record_id", "rank", "regions", "text_regions", "text", "language", "text_origin", "protocol",
]  # fmt: skip

# What a reader is told; machine texts are called so wherever they are shown.
WRITTEN_BY: Mapping[str, str] = {
    "human": "written by a person",
    "human_translated": "written by a person, then translated",
    "human_edited": "written by a person, edited by another",
    "model": "written by a machine (a model)",
    "template": "written by a machine (a filled-in template)",
    "unknown": "who or what wrote it is not known",
}


def read_texts(root: Path) -> pd.DataFrame:
    """Return the columns of `mmtt.reports.Report` that the page needs; empty where there are no reports.

    Raises:
        UserError: no Parquet. SchemaError: other columns.
    """
    rows = [row for path in tables(root) for row in tuples(path, Report, _COLUMNS)]
    return pd.DataFrame(rows, columns=_COLUMNS).sort_values(["record_id", "rank", "report_id"], ignore_index=True)


def statistics(texts: pd.DataFrame, shown: Collection[str]) -> dict[str, Any] | None:
    """Return what the page says about the texts; None where there are none.

    Args:
        texts: as `read_texts` gives them.
        shown: records that the page shows; texts about those are the better examples.
    """
    if not len(texts):
        return None
    lengths = [len(words(text, "en")) for text in texts["text"]]  # the tokenisation is the same for every language
    return {
        "count": len(texts),
        "records": texts["record_id"].nunique(),
        "distinct": texts["text"].nunique(),
        "origins": [
            {"origin": name, "count": count, "told": written_by(name), "machine": name in ("model", "template")}
            for name, count in _most(texts["text_origin"])
        ],
        "languages": _most(texts["language"]),
        "protocols": _most(texts["protocol"]),
        "median_words": float(pd.Series(lengths).median()),
        "lengths": list(zip(_length_names(), histogram(lengths, WORD_EDGES), strict=True)),
        "regions": _regions(texts),
        "agreement": _agreement(texts),
        "examples": [told(row) for row in _examples(texts, shown)],
    }


def written_by(origin: str) -> str:
    """Return who wrote a text, in words."""
    return WRITTEN_BY.get(origin, WRITTEN_BY["unknown"])


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one text as the page shows it."""
    return {
        "text": cut(row["text"], LETTERS),
        "language": row["language"],
        "origin": row["text_origin"],
        "told": written_by(row["text_origin"]),
        "record_id": row["record_id"],
        "regions": list(row["regions"]),
    }


def _most(column: pd.Series) -> list[tuple[str, int]]:
    return sorted(Counter(map(str, column)).items(), key=lambda item: (-item[1], item[0]))


def _length_names() -> list[str]:
    between = [f"{low}–{high - 1}" for low, high in itertools.pairwise(WORD_EDGES)]
    return [f"under {WORD_EDGES[0]}", *between, f"{WORD_EDGES[-1]} and more"]


def _regions(texts: pd.DataFrame) -> list[dict[str, Any]]:
    """How many texts name a region in words, and how many of their authors chose it."""
    named, chosen = (Counter(texts[column].explode().dropna()) for column in ("text_regions", "regions"))
    known = [*REGIONS, *sorted({*named, *chosen} - set(REGIONS))]
    rows = [{"word": word, "named": named[word], "chosen": chosen[word]} for word in known]
    return sorted(
        (row for row in rows if row["named"] or row["chosen"]),
        key=lambda row: (-int(row["named"]), -int(row["chosen"])),
    )


def _agreement(texts: pd.DataFrame) -> dict[str, Any] | None:
    """How far those agree who looked at the same picture: the mean Jaccard index of the regions that they chose.

    Each record counts once, with the mean over the pairs of its first `MOST_PEOPLE` texts; two that chose nothing
    agree.
    """
    several = texts[texts.duplicated("record_id", keep=False)]
    several = several.groupby("record_id").head(MOST_PEOPLE)
    if not len(several):
        return None
    means = []
    for _, chosen in several.groupby("record_id")["regions"]:
        pairs = [_jaccard(set(one), set(other)) for one, other in itertools.combinations(chosen, 2)]
        means.append(sum(pairs) / len(pairs))
    return {"records": len(means), "jaccard": sum(means) / len(means)}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _examples(texts: pd.DataFrame, shown: Collection[str]) -> list[dict[str, Any]]:
    """One text of each origin and language, then more; about pictures that the page shows, where there are any."""
    better = texts.assign(hidden=~texts["record_id"].isin(shown)).sort_values(["hidden", "report_id"])
    better = better.drop_duplicates("text")
    turn = better.groupby(["text_origin", "language"], dropna=False).cumcount()
    chosen = better.assign(turn=turn).sort_values(["turn", "hidden", "report_id"])[:EXAMPLES]
    return [{str(name): value for name, value in row.items()} for row in chosen.to_dict("records")]
