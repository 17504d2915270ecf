"""Trivial baselines: what each answers, worked out anew here; and that none of them sees what it has to answer."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import log

import numpy as np
import pytest

from mmtt.centrality import centrality
from mmtt.errors import UserError
from mmtt.faces import Face
from mmtt.images import decode_gray, decode_rgb, perceptual_hash
from mmtt.lexicon import claimed
from mmtt.metrics.localization import localize
from mmtt.regions import oval
from mmtt.reports import Report
from mmtt.samples import Reference, Rows, Sample, of_split, read_samples
from mmtt.shards import write_table
from mmtt.trivial import GRID_PX, baselines, fit
from tests.factories import build, make_record, tiny_dataset

NAMES = [
    "mean mask", "mean mask, family known", "landmark box", "central report", "report, family known",
    "nearest picture",
]  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Sample]:
    layout = tiny_dataset(tmp_path_factory.mktemp("trivial"), 8, ("recolour", "classical_inpaint"))
    build(layout)
    read = read_samples(layout.root)
    write_table(layout.root / "reports" / "reports.parquet", [report_about(sample) for sample in read], Report)
    return read_samples(layout.root, pristine=True)


def report_about(sample: Sample) -> Report:
    word = max(sample.regions, key=lambda region: sample.regions[region])
    text = f"The {word} is smeared." if sample.manipulation == "classical_inpainting" else f"The {word} is tinted."
    return Report(
        report_id=sample.record_id, record_id=sample.record_id, image_sha256=sample.image_sha256, rank=0,
        settled="single", annotator="template", protocol="informed", verdict="visible", regions=[word],
        text_regions=list(claimed(text, "en")), difficulty=None, text=text, language="en", text_origin="template",
        submitted="2026-01-01", dwell_s=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def forged(samples) -> list[Sample]:
    return [sample for sample in samples if sample.manipulated]


@pytest.fixture(scope="module")
def train(forged) -> list[Sample]:
    return of_split(forged, "train")


@pytest.fixture(scope="module")
def asked(forged) -> list[Sample]:
    return of_split(forged, "test")


def column(sample: Sample, name: str):
    return Rows((name,))(sample)[name]


def mask_of(sample: Sample) -> np.ndarray:
    return decode_gray(column(sample, "mask"))


def test_every_baseline_answers_every_sample_with_the_same_parts(train, asked):
    answers = baselines(train, asked)
    assert list(answers) == NAMES
    for answer in answers.values():
        assert set(answer) == {sample.key for sample in asked}
        parts = {tuple(part is None for part in (p.mask, p.report, p.regions, p.verdict)) for p in answer.values()}
        assert len(parts) == 1


def test_the_mean_mask_keeps_the_order_of_the_mean_and_the_best_threshold(train, asked):
    mask = baselines(train, asked)["mean mask"][asked[0].key].mask
    mean = np.mean([mask_of(sample) > 127 for sample in train], axis=0)
    assert mask.shape == (GRID_PX, GRID_PX) == mean.shape
    places = np.random.default_rng(0).integers(mean.size, size=(2, 5000))
    first, second = mean.ravel()[places]
    lower, upper = mask.ravel()[places]
    assert not np.any((first > second) & (lower < upper)), "a pixel with a higher mean got a lower value"
    chosen = mean_iou(mask, train)
    for level in np.unique(mean)[1:]:
        other = np.where(mean >= level, 255, 0).astype(np.uint8)
        assert mean_iou(other, train) <= chosen + 0.02


def mean_iou(mask: np.ndarray, samples: list[Sample]) -> float:
    return float(np.mean([localize(mask, mask_of(sample)).iou for sample in samples]))


def test_who_knows_the_family_does_better_and_takes_only_that_family(train, asked):
    answers = baselines(train, asked)
    known, overall = answers["mean mask, family known"], answers["mean mask"]
    assert mean_iou_of(known, asked) > mean_iou_of(overall, asked)
    recoloured = [sample for sample in train if sample.manipulation == "recolour"]
    alone = baselines(recoloured, asked)["mean mask"]
    for sample in asked:
        if sample.manipulation == "recolour":
            assert np.array_equal(known[sample.key].mask, alone[sample.key].mask)


def mean_iou_of(answers, samples: list[Sample]) -> float:
    return float(np.mean([localize(answers[sample.key].mask, mask_of(sample)).iou for sample in samples]))


def test_a_family_that_the_train_split_lacks_gets_the_overall_mean(train, asked):
    answers = baselines([sample for sample in train if sample.manipulation == "recolour"], asked)
    strange = next(sample for sample in asked if sample.manipulation != "recolour")
    known, overall = answers["mean mask, family known"], answers["mean mask"]
    assert np.array_equal(known[strange.key].mask, overall[strange.key].mask)
    assert answers["report, family known"][strange.key] == answers["central report"][strange.key]


def test_the_landmark_box_is_the_box_of_the_face_oval(train, asked):
    for sample in asked:
        mask = baselines(train, asked)["landmark box"][sample.key].mask
        face = Face(np.asarray(column(sample, "landmarks"), np.float32), column(sample, "landmark_scheme"))
        rows, columns = np.nonzero(mask)
        box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        points = oval(face)
        assert mask.shape == mask_of(sample).shape
        assert np.abs(box - np.concatenate([points.min(axis=0), points.max(axis=0)]).clip(0, 255)).max() <= 1
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_the_nearest_picture_gives_what_is_true_of_it(train, asked):
    answers = baselines(train, asked)["nearest picture"]
    hashes = {sample.key: int(perceptual_hash(decode_rgb(column(sample, "image"))), 16) for sample in train + asked}
    for sample in asked:
        nearest = min(train, key=lambda t: ((hashes[t.key] ^ hashes[sample.key]).bit_count(), t.key))
        answer = answers[sample.key]
        assert np.array_equal(answer.mask, mask_of(nearest))
        assert answer.report == nearest.references[0].text
        assert answer.regions == dict.fromkeys(nearest.references[0].regions, 1.0)


def test_centrality_is_the_mean_cosine_with_the_others():
    texts = ["the nose is blurred", "the nose is blurred a lot", "the left eye", "nose blurred", "the nose is too red"]
    found = centrality([text.split() for text in texts])
    slow = np.zeros((len(texts), len(texts)))
    for one, other in combinations(range(len(texts)), 2):
        slow[one, other] = slow[other, one] = np.mean([cosine(texts, one, other, n) for n in range(1, 5)])
    assert np.allclose(found, slow.sum(axis=1) / (len(texts) - 1), atol=1e-12)
    assert found.argmax() in (0, 1)


def cosine(texts: list[str], one: int, other: int, n: int) -> float:
    grams = [[tuple(w[i : i + n]) for i in range(len(w) - n + 1)] for w in (text.split() for text in texts)]
    every = sorted({gram for text in grams for gram in text})
    idf = {gram: log(len(texts) / sum(gram in text for text in grams)) for gram in every}
    a, b = (np.array([grams[k].count(gram) * idf[gram] for gram in every]) for k in (one, other))
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length else 0.0


def test_the_central_report_is_one_of_the_train_split_and_of_the_family_where_that_is_known(train, asked):
    answers = baselines(train, asked)
    texts = {sample.references[0].text for sample in train}
    assert {answer.report for answer in answers["central report"].values()} < texts
    for sample in asked:
        word = "smeared" if sample.manipulation == "classical_inpainting" else "tinted"
        assert word in answers["report, family known"][sample.key].report


def test_no_answer_depends_on_the_mask_regions_or_texts_of_the_sample_that_is_asked(train, asked):
    blinded = [replace(sample, mask_share=0.0, regions={}, references=()) for sample in asked]
    seen, blind = baselines(train, asked), baselines(train, blinded)
    for name in NAMES:
        for sample in asked:
            assert same(seen[name][sample.key], blind[name][sample.key])


def test_the_same_seed_gives_the_same_answers_in_any_order(train, asked):
    first, second = baselines(train, asked, seed=3), baselines(train[::-1], asked[::-1], seed=3)
    for name in NAMES:
        for sample in asked:
            assert same(first[name][sample.key], second[name][sample.key])


def same(one, other) -> bool:
    masks = one.mask is None or np.array_equal(one.mask, other.mask)
    return masks and replace(one, mask=None) == replace(other, mask=None)


def test_masks_and_reports_are_drawn_by_the_seed_where_there_are_many(train, asked, monkeypatch):
    monkeypatch.setattr("mmtt.trivial.MOST_REPORTS", 2)
    texts = {fit(train, seed).predictions(asked)["central report"][asked[0].key].report for seed in range(8)}
    assert len(texts) > 1


def test_without_reports_only_masks_are_answered_and_regions_come_from_the_masks(train, asked):
    silent = [replace(sample, references=()) for sample in train]
    answers = baselines(silent, asked)
    assert list(answers) == [name for name in NAMES if "report" not in name]
    assert answers["nearest picture"][asked[0].key].report is None
    edited = [{word for word, share in sample.regions.items() if share >= 0.05} for sample in train]
    told = answers["mean mask"][asked[0].key].regions
    often = Counter(word for words in edited for word in words)
    assert sorted(told) == sorted(often)
    assert [often[word] for word in sorted(told, key=told.get)] == sorted(often.values())


def test_the_words_named_most_often_are_the_best_that_can_be_said_of_everybody(train, asked):
    """Against every set of words that the train split's texts name."""
    told = baselines(train, asked)["mean mask"][asked[0].key].regions
    texts = [set(sample.references[0].regions) for sample in train]

    def micro_f1(said: set[str]) -> float:
        shared = sum(len(said & words) for words in texts)
        return 2 * shared / (len(said) * len(texts) + sum(map(len, texts)))

    sets = [set(some) for size in range(1, len(told) + 1) for some in combinations(told, size)]
    assert micro_f1({word for word, share in told.items() if share >= 0.5}) == pytest.approx(max(map(micro_f1, sets)))


def test_reports_in_another_language_than_the_metrics_read_are_not_repeated(train, asked):
    chinese = [replace(s, references=(Reference("鼻子很模糊。", ("nose",), "template", "zh"),)) for s in train]
    assert "central report" not in baselines(chinese, asked)


def test_with_pristine_faces_the_base_rate_is_the_verdict_and_their_family_is_unaltered(samples):
    train, asked = of_split(samples, "train"), of_split(samples, "test")
    answers = baselines(train, asked)
    share = np.mean([sample.manipulated for sample in train])
    untouched = next(sample for sample in asked if not sample.manipulated)
    assert answers["mean mask"][untouched.key].verdict == pytest.approx(share)
    assert not answers["mean mask, family known"][untouched.key].mask.any()
    forged = [sample for sample in train if sample.manipulated]
    alone = baselines(forged, asked)["mean mask"][untouched.key]
    assert np.array_equal(answers["mean mask"][untouched.key].mask, alone.mask)
    assert alone.verdict is None


def test_a_train_split_without_forgeries_is_a_users_mistake(samples):
    with pytest.raises(UserError, match="no forged sample"):
        fit([sample for sample in samples if not sample.manipulated])


def test_nothing_is_read_of_a_sample_before_it_is_asked(train, asked, tmp_path):
    missing = replace(asked[0], shard=tmp_path / "absent.parquet")
    answers = baselines(train, [missing])["landmark box"]
    assert list(answers) == [missing.key]
    with pytest.raises(UserError, match="does not exist"):
        answers[missing.key]


def test_a_face_outside_the_frame_leaves_an_empty_box(train, asked, tmp_path):
    far = make_record(1, 48)
    far = replace(far, landmarks=(np.asarray(far.landmarks) - 4000).tolist())
    write_table(tmp_path / "far.parquet", [far], type(far))
    sample = replace(asked[0], shard=tmp_path / "far.parquet", row_group=0, row=0)
    mask = baselines(train, [sample])["landmark box"][sample.key].mask
    assert mask.shape == (48, 48)
    assert not mask.any()
