"""X7: whether every text says who wrote it; and whether translations still say what the originals say."""

import re
from collections import Counter
from typing import Any

import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding
from mmtt.evidence import Evidence
from mmtt.reports import TEXT_ORIGINS

from .reading import read_all, readable, texts_of

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MOST_READ = 5000  # derived texts, read twice


def judge_origins(evidence: Evidence) -> Finding:
    """Count the texts that do not say who wrote them, and those a model made that do not say which model.

    Raises:
        NotApplicable: there are no texts.
    """
    table = texts_of(evidence)
    silent = ~table["text_origin"].isin(set(TEXT_ORIGINS) - {"unknown"})
    derived = table["derived_text"] != "" if "derived_text" in table else pd.Series(False, index=table.index)
    unsigned = derived & _lacks(table, derived)
    wrong = silent | unsigned
    counts = Counter(table["text_origin"].replace("", "(empty)"))
    return Finding(
        statistic=float(wrong.mean()),
        n=len(table),
        of="texts",
        sentence=_sentence(silent, derived, unsigned),
        details={"texts by origin": dict(counts.most_common()), **_survival(evidence, table[derived])},
        worst=_worst(table[wrong], silent),
    )


def _sentence(silent: pd.Series, derived: pd.Series, unsigned: pd.Series) -> str:
    told = f"{int(silent.sum()):,}" if silent.any() else "None"
    of_derived = (
        f"{int(unsigned.sum()):,} of {int(derived.sum()):,} texts derived from them do not say by which model and how."
    )
    return f"{told} of {len(silent):,} texts leave open who wrote them{'; ' + of_derived if derived.any() else '.'}"


def _lacks(table: pd.DataFrame, derived: pd.Series) -> pd.Series:
    if not derived.any():
        return derived
    return (table["derived_model_sha256"] == "") | (table["derived_prompt_sha256"] == "")


def _worst(wrong: pd.DataFrame, silent: pd.Series) -> tuple[Example, ...]:
    return tuple(
        Example(
            row.record_id,
            f"report {row.report_id}: origin '{row.text_origin}'"
            if silent[row.Index]
            else f"report {row.report_id}: a {row.derived_kind} that names no model or prompt",
        )
        for row in wrong.sort_values("record_id").head(MOST_EXAMPLES).itertuples()
    )


def _survival(evidence: Evidence, derived: pd.DataFrame) -> dict[str, Any]:
    """Return how many translations lost or gained a number or a region, as far as both languages can be read."""
    told = derived.head(_MOST_READ)
    if told.empty:
        return {}
    told = told[(told["derived_kind"] == "translation") & told["language"].map(readable)]
    told = told[told["derived_language"].map(readable)]
    if told.empty:
        return {}
    before = read_all(evidence, list(zip(told["text"], told["language"], strict=True)))
    after = read_all(evidence, list(zip(told["derived_text"], told["derived_language"], strict=True)))
    numbers = [Counter(_NUMBER.findall(a)) != Counter(_NUMBER.findall(b)) for a, b in _texts(told)]
    pairs = [(set(a.claimed), set(b.claimed)) for a, b in zip(before, after, strict=True)]
    return {
        "translations read in both languages": len(told),
        "share of translations in which numbers differ": sum(numbers) / len(told),
        "share of translations that lose a region": sum(bool(a - b) for a, b in pairs) / len(told),
        "share of translations that add a region": sum(bool(b - a) for a, b in pairs) / len(told),
    }


def _texts(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["text"], table["derived_text"], strict=True))
