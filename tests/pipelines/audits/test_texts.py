"""Audits of texts: each fires on a planted fault and not on the clean dataset beside it."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mmtt import images
from mmtt.audit import Verdict
from mmtt.faces import face_of
from mmtt.ids import derived_id
from mmtt.manifest import assemble_manifest
from mmtt.regions import fill, outline
from mmtt.reports import region_vector
from pipelines.audits.shares import grouped_share
from tests.factories import make_forged_record, make_record, make_report, store_shards, stored_dataset
from tests.pipelines.audits.sentences import invented
from tests.pipelines.audits.verdicts import outcome

COUNT = 40
# The authors' words for some of the regions, matched anywhere in a text (`to_mutilabel.py` of their release).
THEIRS = {"forehead": "forehead|frontal|brow|brows", "wrinkle": "wrinkles?|lines?|creases?", "eye": "eyes?|vision"}


@cache
def pairs():
    """Return pristine records and a forgery of each whose nose was edited; 64 px."""
    nose = {"regions": ["nose"], "region_shares": [0.8]}
    found = [(make_record(seed), make_forged_record(seed, **nose)) for seed in range(COUNT)]
    return tuple(zip(*found, strict=True))


def dataset(root, report_of, forged=None):
    """Store the records with a report about each, made from its number and the record; None for none."""
    pristine, usual = pairs()
    forged = forged or usual
    reports = [report for number, record in enumerate(forged) if (report := report_of(number, record)) is not None]
    return stored_dataset(root, pristine, forged, reports=reports)


def saying(*texts, **changes):
    return lambda number, record: make_report(record, texts[number % len(texts)], **changes)


def varied(language="en"):
    """Give each record eight sentences of its own."""
    sentences = invented(language)
    return lambda number, record: make_report(
        record, " ".join(sentences[number * 8 : number * 8 + 8]), language=language
    )


def one_sided(number, record):
    """Return a forgery of one eye, and the side on which one sees it; 128 px."""
    side = ("left", "right")[number % 2]
    eyes = sorted(outline(face_of(record), "eye").covers, key=lambda eye: eye[:, 0].mean())
    mask = fill([eyes[number % 2]], (128, 128)).astype(np.uint8) * np.uint8(255)
    return replace(record, mask=images.encode_png(mask), regions=["eye"], region_shares=[0.5]), side


@cache
def eyes():
    return tuple(one_sided(number, make_forged_record(number, 128)) for number in range(24))


def sided(root, name, **changes):
    """Store forgeries of one eye with a report that names a side, as `name` gives it from the true one."""
    pristine = [make_record(number, 128) for number in range(24)]
    reports = [make_report(record, f"The {name(side)} eye looks blurred.", **changes) for record, side in eyes()]
    return stored_dataset(root, pristine, [record for record, _ in eyes()], reports=reports)


def same(side):
    return side


def other(side):
    return {"left": "right", "right": "left"}[side]


def labelled_by_regex(text, words):
    return lambda _, record: make_report(record, text, regions=words, text_regions=words)


CLEAN = {
    "X1": lambda root: dataset(root, saying("The nose looks blurred.", "There is a seam at the nose.")),
    "X2": lambda root: sided(root, same),
    "X6": lambda root: dataset(root, varied()),
    "X7": lambda root: dataset(root, saying("The nose looks blurred.")),
    "X8": lambda root: dataset(root, saying("The nose looks blurred.")),
}
PASTED = "The {} looks odd, as if it had been cut out and pasted back in."
UNSIGNED = {
    "derived_text": "鼻子模糊。", "derived_kind": "translation", "derived_language": "zh", "derived_origin": "model",
}  # fmt: skip
FAULTS = [
    ("X1", lambda root: dataset(root, saying("The chin and the left cheek look blurred.", "The nose has a seam."))),
    ("X2", lambda root: sided(root, other)),
    ("X6", lambda root: dataset(root, saying(" ".join(invented()[:2])))),
    ("X6", lambda root: dataset(root, saying(*map(PASTED.format, ("nose", "left eye", "mouth", "chin"))))),
    ("X7", lambda root: dataset(root, saying("The nose looks blurred.", text_origin="unknown"))),
    ("X7", lambda root: dataset(root, saying("The nose looks blurred.", text_origin=""))),
    ("X7", lambda root: dataset(root, saying("The nose looks blurred.", **UNSIGNED))),
    ("X8", lambda root: dataset(root, labelled_by_regex("The left brow is bent.", ["forehead"]))),
    ("X8", lambda root: dataset(root, labelled_by_regex("A hard line runs below the nose.", ["nose", "wrinkle"]))),
    ("X8", lambda root: dataset(root, labelled_by_regex("To my vision the nose is too sharp.", ["nose", "eye"]))),
]


@pytest.mark.parametrize("audit", CLEAN)
def test_an_audit_of_texts_passes_where_nothing_is_wrong(tmp_path, audit):
    found = outcome(CLEAN[audit](tmp_path), audit)
    assert found.verdict is Verdict.PASSES, found.finding


@pytest.mark.parametrize(("audit", "fault"), FAULTS, ids=[f"{a}-{n}" for n, (a, _) in enumerate(FAULTS)])
def test_an_audit_of_texts_fails_on_a_planted_fault_and_shows_it(tmp_path, audit, fault):
    found = outcome(fault(tmp_path), audit)
    assert found.verdict is Verdict.FAILS, found.finding or found.reason
    assert found.finding.worst


def test_of_many_texts_that_name_a_side_as_many_are_looked_at_as_the_sample_says(tmp_path):
    reports = [make_report(record, f"The {side} eye looks blurred.") for record, side in eyes()]
    forged = [record for record, _ in eyes()]
    pristine = [make_record(number, 128) for number in range(len(forged))]
    found = outcome(stored_dataset(tmp_path, pristine, forged, reports=reports, audit={"sample": 20}), "X2")
    assert (found.verdict, found.finding.n) == (Verdict.PASSES, 20)


def test_the_authors_words_give_the_labels_that_are_planted_here():
    for text, words in (("The left brow is bent.", ["forehead"]), ("A hard line runs below it.", ["wrinkle"])):
        assert [word for word, said in THEIRS.items() if re.search(rf"\b({said})\b", text, re.IGNORECASE)] == words


def test_a_small_mask_within_a_large_region_bears_a_text_out(tmp_path):
    _, forged = pairs()
    tiny = [replace(r, regions=["skin", "cheek"], region_shares=[0.006, 0.02], mask_share=0.001) for r in forged]
    layout = dataset(tmp_path / "cheek", saying("The left cheek is smeared."), tiny)
    assert outcome(layout, "X1").finding.statistic == 0
    wide = [replace(record, mask_share=0.2) for record in tiny]
    assert outcome(dataset(tmp_path / "wide", saying("The left cheek is smeared."), wide), "X1").finding.statistic == 1


def test_texts_about_other_records_are_told_from_texts_about_their_own(tmp_path):
    _, forged = pairs()
    parts = ("nose", "chin", "mouth", "eyebrow")
    mixed = [replace(r, regions=[parts[n % 4]], region_shares=[0.9]) for n, r in enumerate(forged)]
    own = dataset(tmp_path / "own", saying(*(f"The {part} is smeared." for part in parts)), mixed)
    found = outcome(own, "X1").finding
    assert found.statistic == 0 and found.details["unsupported if texts were exchanged within families"] > 0.4
    turned = dataset(tmp_path / "turned", saying(*(f"The {parts[n - 1]} is smeared." for n in range(4))), mixed)
    assert outcome(turned, "X1").verdict is Verdict.FAILS


def test_without_landmarks_nothing_can_be_grounded_but_labels_are_still_compared(tmp_path):
    _, forged = pairs()
    bare = [replace(r, landmarks=[], landmark_scheme="none", regions=[], region_shares=[]) for r in forged]
    layout = dataset(tmp_path, labelled_by_regex("The left brow is bent.", ["forehead"]), bare)
    assert outcome(layout, "X1").verdict is Verdict.ABSENT and "no" in outcome(layout, "X1").reason.lower()
    assert outcome(layout, "X2").verdict is Verdict.ABSENT
    assert outcome(layout, "X8").verdict is Verdict.FAILS


@pytest.mark.parametrize("audit", CLEAN)
def test_without_reports_an_audit_of_texts_says_so(tmp_path, audit):
    found = outcome(dataset(tmp_path, lambda *_: None), audit)
    assert found.verdict is Verdict.ABSENT and found.reason == "Nobody wrote a report about any record."


def test_a_release_carries_its_texts_in_its_rows(tmp_path):
    _, forged = pairs()
    told = {"report": "The chin is smeared.", "report_language": "en", "text_origin": "unknown", "protocol": "paper"}
    rows = [
        replace(r, split=("train", "test")[n % 2], report_regions=region_vector(["chin"]), report_count=1, **told)
        for n, r in enumerate(forged)
    ]
    store_shards(tmp_path / "release", rows)
    assemble_manifest(tmp_path / "release", "release", ["bucket-0000"], ())
    release = type("Release", (), {"root": tmp_path / "release"})
    assert outcome(release, "X1").verdict is Verdict.FAILS
    assert outcome(release, "X7").finding.details["texts by origin"] == {"unknown": COUNT}
    assert outcome(release, "X8").verdict is Verdict.PASSES


def test_texts_of_an_unknown_protocol_may_mean_the_persons_own_sides(tmp_path):
    found = outcome(sided(tmp_path / "theirs", other, protocol="unknown"), "X2")
    assert found.verdict is Verdict.PASSES
    mixed = sided(tmp_path / "mixed", lambda _: "left", protocol="unknown")
    assert outcome(mixed, "X2").verdict is Verdict.FAILS


def test_imported_texts_may_mean_the_persons_own_sides_whatever_their_writers_saw(tmp_path):
    forged = [replace(record, mask_rule="imported") for record, _ in eyes()]
    told = [make_report(r, f"The {other(side)} eye looks blurred.", protocol="paper") for r, side in eyes()]
    layout = stored_dataset(tmp_path, [make_record(number, 128) for number in range(24)], forged, reports=told)
    assert outcome(layout, "X2").verdict is Verdict.PASSES


def test_a_text_that_calls_one_part_wrong_and_fine_contradicts_itself(tmp_path):
    pristine = [make_record(number, 128) for number in range(24)]
    reports = [make_report(record, f"The {side} eye looks blurred. The {side} eye is fine.") for record, side in eyes()]
    layout = stored_dataset(tmp_path, pristine, [record for record, _ in eyes()], reports=reports)
    found = outcome(layout, "X2")
    assert found.verdict is Verdict.FAILS
    assert found.finding.details["texts that name the other side"] == 0
    assert found.finding.worst[0].why.endswith("both that it is wrong and that it is fine")


def test_chinese_texts_by_people_pass_and_one_copying_annotator_among_them_is_named(tmp_path):
    honest = varied("zh")
    assert outcome(dataset(tmp_path / "zh", honest), "X6").verdict is Verdict.PASSES

    def one_copies(number, record):
        if number % 3:
            return honest(number, record)
        return make_report(
            record, "鼻子的边缘有一圈发白的光晕，与周围的皮肤完全不一样。", language="zh", annotator="copier"
        )

    found = outcome(dataset(tmp_path / "copies", one_copies), "X6")
    assert found.verdict is Verdict.FAILS and "'copier'" in found.finding.sentence
    assert found.finding.details["copied texts by annotator, worst first"] == {"copier": pytest.approx(13 / 14)}


def test_people_who_begin_and_end_each_report_alike_repeat_no_reports(tmp_path):
    sentences = invented()
    first = ("There are clear signs of manipulation in this picture.", "The face looks fake at first sight, because")
    last = ("This does not fit the rest of the face.", "It looks very unnatural.", "The border is clearly visible.")

    def phrased(number, record):
        return make_report(record, f"{first[number % 2]} {sentences[number]} {last[number % 3]}")

    found = outcome(dataset(tmp_path, phrased), "X6")
    assert found.verdict is Verdict.PASSES, found.finding
    assert found.finding.details["repeated runs of four words by annotator"]["a1"] > 0.25


def test_of_annotators_the_one_decides_of_whom_most_is_known(tmp_path):
    sentences = invented()

    def two(number, record):
        if number < 12:  # a few texts, which repeat much, among them one that is copied
            return make_report(record, " ".join(sentences[number % 7 * 3 :][:3]), annotator="few")
        return make_report(record, PASTED.format(("nose", "chin")[number % 2]) * 2, annotator="many")

    found = outcome(dataset(tmp_path, two), "X6").finding
    assert "'many'" in found.sentence and found.low < found.statistic < found.high
    assert list(found.details["texts that say little new by annotator, worst first"]) == ["many", "few"]


def test_texts_that_name_no_writer_are_taken_together_and_those_of_a_template_are_called_so(tmp_path):
    text = saying(*map(PASTED.format, ("nose", "left eye")), annotator="unknown", text_origin="template")
    told = outcome(dataset(tmp_path, text), "X6").finding.sentence
    assert "they name no writer, and are taken together" in told and told.endswith("A template wrote all of them.")


def test_a_translation_that_loses_a_number_or_a_part_is_counted(tmp_path):
    signed = {"derived_kind": "translation", "derived_language": "en", "derived_origin": "human_translated"}
    signed |= {"derived_model_sha256": "0" * 64, "derived_prompt_sha256": "1" * 64}

    def translated(number, record):
        text = "The nose has 3 dots." if number % 2 else "The chin looks smeared."
        return make_report(record, "鼻子上有3个斑点，很假。", language="zh", derived_text=text, **signed)

    found = outcome(dataset(tmp_path, translated), "X7")
    assert found.verdict is Verdict.PASSES
    assert found.finding.details["share of translations in which numbers differ"] == 0.5
    assert found.finding.details["share of translations that lose a region"] == 0.5


def test_cases_of_one_group_count_as_no_more_than_they_tell():
    alone = grouped_share([1] * 20 + [0] * 80, [1] * 100, [derived_id(n) for n in range(100)])
    tied = grouped_share([1] * 20 + [0] * 80, [1] * 100, [str(n // 20) for n in range(100)])
    assert alone.value == tied.value == 0.2
    assert (alone.low, alone.high) == (pytest.approx(0.133, abs=0.002), pytest.approx(0.289, abs=0.002))  # Wilson's
    assert tied.high - tied.low > 2 * (alone.high - alone.low)
