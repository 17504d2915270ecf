"""Losses: one number for each sample, float32, unweighted; what has nothing to learn from costs 0.

Legend: B samples, R = 21 regions, H = W = side of the picture, T tokens, K vocabulary, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEGATIVE_REGION = 0.2
POSITIVE_PIXEL = 2.0
TEMPERATURE = 0.07
SMOOTH = 1.0
_IGNORED = -100


def dice(probabilities_BN: Tensor, truth_BN: Tensor) -> Tensor:
    """Return 1 - Dice's coefficient of each row, smoothed by 1 so that two empty ones agree: B, range 0–1."""
    both_B = (probabilities_BN * truth_BN).sum(1)
    all_B = probabilities_BN.sum(1) + truth_BN.sum(1)
    return 1 - (2 * both_B + SMOOTH) / (all_B + SMOOTH)


def region_loss(logits_BR: Tensor, regions_BR: Tensor) -> Tensor:
    """Return half of weighted cross-entropy plus Dice: B. An absent region weighs 0.2, as in the paper."""
    logits_BR = logits_BR.float()
    weight_BR = torch.where(regions_BR > 0, 1.0, NEGATIVE_REGION)
    entropy_BR = functional.binary_cross_entropy_with_logits(logits_BR, regions_BR, weight_BR, reduction="none")
    return 0.5 * (entropy_BR.mean(1) + dice(logits_BR.sigmoid(), regions_BR))


def mask_loss(logits_BHW: Tensor, mask_BHW: Tensor, *, single_sigmoid: bool = True, with_dice: bool = True) -> Tensor:
    """Return cross-entropy with altered pixels counted twice, plus Dice: B.

    Args:
        logits_BHW: what the decoder says.
        mask_BHW: the truth, float32 {0, 1}.
        single_sigmoid: False squashes the logits once more before, as the release did.
        with_dice: False leaves Dice out, as the release did.
    """
    logits_BN, truth_BN = logits_BHW.float().flatten(1), mask_BHW.flatten(1)
    logits_BN = logits_BN if single_sigmoid else logits_BN.sigmoid()
    twice = logits_BN.new_tensor(POSITIVE_PIXEL)
    loss_B = functional.binary_cross_entropy_with_logits(logits_BN, truth_BN, pos_weight=twice, reduction="none").mean(
        1
    )
    return loss_B + dice(logits_BN.sigmoid(), truth_BN) if with_dice else loss_B


def patch_loss(logits_Bhw: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mask loss on the patch grid, against the share of each patch that was altered: B."""
    return mask_loss(logits_Bhw, functional.adaptive_avg_pool2d(mask_BHW[:, None], logits_Bhw.shape[1:])[:, 0])


def token_loss(logits_BTK: Tensor, labels_BT: Tensor) -> Tensor:
    """Return the mean cross-entropy over each sample's tokens; labels of -100 do not count, nor samples of them: B."""
    loss_BT = functional.cross_entropy(
        logits_BTK.float().transpose(1, 2), labels_BT, ignore_index=_IGNORED, reduction="none"
    )
    return loss_BT.sum(1) / (labels_BT != _IGNORED).sum(1).clamp(min=1)


def contrast_loss(image_BD: Tensor, text_BD: Tensor, counts_B: Tensor, same_BB: Tensor, *, both_ways: bool) -> Tensor:
    """Return InfoNCE of matching pairs against the others of the batch, temperature 0.07: B.

    Args:
        image_BD: one side; normalised here.
        text_BD: the other.
        counts_B: bool; the others cost 0 and are nobody's negatives.
        same_BB: bool, pairs whose texts are one and the same, which are no negatives either.
        both_ways: also from text to image.
    """
    image_BD = functional.normalize(image_BD.float(), dim=1)
    text_BD = functional.normalize(text_BD.float(), dim=1)
    out_BB = (same_BB | ~counts_B) & ~torch.eye(len(counts_B), dtype=torch.bool, device=counts_B.device)
    loss_B = _own_among(image_BD, text_BD, out_BB)
    if both_ways:
        loss_B = (loss_B + _own_among(text_BD, image_BD, out_BB)) / 2
    return loss_B * counts_B


def _own_among(asking_BD: Tensor, answering_BD: Tensor, out_BB: Tensor) -> Tensor:
    # No matrix product: autocast would compute that in bfloat16, and the temperature multiplies its error by 14.
    alike_BB = (asking_BD[:, None] * answering_BD).sum(2) / TEMPERATURE
    alike_BB = alike_BB.masked_fill(out_BB, -torch.inf)
    own_B = torch.arange(len(alike_BB), device=alike_BB.device)
    return functional.cross_entropy(alike_BB, own_B, reduction="none")


def verdict_loss(logits_B: Tensor, manipulated_B: Tensor) -> Tensor:
    """Return the cross-entropy of the verdict: B."""
    return functional.binary_cross_entropy_with_logits(logits_B.float(), manipulated_B, reduction="none")
