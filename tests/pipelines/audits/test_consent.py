"""R2: consents that do not cover what is done with a face, and people who are back."""

from dataclasses import replace
from datetime import date

import pytest

from mmtt.audit import Verdict
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.record import SCHEMA_VERSION, Lineage
from mmtt.release import DATA, RELEASE, REMOVED, Release, Tombstone, write_removed
from pipelines import denied
from tests.factories import TODAY, make_forged_record, make_record, store_shards, stored_dataset
from tests.pipelines.audits.verdicts import outcome

SEEDS = range(4)
FORGE, BOTH = "manipulation", "manipulation redistribution"


def records(consent=BOTH):
    """Four people and a forgery of each; the first has the second's face."""
    originals = [make_record(seed, consent=consent) for seed in SEEDS]
    forged = [make_forged_record(seed, consent=consent) for seed in SEEDS]
    return originals, [given(forged[0], originals[1]), *forged[1:]]


def given(forged, donor):
    return replace(
        forged, source_id=donor.record_id, source_origin=donor.origin, source_origin_id=donor.origin_id,
        source_licence=donor.licence, source_consent=donor.consent, source_group_id=donor.group_id,
    )  # fmt: skip


def with_consent(number, consent):
    """The records, of whom one person said something else, wherever that is written."""
    originals, forged = records()
    originals[number] = replace(originals[number], consent=consent)
    forged[number] = replace(forged[number], consent=consent)
    return originals, [given(forged[0], originals[1]), *forged[1:]]


def lineage(records, **ends):
    """Private rows; `ends` by place, as `p1`."""
    return [
        Lineage(
            item_digest="", record_id=record.record_id, path=f"{place}.png", photo_sha256=f"{place:064x}",
            photo_phash=f"{place:016x}", face_index=0, bbox_xyxy=[0.0, 0.0, 9.0, 9.0], subject=f"person {place}",
            group_id=record.group_id, consent_expiry=ends.get(f"p{place}"), consent_evidence_sha256=None,
            withdrawal=None, embedding=None,
        )
        for place, record in enumerate(records)
    ]  # fmt: skip


def released(root, originals, forged, removed=()):
    """The same rows as a release: the shards in `data/`, nothing private."""
    store_shards(root / DATA, [replace(record, split="train") for record in (*originals, *forged)])
    about = Release(
        name="tiny", version="1.0.1", date="2026-11-27", previous="1.0.0", licence="CC0-1.0",
        schema_version=SCHEMA_VERSION, recipe_sha256="0" * 64, buckets=1, rows={"default": {"train": 8}},
    )  # fmt: skip
    (root / RELEASE).write_text(about.to_json())
    (root / REMOVED).write_text(write_removed(Tombstone(name, "1.0.1", "erasure") for name in removed))
    return Layout(root)


def worst(found):
    return {example.record_id: example.why for example in found.finding.worst}


@pytest.mark.parametrize("consent", [FORGE, BOTH, "nobody", "none"])
def test_a_dataset_whose_people_agreed_or_were_not_asked_passes(consent, tmp_path):
    originals, forged = records(consent)
    found = outcome(stored_dataset(tmp_path, originals, forged, lineage=lineage(originals)), "R2", TODAY)
    assert found.verdict is Verdict.PASSES
    assert (found.finding.n, found.finding.low) == (8, None)
    assert found.finding.details["rows by consent"] == {consent: 8}
    assert ("Of 8 rows nobody asked the people shown." in found.finding.sentence) == (consent == "none")


def test_a_target_who_did_not_agree_to_be_forged_fails(tmp_path):
    originals, forged = with_consent(2, "redistribution")
    found = outcome(stored_dataset(tmp_path, originals, forged), "R2")
    assert found.verdict is Verdict.FAILS
    assert list(worst(found)) == [forged[2].record_id]
    assert "no_consent" in worst(found)[forged[2].record_id]
    assert "does not cover manipulation" in worst(found)[forged[2].record_id]


def test_a_donor_who_did_not_agree_to_be_forged_fails(tmp_path):
    originals, forged = with_consent(1, "redistribution")
    found = outcome(stored_dataset(tmp_path, originals, forged), "R2")
    assert set(worst(found)) == {forged[0].record_id, forged[1].record_id}
    assert worst(found)[forged[0].record_id].startswith("the donor: no_consent")


def test_people_whom_nobody_asked_fail_where_the_recipe_refuses_them(tmp_path):
    originals, forged = with_consent(3, "none")
    assert outcome(stored_dataset(tmp_path, originals, forged), "R2").verdict is Verdict.PASSES
    found = outcome(stored_dataset(tmp_path, originals, forged, consent={"unasked": "refuse"}), "R2")
    assert list(worst(found)) == [forged[3].record_id]
    assert "not_asked" in worst(found)[forged[3].record_id]


@pytest.mark.parametrize(("day", "fails"), [(TODAY, False), (date(2026, 11, 28), True)])
def test_a_consent_that_is_over_fails_from_the_day_after_its_last(day, fails, tmp_path):
    originals, forged = records()
    rows = lineage(originals, p1=TODAY.isoformat())
    found = outcome(stored_dataset(tmp_path, originals, forged, lineage=rows), "R2", day)
    assert set(worst(found)) == ({forged[0].record_id, forged[1].record_id} if fails else set())
    assert ("The consent behind 1 pristine row is over" in found.finding.sentence) == fails


def test_what_cannot_be_told_of_last_days_is_said(tmp_path):
    originals, forged = records()
    rows = lineage(originals, p1="2000-01-01")
    undated = outcome(stored_dataset(tmp_path / "a", originals, forged, lineage=rows), "R2")
    assert (undated.verdict, "Whether consents are over was not asked." in undated.finding.sentence) == ("passes", True)
    blind = outcome(stored_dataset(tmp_path / "b", originals, forged), "R2", TODAY)
    assert "Until when consents hold is not known here." in blind.finding.sentence


@pytest.mark.parametrize("column", ["consent", "source_consent"])
def test_a_forgery_that_claims_another_consent_than_its_target_or_donor_fails(column, tmp_path):
    originals, forged = records()
    forged[0] = replace(forged[0], **{column: "manipulation redistribution commercial"})
    found = outcome(stored_dataset(tmp_path, originals, forged), "R2")
    assert list(worst(found)) == [forged[0].record_id]
    assert f"its {column} is not that of its" in worst(found)[forged[0].record_id]


BACK = {
    "a record": lambda row: (denied.RECORD, row.record_id),
    "a photo": lambda row: (denied.PHOTO, row.photo_sha256),
    "a person": lambda row: (denied.SUBJECT, row.subject),
    "another copy of a photo": lambda row: (denied.PHASH, f"{int(row.photo_phash, 16) ^ 0b1001:016x}"),
}


@pytest.mark.parametrize("what", BACK)
def test_what_was_taken_out_and_is_here_again_fails_with_all_that_was_made_of_it(what, tmp_path):
    originals, forged = records()
    rows = [replace(row, photo_phash=f"{place * 0x1111:016x}") for place, row in enumerate(lineage(originals))]
    layout = stored_dataset(tmp_path, originals, forged, lineage=rows)
    (tmp_path / "private" / "salt").write_text("tests")
    denied.add(tmp_path, TODAY, [BACK[what](rows[1]), (denied.RECORD, derived_id("long gone"))])
    found = outcome(layout, "R2", TODAY)
    assert found.verdict is Verdict.FAILS
    assert set(worst(found)) == {originals[1].record_id, forged[0].record_id, forged[1].record_id}
    assert all("is here again" in why for why in worst(found).values())


# --- of a release ---


def test_a_release_needs_redistribution_of_everybody_in_it(tmp_path):
    assert outcome(released(tmp_path / "a", *records()), "R2").verdict is Verdict.PASSES
    originals, forged = with_consent(1, FORGE)
    found = outcome(released(tmp_path / "b", originals, forged), "R2")
    assert set(worst(found)) == {originals[1].record_id, forged[0].record_id, forged[1].record_id}
    assert "does not cover redistribution" in worst(found)[originals[1].record_id]


def test_a_release_that_holds_people_who_were_not_asked_says_so(tmp_path):
    found = outcome(released(tmp_path, *with_consent(3, "none")), "R2")
    assert found.verdict is Verdict.PASSES
    assert "Of 2 rows nobody asked the people shown." in found.finding.sentence


def test_a_release_that_holds_what_it_says_it_removed_fails(tmp_path):
    originals, forged = records()
    gone = originals[1].record_id
    found = outcome(released(tmp_path, originals, forged, [gone, derived_id("another")]), "R2")
    assert found.verdict is Verdict.FAILS
    assert set(worst(found)) == {gone, forged[0].record_id, forged[1].record_id}
    assert "is here again" in worst(found)[gone]
