"""Report scores as sums: a draw scores as the texts that it drew, and what has no reference counts nowhere."""

from pathlib import Path

import numpy as np
import pytest

from mmtt.metrics.captions import bleu, caption_scores
from mmtt.metrics.texts import text_scores
from mmtt.samples import Reference, Sample

TEXTS = ("The nose is blurred.", "An odd colour at the left eye.", None, "Nothing fits here.", "")
TRUTHS = (("The nose looks blurred.",), ("The colour of the left eye is odd.", "An eye."), ("A chin.",), (), ("Lips.",))


def sample(number, texts):
    references = tuple(Reference(text, ("nose",), "template", "en-GB") for text in texts)
    references += (Reference("鼻子模糊", ("nose",), "human", "zh"), Reference("Flou.", ("nose",), "human", "fr"))
    return Sample(
        record_id=str(number), variant="master", image_sha256="", split="test", group="g", manipulation="recolour",
        manipulator="recolour", mask_share=0.1, regions={}, sayable=(), references=references, shard=Path(),
        row_group=0, row=0,
    )  # fmt: skip


SAMPLES = [sample(number, texts) for number, texts in enumerate(TRUTHS)]


def sums(blocks, places):
    return {name: block[places].sum(axis=0, keepdims=True) for name, block in blocks.items()}


def test_scores_are_those_of_the_captions_that_have_an_english_reference():
    ours = text_scores(TEXTS, SAMPLES)
    scored = [0, 1, 2, 4]
    expected = caption_scores([TEXTS[place] for place in scored], [TRUTHS[place] for place in scored])
    everything = sums(ours.blocks, range(5))
    assert [ours.derive(everything)[f"bleu_{n}"][0] for n in (1, 2, 3, 4)] == pytest.approx(
        bleu(expected.counts.sum(axis=0)).tolist()
    )
    for name, values in (("rouge_l", expected.rouge_l), ("cider", expected.cider)):
        assert everything[f"#{name}"][0, 0] == 4
        assert everything[name][0, 0] == pytest.approx(values.sum())
        assert ours.blocks[name][scored, 0] == pytest.approx(values)


def test_a_draw_scores_as_the_texts_that_it_drew():
    ours, chosen = text_scores(TEXTS, SAMPLES), [0, 0, 1, 4]
    alone = text_scores([TEXTS[place] for place in chosen], [SAMPLES[place] for place in chosen])
    drawn, direct = sums(ours.blocks, chosen), sums(alone.blocks, range(4))
    assert ours.derive(drawn)["bleu_2"] == pytest.approx(alone.derive(direct)["bleu_2"])
    assert drawn["rouge_l"] == pytest.approx(direct["rouge_l"])


def test_without_any_reference_nothing_has_a_value():
    ours = text_scores(["A nose."], [SAMPLES[3]])
    assert np.isnan(ours.derive(sums(ours.blocks, [0]))["bleu_1"][0])
    assert sums(ours.blocks, [0])["#cider"][0, 0] == 0
