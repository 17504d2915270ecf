"""The texts of a dataset as a table, and what the lexicon reads out of them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mmtt.audit import NotApplicable
from mmtt.evidence import Evidence
from mmtt.ids import derived_id
from mmtt.lexicon import Mention, mentions
from mmtt.regions import REGIONS
from mmtt.words import LANGUAGES

MOST_READ = 20_000  # texts; a millisecond each
MOST_SHOWN = 200  # characters of a text in an example
_CHUNK = 200
_COLUMNS = ("report_id", "record_id", "annotator", "protocol", "text", "language", "text_origin", "regions")


class Read(NamedTuple):
    """What one text says. claimed, denied: regions that look wrong, or are only called fine, in the paper's order.

    sides: of the claimed regions whose side is said. contradicted: regions that are called both on the same side.
    """

    claimed: tuple[str, ...]
    denied: tuple[str, ...]
    sides: Mapping[str, str]
    contradicted: tuple[str, ...]


def texts_of(evidence: Evidence) -> pd.DataFrame:
    """Return the texts, a row each: those of the reports' table, or in a release those that lie in the rows.

    Columns: report_id, record_id, annotator, protocol, text, language, text_origin, regions; where it is known,
    `text_regions` as well. What is unknown is an empty string.

    Raises:
        NotApplicable: there are none.
    """
    reports = evidence.reports
    table = _released(evidence.rows) if reports.empty else reports
    table = table[table["text"].notna() & (table["text"] != "")]
    if table.empty:
        raise NotApplicable("Nobody wrote a report about any record.")
    strings = [name for name in table if name not in ("regions", "text_regions", "dwell_s", "difficulty", "rank")]
    return table.assign(**{name: table[name].astype(object).fillna("") for name in strings}).reset_index(drop=True)


def shortened(text: str) -> str:
    """Return as much of a text as an example can show."""
    return textwrap.shorten(text, MOST_SHOWN, placeholder=" …")


def _drawn(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """Return `MOST_READ` of some texts, or all; drawn by digest of seed and record, in their order."""
    if len(table) <= MOST_READ:
        return table
    lots = table["record_id"].map(lambda record_id: derived_id(evidence.settings.seed, "texts", record_id))
    return table.loc[lots.sort_values(kind="stable").index[:MOST_READ].sort_values()]


def readings(evidence: Evidence) -> pd.DataFrame:
    """Return texts about forged records with what the lexicon reads: columns of `texts_of`, `read`, and `place`.

    At most `MOST_READ` texts, drawn by digest; those in other languages than the lexicon's are left out. `place` is the
    record's in `Evidence.samples`. Worked out once.

    Raises:
        NotApplicable: no text is about a forged record, or in a language that can be read.
    """
    return evidence.once(_readings)


def _readings(evidence: Evidence) -> pd.DataFrame:
    places = evidence.forged.drop_duplicates("record_id").set_index("record_id")["place"]
    table = texts_of(evidence)
    table = table[table["language"].map(readable) & table["record_id"].isin(places.index)]
    if table.empty:
        raise NotApplicable(f"No text about a forged record is in a language that can be read: {', '.join(LANGUAGES)}.")
    table = _drawn(evidence, table)
    pairs = list(zip(table["text"], table["language"], strict=True))
    return table.assign(place=table["record_id"].map(places), read=read_all(evidence, pairs))


def readable(language: str) -> bool:
    """Return whether the lexicon reads a language."""
    return language.lower().replace("_", "-").split("-", 1)[0] in LANGUAGES


def read_all(evidence: Evidence, pairs: Sequence[tuple[str, str]]) -> list[Read]:
    """Return what texts say, each given with its language; equal ones are read once, in worker processes."""
    distinct = list(dict.fromkeys(pairs))
    chunks = [distinct[at : at + _CHUNK] for at in range(0, len(distinct), _CHUNK)]
    read = [one for chunk in evidence.map("audit: texts", _read_chunk, chunks) for one in chunk]
    known = dict(zip(distinct, read, strict=True))
    return [known[pair] for pair in pairs]


def _read_chunk(pairs: Sequence[tuple[str, str]]) -> list[Read]:
    return [_read(mentions(text, language)) for text, language in pairs]


def _read(found: Sequence[Mention]) -> Read:
    wrong = {mention.region for mention in found if not mention.denied}
    fine = {mention.region for mention in found if mention.denied}
    sides: dict[str, str] = {}
    for mention in found:
        if mention.side and not mention.denied:
            sides[mention.region] = mention.side if sides.get(mention.region, mention.side) == mention.side else "both"
    said = [{(m.region, m.side) for m in found if m.denied is denied} for denied in (False, True)]
    both = {region for region, _ in said[0] & said[1]}
    return Read(in_order(wrong), in_order(fine - wrong), sides, in_order(both))


def in_order(words: Any) -> tuple[str, ...]:
    """Return region words in the paper's order."""
    named = set(words)
    return tuple(word for word in REGIONS if word in named)


def _released(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the texts that a release carries in its rows; it names nobody."""
    told = rows[rows["report"].notna()]
    words = [in_order(w for w, said in zip(REGIONS, v, strict=False) if said) for v in told["report_regions"]]
    columns = {
        "report_id": told["record_id"],
        "record_id": told["record_id"],
        "annotator": "unknown",
        "protocol": told["protocol"],
        "text": told["report"],
        "language": told["report_language"],
        "text_origin": told["text_origin"],
    }
    return pd.DataFrame(columns).assign(regions=pd.Series(words, index=told.index, dtype=object))
