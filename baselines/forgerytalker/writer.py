"""Report decoder: what the language model reads, how it learns to write a report, and how it writes one.

Legend: B samples, T tokens, L width of the language model, R = 21 regions, K its vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig as LibraryGeneration
from transformers import InstructBlipForConditionalGeneration

from .config import GenerationConfig
from .losses import token_loss
from .tokens import Tokens, padded


def word_embeddings(blip: InstructBlipForConditionalGeneration, tokens: Tokens) -> Tensor:
    """Return the language model's embedding of each region word, 21×L; of several tokens, their mean."""
    ids_RT, known_RT = (part.to(blip.query_tokens.device) for part in tokens.region_words)
    words_RTL = blip.language_model.get_input_embeddings()(ids_RT)
    return (words_RTL * known_RT[..., None]).sum(1) / known_RT.sum(1, keepdim=True)


def reading(
    blip: InstructBlipForConditionalGeneration, tokens: Tokens, soft_BTL: Tensor, questions: Sequence[str], limit: int
) -> tuple[Tensor, Tensor]:
    """Return what the encoder reads, B×T×L, and which of it counts, int64 B×T: soft tokens, then the question.

    Args:
        blip: the backbone.
        tokens: its tokenizers.
        soft_BTL: what the picture says, as if it were words.
        questions: a text for each sample.
        limit: tokens of a question that are read.
    """
    ids_BT, known_BT = padded(tokens.language, questions, limit, soft_BTL.device)
    words_BTL = blip.language_model.get_input_embeddings()(ids_BT)
    known_BT = torch.cat([known_BT.new_ones(soft_BTL.shape[:2]), known_BT], 1)
    return torch.cat([soft_BTL, words_BTL.to(soft_BTL.dtype)], 1), known_BT


def report_loss(
    blip: InstructBlipForConditionalGeneration, read_BTL: Tensor, known_BT: Tensor, labels_BT: Tensor
) -> Tensor:
    """Return the mean cross-entropy of each report's tokens, given those before: float32 B."""
    writer = blip.language_model
    logits_BTK = writer(
        inputs_embeds=read_BTL,
        attention_mask=known_BT,
        decoder_input_ids=writer.prepare_decoder_input_ids_from_labels(labels_BT),
        use_cache=False,
    ).logits
    return token_loss(logits_BTK, labels_BT)


def write(
    blip: InstructBlipForConditionalGeneration,
    tokens: Tokens,
    read_BTL: Tensor,
    known_BT: Tensor,
    generation: GenerationConfig,
) -> tuple[str, ...]:
    """Return a report for each sample, by beam search."""
    settings = LibraryGeneration(
        num_beams=generation.beams,
        max_new_tokens=generation.max_tokens,
        min_new_tokens=min(generation.min_tokens, generation.max_tokens),
        repetition_penalty=generation.repetition_penalty,
        length_penalty=generation.length_penalty if generation.beams > 1 else None,
        do_sample=False,
        pad_token_id=tokens.language.pad_token_id,
        eos_token_id=tokens.language.eos_token_id,
        decoder_start_token_id=blip.language_model.config.decoder_start_token_id,
    )
    written_BT = blip.language_model.generate(
        inputs_embeds=read_BTL, attention_mask=known_BT, generation_config=settings
    )
    return tokens.texts(written_BT)
