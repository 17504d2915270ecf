"""Consents: whom a plan may use, until when each consent holds, and whether the source table still says so."""

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from mmtt import consent
from mmtt.errors import Rejected, UserError
from mmtt.layout import Layout
from mmtt.manifest import read_columns
from mmtt.recipe import ConsentSection
from mmtt.record import Rejection
from mmtt.words import printable

from . import sources

STAGE = "plan"


def expiries(layout: Layout) -> Mapping[str, str]:
    """Return the last day of each consent that ends, ISO 8601, by pristine record; empty where there is no lineage.

    Raises:
        UserError: there is one that cannot be read.
    """
    return {record_id: day for record_id, _, day in _lineage(layout) if day}


def require_current(layout: Layout, section: ConsentSection) -> None:
    """Refuse to go on where the source table was edited since ingest, and states other consents or ages by now.

    Where there is no source table (an import), there is nothing to compare.

    Raises:
        UserError: it was.
    """
    if not any((layout.root / f"sources.{suffix}").is_file() for suffix in ("csv", "jsonl")):
        return
    told = sources.load(layout.root)
    stored = {row["record_id"]: row["consent"] for row in read_columns(layout.pristine, ["record_id", "consent"])}
    edited = sorted(
        path
        for record_id, path, day in _lineage(layout)
        if record_id in stored and not _states(told.get(path) or told.get("*"), stored[record_id], day, section)
    )
    if edited:
        photos = f"{len(edited)} photo{'s' * (len(edited) > 1)}, such as '{edited[0]}'"
        what = f"the source table states other consents or ages than when they were ingested of {photos}"
        raise UserError(printable(f"{layout.root}: {what}. Run `mmtt build {layout.recipe}`."))


def _states(source: sources.Source | None, words: str, day: str | None, section: ConsentSection) -> bool:
    """Whether a row of the source table still lets a photo in, with the consent that was stored."""
    if source is None or (source.consent, source.consent_expiry) != (words, day or ""):
        return False
    try:
        source.require_admitted(section.minors)
    except Rejected:
        return False
    return True


def refusals(layout: Layout, section: ConsentSection, today: date) -> dict[str, Rejection]:
    """Return a rejection for each pristine record that may be neither target nor donor on a day, by record.

    Its code is `no_consent` or `consent_expired`, and `not_asked` where the recipe refuses those.

    Raises:
        UserError: the source table states other consents by now.
    """
    require_current(layout, section)
    ends, refused = expiries(layout), {}
    for row in read_columns(layout.pristine, ["record_id", "consent"]):
        record_id = row["record_id"]
        try:
            _require_forgeable(row["consent"], section, today, ends.get(record_id))
        except Rejected as reason:
            refused[record_id] = Rejection(stage=STAGE, code=reason.code, detail=reason.detail, record_id=record_id)
    return dict(sorted(refused.items()))


def _require_forgeable(words: str, section: ConsentSection, today: date, expiry: str | None) -> None:
    if section.unasked == "forge" and not consent.is_asked(words):
        return
    consent.require(words, consent.FORGE, today, expiry)


def _lineage(layout: Layout) -> Sequence[tuple[str, str, str | None]]:
    """Record, photo and last day of the consent of each pristine record; without the embeddings, which are large."""
    names = ["record_id", "path", "consent_expiry"]
    if not layout.lineage.is_file():
        return []
    try:
        table = pq.read_table(layout.lineage, columns=names).select(names)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{layout.lineage} cannot be read ({error}). Run `mmtt ingest` again.") from error
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
