"""Report: one text row, what one annotator wrote about one record."""

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa

from mmtt.record import SCHEMA_VERSION, Column, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one annotator wrote about one record: who, when, how long, under which protocol."""

    report_id: Annotated[str, text("24 hex digits; never changes.")]
    record_id: Annotated[str, text("The record that was looked at.")]
    image_sha256: Annotated[str, text("The very bytes that were seen; a join refuses a mismatch.")]
    annotator: Annotated[str, text("Pseudonym.")]
    protocol: Annotated[str, text("blind_then_verified, paper or informed.")]
    stage: Annotated[str, text("Stage of the protocol.")]
    verdict: Annotated[str, text("visible, none_visible, unusable or looks_pristine.")]
    regions: Annotated[list[str], Column(pa.list_(pa.string()), "Regions chosen, of the 21 words.")]
    text: Annotated[str, text("The report.")]
    language: Annotated[str, text("BCP 47 tag of the text.")]
    text_origin: Annotated[str, text("human, human_translated, human_edited, model or template.")]
    original_text: Annotated[str | None, text("What this text was derived from, if it was.")] = None
    started: Annotated[str, text("ISO 8601, UTC.")]
    submitted: Annotated[str, text("ISO 8601, UTC.")]
    dwell_s: Annotated[float, Column(pa.float32(), "Seconds spent on the task.")]
    schema_version: Annotated[int, Column(pa.int32(), "Version of these columns.")] = SCHEMA_VERSION
