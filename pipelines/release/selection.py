"""Selection: which records may be released, by what their people agreed to, and on what ground."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt import consent
from mmtt.errors import Rejected, UserError
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import for_person
from mmtt.recipe import AuditSection, Recipe
from mmtt.release import Release

from .. import consents
from .answers import load


@dataclass(frozen=True)
class Selection:
    """What is released of a dataset, and what is not.

    rows: as `mmtt.evidence.Evidence.rows`, of the released records, by `record_id`. left_out: why each other record
    that counts is not, by record.
    """

    rows: pd.DataFrame
    left_out: Mapping[str, str]

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason occurs."""
        return dict(sorted(Counter(self.left_out.values()).items()))


def select(layout: Layout, recipe: Recipe, unasked: Collection[str], on: date) -> Selection:
    """Choose the records of a dataset that may be released.

    Args:
        layout: a finished dataset.
        recipe: its recipe.
        unasked: origins whose people were not asked, but which are released on a ground that the release states.
        on: the day of the release.

    Raises:
        UserError: no record may be; the reasons are counted. Or the source table says otherwise than was ingested.
    """
    consents.require_current(layout, recipe.consent)
    rows = Evidence(layout.root, recipe.audit, serial, for_person).rows.sort_values("record_id", ignore_index=True)
    why = _why(rows, consents.expiries(layout), unasked, on)
    kept = rows[[code is None for code in why]].reset_index(drop=True)
    left_out = {name: code for name, code in zip(rows["record_id"], why, strict=True) if code is not None}
    found = Selection(kept, left_out)
    if kept.empty:
        raise UserError(f"No record of {layout.root} may be released: {told(found.reasons)}. {_HINT}")
    return found


_HINT = (
    "The source table's `consent` says what people agreed to; `about.unasked` in datasheet.toml names origins that are "
    "released on another ground."
)


def told(reasons: Mapping[str, int]) -> str:
    """Return reasons with their counts, as words."""
    return ", ".join(f"{count} {code}" for code, count in reasons.items()) or "none"


def require_publishable(dataset: Path, folder: Path, on: date) -> None:
    """Refuse a release that holds a record which may not be published on that day.

    Args:
        dataset: the dataset that it was made from, which knows until when consents hold.
        folder: the release.
        on: the day.

    Raises:
        UserError: it does; the reasons are counted.
    """
    layout = Layout(dataset)
    consents.require_current(layout, Recipe.load(layout.recipe).consent)
    rows, unasked = Evidence(folder, AuditSection(), serial, for_person).rows, load(dataset).about.unasked
    codes = [code for code in _why(rows, consents.expiries(layout), unasked, on) if code is not None]
    if codes:
        version = Release.load(folder).version
        reasons = told(dict(sorted(Counter(codes).items())))
        hint = f"Make the next version without them: `mmtt release {dataset} --version …`."
        raise UserError(f"Release {version} holds records that may not be published on {on}: {reasons}. {hint}")


def _why(rows: pd.DataFrame, expiries: Mapping[str, str], unasked: Collection[str], on: date) -> list[str | None]:
    """Return for each row why it may not be released, as a code; None where it may."""

    @cache
    def judged(words: str, origin: str, expiry: str | None, *, forged: bool) -> str | None:
        needed = consent.RELEASE_FORGED if forged else consent.RELEASE_PRISTINE
        try:
            consent.require(words, needed, on, expiry)
        except Rejected as reason:
            return None if reason.code == "not_asked" and origin in unasked else reason.code
        return None

    def of(row: Mapping[str, Any]) -> str | None:
        forged = isinstance(row["manipulation"], str)
        target = row["target_id"] if isinstance(row["target_id"], str) else row["record_id"]
        own = judged(row["consent"], row["origin"], expiries.get(target), forged=forged)
        if own is not None or not isinstance(row["source_consent"], str):
            return own
        expiry = expiries.get(row["source_id"])
        return judged(row["source_consent"], row["source_origin"] or "", expiry, forged=True)

    columns = [
        "record_id",
        "manipulation",
        "target_id",
        "consent",
        "origin",
        "source_id",
        "source_consent",
        "source_origin",
    ]
    return [of(row) for row in rows[columns].to_dict("records")]
