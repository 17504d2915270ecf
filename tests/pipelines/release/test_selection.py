"""Which records may be released: what people agreed to, until when, and grounds that are stated."""

from dataclasses import replace
from datetime import date

import pytest

from mmtt.errors import UserError
from mmtt.recipe import Recipe
from mmtt.record import Lineage
from pipelines.release.selection import select
from tests.factories import make_forged_record, make_record, stored_dataset

ON = date(2026, 11, 27)
BOTH = "manipulation redistribution"


def lineage(record, expiry=None) -> Lineage:
    return Lineage(
        item_digest="0" * 64, record_id=record.record_id, path=f"{record.origin_id}.png", photo_sha256="0" * 64,
        photo_phash="0" * 16, face_index=0, bbox_xyxy=[0.0, 0.0, 1.0, 1.0], subject=None, group_id=record.group_id,
        consent_expiry=expiry, consent_evidence_sha256=None, withdrawal=None,
    )  # fmt: skip


def selected(tmp_path, consents, *, donor=None, expiry=None, unasked=()):
    """Select from as many people as there are consents, each with one forgery."""
    pristine = [make_record(seed, consent=words) for seed, words in enumerate(consents)]
    forged = [make_forged_record(seed, consent=words) for seed, words in enumerate(consents)]
    if donor is not None:
        named = {"source_id": pristine[donor].record_id, "source_consent": pristine[donor].consent}
        named |= {"source_origin": "drawn people", "source_licence": "CC0-1.0"}
        forged[0] = replace(forged[0], **named)
    rows = [lineage(record, expiry if number == 1 else None) for number, record in enumerate(pristine)]
    layout = stored_dataset(tmp_path / "dataset", pristine, forged, lineage=rows)
    found = select(layout, Recipe.load(layout.recipe), unasked, ON)
    return pristine, forged, found


def test_records_of_people_who_agreed_are_released_and_others_told_by_reason(tmp_path):
    pristine, forged, found = selected(tmp_path, [BOTH, "redistribution", "none", "nobody"])
    kept = (pristine[0], forged[0], pristine[1], pristine[3], forged[3])
    assert set(found.rows["record_id"]) == {record.record_id for record in kept}
    assert found.reasons == {"no_consent": 1, "not_asked": 2}
    assert found.left_out[forged[1].record_id] == "no_consent"


def test_a_donor_has_to_agree_as_well(tmp_path):
    _, forged, found = selected(tmp_path, [BOTH, "manipulation"], donor=1)
    assert found.left_out[forged[0].record_id] == "no_consent"


@pytest.mark.parametrize(("expiry", "left"), [("2026-11-26", 2), ("2026-11-27", 0)])
def test_a_consent_holds_to_its_last_day(tmp_path, expiry, left):
    _, _, found = selected(tmp_path, [BOTH, BOTH], expiry=expiry)
    assert found.reasons == ({"consent_expired": left} if left else {})


def test_a_donor_s_consent_ends_too(tmp_path):
    _, forged, found = selected(tmp_path, [BOTH, BOTH], donor=1, expiry="2020-01-01")
    assert found.left_out[forged[0].record_id] == "consent_expired"


def test_a_stated_ground_stands_in_for_nobody_being_asked_but_for_no_refusal(tmp_path):
    _, forged, found = selected(tmp_path, ["none", "redistribution"], unasked={"drawn people"})
    assert found.left_out == {forged[1].record_id: "no_consent"}


def test_where_nothing_may_be_released_the_reasons_are_told(tmp_path):
    with pytest.raises(UserError, match=r"may be released: 2 not_asked\..*`consent`"):
        selected(tmp_path, ["none"])
