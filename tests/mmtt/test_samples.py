"""Samples: which rows count, and what is joined to them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.manifest import assemble_manifest, passed, read
from mmtt.progress import silent
from mmtt.record import MASTER, Assignment, Record, Rejection
from mmtt.reports import Report, region_vector
from mmtt.samples import Rows, digest_of, of_split, read_samples
from mmtt.shards import Footer, ShardWriter, read_table, write_table
from pipelines.degrade import degrade
from tests import factories


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Layout:
    layout = factories.tiny_dataset(
        tmp_path_factory.mktemp("samples"),
        8,
        ["recolour", "retouch"],
        degrade={"variants": [{"name": "small", "chain": [{"op": "jpeg", "quality": 60}]}]},
    )
    recipe = factories.build(layout)
    degrade(layout, recipe, serial, silent)
    return layout


def report(record: Record, **changes) -> Report:
    known = {
        "report_id": f"r-{record.record_id}",
        "record_id": record.record_id,
        "image_sha256": record.image_sha256,
        "rank": 0,
        "settled": "single",
        "annotator": "template",
        "protocol": "informed",
        "verdict": "visible",
        "regions": ["nose"],
        "text_regions": ["nose"],
        "difficulty": None,
        "text": "The nose has an odd colour.",
        "language": "en",
        "text_origin": "template",
        "submitted": "2026-11-26",
        "dwell_s": None,
    }
    return Report(**{**known, **changes})


@pytest.fixture
def reported(dataset) -> Layout:
    records = list(read(dataset.forged))
    reports = [report(record) for record in records]
    reports.append(report(records[0], report_id="second", rank=1, text="Another person's words."))
    write_table(dataset.root / "reports" / "reports.parquet", reports, Report)
    yield dataset
    (dataset.root / "reports" / "reports.parquet").unlink()


def test_only_what_passed_the_gates_counts_and_each_once(dataset):
    samples = read_samples(dataset.root)
    assert {sample.record_id for sample in samples} == passed(dataset.forged)
    assert len({sample.key for sample in samples}) == len(samples)


def test_a_sample_is_in_the_split_and_group_of_its_target(dataset):
    assigned = {row.record_id: row for row in read_table(dataset.splits, Assignment)}
    target = {record.record_id: record.target_id for record in read(dataset.forged)}
    for sample in read_samples(dataset.root):
        row = assigned[target[sample.record_id]]
        assert (sample.split, sample.group) == (row.split, row.component_id)


def test_pristine_faces_come_when_asked_for_with_an_empty_mask(dataset):
    samples = read_samples(dataset.root, pristine=True)
    clean = [sample for sample in samples if not sample.manipulated]
    assert len(clean) == 8
    assert {sample.mask_share for sample in clean} == {0.0}
    assert {sample.manipulated for sample in read_samples(dataset.root)} == {True}


def test_variants_come_when_asked_for_with_their_masters_texts(reported):
    samples = read_samples(reported.root, variants=(MASTER, "small"))
    assert {sample.variant for sample in samples} == {MASTER, "small"}
    texts = {sample.key: sample.references for sample in samples}
    assert all(texts[record, "small"] == texts[record, MASTER] != () for record, _ in texts)


def test_a_variant_that_is_not_there_is_named(dataset):
    with pytest.raises(UserError, match="no records of variant 'blurred'"):
        read_samples(dataset.root, variants=("blurred",))


def test_the_report_that_stands_for_its_record_comes_first(reported):
    samples = read_samples(reported.root)
    two = [sample for sample in samples if len(sample.references) == 2]
    assert [reference.text for reference in two[0].references] == [
        "The nose has an odd colour.",
        "Another person's words.",
    ]
    assert {len(sample.references) for sample in samples} == {1, 2}


def test_a_report_about_another_picture_is_refused(dataset):
    record = next(iter(read(dataset.forged)))
    path = dataset.root / "reports" / "reports.parquet"
    write_table(path, [report(record, image_sha256="0" * 64)], Report)
    try:
        with pytest.raises(UserError, match="was written about a picture 000000000000"):
            read_samples(dataset.root)
    finally:
        path.unlink()


def test_rows_are_those_of_the_sample(dataset):
    fetch = Rows(("record_id", "image", "mask"), kept_groups=1)
    stored = {record.record_id: record for record in read(dataset.forged)}
    for sample in reversed(read_samples(dataset.root)):
        row = fetch(sample)
        assert row["record_id"] == sample.record_id
        assert (row["image"], row["mask"]) == (stored[sample.record_id].image, stored[sample.record_id].mask)


def test_a_released_folder_says_the_same_as_the_dataset(reported, tmp_path):
    """Rows that carry split and report themselves, in one folder of shards."""
    joined = {sample.record_id: sample for sample in read_samples(reported.root)}
    released(tmp_path, [fill(record, joined[record.record_id]) for record in read(reported.forged)])
    for sample in read_samples(tmp_path):
        known = joined[sample.record_id]
        assert sample.split == known.split
        assert sample.references[0] == known.references[0]
        assert sample.regions == known.regions
    before = digest_of(tmp_path)
    assert digest_of(tmp_path.rename(tmp_path.with_name("renamed"))) == before


def fill(record: Record, sample) -> Record:
    first, said = sample.references[0], region_vector(["nose"])
    told = {"report": first.text, "report_regions": said, "report_language": first.language}
    return replace(record, split=sample.split, text_origin=first.text_origin, **told)


def released(folder: Path, records: list[Record]) -> None:
    writer = ShardWriter(folder / "all-0000.parquet", Record)
    for record in records:
        writer.add(record)
    writer.close(Footer("release", "0" * 64, "0" * 64))
    side = folder.parent / "private" / folder.name
    side.mkdir(parents=True)
    write_table(side / "all-0000.rejection.parquet", [], Rejection)
    assemble_manifest(folder, "release", ["all-0000"])


def test_what_is_neither_a_dataset_nor_a_release_is_told(tmp_path):
    with pytest.raises(UserError, match="neither a built dataset"):
        read_samples(tmp_path)


def test_a_release_without_splits_is_told(dataset, tmp_path):
    released(tmp_path, list(read(dataset.forged)))
    with pytest.raises(UserError, match="is in no split"):
        read_samples(tmp_path)


def test_a_split_that_is_empty_is_told(dataset):
    with pytest.raises(UserError, match="split 'holdout'; a dataset has train, validation, test"):
        of_split(read_samples(dataset.root), "holdout")


def test_the_digest_follows_what_the_gates_refuse(dataset):
    before, path = digest_of(dataset.root), dataset.forged / "rejections.parquet"
    kept = path.read_bytes()
    refused = next(iter(read(dataset.forged))).record_id
    write_table(path, [Rejection(stage="gate", code="lost", detail="lost", record_id=refused)], Rejection)
    assert digest_of(dataset.root) != before
    path.write_bytes(kept)
    assert digest_of(dataset.root) == before


def test_the_digest_follows_the_reports(reported):
    before = digest_of(reported.root)
    assert digest_of(reported.root) == before
    write_table(reported.root / "reports" / "reports.parquet", [], Report)
    assert digest_of(reported.root) != before
