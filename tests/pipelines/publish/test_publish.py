import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest

from mmtt.errors import MissingDependency, UserError
from mmtt.release import checksums, write_checksums
from pipelines.publish import hub as hub_module
from pipelines.publish.hub import Remote, RemoteFile, clean
from pipelines.publish.publish import publish
from pipelines.publish.remote import verify_remote
from pipelines.publish.staged import Staged
from tests.support.faulty_proxy import Fault
from tests.support.hub import CURATOR, READER, STRANGER
from tests.support.hub_store import Refusal
from tests.support.releases import some_records, write_release

# huggingface_hub 2.4 itself calls its HTTP library in a way that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "lab/faces"
TRAIN, MORE, TEST = "train-00000-of-00002", "train-00001-of-00002", "test-00001-of-00002"


@pytest.fixture
def folder(tmp_path):
    return write_release(tmp_path / "1.0.0")


def send(folder, repo=REPO, **options):
    lines = []
    publish(Staged(folder), Remote(repo), say=lines.append, **options)
    return lines


def digests(server, revision="main", repo=REPO):
    entries = server.repo(repo).at(revision).tree
    return {path: entry.sha256 or entry.blob for path, entry in entries.items() if path != ".gitattributes"}


def extended(folder, version="1.1.0", **options):
    """The release after `folder`: one shard stays, one is changed, one is new."""
    shards = {
        TEST: some_records("test", start=9),
        TRAIN: some_records("train", 3),
        MORE: some_records("train", start=5),
    }
    return write_release(folder.parent / version, version, shards, **{"previous": folder.name} | options)


def test_a_published_release_is_on_main_tagged_and_behind_a_gate(server, folder):
    send(folder)
    repo = server.repo(REPO)
    assert set(digests(server)) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert repo.tags == {"v1.0.0": repo.head} and set(repo.branches) == {"main"} and repo.gated == "manual"
    assert [commit.title for commit in repo.history("main")] == ["Release 1.0.0", "initial commit"]
    assert verify_remote(REPO, "v1.0.0").wrong == []


def test_the_gate_is_closed_before_anything_is_uploaded(server, folder):
    send(folder, gated="auto", private=True)
    paths = [path for method, path in server.requests if method in ("PUT", "POST")]
    assert next(i for i, path in enumerate(paths) if path.endswith("/settings")) < next(
        i for i, path in enumerate(paths) if "/preupload/" in path
    )
    assert server.repo(REPO).gated == "auto" and server.repo(REPO).private


def test_a_dry_run_shows_the_plan_and_changes_nothing(server, folder):
    lines = send(folder, dry_run=True)
    assert f"make {REPO}" in lines[0] and any(TRAIN in line for line in lines) and server.repos == {}
    assert {method for method, _ in server.requests} == {"GET"}


def test_an_extended_release_sends_only_what_changed(server, folder):
    send(folder)
    before = digests(server)
    server.requests.clear()
    lines = send(extended(folder))
    sent = [path for method, path in server.requests if method == "PUT" and path.startswith("/lfs/")]
    assert len(sent) == 2 and f"changed: data/{TRAIN}.parquet" in lines and f"new: data/{MORE}.parquet" in lines
    after = digests(server)
    assert after[f"data/{TEST}.parquet"] == before[f"data/{TEST}.parquet"] and digests(server, "v1.0.0") == before
    assert after[f"data/{TRAIN}.parquet"] != before[f"data/{TRAIN}.parquet"]


def test_what_a_release_no_longer_holds_is_deleted_in_the_same_commit(server, folder):
    send(folder)
    send(write_release(folder.parent / "2.0.0", "2.0.0", {TRAIN: some_records("train")}, previous="1.0.0"))
    assert f"data/{TEST}.parquet" not in digests(server) and f"data/{TEST}.parquet" in digests(server, "v1.0.0")
    assert len(list(server.repo(REPO).history("main"))) == 3


def test_publishing_again_does_nothing(server, folder):
    send(folder)
    head = server.repo(REPO).head
    lines = send(folder)
    assert "nothing to do" in lines[0] and server.repo(REPO).head == head


def test_a_tag_with_other_content_is_never_moved(server, folder):
    send(folder)
    head = server.repo(REPO).head
    write_release(folder, "1.0.0", {TRAIN: some_records("train", 4)})
    with pytest.raises(UserError, match=r"has v1\.0\.0 already, with other content"):
        send(folder)
    assert server.repo(REPO).head == head


def test_a_gate_that_is_asked_for_is_set_on_a_published_version_too(server, folder):
    send(folder)
    lines = send(folder, gated="auto", private=True)
    assert lines == ["make it private", "set access to: auto", lines[2]] and "nothing else to do" in lines[2]
    assert server.repo(REPO).gated == "auto" and server.repo(REPO).private


def test_the_tag_is_on_the_releases_commit_though_main_went_on(server, folder):
    def meddle(line):
        if line.startswith("tag"):
            repo = server.repo(REPO)
            repo.commit("refs/heads/main", repo.put(repo.at("main").tree, "note.txt", b"hello"), "meanwhile")

    publish(Staged(folder), Remote(REPO), say=meddle)
    assert "note.txt" in digests(server) and "note.txt" not in digests(server, "v1.0.0")
    assert verify_remote(REPO, "v1.0.0").wrong == [] and "nothing to do" in send(folder)[0]


@pytest.mark.usefixtures("server")
def test_an_older_version_is_refused(folder):
    send(extended(folder))
    with pytest.raises(UserError, match=r"already has v1\.1\.0, which is newer"):
        send(folder)


def test_a_folder_that_was_touched_is_refused(server, folder):
    (folder / "README.md").write_text("edited")
    with pytest.raises(UserError, match=r"README\.md"):
        send(folder)
    assert server.requests == []


def test_what_somebody_changed_on_main_is_not_overwritten_unasked(server, folder):
    send(folder)
    repo = server.repo(REPO)
    repo.commit("refs/heads/main", repo.put(repo.at("main").tree, "README.md", b"by hand"), "edit")
    after = extended(folder)
    with pytest.raises(UserError, match=r"README\.md.*--replace"):
        send(after)
    assert repo.read("main", "README.md") == b"by hand" and set(repo.branches) == {"main"}
    send(after, replace=True)
    assert verify_remote(REPO).wrong == []


def test_main_that_changes_during_the_upload_is_left_as_it_is(server, folder):
    send(folder)
    repo = server.repo(REPO)
    after = extended(folder)

    def meddle(line):
        if line.startswith("one commit"):
            repo.commit("refs/heads/main", repo.put(repo.at("main").tree, "note.txt", b"hello"), "meanwhile")

    with pytest.raises(UserError, match="changed meanwhile; nothing was published"):
        publish(Staged(after), Remote(REPO), say=meddle)
    assert repo.read("main", "note.txt") == b"hello" and "v1.1.0" not in repo.tags
    with pytest.raises(UserError, match=r"note\.txt"):
        send(after)
    send(after, replace=True)
    assert verify_remote(REPO).wrong == [] and "note.txt" not in digests(server)


def test_a_branch_with_commits_of_others_is_not_touched(server, folder):
    send(folder)
    repo = server.repo(REPO)
    repo.commit("refs/heads/release-1.1.0", repo.put(repo.at("main").tree, "mine.txt", b"mine"), "my work")
    with pytest.raises(UserError, match=r"branch release-1\.1\.0"):
        send(extended(folder))
    assert repo.read("release-1.1.0", "mine.txt") == b"mine"


def test_a_rotten_upload_is_found_before_main_sees_it(server, folder, monkeypatch):
    upload = Remote.upload

    def rot(self, *arguments):
        upload(self, *arguments)
        repo = server.repo(REPO)
        repo.commit(
            "refs/heads/release-1.0.0",
            repo.put(repo.at("release-1.0.0").tree, "README.md", b"rot"),
            "Upload release 1.0.0",
        )

    monkeypatch.setattr(Remote, "upload", rot)
    with pytest.raises(UserError, match=r"README\.md is not what was uploaded"):
        send(folder)
    assert digests(server) == {} and server.repo(REPO).tags == {}
    monkeypatch.setattr(Remote, "upload", upload)
    send(folder)
    assert verify_remote(REPO).wrong == []


def test_a_large_file_of_the_same_size_and_another_digest_is_another_file(folder):
    staged, path = Staged(folder), f"data/{TRAIN}.parquet"
    there = RemoteFile(staged.sizes[path], staged.sha256[path], "0" * 40)
    assert staged.is_same(path, there) and not staged.is_same(path, there._replace(sha256="0" * 64))


@pytest.mark.parametrize(
    ("before", "asked", "after"), [(False, None, "manual"), ("auto", None, "auto"), ("manual", "off", False)]
)
def test_a_repository_without_a_gate_gets_one_unless_it_is_said(server, folder, before, asked, after):
    send(folder)
    server.repo(REPO).gated = before
    send(extended(folder), gated=asked)
    assert server.repo(REPO).gated == after


STEPS = [
    ("POST", "/repos/create"), ("PUT", "/settings"), ("POST", "/branch/"), ("POST", "/preupload/"), ("POST", "/batch"),
    ("PUT", "/lfs/"), ("POST", "/commit/release"), ("POST", "/paths-info/"), ("POST", "/commit/main"),
    ("POST", "/tag/"), ("DELETE", "/branch/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), STEPS)
def test_whatever_call_fails_main_is_whole_and_the_same_command_completes(server, folder, method, path):
    send(folder)
    before = digests(server)
    name = "lab/other" if path in ("/repos/create",) else REPO
    after = extended(folder, repository=name)
    gate = {"gated": "auto"} if path == "/settings" else {}
    server.expect(Fault(method, path, 403, times=1))
    with pytest.raises(UserError) as told:
        send(after, name, **gate)
    assert "\n" not in str(told.value) and CURATOR not in str(told.value)
    if name == REPO:
        whole = {path.relative_to(after).as_posix() for path in after.rglob("*") if path.is_file()}
        assert digests(server) == before or set(digests(server)) == whole
    server.expect()
    send(after, name, **gate)
    assert verify_remote(name, "v1.1.0").wrong == [] and set(server.repo(name).branches) == {"main"}


@pytest.mark.parametrize("status", [402, 413, 507])
def test_no_space_is_one_sentence(server, folder, status):
    server.expect(Fault("PUT", "/lfs/", status, times=9))
    with pytest.raises(UserError, match="no more space"):
        send(folder)
    assert server.repo(REPO).tags == {} and digests(server) == {}


def test_a_line_that_breaks_is_mended_without_being_asked(server, folder):
    server.expect(Fault("PUT", "/lfs/", "die", times=1))
    send(folder)
    assert verify_remote(REPO).wrong == [] and server.faults[0].hits > 1


@pytest.mark.parametrize(
    ("token", "sentence"),
    [(None, "no token"), ("hf_madeUpToken", "does not know this token"), (READER, "may only read")],
)
def test_a_token_that_will_not_do_is_refused_before_anything_else(server, folder, monkeypatch, token, sentence):
    server.enter(monkeypatch, token)
    with pytest.raises(UserError, match=sentence) as told:
        send(folder)
    assert token is None or token not in str(told.value)
    assert server.repos == {}


def test_a_strangers_token_is_told_that_it_has_no_right(server, folder, monkeypatch):
    send(folder)
    server.enter(monkeypatch, STRANGER)
    for repo in (REPO, "lab/new"):
        with pytest.raises(UserError, match="no right"):
            send(extended(folder, repository=repo), repo)
    assert set(server.repo(REPO).tags) == {"v1.0.0"} and set(server.repos) == {REPO}


@pytest.mark.usefixtures("server")
def test_a_hub_that_is_away_is_one_sentence(folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        send(folder)


@pytest.mark.parametrize("token", ["hf_with a space", "hf_wïth an umlaut", "hf_with\x01one", "hf_of\ntwo lines"])
def test_a_token_of_odd_characters_is_one_sentence_without_it(server, folder, monkeypatch, token):
    server.enter(monkeypatch, token)
    with pytest.raises(UserError) as told:
        send(folder)
    said = "".join(traceback.format_exception(told.value))
    assert "Make one with write rights" in str(told.value) and token not in said and repr(token)[1:-1] not in said


def test_an_old_huggingface_hub_is_told_so(monkeypatch):
    monkeypatch.setattr(hub_module, "version", lambda _: "1.9.3")
    with pytest.raises(MissingDependency, match=r"huggingface_hub 1\.9\.3 cannot .* pip install"):
        Remote(REPO)


def test_a_name_without_owner_is_refused():
    with pytest.raises(UserError, match="OWNER/NAME"):
        Remote("faces")


def test_tokens_are_taken_out_of_messages(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "not-shaped-like-one")
    told = clean(f"Bearer {CURATOR} and hf_abcdefghijk and not-shaped-like-one")
    assert not re.search(r"hf_\w|not-shaped", told)


def test_an_answer_that_repeats_the_token_does_not_show_it(server, folder, monkeypatch):
    send(folder)

    def leak(*_):
        raise Refusal(500, None, f"internal: {CURATOR}")

    monkeypatch.setattr("tests.support.hub.Handler._fails", leak)
    server.expect(Fault("POST", "/tag/", "leak", times=9))
    with pytest.raises(UserError) as told:
        send(extended(folder))
    assert "500" in str(told.value) and CURATOR not in "".join(traceback.format_exception(told.value))


PUBLISH = """
import sys
from pathlib import Path
from pipelines.publish.hub import Remote
from pipelines.publish.staged import Staged
from pipelines.publish.publish import publish
publish(Staged(Path(sys.argv[1])), Remote(sys.argv[2]))
"""


def test_an_upload_killed_in_the_middle_goes_on_and_ends_with_the_same_digests(server, tmp_path):
    shards = {f"train-{n:05d}-of-00008": some_records("train", 1, start=20 * n, size_px=256) for n in range(8)}
    folder = write_release(tmp_path / "1.0.0", "1.0.0", shards)
    server.expect(Fault("PUT", "/lfs/", "slow", times=99))
    command = [sys.executable, "-c", PUBLISH, str(folder), REPO]
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    environment |= server.environment()
    told = tmp_path / "told"
    with told.open("wb") as file, subprocess.Popen(command, env=environment, stderr=file) as run:
        while len(list((server.folder / "lab__faces" / "lfs").glob("*"))) < 2:
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    kept = {path.name for path in (server.folder / "lab__faces" / "lfs").iterdir()}
    assert 2 <= len(kept) < 8 and digests(server) == {} and server.repo(REPO).tags == {}
    assert b"%|" not in told.read_bytes()  # nobody watches a file
    server.expect()
    server.requests.clear()
    send(folder)
    sent = {path.rsplit("/", 1)[-1] for method, path in server.requests if method == "PUT" and path.startswith("/lfs/")}
    assert not sent & kept and verify_remote(REPO, "v1.0.0").wrong == []
    local = Staged(folder).sha256
    large = {path: sha256 for path, sha256 in digests(server).items() if path.endswith(".parquet")}
    assert large == {path: local[path] for path in large} and len(large) == 8


def test_readers_of_main_see_one_version_or_the_other(server, folder):
    send(folder)
    first, done, seen = digests(server), threading.Event(), set()

    def read():
        while not done.is_set():
            seen.add(json.dumps(digests(server), sort_keys=True))
            time.sleep(0.001)

    watcher = threading.Thread(target=read)
    watcher.start()
    send(extended(folder))
    done.set()
    watcher.join()
    assert seen == {json.dumps(first, sort_keys=True), json.dumps(digests(server), sort_keys=True)}


LOAD = """
import json, sys, datasets
datasets.disable_progress_bars()
whole = datasets.load_dataset(sys.argv[1], revision="v1.0.0")
streamed = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
row = whole["train"][0]
print(json.dumps({"rows": {name: len(part) for name, part in whole.items()}, "image": row["image"].size,
    "streamed": [item["record_id"] for item in streamed], "ids": whole["train"]["record_id"][:]}))
"""


def test_a_published_release_loads_with_datasets_whole_and_streamed(server, folder, tmp_path):
    send(folder)
    environment = {**os.environ, **server.environment(), "HF_HOME": str(tmp_path / "home")}
    run = subprocess.run(
        [sys.executable, "-c", LOAD, REPO], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["rows"] == {"train": 2, "test": 2} and told["image"] == [64, 64] and told["streamed"] == told["ids"]


def test_a_gated_release_is_not_read_by_a_stranger(server, folder, monkeypatch):
    send(folder)
    server.enter(monkeypatch, STRANGER)
    with pytest.raises(UserError):
        verify_remote(REPO)
    server.repo(REPO).requests["accepted"].append("stranger")
    assert verify_remote(REPO).wrong == []


def test_verifying_names_what_differs_on_the_hub(server, folder):
    send(folder)
    repo = server.repo(REPO)
    tree = repo.put(repo.put(repo.at("main").tree, "README.md", b"x"), "more.txt", b"y")
    tree.pop("overview.html")
    repo.commit("refs/heads/main", tree, "edit")
    assert {path for path, _ in verify_remote(REPO).wrong} == {"README.md", "more.txt", "overview.html"}
    tree.pop("data/manifest.json")
    repo.commit("refs/heads/main", tree, "edit")
    with pytest.raises(UserError, match="no release was published"):
        verify_remote(REPO)
    with pytest.raises(UserError, match=r"^lab/faces has no revision 'v9\.9\.9'"):
        verify_remote(REPO, "v9.9.9")
    with pytest.raises(UserError, match=r"Check the name"):
        verify_remote("lab/nothing")


@pytest.mark.usefixtures("server")
def test_a_manifest_that_lists_other_shards_than_the_checksums_is_told(folder):
    manifest = folder / "data" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(Staged(folder).sha256[f"data/{TRAIN}.parquet"], "0" * 64))
    (folder / "SHA256SUMS").write_text(write_checksums(checksums(folder)))
    send(folder)
    assert [path for path, _ in verify_remote(REPO).wrong] == [f"data/{TRAIN}.parquet"]
