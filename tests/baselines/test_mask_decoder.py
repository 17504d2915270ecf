"""The mask decoder: shapes, the patch grid, and what it listens to."""

import pytest
import torch

from baselines.forgerytalker.config import MaskDecoderConfig
from baselines.forgerytalker.mask_decoder import MaskDecoder, ShownMask, grid_positions
from mmtt.errors import UserError
from mmtt.regions import REGIONS

SIDE, VISION, LANGUAGE, QUERIES = 6, 12, 10, 8


def sizes(**changes):
    return MaskDecoderConfig(**({"hidden": 16, "layers": 2, "heads": 2, "mlp": 32, "up": 2} | changes))


def decoder(seed=0, queries=None, **changes):
    torch.manual_seed(seed)
    return MaskDecoder(sizes(**changes), VISION, LANGUAGE, queries)


def given(batch=2):
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(batch, VISION, SIDE, SIDE, generator=generator)
    words = torch.randn(len(REGIONS), LANGUAGE, generator=generator)
    return patches, words, torch.zeros(batch, len(REGIONS), dtype=torch.bool)


@pytest.mark.parametrize("up", [1, 2, 4, 8])
def test_a_mask_has_the_asked_size_however_fine_the_decoder_is(up):
    found = decoder(up=up, hidden=32)
    assert found(*given(), 40).shape == (2, 40, 40)
    fine = found.finer(torch.zeros(1, 32, SIDE, SIDE))
    assert fine.shape[2:] == (SIDE * up, SIDE * up)


def test_each_suspected_region_changes_the_mask_in_its_own_way():
    found, (patches, words, used) = decoder(), given(1)
    told = torch.cat([used, torch.eye(len(REGIONS), dtype=torch.bool)])
    masks = found(patches.expand(len(told), -1, -1, -1), words, told, SIDE).flatten(1)
    apart = torch.cdist(masks, masks) + torch.eye(len(told))
    assert apart.min() > 1e-4


def test_the_words_themselves_are_heard():
    found, (patches, words, used) = decoder(), given()
    assert not torch.allclose(found(patches, words, used, SIDE), found(patches, words.roll(1, 0), used, SIDE))


def test_queries_are_heard_where_the_decoder_was_made_for_them():
    found, queries = decoder(queries=QUERIES), torch.randn(2, 3, QUERIES)
    assert not torch.allclose(found(*given(), SIDE, queries), found(*given(), SIDE, -queries))


def test_every_patch_has_a_position_of_its_own():
    flat = grid_positions(16, SIDE, SIDE + 1)[0].flatten(1).T
    assert flat.shape == (SIDE * (SIDE + 1), 16)
    assert (torch.cdist(flat, flat) + torch.eye(len(flat))).min() > 0.1


def test_it_learns_to_mark_the_patches_that_differ():
    # On the grid: what is learnt about some places holds at others.
    found = decoder()
    generator = torch.Generator().manual_seed(1)
    truth = (torch.rand(32, SIDE, SIDE, generator=generator) > 0.7).float()
    direction = torch.randn(VISION, generator=generator)
    patches = torch.randn(32, VISION, SIDE, SIDE, generator=generator) * 0.3
    patches += truth[:, None] * direction[:, None, None]
    _, words, used = given(32)
    optimizer = torch.optim.AdamW(found.parameters(), 5e-3)
    for _ in range(40):
        logits = found(patches[:24], words, used[:24], SIDE)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[:24])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = (found(patches[24:], words, used[24:], SIDE) > 0) == (truth[24:] > 0)
    assert right.float().mean() > 0.9


@pytest.mark.parametrize("changes", [{"hidden": 20}, {"heads": 3}])
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(UserError, match=r"mask_decoder\.hidden"):
        decoder(**changes)


def test_what_lies_under_the_mask_is_what_the_report_is_shown():
    shown = ShownMask(VISION, LANGUAGE)
    patches = torch.randn(1, SIDE * SIDE, VISION)
    mask = torch.full((1, 48, 48), -50.0)
    mask[:, 8:16, 16:24] = 50.0  # row 1, column 2
    torch.testing.assert_close(shown(patches, mask, SIDE)[0, 0], shown.project(patches[0, SIDE + 2]))


def test_an_empty_mask_shows_something_finite():
    shown = ShownMask(VISION, LANGUAGE)
    assert shown(torch.randn(1, SIDE * SIDE, VISION), torch.full((1, 48, 48), -1e4), SIDE).isfinite().all()
