"""X3: how far people agree who described one record by themselves, from the published reports."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence

from ..agreement import Agreement, agreement, record_agreement
from ..answers import Answer, Kind
from ..protocols import SEES_NOTHING, VISIBLE, StageName

FEWEST = 10  # records with two reports
_DRAWS = 500
_NOBODY = "unknown"
_DAY = datetime(2000, 1, 1, tzinfo=UTC)  # no published time orders answers


def judge_agreement(evidence: Evidence) -> Finding:
    """Compute how far people agree on the regions of a record, beyond chance."""
    answers = _independent(evidence.reports)
    records = {answer.record_id for answer in answers}
    if len(records) < FEWEST:
        raise NotApplicable(
            f"{len(records)} records have reports of two people, which is too few: {FEWEST} are needed."
        )
    found = agreement(answers, np.random.default_rng(evidence.settings.seed), _DRAWS)
    if found.masi.value is None:
        raise NotApplicable("Everybody chose the same regions everywhere, so nothing tells agreement from chance.")
    each = {record: value for record, value in record_agreement(answers).items() if value is not None}
    worst = sorted(each.items(), key=lambda item: (item[1], item[0]))[:MOST_EXAMPLES]
    return Finding(
        statistic=found.masi.value,
        low=found.masi.low,
        high=found.masi.high,
        n=found.repeated,
        of="records with two reports or more",
        sentence=f"The regions of {found.repeated:,} records that two people or more described agree with an alpha of "
        f"{found.masi.value:.2f}, where 0 is chance and 1 complete.",
        details=_details(found),
        worst=tuple(
            Example(record, f"the reports agree by {value:.2f}; below 0 is worse than chance")
            for record, value in worst
        ),
    )


def _details(found: Agreement) -> dict[str, Any]:
    regions = {word: one for word, one in found.regions.items() if one.value is not None}
    return {
        "alpha, Jaccard": found.jaccard.value,
        "alpha of the verdict": found.verdict.value,
        "alpha of the difficulty": found.difficulty.value,
        "alpha by region": {word: one.value for word, one in regions.items()},
        "share of reports that choose a region": {word: one.prevalence for word, one in regions.items()},
        "texts: probability that two of one record are more alike than two of different ones": found.text.value,
        "texts: low end of its interval": found.text.low,
        "texts: high end of its interval": found.text.high,
        "annotators": found.annotators,
        "draws of the bootstrap": found.draws,
    }


def _independent(reports: pd.DataFrame) -> list[Answer]:
    """Return the reports of records that two people or more described; an adjudicator saw those of others.

    Where an imported dataset names nobody, each report of a record counts as another person's.
    """
    alone = reports[reports["settled"] != "adjudicated"]
    strangers = alone["annotator"] == _NOBODY
    people = alone["annotator"].where(~strangers, _NOBODY + " " + alone["rank"].astype(str))
    alone = alone.assign(person=people).drop_duplicates(["record_id", "person"])
    counts = alone.groupby("record_id")["person"].transform("nunique")
    return list(_answers(alone[counts >= 2]))


def _answers(reports: pd.DataFrame) -> Iterator[Answer]:
    for row in reports.to_dict("records"):
        own = row["original_text"]  # another person edited `text`
        rated = row["difficulty"]
        yield Answer(
            uid=row["report_id"],
            task_key=row["record_id"],
            record_id=row["record_id"],
            image_sha256=row["image_sha256"],
            protocol=row["protocol"],
            stage=StageName.DESCRIBE,
            kind=Kind.ORDINARY,
            annotator=row["person"],
            language=row["language"],
            submitted=_DAY,
            updated=_DAY,
            verdict=row["verdict"] if row["verdict"] in SEES_NOTHING or not len(row["regions"]) else VISIBLE,
            regions=tuple(row["regions"]),
            text=own if isinstance(own, str) else row["text"],
            difficulty=None if rated is None or math.isnan(rated) else int(rated),
        )
