"""Audits of masks: each fires on faults planted in a dataset that all programs made, and on that dataset not."""

import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmtt import images
from mmtt.audit import Verdict
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.faces import face_of
from mmtt.ids import derived_id
from mmtt.manifest import shard_paths
from mmtt.metrics.localization import localize
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.record import Lineage
from mmtt.regions import region_mask
from mmtt.shards import Shard, read_table
from pipelines.audits.masks import AUDITS
from pipelines.audits.masks.alignment import round_trip
from pipelines.audits.masks.rederivation import chosen
from pipelines.audits.masks.support import displacement
from tests.factories import build, make_forged_record, make_record, stored_dataset, tiny_dataset, tiny_recipe
from tests.pipelines.audits.verdicts import outcome

PROGRAMS = (
    "face_swap", "part_swap", "self_blend", "attribute_warp", "ageing", "classical_inpaint", "recolour", "retouch",
)  # fmt: skip


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A dataset that all weight-free programs made: (layout, pristine records, two forged ones of each, lineage)."""
    layout = tiny_dataset(tmp_path_factory.mktemp("masks"), 6, PROGRAMS)
    build(layout)
    pristine, forged = ([r for path in shard_paths(f) for r in Shard(path).records()] for f in _folders(layout))
    few = [r for name in PROGRAMS for r in [r for r in forged if r.manipulator == name][:2]]
    return layout, pristine, few, read_table(layout.lineage, Lineage)


def _folders(layout):
    return layout.pristine, layout.forged


def planted(root, built, fault, *, every=1, keep_lineage=True, **sections):
    """Store the built dataset again, each `every`th forged record with a fault."""
    _, pristine, forged, lineage = built
    forged = [fault(record) if number % every == 0 else record for number, record in enumerate(forged)]
    forge = tiny_recipe(PROGRAMS)["forge"]
    return stored_dataset(root, pristine, forged, lineage=lineage if keep_lineage else (), forge=forge, **sections)


def mask_of(record, change):
    mask = np.ascontiguousarray(change(images.decode_gray(record.mask)), dtype=np.uint8)
    return replace(record, mask=images.encode_png(mask), mask_share=np.count_nonzero(mask) / mask.size)


def image_of(record, change):
    data = images.encode_png(change(images.decode_rgb(record.image)))
    return replace(record, image=data, image_sha256=images.sha256(data))


def shifted(record):
    return mask_of(record, lambda mask: np.roll(mask, (2, -3), (0, 1)))


def as_jpeg(record):
    return image_of(record, lambda rgb: images.decode_rgb(images.encode_jpeg(rgb, 90)))


def resized(record):
    def twice(rgb):
        return cv2.resize(cv2.resize(rgb, (200, 200), interpolation=cv2.INTER_AREA), rgb.shape[:2])

    return image_of(record, twice)


def soft(record):
    gray = cv2.GaussianBlur(images.decode_gray(record.mask), (0, 0), 2)
    return replace(record, origin_mask=images.encode_png(gray), mask_rule="imported")


def jpeg_mask(record):
    buffer = io.BytesIO()
    Image.fromarray(images.decode_gray(record.mask)).convert("RGB").save(buffer, "JPEG", quality=60)
    return replace(record, origin_mask=buffer.getvalue(), mask_rule="imported")


def matrix_of(record, change):
    return replace(record, align_matrix=np.ravel(change(np.reshape(record.align_matrix, (2, 3)))).tolist())


def transposed(matrix):
    return np.column_stack([matrix[:, :2].T, matrix[:, 2]])


def landmarks_of(record, by):
    return replace(record, landmarks=(np.array(record.landmarks) + by).tolist())


def white(mask):
    return np.full_like(mask, 255)


def unchanged(record):
    """A "forgery" that is its own target, with a mask over everything, whose planes were made to fit."""
    there = mask_of(image_of(record, lambda _: images.decode_rgb(record.pristine)), white)
    return replace(there, alpha=there.mask, change=images.encode_png(np.zeros_like(images.decode_gray(record.mask))))


def sliver(mask):
    line = np.zeros_like(mask)
    line[100, 40:200] = 255
    return line


FAULTS = {
    "M1": {
        "a mask of another size": lambda r: mask_of(r, lambda mask: mask[::2, ::2]),
        "alpha of another size": lambda r: replace(r, alpha=images.encode_png(np.zeros((9, 9), np.uint8))),
        "a mask of 254": lambda r: mask_of(r, lambda mask: np.minimum(mask, 254)),
        "a torn image": lambda r: replace(r, image=r.image[:40]),
        "a mask that is RGB": lambda r: replace(r, mask=r.image),
        "another digest": lambda r: replace(r, image_sha256="0" * 64),
        "somebody else's target": lambda r: replace(r, pristine=r.image),
        "another record's id": lambda r: replace(r, record_id="0" * 24),
        "another share": lambda r: replace(r, mask_share=r.mask_share / 2),
        "no number as its share": lambda r: replace(r, mask_share=float("nan")),
        "a torn mask of its origin": lambda r: replace(r, origin_mask=b"no picture"),
    },
    "M2": {
        "a shifted mask": shifted,
        "forgeries through JPEG": as_jpeg,
        "forgeries resized once more": resized,
        "nothing changed under a full mask": unchanged,
        "an old change": lambda r: replace(r, change=images.encode_png(images.decode_gray(r.change) // 2)),
    },
    "M3": {
        "empty masks of an old share": lambda r: replace(mask_of(r, np.zeros_like), mask_share=r.mask_share),
        "full masks of an old share": lambda r: replace(mask_of(r, white), mask_share=r.mask_share),
        "masks of 0 and 1": lambda r: replace(mask_of(r, lambda mask: mask // 255), mask_share=r.mask_share),
        "empty masks": lambda r: mask_of(r, np.zeros_like),
        "full masks": lambda r: mask_of(r, white),
        "slivers": lambda r: mask_of(r, sliver),
    },
    "M4": {
        "a shifted mask": shifted,
        "a brighter image": lambda r: image_of(r, lambda rgb: np.minimum(rgb, 254) + np.uint8(1)),
        "parameters that are no JSON": lambda r: replace(r, parameters="{"),
        "other parameters": lambda r: replace(r, parameters=r.parameters.replace("0.", "0.0")),
    },
    "M5": {
        "a transposed rotation": lambda r: matrix_of(r, transposed),
        "dx and dy swapped": lambda r: matrix_of(r, lambda m: np.column_stack([m[:, :2], m[::-1, 2]])),
        "rows swapped": lambda r: matrix_of(r, lambda m: m[::-1]),
        "half a pixel": lambda r: matrix_of(r, lambda m: m + [[0, 0, 0.5], [0, 0, 0.5]]),
        "landmarks half a pixel off": lambda r: landmarks_of(r, 0.5),
        "landmarks as y x": lambda r: replace(r, landmarks=[[y, x] for x, y in r.landmarks]),
        "no matrix": lambda r: matrix_of(r, np.zeros_like),
        "not finite": lambda r: matrix_of(r, lambda m: m * np.nan),
    },
    "M6": {"masks with soft edges": soft, "masks through JPEG": jpeg_mask},
    "M7": {
        "landmarks moved afterwards": lambda r: landmarks_of(r, 4),
        "a region too many": lambda r: replace(r, regions=[*r.regions, "hair"], region_shares=[*r.region_shares, 0.5]),
        "another share": lambda r: replace(r, region_shares=[share / 2 for share in r.region_shares]),
        "no number as a share": lambda r: replace(r, region_shares=[float("nan") for _ in r.region_shares]),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", [audit.id for audit in AUDITS])
def test_what_all_programs_made_passes(name, built):
    found = outcome(built[0], name)
    assert found.verdict is Verdict.PASSES
    assert not found.finding.worst


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, faults in FAULTS.items() for fault in faults])
def test_a_planted_fault_fails(name, fault, built, tmp_path):
    found = outcome(planted(tmp_path, built, FAULTS[name][fault]), name)
    assert found.verdict is Verdict.FAILS, found
    assert found.finding.worst
    assert all(example.why for example in found.finding.worst)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("name", "fault"), [("M1", "a torn image"), ("M2", "a shifted mask"), ("M7", "another share")])
def test_few_faults_in_a_sample_are_enough(name, fault, built, tmp_path):
    found = outcome(planted(tmp_path, built, FAULTS[name][fault], every=5, audit={"sample": 20}), name)
    assert found.verdict is Verdict.FAILS
    assert 0 < found.finding.low < found.finding.statistic < found.finding.high
    assert len(found.finding.worst) == round(found.finding.statistic * found.finding.n)


def test_an_altered_image_with_an_old_change_fails(built, tmp_path):
    """Where the blend had weight, so that nothing but the stored change contradicts it."""

    def altered(record):
        inside = images.decode_gray(record.mask)[..., None] > 0
        return image_of(record, lambda rgb: np.where(inside, 255 - rgb, rgb))

    found = outcome(planted(tmp_path, built, altered), "M2")
    assert found.verdict is Verdict.FAILS
    assert "its stored change is not" in found.finding.worst[0].why


def test_what_was_looked_at_in_full_has_no_interval(built):
    assert outcome(built[0], "M3").finding.high is None


def test_what_cannot_be_made_again_is_told_and_left_out(built, tmp_path):
    _, pristine, forged, _ = built
    torn = [replace(pristine[0], image=b"torn"), *pristine[1:]]
    forged = [replace(r, pristine=None) for r in forged]
    layout = stored_dataset(tmp_path, torn, forged[:10], forge=tiny_recipe(PROGRAMS)["forge"])
    found = outcome(layout, "M4").finding
    without = sum(pristine[0].record_id in (r.target_id, r.source_id) for r in forged[:10])
    assert 0 < without == 10 - found.n
    assert f"{without} more could not be: A stored picture is damaged" in found.sentence
    assert outcome(layout, "M1").verdict is Verdict.FAILS


def test_a_face_that_its_matrix_puts_outside_the_photo_is_found_without_lineage(built, tmp_path):
    def far(record):
        return matrix_of(record, lambda matrix: matrix + [[0, 0, 900], [0, 0, 0]])

    assert outcome(planted(tmp_path, built, far, keep_lineage=False), "M5").verdict is Verdict.FAILS


def test_imported_masks_are_asked_what_can_be_asked(tmp_path):
    def imported(seed):
        return make_forged_record(
            seed, mask_rule="imported", pristine=None, alpha=None, change=None, target_id=None, landmarks=[],
            landmark_scheme="none", template="none", regions=[], region_shares=[], code_licence=None, exact_mask=False,
        )  # fmt: skip

    section = {"format": "pairs", "digest": "0" * 64}
    layout = stored_dataset(tmp_path, [], [imported(seed) for seed in range(4)], imported=section, forge={})
    for name in ("M1", "M3", "M6"):
        assert outcome(layout, name).verdict is Verdict.PASSES
    for name in ("M2", "M4", "M5", "M7"):
        found = outcome(layout, name)
        assert found.verdict is Verdict.ABSENT
        assert found.reason.endswith(".")


def test_eyebrows_and_pupils_are_no_slivers(built, tmp_path):
    def part(record, word):
        return mask_of(record, lambda mask: region_mask(face_of(record), word, mask.shape) * np.uint8(255))

    few = [part(record, ("eyebrow", "pupil", "lip")[number % 3]) for number, record in enumerate(built[2])]
    assert outcome(stored_dataset(tmp_path, built[1], few), "M3").verdict is Verdict.PASSES


def test_nothing_is_forged_again_where_no_program_is_left(tmp_path):
    pristine, forged = [make_record(seed) for seed in range(3)], [make_forged_record(seed) for seed in range(3)]
    found = outcome(stored_dataset(tmp_path, pristine, forged), "M4")
    assert found.verdict is Verdict.ABSENT
    assert "made by the manipulator 'darken', of which the recipe names none" in found.reason


def test_a_mask_of_the_origin_that_is_no_picture_is_damage(built, tmp_path):
    layout = planted(tmp_path, built, lambda r: replace(r, origin_mask=b"no picture"), every=8)
    assert outcome(layout, "M6").finding.n == len(built[2]) - len(built[2][::8])


def test_the_best_move_of_a_mask_is_the_one_that_undoes_its_shift():
    core = np.zeros((64, 64), bool)
    core[20:40, 10:50] = True
    assert displacement(core, core) == pytest.approx((0, 0, 0), abs=1e-5)
    gain, dx, dy = displacement(np.roll(core, (3, -4), (0, 1)), core)
    assert (dx, dy) == (4, -3)
    assert gain > 0.2
    assert displacement(np.roll(core, 15, 0) & ~core, np.zeros_like(core))[0] == 0


def test_a_mask_at_the_edge_of_the_frame_can_be_moved_too():
    core = np.zeros((32, 32), bool)
    core[:10, 22:] = True
    moved = np.zeros_like(core)
    moved[2:12, 20:30] = True
    assert displacement(moved, core)[1:] == (2, -2)


@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
def test_any_similarity_brings_a_small_mask_back(scale):
    y, x = np.mgrid[:128, :128]
    mask = (np.hypot(x - 60, 2 * (y - 50)) < 12).astype(np.uint8) * np.uint8(255)
    turn = scale * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    assert round_trip(mask, np.column_stack([turn, [400, -90]])) > 0.98


def test_a_matrix_that_flattens_the_photo_does_not():
    mask = np.full((64, 64), 255, np.uint8)
    assert round_trip(mask, np.array([[1, 0, 0], [1, 1e-7, 0]])) < 0.5


def test_readings_of_an_origins_mask_agree_with_the_metric(built, tmp_path):
    record = soft(built[2][0])
    gray = images.decode_gray(record.origin_mask)
    expected = localize(gray, (gray > 0).astype(np.uint8) * np.uint8(255)).iou
    found = outcome(stored_dataset(tmp_path, built[1], [record]), "M6").finding
    assert found.statistic == pytest.approx(expected)
    assert found.details["share of the mask lost at > 127 by region"]
    areas = {"> 0": gray > 0, "> 127": gray > 127, "= 255": gray == 255}
    assert found.details["mean share of the frame by reading"] == pytest.approx({n: a.mean() for n, a in areas.items()})


def test_few_forgeries_of_programs_with_weights_are_made_again(tmp_path):
    count = 5000
    evidence = Evidence(tmp_path, AuditSection(), serial, lambda _: silent)
    evidence.rows = pd.DataFrame(
        {
            "record_id": [derived_id(n) for n in range(count)], "place": range(count), "manipulation": "retouch",
            "weights_sha256": [None, "0" * 64] * (count // 2), "code_sha256": None,
        }
    )  # fmt: skip
    found = chosen(evidence)
    assert found["weights_sha256"].notna().sum() == 20
    assert 20 <= found["weights_sha256"].isna().sum() <= 40
    assert found["place"].is_monotonic_increasing
