"""The Croissant document: valid for the library, in the specification's words, and good for reading the shards."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmtt import images
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.record import Record
from mmtt.regions import REGIONS
from mmtt.release import CONFIGS
from mmtt.reports import Report
from mmtt.schema import columns
from pipelines.release import croissant
from tests.factories import make_record
from tests.pipelines.release import described

mlc = pytest.importorskip("mlcroissant")
# What mlcroissant itself calls.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*"),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),
]

# https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html, "RAI property information".
RAI = {
    "dataCollection", "dataCollectionType", "dataCollectionMissingData", "dataCollectionRawData",
    "dataCollectionTimeframe", "dataImputationProtocol", "dataManipulationProtocol", "dataPreprocessingProtocol",
    "dataAnnotationProtocol", "dataAnnotationPlatform", "dataAnnotationAnalysis", "dataReleaseMaintenancePlan",
    "personalSensitiveInformation", "dataSocialImpact", "dataBiases", "dataLimitations", "dataUseCases",
    "annotationsPerItem", "annotatorDemographics", "machineAnnotationTools",
}  # fmt: skip
UNKNOWN_TO_LIBRARY = {"dataCollectionTimeframe", "dataManipulationProtocol"}


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> tuple[Path, tuple[Record, ...], list[Report]]:
    folder = tmp_path_factory.mktemp("release")
    records = described.records()
    reports = described.reports(records)
    files = described.staged(folder, records, reports)
    (folder / "croissant.json").write_text(
        croissant.text(described.facts(records, reports, files), described.answers()), encoding="utf-8"
    )
    return folder, records, reports


@pytest.fixture(scope="module")
def document(released) -> dict:
    return json.loads((released[0] / "croissant.json").read_text(encoding="utf-8"))


def opened(released) -> "mlc.Dataset":
    """A fresh one each time: filters change the library's own state."""
    return mlc.Dataset(released[0] / "croissant.json")


def test_the_library_finds_nothing_to_complain_about(released):
    issues = opened(released).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())


def test_the_command_of_the_library_validates_it(released):
    command = [Path(sys.executable).with_name("mlcroissant"), "validate", "--jsonld", released[0] / "croissant.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not standard" not in done.stderr


def test_records_are_read_through_it_as_they_were_stored(released):
    stored = {record.record_id: record for record in released[1]}
    texts = {report.record_id: report.text for report in released[2]}
    read = {row["default/record_id"].decode(): row for row in opened(released).records("default")}
    assert read.keys() == stored.keys()
    for name, row in read.items():
        record = stored[name]
        np.testing.assert_array_equal(np.asarray(row["default/image"]), images.decode_rgb(record.image))
        np.testing.assert_array_equal(np.asarray(row["default/mask"]), images.decode_gray(record.mask))
        assert row["default/split"].decode() == record.split
        assert (row["default/target_id"] or b"").decode() == (record.target_id or "")
        assert (row["default/report"] or b"").decode() == texts.get(name, "")
        assert np.allclose(np.array(row["default/landmarks"], float), record.landmarks)
        assert [word.decode() for word in row["default/regions"]] == record.regions


def test_a_split_is_read_without_opening_the_files_of_others(released, tmp_path):
    found = list(opened(released).records("raw_reports", filters={"raw_reports/split": "validation"}))
    of = {record.record_id for record in released[1] if record.split == "validation"}
    assert {row["raw_reports/record_id"].decode() for row in found} == of & {r.record_id for r in released[2]}
    for name in ("croissant.json", "data/train-00000-of-00002.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((released[0] / name).read_bytes())
    alone = mlc.Dataset(tmp_path / "croissant.json").records("default", filters={"default/split": "train"})
    assert len(list(alone)) == 4


def test_each_shard_is_listed_with_its_digest_and_a_relative_path(released, document):
    listed = {one["contentUrl"]: one for one in document["distribution"] if one["@type"] == "cr:FileObject"}
    there = {path.relative_to(released[0]).as_posix() for path in released[0].rglob("*.parquet")}
    assert listed.keys() == there
    for name, one in listed.items():
        assert one["sha256"] == file_sha256(released[0] / name)
        assert one["contentSize"] == f"{(released[0] / name).stat().st_size} B"


def test_each_column_of_each_configuration_is_a_field(document):
    fields = {
        one["@id"]: [field["name"] for field in one["field"]] for one in document["recordSet"] if one["@id"] in CONFIGS
    }
    assert fields.keys() == {"default", "raw_reports"}  # nothing is marked here
    assert sorted(fields["default"]) == sorted(columns(Record))
    assert sorted(fields["raw_reports"]) == sorted([*columns(Report), "split"])


def test_marked_pictures_are_described_where_they_are_there(released):
    from pipelines.release.facts import File

    marked = [File(f"marked/{split}-00000-of-00002.parquet", 9, "0" * 64, 4) for split in ("train", "test")]
    known = described.facts(released[1], files=marked)
    found = {one["@id"]: one for one in croissant.document(known, described.answers())["recordSet"]}
    assert "marked/master_sha256" in {field["@id"] for field in found["marked"]["field"]}
    assert not {"default", "raw_reports"} & found.keys()


def test_masks_splits_and_labels_have_the_types_of_the_specification(document):
    sets = {one["@id"]: one for one in document["recordSet"]}
    fields = {field["@id"]: field for one in sets.values() for field in one["field"]}
    assert fields["default/mask"]["dataType"] == ["cr:SegmentationMask", "sc:ImageObject"]
    assert fields["default/image"]["dataType"] == "sc:ImageObject"
    assert "cr:Label" in fields["default/manipulation"]["dataType"]
    assert fields["default/target_id"]["equivalentProperty"] == "prov:wasDerivedFrom"
    assert sets["splits"]["dataType"] == "cr:Split"
    assert {row["splits/name"]: row["splits/url"] for row in sets["splits"]["data"]} == {
        "train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit",
    }  # fmt: skip
    assert [row["regions/name"] for row in sets["regions"]["data"]] == list(REGIONS)


def test_every_rai_property_is_there_under_the_name_of_the_specification(document):
    import rdflib

    graph = rdflib.Graph().parse(data=json.dumps(document), format="json-ld")
    space = "http://mlcommons.org/croissant/RAI/"
    told = {str(name).removeprefix(space) for name in graph.predicates() if str(name).startswith(space)}
    assert told == RAI


def test_the_library_reads_back_every_rai_property_that_it_knows_by_that_name(released, document):
    back = opened(released).metadata.to_json()
    for name in RAI - UNKNOWN_TO_LIBRARY:
        written, read = document[f"rai:{name}"], back[f"rai:{name}"]
        assert sorted([written] if isinstance(written, str) else written) == sorted(
            [read] if isinstance(read, str) else read
        )


def test_days_of_texts_are_dates_and_no_timeframe_is_made_up(released):
    records = released[1]
    texts = [
        replace(one, submitted=day)
        for one, day in zip(described.reports(records), ("2026-10-02", "2026-11-03") * 3, strict=True)
    ]
    told = croissant.document(described.facts(records, texts), described.answers())
    assert told["rai:dataCollectionTimeframe"] == ["2026-10-02", "2026-11-03"]
    told = croissant.document(described.facts(records), described.answers())
    assert "rai:dataCollectionTimeframe" not in told
    assert told["rai:dataAnnotationPlatform"] == ["None: no person annotated"]


def test_provenance_names_origins_toolkit_and_the_version_before(document):
    assert document["prov:wasDerivedFrom"] == [
        {"@type": "prov:Entity", "prov:label": "drawn people", "license": "CC0-1.0"}
    ]
    made = document["prov:wasGeneratedBy"]
    assert "1.2.0" in made["prov:label"]
    assert made["prov:wasAssociatedWith"]["prov:label"] == "mmtt 0.1.0"
    assert document["prov:wasRevisionOf"]["prov:label"] == "tiny 1.1.0"


@pytest.mark.parametrize(
    ("consent", "licence", "limited"),
    [
        ("manipulation redistribution commercial", "CC-BY-4.0", False),
        ("manipulation redistribution commercial", "CC-BY-NC-4.0", True),
        ("manipulation redistribution", "CC-BY-4.0", True),
        ("nobody", "CC-BY-4.0", False),
    ],
)
def test_commerce_is_ruled_out_where_licence_or_consent_do_not_cover_it(consent, licence, limited):
    told = described.told()
    told["about"]["licence"] = licence
    known = described.facts(described.records(consent))
    usage = croissant.document(known, described.Answers.model_validate(told))["usageInfo"]
    assert usage["odrl:permission"]["odrl:action"]["@id"] == "duo:0000042"
    assert ("duo:0000046" in json.dumps(usage)) == limited
    assert "to identify anybody shown" in json.dumps(usage["odrl:prohibition"])


def test_strangers_words_cannot_break_out_of_the_document(tmp_path):
    nasty = 'a"},{"@id":"x y"\n<script>`_*\\u0000'
    records = [make_record(1, origin=nasty, split="train", consent=described.CONSENT)]
    known = described.facts(records, files=described.staged(tmp_path, records))
    (tmp_path / "croissant.json").write_text(croissant.text(known, described.answers()), encoding="utf-8")
    assert mlc.Dataset(tmp_path / "croissant.json").metadata.name == "Drawn faces"
    told = json.loads((tmp_path / "croissant.json").read_text(encoding="utf-8"))
    assert told["prov:wasDerivedFrom"][0]["prov:label"] == nasty


def test_a_licence_of_ones_own_has_to_say_where_its_text_stands():
    told = described.told()
    told["about"] |= {"licence": "LicenseRef-Ours"}
    known = described.facts(described.records())
    with pytest.raises(UserError, match="licence_url"):
        croissant.document(known, described.Answers.model_validate(told))


def test_texts_for_machines_are_free_of_markdown():
    records = [replace(record, origin="old_photos (a*b)") for record in described.records()]
    told = croissant.document(described.facts(records, described.reports(records)), described.answers())
    said = json.dumps({name: value for name, value in told.items() if name.startswith("rai:")}, ensure_ascii=False)
    assert "old_photos (a*b)" in said
    assert "\\" not in said
    assert "`" not in said


def test_another_process_writes_the_same_text():
    script = "from tests.pipelines.release.described import documents; import sys; sys.stdout.write(documents())"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(root)}  # ours is another
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, env=environment)
    assert done.stdout == described.documents(), done.stderr
