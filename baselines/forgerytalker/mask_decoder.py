"""Mask decoder on the patch grid: a two-way transformer as SAM's, then finer by transposed convolutions.

Legend: B samples, h = w = side of the patch grid, N = h·w, V width of the vision encoder, L width of the
language model, D width of this decoder, R = 21 regions, T prompt tokens, H = W = side of the picture.
Source: Segment Anything (arXiv 2304.02643), whose transformer this is.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamFeedForward, SamLayerNorm, SamTwoWayTransformer

from mmtt.errors import UserError
from mmtt.regions import REGIONS

from .config import MaskDecoderConfig


class MaskDecoder(nn.Module):
    """Patch features and prompted regions in, mask logits out.

    Each of the 21 regions is a prompt token: its word, and whether it is suspected.

    Args:
        config: sizes.
        vision, language: widths of patch features and of the region words' embeddings.
        queries: width of the Q-Former's outputs where they are prompt tokens too, else None.

    Raises:
        UserError: sizes that do not fit one another.
    """

    def __init__(self, config: MaskDecoderConfig, vision: int, language: int, queries: int | None = None) -> None:
        super().__init__()
        if config.hidden % (2 * config.heads) or config.hidden % 8:
            raise UserError(f"'mask_decoder.hidden' is {config.hidden}; it must divide by 8 and by twice its heads.")
        self.image = nn.Linear(vision, config.hidden)
        self.words = nn.Linear(language, config.hidden)
        self.suspected = nn.Parameter(torch.randn(2, len(REGIONS), config.hidden) * 0.02)
        self.queries = nn.Linear(queries, config.hidden) if queries else None
        self.mask_token = nn.Parameter(torch.randn(1, 1, config.hidden) * 0.02)
        self.transformer = SamTwoWayTransformer(_of_sam(config))
        self.finer, channels = _finer(config)
        self.weights = SamFeedForward(config.hidden, config.hidden, channels, 3)

    def forward(
        self, patches_BVhw: Tensor, words_RL: Tensor, used_BR: Tensor, size_px: int, queries_BTL: Tensor | None = None
    ) -> Tensor:
        """Return mask logits, float32 B×H×W at `size_px`.

        Args:
            patches_BVhw: the vision encoder's patch features.
            words_RL: embeddings of the region words.
            used_BR: bool, the regions that are suspected.
            size_px: side of the mask.
            queries_BTL: the Q-Former's outputs, where the decoder was made for them.
        """
        image_BDhw = self.image(patches_BVhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        tokens_BTD = self._prompt(words_RL, used_BR, queries_BTL).to(image_BDhw.dtype)
        positions_1Dhw = grid_positions(*image_BDhw.shape[1:], image_BDhw.device).to(image_BDhw.dtype)
        said, seen = self.transformer(
            point_embeddings=tokens_BTD[:, None],
            image_embeddings=image_BDhw,
            image_positional_embeddings=positions_1Dhw.expand_as(image_BDhw),
            attention_similarity=None,
        )
        fine_BPhw = self.finer(seen[:, 0].transpose(1, 2).unflatten(2, image_BDhw.shape[2:]))
        weights_BP = self.weights(said[:, 0, 0])
        logits_Bhw = torch.einsum("bp,bphw->bhw", weights_BP, fine_BPhw).float()
        return functional.interpolate(logits_Bhw[:, None], (size_px, size_px), mode="bilinear", align_corners=False)[
            :, 0
        ]

    def _prompt(self, words_RL: Tensor, used_BR: Tensor, queries_BTL: Tensor | None) -> Tensor:
        told_BR1 = used_BR[..., None]
        regions_BRD = self.words(words_RL) + torch.where(told_BR1, self.suspected[1], self.suspected[0])
        tokens = [self.mask_token.expand(len(used_BR), -1, -1), regions_BRD]
        if self.queries is not None and queries_BTL is not None:
            tokens.append(self.queries(queries_BTL))
        return torch.cat(tokens, 1)


class ShownMask(nn.Module):
    """Tells the report decoder what lies under the predicted mask."""

    def __init__(self, vision: int, language: int) -> None:
        super().__init__()
        self.project = nn.Linear(vision, language)

    def forward(self, patches_BNV: Tensor, mask_BHW: Tensor, side: int) -> Tensor:
        """Return one soft token, B×1×L: the patches' mean, weighted by the mask.

        No gradient reaches the mask: a report must not become easier by spoiling it.
        """
        share_BN = functional.adaptive_avg_pool2d(mask_BHW.detach().sigmoid(), side).flatten(1)
        share_BN = share_BN / share_BN.sum(1, keepdim=True).clamp(min=1e-6)
        return self.project((patches_BNV * share_BN[..., None]).sum(1, keepdim=True))


def grid_positions(width: int, rows: int, columns: int, device: torch.device | str = "cpu") -> Tensor:
    """Return sines and cosines of each patch's row and column, float32 1×width×rows×columns."""
    rates_Q = torch.exp(torch.arange(width // 4, device=device) * (-math.log(10000.0) / max(width // 4 - 1, 1)))
    y_Qh, x_Qw = (rates_Q[:, None] * torch.arange(count, device=device) for count in (rows, columns))
    y_Dhw = torch.cat([y_Qh.sin(), y_Qh.cos()])[:, :, None].expand(-1, -1, columns)
    x_Dhw = torch.cat([x_Qw.sin(), x_Qw.cos()])[:, None, :].expand(-1, rows, -1)
    return torch.cat([y_Dhw, x_Dhw])[None]


def _of_sam(config: MaskDecoderConfig) -> SamMaskDecoderConfig:
    made = SamMaskDecoderConfig(
        hidden_size=config.hidden,
        mlp_dim=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
    )
    made._attn_implementation = "sdpa"
    return made


def _finer(config: MaskDecoderConfig) -> tuple[nn.Sequential, int]:
    """Doublings, the first to a quarter of the channels and each further one to half, as in SAM."""
    steps: list[nn.Module] = []
    channels = config.hidden
    for step in range(config.up.bit_length() - 1):
        narrower = max(channels // (4 if step == 0 else 2), 8)
        steps += [nn.ConvTranspose2d(channels, narrower, 2, 2)]
        steps += [SamLayerNorm(narrower, data_format="channels_first"), nn.GELU()]
        channels = narrower
    return nn.Sequential(*steps), channels
