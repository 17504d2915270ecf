"""Records are taken out of predictions, scores and caches; models that were trained on them are told."""

import json
import shutil

import numpy as np
import pytest

from baselines import erase
from baselines.erase import FOLDERS
from mmtt import scoreboard
from mmtt.applications import load
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.images import encode_png
from mmtt.metrics.predictions import read_predictions
from mmtt.metrics.rows import ScoreRow
from mmtt.removal import Removal
from mmtt.samples import digest_of, of_split, read_samples
from mmtt.shards import read_table
from tests.factories import build, tiny_dataset


def closure(*records) -> Removal:
    empty = dict.fromkeys(("pristine", "photos", "subjects", "origin_ids", "digests", "phashes", "texts"), ())
    return Removal(asked="one", records=records, **empty)


def files_of(root):
    return {str(path.relative_to(root)): file_sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A dataset, and beside it a folder with two runs, predictions of one for a variant too, and their scores."""
    home = tmp_path_factory.mktemp("built")
    layout = tiny_dataset(home / "data", 4)
    build(layout)
    for name, dataset in (("mine", digest_of(layout.root)), ("others", "0" * 64)):
        point = home / "runs" / name / "stage1" / "step-000010"
        point.mkdir(parents=True)
        (point / "model.safetensors").write_bytes(b"weights")
        (home / "runs" / name / "run.json").write_text(json.dumps({"format": 1, "dataset": dataset, "versions": {}}))
    (home / "runs" / "mine" / "cache").mkdir()
    np.save(home / "runs" / "mine" / "cache" / "abc.npy", np.zeros((1, 4, 4, 4), np.uint8))
    out = home / "runs" / "scores"
    (out / "predictions" / "masks").mkdir(parents=True)
    asked = of_split(read_samples(layout.root), "train")
    names = [name for sample in asked for name in (sample.record_id, f"{sample.record_id}@small")]
    lines = [json.dumps({"image_id": name, "caption": "The nose.", "mask_path": f"masks/{name}.png"}) for name in names]
    for name in names:
        (out / "predictions" / "masks" / f"{name}.png").write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    (out / "predictions" / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    board, rows = scoreboard.run(out / "predictions", layout.root, split="train", trivial_too=False)
    scoreboard.write(board, rows, out)
    return home


@pytest.fixture
def home(built, tmp_path, monkeypatch):
    made = shutil.copytree(built, tmp_path / "home")
    monkeypatch.setenv(FOLDERS, str(made / "runs"))
    return made


def some(home) -> str:
    return of_split(read_samples(home / "data"), "train")[0].record_id


def test_lines_masks_rows_and_caches_go_and_all_else_stays(home):
    one = some(home)
    before = files_of(home / "runs")
    answers = set(read_predictions(home / "runs" / "scores" / "predictions"))
    rows = read_table(home / "runs" / "scores" / "scores.parquet", ScoreRow)
    assert {trace.what for trace in erase.traces(home / "data", closure(one))} >= {"a record_id"}
    erase.apply(home / "data", closure(one))
    assert set(read_predictions(home / "runs" / "scores" / "predictions")) == {a for a in answers if a[0] != one}
    left = read_table(home / "runs" / "scores" / "scores.parquet", ScoreRow)
    assert left == [row for row in rows if row.record_id != one] and len(left) < len(rows)
    after = files_of(home / "runs")
    gone = {*(f"scores/predictions/masks/{name}.png" for name in (one, f"{one}@small")), "mine/cache/abc.npy"}
    gone |= {f"scores/scores.{suffix}" for suffix in ("json", "md", "tex")}
    assert set(before) - set(after) == gone
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"scores/predictions/predictions.jsonl", "scores/scores.parquet"}
    assert [*erase.traces(home / "data", closure(one))] == []
    assert erase.apply(home / "data", closure(one)) == []


def test_models_trained_on_the_records_are_told_and_planning_changes_nothing(home):
    before = files_of(home)
    told = {step.where.rpartition("/")[2]: step.what for step in erase.plan(home / "data", closure(some(home)))}
    assert told["mine"].startswith("was trained on this dataset as it is now, which holds them")
    assert "nobody can tell" in told["others"] and "checkpoints: 1" in told["others"]
    assert told["predictions"].endswith(": 2") and "cache" in told and "baselines" not in told
    assert files_of(home) == before
    assert "mine" not in {step.where.rpartition("/")[2] for step in erase.plan(home / "data", closure("0" * 24))}


def test_a_model_trained_on_a_release_that_holds_the_records_is_told(home):
    release = home / "data" / "releases" / "1.0.0"
    shutil.copytree(home / "data" / "forged", release)
    about = {"format": 1, "dataset": digest_of(release), "versions": {}}
    (home / "runs" / "others" / "run.json").write_text(json.dumps(about))
    told = {step.where.rpartition("/")[2]: step.what for step in erase.plan(home / "data", closure(some(home)))}
    assert told["others"].startswith("was trained on release 1.0.0")


def test_lines_that_cannot_be_read_go_where_they_name_a_record_and_torn_folders_are_searched(home):
    one, hidden = some(home), home / "runs" / ".next.unfinished"
    hidden.mkdir()
    torn = f'{{"image_id": "{one}", "capt'
    (hidden / "predictions.jsonl").write_text('{"image_id": "' + "0" * 24 + f'"}}\nno JSON\n{torn}')
    erase.apply(home / "data", closure(one))
    assert (hidden / "predictions.jsonl").read_text() == '{"image_id": "' + "0" * 24 + '"}\nno JSON\n'


def test_without_folders_only_the_dataset_is_looked_at_and_that_is_said(home, monkeypatch):
    monkeypatch.delenv(FOLDERS)
    before = files_of(home)
    (step,) = erase.plan(home / "data", closure(some(home)))
    assert "--runs" in step.what
    erase.apply(home / "data", closure(some(home)))
    assert files_of(home) == before
    monkeypatch.setenv(FOLDERS, str(home / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere is no folder"):
        erase.plan(home / "data", closure(some(home)))


def test_both_applications_offer_what_forget_calls():
    for application in ("annotation", "baselines"):
        module = load(application, "erase")
        assert all(callable(getattr(module, name)) for name in ("plan", "apply", "traces"))


def test_a_dataset_beside_its_runs_is_not_searched_twice(home, monkeypatch):
    monkeypatch.setenv(FOLDERS, str(home))
    one = some(home)
    found = {trace.where for trace in erase.traces(home / "data", closure(one))}
    assert found and all(where.startswith(str(home / "runs")) for where in found)
    erase.apply(home / "data", closure(one))
    assert [*erase.traces(home / "data", closure(one))] == []
