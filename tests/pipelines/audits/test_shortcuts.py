"""Every shortcut audit fires on a planted fault, and stays quiet where both classes came through the same hands."""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmtt import images
from mmtt.audit import Finding, NotApplicable, Verdict
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.record import Record
from pipelines.audits.shortcuts import AUDITS
from tests.factories import make_forged_record, make_record, store_shards, stored_dataset

SIZE_PX = 128
PEOPLE = 40
FAMILIES = ("face_swap", "recolour")
_AUDITS = {audit.id: audit for audit in AUDITS}
Change = Callable[[Record, int], Record]


@cache
def _people() -> tuple[list[Record], list[Record]]:
    pristine = [make_record(seed, SIZE_PX) for seed in range(PEOPLE)]
    forged = [make_forged_record(seed, SIZE_PX, manipulation=FAMILIES[seed % len(FAMILIES)]) for seed in range(PEOPLE)]
    return pristine, forged


def _judged(
    root: Path, audit_id: str, *, pristine: Change | None = None, forged: Change | None = None, real: bool = True
) -> Finding:
    """Judge a dataset of people and their forgeries, some rows changed."""
    rows = [
        [change(record, number) if change else record for number, record in enumerate(records)]
        for records, change in zip(_people(), (pristine, forged), strict=True)
    ]
    if not real:
        rows = [[], [replace(record, target_id=None, pristine=None) for record in rows[1]]]
    stored_dataset(root, *rows)
    audit = _AUDITS[audit_id]
    evidence = Evidence(root, AuditSection(sample=2 * PEOPLE), serial, lambda _: silent)
    if audit.measure:
        evidence.measure({audit_id: audit.measure})
    return audit.judge(evidence)


def _verdict(finding: Finding, audit_id: str) -> Verdict:
    return _AUDITS[audit_id].verdict(finding, _AUDITS[audit_id].gate)


def _pixels(change: Callable[[images.Rgb, int], images.Rgb]) -> Change:
    """A fault of pixels: whatever is done, the result is stored by the same encoder as before."""

    def changed(record: Record, number: int) -> Record:
        return replace(record, image=images.encode_png(change(images.decode_rgb(record.image), number)))

    return changed


def _file(**options) -> Change:
    """A fault of files: the same pixels by another encoder."""

    def changed(record: Record, _: int) -> Record:
        stream = io.BytesIO()
        Image.fromarray(images.decode_rgb(record.image)).save(stream, **options)
        return replace(record, image=stream.getvalue())

    return changed


def _named(pattern: str) -> Change:
    return lambda record, number: replace(record, origin_id=pattern.format(number))


def _recompressed(image: images.Rgb, number: int) -> images.Rgb:
    encoded = images.encode_jpeg(image, 80 + number % 10)
    return images.decode_rgb(encoded)


def _rescaled(image: images.Rgb, _: int) -> images.Rgb:
    larger = cv2.resize(image, None, fx=1.3, fy=1.3, interpolation=cv2.INTER_LINEAR)
    top = (larger.shape[0] - SIZE_PX) // 2
    return np.ascontiguousarray(larger[top : top + SIZE_PX, top : top + SIZE_PX])


def _noisy(image: images.Rgb, number: int) -> images.Rgb:
    noise = np.random.default_rng(number).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _exif_thumbnail() -> bytes:
    thumbnail = images.encode_jpeg(np.full((16, 16, 3), 90, np.uint8))
    return b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail


JPEG = _file(format="JPEG", quality=90)
FAULTS: dict[str, tuple[str, Change | None, Change]] = {
    "forgeries are JPEG, photos PNG": ("S1", None, JPEG),
    "forgeries are JPEG of another quality": ("S1", JPEG, _file(format="JPEG", quality=92)),
    "photos subsample chroma otherwise": ("S1", _file(format="JPEG", quality=90, subsampling=0), JPEG),
    "photos are progressive": ("S1", _file(format="JPEG", quality=90, progressive=True), JPEG),
    "photos carry an EXIF thumbnail": ("S1", _file(format="JPEG", quality=90, exif=_exif_thumbnail()), JPEG),
    "forgeries name their resolution": ("S1", None, _file(format="PNG", compress_level=1, dpi=(72, 72))),
    "forgeries are compressed harder": (
        "S1", None, lambda record, _: replace(record, image=images.encode_png(images.decode_rgb(record.image), 9)),
    ),
    "forgeries are smaller": ("S1", None, _pixels(lambda image, _: np.ascontiguousarray(image[:, :-8]))),
    "forgeries were JPEG once, outside": ("S2", None, _pixels(_recompressed)),
    "forgeries were rescaled, outside": ("S2", None, _pixels(_rescaled)),
    "forgeries are noisy all over": ("S2", None, _pixels(_noisy)),
    "forgeries were JPEG once": ("S3", None, _pixels(_recompressed)),
    "forgeries were rescaled": ("S4", None, _pixels(_rescaled)),
    "forgeries are named so": ("S7", _named("celeb_{:05}"), _named("mat_{:05}")),
    "photos came first": ("S7", _named("{:05}.jpg"), lambda record, number: _named("{:05}.jpg")(record, number + 500)),
    "forgeries end otherwise": ("S7", _named("{:05}.jpg"), _named("{:05}.png")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_shortcut_fails_its_audit(tmp_path, fault):
    audit_id, pristine, forged = FAULTS[fault]
    finding = _judged(tmp_path, audit_id, pristine=pristine, forged=forged)
    assert _verdict(finding, audit_id) is Verdict.FAILS, finding
    assert finding.worst and finding.low is not None and finding.n <= 2 * PEOPLE


def test_a_finding_says_what_gives_the_forgeries_away(tmp_path):
    finding = _judged(tmp_path / "headers", "S1", forged=JPEG)
    assert "container" in finding.sentence and "JPEG" in finding.worst[0].why
    assert finding.details["rows by container"] == {"JPEG": PEOPLE, "PNG": PEOPLE}
    finding = _judged(tmp_path / "names", "S7", pristine=_named("{:05}.jpg"), forged=_named("{:05}.png"))
    assert "ending" in finding.sentence and ".png" in str(finding.worst)


@pytest.mark.parametrize("audit_id", _AUDITS)
def test_a_dataset_from_one_pipeline_passes(tmp_path, audit_id):
    finding = _judged(tmp_path, audit_id)
    assert _verdict(finding, audit_id) is Verdict.PASSES, finding
    assert finding.worst == ()


@pytest.mark.parametrize(
    ("audit_id", "change"),
    [("S1", JPEG), ("S2", _pixels(_rescaled)), ("S4", _pixels(_rescaled)), ("S7", _named("celeb_{:05}"))],
)
def test_what_was_done_to_both_classes_is_no_shortcut(tmp_path, audit_id, change):
    finding = _judged(tmp_path, audit_id, pristine=change, forged=change)
    assert _verdict(finding, audit_id) is Verdict.PASSES, finding


def test_a_family_that_alone_is_jpeg_fails_though_the_whole_hardly_moves(tmp_path):
    def one_family(record: Record, number: int) -> Record:
        return JPEG(record, number) if record.manipulation == FAMILIES[0] else record

    finding = _judged(tmp_path, "S1", forged=one_family)
    assert _verdict(finding, "S1") is Verdict.FAILS
    assert FAMILIES[0] in finding.sentence and FAMILIES[1] not in finding.sentence
    assert finding.details["AUC by family"][FAMILIES[1]] == 0.5


@pytest.mark.parametrize("audit_id", _AUDITS)
def test_without_photos_families_are_compared(tmp_path, audit_id):
    """An imported dataset; its ids, like MMTT's, begin with the program."""

    def imported(record: Record, number: int) -> Record:
        return replace(record, origin_id=f"{record.manipulation[:3]}_{number:05}")

    finding = _judged(tmp_path, audit_id, forged=imported, real=False)
    assert (_verdict(finding, audit_id) is Verdict.FAILS) == (audit_id == "S7"), finding
    assert "other forged" in finding.details["compared rows"]


@pytest.mark.parametrize("audit_id", _AUDITS)
def test_one_family_without_photos_is_nothing_to_compare(tmp_path, audit_id):
    with pytest.raises(NotApplicable, match="no pristine rows, and only one family"):
        _judged(tmp_path, audit_id, forged=lambda record, _: replace(record, manipulation="retouch"), real=False)


@pytest.mark.parametrize("audit_id", _AUDITS)
def test_where_no_picture_can_be_decoded_pixels_tell_nothing(tmp_path, audit_id):
    def torn(record: Record, number: int) -> Record:
        return replace(record, image=record.image[: 200 + number % 7])

    if _AUDITS[audit_id].measure is None or audit_id == "S1":
        assert _verdict(_judged(tmp_path, audit_id, pristine=torn, forged=torn), audit_id) is Verdict.PASSES
    else:
        with pytest.raises(NotApplicable, match="can be decoded"):
            _judged(tmp_path, audit_id, pristine=torn, forged=torn)


@pytest.mark.parametrize("audit_id", _AUDITS)
def test_photos_alone_are_nothing_to_compare(tmp_path, audit_id):
    photos = [make_record(seed, SIZE_PX) for seed in range(PEOPLE)]
    stored_dataset(tmp_path, photos, [])
    evidence = Evidence(tmp_path, AuditSection(sample=PEOPLE), serial, lambda _: silent)
    audit = _AUDITS[audit_id]
    evidence.measure({audit_id: audit.measure} if audit.measure else {})
    with pytest.raises(NotApplicable, match=f"0 forged rows of 0 groups and {PEOPLE} pristine rows"):
        audit.judge(evidence)


def test_small_pictures_are_left_to_other_audits(tmp_path):
    with pytest.raises(NotApplicable, match="96 pixels"):
        _judged(
            tmp_path,
            "S2",
            pristine=lambda _, number: make_record(number),
            forged=lambda _, number: make_forged_record(number),
        )


def test_where_the_masks_lie_tells_nothing(tmp_path):
    """Faces are sharp, the rest is smooth, and only forgeries have a hole where the face is."""

    def vignette(image: images.Rgb, _: int) -> images.Rgb:
        y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX / 2
        weight = np.clip(1.5 - np.hypot(x, y) / 40, 0, 1)[..., None]
        smooth = cv2.GaussianBlur(image, (0, 0), 2)
        return np.round(weight * image + (1 - weight) * smooth).astype(np.uint8)

    change = _pixels(vignette)
    finding = _judged(tmp_path, "S2", pristine=change, forged=change)
    assert _verdict(finding, "S2") is Verdict.PASSES, finding


def test_a_release_sorted_by_class_tells_so(tmp_path):
    """The order is told, not gated: who shuffles does not see it."""
    released = [replace(record, split="train") for records in _people() for record in records]
    store_shards(tmp_path, released)
    evidence = Evidence(tmp_path, AuditSection(sample=2 * PEOPLE), serial, lambda _: silent)
    finding = _AUDITS["S7"].judge(evidence)
    assert _verdict(finding, "S7") is Verdict.PASSES
    assert finding.details["AUC of the place in a shard (no gate)"] == 1.0


@pytest.mark.parametrize("audit_id", ["S2", "S4", "S7"])
def test_the_same_rows_give_the_same_finding(tmp_path, audit_id):
    fault = next(fault for fault in FAULTS.values() if fault[0] == audit_id)
    first, second = (
        _judged(tmp_path / name, audit_id, pristine=fault[1], forged=fault[2]) for name in ("first", "second")
    )
    assert first == second
