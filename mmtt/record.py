"""What a row is. Each column is defined here, once: its type, its Arrow type and its sentence.

The Parquet schema, the `datasets` features and the card's table all derive from these classes
(`mmtt.schema`). A record is a *fact*: it is written once, by the stage that made the pixels, and
never edited; what is decided later (splits, reports) lives in narrow tables keyed by `record_id`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 4
MASTER = "master"  # the variant of a record that is no degraded copy

# `datasets` stores an image as this struct; `path` stays null so that no local path can leak.
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_STRINGS = pa.list_(pa.string())


class Column(NamedTuple):
    """How one field of a row is stored, and what it means."""

    type: pa.DataType
    meaning: str


def text(meaning: str) -> Any:
    """A string column."""
    return Column(pa.string(), meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image row: a face, what was done to it, where it came from."""

    # ids
    record_id: Annotated[str, text("24 hex digits of SHA-256 over the row's derivation; never changes.")]
    variant: Annotated[str, text("`master`, or the name of the degradation that made this copy.")] = MASTER
    image_sha256: Annotated[str, text("SHA-256 of the bytes of `image`.")]
    target_id: Annotated[str | None, text("The pristine record that was edited; null if pristine.")] = None
    source_id: Annotated[str | None, text("The pristine record that gave its face; null without a donor.")] = None

    # pixels
    image: Annotated[
        bytes, Column(IMAGE, "The face, RGB H×W×3, uint8: PNG; imported and degraded ones may be in another format.")
    ]
    mask: Annotated[bytes, Column(IMAGE, "PNG, H×W, uint8: 255 where the image was altered, 0 elsewhere.")]
    pristine: Annotated[bytes | None, Column(IMAGE, "The target before the edit, same frame; null if pristine.")] = None
    alpha: Annotated[bytes | None, Column(IMAGE, "PNG, H×W, uint8: blend weight 0–255 that the composite used.")] = None
    change: Annotated[
        bytes | None, Column(IMAGE, "PNG, H×W, uint8: largest channel difference to `pristine`, before any encoding.")
    ] = None
    intent: Annotated[bytes | None, Column(IMAGE, "PNG, H×W, uint8: the area that was asked for (`null_edit`).")] = None
    raw: Annotated[
        bytes | None, Column(IMAGE, "What the program itself gave, before the composite, RGB PNG; null unless kept.")
    ] = None
    origin_mask: Annotated[
        bytes | None,
        Column(IMAGE, "`imported`: the mask file as its origin ships it; null where `mask` holds the same values."),
    ] = None
    parsing: Annotated[
        bytes | None,
        Column(IMAGE, "PNG, H×W, uint8: the target's face parts, labels of CelebAMask-HQ; null if unparsed."),
    ] = None
    parser: Annotated[
        str | None, text("Who outlined the parts of `parsing`, its version and licence; null if unparsed.")
    ] = None

    # edit
    manipulation: Annotated[str | None, text("Family of the forgery; null if pristine.")] = None
    manipulator: Annotated[str | None, text("Program that forged; null if pristine.")] = None
    manipulator_version: Annotated[str | None, text("Version of that program.")] = None
    parameters: Annotated[str | None, text("JSON: everything the program was told.")] = None
    seed: Annotated[str | None, text("Hex seed of the forgery's random generator.")] = None
    code_sha256: Annotated[
        str | None, text("SHA-256 over the program's checkout; null for what this package ships.")
    ] = None
    weights_sha256: Annotated[str | None, text("SHA-256 of the learned weights; null without any.")] = None
    code_licence: Annotated[str | None, text("Licence of the program (SPDX).")] = None
    weights_licence: Annotated[str | None, text("Licence of the weights (SPDX); null without any.")] = None
    mask_rule: Annotated[str, text("How `mask` follows from the process: see the card.")] = "none"
    mask_tau: Annotated[
        int, Column(pa.int32(), "`blend`, `null_edit`: `change` above which a pixel is altered, 0–255.")
    ] = 0
    exact_mask: Annotated[bool, Column(pa.bool_(), "Whether the mask is exact by construction.")] = True
    mask_share: Annotated[float, Column(pa.float32(), "Share of the frame that `mask` covers, 0–1.")] = 0.0
    change_mean: Annotated[float | None, Column(pa.float32(), "Mean of `change` inside `mask`, 0–255.")] = None
    regions: Annotated[list[str], Column(_STRINGS, "Regions (of the 21 words) that `mask` touches.")] = field(
        default_factory=list
    )
    region_shares: Annotated[
        list[float], Column(pa.list_(pa.float32()), "For each of `regions`: share of its area inside `mask`, 0–1.")
    ] = field(default_factory=list)

    # face
    landmarks: Annotated[
        list[list[float]],
        Column(pa.list_(pa.list_(pa.float32())), "Landmarks of the target face, N×2, x y in pixels; empty if unknown."),
    ]
    landmark_scheme: Annotated[str, text("Which points these are, and in what order; `none` if unknown.")]
    landmark_finder: Annotated[str, text("Who found them, and its version; `none` if nobody was asked.")]
    face_score: Annotated[
        float | None, Column(pa.float32(), "What a face finder says of `image`, 0–1; 0 if lost, null if not asked.")
    ] = None
    parsed_regions: Annotated[list[str], Column(_STRINGS, "Regions (of the 21 words) that `parsing` outlines.")] = (
        field(default_factory=list)
    )
    align_matrix: Annotated[list[float], Column(pa.list_(pa.float64()), "2×3 row-major: photo pixels to crop pixels.")]
    template: Annotated[str, text("Alignment template of the crop.")]

    # provenance
    origin: Annotated[str, text("Dataset or collection that the photo came from.")]
    origin_id: Annotated[str, text("The photo's id there.")]
    licence: Annotated[str, text("Licence of the photo (SPDX).")]
    consent: Annotated[str, text("What the person agreed to; `none` if nobody was asked.")]
    group_id: Annotated[str, text("Salted hash of the subject where known, else of the photo.")]
    source_origin: Annotated[str | None, text("`origin` of the donor's photo.")] = None
    source_origin_id: Annotated[str | None, text("`origin_id` of the donor's photo.")] = None
    source_licence: Annotated[str | None, text("`licence` of the donor's photo.")] = None
    source_consent: Annotated[str | None, text("`consent` of the donor.")] = None
    source_group_id: Annotated[str | None, text("`group_id` of the donor.")] = None
    obligations: Annotated[
        list[str],
        Column(
            _STRINGS,
            "What photo, donor, code and weights oblige to: BY, NC, SA:…, research-only, use-restricted:….",
        ),
    ] = field(default_factory=list)
    degradations: Annotated[list[str], Column(_STRINGS, "JSON of each degradation, in order; empty for a master.")] = (
        field(default_factory=list)
    )

    # filled by `release`
    split: Annotated[str | None, text("`train`, `validation` or `test`; null before release.")] = None
    report: Annotated[str | None, text("Where and why it looks forged; `text_origin` says who wrote it.")] = None
    report_regions: Annotated[
        list[int] | None, Column(pa.list_(pa.int8()), "21-vector: 1 for each region that the report names.")
    ] = None
    report_language: Annotated[str | None, text("BCP 47 tag of `report`.")] = None
    text_origin: Annotated[str | None, text("Who wrote `report`: see the card.")] = None
    protocol: Annotated[str | None, text("What the annotator saw.")] = None
    report_count: Annotated[int | None, Column(pa.int32(), "How many reports this record has.")] = None
    agreement: Annotated[float | None, Column(pa.float32(), "Agreement of those reports, −1–1.")] = None

    schema_version: Annotated[int, Column(pa.int32(), "Version of these columns.")] = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One item that a stage refused, and why. Nothing disappears quietly."""

    stage: Annotated[str, text("Which stage refused it: ingest, import, plan, forge, gate or degrade.")]
    code: Annotated[str, text("Reason, as a short word for counting.")]
    detail: Annotated[str, text("Reason, as a sentence.")]
    path: Annotated[str | None, text("Photo, relative to the photo folder; private.")] = None
    record_id: Annotated[str | None, text("Record concerned, where it has an id already.")] = None
    manipulator: Annotated[str | None, text("Program concerned.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a program said while it forged one record. Private, and no part of the dataset: it holds times and paths."""

    record_id: Annotated[str, text("The forged record, or the one that came to nothing.")]
    manipulator: Annotated[str, text("Program concerned.")]
    text: Annotated[str, text("Exit code, duration, the end of what it printed.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One pristine record's private ancestry. Never published."""

    item_digest: Annotated[str, text("Digest of all that the record was made from: bytes, sidecar rows.")]
    record_id: Annotated[str, text("The pristine record.")]
    path: Annotated[str, text("Photo, relative to the photo folder.")]
    photo_sha256: Annotated[str, text("SHA-256 of the photo's bytes.")]
    photo_phash: Annotated[str, text("Perceptual hash of the photo, 16 hex digits.")]
    face_index: Annotated[int, Column(pa.int32(), "Which face of the photo, left to right.")]
    bbox_xyxy: Annotated[list[float], Column(pa.list_(pa.float32()), "Face in photo pixels: left top right bottom.")]
    subject: Annotated[str | None, text("The person, as the sidecar names them.")]
    group_id: Annotated[str, text("As in the record.")]
    consent_expiry: Annotated[str | None, text("ISO date after which the consent ends.")]
    consent_evidence_sha256: Annotated[str | None, text("SHA-256 of the signed evidence.")]
    withdrawal: Annotated[str | None, text("Where the person can take it back.")]
    embedding: Annotated[
        list[float] | None, Column(pa.list_(pa.float32()), "Identity embedding of unit length; only for grouping.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One row of `splits.parquet`: where a pristine record, and all made from it, belongs."""

    record_id: Annotated[str, text("The pristine record.")]
    group_id: Annotated[str, text("As in the record.")]
    component_id: Annotated[str, text("Groups tied together by near-duplicate photos, or as one person, share one.")]
    split: Annotated[str, text("train, validation or test.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One row of `plan.parquet`: a forgery decided before any pixel is touched."""

    record_id: Annotated[str, text("Id that the forged record will have.")]
    entry: Annotated[str, text("Name of the recipe's entry that asked for it.")]
    entry_digest: Annotated[
        str, text("Digest of the entry, its target and its donor; when one changes, the row is planned anew.")
    ]
    index: Annotated[int, Column(pa.int32(), "Which of the entry's forgeries of this target.")]
    target_id: Annotated[str, text("Pristine record to edit.")]
    source_id: Annotated[str | None, text("Pristine donor record.")]
    bucket: Annotated[int, Column(pa.int32(), "Bucket of the target.")]
    split: Annotated[str, text("Split of the target and of its donor.")]
    manipulation: Annotated[str, text("Family.")]
    manipulator: Annotated[str, text("Program.")]
    manipulator_version: Annotated[str, text("Version of the program.")]
    parameters: Annotated[str, text("JSON: everything the program is told.")]
    seed: Annotated[str, text("Hex seed of the forgery's random generator.")]
    regions: Annotated[list[str], Column(_STRINGS, "Regions that it means to edit.")]
    obligations: Annotated[list[str], Column(_STRINGS, "Union of the obligations of all that it uses.")]
