"""Weights: known by their digest, found in the user's folder alone."""

import pytest

from mmtt.weights import find, sha256


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The user's folder, with a model of two files in two folders."""
    folder = tmp_path / "models"
    for name in ("net/one/a.bin", "net/two/b.bin"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    monkeypatch.setenv("MMTT_MODELS", str(folder))
    return folder


def test_links_that_lead_in_circles_come_to_an_end_and_do_not_count(models):
    before = sha256(models / "net")
    (models / "net/one/up").symlink_to("../../net")
    (models / "net/itself").symlink_to("itself")
    assert sha256(models / "net") == before


def test_a_link_to_a_folder_counts_as_the_folder_under_its_own_name(models, tmp_path):
    before = sha256(models / "net")
    (models / "net/two").rename(tmp_path / "apart")
    (models / "net/two").symlink_to(tmp_path / "apart")
    assert sha256(models / "net") == before
    (models / "net/three").symlink_to(tmp_path / "apart")
    twice = sha256(models / "net")
    assert twice != before
    (tmp_path / "apart/b.bin").write_bytes(b"other")
    assert sha256(models / "net") not in (before, twice)


def test_the_users_folder_may_itself_be_a_link(models, tmp_path, monkeypatch):
    (tmp_path / "linked").symlink_to(models)
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "linked"))
    assert sha256(find("net")) == sha256(models / "net")
