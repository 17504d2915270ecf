"""What only stage 1 learns: the region words that were masked in a report, and which report belongs to which picture.

Legend: B samples, S = 1 + patches, V width of the vision encoder, Q queries, T tokens, D width of the Q-Former.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import InstructBlipForConditionalGeneration

from .backbone import ask
from .language import region_tokens
from .losses import contrast_loss, token_loss
from .tokens import Tokens, padded


class Pretraining(nn.Module):
    """The heads of two losses of stage 1. Of a report, these read as much as the Q-Former has positions for.

    Args:
        vision, qformer, vocabulary: widths of vision encoder and Q-Former, and how many words the latter knows.
        with_text: whether the contrastive loss compares pictures with reports. The release compared them with what
            its queries say of the same picture.
    """

    def __init__(self, vision: int, qformer: int, vocabulary: int, *, with_text: bool) -> None:
        super().__init__()
        self.with_text = with_text
        self.words = nn.Linear(qformer, vocabulary)
        self.image_side = nn.Linear(qformer, qformer) if with_text else None
        self.text_side = nn.Linear(qformer, qformer if with_text else vision)

    def masked_words(
        self,
        blip: InstructBlipForConditionalGeneration,
        tokens: Tokens,
        image_BSV: Tensor,
        reports: Sequence[str],
        language: str,
    ) -> Tensor:
        """Return the loss of guessing the region words of each report from the rest of it and the picture: B."""
        limit = blip.config.qformer_config.max_position_embeddings
        ids_BT, known_BT, named_BT = region_tokens(tokens.qformer, reports, language, limit)
        hidden_BT = ids_BT.masked_fill(named_BT, tokens.qformer.mask_token_id).to(image_BSV.device)
        labels_BT = ids_BT.masked_fill(~named_BT, -100).to(image_BSV.device)
        _, text_BTD = ask(blip, image_BSV, (hidden_BT, known_BT.to(image_BSV.device)))
        return token_loss(self.words(text_BTD), labels_BT)

    def contrast(
        self,
        blip: InstructBlipForConditionalGeneration,
        tokens: Tokens,
        image_BSV: Tensor,
        queries_BQD: Tensor,
        reports: Sequence[str],
        counts_B: Tensor,
    ) -> Tensor:
        """Return the contrastive loss: B. Queries and report are asked apart, or one would hold the other's words."""
        same_BB = torch.tensor([[one == other for other in reports] for one in reports], device=image_BSV.device)
        if self.image_side is None:
            text_BV = self.text_side(queries_BQD.mean(1))
            return contrast_loss(image_BSV[:, 0], text_BV, counts_B, same_BB, both_ways=False)
        alone_BQD, _ = ask(blip, image_BSV, None)
        limit = blip.config.qformer_config.max_position_embeddings
        ids_BT, known_BT = padded(tokens.qformer, reports, limit, image_BSV.device)
        text_BTD = blip.qformer(input_ids=ids_BT, attention_mask=known_BT).last_hidden_state
        return contrast_loss(
            self.image_side(alone_BQD.mean(1)), self.text_side(text_BTD[:, 0]), counts_B, same_BB, both_ways=True
        )
