"""Backbone: InstructBLIP with a T5, of the library's own classes; with random weights, or out of a folder.

Weights are read from safetensors only. A pickle is never opened.
Legend: B samples, S = 1 + patches, V width of the vision encoder, Q queries, T tokens, D width of the Q-Former.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    PreTrainedConfig,
    T5Config,
)

from mmtt.errors import UserError, did_you_mean

from .config import ModelConfig
from .memory import is_shortage
from .tokens import Tokens, pretrained_folder

# What the library's constructors, and torch's below them, raise at sizes that cannot be.
_MISFITS = (ValueError, KeyError, RuntimeError, TypeError, ZeroDivisionError, AssertionError)


def backbone(config: ModelConfig, tokens: Tokens, size_px: int) -> InstructBlipForConditionalGeneration:
    """Return InstructBLIP for pictures of `size_px`: the pretrained one, or one with random weights.

    Raises:
        UserError: missing, damaged or wrong weights, a size that is none, or another size of pictures.
    """
    model = _pretrained(config.pretrained) if config.pretrained else _random(config, tokens)
    made_for = model.config.vision_config.image_size
    if made_for != size_px:
        raise UserError(f"The vision encoder is made for {made_for} px, but 'data.size_px' is {size_px}.")
    if size_px % model.config.vision_config.patch_size:
        raise UserError(f"'model.vision.patch_size' must divide {size_px}, the side of a picture.")
    return model


def ask(
    blip: InstructBlipForConditionalGeneration, image_BSV: Tensor, words: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Return what the Q-Former's queries and its words say of a picture: B×Q×D and B×T×D.

    Args:
        blip: the backbone.
        image_BSV: the vision encoder's features.
        words: tokens and which of them count, int64 B×T each; None asks without words.
    """
    count = blip.query_tokens.shape[1]
    queries_BQD = blip.query_tokens.expand(len(image_BSV), -1, -1)
    ids_BT, known_BT = words or (None, image_BSV.new_zeros(len(image_BSV), 0, dtype=torch.long))
    said_BTD = blip.qformer(
        input_ids=ids_BT,
        attention_mask=torch.cat([known_BT.new_ones(len(image_BSV), count), known_BT], 1),
        query_embeds=queries_BQD,
        encoder_hidden_states=image_BSV,
        encoder_attention_mask=known_BT.new_ones(image_BSV.shape[:2]),
    ).last_hidden_state
    return said_BTD[:, :count], said_BTD[:, count:]


def _random(config: ModelConfig, tokens: Tokens) -> InstructBlipForConditionalGeneration:
    # The library's own start for this encoder, 1e-10, is meant to be loaded over.
    vision = _library(InstructBlipVisionConfig, {"initializer_range": 0.02, **config.vision}, "vision")
    qformer = {"vocab_size": len(tokens.qformer), "pad_token_id": tokens.qformer.pad_token_id, **config.qformer}
    language = {
        "vocab_size": len(tokens.language),
        "pad_token_id": tokens.language.pad_token_id,
        "eos_token_id": tokens.language.eos_token_id,
        "decoder_start_token_id": tokens.language.pad_token_id,
        **config.language,
    }
    sections = {
        "vision_config": vision,
        "qformer_config": _library(InstructBlipQFormerConfig, qformer, "qformer"),
        "text_config": _library(T5Config, language, "language"),
    }
    try:
        whole = InstructBlipConfig(**sections, num_query_tokens=config.query_tokens)
        model = InstructBlipForConditionalGeneration(whole)
    except _MISFITS as error:
        if is_shortage(error):
            raise
        raise UserError(f"The sizes or names in 'model' do not fit: {_one_line(error)}") from error
    # Zeros, the library's start, would make all queries one.
    nn.init.normal_(model.query_tokens, std=0.02)
    return model


def _library(kind: type[PreTrainedConfig], values: Mapping[str, Any], section: str) -> PreTrainedConfig:
    known = [*(field.name for field in dataclasses.fields(kind)), "decoder_start_token_id"]
    for name in values:
        if name not in known:
            raise UserError(f"'model.{section}.{name}' is no field of {kind.__name__}.{did_you_mean(name, known)}")
    try:
        return kind(**values)
    except Exception as error:  # the library's own validation errors have no common class
        raise UserError(f"'model.{section}' is no {kind.__name__}: {' '.join(str(error).split())}") from error


def _pretrained(name: str) -> InstructBlipForConditionalGeneration:
    folder = pretrained_folder(name)
    _require_instructblip(folder)
    if not [*folder.glob("*.safetensors")]:
        pickled = any(folder.glob("*.bin"))
        why = "its weights only as a pickle, which is never opened" if pickled else "no weights (*.safetensors)"
        raise UserError(f"{folder} holds {why}. Get them as safetensors.")
    # The library's own default, named: else config.json could name a kernel of the Hub, which would be fetched and run.
    own: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    try:
        model, report = InstructBlipForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **own
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The weights in {folder} cannot be read; get them again. ({_one_line(error)})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of the model's weights ('{missing[0]}', ...). Get it again.")
    return model


def _require_instructblip(folder: Path) -> None:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a stranger's JSON brings about
        raise UserError(f"{folder} holds no config.json of a model: {_one_line(error)}") from error
    if not isinstance(config, InstructBlipConfig):
        raise UserError(f"{folder} holds a '{config.model_type}', not an InstructBLIP.")
    if config.text_config.model_type != "t5":
        raise UserError(f"{folder} writes with '{config.text_config.model_type}'; an InstructBLIP with T5 is needed.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
