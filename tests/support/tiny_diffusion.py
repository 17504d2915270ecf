"""Stable Diffusion's folders in miniature: the true files of diffusers' format, made-up weights, no download.

What the Hub holds of `stable-diffusion-inpainting` and `instruct-pix2pix` is a folder each: `model_index.json` and
one folder a component, with its configuration and its weights as safetensors. These have all of it: an autoencoder
with a factor of 8, a text encoder of 77 tokens, CLIP's byte-pair tokenizer (`vocab.json`, `merges.txt`), a U-Net of
9 or 8 input channels. The real classes write them and the real pipelines load and run them, in tenths of a second.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

INPAINT, EDIT = "sd-inpainting", "instruct-pix2pix"
# A U-Net when the whole is to cost a CPU something, and the true autoencoder.
HEAVY: Mapping[str, Any] = MappingProxyType({"block_out_channels": (96, 192), "layers_per_block": 2})
REAL_VAE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32}
_CHANNELS = {"StableDiffusionInpaintPipeline": 9, "StableDiffusionInstructPix2PixPipeline": 8}
_TEXT = 32  # width of the text encoder, where the U-Net wants no other
_AS_IS: Mapping[str, Any] = MappingProxyType({})
_LONGEST = 77  # tokens, as CLIP has


def write_inpaint(folder: Path, vae: Mapping[str, Any] = _AS_IS, **unet: Any) -> Path:
    """Write `folder/sd-inpainting`, a pipeline that repaints holes; return it. Same bytes each time.

    `vae` and `unet` replace parts of the autoencoder's and the U-Net's configuration.
    """
    return _write(folder / INPAINT, "StableDiffusionInpaintPipeline", vae, unet)


def write_edit(folder: Path, vae: Mapping[str, Any] = _AS_IS, **unet: Any) -> Path:
    """Write `folder/instruct-pix2pix`, a pipeline that follows instructions; return it. Same bytes each time."""
    return _write(folder / EDIT, "StableDiffusionInstructPix2PixPipeline", vae, unet)


def _write(folder: Path, name: str, vae: Mapping[str, Any], unet: Mapping[str, Any]) -> Path:
    import diffusers
    import torch
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it advises against pipelines without a safety checker
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(11)
            pipe = getattr(diffusers, name)(
                vae=_vae(vae),
                text_encoder=_text_encoder(unet.get("cross_attention_dim", _TEXT)),
                tokenizer=_tokenizer(folder / "tokenizer"),
                unet=_unet(_CHANNELS[name], unet),
                scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1, **_SCHEDULE),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            pipe.save_pretrained(folder, safe_serialization=True)
            (folder / "tokenizer" / "tokenizer.json").unlink()  # the Hub's folders have none
    finally:
        logging.set_verbosity(before)
    return folder


_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}


def _unet(in_channels: int, changes: Mapping[str, Any]) -> Any:
    from diffusers import UNet2DConditionModel

    known = {
        "sample_size": 8, "in_channels": in_channels, "out_channels": 4, "layers_per_block": 1,
        "block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 4, "cross_attention_dim": _TEXT,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return UNet2DConditionModel(**{**known, **changes}).eval()


def _vae(changes: Mapping[str, Any]) -> Any:
    from diffusers import AutoencoderKL

    known = {
        "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
        "sample_size": 64, "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    return AutoencoderKL(**{**known, **changes}).eval()


def _text_encoder(width: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(_vocabulary()), hidden_size=width, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=_LONGEST, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def _tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer out of its own two files, as the Hub has them."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *_MERGES)) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=_LONGEST, local_files_only=True)


# Pairs of letters that English has most of, so that a prompt fits 77 tokens.
_MERGES = (
    "t h", "h e</w>", "th e</w>", "i n", "e r", "a n", "r e", "o n", "a t", "e n", "n d</w>", "n g</w>", "i ng</w>",
    "e s</w>", "o r", "t e", "e d</w>", "i t", "a l", "a r", "s t", "f a", "o n</w>", "h a", "r o", "l i",
)  # fmt: skip


def _vocabulary() -> dict[str, int]:
    """Special tokens (CLIP has them last), letters, letters that end a word, merged pairs."""
    letters = [chr(code) for code in range(33, 127)]
    merged = ["".join(pair.split(" ")) for pair in _MERGES]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), *merged]
    return {word: number for number, word in enumerate(words)}
