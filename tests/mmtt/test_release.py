"""What a release says of itself, and how that is read when a stranger wrote it."""

import json
import subprocess

import pytest

from mmtt.errors import UserError
from mmtt.release import (
    CHECKSUMS,
    RELEASE,
    Release,
    Tombstone,
    Version,
    checksums,
    is_release,
    read_checksums,
    read_removed,
    records_folder,
    write_checksums,
    write_removed,
)

ABOUT = Release(
    name="faces", version="1.2.0", date="2026-11-27", previous="1.1.0", licence="CC-BY-4.0", schema_version=4,
    recipe_sha256="0" * 64, buckets=4, rows={"default": {"train": 2}}, left_out={"not_asked": 1},
)  # fmt: skip


def test_a_release_comes_back_as_it_was_written(tmp_path):
    (tmp_path / RELEASE).write_text(ABOUT.to_json())
    assert Release.load(tmp_path) == ABOUT
    assert is_release(tmp_path) and records_folder(tmp_path) == tmp_path / "data"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"name": "x"}', ABOUT.to_json().replace("1.2.0", "one"), ABOUT.to_json().replace("-27", "-99"),
        json.dumps({**json.loads(ABOUT.to_json()), "rows": ["\x1b[2J"]}),
        json.dumps({**json.loads(ABOUT.to_json()), "rows": {"default": {"train": "\x1b[2J"}}}),
    ],
)  # fmt: skip
def test_what_is_no_release_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / RELEASE).write_text(text)
    with pytest.raises(UserError, match=r"release\.json cannot be read") as caught:
        Release.load(tmp_path)
    assert str(caught.value).isprintable()


def test_what_a_later_version_says_besides_is_passed_over(tmp_path):
    (tmp_path / RELEASE).write_text(json.dumps({**json.loads(ABOUT.to_json()), "doi": "10.1/x"}))
    assert Release.load(tmp_path) == ABOUT


def test_an_older_one_names_no_repository(tmp_path):
    told = json.loads(ABOUT.to_json())
    assert told.pop("repository") == ""
    (tmp_path / RELEASE).write_text(json.dumps(told))
    assert Release.load(tmp_path) == ABOUT


@pytest.mark.parametrize("text", ["1.2", "1.2.3.4", "v1.2.3", "1.02.3", "1.2.3-rc1", "", "1.2.-3", "١.٢.٣"])
def test_only_three_numbers_are_a_version(text):
    with pytest.raises(UserError, match="is no version like"):
        Version.parse(text)


def test_versions_are_ordered_by_number():
    assert Version.parse("1.10.0") > Version.parse("1.9.9")
    assert str(Version(1, 10, 0)) == "1.10.0"


def test_removed_csv_comes_back_and_a_line_without_an_id_is_refused(tmp_path):
    stones = [Tombstone("b" * 24, "1.0.1", "erasure"), Tombstone("a" * 24, "1.1.0", "curation")]
    path = tmp_path / "removed.csv"
    path.write_text(write_removed(stones))
    assert read_removed(path) == sorted(stones)
    path.write_text("record_id,version,reason\n../../x,1,erasure\n")
    with pytest.raises(UserError, match="line 2: no record_id"):
        read_removed(path)


def test_checksums_are_what_sha256sum_checks_and_skip_hidden_files_and_links(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b.parquet").write_bytes(b"rows")
    (tmp_path / "README.md").write_bytes(b"card")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x").write_bytes(b"")
    (tmp_path / "link").symlink_to("/etc/passwd")
    found = checksums(tmp_path)
    assert list(found) == ["README.md", "data/a b.parquet"]
    (tmp_path / CHECKSUMS).write_text(write_checksums(found))
    assert read_checksums(tmp_path) == found
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", CHECKSUMS], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "data//x", "./x", ""])
def test_a_list_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    (tmp_path / CHECKSUMS).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(UserError, match="line 1 is no digest and path"):
        read_checksums(tmp_path)
