"""The forgery prompter: geometry of its branches, its maps, and that samples do not see one another."""

import pytest
import torch

from baselines.forgerytalker.config import PrompterConfig
from baselines.forgerytalker.losses import patch_loss
from baselines.forgerytalker.prompter import ConvBranches, ForgeryPrompter, HeatMap, with_coordinates
from mmtt.errors import UserError
from mmtt.regions import REGIONS

SIDE = 6


def sizes(patch_px=8, **changes):
    known = {"patch_px": patch_px, "hidden": 16, "layers": 3, "heads": 2, "mlp": 32, "conv_channels": 8, "dropout": 0.0}
    return PrompterConfig(**(known | changes))


def prompter(seed=0, *, on_grid=True, maps=False, **changes):
    torch.manual_seed(seed)
    config = sizes(**changes)
    return ForgeryPrompter(config, SIDE * config.patch_px, on_grid=on_grid, maps=maps)


def noise(batch=2, patch_px=8, seed=0):
    return torch.randn(batch, 3, SIDE * patch_px, SIDE * patch_px, generator=torch.Generator().manual_seed(seed))


def reached(patch_px, *, on_grid):
    """For each branch, bool patch × token: which tokens a change in the middle of each patch reaches."""
    torch.manual_seed(0)
    branches = ConvBranches(sizes(patch_px), 2, on_grid=on_grid)
    size = SIDE * patch_px
    changed = torch.zeros(SIDE * SIDE, 3, size, size)
    for patch in range(SIDE * SIDE):
        y, x = ((place * patch_px + patch_px // 2) for place in divmod(patch, SIDE))
        changed[patch, :, y, x] = 5
    with torch.no_grad():
        before, after = branches(torch.zeros(1, 3, size, size), SIDE), branches(changed, SIDE)
    return [(new - old).abs().amax(-1) > 1e-6 for old, new in zip(before, after, strict=True)]


def near():
    y, x = (torch.arange(SIDE * SIDE) // SIDE), (torch.arange(SIDE * SIDE) % SIDE)
    return ((y[:, None] - y).abs() <= 1) & ((x[:, None] - x).abs() <= 1)


@pytest.mark.parametrize("patch_px", [8, 14, 16])
def test_a_change_in_a_patch_reaches_its_own_token_and_at_most_its_neighbours(patch_px):
    for found in reached(patch_px, on_grid=True):
        assert found.diagonal().all()
        assert not (found & ~near()).any()


@pytest.mark.parametrize("patch_px", [8, 14, 16])
def test_the_releases_pooling_carries_it_elsewhere(patch_px):
    first, _ = reached(patch_px, on_grid=False)
    assert (first & ~near()).any(1).float().mean() > 0.25
    assert first.diagonal().float().mean() <= 0.5


@pytest.mark.parametrize("maps", [False, True])
def test_each_region_has_a_logit_and_with_maps_a_map(maps):
    said = prompter(maps=maps)(noise())
    assert said.logits_BR.shape == (2, len(REGIONS))
    assert (said.maps_BRhw is not None) == maps
    if maps:
        assert said.maps_BRhw.shape == (2, len(REGIONS), SIDE, SIDE)
        assert (said.logits_BR <= said.maps_BRhw.amax((2, 3)) + 1e-5).all()
        assert (said.logits_BR >= said.maps_BRhw.mean((2, 3)) - 1e-5).all()


def test_a_map_that_is_everywhere_alike_says_what_its_patches_say():
    found = prompter(maps=True)
    with torch.no_grad():
        found.head.weight.zero_()
        found.head.bias.fill_(1.5)
    torch.testing.assert_close(found(noise()).logits_BR, torch.full((2, len(REGIONS)), 1.5))


def test_coordinates_run_from_edge_to_edge_and_are_added_once():
    marked = with_coordinates(noise(1))
    assert marked.shape[1] == 5
    assert marked[0, 3, 0, [0, -1]].tolist() == [-1, 1]
    assert marked[0, 4, [0, -1], 0].tolist() == [-1, 1]
    assert prompter().branches.features[0][0].in_channels == 5


def test_samples_of_a_batch_do_not_see_one_another_even_in_training():
    found = prompter().train()
    both = found(noise()).logits_BR
    alone = torch.cat([found(noise()[:1]).logits_BR, found(noise()[1:]).logits_BR])
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("branches", [0, 1, 4])
def test_as_many_branches_are_added_as_are_asked_for_but_not_more_than_blocks(branches):
    found = prompter(conv_branches=branches)
    assert len(found.branches.features) == min(branches, 3)
    assert found(noise()).logits_BR.isfinite().all()


def test_every_weight_learns():
    found = prompter()
    said = found(noise())
    (said.logits_BR.square().sum() + said.altered_Bhw.square().sum()).backward()
    idle = [name for name, weight in found.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert idle == []


@pytest.mark.parametrize("maps", [False, True])
def test_each_patch_has_a_logit_at_its_own_place(maps):
    """Nothing but the last norm and the head between a token and its logit, row by row."""
    found = prompter(maps=maps)
    tokens = torch.zeros(2, 1 + SIDE * SIDE, 16)
    tokens[1, 1 + 2 * SIDE + 3] = torch.arange(16.0)
    changed = found._said(tokens).altered_Bhw
    assert changed.shape == (2, SIDE, SIDE)
    assert (changed[0] != changed[1]).nonzero().tolist() == [[2, 3]]


def test_an_altered_patch_pulls_its_own_logit_up_and_an_untouched_one_down():
    said, mask = prompter()(noise()), torch.zeros(2, SIDE * 8, SIDE * 8)
    mask[1, 2 * 8 : 3 * 8, 3 * 8 : 4 * 8] = 1
    said.altered_Bhw.retain_grad()
    patch_loss(said.altered_Bhw, mask).sum().backward()
    pulled_up = said.altered_Bhw.grad < 0
    assert pulled_up.nonzero().tolist() == [[1, 2, 3]]


def test_computing_blocks_again_gives_the_same_gradient():
    gradients = []
    for again in (False, True):
        found = prompter().train()
        found.gradient_checkpointing = again
        found(noise()).logits_BR.square().sum().backward()
        gradients.append([weight.grad for weight in found.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("changes", [{"patch_px": 7}, {"heads": 3}])
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(UserError, match="must divide"):
        ForgeryPrompter(sizes(**changes), 48, on_grid=True, maps=False)


def test_a_heat_map_shows_only_suspected_regions_whoever_suspects_them():
    heat = HeatMap(12)
    image, maps = torch.zeros(2, 1 + SIDE * SIDE, 12), torch.full((2, len(REGIONS), SIDE, SIDE), -20.0)
    maps[:, 4, 2, 3] = -10.0  # nobody would suspect the nose by this
    used = torch.zeros(2, len(REGIONS), dtype=torch.bool)
    used[1, 4] = True
    shown = heat(image, maps, used, SIDE)
    assert not shown[0].any()
    assert not shown[1, 0].any()
    torch.testing.assert_close(shown[1, 1 + 2 * SIDE + 3], heat.project.weight[:, 4])


def test_a_map_that_rounds_to_nothing_is_no_division_by_it():
    """A user may name a region of which the prompter is as sure as float32 allows that it is not there."""
    heat, image = HeatMap(12), torch.zeros(1, 1 + SIDE * SIDE, 12)
    maps = torch.full((1, len(REGIONS), SIDE, SIDE), -500.0)
    maps[:, 4, 2, 3] = -400.0
    used = torch.zeros(1, len(REGIONS), dtype=torch.bool)
    used[0, 4] = True
    shown = heat(image, maps, used, SIDE)
    torch.testing.assert_close(shown[0, 1 + 2 * SIDE + 3], heat.project.weight[:, 4])
    assert (shown[0].abs().amax(1) > 1e-6).nonzero().tolist() == [[1 + 2 * SIDE + 3]]


def test_a_regions_logit_is_the_log_mean_exp_of_its_map():
    found = prompter(maps=True)
    said = found(noise())
    flat = said.maps_BRhw.flatten(2)
    torch.testing.assert_close(said.logits_BR, flat.exp().mean(-1).log())
