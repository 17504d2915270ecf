"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from baselines.forgerytalker.losses import (
    contrast_loss,
    dice,
    mask_loss,
    patch_loss,
    region_loss,
    token_loss,
    verdict_loss,
)
from mmtt.regions import REGIONS

EVERYONE = torch.ones(3, dtype=torch.bool)
NOBODY_ELSE = torch.eye(3, dtype=torch.bool)


def test_dice_is_0_for_agreement_also_where_both_are_empty():
    truth = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0]])
    assert dice(truth, truth).tolist() == [0, 0]


def test_dice_is_what_its_formula_says():
    assert dice(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0]])).item() == pytest.approx(1 - 2 / 3)


def test_an_absent_region_weighs_a_fifth_of_one_that_is_there():
    # At logit 0 each region costs log 2; Dice adds its own.
    nothing, everything = torch.zeros(1, len(REGIONS)), torch.ones(1, len(REGIONS))
    logits = torch.zeros(1, len(REGIONS))
    absent = 0.5 * (0.2 * math.log(2) + 1 - 1 / (10.5 + 1))
    present = 0.5 * (math.log(2) + 1 - (21 + 1) / (31.5 + 1))
    assert region_loss(logits, nothing).item() == pytest.approx(absent, abs=1e-6)
    assert region_loss(logits, everything).item() == pytest.approx(present, abs=1e-6)


def test_an_altered_pixel_counts_twice():
    logits, altered = torch.zeros(2, 2, 2), torch.stack([torch.ones(2, 2), torch.zeros(2, 2)])
    missed, kept = mask_loss(logits, altered, with_dice=False).tolist()
    assert missed == pytest.approx(2 * math.log(2))
    assert kept == pytest.approx(math.log(2))


def test_a_perfect_mask_costs_nothing_but_under_the_second_sigmoid():
    truth = torch.zeros(1, 8, 8)
    truth[:, 2:6, 2:6] = 1
    perfect = (truth - 0.5) * 200
    assert mask_loss(perfect, truth).item() == pytest.approx(0, abs=1e-5)
    assert mask_loss(perfect, truth, single_sigmoid=False, with_dice=False).item() > 0.6


def test_patches_are_held_against_the_share_of_them_that_was_altered():
    """Two of four patches wholly, one by half, one not at all; each sample by itself."""
    mask = torch.zeros(2, 8, 8)
    mask[0, :4] = 1
    mask[0, 4:6, :4] = 1
    shares = torch.tensor([[[1.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    logits = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(patch_loss(logits, mask), mask_loss(logits, shares))
    assert patch_loss(logits, mask)[1].item() == pytest.approx(patch_loss(logits[1:], mask[1:]).item())


def test_tokens_after_the_end_do_not_count():
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, 3, -100, -100], [-100] * 5])
    whole = token_loss(logits, labels)
    assert whole[0].item() == pytest.approx(token_loss(logits[:1, :3], labels[:1, :3]).item())
    assert whole[1].item() == 0


def test_the_contrast_of_equal_pairs_is_small_and_of_swapped_ones_large():
    sides = torch.eye(3)
    assert contrast_loss(sides, sides, EVERYONE, NOBODY_ELSE, both_ways=True).max() < 1e-5
    assert contrast_loss(sides, sides.roll(1, 0), EVERYONE, NOBODY_ELSE, both_ways=True).min() > 10


def test_the_contrast_is_the_same_from_both_sides():
    image, text = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    forth = contrast_loss(image, text, EVERYONE, NOBODY_ELSE, both_ways=True)
    back = contrast_loss(text, image, EVERYONE, NOBODY_ELSE, both_ways=True)
    torch.testing.assert_close(forth, back)
    assert not torch.allclose(forth, contrast_loss(image, text, EVERYONE, NOBODY_ELSE, both_ways=False))


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_sample_that_does_not_count_is_nobodys_negative(both_ways):
    image, text = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2))
    counts = torch.tensor([True, True, False])
    alone = contrast_loss(image[:2], text[:2], counts[:2], NOBODY_ELSE[:2, :2], both_ways=both_ways)
    among = contrast_loss(image, text, counts, NOBODY_ELSE, both_ways=both_ways)
    torch.testing.assert_close(among, torch.cat([alone, torch.zeros(1)]))


def test_two_samples_with_one_text_are_no_negatives_of_each_other():
    image, text = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(3))
    text[1] = text[0]
    same = NOBODY_ELSE.clone()
    same[0, 1] = same[1, 0] = True
    told = contrast_loss(image, text, EVERYONE, same, both_ways=True)
    assert (told[:2] < contrast_loss(image, text, EVERYONE, NOBODY_ELSE, both_ways=True)[:2]).all()


def test_a_batch_without_any_text_has_a_gradient_of_0():
    image, text = (side.requires_grad_() for side in torch.randn(2, 3, 8).unbind())
    contrast_loss(image, text, ~EVERYONE, NOBODY_ELSE, both_ways=True).sum().backward()
    assert torch.equal(image.grad, torch.zeros_like(image))
    assert torch.equal(text.grad, torch.zeros_like(text))


def test_the_verdict_is_cross_entropy():
    told = verdict_loss(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.0]))
    assert told.tolist() == pytest.approx([math.log(2), math.log1p(math.exp(3))])
