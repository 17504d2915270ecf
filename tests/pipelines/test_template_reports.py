"""Template texts: they say what the mask shows, on the side where it shows, and never pass for a person's."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmtt.errors import UserError
from mmtt.faces import face_of
from mmtt.grounding import ground
from mmtt.images import encode_png
from mmtt.layout import Layout
from mmtt.lexicon import claimed, sides
from mmtt.manipulator import FAMILIES
from mmtt.regions import REGIONS, region_mask
from mmtt.reports import Report
from mmtt.samples import read_samples
from mmtt.schema import to_table
from mmtt.shards import read_table, write_table
from pipelines.template_reports import WORDS, compose, report_of, told, write_template_reports
from pipelines.template_words import AGE, COLOUR, OF_FAMILY, OF_MANIPULATOR, SHAPE, SWAP, Wording
from tests.factories import build, make_forged_record, tiny_dataset

MENU = ("face_swap", "self_blend", "attribute_warp", "ageing", "classical_inpaint", "recolour", "retouch")
WORDINGS = {family: OF_FAMILY[family] for family in FAMILIES} | dict(OF_MANIPULATOR)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Layout:
    layout = tiny_dataset(tmp_path_factory.mktemp("templates"), 6, MENU)
    build(layout)
    write_template_reports(layout)
    return layout


def reports_of(layout: Layout) -> list[Report]:
    return read_table(layout.root / "reports" / "reports.parquet", Report)


def test_every_sample_has_one_reference_that_says_what_was_meant_and_nothing_else(dataset):
    reports = {report.record_id: report for report in reports_of(dataset)}
    samples = read_samples(dataset.root, inexact=True)
    assert {sample.record_id for sample in samples} == set(reports)
    for sample in samples:
        report = reports[sample.record_id]
        assert [reference.text for reference in sample.references] == [report.text]
        assert sample.references[0].text_origin == "template"
        assert sample.references[0].regions == claimed(report.text, "en") == tuple(report.text_regions)
        assert WORDS[0] <= len(report.text.split()) <= WORDS[1], report.text


def test_no_text_claims_what_was_not_edited(dataset):
    named = {report.record_id: report for report in reports_of(dataset) if report.regions}
    assert len(named) > 30
    for sample in read_samples(dataset.root, inexact=True):
        if sample.record_id in named:
            grounding = ground(named[sample.record_id].text_regions, sample.regions, sayable=sample.sayable)
            assert grounding.precision == 1


def test_nothing_in_a_row_passes_for_a_person(dataset):
    for report in reports_of(dataset):
        assert (report.text_origin, report.annotator, report.protocol) == ("template", "template", "informed")
        assert (report.rank, report.settled, report.dwell_s, report.difficulty) == (0, "single", None, None)


def test_the_same_records_give_the_same_bytes_and_many_texts(dataset):
    path = dataset.root / "reports" / "reports.parquet"
    before = path.read_bytes()
    write_template_reports(dataset)
    assert path.read_bytes() == before
    assert len({report.text for report in reports_of(dataset)}) > 0.9 * len(reports_of(dataset))


def test_a_persons_report_is_never_written_over(tmp_path):
    layout = tiny_dataset(tmp_path / "dataset", 2, first_seed=1)
    build(layout)
    write_template_reports(layout)
    path = layout.root / "reports" / "reports.parquet"
    first, *others = reports_of(layout)
    write_table(path, [replace(first, text_origin="human"), *others], Report)
    before = path.read_bytes()
    with pytest.raises(UserError, match="people or models wrote"):
        write_template_reports(layout)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", WORDINGS)
def test_every_sentence_claims_its_part_and_its_side_whatever_the_part(kind):
    wording = WORDINGS[kind]
    for narrow in narrowed(wording):
        for number, word in enumerate(REGIONS):
            for side in (None, "left", "right"):
                text = compose(narrow, [(word, side)], f"{number:x}")
                assert claimed(text, "en") == (word,), text
                assert side is None or sides(text, "en") == {word: side}, text


def narrowed(wording: Wording) -> list[Wording]:
    """Return wordings of one sentence of each sort, which together use every sentence."""
    most = max(len(sentences) for sentences in wording)
    return [Wording(*((sentences[place % len(sentences)],) for sentences in wording)) for place in range(most)]


def test_texts_about_several_parts_claim_them_all_and_keep_within_the_limits():
    rng = np.random.default_rng(0)
    sentences = set()
    for number in range(400):
        wording = list(WORDINGS.values())[number % len(WORDINGS)]
        words = sorted(rng.choice(REGIONS, 1 + number % 4, replace=False), key=REGIONS.index)
        text = compose(wording, [(str(word), None) for word in words], f"{number:x}")
        assert claimed(text, "en") == tuple(words), text
        assert WORDS[0] <= len(text.split()) <= WORDS[1], text
        sentences |= {sentence.strip() for sentence in text.split(".")}
    assert len(sentences) > 300


def test_of_parts_within_one_another_one_is_named():
    everything = {"eye": 1.0, "pupil": 1.0, "lip": 0.9, "mouth": 0.8, "skin": 0.5}
    assert told(everything, SWAP) == ("eye", "mouth")
    assert told(everything, COLOUR) == ("eye", "lip")
    assert told({"skin": 0.2, "cheek": 0.1}, AGE) == ("skin",)
    assert told({"nose": 0.04}, SHAPE) == ()


def row_with_mask(mask: np.ndarray, **shares: float) -> dict:
    picture = encode_png(np.where(mask, 255, 0).astype(np.uint8))
    record = make_forged_record(3, 256, mask=picture, regions=list(shares), region_shares=list(shares.values()))
    return to_table([record], type(record)).to_pylist()[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_left_and_right_are_those_of_whoever_looks_at_the_picture(side):
    face = face_of(make_forged_record(3, 256))
    eyes = region_mask(face, "eye", (256, 256))
    middle = int(face.points_68[27:31, 0].mean())
    eyes[:, middle:] &= side == "right"
    eyes[:, :middle] &= side == "left"
    assert sides(report_of(row_with_mask(eyes, eye=0.5)).text, "en") == {"eye": side}


def test_a_mask_on_both_sides_names_neither():
    face = face_of(make_forged_record(3, 256))
    eyes = cv2.dilate(region_mask(face, "eye", (256, 256)).view(np.uint8), np.ones((3, 3))) > 0
    assert sides(report_of(row_with_mask(eyes, eye=1.0)).text, "en") == {"eye": "both"}


def test_a_mask_that_meets_no_part_is_no_trace():
    report = report_of(row_with_mask(np.zeros((256, 256), bool)))
    assert (report.verdict, report.regions, report.text_regions) == ("none_visible", [], [])
