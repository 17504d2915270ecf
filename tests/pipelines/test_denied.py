"""The deny-list: what it stores, whom it refuses, and what happens where it cannot be read."""

from datetime import date

import pytest

from mmtt.errors import Rejected, UserError
from mmtt.record import PlanRow
from pipelines import denied, erase
from tests.pipelines.importers.strangers import bring, made, pictures, put, records, table

ON = date(2026, 11, 27)
SHA256, PHASH = "ab" * 32, "f0f0f0f0f0f0f0f0"


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "salt").write_text("a secret")
    found = [
        (denied.PHOTO, SHA256), (denied.SUBJECT, "Grace"), (denied.PHASH, PHASH), (denied.RECORD, "0" * 24),
        (denied.KEPT, "cd" * 32),
    ]  # fmt: skip
    denied.add(tmp_path, ON, found)
    return tmp_path


def test_without_a_list_nobody_is_refused(tmp_path):
    barred = denied.load(tmp_path)
    barred.require_photo(SHA256, "Grace")
    barred.require_new(SHA256, PHASH)
    assert denied.records(tmp_path) == frozenset()


def test_a_photo_and_a_person_are_refused(listed):
    barred = denied.load(listed)
    with pytest.raises(Rejected, match="denied: this photo"):
        barred.require_photo(SHA256, "")
    with pytest.raises(Rejected, match="denied: the person"):
        barred.require_photo("12" * 32, "Grace")
    barred.require_photo("12" * 32, "Hopper")


@pytest.mark.parametrize(("phash", "refused"), [(PHASH, True), ("f0f0f0f0f0f0f0f7", True), ("f0f0f0f0f0f0f0ff", False)])
def test_what_looks_alike_is_refused_up_to_three_bits(listed, phash, refused):
    barred = denied.load(listed)
    barred.require_new("cd" * 32, phash)  # that one was kept
    if refused:
        with pytest.raises(Rejected, match="looks like"):
            barred.require_new("12" * 32, phash)
    else:
        barred.require_new("12" * 32, phash)


def test_it_names_neither_photo_nor_person(listed):
    text = denied.path_of(listed).read_text()
    assert SHA256 not in text and "Grace" not in text
    assert f"phash,{PHASH},2026-11-27\n" in text and f"record,{'0' * 24},2026-11-27\n" in text


def test_under_another_salt_the_hashes_are_others(listed):
    assert denied.hashed("a secret", "photo", SHA256) != denied.hashed("another", "photo", SHA256)
    (listed / "private" / "salt").write_text("another")
    denied.load(listed).require_photo(SHA256, "Grace")


def test_adding_again_changes_nothing_and_keeps_the_day(listed):
    before = denied.path_of(listed).read_bytes()
    denied.add(listed, date(2027, 1, 1), [(denied.PHOTO, SHA256)])
    assert denied.path_of(listed).read_bytes() == before


def test_a_forgery_is_sifted_out_of_the_plan_unnamed(listed):
    row = PlanRow(
        record_id="0" * 24, entry="recolour", entry_digest="", index=0, target_id="1" * 24, source_id=None, bucket=0,
        split="train", manipulation="recolour", manipulator="recolour", manipulator_version="1", parameters="{}",
        seed="0", regions=[], obligations=[],
    )  # fmt: skip
    rows, (refused,) = denied.sift(listed, [row], [])
    assert rows == []
    assert (refused.code, refused.record_id, refused.manipulator) == ("denied", None, "recolour")


@pytest.mark.parametrize("text", ["kind,value,date\nperson,00,2026-11-27\n", "kind,value\nphoto,xyz\n", "\xff"])
def test_a_list_that_cannot_be_read_stops_everything(listed, text):
    denied.path_of(listed).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"cannot be read as a deny-list .* Restore it"):
        denied.load(listed)


def test_a_list_whose_salt_is_gone_stops_everything(listed):
    (listed / "private" / "salt").unlink()
    with pytest.raises(UserError, match=r"which is gone\. Restore it"):
        denied.load(listed)


def test_what_was_taken_out_of_an_import_does_not_come_back_with_it(tmp_path):
    source = tmp_path / "in"
    pictures(source, range(3))
    put(source, "Tp/real.png", made(8).pristine)
    table(
        source, [*([f"./Tp/p{n}.png", f"./Gt/p{n}.png"] for n in range(3)), ["./Tp/real.png", "Negative"]], "train.json"
    )
    layout, _ = bring(source / "train.json", tmp_path / "out")
    old = records(layout)
    for name, pristine in (("Tp/p1.png", 0), ("Tp/real.png", 1)):
        removal = erase.close(layout.root, old[name].record_id)
        assert (removal.records, len(removal.pristine)) == ((old[name].record_id,), pristine)
        erase.deny(layout.root, removal, ON)
        erase.apply(layout.root, removal)
        assert list(erase.traces(layout.root, removal)) == []
    left = {name: record for name, record in old.items() if name not in ("Tp/p1.png", "Tp/real.png")}
    assert records(layout) == left
    layout, _ = bring(source / "train.json", tmp_path / "out")
    assert records(layout) == left
    assert list(erase.traces(layout.root, removal)) == []
