import json
import re
from dataclasses import replace

import numpy as np
import pytest

from mmtt import images
from mmtt.check import check, require_dataset, verify, verify_all, verify_reports
from mmtt.errors import UserError
from mmtt.manifest import assemble_manifest
from mmtt.parsing import LABELS
from mmtt.record import SCHEMA_VERSION, Record, Rejection
from mmtt.shards import Footer, ShardWriter, side_path, write_table
from pipelines.degradations.chain import Chain
from pipelines.degradations.codecs import Jpeg
from pipelines.degradations.geometry import Resize, Rotate
from pipelines.degrade import degraded
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

RULES = ("blend", "support", "hole")


def with_image(record, pixels):
    data = images.encode_png(pixels)
    return replace(record, image=data, image_sha256=images.sha256(data))


def changed(record, name, edit):
    """The record after `edit` has worked on the decoded pixels of one grey column."""
    pixels = images.decode_gray(getattr(record, name)).copy()
    edit(pixels)
    return replace(record, **{name: images.encode_png(pixels)})


def untouched(record):
    """Some pixel that the composite did not touch."""
    return tuple(np.argwhere(images.decode_gray(record.alpha) == 0)[7])


def pixel_changed_outside_alpha(record):
    pixels = images.decode_rgb(record.image)
    pixels[untouched(record)] ^= 1
    return with_image(record, pixels)


def mask_with_a_third_value(record):
    return changed(record, "mask", lambda m: m.__setitem__((m > 0).nonzero(), 254))


def mask_cut_in_half(record):
    return changed(record, "mask", lambda m: m[: len(m) * 6 // 10].fill(0))


def mask_emptied(record):
    return changed(record, "mask", lambda m: m.fill(0))


def mask_beyond_alpha(record):
    return changed(record, "mask", lambda m: m.__setitem__(untouched(record), 255))


def mask_of_three_channels(record):
    return replace(record, mask=images.encode_png(np.repeat(images.decode_gray(record.mask)[..., None], 3, axis=2)))


def smaller(name):
    def plant(record):
        return replace(record, **{name: images.encode_png(images.decode_gray(getattr(record, name))[:-1])})

    return plant


def change_off_by_one(record):
    return changed(record, "change", lambda c: c.__setitem__(tuple(np.argwhere(c > 3)[0]), 1))


FAULTS = [
    (pixel_changed_outside_alpha, "pixels with alpha 0 differ from the target"),
    (mask_with_a_third_value, "mask holds values other than 0 and 255"),
    (mask_emptied, "the mask of a forgery is empty"),
    (mask_beyond_alpha, "the mask (does not follow from|covers pixels with) alpha"),
    (mask_of_three_channels, "cannot be decoded"),
    (smaller("mask"), r"mask is \(63, 64\)"),
    (smaller("alpha"), "differ in size"),
    (smaller("change"), "differ in size"),
    (change_off_by_one, "change is not the largest channel difference"),
    (lambda r: replace(r, image_sha256="0" * 64), "image_sha256"),
    (lambda r: replace(r, image=b""), "cannot be decoded"),
    (lambda r: replace(r, mask=b"text"), "cannot be decoded"),
    (lambda r: replace(r, alpha=b""), "cannot be decoded"),
    (lambda r: replace(r, change=r.image), "cannot be decoded"),
    (lambda r: replace(r, pristine=None), "needs pristine"),
    (lambda r: replace(r, alpha=None), "needs pristine"),
    (lambda r: replace(r, parameters=None), "needs pristine"),
    (lambda r: replace(r, parameters="{"), "no JSON object"),
    (lambda r: replace(r, parameters="[1]"), "no JSON object"),
    (lambda r: replace(r, manipulation="face_swop"), "none of the families"),
    (lambda r: replace(r, manipulation=None), "does not fit"),
    (lambda r: replace(r, mask_rule="blond"), "'blond' is unknown"),
    (lambda r: replace(r, mask_rule="none"), "does not fit"),
    (lambda r: replace(r, regions=["elbow"], region_shares=[1.0]), "21 words"),
    (lambda r: replace(r, region_shares=[]), "no share each"),
    (lambda r: replace(r, mask_share=0.9), "mask_share"),
    (lambda r: replace(r, split="trian"), "split 'trian'"),
    (lambda r: replace(r, schema_version=SCHEMA_VERSION + 1), "schema version"),
    (lambda r: replace(r, exact_mask=False), "exact_mask is False under the rule"),
    (lambda r: replace(r, mask_tau=-1), "mask_tau is -1"),
    (lambda r: replace(r, mask_tau=256), "mask_tau is 256"),
    (lambda r: replace(r, raw=b"text"), "raw cannot be decoded"),
    (lambda r: replace(r, raw=r.mask), "raw cannot be decoded"),
    (lambda r: replace(r, intent=r.alpha), "intent holds values other than 0 and 255"),
    (lambda r: replace(r, weights_sha256="0" * 64), "without weights_licence"),
    (lambda r: replace(r, parser="someone"), "parser and parsing are not there together"),
    (lambda r: replace(r, parsing=r.mask), "parser and parsing are not there together"),
]


@pytest.mark.parametrize("size_px", [64, 256])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_a_clean_forgery_has_no_fault(seed, rule, size_px):
    assert check(make_forged_record(seed, size_px, rule)) == []


def test_a_clean_pristine_record_has_no_fault():
    assert check(make_record()) == []
    assert check(make_record(split="test", schema_version=1)) == []


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("plant", "sentence"), FAULTS)
def test_a_planted_fault_is_found(plant, sentence, rule):
    faults = check(plant(make_forged_record(0, 64, rule)))
    assert len(faults) >= 1
    assert any(re.search(sentence, fault) for fault in faults), faults


def test_a_mask_that_does_not_follow_its_rule_is_found():
    assert "the mask does not follow from alpha and change" in check(mask_cut_in_half(make_forged_record()))
    assert "the mask does not follow from alpha and change" in check(make_forged_record(mask_tau=200))


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": images.encode_png(np.full((64, 64), 255, np.uint8))},
        {"alpha": images.encode_png(np.zeros((64, 64), np.uint8))},
        {"pristine": make_record().image},
        {"manipulator": "x"},
        {"parameters": "{}"},
        {"mask_rule": "blend"},
        {"image_sha256": "0" * 64},
        {"raw": make_record().image},
        {"intent": make_record().mask},
        {"seed": "00"},
        {"weights_sha256": "0" * 64},
        {"code_sha256": "0" * 64},
        {"target_id": "f" * 24},
        {"source_id": "f" * 24},
        {"exact_mask": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_pristine_record_with_anything_of_an_edit_is_found(changes):
    assert check(replace(make_record(), **changes))


def test_a_pixel_changed_outside_the_hole_is_found():
    """Alpha, change and pixels agree, and still the mask is not all that changed."""
    clean = make_forged_record(rule="hole")
    shrunk = changed(clean, "mask", lambda m: m.__setitem__(tuple(np.argwhere(m > 0)[0]), 0))
    assert "pixels outside the hole were changed" in check(shrunk)
    assert check(make_forged_record(rule="support")) == []


def test_a_full_frame_edit_says_what_was_asked_for_and_is_not_exact():
    record = make_forged_record(rule="null_edit")
    assert check(record) == check(replace(record, weights_sha256="0" * 64, weights_licence="MIT")) == []
    assert check(replace(record, intent=None)) == ["rule 'null_edit' needs intent"]
    assert check(replace(record, exact_mask=True)) == ["exact_mask is True under the rule 'null_edit'"]


def test_other_peoples_masks_need_no_composite():
    bare = {"alpha": None, "change": None, "pristine": None, "parameters": None}
    for exact in (True, False):
        assert check(make_forged_record(mask_rule="imported", exact_mask=exact, **bare)) == []
    assert check(mask_emptied(make_forged_record(mask_rule="imported", **bare)))


CHAINS = (
    Chain("coded", (Jpeg(quality=60),)),
    Chain("moved", (Resize(scale=0.7), Rotate(degrees=10), Jpeg(quality=80))),
)


def make_variant(record, chain=CHAINS[1], **changes):
    return replace(degraded(record, chain, 0), **changes)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_a_clean_variant_has_no_fault(seed, rule, chain):
    assert check(make_variant(make_forged_record(seed, 64, rule), chain)) == []
    assert check(make_variant(make_record(seed), chain)) == []


def shifted(record):
    """The mask three pixels beside where it belongs."""
    return changed(record, "mask", lambda m: m.__setitem__(slice(None), np.roll(m, 12, axis=1)))


VARIANT_FAULTS = [
    (lambda r: replace(r, degradations=[]), "does not say what was done"),
    (lambda r: replace(r, degradations=["jpeg"]), "degradation 0 is no JSON object that names an `op`"),
    (lambda r: replace(r, degradations=['{"quality": 3}']), "names an `op`"),
    (lambda r: replace(r, degradations=[*r.degradations, "[1]"]), r"degradation \d is no JSON object"),
    (lambda r: replace(r, variant="master"), "a master has degradations"),
    (lambda r: replace(r, variant="master", degradations=[]), "differ from the target"),
    (lambda r: replace(r, mask_share=0.9), "mask_share"),
    (lambda r: replace(r, regions=[], region_shares=[]), "regions do not follow"),
    (lambda r: replace(r, change_mean=0.5), "change_mean"),
    (lambda r: replace(r, intent=r.image), "intent is no single-channel PNG of the image's size"),
    (lambda r: replace(r, parsing=images.encode_png(np.zeros((9, 9), np.uint8))), "parsing is no single-channel"),
    (smaller("alpha"), "differ in size"),
    (smaller("mask"), "mask is"),
    (mask_with_a_third_value, "other than 0 and 255"),
    (mask_emptied, "the mask of a forgery is empty"),
    (shifted, "the mask covers pixels with alpha 0"),
    (lambda r: replace(r, image_sha256="0" * 64), "image_sha256"),
]


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
@pytest.mark.parametrize(("plant", "sentence"), VARIANT_FAULTS, ids=[sentence for _, sentence in VARIANT_FAULTS])
def test_a_planted_fault_of_a_variant_is_found(plant, sentence, chain):
    faults = check(plant(make_variant(make_forged_record(), chain)))
    assert any(re.search(sentence, fault) for fault in faults), faults


def test_a_pristine_variant_with_a_mask_is_found():
    variant = make_variant(make_record())
    assert "a pristine record has a mask" in check(changed(variant, "mask", lambda m: m[5:9].fill(255)))


def write_folder(folder, records):
    folder.mkdir(parents=True)
    writer = ShardWriter(folder / "a.parquet", Record)
    for record in records:
        writer.add(record)
    writer.close(Footer("x", "y", "z"))
    write_table(side_path(folder, "a", Rejection), [], Rejection)
    assemble_manifest(folder, "x", ["a"])
    return folder


def tied(tmp_path, variants):
    """Verify a dataset of two masters and some variants; what is told of the variants."""
    masters = write_folder(tmp_path / "d" / "masters", [make_record(), make_forged_record()])
    folder = write_folder(tmp_path / "d" / "degraded", variants)
    return [what for _, what in verify_all([masters, folder])]


def test_variants_tied_to_their_masters_have_no_fault(tmp_path):
    assert tied(tmp_path, [make_variant(r, c) for c in CHAINS for r in (make_record(), make_forged_record())]) == []


def test_the_same_variant_twice_is_found(tmp_path):
    assert tied(tmp_path, [make_variant(make_record())] * 2) == ["the id occurs twice"]


def test_a_variant_without_its_master_or_target_is_found(tmp_path):
    orphan = tied(tmp_path / "a", [make_variant(make_record(), record_id="f" * 24)])
    assert orphan == ["variant 'moved' is of no master of this dataset"]
    lost = tied(tmp_path / "b", [make_variant(make_forged_record(), target_id="f" * 24)])
    assert lost == [f"target_id {'f' * 24} is no pristine record of this dataset"]


def test_a_variant_that_is_its_master_is_found(tmp_path):
    same = replace(make_record(), variant="coded", degradations=['{"op": "jpeg"}'])
    assert tied(tmp_path, [same]) == ["variant 'coded' has the image of its master"]


def test_a_degraded_copy_of_a_target_does_not_stand_in_for_it(tmp_path):
    """A forged master whose target is there as a variant only has lost its target."""
    masters = write_folder(tmp_path / "d" / "masters", [make_forged_record()])
    folder = write_folder(tmp_path / "d" / "degraded", [make_variant(make_record())])
    told = [what for _, what in verify_all([masters, folder])]
    assert f"target_id {make_record().record_id} is no pristine record of this dataset" in told


@pytest.fixture
def directory(tmp_path):
    for name, records in (("a", [make_record(0), make_forged_record(0)]), ("b", [make_record(1)])):
        writer = ShardWriter(tmp_path / f"{name}.parquet", Record)
        for record in records:
            writer.add(record)
        writer.close(Footer("ingest", name, "f"))
        write_table(side_path(tmp_path, name, Rejection), [], Rejection)
    assemble_manifest(tmp_path, "ingest", ["a", "b"])
    return tmp_path


def rewrite(directory, name, records):
    """Another shard under the same name, and a manifest that vouches for it."""
    writer = ShardWriter(directory / f"{name}.parquet", Record)
    for record in records:
        writer.add(record)
    writer.close(Footer("ingest", name, "f"))
    assemble_manifest(directory, "ingest", ["a", "b"])


def edit_manifest(directory, **changes):
    path = directory / "manifest.json"
    data = json.loads(path.read_text())
    data["shards"][0] |= changes
    path.write_text(json.dumps(data))


def test_a_clean_directory_has_no_fault(directory):
    assert list(verify(directory)) == []


def test_a_flipped_bit_is_found(directory):
    path = directory / "b.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert list(verify(directory)) == [("b.parquet", "has another SHA-256 than the manifest says")]


def test_a_shard_too_short_missing_or_unlisted_is_found(directory):
    (directory / "a.parquet").rename(directory / "c.parquet")
    (directory / "b.parquet").write_bytes(b"PAR1")
    faults = dict(verify(directory))
    assert faults["a.parquet"] == "is missing"
    assert faults["b.parquet"].startswith("has 4 bytes")
    assert faults["c.parquet"] == "is not in the manifest"


def test_a_row_count_that_lies_is_found(directory):
    edit_manifest(directory, rows=9)
    assert dict(verify(directory))["a.parquet"] == "has 2 rows, the manifest says 9"


def test_totals_and_rejections_that_lie_are_found(directory):
    manifest = json.loads((directory / "manifest.json").read_text()) | {"rows": 4, "rejections": {"no_face": 1}}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    assert [where for where, _ in verify(directory)] == ["manifest.json", "rejections.parquet"]
    (directory / "rejections.parquet").write_bytes(b"text")
    assert "cannot be read" in dict(verify(directory))["rejections.parquet"]


def test_an_id_that_occurs_twice_is_found(directory):
    rewrite(directory, "b", [make_record(0)])
    assert [what for _, what in verify(directory)] == ["the id occurs twice"]


def test_every_fault_of_every_record_is_told_with_its_place(directory):
    planted = [mask_emptied(make_forged_record(5)), make_record(2), make_forged_record(6, image=b"")]
    rewrite(directory, "b", planted)
    where = [place for place, _ in verify(directory)]
    assert where == [f"b.parquet:{planted[0].record_id}", f"b.parquet:{planted[2].record_id}"]


def test_a_directory_that_is_none_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        require_dataset(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no manifest.json"):
        list(verify(tmp_path))


@pytest.mark.parametrize(
    ("labels", "words", "fault"),
    [
        (None, ["hair"], "parsed_regions without a label map"),
        (99, ["hair"], "parsing holds a label that is none"),
        (LABELS.index("hair"), ["ear"], "parsed_regions are not what the label map shows"),
        (LABELS.index("hair"), [], "parsed_regions are not what the label map shows"),
    ],
)
def test_a_label_map_and_the_words_that_it_shows_must_agree(labels, words, fault):
    drawn = None if labels is None else images.encode_png(np.full((64, 64), labels, np.uint8))
    assert fault in check(make_record(parsing=drawn, parsed_regions=words))


@pytest.mark.parametrize("change", [{"obligations": []}, {"licence": "CC-BY-NC-4.0"}, {"weights_licence": "MIT-0"}])
def test_obligations_follow_from_the_licences_beside_them(change):
    assert [fault for fault in check(make_forged_record(**change)) if "licences" in fault]


def test_what_a_forgery_has_of_its_target_is_the_targets(tmp_path):
    pristine, forged = make_record(3), make_forged_record(3)
    for name, changes in (("right", {}), ("group", {"group_id": "0" * 24}), ("consent", {"consent": "all"})):
        folders = [tmp_path / name / "pristine", tmp_path / name / "forged"]
        for folder, record in zip(folders, (pristine, replace(forged, **changes)), strict=True):
            write_folder(folder, [record])
        told = [what for _, what in verify_all(folders)]
        assert len(told) == (name != "right")
        assert all("is not that of target_id" in what for what in told)


def test_a_text_about_a_record_that_is_gone_is_told(tmp_path):
    forged = [make_forged_record(seed) for seed in range(2)]
    reports = [
        make_report(forged[0]),
        make_report(make_forged_record(9)),
        make_report(forged[1], image_sha256="0" * 64),
    ]
    layout = stored_dataset(tmp_path, [make_record(seed) for seed in range(2)], forged, reports=reports)
    told = dict(verify_reports(layout.root))
    assert set(told) == {f"reports/reports.parquet:{report.report_id}" for report in reports[1:]}
    assert all("mmtt annotate reports" in sentence for sentence in told.values())
    assert list(verify_reports(tmp_path / "none")) == []
