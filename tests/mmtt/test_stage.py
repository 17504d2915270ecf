import platform
import subprocess
import sys

import numpy as np
import pytest

from mmtt import manifest
from mmtt.errors import UserError
from mmtt.executors import processes, serial
from mmtt.manifest import Manifest, environment, environment_path, read
from mmtt.record import Lineage, Rejection
from mmtt.shards import read_footer, read_table, side_path
from mmtt.stage import ShardJob, conclude, is_current, run
from tests.factories import make_record

REFUSED = Rejection(stage="ingest", code="no_face", detail="why", path="a.png")


def rows(job):
    """One record, its lineage, and a rejection for each seed below zero."""
    for seed in job.payload:
        if seed < 0:
            yield REFUSED
        else:
            yield make_record(seed, 16)
            yield lineage(seed)


def lineage(seed):
    return Lineage(
        item_digest=f"{seed}", record_id=make_record(seed, 16).record_id, path=f"{seed}.png", photo_sha256="0" * 64,
        photo_phash="0" * 16, face_index=0, bbox_xyxy=[0.0, 0.0, 9.0, 9.0], subject=None, group_id="g",
        consent_expiry=None, consent_evidence_sha256=None, withdrawal=None,
    )  # fmt: skip


def broken_rows(job):
    yield from rows(job)
    if job.name == "b":
        raise ZeroDivisionError


def job(name, *seeds, fingerprint="f"):
    return ShardJob(name, "ingest", f"inputs {seeds}", fingerprint, seeds)


def silent(due, results):  # noqa: ARG001
    yield from results


def make(directory, *jobs, function=rows, executor=serial):
    directory.mkdir(exist_ok=True)
    return [made.name for made in run(function, jobs, directory, executor, silent)]


def whole(directory, *jobs, **options):
    made = make(directory, *jobs, **options)
    conclude("ingest", jobs, directory)
    return made


@pytest.fixture
def tmp_path(tmp_path):
    """The stage's own folder; its side tables lie beside it, in `private`."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return folder


def contents(directory):
    aside = directory.parent / "private" / directory.name
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    return files | {f"private/{path.name}": path.read_bytes() for path in aside.glob("*")}


def test_a_stage_makes_shards_sides_and_manifest(tmp_path):
    jobs = (job("a", 0, -1, 1), job("b", 2))
    assert whole(tmp_path, *jobs) == ["a", "b"]
    assert [r.record_id for r in read(tmp_path)] == [make_record(seed, 16).record_id for seed in (0, 1, 2)]
    assert read_table(side_path(tmp_path, "a", Lineage), Lineage) == [lineage(0), lineage(1)]
    assert Manifest.load(tmp_path).rejections == {"no_face": 1}
    assert all(is_current(each, tmp_path) for each in jobs)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    jobs = [job(name, i, -1, i + 9) for i, name in enumerate("abc")]
    whole(tmp_path / "one", *jobs)
    whole(tmp_path / "two", *jobs, executor=processes(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_makes_nothing_and_touches_nothing(tmp_path):
    whole(tmp_path, job("a", 0), job("b", 1))
    before, stamp = contents(tmp_path), (tmp_path / "a.parquet").stat().st_mtime_ns
    assert whole(tmp_path, job("a", 0), job("b", 1)) == []
    assert contents(tmp_path) == before
    assert (tmp_path / "a.parquet").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("other", [job("a", 5), job("a", 0, fingerprint="g")], ids=["inputs", "fingerprint"])
def test_other_inputs_or_another_way_make_a_shard_anew_and_no_other(tmp_path, other):
    whole(tmp_path, job("a", 0), job("b", 1))
    assert not is_current(other, tmp_path)
    assert whole(tmp_path, other, job("b", 1)) == ["a"]
    assert read_footer(tmp_path / "a.parquet").fingerprint == other.fingerprint


@pytest.mark.parametrize("row_class", [Lineage, Rejection])
def test_a_side_table_that_is_missing_or_changed_makes_its_shard_anew(tmp_path, row_class):
    whole(tmp_path, job("a", 0))
    before = contents(tmp_path)
    path = side_path(tmp_path, "a", row_class)
    path.unlink()
    assert whole(tmp_path, job("a", 0)) == ["a"]
    path.write_bytes(path.read_bytes() + b"x")
    assert whole(tmp_path, job("a", 0)) == ["a"]
    assert contents(tmp_path) == before


def test_a_torn_shard_is_made_anew(tmp_path):
    whole(tmp_path, job("a", 0))
    before = contents(tmp_path)
    (tmp_path / "a.parquet").write_bytes(before["a.parquet"][:-9])
    assert whole(tmp_path, job("a", 0)) == ["a"]
    assert contents(tmp_path) == before


def test_a_failing_job_leaves_finished_shards_no_manifest_and_no_half_shard(tmp_path):
    whole(tmp_path, job("a", 7))
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, job("a", 0), job("b", 1), function=broken_rows)
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        ".manifest.before.json",
        "a.parquet",
        "rejections.parquet",
    ]
    assert is_current(job("a", 0), tmp_path)
    with pytest.raises(UserError, match=r"no manifest.json"):
        Manifest.load(tmp_path)
    assert whole(tmp_path, job("a", 0), job("b", 1)) == ["b"]


def test_a_job_that_fails_keeps_the_old_shard(tmp_path):
    whole(tmp_path, job("b", 1))
    before = (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, job("b", 2), function=broken_rows)
    assert (tmp_path / "b.parquet").read_bytes() == before


def test_the_manifest_is_gone_before_anything_changes(tmp_path):
    whole(tmp_path, job("a", 0))
    seen = []

    def watching(each):
        seen.append((tmp_path / "manifest.json").exists())
        return rows(each)

    make(tmp_path, job("a", 1), function=watching)
    assert seen == [False]


def test_shards_that_no_job_asks_for_are_removed_with_their_sides(tmp_path):
    whole(tmp_path, job("a", 0), job("b", 1))
    assert whole(tmp_path, job("b", 1)) == []
    expected = {
        "b.parquet", "rejections.parquet", "manifest.json", "private/b.lineage.parquet", "private/b.rejection.parquet",
        "private/b.environment.json",
    }  # fmt: skip
    assert set(contents(tmp_path)) == expected
    assert [shard.name for shard in Manifest.load(tmp_path).shards] == ["b"]


def test_no_jobs_give_an_empty_dataset_with_a_manifest(tmp_path):
    whole(tmp_path)
    assert list(read(tmp_path)) == []
    assert Manifest.load(tmp_path).rows == 0


def test_a_shard_whose_bytes_rotted_is_made_again(tmp_path):
    before = (whole(tmp_path, job("a", 0), job("b", 1)), contents(tmp_path))[1]
    path = tmp_path / "a.parquet"
    # A valid Parquet file with a footer of ours, yet not the bytes that the manifest knows.
    path.write_bytes(before["a.parquet"].replace(b"CC0-1.0", b"CC0-1.9"))
    assert path.read_bytes() != before["a.parquet"]
    assert whole(tmp_path, job("a", 0), job("b", 1)) == ["a"]
    assert contents(tmp_path) == before


@pytest.fixture
def move(monkeypatch):
    """Lets what follows happen on another machine."""

    def to(machine):
        monkeypatch.setattr(platform, "machine", lambda: machine)
        manifest._installed.cache_clear()

    yield to
    manifest._installed.cache_clear()


def machines(directory):
    return Manifest.load(directory).environment.get("machine")


def test_a_run_that_was_killed_on_one_machine_and_finished_on_another_tells_both(tmp_path, move):
    jobs = (job("a", 0), job("b", 1))
    move("first")
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, *jobs, function=broken_rows)
    move("second")
    assert whole(tmp_path, *jobs) == ["b"]
    assert machines(tmp_path) == "first | second"
    assert whole(tmp_path, job("b", 1)) == []
    assert machines(tmp_path) == "second"
    move("third")
    assert whole(tmp_path, job("b", 2)) == ["b"]
    assert machines(tmp_path) == "third"


def test_where_a_shard_was_made_is_not_invented(tmp_path, move):
    jobs = (job("a", 0), job("b", 1))
    move("first")
    whole(tmp_path, *jobs)
    environment_path(tmp_path, "a").unlink()
    move("second")
    assert whole(tmp_path, *jobs) == []
    assert machines(tmp_path) == "first"
    # As a run leaves it that is killed after the note and before its shard: the note is of other bytes.
    manifest.note_environment(tmp_path, "b", "0" * 64)
    whole(tmp_path, *jobs)
    assert Manifest.load(tmp_path).environment == {}


def test_telling_where_loads_no_torch_and_names_no_gpu_that_nothing_uses():
    code = "import sys; from mmtt.manifest import environment as e; e(); assert 'torch' not in sys.modules; "
    code += "import torch; assert 'accelerator' not in e() and e()['torch']; "
    code += "torch.cuda.is_available() and torch.ones(1).cuda(); print(e().get('accelerator', ''))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    torch = pytest.importorskip("torch")
    assert told == (torch.cuda.get_device_name() if torch.cuda.is_available() else "")


def test_shards_that_needed_no_accelerator_do_not_deny_it():
    both = manifest._joined([{"numpy": "1", "accelerator": "H200"}, {"numpy": "2", "torch": "3"}])
    assert both == {"accelerator": "H200", "numpy": "1 | 2", "torch": "3 | absent"}


def test_a_numpy_that_says_nothing_of_the_cpu_is_no_fault(monkeypatch, move):
    monkeypatch.setattr(np, "show_config", lambda mode: {mode: {}})
    move("any")
    assert environment()["cpu"] == ""
