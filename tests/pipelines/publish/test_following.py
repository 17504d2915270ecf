import shutil
from collections import Counter

import pytest

from mmtt.errors import UserError
from mmtt.release import Tombstone
from pipelines.publish.hub import Remote
from pipelines.publish.publish import publish
from pipelines.publish.staged import Staged
from tests.support.hub import STRANGER
from tests.support.releases import some_records, write_release

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO, TRAIN, TEST = "lab/faces", "train-00000-of-00002", "test-00001-of-00002"
STONE = Tombstone("a" * 24, "1.0.0", "erasure")


@pytest.fixture
def make(tmp_path):
    """Write a release beside the others."""

    def write(version, previous=None, removed=(STONE,), **options):
        return write_release(tmp_path / "releases" / version, version, removed=removed, previous=previous, **options)

    return write


def send(folder, repo=REPO, **options):
    lines = []
    publish(Staged(folder), Remote(repo), say=lines.append, **options)
    return lines


def state(server):
    return dict(server.repo(REPO).refs)


@pytest.mark.parametrize("replace", [False, True])
def test_a_release_that_forgot_whom_readers_must_take_out_is_refused(server, make, replace):
    send(make("1.0.0"))
    before = state(server)
    with pytest.raises(UserError, match=r"names a{24}, and the one of 1\.1\.0 does not") as told:
        send(make("1.1.0", "1.0.0", removed=[]), replace=replace)
    assert "\n" not in str(told.value) and state(server) == before
    assert "hf download lab/faces --repo-type dataset" in str(told.value) and "release again" in str(told.value)
    send(make("1.1.0", "1.0.0", removed=[STONE, STONE._replace(record_id="b" * 24)]))
    assert "v1.1.0" in server.repo(REPO).tags


def test_whom_the_newest_version_names_is_not_forgotten_because_main_lost_the_list(server, make):
    send(make("1.0.0"))
    repo = server.repo(REPO)
    tree = dict(repo.at("main").tree)
    tree.pop("removed.csv")
    repo.commit("refs/heads/main", tree, "edit")
    with pytest.raises(UserError, match=r"at v1\.0\.0 names a{24}"):
        send(make("1.1.0", "1.0.0", removed=[]), replace=True)


def test_a_list_that_nobody_can_read_is_refused(server, make):
    send(make("1.0.0"))
    repo = server.repo(REPO)
    repo.commit("refs/heads/main", repo.put(repo.at("main").tree, "removed.csv", b"record_id\nme\n"), "edit")
    with pytest.raises(UserError, match=r"^removed\.csv of lab/faces at main cannot be read"):
        send(make("1.1.0", "1.0.0"), replace=True)


@pytest.mark.parametrize("previous", [None, "0.9.0"])
def test_a_release_made_without_the_newest_that_is_published_is_refused(server, make, previous):
    folder = make("1.0.0")
    send(folder)
    shutil.rmtree(folder)
    before = state(server)
    with pytest.raises(UserError, match=r"does not follow v1\.0\.0.*--revision v1\.0\.0 --local-dir \S+/1\.0\.0`"):
        send(make("1.1.0", previous), replace=True)
    assert state(server) == before


def test_versions_between_may_never_have_been_published(server, make):
    send(make("1.0.0"))
    make("1.1.0", "1.0.0")
    send(make("1.2.0", "1.1.0"))
    make("1.3.0")
    with pytest.raises(UserError, match=r"does not follow v1\.2\.0"):
        send(make("1.4.0", "1.3.0"))
    shutil.rmtree(make("1.5.0").parent / "1.5.0")  # as a removal does it
    send(make("1.5.1", "1.5.0"))
    assert [*server.repo(REPO).tags] == ["v1.0.0", "v1.2.0", "v1.5.1"]


def test_a_release_after_a_purge_of_all_tags_is_published(server, make):
    send(make("1.0.0"))
    server.repo(REPO).refs.pop("refs/tags/v1.0.0")
    send(make("1.1.0"), replace=True)
    assert [*server.repo(REPO).tags] == ["v1.1.0"]


@pytest.mark.parametrize(("named", "said"), [("lab/others", "names lab/others"), ("", "names no repository")])
def test_a_release_whose_card_loads_another_repository_is_refused(server, make, named, said):
    with pytest.raises(UserError, match=rf"{said}.*set about\.repository in datasheet\.toml and release again"):
        send(make("1.0.0", repository=named))
    assert server.repos == {} and {method for method, _ in server.requests} == {"GET"}


def test_rights_are_asked_for_before_the_plan_is_told(server, make, monkeypatch):
    send(make("1.0.0"))
    server.enter(monkeypatch, STRANGER)
    for repo in (REPO, "lab/new"):
        lines = []
        with pytest.raises(UserError, match="no right to"):
            folder = make("1.1.0", "1.0.0", repository=repo)
            publish(Staged(folder), Remote(repo), say=lines.append, dry_run=True)
        assert lines == []
    send(make("1.0.0", repository="stranger/mine"), "stranger/mine")


def test_a_plan_names_each_file_once_with_what_somebody_did_to_it(server, make):
    send(make("1.0.0"))
    repo = server.repo(REPO)
    tree = repo.put(repo.put(repo.at("main").tree, "README.md", b"by hand"), "note.txt", b"hello")
    tree.pop("overview.html")
    repo.commit("refs/heads/main", tree, "edit")
    lines = send(make("1.1.0", "1.0.0", shards={TRAIN: some_records("train")}), dry_run=True, replace=True)
    somebody = "(somebody changed it on main)"
    assert {f"changed: README.md {somebody}", f"deleted: note.txt {somebody}", f"new: overview.html {somebody}",
            f"deleted: data/{TEST}.parquet", "changed: SHA256SUMS"} <= set(lines)  # fmt: skip
    files = [line.split(": ", 1)[1].removesuffix(f" {somebody}") for line in lines if line.startswith(KINDS)]
    assert max(Counter(files).values()) == 1


KINDS = ("new: ", "changed: ", "deleted: ")


def test_what_somebody_changed_into_what_the_release_holds_is_no_hindrance(server, make):
    send(make("1.0.0"))
    after, repo = make("1.1.0", "1.0.0"), server.repo(REPO)
    tree = repo.put(repo.at("main").tree, "README.md", (after / "README.md").read_bytes())
    repo.commit("refs/heads/main", tree, "the same")
    send(after)
    assert "v1.1.0" in repo.tags


def test_an_older_version_published_again_says_that_it_is_not_the_newest(server, make):
    first = make("1.0.0")
    send(first)
    assert "newest" not in send(first)[0]
    send(make("1.1.0", "1.0.0"))
    before = state(server)
    assert "the newest there is v1.1.0" in send(first)[0] and state(server) == before


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("bug", [ValueError("ours"), RuntimeError("ours"), KeyError("ours")])
def test_a_bug_of_ours_while_talking_to_the_hub_keeps_its_traceback(bug):
    with pytest.raises(type(bug), match="ours"), Remote(REPO).said("to try"):
        raise bug


@pytest.mark.usefixtures("server")
def test_what_the_library_refuses_is_a_sentence():
    remote = Remote(REPO)
    with pytest.raises(UserError, match=r"lab/faces: it failed to try: Repo id must be"), remote.said("to try"):
        remote.api.list_repo_refs("a/b/c")
