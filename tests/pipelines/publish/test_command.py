import json
from datetime import date, timedelta

import pytest
import typer
from typer.testing import CliRunner

from mmtt.errors import UserError
from mmtt.record import Lineage
from mmtt.release import Tombstone
from mmtt.removal import journal
from pipelines import cli_publish
from pipelines.publish.purge import purge_hub
from tests.factories import answered, make_record, stored_dataset
from tests.support.hub import CURATOR
from tests.support.releases import write_release

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
AGREED = "manipulation redistribution"
TODAY = date.today()


def dataset(root, consent=AGREED, expiry=None):
    """A dataset with a release of three people, of whom the first agreed to what is given."""
    people = [make_record(seed, consent=consent if seed == 0 else AGREED, split="train") for seed in range(3)]
    lineage = [
        Lineage(
            item_digest="0" * 64, record_id=person.record_id, path=f"{n}.png",
            photo_sha256="0" * 64, photo_phash="0" * 16, face_index=0,
            bbox_xyxy=[0, 0, 1, 1], subject=f"person {n}", group_id=person.group_id,
            consent_expiry=str(expiry) if expiry and n == 0 else None, consent_evidence_sha256=None, withdrawal=None,
        )
        for n, person in enumerate(people)
    ]  # fmt: skip
    layout = stored_dataset(root, people, [], lineage=lineage)
    answered(root, repository="lab/faces")
    people.sort(key=lambda person: person.record_id)
    write_release(root / "releases" / "1.0.0", "1.0.0", {"train-00000-of-00001": people})
    return layout.root


def run(*arguments):
    app = typer.Typer()
    cli_publish.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["publish", *map(str, arguments)])


def test_the_command_publishes_and_says_how_to_load(server, tmp_path):
    done = run(dataset(tmp_path / "set"), "--version", "1.0.0", "--repo", "lab/faces", "--private", "--gated", "auto")
    assert done.exit_code == 0 and "load_dataset('lab/faces', revision='v1.0.0')" in done.output
    assert server.repo("lab/faces").private and server.repo("lab/faces").gated == "auto"
    assert CURATOR not in done.output


def test_a_dry_run_as_json_tells_counts_and_makes_nothing(server, tmp_path):
    done = run(dataset(tmp_path / "set"), "--version", "1.0.0", "--repo", "lab/faces", "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert told["state"] == "new" and told["new"] == 7 and told["dry_run"] and server.repos == {}


@pytest.mark.parametrize(
    ("consent", "expiry", "reason"),
    [
        ("manipulation", None, "no_consent"),
        ("none", None, "not_asked"),
        (AGREED, TODAY - timedelta(1), "consent_expired"),
    ],
)
def test_what_may_not_be_published_today_is_not(server, tmp_path, consent, expiry, reason):
    done = run(dataset(tmp_path / "set", consent, expiry), "--version", "1.0.0", "--repo", "lab/faces")
    assert isinstance(done.exception, UserError) and f"1 {reason}" in str(done.exception)
    assert server.requests == []


def test_nothing_is_published_or_purged_while_somebody_is_taken_out(server, tmp_path):
    root = dataset(tmp_path / "set")
    journal(root).parent.mkdir(parents=True)
    journal(root).write_text("{}")
    done = run(root, "--version", "1.0.0", "--repo", "lab/faces")
    assert isinstance(done.exception, UserError) and "mmtt forget apply" in str(done.exception)
    with pytest.raises(UserError, match="is not completed"):
        purge_hub(root, "lab/faces", lambda _: True)
    assert server.requests == []


def test_a_consent_that_ends_today_still_holds(server, tmp_path):
    assert run(dataset(tmp_path / "set", AGREED, TODAY), "--version", "1.0.0", "--repo", "lab/faces").exit_code == 0
    assert "v1.0.0" in server.repo("lab/faces").tags


def test_a_version_that_was_not_made_is_refused(server, tmp_path):
    done = run(dataset(tmp_path / "set"), "--version", "2.0.0", "--repo", "lab/faces")
    assert isinstance(done.exception, UserError) and "mmtt release" in str(done.exception) and server.requests == []


def test_purging_publishes_the_newest_release_of_the_dataset(server, tmp_path):
    root = dataset(tmp_path / "set")
    run(root, "--version", "1.0.0", "--repo", "lab/faces")
    people = sorted(
        (make_record(seed, consent=AGREED, split="train") for seed in (1, 2)), key=lambda one: one.record_id
    )
    gone = Tombstone(make_record(0).record_id, "1.0.1", "erasure")
    write_release(
        root / "releases" / "1.0.1", "1.0.1", {"train-00000-of-00001": people}, removed=[gone], previous="1.0.0"
    )
    said = []
    done = purge_hub(root, "lab/faces", lambda _: True, said.append)
    assert done.left == [] and "done: publish 1.0.1" in said and set(server.repo("lab/faces").tags) == {"v1.0.1"}
    assert not list((root / "private").rglob("lab__faces.json")) and not any("notices" in line for line in said)


@pytest.mark.usefixtures("server")
def test_a_purge_reminds_of_the_notice_that_nobody_sends(tmp_path):
    root, said = dataset(tmp_path / "set"), []
    gone = Tombstone("a" * 24, "1.0.1", "erasure")
    people = [make_record(1, consent=AGREED, split="train")]
    write_release(root / "releases" / "1.0.1", "1.0.1", {"train-00000-of-00001": people}, [gone], previous="1.0.0")
    run(root, "--version", "1.0.1", "--repo", "lab/faces")
    notice = root / "private" / "notices" / "1.0.1.md"
    notice.parent.mkdir()
    notice.write_text("Take them out.")
    purge_hub(root, "lab/faces", lambda _: True, said.append)
    assert str(notice.parent) in said[-1] and "send it" in said[-1]


@pytest.mark.usefixtures("server")
def test_there_is_nothing_to_purge_without_a_release_or_a_repository(tmp_path):
    root = dataset(tmp_path / "set")
    with pytest.raises(UserError, match=r"removed\.csv names no erasure, so there is nothing to purge"):
        purge_hub(root, "lab/faces", lambda _: True)
    people = [make_record(1, consent=AGREED, split="train")]
    gone = Tombstone(make_record(0).record_id, "1.0.1", "erasure")
    write_release(
        root / "releases" / "1.0.1", "1.0.1", {"train-00000-of-00001": people}, removed=[gone], previous="1.0.0"
    )
    with pytest.raises(UserError, match="is not on the Hub"):
        purge_hub(root, "lab/faces", lambda _: True)
    with pytest.raises(UserError, match="has no release"):
        purge_hub(tmp_path / "empty", "lab/faces", lambda _: True)
