"""Predictions of a trained model: strict, whole or absent, and as its scores read them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from baselines.forgerytalker.answers import soft_mask
from baselines.forgerytalker.evaluate import evaluate
from baselines.forgerytalker.export import Trained, load
from baselines.forgerytalker.predict import Asked, predict, region_words
from mmtt.devices import steady
from mmtt.errors import LockedError, UserError
from mmtt.files import lock
from mmtt.images import decode_gray
from mmtt.metrics.predictions import read_predictions
from mmtt.progress import silent
from mmtt.regions import REGIONS
from mmtt.samples import of_split, read_samples
from tests.baselines.untrained import reported_dataset, small_config, untrained_run

TRAIN = Asked(split="train")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with steady(exact_gpu=False):
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return reported_dataset(tmp_path_factory.mktemp("data"), 8)


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory) -> Trained:
    return load(untrained_run(tmp_path_factory.mktemp("runs") / "run", root, small_config(verdict=True)))


@pytest.fixture(scope="module")
def whole(trained, root, tmp_path_factory) -> Path:
    return predict(trained, root, tmp_path_factory.mktemp("whole") / "out", TRAIN, batch=2, workers=2)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_sample_of_the_split_is_on_exactly_one_line_with_a_mask_of_its_own_size(root, whole):
    out = whole
    samples = of_split(read_samples(root), "train")
    lines = lines_of(out)
    assert [line["image_id"] for line in lines] == [sample.record_id for sample in samples]
    assert len(samples) >= 3
    for line in lines:
        assert decode_gray((out / line["mask_path"]).read_bytes()).shape == (256, 256)
        assert list(line["regions"]) == list(REGIONS)
        assert 0 <= line["verdict"] <= 1
    assert {path.name for path in out.iterdir()} == {"masks", "meta.json", "predictions.jsonl"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_scores_read_what_is_written_without_a_fault(whole):
    read = read_predictions(whole)
    answers = [read[key] for key in read]
    assert read.faults == []
    assert read.promised == {"mask", "report", "regions", "verdict"}
    assert all(answer.mask is not None for answer in answers)


def test_above_127_is_exactly_above_one_half():
    half = np.float32(0.5)
    around = np.array([[0, np.nextafter(half, np.float32(0)), half, np.nextafter(half, np.float32(1)), 1]], np.float32)
    grey = soft_mask(around, (1, 5))
    assert (grey > 127).tolist() == [[False, False, False, True, True]]
    assert (grey[0, 0], grey[0, -1]) == (0, 255)
    many = np.random.default_rng(0).random((64, 64), np.float32)
    assert ((soft_mask(many, (64, 64)) > 127) == (many > half)).all()


def test_masks_are_laid_on_the_picture_as_the_model_saw_it():
    quarter = np.zeros((32, 32), np.float32)
    quarter[:16, :16] = 1
    grey = soft_mask(quarter, (256, 128))
    assert grey.shape == (256, 128)
    expected = np.zeros((256, 128), bool)
    expected[:128, :64] = True
    assert ((grey > 127) != expected).mean() < 0.02


def test_the_size_of_a_batch_changes_no_answer(trained, root, whole, tmp_path):
    three = lines_of(predict(trained, root, tmp_path / "out", TRAIN, batch=3))
    for a, b in zip(lines_of(whole), three, strict=True):
        assert a["caption"] == b["caption"]
        assert np.allclose(list(a["regions"].values()), list(b["regions"].values()), atol=1e-5)


def test_killed_it_goes_on_where_it_was_and_comes_out_the_same(trained, root, whole, tmp_path):
    class Killed(BaseException):
        pass

    def killed(_due, results):
        yield next(iter(results))
        raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        predict(trained, root, out, TRAIN, batch=2, progress=killed)
    unfinished = tmp_path / ".out.unfinished"
    assert not out.exists()
    done = len(lines_of(unfinished))
    assert done == 2
    with (unfinished / "predictions.jsonl").open("ab") as handle:
        handle.write(b'{"image_id": "half a li')
    counted = []

    def counting(due, results):
        counted.append(len(due))
        yield from results

    predict(trained, root, out, TRAIN, batch=2, progress=counting)
    total = len(of_split(read_samples(root), "train"))
    assert counted == [(total - done + 1) // 2]
    assert files_of(out) == files_of(whole)


def test_a_line_whose_mask_was_lost_is_made_again(trained, root, whole, tmp_path):
    unfinished = tmp_path / ".out.unfinished"
    shutil.copytree(whole, unfinished)
    lost = unfinished / lines_of(whole)[1]["mask_path"]
    lost.write_bytes(lost.read_bytes()[:40])
    assert files_of(predict(trained, root, tmp_path / "out", TRAIN, batch=2)) == files_of(whole)


def test_what_is_there_is_kept_and_other_predictions_are_not_written_over(trained, root, whole, tmp_path):
    before = files_of(whole)
    assert predict(trained, root, whole, TRAIN) == whole
    with pytest.raises(UserError, match="'regions' differs"):
        predict(trained, root, whole, replace(TRAIN, regions=("eye",)))
    (tmp_path / "strange").mkdir()
    with pytest.raises(UserError, match="holds no predictions of ours"):
        predict(trained, root, tmp_path / "strange", TRAIN)
    assert files_of(whole) == before


def test_what_was_begun_with_other_options_is_refused_by_name_and_kept(trained, root, whole, tmp_path):
    unfinished = Path(shutil.copytree(whole, tmp_path / ".out.unfinished"))
    before = files_of(unfinished)
    told = r"'regions' differs: null there, \[\"eye\"\] now.*remove .*/\.out\.unfinished to begin anew"
    with pytest.raises(UserError, match=told):
        predict(trained, root, tmp_path / "out", replace(TRAIN, regions=("eye",)))
    assert {name: data for name, data in files_of(unfinished).items() if name != ".lock"} == before
    assert files_of(predict(trained, root, tmp_path / "out", TRAIN, batch=2)) == files_of(whole)


@pytest.mark.parametrize("asked", [TRAIN, replace(TRAIN, regions=("eye",))])
def test_a_folder_that_somebody_else_is_making_is_left_alone(trained, root, whole, tmp_path, asked):
    unfinished = Path(shutil.copytree(whole, tmp_path / ".out.unfinished"))
    with lock(unfinished), pytest.raises(LockedError, match="being written by another process"):
        predict(trained, root, tmp_path / "out", asked)
    assert {name: data for name, data in files_of(unfinished).items() if name != ".lock"} == files_of(whole)


def test_a_picture_that_cannot_be_decoded_has_a_line_that_says_so_and_no_answer(trained, root, tmp_path):
    broken = shutil.copytree(root, tmp_path / "data")
    sample = of_split(read_samples(broken), "train")[0]
    table = pq.read_table(sample.shard)
    groups = [table.slice(0, table.num_rows).to_pylist()]
    groups[0][sample.row]["image"]["bytes"] = b"\x89PNG no more"
    with pq.ParquetWriter(sample.shard, table.schema) as writer:
        writer.write_table(type(table).from_pylist(groups[0], table.schema), row_group_size=pq_rows(sample.shard, root))
    lines = lines_of(predict(trained, broken, tmp_path / "out", TRAIN, batch=2))
    bad = [line for line in lines if "error" in line]
    assert [line["image_id"] for line in bad] == [sample.record_id]
    assert set(bad[0]) == {"image_id", "error"}
    assert len(lines) == len(of_split(read_samples(root), "train"))


def test_a_damaged_shard_is_a_sentence(trained, root, tmp_path):
    broken = shutil.copytree(root, tmp_path / "data")
    samples = of_split(read_samples(broken), "train")
    shard = samples[0].shard
    column = next(c for c in columns_of(shard) if c.path_in_schema == "image.bytes")
    data = bytearray(shard.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    shard.write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        predict(trained, broken, tmp_path / "out", TRAIN)


def columns_of(shard: Path):
    group = pq.ParquetFile(shard).metadata.row_group(0)
    return [group.column(number) for number in range(group.num_columns)]


def pq_rows(shard: Path, root: Path) -> int:
    original = next(root.rglob(shard.name))
    return pq.ParquetFile(original).metadata.row_group(0).num_rows


def test_regions_of_the_user_reach_the_model(trained, root, whole, tmp_path):
    lines = lines_of(predict(trained, root, tmp_path / "out", replace(TRAIN, regions=region_words("Nose, eye"))))
    assert all(line["prompted"] == ["eye", "nose"] for line in lines)
    own = lines_of(whole)
    assert any(line["prompted"] != ["eye", "nose"] for line in own)
    for a, b in zip(own, lines, strict=True):
        assert np.allclose(list(a["regions"].values()), list(b["regions"].values()), atol=1e-5)
    with pytest.raises(UserError, match=r"'noze' is no region of the face\. Did you mean 'nose'"):
        region_words("eye,noze")


def test_the_precision_of_training_is_that_of_predicting(trained, root, whole, tmp_path):
    training = trained.config.training.model_copy(update={"precision": "bf16"})
    run = untrained_run(tmp_path / "run", root, trained.config.model_copy(update={"training": training}))
    rough, exact = lines_of(predict(load(run), root, tmp_path / "out", TRAIN)), lines_of(whole)
    differences = [abs(a["regions"]["eye"] - b["regions"]["eye"]) for a, b in zip(rough, exact, strict=True)]
    assert 0 < max(differences) < 0.05


def test_too_little_memory_is_a_sentence_and_another_fault_keeps_its_traceback(trained, root, tmp_path):
    def greedy(*_):
        torch.empty(2**50)

    for hook, told in ((greedy, (UserError, "too many for the memory of cpu")), (_at_fault, (RuntimeError, "a bug"))):
        held = trained.model.prompter.register_forward_pre_hook(hook)
        try:
            with pytest.raises(told[0], match=told[1]):
                predict(trained, root, tmp_path / "out", Asked("train"))
        finally:
            held.remove()


def _at_fault(*_):
    raise RuntimeError("a bug")


@pytest.mark.parametrize("part", ["mask_decoder", "prompter", "verdict"])
def test_weights_that_are_no_numbers_are_refused(trained, root, tmp_path, part):
    broken = load(trained.run.folder)
    with torch.no_grad():
        next(iter(getattr(broken.model, part).parameters())).fill_(float("nan"))
    with pytest.raises(UserError, match="not a number: its weights are broken"):
        predict(broken, root, tmp_path / "out", TRAIN)
    assert not (tmp_path / "out").exists()


def test_evaluation_scores_beside_the_trivial_baselines_and_writes_the_tables(trained, root, tmp_path):
    board = evaluate(trained, root, tmp_path / "out", Asked(), progress=lambda _title: silent)
    names = [standing.name for standing in board.standings]
    assert names[0] == "model"
    assert "landmark box" in names
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"predictions", "scores.md", "scores.tex", "scores.json", "scores.parquet"}
    assert "landmark box" in (tmp_path / "out" / "scores.md").read_text(encoding="utf-8")
