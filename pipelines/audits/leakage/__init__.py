"""Audits of leakage: whether a split can be told from another at all, or shares targets, people, pictures or words.

L1 asks the lineage, L2 and L3 the pixels, L4 embeddings of identity, L5 the texts. Each looks at every row.
"""

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Audit, Example, Finding, NotApplicable
from mmtt.evidence import Evidence

from ...near import Indices
from ..counting import so_many
from .backgrounds import judge_backgrounds
from .components import TIES, Edges, crossing, edges, labels, split_codes
from .copied import COPIED_GATE, judge_texts
from .duplicates import Duplicates, duplicates, judge_duplicates
from .strangers import ALARM_GATE, judge_identities


def judge_components(evidence: Evidence) -> Finding:
    """Count the components of rows, tied by target, donor, person, photo or likeness, that lie in several splits."""
    rows = evidence.rows
    if rows["split"].nunique() < 2:
        raise NotApplicable("All rows lie in one split, so nothing can span two.")
    found, twins = edges(evidence), duplicates(evidence)
    component = labels(found, (twins.pairs["first"].to_numpy(np.int64), twins.pairs["second"].to_numpy(np.int64)))
    sizes = np.bincount(component)
    splits = np.zeros((len(sizes), rows["split"].nunique()), np.bool_)
    splits[component, split_codes(rows)] = True
    spanning = int((splits.sum(axis=1) > 1).sum())
    across = {tie: crossing(found, rows, tie) for tie in TIES}
    by_tie = {tie: len(table) for tie, table in across.items()} | {"one picture": twins.total}
    told = ", ".join(f"{tie} {count:,}" for tie, count in by_tie.items() if count)
    return Finding(
        statistic=spanning,
        n=len(sizes),
        of="components",
        sentence=f"{spanning:,} of {so_many(len(sizes), 'component')} {'lies' if spanning == 1 else 'lie'} in several "
        f"splits; what crosses: {told}."
        if spanning
        else f"Each of {so_many(len(sizes), 'component')} lies in one split.",
        details={
            "ties that cross splits": by_tie,
            "largest component, share of rows": float(sizes.max() / len(rows)),
            "largest component without donors, share of rows": _largest(labels(found, donors=False)),
            "rows that share a tie": {tie: _sharing(found, tie) for tie in TIES},
            "donors": int(rows["source_id"].nunique()),
        },
        worst=_examples(evidence, {tie: table.head(MOST_EXAMPLES) for tie, table in across.items()}, twins),
    )


def _largest(component: Indices) -> float:
    return float(np.bincount(component).max() / len(component))


def _sharing(found: Edges, tie: str) -> int:
    """How many rows share such a thing with another row."""
    table = found.table[found.table["tie"] == tie]
    return int(table.loc[table["thing"].duplicated(keep=False), "row"].nunique())


def _examples(evidence: Evidence, across: dict[str, pd.DataFrame], twins: Duplicates) -> tuple[Example, ...]:
    """Of each kind of tie a few, in turn."""
    rows = evidence.rows
    kinds = across | {"picture": twins.pairs}
    found = []
    for turn in range(MOST_EXAMPLES):
        for tie, table in kinds.items():
            if turn < len(table):
                pair = table.iloc[turn]
                first, second = rows.iloc[int(pair["first"])], rows.iloc[int(pair["second"])]
                why = f"shares its {tie} with a row in {second['split']}, and lies in {first['split']}"
                found.append(Example(first["record_id"], why, second["record_id"], evidence.variant))
    return tuple(found[:MOST_EXAMPLES])


AUDITS: tuple[Audit, ...] = (
    Audit(
        id="L1",
        title="Components across splits",
        question="Do rows that share a target, a donor, a person or a photo lie in one split?",
        unit="components",
        gate=0,
        judge=judge_components,
    ),
    Audit(
        id="L2",
        title="Duplicates across splits",
        question="Does a picture stand in two splits, exactly, recompressed, mirrored or moved a little?",
        unit="pairs",
        gate=0,
        judge=judge_duplicates,
    ),
    Audit(
        id="L3",
        title="Background twins",
        question="Were forgeries in two splits made from one photo, though no lineage says so?",
        unit="pairs",
        gate=0,
        judge=judge_backgrounds,
    ),
    Audit(
        id="L4",
        title="People across splits",
        question="Does a face in test look like a person in train, more than strangers do?",
        unit="share of test faces",
        gate=ALARM_GATE,
        judge=judge_identities,
    ),
    Audit(
        id="L5",
        title="Copied texts",
        question="Do texts in test stand, nearly word for word, in train?",
        unit="share of test texts",
        gate=COPIED_GATE,
        judge=judge_texts,
    ),
)
