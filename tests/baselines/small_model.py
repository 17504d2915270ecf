"""The smallest ForgeryTalker that has every part, and batches made up for it. Nothing is drawn, nothing is read."""

from typing import Any

import torch

from baselines.forgerytalker.batch import Batch
from baselines.forgerytalker.config import Config, load
from baselines.forgerytalker.model import ForgeryTalker, build
from baselines.forgerytalker.tokens import Tokens
from mmtt.regions import REGIONS

SIZE_PX = 32
TEXTS = (
    "The left eye is smeared and its pupil is missing.",
    "The nose has a hard edge, and both nostrils are blurred.",
    "The lips run into the teeth.",
    "The hair ends in a straight line.",
)
TOLD = (("eye", "pupil"), ("nose",), ("lip", "tooth"), ("hair",))
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIZE_PX, "patch_size": 8,
}  # fmt: skip
QFORMER = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "cross_attention_frequency": 1, "encoder_hidden_size": 32,
}  # fmt: skip
LANGUAGE = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
PROMPTER = {
    "patch_px": 8, "hidden": 16, "layers": 2, "heads": 2, "mlp": 32, "conv_branches": 2, "conv_channels": 8,
}  # fmt: skip
SAMPLES = 4
_TOKENS = Tokens.trained(TEXTS, 400)


def small_config(
    *, mends: dict[str, Any] | None = None, options: dict[str, Any] | None = None, still: bool = False, **model: Any
) -> Config:
    """Return the config of the smallest model; `still` is one without dropout."""
    data = load("tiny").model_dump(mode="json")
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if still else {}
    data["data"] |= {"size_px": SIZE_PX, "cache_px": None, "report_tokens": 48, "cut_reports": False}
    data["model"] |= {
        "vision": VISION,
        "qformer": QFORMER | quiet,
        "language": LANGUAGE | ({"dropout_rate": 0.0} if still else {}),
        "query_tokens": 4,
        "prompter": PROMPTER | ({"dropout": 0.0} if still else {}),
        "mask_decoder": {"hidden": 16, "layers": 2, "heads": 2, "mlp": 32, "up": 2},
        "mends": mends or {},
        "options": options or {},
        **model,
    }
    data["generation"] = {"beams": 2, "max_tokens": 8, "min_tokens": 2}
    return Config.model_validate(data)


def small_model(**settings: Any) -> ForgeryTalker:
    """Return the smallest model with random weights."""
    return build(small_config(**settings), _TOKENS)


def small_tokens() -> Tokens:
    """Return tokenizers that know `TEXTS`."""
    return _TOKENS


def small_batch(seed: int = 0, **changes: Any) -> Batch:
    """Return four samples: noise in which a square is marked, each with a report."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(SAMPLES, 3, SIZE_PX, SIZE_PX, generator=generator)
    mask = torch.zeros(SAMPLES, SIZE_PX, SIZE_PX)
    regions = torch.zeros(SAMPLES, len(REGIONS))
    for sample, words in enumerate(TOLD):
        mask[sample, 8 : 16 + 4 * sample, 8:24] = 1
        regions[sample, [REGIONS.index(word) for word in words]] = 1
    pixels += mask[:, None]
    fields = {
        "keys": tuple((f"record {number}", "master") for number in range(SAMPLES)),
        "pixels_BCHW": pixels,
        "mask_BHW": mask,
        "regions_BR": regions,
        "manipulated_B": torch.ones(SAMPLES),
        "reports": TEXTS,
        "weight_B": torch.ones(SAMPLES),
    }
    return Batch(**(fields | changes))
