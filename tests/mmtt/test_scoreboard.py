"""Scores of whole sets of predictions: strict about ids, equal to the definitions, beside the trivial baselines."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.grounding import ground
from mmtt.images import decode_gray, encode_png
from mmtt.layout import Layout
from mmtt.lexicon import claimed
from mmtt.manifest import assemble_manifest, read
from mmtt.metrics.board import page, summary
from mmtt.metrics.captions import meteor_missing
from mmtt.metrics.localization import localize
from mmtt.metrics.predictions import image_id_of
from mmtt.metrics.rows import ScoreRow
from mmtt.metrics.truth import by_origin_id, read_truth
from mmtt.progress import silent
from mmtt.record import Record, Rejection
from mmtt.reports import Report
from mmtt.samples import Rows, of_split, read_samples
from mmtt.scoreboard import run, write
from mmtt.shards import Footer, ShardWriter, read_table, write_table
from pipelines.degrade import degrade
from tests import factories
from tests.mmtt.test_cli import mmtt, users_mistake

TEXTS = ("The {} is blurred along its border.", "I see an odd colour at the {}.", "The {} does not fit the light here.")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    layout = factories.tiny_dataset(
        tmp_path_factory.mktemp("scores"),
        6,
        ["recolour", "retouch"],
        degrade={"variants": [{"name": "small", "chain": [{"op": "jpeg", "quality": 60}]}]},
        plan={"splits": {"train": 0.4, "validation": 0.1, "test": 0.5}, "donors": {"nearest": 3}},
    )
    degrade(layout, factories.build(layout), serial, silent)
    reports = [report_about(sample, number) for number, sample in enumerate(read_samples(layout.root))]
    write_table(layout.root / "reports" / "reports.parquet", reports, Report)
    return layout.root


def report_about(sample, number):
    words = sorted(sample.regions, key=sample.regions.__getitem__)[-2:]
    return Report(
        report_id=f"r{number}", record_id=sample.record_id, image_sha256=sample.image_sha256, rank=0, settled="single",
        annotator="template", protocol="informed", verdict="visible", regions=words, text_regions=words,
        difficulty=None, text=TEXTS[number % 3].format(" and the ".join(words)), language="en", text_origin="template",
        submitted="2026-11-26", dwell_s=None,
    )  # fmt: skip


@pytest.fixture
def asked(root):
    return of_split(read_samples(root), "test")


@pytest.fixture
def everybody(root):
    return of_split(read_samples(root, pristine=True), "test")


@pytest.fixture
def answer(tmp_path):
    """Writes a folder of perfect answers; `change` edits a line or drops it, `mask` edits a mask."""

    def folder(samples, change=lambda _, line: line, mask=lambda truth: truth, more=()):
        rows = Rows(("mask",))
        (tmp_path / "masks").mkdir(exist_ok=True)
        lines = []
        for sample in samples:
            path = f"masks/{image_id_of(sample.key)}.png"
            (tmp_path / path).write_bytes(encode_png(mask(decode_gray(rows(sample)["mask"]))))
            told = sample.references[0] if sample.references else None
            line = {"image_id": image_id_of(sample.key), "mask_path": path, "verdict": float(sample.manipulated)}
            line |= {"caption": told.text if told else "", "regions": list(told.regions) if told else []}
            lines.append(change(sample, line))
        kept = [line for line in lines if line is not None] + list(more)
        (tmp_path / "predictions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in kept))
        return tmp_path

    return folder


def scores_of(board, place=0):
    return {name: found.value for name, found in board.standings[place].overall.items()}


def true_masks(samples):
    rows = Rows(("mask",))
    return [decode_gray(rows(sample)["mask"]) for sample in samples]


def test_perfect_answers_score_one_and_have_no_fault(root, everybody, answer):
    board, _ = run(answer(everybody), root, pristine=True, trivial_too=False)
    found = scores_of(board)
    ones = ("iou", "precision", "recall", "f1", "pooled_iou", "pixel_auc", "region_micro_f1", "region_macro_f1")
    assert {name: found[name] for name in (*ones, "detection_auc")} == dict.fromkeys((*ones, "detection_auc"), 1.0)
    assert found["false_alarm"] == 0
    assert {name: found[name] for name in ("bleu_1", "bleu_4", "rouge_l")} == pytest.approx(
        dict.fromkeys(("bleu_1", "bleu_4", "rouge_l"), 1.0), abs=1e-6
    )
    assert found["cider"] > 1
    assert not board.faults.any
    assert (board.forged, board.pristine) == (len([s for s in everybody if s.manipulated]), 3)
    assert "Every sample has exactly one readable answer." in summary(board)


def test_scores_of_complete_answers_are_those_of_the_authors_script(root, asked, answer):
    rng, predicted = np.random.default_rng(0), []

    def noisy(truth):
        size = tuple(rng.integers(50, 300, 2))
        mask = np.asarray(Image.fromarray(truth).resize((size[1], size[0]), Image.Resampling.BILINEAR))
        mask = np.roll(mask, int(rng.integers(0, 20)), axis=1) * (rng.random() > 0.2)
        predicted.append(mask.astype(np.uint8))
        return predicted[-1]

    board, _ = run(answer(asked, mask=noisy), root, trivial_too=False)
    ious, precisions, recalls = [], [], []
    for mask, truth in zip(predicted, true_masks(asked), strict=True):
        resized = np.asarray(Image.fromarray(mask).resize(truth.shape[::-1], Image.Resampling.NEAREST)) > 127
        both, either = (resized & (truth > 127)).sum(), (resized | (truth > 127)).sum()
        ious.append(both / either)
        precisions.append(both / resized.sum() if resized.any() else 0.0)
        recalls.append(both / (truth > 127).sum())
    found = scores_of(board)
    expected = {"iou": np.mean(ious), "precision": np.mean(precisions), "recall": np.mean(recalls)}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert {name: board.present[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_a_missing_answer_scores_zero_where_the_authors_script_drops_it(root, asked, answer):
    gone = {asked[0].key, asked[3].key}
    board, rows = run(answer(asked, lambda sample, line: None if sample.key in gone else line), root, trivial_too=False)
    found, share = scores_of(board), 1 - 2 / len(asked)
    for name in ("iou", "precision", "recall", "pixel_auc", "rouge_l"):
        assert found[name] == pytest.approx(share)
    assert board.present["iou"] == board.present["rouge_l"] == pytest.approx(1.0)
    assert found["pooled_iou"] < 1
    assert found["region_micro_f1"] < 1
    assert found["cider"] < board.present["cider"]
    assert board.faults.missing == 2
    assert {fault.where for fault in board.faults.listed} == {record_id for record_id, _ in gone}
    assert [row.answer for row in rows].count("missing") == 2
    assert "On the ids present alone, which is no score: iou 1.000" in summary(board)


def test_every_kind_of_fault_is_counted_and_told(root, asked, everybody, answer):
    def change(sample, line):
        broken = {asked[1].key: {"mask_path": "masks/nowhere.png"}, asked[2].key: {"regions": ["snout"]}}
        return line | broken.get(sample.key, {})

    train = of_split(read_samples(root), "train")[0]
    pristine = next(sample for sample in everybody if not sample.manipulated)
    more = [{"image_id": asked[0].record_id}, {"image_id": "stranger"}, {"image_id": train.record_id}]
    more += [{"image_id": f"{asked[0].record_id}@small"}, {"image_id": pristine.record_id}]
    more.append({"image_id": f"{asked[1].record_id}@smal"})
    board, rows = run(answer(asked, change, more=more), root, trivial_too=False)
    faults = board.faults
    assert (faults.missing, faults.extra, faults.doubled, faults.unreadable, faults.unasked) == (0, 2, 1, 2, 3)
    state = {(row.record_id, row.variant): (row.answer, row.iou, tuple(row.lacking)) for row in rows}
    assert state[asked[0].key] == ("doubled", 0.0, ("mask", "regions", "report", "verdict"))
    assert state[asked[1].key] == ("given", 0.0, ("mask",))
    assert state[asked[2].key] == ("given", 1.0, ("regions",))
    assert state[asked[3].key] == ("given", 1.0, ())
    assert scores_of(board)["iou"] == pytest.approx(1 - 2 / len(asked))
    assert board.present["iou"] == 1  # over the answers with a readable mask
    text = page(board)
    assert "Faults: 0 missing, 2 extra, 1 doubled, 2 unreadable." in text
    assert "- extra: stranger: the dataset has no such record or variant" in text
    assert "3 answers are about records of another split or kind" in text


def test_what_a_stranger_wrote_is_told_in_one_short_line_that_means_nothing(root, asked, answer):
    hostile = "<script>alert(1)</script>|\n# x \u202e \x1b[31m"
    more = [{"image_id": hostile}, {"image_id": asked[0].record_id, "verdict": [hostile * 10_000]}]
    board, _ = run(answer(asked, lambda *_: None, more=more), root, trivial_too=False)
    told = [line for line in page(board).splitlines() if "script" in line or "verdict: " in line]
    assert [line.split(":")[0] for line in told] == ["- extra", "- unreadable"]
    assert all(line.isprintable() and len(line) < 400 and "<" not in line.replace("\\<", "") for line in told)
    assert told[1].endswith("is no probability")
    assert "which is no score: nothing." in page(board)


def test_of_doubled_answers_the_authors_script_keeps_the_last_and_we_keep_none(root, asked, answer):
    swapped = {"image_id": asked[0].record_id, "mask_path": f"masks/{asked[1].record_id}.png"}
    board, _ = run(answer(asked, more=[swapped]), root, trivial_too=False)
    first, second = true_masks(asked[:2])
    others = len(asked) - 1
    assert board.present["iou"] == pytest.approx((others + localize(second, first).iou) / len(asked))
    assert scores_of(board)["iou"] == pytest.approx(others / len(asked))


def test_what_a_model_never_gives_is_not_scored_and_said(root, asked, answer):
    board, _ = run(
        answer(asked, lambda _, line: {"image_id": line["image_id"], "caption": line["caption"]}), root,
        trivial_too=False,
    )  # fmt: skip
    found = scores_of(board)
    assert not {"iou", "pixel_auc", "detection_auc", "pooled_iou"} & set(found)
    assert found["region_micro_f1"] == 1  # the words that the texts claim
    told = summary(board)
    assert "No masks: localization is not scored." in told
    assert "No regions of its own: they are read out of its texts." in told
    assert "**Localization**" not in told


def test_an_owed_verdict_counts_as_the_worst(root, everybody, answer):
    forged = next(sample for sample in everybody if sample.manipulated)
    count = sum(sample.manipulated for sample in everybody)
    silent_on = answer(everybody, lambda s, line: line | {"verdict": None if s.key == forged.key else line["verdict"]})
    board, _ = run(silent_on, root, pristine=True, trivial_too=False)
    assert scores_of(board)["detection_auc"] == pytest.approx(1 - 1 / count)


@pytest.mark.skipif(meteor_missing() is not None, reason="METEOR needs Java and pycocoevalcap")
def test_meteor_comes_when_asked_for_and_has_no_interval(root, asked, answer):
    board, _ = run(answer(asked), root, trivial_too=False, meteor=True)
    found = board.standings[0].overall["meteor"]
    assert found.value == pytest.approx(1, abs=0.01)
    assert (found.low, found.high) == (None, None)
    assert "METEOR" in summary(board)


def test_meteor_that_cannot_be_computed_is_one_sentence(root, asked, answer, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "METEOR needs Java" in users_mistake("score", answer(asked), root, "--meteor")


def test_grounding_judges_the_texts_against_the_true_mask(root, asked, answer):
    text = "The chin and the forehead look pasted in."
    board, _ = run(answer(asked, lambda _, line: line | {"caption": text}), root, trivial_too=False)
    fits = [ground(claimed(text, "en"), sample.regions, sayable=sample.sayable) for sample in asked]
    expected = {
        "grounding_precision": np.mean([fit.precision for fit in fits if fit.precision is not None]),
        "grounding_recall": np.mean([fit.recall for fit in fits if fit.recall is not None]),
        "hallucinated": np.mean([len(fit.unsupported) for fit in fits]),
        "omitted": np.mean([len(fit.omitted) for fit in fits]),
    }
    found = scores_of(board)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("text", [None, "", "All is well here."])
def test_a_text_withheld_or_empty_gains_in_no_score(root, asked, answer, text):
    wrong, gone = "The chin is blurred.", asked[0].key
    full, _ = run(answer(asked, lambda _, line: line | {"caption": wrong}), root, trivial_too=False)
    folder = answer(asked, lambda s, line: line | {"caption": text if s.key == gone else wrong})
    less, _ = run(folder, root, trivial_too=False)
    before, after = scores_of(full), scores_of(less)
    for name in ("grounding_precision", "grounding_recall", "rouge_l", "bleu_1", "cider"):
        assert after[name] <= before[name]
    assert after["omitted"] >= before["omitted"]
    assert text is not None or after["hallucinated"] > before["hallucinated"]


def test_baselines_stand_beside_the_model_and_differences_are_paired(root, asked, answer):
    board, rows = run(answer(asked), root)
    assert [standing.name for standing in board.standings] == [
        "model", "mean mask", "mean mask, family known", "landmark box", "central report", "report, family known",
        "nearest picture",
    ]  # fmt: skip
    assert len(rows) == 7 * len(asked)
    for place, standing in enumerate(board.standings[1:], 1):
        differences = board.differences[standing.name]
        for name in set(differences) & {"iou", "cider", "bleu_4", "region_micro_f1"}:
            assert differences[name].value == pytest.approx(scores_of(board)[name] - scores_of(board, place)[name])
    # The model is always 1; so the difference moves exactly as the baseline does.
    own, less = board.standings[1].overall["iou"], board.differences["mean mask"]["iou"]
    assert (less.low, less.high) == pytest.approx((1 - own.high, 1 - own.low))
    assert own.low < own.value < own.high
    assert "is told the family" in summary(board)


def test_what_the_predictions_do_not_beat_is_said(root, asked, answer):
    assert "In IoU the predictions do not beat" not in summary(run(answer(asked), root)[0])
    told = summary(run(answer(asked, mask=np.zeros_like), root)[0])
    assert "In IoU the predictions do not beat: mean mask, mean mask, family known, landmark box" in told


def test_parts_are_the_means_of_their_rows(root, answer):
    both = of_split(read_samples(root, variants=("master", "small")), "test")
    rng = np.random.default_rng(0)
    folder = answer(both, mask=lambda truth: np.roll(truth, int(rng.integers(0, 30)), axis=0))
    board, rows = run(folder, root, variants=("master", "small"), trivial_too=False)
    cells = {(cell.dimension, cell.name): cell for cell in board.standings[0].cells}
    members = {
        ("overall", "all"): rows,
        ("family", "recolour"): [row for row in rows if row.manipulation == "recolour"],
        ("region", "nose"): [row for row in rows if "nose" in row.edited],
        ("variant", "small"): [row for row in rows if row.variant == "small"],
    }
    for label, chosen in members.items():
        assert cells[label].forged == len(chosen) > 0
        assert cells[label].scores["iou"].value == pytest.approx(np.mean([row.iou for row in chosen]))
    areas = [cell for cell in cells.values() if cell.dimension == "area"]
    in_order = iter(sorted(rows, key=lambda row: row.mask_share))
    for cell in areas:
        chosen = [next(in_order) for _ in range(cell.forged)]
        assert cell.scores["iou"].value == pytest.approx(np.mean([row.iou for row in chosen]))
    assert sum(cell.forged for cell in areas) == len(rows)
    assert max(cell.forged for cell in areas) <= len(rows) / 10 + 2  # both variants of a record are in one decile


def test_scores_are_written_whole_and_say_the_same_each_time(root, asked, answer, tmp_path):
    folder = answer(asked)
    for name in ("one", "other"):
        write(*run(folder, root), tmp_path / name)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert sorted(files) == ["scores.json", "scores.md", "scores.parquet", "scores.tex"]
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    told = json.loads(files["scores.json"])
    assert told["standings"][0]["cells"][0]["scores"]["iou"]["value"] == 1
    assert len(read_table(tmp_path / "one" / "scores.parquet", ScoreRow)) == 7 * len(asked)
    assert pq.read_schema(tmp_path / "one" / "scores.parquet").field("iou").type == "double"
    assert r"\begin{tabular}" in files["scores.tex"].decode()


def test_the_authors_layout_is_scored_by_its_own_ids(root, asked, tmp_path):
    one_each = [sample for sample in asked if sample.manipulator == "recolour"]
    record_of = by_origin_id(one_each)
    assert sorted(record_of.values()) == sorted(sample.record_id for sample in one_each)
    with pytest.raises(UserError, match="stands for several records"):
        by_origin_id(asked)
    rows = Rows(("mask",))
    with (tmp_path / "pred.jsonl").open("w") as handle:
        for sample in asked:
            place = tmp_path / "theirs" / "celeb512" / f"{sample.record_id}.v1.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(rows(sample)["mask"])
            line = {"image_id": sample.record_id, "img_path": f"celeb512/{sample.record_id}.v1.JPG", "caption": "x"}
            handle.write(json.dumps(line) + "\n")
    board, _ = run(tmp_path / "pred.jsonl", root, masks=tmp_path / "theirs", trivial_too=False)
    assert scores_of(board)["iou"] == 1
    assert scores_of(board)["rouge_l"] == 0


def test_a_dataset_without_a_train_split_is_scored_without_baselines(root, asked, answer, tmp_path):
    folder = answer(asked)
    released = tmp_path / "released"
    write_test_split_only(root, released)
    assert "Score with --no-trivial" in users_mistake("score", folder, released)
    board, _ = run(folder, released, trivial_too=False)
    assert scores_of(board)["iou"] == 1


def write_test_split_only(root, released):
    released.mkdir()
    wanted = {sample.record_id for sample in of_split(read_samples(root), "test")}
    with_split = (replace(r, split="test") for r in read(Layout(root).forged) if r.record_id in wanted)
    writer = ShardWriter(released / "test-0000.parquet", Record)
    for record in with_split:
        writer.add(record)
    writer.close(Footer("release", "0" * 64, "0" * 64))
    side = released.parent / "private" / released.name / "test-0000.rejection.parquet"
    write_table(side, [], Rejection)
    assemble_manifest(released, "release", ["test-0000"])


def test_truth_leaves_other_splits_out_but_knows_their_records(root):
    truth = read_truth(root)
    assert {sample.split for sample in truth.samples} == {"test"}
    assert {sample.split for sample in truth.train} == {"train"}
    both = read_samples(root, variants=("master", "small"), pristine=True)
    assert {sample.key for sample in both} == truth.known


def test_the_command_prints_tables_or_json_and_writes_what_it_is_told(root, asked, answer, tmp_path):
    folder = answer(asked, lambda sample, line: None if sample.key == asked[0].key else line)
    done = mmtt("score", folder, root, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Faults: 1 missing" in done.stdout
    assert "| mean mask |" in done.stdout
    assert (tmp_path / "out" / "scores.tex").is_file()
    told = json.loads(mmtt("score", folder, root, "--json", "--no-trivial").stdout)
    assert [standing["name"] for standing in told["standings"]] == ["model"]


def test_the_authors_lines_without_their_masks_are_met_with_where_to_name_them(root, asked, tmp_path):
    path = tmp_path / "out.jsonl"
    lines = [{"image_id": s.record_id, "img_path": f"a/{s.record_id}.jpg", "caption": "Odd."} for s in asked]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert "--masks names the folder" in mmtt("score", path, root, "--no-trivial").stderr


def test_a_mistake_is_one_sentence(root, asked, answer, tmp_path):
    folder = answer(asked)
    assert "No sample is in split 'tset'" in users_mistake("score", folder, root, "--split", "tset")
    assert "no records of variant 'big'" in users_mistake("score", folder, root, "--variant", "big")
    assert "does not exist" in users_mistake("score", tmp_path / "nowhere", root)
    assert "neither a built dataset" in users_mistake("score", folder, tmp_path)
    assert "--out names" in users_mistake("score", folder, root, "--out", folder / "predictions.jsonl")


def test_without_landmarks_grounding_is_not_scored_and_said(tmp_path):
    """Imported datasets say nothing of where a region is: a text could be neither right nor wrong."""
    bare = {"landmarks": [], "landmark_scheme": "none", "target_id": None, "regions": [], "region_shares": []}
    records = [factories.make_forged_record(seed, 64, **bare) for seed in range(6)]
    reports = [factories.make_report(record) for record in records]
    layout = factories.stored_dataset(tmp_path / "d", [], records, reports=reports)
    asked = read_truth(layout.root).samples
    lines = [json.dumps({"image_id": s.record_id, "caption": "The nose is blurred."}) for s in asked]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    board, _ = run(tmp_path / "p.jsonl", layout.root)
    assert not {"grounding_precision", "hallucinated", "omitted"} & scores_of(board).keys()
    assert "grounding is not scored" in summary(board)
    assert "landmark box" not in summary(board)
