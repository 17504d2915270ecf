"""Report: one text row, what one annotator wrote about one record; and how reports come to their records."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa

from mmtt.errors import UserError
from mmtt.record import MASTER, SCHEMA_VERSION, Column, Record, text
from mmtt.regions import REGIONS
from mmtt.release import REPORTS, is_release

TEXT_ORIGINS = ("human", "human_translated", "human_edited", "model", "template", "unknown")
DWELL_EDGES_S = (0, 30, 60, 90, 120, 180, 300, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one annotator wrote about one record: who, when, how long, under which protocol.

    Times are coarse on purpose: exact ones would tell one person from another.
    """

    report_id: Annotated[str, text("24 hex digits; never changes.")]
    record_id: Annotated[str, text("The record that was looked at.")]
    image_sha256: Annotated[str, text("The very bytes that were seen; a join refuses a mismatch.")]
    rank: Annotated[int, Column(pa.int32(), "0 for the report that stands for its record; others follow.")]
    settled: Annotated[str, text("How it came to count: single, verified, edited or adjudicated.")]
    annotator: Annotated[str, text("Pseudonym; `unknown` where an imported dataset names nobody.")]
    protocol: Annotated[str, text("blind_then_verified, paper, informed or unknown.")]
    verdict: Annotated[str, text("visible, none_visible, unusable, looks_pristine or unknown.")]
    regions: Annotated[list[str], Column(pa.list_(pa.string()), "Regions chosen, of the 21 words.")]
    text_regions: Annotated[list[str], Column(pa.list_(pa.string()), "Regions that the text says look wrong.")]
    difficulty: Annotated[int | None, Column(pa.int32(), "1 (seen at once) to 5 (hardly seen); null if not asked.")]
    text: Annotated[str, text("The report.")]
    language: Annotated[str, text("BCP 47 tag of the text.")]
    text_origin: Annotated[str, text(f"{', '.join(TEXT_ORIGINS[:-1])} or {TEXT_ORIGINS[-1]}.")]
    original_text: Annotated[str | None, text("The author's words, where another person edited them.")] = None
    editor: Annotated[str | None, text("Pseudonym of that other person.")] = None
    submitted: Annotated[str | None, text("Day, ISO 8601, UTC; null if unknown.")]
    dwell_s: Annotated[int | None, Column(pa.int32(), "Seconds spent on it, at least; null if unknown.")]
    derived_text: Annotated[str | None, text("A translation or shortening by a model; never in place of `text`.")] = (
        None
    )
    derived_kind: Annotated[str | None, text("translation or shortening.")] = None
    derived_language: Annotated[str | None, text("BCP 47 tag of `derived_text`.")] = None
    derived_origin: Annotated[str | None, text("Origin of `derived_text`: human_translated, model or template.")] = None
    derived_model_sha256: Annotated[str | None, text("Digest of the model's files.")] = None
    derived_prompt_sha256: Annotated[str | None, text("Digest of the prompt and of how the model was run.")] = None
    schema_version: Annotated[int, Column(pa.int32(), "Version of these columns.")] = SCHEMA_VERSION


_REWRITE = "Write the reports again as they were written first (`mmtt annotate reports DIR`), or restore the record."


def tables(root: Path) -> list[Path]:
    """Return the tables of reports that are there: a dataset has one at most, a release one for each shard."""
    if is_release(root):
        return sorted(path for path in (root / REPORTS).glob("*.parquet") if not path.name.startswith("."))
    path = root / "reports" / "reports.parquet"
    return [path] if path.is_file() else []


def region_vector(words: Iterable[str]) -> list[int]:
    """Return the 21-vector of some region words: 1 where the word is among them."""
    named = set(words)
    return [int(word in named) for word in REGIONS]


def strays(reports: Iterable[Report], image_sha256: Mapping[str, str]) -> Iterator[tuple[Report, str]]:
    """Yield the reports about other pictures than those that the records hold, each with a sentence that says so.

    Args:
        reports: any reports.
        image_sha256: of each record.
    """
    for report in reports:
        now = image_sha256.get(report.record_id)
        if now is None:
            told = f"is about record {report.record_id}, which is not there."
        else:
            seen = report.image_sha256[:12]
            told = f"was written about a picture {seen}…; record {report.record_id} holds {now[:12]}…"
        if now != report.image_sha256:
            yield report, f"Report {report.report_id} {told} {_REWRITE}"


def require_same_bytes(reports: Iterable[Report], image_sha256: Mapping[str, str]) -> None:
    """Refuse reports about other pictures than those that the records hold; arguments as for `strays`.

    Raises:
        UserError: a report's record is not there, or its picture is another one now.
    """
    for _, told in strays(reports, image_sha256):
        raise UserError(told)


def attach(
    records: Iterable[Record], reports: Sequence[Report], agreement: Mapping[str, float | None]
) -> Iterator[Record]:
    """Yield records with the columns of their first report filled in; those without reports as they are.

    So are degraded variants: nobody looked at those. All records have to pass, for reports without one are told last.

    Raises:
        UserError: a report was written about another picture, or about a record that is not there.
    """
    of: dict[str, list[Report]] = defaultdict(list)
    for report in sorted(reports, key=lambda report: report.rank):
        of[report.record_id].append(report)
    for record in records:
        found = of.pop(record.record_id, []) if record.variant == MASTER else []
        require_same_bytes(found, {record.record_id: record.image_sha256})
        yield _attached(record, found, agreement.get(record.record_id)) if found else record
    require_same_bytes([report for left in of.values() for report in left], {})


def _attached(record: Record, reports: Sequence[Report], agreement: float | None) -> Record:
    first = reports[0]
    return replace(
        record,
        report=first.text,
        report_regions=region_vector(first.regions),
        report_language=first.language,
        text_origin=first.text_origin,
        protocol=first.protocol,
        report_count=len(reports),
        agreement=agreement,
    )
