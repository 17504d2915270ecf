"""What a release follows, what its version must be, which records are gone."""

import pandas as pd
import pytest

from mmtt.errors import UserError
from mmtt.record import SCHEMA_VERSION
from mmtt.release import DATA, MARKED, RELEASE, REMOVED, Release, Tombstone, Version, write_removed
from pipelines.release import history
from tests.factories import make_record, store_shards

RECORDS = [make_record(seed, split="train", consent="nobody") for seed in range(3)]


def released(root, version, records, stones=()):
    folder = root / "releases" / version
    store_shards(folder / DATA, records)
    about = Release(
        name="tiny", version=version, date="2026-11-27", previous=None, licence="CC0-1.0",
        schema_version=SCHEMA_VERSION, recipe_sha256="0" * 64, buckets=2, rows={"default": {"train": len(records)}},
    )  # fmt: skip
    (folder / RELEASE).write_text(about.to_json())
    (folder / REMOVED).write_text(write_removed(stones))
    return folder


def frame(*records) -> pd.DataFrame:
    names = ("record_id", "split", "image_sha256", "mask_share", "consent", "licence")
    return pd.DataFrame([{name: getattr(record, name) for name in names} for record in records])


def changed(**changes):
    return [make_record(0, split="train", consent="nobody", **changes), *RECORDS[1:]]


@pytest.mark.parametrize(
    ("now", "least"),
    [
        ([*RECORDS, make_record(9, split="test", consent="nobody")], "minor"),
        (RECORDS[1:], "patch"),
        (changed(licence="CC-BY-4.0"), "patch"),
        ([make_record(0, split="test", consent="nobody"), *RECORDS[1:]], "major"),
    ],
    ids=["added", "removed", "changed", "moved"],
)
def test_what_changed_decides_which_part_of_the_version_grows(tmp_path, now, least):
    before = released(tmp_path, "1.2.3", RECORDS)
    changes = history.compare(frame(*now), {}, before)
    assert changes.least == least
    lowest = {"major": "2.0.0", "minor": "1.3.0", "patch": "1.2.4"}
    history.require_version(Version.parse(lowest[least]), before, changes)
    if least != "patch":
        with pytest.raises(UserError, match=f"asks for version {lowest[least]} or later, not 1.2.4"):
            history.require_version(Version.parse("1.2.4"), before, changes)


def test_a_new_text_is_a_change(tmp_path):
    before = released(tmp_path, "1.0.0", RECORDS)
    assert history.compare(frame(*RECORDS), {RECORDS[0].record_id: ("A word.", "human")}, before).changed


def test_a_card_or_an_address_can_be_put_right_though_no_record_changed(tmp_path):
    before = released(tmp_path, "1.0.0", RECORDS)
    changes = history.compare(frame(*RECORDS), {}, before)
    history.require_version(Version(1, 0, 1), before, changes)
    assert changes.sentences() == ["No record changed; what stands beside them was put right."]


def test_that_marked_pictures_ended_is_told(tmp_path):
    before = released(tmp_path, "1.0.0", RECORDS)
    (before / MARKED).mkdir()
    for marked, told in ((True, "No record changed"), (False, "It has no marked pictures any more")):
        assert history.compare(frame(*RECORDS), {}, before, marked=marked).sentences()[0].startswith(told)


def test_where_records_left_the_releases_before_have_to_be_there_unless_there_were_none(tmp_path):
    gone = {RECORDS[0].record_id}
    with pytest.raises(
        UserError, match=r"1 record of .* left for good, .*download the newest into .*X\.Y\.Z, or give --first"
    ):
        history.require_known(tmp_path, None, gone, first=False)
    history.require_known(tmp_path, None, gone, first=True)
    history.require_known(tmp_path, None, (), first=False)
    before = released(tmp_path, "1.0.0", RECORDS)
    history.require_known(tmp_path, before, gone, first=False)
    with pytest.raises(UserError, match="Leave out --first"):
        history.require_known(tmp_path, before, gone, first=True)


@pytest.mark.parametrize("version", ["1.0.0", "0.9.0"])
def test_no_version_is_made_twice_or_backwards(tmp_path, version):
    released(tmp_path, "1.0.0", RECORDS)
    with pytest.raises(UserError, match=r"Release 1\.0\.0 is there already"):
        history.previous(tmp_path, Version.parse(version))


def test_the_release_before_is_the_newest_by_number_not_by_name(tmp_path):
    for version in ("1.9.0", "1.10.0"):
        released(tmp_path, version, RECORDS)
    (tmp_path / "releases" / ".2.0.0.partial").mkdir()
    found = history.previous(tmp_path, Version(1, 11, 0))
    assert found is not None and found.name == "1.10.0"


def test_tombstones_add_up_and_say_why(tmp_path):
    ids = [record.record_id for record in RECORDS]
    older = Tombstone("f" * 24, "1.0.0", "curation")
    before = released(tmp_path, "1.1.0", RECORDS, [older])
    changes = history.compare(frame(RECORDS[2]), {}, before)
    stones = history.tombstones(before, changes, Version(1, 1, 1), {ids[0]}, {ids[2]})
    assert set(stones) == {
        older, Tombstone(ids[0], "1.1.1", "erasure"), Tombstone(ids[1], "1.1.1", "curation")
    }  # fmt: skip


def test_what_was_erased_cannot_come_back_and_what_was_only_left_out_can(tmp_path):
    name = RECORDS[0].record_id
    for reason in ("erasure", "curation"):
        before = released(tmp_path / reason, "1.0.0", RECORDS[1:], [Tombstone(name, "1.0.0", reason)])
        changes = history.compare(frame(*RECORDS), {}, before)
        if reason == "erasure":
            with pytest.raises(UserError, match=f"Record {name} was erased"):
                history.tombstones(before, changes, Version(1, 1, 0), (), {name})
        else:
            assert history.tombstones(before, changes, Version(1, 1, 0), (), {name}) == []


def test_the_changelog_grows_at_the_top(tmp_path):
    first = history.changelog(None, Version(1, 0, 0), "2026-11-27", ["3 records added."])
    folder = tmp_path / "before"
    folder.mkdir()
    (folder / history.CHANGELOG).write_text(first)
    both = history.changelog(folder, Version(1, 0, 1), "2026-12-01", ["1 record removed."])
    assert both.index("## 1.0.1 (2026-12-01)") < both.index("## 1.0.0 (2026-11-27)")
    assert both.count("# Changelog\n") == 1
