"""Forgery prompter network: a vision transformer of its own that says which of the 21 regions to talk about.

Branches of convolutions run beside its first blocks, and are added to the patch tokens before them. A branch ends on
the patch grid: what reaches a token was seen in and around its own patch.

Legend: B samples, C = 3 colours, S = 1 + patches, H = W = `size_px`, P channels, h = w = side of the patch
grid, N = h·w patches, D width, R = 21 regions.
Source: the paper (arXiv 2412.19685), CoordConv (arXiv 1807.03247).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.sam.modeling_sam import SamLayerNorm

from mmtt.errors import UserError
from mmtt.regions import REGIONS

from .config import PrompterConfig


class Suspicion(NamedTuple):
    """What the prompter says: logits of the regions, of altered patches, and maps of the regions, if it has any."""

    logits_BR: Tensor
    altered_Bhw: Tensor
    maps_BRhw: Tensor | None


class ForgeryPrompter(nn.Module):
    """The network; normalisation never looks at other samples.

    Args:
        config: sizes.
        size_px: side of the picture.
        on_grid: whether a branch ends on the patch grid. The release instead squeezed its finer raster, row after row,
            to as many tokens, so that most of what reached a token came from elsewhere.
        maps: whether each patch says its own, and the regions' logits are the patches' log-mean-exp.

    Raises:
        UserError: sizes that do not fit one another.
    """

    def __init__(self, config: PrompterConfig, size_px: int, *, on_grid: bool, maps: bool) -> None:
        super().__init__()
        if size_px % config.patch_px or config.hidden % config.heads:
            raise UserError(
                f"The prompter's patches ({config.patch_px} px) must divide {size_px} px, and its {config.heads} heads "
                f"its width {config.hidden}."
            )
        self.side, self.maps, self.gradient_checkpointing = size_px // config.patch_px, maps, False
        self.patches = nn.Conv2d(3, config.hidden, config.patch_px, config.patch_px)
        self.summary = nn.Parameter(torch.zeros(1, 1, config.hidden))
        self.positions = nn.Parameter(torch.randn(1, self.side**2 + 1, config.hidden) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        count = min(config.conv_branches, config.layers)
        self.branches = ConvBranches(config, count, on_grid=on_grid)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden)
        self.head = nn.Linear(config.hidden, len(REGIONS))
        self.altered = nn.Linear(config.hidden, 1)

    def forward(self, pixels_BCHW: Tensor) -> Suspicion:
        """Return what is suspected in pictures, float32 as CLIP's."""
        patches_BND = self.patches(pixels_BCHW).flatten(2).transpose(1, 2)
        tokens_BND = torch.cat([self.summary.expand(len(patches_BND), -1, -1), patches_BND], 1) + self.positions
        tokens_BND = self.dropout(tokens_BND)
        added = self.branches(pixels_BCHW, self.side)
        for number, block in enumerate(self.blocks):
            if number < len(added):
                tokens_BND = torch.cat([tokens_BND[:, :1], tokens_BND[:, 1:] + added[number]], 1)
            tokens_BND = self._run(block, tokens_BND)
        return self._said(self.norm(tokens_BND))

    def _run(self, block: nn.Module, tokens_BND: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, tokens_BND, use_reentrant=False)
        return block(tokens_BND)

    def _said(self, tokens_BND: Tensor) -> Suspicion:
        altered_Bhw = self.altered(tokens_BND[:, 1:])[..., 0].float().unflatten(1, (self.side, self.side))
        if not self.maps:
            return Suspicion(self.head(tokens_BND[:, 0]).float(), altered_Bhw, None)
        maps_BRN = self.head(tokens_BND[:, 1:]).float().transpose(1, 2)
        logits_BR = maps_BRN.logsumexp(-1) - math.log(maps_BRN.shape[-1])
        return Suspicion(logits_BR, altered_Bhw, maps_BRN.unflatten(-1, (self.side, self.side)))


class HeatMap(nn.Module):
    """Shows the suspected regions' maps to whoever looks at the patches, in place of their words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(len(REGIONS), width, bias=False)

    def forward(self, image_BSD: Tensor, maps_BRhw: Tensor, used_BR: Tensor, side: int) -> Tensor:
        """Return image tokens, B×(1 + side²)×D, with the maps added to the patches.

        The highest patch of a suspected region counts 1, whoever suspects it: the prompter or a user.
        """
        maps_BRhw = functional.logsigmoid(maps_BRhw)  # logarithms: of a region that nobody suspects, all may round to 0
        maps_BRhw = (maps_BRhw - maps_BRhw.amax((2, 3), keepdim=True)).exp() * used_BR[..., None, None]
        fitted_BRhw = functional.interpolate(maps_BRhw, (side, side), mode="bilinear", align_corners=False)
        heat_BND = self.project(fitted_BRhw.flatten(2).transpose(1, 2))
        return torch.cat([image_BSD[:, :1], image_BSD[:, 1:] + heat_BND], 1)


class Block(nn.Module):
    """A transformer block: attention and MLP, each after a norm and beside a shortcut."""

    def __init__(self, config: PrompterConfig) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden) for _ in range(2))
        self.attention = nn.MultiheadAttention(config.hidden, config.heads, config.dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(config.hidden, config.mlp),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.mlp, config.hidden),
            nn.Dropout(config.dropout),
        )

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        seen_BND = self.norms[0](tokens_BND)
        tokens_BND = tokens_BND + self.attention(seen_BND, seen_BND, seen_BND, need_weights=False)[0]
        return tokens_BND + self.mlp(self.norms[1](tokens_BND))


class ConvBranches(nn.Module):
    """Convolutions over the picture with its coordinates, each branch on the features of the one before.

    A branch halves the raster where the patch still divides by two; its reduction covers exactly what is left of a
    patch, and so ends on the patch grid.
    """

    def __init__(self, config: PrompterConfig, count: int, *, on_grid: bool) -> None:
        super().__init__()
        self.on_grid = on_grid
        self.features, self.reductions = nn.ModuleList(), nn.ModuleList()
        left, channels = config.patch_px, 3 + 2
        for number in range(count):
            stride, kernel = 2 if left % 2 == 0 else 1, 3 if number == 0 else 5
            left //= stride
            conv = nn.Conv2d(channels, config.conv_channels, kernel, stride, kernel // 2)
            channels = config.conv_channels
            norm = SamLayerNorm(channels, data_format="channels_first")
            self.features.append(nn.Sequential(conv, norm, nn.LeakyReLU(0.01)))
            step = left if on_grid else 1
            self.reductions.append(nn.Conv2d(channels, config.hidden, step, step))

    def forward(self, pixels_BCHW: Tensor, side: int) -> list[Tensor]:
        """Return what each branch adds to the patch tokens, B×N×D each."""
        raster_BPHW, added = with_coordinates(pixels_BCHW), []
        for features, reduction in zip(self.features, self.reductions, strict=True):
            raster_BPHW = features(raster_BPHW)
            flat_BDN = reduction(raster_BPHW).flatten(2)
            if not self.on_grid:
                flat_BDN = functional.adaptive_avg_pool1d(flat_BDN, side**2)
            added.append(flat_BDN.transpose(1, 2))
        return added


def with_coordinates(pixels_BCHW: Tensor) -> Tensor:
    """Return a picture with two more channels: each pixel's x and y, -1 to 1 from edge to edge."""
    batch, _, height, width = pixels_BCHW.shape
    x_W = torch.linspace(-1, 1, width, device=pixels_BCHW.device, dtype=pixels_BCHW.dtype)
    y_H = torch.linspace(-1, 1, height, device=pixels_BCHW.device, dtype=pixels_BCHW.dtype)
    x_B1HW = x_W.expand(batch, 1, height, width)
    y_B1HW = y_H[:, None].expand(batch, 1, height, width)
    return torch.cat([pixels_BCHW, x_B1HW, y_B1HW], 1)
