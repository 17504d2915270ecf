"""Figures: what card and licence count of a release, as plain rows for their tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from mmtt import consent, words
from mmtt.errors import UserError
from mmtt.html import figure
from mmtt.recipe import SPLITS
from mmtt.release import CONFIGS
from mmtt.reports import Report

from ..overview.tables import by_family
from .facts import File
from .glossary import CONSENTS

PRISTINE = "pristine"
_MACHINES = ("template", "model")  # origins of texts that no person wrote


def configs(files: Iterable[File]) -> dict[str, dict[str, list[File]]]:
    """Return the shards of each config that a release has, by split, in the order in which splits are told."""
    found: dict[str, dict[str, list[File]]] = {}
    listed = list(files)
    for config, folder in CONFIGS.items():
        of = {split: [file for file in listed if file.path.startswith(f"{folder}/{split}-")] for split in SPLITS}
        if there := {split: shards for split, shards in of.items() if shards}:
            found[config] = there
    return found


def sizes(files: Iterable[File]) -> list[dict[str, Any]]:
    """Return rows, files and bytes of each config and split."""
    return [
        {
            "config": config,
            "folder": CONFIGS[config],
            "split": split,
            "rows": sum(file.rows or 0 for file in shards),
            "files": len(shards),
            "bytes": sum(file.bytes for file in shards),
        }
        for config, splits in configs(files).items()
        for split, shards in splits.items()
    ]


def kinds(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many rows of each kind are in each split, with the median share of the frame that masks cover."""
    groups = {PRISTINE: rows[rows["manipulation"].isna()], **by_family(rows[rows["manipulation"].notna()])}
    return [
        {
            "kind": kind,
            "rows": len(lot),
            "splits": {split: int((lot["split"] == split).sum()) for split in SPLITS},
            "mask_share": None if kind == PRISTINE else float(lot["mask_share"].median()),
            "programs": sorted({str(name) for name in lot["manipulator"].dropna()}),
        }
        for kind, lot in groups.items()
    ]


def people(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each face that a row shows, its donor's too.

    Columns: origin, origin_id, licence, consent, group_id; record_id; part: `pristine`, `target` or `donor`.
    """
    own = ["origin", "origin_id", "licence", "consent", "group_id"]
    part = rows["manipulation"].isna().map({True: PRISTINE, False: "target"})
    shown = rows[["record_id", *own]].assign(part=part)
    donors = rows.loc[rows["source_origin"].notna(), ["record_id", *(f"source_{name}" for name in own)]]
    donors = donors.set_axis(["record_id", *own], axis=1).assign(part="donor")
    found = pd.concat([shown, donors] if len(donors) else [shown], ignore_index=True)
    return found.assign(consent=found["consent"].fillna(consent.UNASKED))


def origins(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each origin and licence: photos and groups (people, as far as known), and rows that show one of them."""
    grouped = people(rows).groupby(["origin", "licence"], dropna=False, sort=True)
    return [
        {
            "origin": _told(origin),
            "licence": _told(licence),
            "photos": int(lot["origin_id"].nunique()),
            "groups": int(lot["group_id"].nunique()),
            "rows": int(lot["record_id"].nunique()),
        }
        for (origin, licence), lot in grouped
    ]


def _meaning(stated: str) -> str:
    words = sorted(consent.words(stated)) or [consent.UNASKED]
    return ", ".join(CONSENTS.get(word, f"'{word}' is no word of ours: agrees to nothing") for word in words)


def consents(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each consent as it is stated: photos, and rows that show them pristine, as target, as donor."""
    return [
        {
            "consent": str(stated),
            "meaning": _meaning(str(stated)),
            "photos": int(lot.drop_duplicates(["origin", "origin_id"]).shape[0]),
            **{part: int((lot["part"] == part).sum()) for part in (PRISTINE, "target", "donor")},
        }
        for stated, lot in people(rows).groupby("consent", sort=True)
    ]


def grounds(rows: pd.DataFrame, stated: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each origin whose people were not asked: its photos, and the ground on which they are released.

    Raises:
        UserError: an origin without a ground.
    """
    shown = people(rows)
    asked = shown["consent"].map(consent.is_asked).astype(bool)
    found = []
    for origin, lot in shown[~asked].groupby("origin", sort=True):
        if not stated.get(str(origin), "").strip():
            raise UserError(
                f"Nobody of '{words.printable(str(origin))}' was asked, and datasheet.toml states no ground for it in "
                "[about.unasked]; state one, or leave the origin out."
            )
        photos = int(lot["origin_id"].nunique())
        found.append({"origin": str(origin), "photos": photos, "ground": stated[str(origin)]})
    return found


def obliged(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Return the obligations of each row, a tuple."""
    return rows["obligations"].map(lambda listed: () if listed is None else tuple(map(str, listed)))


def owed(rows: pd.DataFrame) -> dict[str, int]:
    """Return how many rows oblige to each word of `mmtt.licences`."""
    return dict(sorted(Counter(word for listed in obliged(rows) for word in listed).items()))


def masks(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many rows follow each mask rule, and how many of their masks are exact by construction."""
    return [
        {"rule": str(rule), "rows": len(lot), "exact": int(lot["exact_mask"].sum())}
        for rule, lot in rows.groupby("mask_rule", sort=True)
    ]


def by_people(reports: Iterable[Report]) -> list[Report]:
    """Return the texts that people wrote, or may have written."""
    return [report for report in reports if report.text_origin not in _MACHINES]


def texts(reports: Sequence[Report]) -> dict[str, Any]:
    """Return what there is to tell of the texts: how many, of how many records, by whom, in which words."""
    readable = [report for report in reports if report.language.lower().split("-")[0] in words.LANGUAGES]
    lengths = [len(words.words(report.text, report.language)) for report in readable]
    submitted = sorted(report.submitted for report in reports if report.submitted)
    return {
        "count": len(reports),
        "records": len({report.record_id for report in reports}),
        "annotators": len({report.annotator for report in by_people(reports)} - {"unknown"}),
        "languages": sorted({report.language for report in reports}),
        "origins": _counted(report.text_origin for report in reports),
        "protocols": _counted(report.protocol for report in reports),
        "settled": _counted(report.settled for report in reports),
        "median_words": median(lengths) if lengths else 0,
        "most_words": max(lengths, default=0),
        "days": (submitted[0], submitted[-1]) if submitted else None,
    }


def agreements(told: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return the figures of agreement that were measured, as words: what, value, interval, units."""
    measured = {
        "masi": "Regions chosen (Krippendorff's alpha, MASI)",
        "jaccard": "Regions chosen (Krippendorff's alpha, Jaccard)",
        "verdict": "Whether a forgery is seen (Krippendorff's alpha, nominal)",
        "difficulty": "Difficulty (Krippendorff's alpha, ordinal)",
        "text": "Texts of one record more alike than others (AUC)",
    }
    found = {title: (told or {}).get(name) or {} for name, title in measured.items()}
    return [
        {"what": title, "value": figure(one["value"]), "interval": _interval(one["low"], one["high"]),
         "units": str(one["units"])}
        for title, one in found.items() if one.get("value") is not None
    ]  # fmt: skip


def audits(told: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return each audit that was answered as words: id, title, figure, interval, gate, verdict, sentence, caution."""
    return [
        {
            "id": audit["id"], "title": audit["title"], "verdict": audit["verdict"], "unit": audit["unit"],
            "figure": figure(audit["statistic"]),
            "interval": _interval(*(audit["interval"] or (None, None))),
            "gate": "" if audit["gate"] is None else _gate(audit["better"], audit["gate"]),
            "sentence": audit["sentence"], "caution": audit["caution"] or "",
        }
        for audit in told if "statistic" in audit
    ]  # fmt: skip


def unanswered(told: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the audits that could not be answered (id and title), by the reason why."""
    found: dict[str, list[str]] = {}
    for audit in told:
        if "statistic" not in audit:
            found.setdefault(audit["reason"], []).append(f"{audit['id']} {audit['title']}")
    return found


def _gate(better: str, gate: float) -> str:
    return f"{'at most' if better == 'low' else 'at least'} {figure(gate)}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{figure(low)} to {figure(high)}"


def _counted(items: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(items).items()))


def _told(value: Any) -> str:
    return value if isinstance(value, str) and value else "unknown"
