import pytest

from mmtt.errors import UserError
from mmtt.release import Tombstone
from pipelines.publish.hub import Remote
from pipelines.publish.publish import publish
from pipelines.publish.purge import purge
from pipelines.publish.remote import verify_remote
from pipelines.publish.staged import Staged
from pipelines.publish.traces import remote_traces
from tests.support.faulty_proxy import Fault
from tests.support.hub import STRANGER
from tests.support.releases import some_records, write_release

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "lab/faces"
TRAIN, TEST = "train-00000-of-00002", "test-00001-of-00002"
SPARED = {"removed.csv": {"a record_id"}}


def quiet(_):
    pass


def send(folder):
    publish(Staged(folder), Remote(REPO), say=quiet)


class Removal:
    """A record that two published versions hold, and the version without it."""

    def __init__(self, server, tmp_path):
        self.server, self.notes = server, tmp_path / "notes.json"
        records = some_records("train", 3)
        self.gone = records[1].record_id
        self.needles = {self.gone.encode(): "a record_id"}
        test = some_records("test", start=9)
        send(write_release(tmp_path / "1.0.0", "1.0.0", {TRAIN: records, TEST: test}))
        self.old = server.repo(REPO).head
        more = {"train-00001-of-00002": some_records("train", start=5)}
        send(write_release(tmp_path / "1.1.0", "1.1.0", {TRAIN: records, TEST: test, **more}, previous="1.0.0"))
        self.stones = [Tombstone(self.gone, "1.1.1", "erasure")]
        left = {TRAIN: [records[0], records[2]], TEST: test, **more}
        self.after = write_release(tmp_path / "1.1.1", "1.1.1", left, removed=self.stones, previous="1.1.0")

    def purge(self, confirm=lambda _: True):
        steps = []
        done = purge(
            Staged(self.after), Remote(REPO), self.notes, lambda what: (steps.append(what), confirm(what))[1], quiet
        )
        return done, steps

    def traces(self):
        return list(remote_traces(REPO, self.needles, SPARED))


@pytest.fixture
def removal(server, tmp_path):
    return Removal(server, tmp_path)


def test_a_record_is_found_in_every_old_version_before_and_in_none_after(removal):
    assert removal.traces()
    done, steps = removal.purge()
    assert removal.traces() == [] and done.left == [] and done.by_hand == [] and not removal.notes.exists()
    assert steps[0] == "publish 1.1.1" and "delete the tag v1.0.0" in steps and "delete the tag v1.1.0" in steps
    repo = removal.server.repo(REPO)
    assert repo.tags == {"v1.1.1": repo.head} and set(repo.branches) == {"main"}
    assert len(list(repo.history("main"))) == 1 and removal.old not in repo.commits
    assert verify_remote(REPO, "v1.1.1").wrong == []


def test_what_other_people_need_stays(removal):
    kept = removal.server.repo(REPO).at("main").tree[f"data/{TEST}.parquet"]
    removal.purge()
    assert removal.server.repo(REPO).at("main").tree[f"data/{TEST}.parquet"] == kept


def test_publishing_alone_leaves_the_record_in_the_old_versions(removal):
    send(removal.after)
    assert {trace.what for trace in removal.traces()} == {"a record_id"}


def test_a_second_purge_does_nothing_and_says_how_it_stands(removal):
    removal.purge()
    said = []
    done = purge(Staged(removal.after), Remote(REPO), removal.notes, pytest.fail, said.append)
    assert done.left == [] and len(said) == 1 and "no large file of a version that may hold them" in said[0]


def test_versions_after_a_purge_stay_when_it_is_run_again(removal):
    removal.purge()
    records = {TRAIN: some_records("train", 1), TEST: some_records("test", start=9)}
    send(write_release(removal.after.parent / "1.2.0", "1.2.0", records, removal.stones, previous="1.1.1"))
    removal.after = removal.after.parent / "1.2.0"
    repo = removal.server.repo(REPO)
    before, large = dict(repo.refs), set(repo.pushed)
    done, steps = removal.purge()
    assert (steps, done.left, set(repo.tags)) == ([], [], {"v1.1.1", "v1.2.0"})
    assert repo.refs == before and set(repo.pushed) == large and verify_remote(REPO, "v1.1.1").wrong == []


@pytest.mark.usefixtures("server")
def test_a_version_that_names_nobody_as_erased_purges_nothing(tmp_path):
    folder = write_release(tmp_path / "1.0.0", removed=[Tombstone("0" * 24, "1.0.0", "curation")])
    with pytest.raises(UserError, match="names no erasure, so there is nothing to purge"):
        purge(Staged(folder), Remote(REPO), tmp_path / "notes.json", lambda _: True, quiet)


def test_each_step_is_asked_and_one_that_is_declined_stops_there(removal):
    with pytest.raises(UserError, match=r"Stopped before this step: delete the tag v1\.0\.0"):
        removal.purge(lambda what: "tag" not in what)
    assert "v1.0.0" in removal.server.repo(REPO).tags
    assert "publish 1.1.1" not in removal.purge()[1] and removal.traces() == []


STEPS = [
    ("POST", "/commit/main", 500), ("POST", "/tag/", "drop"), ("DELETE", "/tag/", 500),
    ("POST", "/lfs-files/batch", "drop"), ("POST", "/super-squash/", 500),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "how"), STEPS)
def test_whatever_step_fails_the_next_run_completes(removal, method, path, how):
    removal.server.expect(Fault(method, path, how, times=30))
    with pytest.raises(UserError):
        removal.purge()
    removal.server.expect()
    done, _ = removal.purge()
    assert removal.traces() == [] and done.left == []
    assert verify_remote(REPO, "v1.1.1").wrong == []


def test_a_tag_that_was_lost_on_the_way_is_set_again(removal):
    removal.purge()
    del removal.server.repo(REPO).refs["refs/tags/v1.1.1"]
    removal.purge()
    repo = removal.server.repo(REPO)
    assert repo.tags == {"v1.1.1": repo.head}


def test_foreign_branches_and_pull_requests_are_told(removal):
    repo = removal.server.repo(REPO)
    repo.refs["refs/heads/mine"] = removal.old
    ref = removal.server.open_pull_request(REPO, "a change")
    done, steps = removal.purge()
    assert "delete the branch mine" in steps and "close pull request 1" in steps
    assert [step.where.endswith("/discussions/1") and ref in step.what for step in done.by_hand] == [True]
    # What is large is gone even there; the record's id was in no small file.
    assert done.left == [] and removal.traces() == []


def test_a_file_that_the_hub_still_gives_out_is_told(removal, monkeypatch):
    for name in ("forget_unreachable", "rewrite", "drop_large"):
        monkeypatch.setattr(f"tests.support.hub_store.Repo.{name}", lambda *_: None)
    done, _ = removal.purge()
    assert any(removal.old in trace.where for trace in done.left) and removal.notes.exists()
    monkeypatch.undo()
    removal.server.enter(monkeypatch)
    done, _ = removal.purge()
    assert not any("large file" in trace.where for trace in done.left)


def test_main_that_was_changed_after_the_version_is_not_given_its_tag(removal):
    send(removal.after)
    repo = removal.server.repo(REPO)
    repo.commit("refs/heads/main", repo.put(repo.at("main").tree, "README.md", b"by hand"), "edit")
    with pytest.raises(UserError, match=r"README\.md"):
        removal.purge()
    assert "v1.0.0" in repo.tags


def test_how_many_were_let_in_is_told_and_nobody_is_named(removal, capsys):
    removal.server.repo(REPO).requests["accepted"] += ["ann", "ben"]
    done, _ = removal.purge()
    assert done.readers == 2 and "ann" not in str(done) + capsys.readouterr().out


def test_a_stranger_can_purge_nothing(removal, monkeypatch):
    removal.server.enter(monkeypatch, STRANGER)
    with pytest.raises(UserError):
        removal.purge()
    assert removal.old in removal.server.repo(REPO).commits


def test_titles_names_and_orphans_are_searched_too(removal):
    removal.purge()
    repo = removal.server.repo(REPO)
    repo.refs[f"refs/heads/about-{removal.gone}"] = repo.head
    removal.server.open_pull_request(REPO, f"why is {removal.gone} here?")
    (repo.folder / "lfs" / "orphan").write_bytes(b"x")
    repo.pushed["orphan"] = "data/old.parquet"
    assert {trace.what for trace in removal.traces()} == {
        "a record_id in its name", "a record_id in its title", "no revision names it, so it was not searched",
    }  # fmt: skip
