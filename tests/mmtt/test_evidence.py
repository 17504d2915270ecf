"""Evidence: every row that counts, its pixels where a sample was drawn, and nothing of rows that a gate refused."""

from dataclasses import replace

import numpy as np
import pytest

from mmtt.errors import UserError
from mmtt.evidence import Evidence, Pixels, chunks, records_of
from mmtt.executors import executor, serial
from mmtt.manifest import read
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.record import Rejection
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

PEOPLE = 12


def quiet(_: str):
    return silent


def brightness(pixels: Pixels) -> dict[str, float]:
    return {"mean": float(pixels.image.mean()), "altered": float((pixels.mask > 0).mean())}


def size_of_file(pixels: Pixels) -> dict[str, float]:
    return {"bytes": len(pixels.record.image)}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    pristine = [make_record(seed) for seed in range(PEOPLE)]
    forged = [make_forged_record(seed) for seed in range(PEOPLE)]
    refused = [
        Rejection(stage="gate", code="face_lost", detail="", record_id=forged[0].record_id, manipulator="darken")
    ]
    reports = [make_report(record) for record in forged[1:]]
    return stored_dataset(tmp_path_factory.mktemp("evidence"), pristine, forged, reports=reports, refused=refused)


def evidence(layout, run=serial, **settings) -> Evidence:
    return Evidence(layout.root, AuditSection(**settings), run, quiet)


def test_rows_are_those_that_count_with_split_and_component(layout):
    rows = evidence(layout).rows
    forged = make_forged_record(1)
    assert len(rows) == 2 * PEOPLE - 1
    row = rows[rows["record_id"] == forged.record_id].iloc[0]
    assert (row["target_id"], row["component"]) == (forged.target_id, forged.group_id)
    assert row["split"] == rows[rows["record_id"] == forged.target_id]["split"].iloc[0]
    assert make_forged_record(0).record_id not in set(rows["record_id"])


def test_every_row_says_where_it_lies(layout):
    rows = evidence(layout).rows
    stored = {record.record_id: record for folder in (layout.pristine, layout.forged) for record in read(folder)}
    found = [record for chunk in chunks(rows) for record in records_of(chunk)]
    assert [record.record_id for record in found] == list(rows["record_id"])
    assert all(stored[record.record_id] == record for record in found)


def test_reports_come_as_a_table_and_lineage_is_empty_where_there_is_none(layout):
    found = evidence(layout)
    assert len(found.reports) == PEOPLE - 1
    assert "photo_phash" in found.lineage
    assert found.lineage.empty


def test_a_sample_is_half_pristine_and_the_same_for_anybody(layout):
    drawn = evidence(layout, sample=20).sampled
    assert drawn["manipulation"].isna().sum() == 10
    assert list(drawn["place"]) == sorted(drawn["place"])
    assert list(drawn["record_id"]) == list(evidence(layout, sample=20).sampled["record_id"])
    assert list(drawn["record_id"]) != list(evidence(layout, sample=20, seed=5).sampled["record_id"])


def test_a_sample_takes_all_of_the_rarer_kind(tmp_path):
    people = [make_record(seed) for seed in range(30)]
    drawn = evidence(stored_dataset(tmp_path, people, [make_forged_record(0)]), sample=20).sampled
    assert drawn["manipulation"].notna().sum() == 1
    assert len(drawn) == 20


def test_measures_are_the_same_on_any_number_of_workers(layout):
    tables = []
    for run in (serial, executor(2)):
        found = evidence(layout, run)
        found.measure({"M9": brightness})
        tables.append(found.measured("M9"))
    assert tables[0].equals(tables[1])
    assert (tables[0]["altered"] > 0).sum() == PEOPLE - 1


def test_a_damaged_picture_is_left_out_of_what_was_measured(tmp_path):
    broken = replace(make_record(1), image=b"no picture")
    found = evidence(stored_dataset(tmp_path, [make_record(0), broken], [make_forged_record(0)]))
    found.measure({"M9": brightness})
    assert broken.record_id not in set(found.measured("M9")["record_id"])
    assert len(found.measured("M9")) == 2


def test_a_picture_that_one_audit_lacks_is_there_for_another(tmp_path):
    """So that an audit says the same by itself and among others."""
    broken = replace(make_record(1), image=b"no picture")
    found = evidence(stored_dataset(tmp_path, [make_record(0), broken], [make_forged_record(0)]))
    found.measure({"M9": brightness, "M8": size_of_file})
    assert len(found.measured("M9")) == 2
    assert found.measured("M8")["bytes"].min() == 10
    assert "damaged" not in found.measured("M8")


def test_where_every_picture_is_damaged_nothing_was_measured(tmp_path):
    records = [replace(record, image=b"no picture") for record in (make_record(0), make_forged_record(0))]
    found = evidence(stored_dataset(tmp_path, records[:1], records[1:]))
    found.measure({"M9": brightness})
    assert found.measured("M9").empty


def test_what_nothing_was_measured_of_says_so(layout):
    found = evidence(layout)
    with pytest.raises(RuntimeError, match="nothing was measured"):
        found.measured("M9")
    found.measure({})
    assert np.array_equal(found.measured("M9")["place"], found.sampled["place"])


def test_a_variant_that_is_not_there_is_refused(layout):
    with pytest.raises(UserError, match="no records of variant 'jpeg'"):
        _ = Evidence(layout.root, AuditSection(), serial, quiet, "jpeg").rows


def test_texts_about_pictures_that_are_gone_stop_no_audit(tmp_path):
    reports = [make_report(make_forged_record(0)), make_report(make_forged_record(7))]
    found = evidence(stored_dataset(tmp_path, [make_record(0)], [make_forged_record(0)], reports=reports))
    assert [len(sample.references) for sample in found.samples] == [0, 1]


def test_where_all_was_refused_the_sentence_says_so(tmp_path):
    with pytest.raises(UserError, match=r"holds no record that counts\. rejections\.parquet"):
        _ = evidence(stored_dataset(tmp_path, [], [])).rows
