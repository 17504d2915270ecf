"""What must hold for every row, and for a directory of them. Trust is checked here, once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmtt import images, masks, parsing
from mmtt.claims import json_object, wrong_claims
from mmtt.errors import MmttError, UserError
from mmtt.faces import face_of
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest, read_columns, shard_paths
from mmtt.masks import MaskRule
from mmtt.record import MASTER, Record, Rejection
from mmtt.regions import edited_shares
from mmtt.reports import Report, strays
from mmtt.shards import Shard, read_rows, read_table


def check(record: Record) -> list[str]:
    """Return what is wrong with a record, as sentences; an empty list when it may be trusted.

    Every rule: sizes equal, mask exactly {0, 255}, bytes as their digest says, names of the closed
    vocabularies. Pristine: mask all zero, no column of an edit. Forged: mask not empty. Masters of composited rules:
    pixels with alpha 0 equal the target's bit for bit, `change` is the difference, the mask follows its rule; under
    `hole` nothing changed outside the mask. Degraded variants say what was done to them, and their mask lies where
    alpha is above 0; a codec leaves no bit alone.
    """
    try:
        rule = MaskRule(record.mask_rule)
    except ValueError:
        return [f"mask_rule '{record.mask_rule}' is unknown"]
    try:
        image, mask = images.decode_rgb(record.image), images.decode_gray(record.mask)
    except ValueError:
        return ["image or mask cannot be decoded as RGB PNG and single-channel PNG"]
    hw = (image.shape[0], image.shape[1])
    faults = [*wrong_claims(record, rule), *_check_shape(record, hw, mask)]
    if rule is MaskRule.NONE:
        faults += ["a pristine record has a mask"] if mask.any() else []
    elif not faults:
        faults = _check_edit(record, rule, image, mask)
    if not faults and abs(record.mask_share - np.count_nonzero(mask) / mask.size) > 1e-5:
        faults.append("mask_share is not the share that the mask covers")
    return faults


def _check_shape(record: Record, hw: tuple[int, int], mask: images.Gray) -> list[str]:
    faults = []
    if mask.shape != hw:
        faults.append(f"mask is {mask.shape}, image {hw}")
    if not np.isin(mask, (0, 255)).all():
        faults.append("mask holds values other than 0 and 255")
    if images.sha256(record.image) != record.image_sha256:
        faults.append("image_sha256 is not that of the image's bytes")
    planes = {name: _plane(getattr(record, name), hw) for name in ("intent", "parsing")}
    for name, plane in planes.items():
        if plane is None and getattr(record, name) is not None:
            faults.append(f"{name} is no single-channel PNG of the image's size")
    if planes["intent"] is not None and not np.isin(planes["intent"], (0, 255)).all():
        faults.append("intent holds values other than 0 and 255")
    if record.raw is not None and not _is_rgb(record.raw):
        faults.append("raw cannot be decoded as RGB PNG")
    return [*faults, *_check_parsing(record, planes["parsing"])]


def _plane(data: bytes | None, hw: tuple[int, int]) -> images.Gray | None:
    """A stored picture of one channel and the image's size; None for anything else."""
    try:
        plane = None if data is None else images.decode_gray(data)
    except ValueError:
        return None
    return plane if plane is not None and plane.shape == hw else None


def _is_rgb(data: bytes) -> bool:
    try:
        return images.decode_rgb(data).size > 0
    except ValueError:
        return False


def _check_parsing(record: Record, labels: images.Gray | None) -> list[str]:
    if labels is None:
        return ["parsed_regions without a label map"] if record.parsed_regions else []
    if int(labels.max(initial=0)) >= len(parsing.LABELS):
        return ["parsing holds a label that is none"]
    # A degraded copy may have lost some of what its master shows, never gained.
    words, said = set(parsing.parsed_words(labels)), set(record.parsed_regions)
    fits = said == words if record.variant == MASTER else said <= words
    return [] if fits else ["parsed_regions are not what the label map shows"]


def _check_edit(record: Record, rule: MaskRule, image: images.Rgb, mask: images.Gray) -> list[str]:
    if not mask.any():
        return ["the mask of a forgery is empty"]
    if rule is MaskRule.IMPORTED:
        return []
    if record.pristine is None or record.alpha is None or record.change is None or record.parameters is None:
        return [f"rule '{rule}' needs pristine, alpha, change and parameters"]
    try:
        target, alpha = images.decode_rgb(record.pristine), images.decode_gray(record.alpha)
        change = images.decode_gray(record.change)
    except ValueError:
        return ["pristine, alpha or change cannot be decoded as RGB PNG and single-channel PNG"]
    if target.shape != image.shape or {alpha.shape, change.shape} != {mask.shape}:
        return ["pristine, alpha, change and image differ in size"]
    faults = _check_features(record, change, mask)
    if (mask.astype(bool) & (alpha == 0)).any():
        faults.append("the mask covers pixels with alpha 0")
    if record.variant == MASTER:
        faults += _check_pixels(target, image, alpha, change)
        faults += _check_rule(rule, alpha, change, mask, record.mask_tau)
    if json_object(record.parameters) is None:
        faults.append("parameters are no JSON object")
    return faults


def _check_features(record: Record, change: images.Gray, mask: images.Gray) -> list[str]:
    """What is derived from the pixels, derived again."""
    faults = []
    mean = float(change[mask > 0].mean())
    if record.change_mean is None or abs(record.change_mean - mean) > 1e-3 * max(mean, 1):
        faults.append(f"change_mean is {record.change_mean}, the mean of change inside the mask {mean:.3f}")
    shares = edited_shares(face_of(record), mask)
    if record.regions != list(shares) or not np.allclose(record.region_shares, list(shares.values()), atol=1e-4):
        faults.append("regions do not follow from mask and landmarks")
    return faults


def _check_rule(rule: MaskRule, alpha: images.Gray, change: images.Gray, mask: images.Gray, tau: int) -> list[str]:
    if rule is MaskRule.HOLE:
        return ["pixels outside the hole were changed"] if change[mask == 0].any() else []
    if rule is MaskRule.SUPPORT or np.array_equal(mask, masks.derive_mask(rule, alpha, change, tau=tau)):
        return []
    return ["the mask does not follow from alpha and change"]


def _check_pixels(target: images.Rgb, image: images.Rgb, alpha: images.Gray, change: images.Gray) -> list[str]:
    actual = masks.change_map(target, image)
    faults = []
    if actual[alpha == 0].any():
        faults.append("pixels with alpha 0 differ from the target")
    if not np.array_equal(actual, change):
        faults.append("change is not the largest channel difference")
    return faults


def verify(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield (where, what is wrong) for everything in a finished directory that may not be trusted.

    Compares every shard with the manifest (bytes, SHA-256, rows), checks every record, recounts the rejections.
    """
    manifest = Manifest.load(directory)
    seen: set[tuple[str, str]] = set()
    for info in manifest.shards:
        path = directory / f"{info.name}.parquet"
        try:
            fault = _compare(path, info.bytes, info.sha256)
            if fault:
                yield path.name, fault
                continue
            shard = Shard(path)
            if shard.rows != info.rows:
                yield path.name, f"has {shard.rows} rows, the manifest says {info.rows}"
            for record in shard.records():
                faults = check(record)
                if (record.record_id, record.variant) in seen:
                    faults.append("the id occurs twice")
                seen.add((record.record_id, record.variant))
                yield from ((f"{path.name}:{record.record_id}", fault) for fault in faults)
        except (MmttError, pa.ArrowException, ValueError, OSError) as error:
            yield path.name, str(error)
    yield from _verify_totals(directory, manifest)
    listed = {f"{info.name}.parquet" for info in manifest.shards} | {REJECTIONS}
    for path in sorted(directory.glob("*.parquet")):
        if path.name not in listed:
            yield path.name, "is not in the manifest"


def verify_all(folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (where, what is wrong) for several folders of one dataset, and for what ties them together.

    A folder without a manifest is a fault. Every forged record's target and donor must be there, and its
    `pristine` must be the target's image. Every variant's master must be there, with another image.
    """
    finished = []
    for folder in folders:
        if (folder / MANIFEST).exists():
            finished.append(folder)
            yield from ((f"{folder.name}/{where}", what) for where, what in verify(folder))
        else:
            yield folder.name, f"has no {MANIFEST}: its stage has not come to its end"
    if len(finished) > 1:
        yield from _verify_lineage(finished)


def _verify_lineage(folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    paths = [path for folder in folders for path in shard_paths(folder) if path.exists()]
    images_of: dict[str, str] = {}
    pristine: dict[str, str] = {}
    try:
        for path in paths:
            for row in read_rows(path, ["record_id", "image_sha256", "target_id", "variant", *_HANDED_ON]):
                if row["variant"] == MASTER:
                    images_of[row["record_id"]] = row["image_sha256"]
                    pristine.update({row["record_id"]: _handed_on(row)} if row["target_id"] is None else {})
        for path in paths:
            for row in read_rows(path, _TIED):
                yield from ((f"{path.name}:{row['record_id']}", what) for what in _ties(row, images_of, pristine))
    except (MmttError, pa.ArrowException, OSError) as error:
        yield path.name, str(error)


# What a forgery has of its target, and (as `source_…`) of its donor.
_HANDED_ON = ("origin", "origin_id", "licence", "consent", "group_id")
_TIED = [
    "record_id", "variant", "image_sha256", "target_id", "source_id", "pristine",
    *_HANDED_ON, *(f"source_{name}" for name in _HANDED_ON),
]  # fmt: skip


def _handed_on(row: Mapping[str, Any], prefix: str = "") -> str:
    return digest([row[f"{prefix}{name}"] for name in _HANDED_ON])


def _ties(row: Mapping[str, Any], images_of: Mapping[str, str], pristine: Mapping[str, str]) -> Iterator[str]:
    for name, prefix in (("target_id", ""), ("source_id", "source_")):
        if row[name] is not None and row[name] not in pristine:
            yield f"{name} {row[name]} is no pristine record of this dataset"
        elif row[name] is not None and _handed_on(row, prefix) != pristine[row[name]]:
            columns = ", ".join(f"{prefix}{column}" for column in _HANDED_ON)
            yield f"one of {columns} is not that of {name} {row[name]}"
    if row["variant"] != MASTER:
        own = images_of.get(row["record_id"])
        if own is None:
            yield f"variant '{row['variant']}' is of no master of this dataset"
        elif own == row["image_sha256"]:
            yield f"variant '{row['variant']}' has the image of its master"
    elif row["target_id"] in pristine and row["pristine"] is not None:
        same = images.sha256(row["pristine"]["bytes"]) == images_of[row["target_id"]]
        yield from () if same else ["pristine is not the target's image"]


def verify_reports(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (where, what is wrong) for texts of a dataset that are about no record of it, or about another picture."""
    path = root / "reports" / "reports.parquet"
    if not path.is_file():
        return
    folders = [folder for folder in (root / "pristine", root / "forged") if (folder / MANIFEST).is_file()]
    try:
        rows = (row for folder in folders for row in read_columns(folder, ["record_id", "image_sha256"]))
        seen = {row["record_id"]: row["image_sha256"] for row in rows}
        for report, told in strays(read_table(path, Report), seen):
            yield f"reports/{path.name}:{report.report_id}", told
    except (MmttError, pa.ArrowException, OSError) as error:
        yield f"reports/{path.name}", str(error)


def _verify_totals(directory: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    listed = sum(info.rows for info in manifest.shards)
    if listed != manifest.rows:
        yield MANIFEST, f"says {manifest.rows} rows, its shards {listed}"
    # A release leaves the table out, because it names files; where it is, it must be the one counted.
    if (directory / REJECTIONS).exists():
        try:
            counted = dict(Counter(row.code for row in read_table(directory / REJECTIONS, Rejection)))
        except UserError as error:
            yield REJECTIONS, str(error)
        else:
            if counted != manifest.rejections:
                yield REJECTIONS, "does not hold the rejections that the manifest counts"


def _compare(path: Path, expected_bytes: int, expected_sha256: str) -> str | None:
    if not path.exists():
        return "is missing"
    if path.stat().st_size != expected_bytes:
        return f"has {path.stat().st_size} bytes, the manifest says {expected_bytes}"
    return None if file_sha256(path) == expected_sha256 else "has another SHA-256 than the manifest says"


def require_dataset(directory: Path) -> Path:
    """Return the directory if it exists.

    Raises:
        UserError: it does not.
    """
    if not directory.is_dir():
        hint = (
            "Name the folder that it lies in." if directory.exists() else f"`mmtt init {directory}` starts one there."
        )
        raise UserError(f"{directory} is not a folder. {hint}")
    return directory
