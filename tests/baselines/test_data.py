import json
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baselines.forgerytalker.config import DataConfig
from baselines.forgerytalker.data import batches, open_data
from baselines.forgerytalker.data.cache import reduced
from baselines.forgerytalker.data.decode import _stored
from baselines.forgerytalker.data.sides import mirrored
from mmtt.errors import DamagedError, SchemaError, UserError
from mmtt.lexicon import sides
from mmtt.record import IMAGE
from mmtt.regions import REGIONS
from mmtt.reports import Report
from mmtt.samples import read_samples
from mmtt.shards import write_table
from tests.baselines.released import SIZE_PX, TEXT, forged, release
from tests.factories import build, make_forged_record, make_record, tiny_dataset

CONFIG = DataConfig(size_px=32)


def opened(root, config=CONFIG, split="train", **changes):
    return open_data(root, config, split, **({"need_reports": True, "need_regions": True} | changes))


def bare(seed, **changes):
    """A forged record without a report."""
    return forged(seed, report=None, report_regions=None, text_origin=None, **changes)


def words_of(vector):
    return [word for word, said in zip(REGIONS, vector, strict=True) if said]


# What is opened, and what is refused


def test_forged_samples_without_a_report_stay_where_only_texts_are_learnt_and_are_counted(tmp_path):
    root = release(tmp_path / "shards", [forged(0), bare(1), bare(2), forged(3)])
    data = opened(root, need_regions=False)
    assert data.reports == (TEXT, "", "", TEXT)
    assert (data.unreported, data.left_out) == (2, 0)


def test_forged_samples_without_region_labels_are_left_out_where_those_are_learnt_and_are_counted(tmp_path):
    root = release(tmp_path / "shards", [forged(0), bare(1), bare(2), forged(3)])
    data = opened(root)
    assert data.reports == (TEXT, TEXT) and data.rows == (0, 3)
    assert (data.unreported, data.left_out) == (0, 2)
    from_masks = opened(root, CONFIG.model_copy(update={"region_labels": "mask"}))
    assert (len(from_masks), from_masks.unreported, from_masks.left_out) == (4, 2, 0)


@pytest.mark.parametrize("needs", [{"need_regions": False}, {"need_reports": False}])
def test_a_split_without_any_report_is_refused_where_reports_are_learnt_from(tmp_path, needs):
    root = release(tmp_path / "shards", [bare(seed) for seed in range(3)])
    with pytest.raises(UserError, match=r"3 of 3 forged samples of split 'train' of .* lack a report in 'en'"):
        opened(root, **needs)
    assert len(opened(root, need_reports=False, need_regions=False)) == 3


def test_pristine_samples_come_by_choice_with_an_empty_mask_no_report_and_no_regions(tmp_path):
    root = release(tmp_path / "shards", [make_record(0, SIZE_PX, split="train"), forged(1)])
    assert len(opened(root)) == 1
    data = opened(root, CONFIG.model_copy(update={"pristine": True}))
    (batch,) = batches(data, batch=2, seed=0, epoch=0, train=False)
    assert batch.manipulated_B.tolist() == [0, 1]
    assert batch.reports == ("", TEXT)
    assert batch.mask_BHW[0].sum() == 0 and batch.regions_BR[0].sum() == 0
    assert batch.mask_BHW[1].sum() > 0 and batch.regions_BR[1].sum() == 2
    assert (data.unreported, data.left_out) == (0, 0)


@pytest.mark.parametrize("labels", ["report", "text", "mask"])
def test_region_labels_come_from_where_the_config_says(tmp_path, labels):
    record = forged(4, report="The nose is smeared; the eyes look fine.")
    root = release(tmp_path / "shards", [record])
    data = opened(root, CONFIG.model_copy(update={"region_labels": labels}))
    shares = zip(record.regions, record.region_shares, strict=True)
    touched = {word for word, share in shares if share >= 0.05}
    assert set(words_of(data.regions[0])) == {"report": {"eye", "cheek"}, "text": {"nose"}, "mask": touched}[labels]
    assert touched and len(touched) < len(record.regions)


def test_a_report_that_is_too_long_is_refused_by_name_unless_it_may_be_cut(tmp_path):
    root = release(tmp_path / "shards", [forged(0), forged(1, report=TEXT * 3)])
    config = CONFIG.model_copy(update={"report_tokens": 12})
    length = lambda text: len(text.split())  # noqa: E731
    with pytest.raises(UserError, match=rf"The report of record {forged(1).record_id} has 31 tokens, more than"):
        opened(root, config, length=length)
    assert len(opened(root, config.model_copy(update={"cut_reports": True}), length=length)) == 2
    assert len(opened(root, config.model_copy(update={"report_tokens": 31}), length=length)) == 2


def test_forged_samples_with_an_empty_mask_are_refused_with_their_count(tmp_path):
    root = release(tmp_path / "shards", [forged(0), forged(1, mask_share=0.0)])
    with pytest.raises(UserError, match=rf"1 of 2 forged samples .* have no mask, record {forged(1).record_id} first"):
        opened(root)


def test_shards_without_a_column_for_masks_and_shards_of_another_schema_are_refused(tmp_path):
    root = release(tmp_path / "shards", [forged(0)])
    table = pq.read_table(root / "part-0000.parquet")
    pq.write_table(table.drop_columns(["mask"]), root / "part-0000.parquet")
    with pytest.raises(SchemaError, match=r"part-0000\.parquet lacks the column\(s\) mask\."):
        opened(root)
    footer = {"stage": "release", "input_digest": "", "fingerprint": "", "schema_version": 99}
    newer = table.replace_schema_metadata((table.schema.metadata or {}) | {b"mmtt": json.dumps(footer)})
    pq.write_table(newer, root / "part-0000.parquet")
    with pytest.raises(SchemaError, match="schema version 99"):
        opened(root)


def test_full_frame_edits_come_only_where_inexact_masks_are_taken(tmp_path):
    full = make_forged_record(
        0, SIZE_PX, "null_edit", split="train", report=TEXT, report_regions=[0] * 21, report_language="en"
    )
    root = release(tmp_path / "shards", [full])
    with pytest.raises(UserError, match=r"All 1 samples of split 'train' .* inexact; `data.inexact: true` takes them"):
        opened(root)
    assert len(opened(root, CONFIG.model_copy(update={"inexact": True}))) == 1


def test_a_split_or_a_variant_that_is_not_there_is_refused(tmp_path):
    root = release(tmp_path / "shards", [forged(0)])
    with pytest.raises(UserError, match="No sample is in split 'test'"):
        opened(root, split="test")
    with pytest.raises(UserError, match="no records of variant 'jpeg'"):
        opened(root, CONFIG.model_copy(update={"variants": ("jpeg",)}))


def test_a_language_that_cannot_be_read_is_refused_unless_nothing_has_to_be_read(tmp_path):
    root = release(tmp_path / "shards", [forged(0)])
    with pytest.raises(UserError, match=r"`data.language`: texts in 'de' cannot be read; .*`data.flip: off`"):
        opened(root, CONFIG.model_copy(update={"language": "de"}))
    unread = CONFIG.model_copy(update={"language": "de", "flip": "off"})
    assert len(opened(root, unread, need_reports=False, need_regions=False)) == 1


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory):
    """A built dataset whose records each have a Chinese report that stands for them, and some a British one."""
    root = tmp_path_factory.mktemp("bilingual")
    build(tiny_dataset(root, 4))
    found = read_samples(root)
    reports = [report(sample, 0, "zh", "左眼模糊。") for sample in found]
    reports += [report(sample, 1, "en-GB", TEXT) for sample in found[1:] if sample.split == "train"]
    write_table(root / "reports" / "reports.parquet", reports, Report)
    return root


def report(sample, rank, language, text):
    return Report(
        report_id=f"{sample.record_id}-{rank}",
        record_id=sample.record_id,
        image_sha256=sample.image_sha256,
        rank=rank,
        settled="single",
        annotator="nobody",
        protocol="informed",
        verdict="visible",
        regions=["eye"],
        text_regions=["eye"],
        difficulty=None,
        text=text,
        language=language,
        text_origin="template",
        submitted="2026-01-01",
        dwell_s=None,
    )


def test_the_first_report_in_the_language_stands_for_a_sample(bilingual):
    chinese = opened(bilingual, CONFIG.model_copy(update={"language": "zh"}))
    assert set(chinese.reports) == {"左眼模糊。"} and chinese.unreported == 0
    told = {
        text
        for epoch in range(8)
        for b in batches(chinese, batch=4, seed=0, epoch=epoch, train=True)
        for text in b.reports
    }
    assert told >= {"左眼模糊。", "右眼模糊。"}


def test_reports_in_another_language_only_are_refused_and_told(bilingual):
    held_out = next(sample.split for sample in read_samples(bilingual) if sample.split != "train")
    with pytest.raises(UserError, match=r"lack a report in 'en' \(there are \d+ in 'zh'; see `data.language`\)"):
        opened(bilingual, split=held_out)


# The cache


@pytest.fixture(scope="module")
def cachable(tmp_path_factory):
    return release(tmp_path_factory.mktemp("cachable") / "shards", [forged(seed) for seed in range(9)])


def whole(data, **changes):
    (batch,) = batches(data, **({"batch": 9, "seed": 0, "epoch": 0, "train": False} | changes))
    return batch


@pytest.mark.parametrize("cache_px", [32, 16, SIZE_PX])
def test_a_reduced_picture_is_the_mean_over_blocks_and_its_mask_the_same_as_without(cachable, tmp_path, cache_px):
    config = DataConfig(size_px=cache_px, cache_px=cache_px)
    kept = whole(opened(cachable, config, cache=tmp_path))
    plain = whole(opened(cachable, config.model_copy(update={"cache_px": None})))
    assert np.array_equal(kept.mask_BHW.numpy(), plain.mask_BHW.numpy())
    assert (kept.pixels_BCHW - plain.pixels_BCHW).abs().max() <= 1 / 255 / 0.26


@pytest.mark.parametrize("workers", [0, 1])
def test_whether_reduced_pictures_are_kept_changes_no_batch(cachable, tmp_path, workers):
    config = DataConfig(size_px=24, cache_px=32)
    kept, made = opened(cachable, config, cache=tmp_path), opened(cachable, config)
    assert kept.cache and made.cache is None
    for train in (True, False):
        one, other = whole(kept, train=train, workers=workers), whole(made, train=train)
        assert one.keys == other.keys
        assert np.array_equal(one.pixels_BCHW.numpy(), other.pixels_BCHW.numpy())
        assert np.array_equal(one.mask_BHW.numpy(), other.mask_BHW.numpy())


def test_the_cache_finds_a_samples_row_though_others_were_left_out(tmp_path):
    root = release(tmp_path / "shards", [bare(0), forged(1), bare(2), forged(3)])
    config = DataConfig(size_px=32, cache_px=32)
    kept, made = opened(root, config, cache=tmp_path / "cache"), opened(root, config)
    assert [np.array_equal(kept[at].image, made[at].image) for at in range(2)] == [True, True]
    every = opened(root, config, cache=tmp_path / "cache", need_regions=False)
    assert every.cache == kept.cache and len(every) == 4


def test_a_cache_is_made_once_by_all_who_need_it_and_again_for_other_shards(cachable, tmp_path):
    config, found = DataConfig(size_px=32, cache_px=32), []
    threads = [
        threading.Thread(target=lambda: found.append(opened(cachable, config, cache=tmp_path).cache)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = found[0].stat().st_mtime_ns
    assert set(found) == {opened(cachable, config, cache=tmp_path).cache}
    assert found[0].stat().st_mtime_ns == made
    assert len(list(tmp_path.glob("*.npy"))) == 1
    other = release(tmp_path / "other", [forged(seed) for seed in range(1, 9)])
    assert opened(other, config, cache=tmp_path).cache != found[0]


def test_a_cache_that_could_not_be_made_whole_is_not_there(tmp_path):
    torn = replace(forged(1), image=forged(1).image[:40])
    root = release(tmp_path / "shards", [forged(0), torn])
    with pytest.raises(DamagedError, match=torn.record_id):
        opened(root, DataConfig(size_px=32, cache_px=32), cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_was_cut_short_is_damage_and_says_what_to_do(cachable, tmp_path):
    data = opened(cachable, DataConfig(size_px=32, cache_px=32), cache=tmp_path)
    data.cache.write_bytes(data.cache.read_bytes()[:1000])
    with pytest.raises(DamagedError, match=r"\.npy is damaged .* Delete it; it is made again\."):
        whole(data)


def test_a_side_that_is_no_divisor_is_refused_before_anything_is_made(cachable, tmp_path):
    with pytest.raises(UserError, match="Pictures of 64×64 pixels cannot be reduced to 48 exactly"):
        opened(cachable, DataConfig(size_px=32, cache_px=48), cache=tmp_path)
    with pytest.raises(UserError, match="Pictures of 64×32 pixels"):
        reduced(np.zeros((32, 64, 4), np.uint8), 32)


# Mirrored texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The left eye is smeared.", "The right eye is smeared."),
        ("LEFT EYE smeared; Right eye fine.", "RIGHT EYE smeared; Left eye fine."),
        ("It wobbles on the right-hand side.", "It wobbles on the left-hand side."),
        ("The subject's left is doubled and the viewer's left is not.",
         "The subject's right is doubled and the viewer's right is not."),
        ("His left cheek, the upper-left lip and her right ear are blurred.",
         "His right cheek, the upper-right lip and her left ear are blurred."),
        ("A seam runs down the left half of the face.", "A seam runs down the right half of the face."),
        ("The leftmost tooth is too bright.", "The rightmost tooth is too bright."),
        ("The left and right eyes differ.", "The right and left eyes differ."),
        ("The left eyebrow is thicker than the right.", "The right eyebrow is thicker than the left."),
        ("The left eyebrow is thicker than the right one.", "The right eyebrow is thicker than the left one."),
        ("The lines on the forehead end on the right.", "The lines on the forehead end on the left."),
        ("The chin was moved to the right by some pixels.", "The chin was moved to the left by some pixels."),
        ("The texture repeats from left to right.", "The texture repeats from right to left."),
        ("Bright leftovers of an upright collar; the nose is outright rightly alright.",) * 2,
        ("The nose is smeared.",) * 2,
        ("",) * 2,
    ],
)  # fmt: skip
def test_sides_of_an_english_text_are_exchanged_and_nothing_else(text, expected):
    assert mirrored(text, "en") == expected


@pytest.mark.parametrize(
    "text",
    [
        "The nose looks right.",
        "Something about the left eye is not right.",
        "It is all right but for the left eye.",
        "The seam lies right above the left eye.",
        "There is a smear right under the nose.",
        "The seam is right at the hairline.",
        "The left eye is blurred, and right below it is a seam.",
        "The lips have the right colour.",
        "It is not the right nose for this face.",
        "The mouth has the right skin tone around it.",
        "This is the right eye colour for her.",
        "Whoever did this chose the right one.",
        "The larger ear is the right one.",
        "The edit left visible seams around the nose.",
        "The tool left eyebrow hairs doubled.",
        "Nothing is left of the mouth.",
        "The left eye was left alone.",
        "A dent left by a bad clone stamp.",
        "The corners meet at right angles.",
        "The left ear is turned clockwise.",
        "At 3 o'clock of the left iris is a notch.",
        "The L eye is doubled, the right eye is not.",
        "The jaw was put right side up.",
    ],
)
def test_a_text_in_which_a_side_is_not_certain_is_given_up(text):
    assert mirrored(text, "en") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("左眼模糊，右侧脸颊过于光滑。", "右眼模糊，左侧脸颊过于光滑。"),
        ("鼻子左上方有接缝，嘴唇偏右。", "鼻子右上方有接缝，嘴唇偏左。"),
        ("左右两侧的耳朵不对称。", "左右两侧的耳朵不对称。"),
        ("疤痕长三厘米左右，在右脸颊。", "疤痕长三厘米左右，在左脸颊。"),
        ("鼻子模糊。", "鼻子模糊。"),
        ("左右眼分别为蓝色和绿色。", None),
        ("他是左撇子，右眼模糊。", None),
        ("左耳顺时针转动。", None),
    ],
)
def test_sides_of_a_chinese_text_are_exchanged_where_they_are_certain(text, expected):
    assert mirrored(text, "zh") == expected


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_exchanged_says_the_other_sides_of_the_same_parts(language, request):
    """Over the sentences that the lexicon is tested with, most of which can be mirrored."""
    folder = request.config.rootpath / "tests" / "mmtt" / "sentences"
    lines = [
        line for path in folder.glob(f"{language}_*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    texts = [json.loads(line)["text"] for line in lines]
    sided = [text for text in texts if sides(text, language) and set(sides(text, language).values()) != {"both"}]
    other = {"left": "right", "right": "left", "both": "both"}
    made = {text: mirrored(text, language) for text in sided}
    for text, turned in made.items():
        if turned is not None:
            assert sides(turned, language) == {word: other[side] for word, side in sides(text, language).items()}
            assert mirrored(turned, language) in (text, None)
            assert len(turned) - len(text) in range(-9, 10) and turned != text
    assert sum(turned is not None for turned in made.values()) > 0.85 * len(sided) > 50


def test_pictures_are_read_where_they_lie_whatever_pieces_their_column_comes_in():
    """Chunks, slices and rows without a picture: the views hold what Arrow itself hands out."""
    rows = [{"bytes": bytes([n] * n), "path": None} for n in range(1, 6)] + [None, {"bytes": None, "path": None}]
    first, second = pa.array(rows, IMAGE), pa.array(rows[::-1], IMAGE)
    column = pa.chunked_array([first.slice(2), second, second.slice(1, 3)])
    told = [row and row["bytes"] for row in column.to_pylist()]
    assert [view if view is None else bytes(view) for view in _stored(column)] == told
