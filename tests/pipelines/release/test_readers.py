"""Whoever reads a dataset reads a release of it, and says the same; what needs the dataset says so."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmtt.cli import app, mount
from mmtt.errors import UserError
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.files import file_sha256
from mmtt.layout import Layout, locate
from mmtt.metrics.truth import read_truth
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.record import Lineage
from mmtt.release import DATA, RELEASE
from mmtt.reports import Report
from mmtt.samples import Sample, digest_of, keys_of, read_samples
from mmtt.shards import write_table
from pipelines.builds import Build
from pipelines.diff import diff
from pipelines.overview import write_overview
from pipelines.view.catalog import Catalog
from tests.factories import make_forged_record, make_record, make_report, stored_dataset
from tests.pipelines.release.by_hand import released, stage

mount("pipelines")
SECRET_PATH, SECRET_NAME = "holiday/anna_2019.jpg", "Anna Beispiel"
PRISTINE, FORGED = [make_record(seed) for seed in range(6)], [make_forged_record(seed) for seed in range(6)]
REPORTS = [
    *(make_report(record, f"The nose of number {number} looks blurred.") for number, record in enumerate(FORGED)),
    make_report(FORGED[0], "A second person's words.", rank=1, annotator="a2", verdict="none_visible"),
]


def lineage(record_id: str, group_id: str) -> Lineage:
    return Lineage(
        item_digest="0", record_id=record_id, path=SECRET_PATH, photo_sha256="ab" * 32, photo_phash="0" * 16,
        face_index=0, bbox_xyxy=[0.0, 0.0, 9.0, 9.0], subject=SECRET_NAME, group_id=group_id, consent_expiry=None,
        consent_evidence_sha256=None, withdrawal=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Layout:
    private = [lineage(record.record_id, record.group_id) for record in PRISTINE]
    return stored_dataset(tmp_path_factory.mktemp("set"), PRISTINE, FORGED, reports=REPORTS, lineage=private)


@pytest.fixture(scope="module")
def release(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "1.0.0"
    return stage(folder, released(dataset), REPORTS, left_out={"not_asked": 4})


def facts(sample: Sample) -> dict:
    """All of a sample but where it lies, and its group, which a release knows less of."""
    return {k: v for k, v in asdict(sample).items() if k not in ("shard", "row_group", "row", "group")}


def test_a_release_holds_the_samples_of_its_dataset_with_every_text(dataset, release):
    before, after = (read_samples(root, pristine=True) for root in (dataset.root, release))
    assert [facts(sample) for sample in after] == [facts(sample) for sample in before]
    assert sorted(len(sample.references) for sample in after) == [0] * 6 + [1] * 5 + [2]


def test_its_folder_of_shards_alone_holds_one_text_a_record(release):
    found = read_samples(release / DATA)
    assert [sample.references[0].text for sample in found] == [report.text for report in REPORTS[:6]]
    assert {len(sample.references) for sample in found} == {1}


def test_a_score_asks_the_same_of_both(dataset, release):
    before, after = read_truth(dataset.root), read_truth(release)
    assert [sample.key for sample in after.samples] == [sample.key for sample in before.samples]
    assert keys_of(release) == keys_of(dataset.root)
    assert len(keys_of(release)) == 12


def test_the_digest_follows_rows_and_reports_not_the_folders_name(dataset, release, tmp_path):
    rows = released(dataset)
    staged = stage(tmp_path / ".1.0.0.partial", rows, REPORTS)
    assert digest_of(staged) == digest_of(release)
    assert digest_of(stage(tmp_path / "fewer", rows[:-1], REPORTS[:5])) != digest_of(release)
    other = [*REPORTS[:-1], replace(REPORTS[-1], text="Other words.")]
    assert digest_of(stage(tmp_path / "other", rows, other)) != digest_of(release)


def test_a_text_about_a_picture_that_is_not_there_is_refused(dataset, tmp_path):
    staged = stage(tmp_path, released(dataset), REPORTS)
    stage(tmp_path, released(dataset)[:-1], REPORTS[:5])  # leaves the tables of reports with one too many
    write_table(staged / "reports" / "part-2.parquet", REPORTS[5:6], Report)
    with pytest.raises(UserError, match="which is not there"):
        read_samples(staged)


def test_audits_see_every_report_and_nothing_private(dataset, release):
    evidence = Evidence(release, AuditSection(), serial, lambda _: silent)
    assert sorted(evidence.reports["report_id"]) == sorted(report.report_id for report in REPORTS)
    assert evidence.private is None
    assert evidence.lineage.empty
    assert not Evidence(dataset.root, AuditSection(), serial, lambda _: silent).lineage.empty


def test_a_release_does_not_differ_from_its_dataset(dataset, release):
    found = diff(dataset.root, release, serial, lambda _: silent)
    assert not found.differs, found
    assert (found.rows_a, found.rows_b) == (12, 12)
    assert found.because == {"recipe": {"sha256": (file_sha256(dataset.recipe), "0" * 64)}}


def test_two_releases_are_compared_report_by_report(dataset, release, tmp_path):
    other = [*REPORTS[:-1], replace(REPORTS[-1], text="Other words.")]
    after = stage(tmp_path / "1.0.1", released(dataset), other, version="1.0.1")
    found = diff(release, after, serial, lambda _: silent)
    (change,) = found.reports
    assert not found.because
    assert (change.report_id, change.what, list(change.columns)) == (REPORTS[-1].report_id, "changed", ["text"])


def test_the_viewer_shows_a_release_by_its_name_with_what_each_person_said(release):
    catalog = Catalog(release)
    assert catalog.name == "tiny 1.0.0"
    texts = catalog.record(FORGED[0].record_id)["texts"]
    assert [(text["verdict"], text["text"]) for text in texts] == [
        ("visible", REPORTS[0].text),
        ("none_visible", REPORTS[-1].text),
    ]


def test_a_build_of_a_release_tells_its_rows_and_splits(release):
    build = Build(release)
    assert list(build.manifests) == ["release"]
    assert {path.parent for path in build.shards} == {release / DATA}
    assert set(build.rows(())["split"]) == {"train", "validation", "test"}


def test_an_audit_of_a_release_writes_nothing_into_it(release):
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    ran = CliRunner().invoke(app, ["audit", str(release), "--only", "M1,M4", "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert told["name"] == "tiny 1.0.0"
    verdicts = {row["id"]: row["verdict"] for row in told["audits"]}
    assert verdicts == {"M1": "passes", "M4": "absent"}
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before


def test_the_shards_of_a_release_are_inspected_by_its_folder(release):
    ran = CliRunner().invoke(app, ["shards", "inspect", str(release), "--json"])
    assert ran.exit_code == 0, ran.output
    assert [(row["shard"], row["rows"]) for row in json.loads(ran.output)] == [("bucket-0000.parquet", 12)]


def test_what_makes_something_asks_for_the_dataset(release):
    with pytest.raises(UserError, match=r"1\.0\.0 is a release, which nothing is made in or from\. Name the dataset"):
        locate(release)
    for command in ("overview", "replay", "build", "plan"):
        ran = CliRunner().invoke(app, [command, str(release)])
        assert isinstance(ran.exception, UserError), command
        assert "is a release" in str(ran.exception)


def test_a_release_that_says_what_none_says_is_told(tmp_path):
    broken = stage(tmp_path, [])
    (broken / RELEASE).write_text('{"surprise": 1}', encoding="utf-8")
    with pytest.raises(UserError, match=rf"{RELEASE} cannot be read"):
        write_overview(broken)


def test_the_overview_of_a_release_counts_what_is_in_it_and_what_is_not(release, tmp_path):
    page = write_overview(release, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>tiny 1.0.0</h1>" in page
    assert "6 pristine faces, and 6 forgeries of\n1 family" in page
    assert "not_asked" in page
    assert "A second person&#39;s words." in page
    assert page == write_overview(release, tmp_path / "again.html").read_text(encoding="utf-8")
    assert not (release / "overview.html").exists()


def test_the_overview_of_a_release_says_nothing_private(dataset, release, tmp_path):
    page = write_overview(release, tmp_path / "page.html").read_text(encoding="utf-8")
    for secret in (SECRET_PATH, SECRET_NAME, "ab" * 32, str(dataset.root), "component"):
        assert secret not in page


def test_the_overview_goes_without_a_donor_that_was_left_out(tmp_path):
    donor = make_record(7)
    forged = replace(make_forged_record(1), split="train", source_id=donor.record_id, source_origin="drawn people")
    page = write_overview(stage(tmp_path, [forged]), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 forgery of\n1 family" in page
    assert '<figure class="donor">' not in page
    assert "Every record that counts in the dataset is here." in page
