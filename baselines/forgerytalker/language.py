"""Words: the prompt that carries the suspected regions, and which tokens of a report name a region.

Legend: B samples, T tokens, R = 21 regions.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mmtt.errors import UserError, did_you_mean
from mmtt.lexicon import mentions
from mmtt.regions import REGIONS

_SUSPECTED = "These facial regions might be manipulated by AI: {}. "
_TASK = "Say which parts of the face look unnatural, and why."


def prompt(words: Iterable[str]) -> str:
    """Return what Q-Former and language model are asked, naming the suspected regions; without any, only the task."""
    named = ", ".join(words)
    return (_SUSPECTED.format(named) if named else "") + _TASK


def prompts(used_BR: Tensor) -> list[str]:
    """Return a prompt for each sample."""
    return [prompt(word for word, told in zip(REGIONS, row, strict=True) if told) for row in used_BR.tolist()]


def require_region(word: str) -> None:
    """Refuse a word that a user meant for a region.

    Raises:
        UserError: it is none of the 21.
    """
    if word not in REGIONS:
        raise UserError(f"'{word}' is no region of the face.{did_you_mean(word, REGIONS)}")


def regions_of(words: Sequence[Sequence[str]]) -> Tensor:
    """Return the regions that a user named for each sample, bool B×R.

    Raises:
        UserError: a word that is none of the 21.
    """
    used_BR = torch.zeros(len(words), len(REGIONS), dtype=torch.bool)
    for sample, named in enumerate(words):
        for word in named:
            require_region(word)
            used_BR[sample, REGIONS.index(word)] = True
    return used_BR


@lru_cache(maxsize=2**17)
def _spans(text: str, language: str) -> tuple[tuple[int, int], ...]:
    return tuple((mention.start, mention.end) for mention in mentions(text, language))


def region_tokens(tokenizer: Any, texts: Sequence[str], language: str, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return reports as tokens, which of these count, and which name a region: int64, int64, bool, all B×T.

    A word that was split into pieces is marked as a whole, and so are regions of several words.

    Raises:
        UserError: a language without a lexicon.
    """
    found = tokenizer(
        list(texts), padding=True, padding_side="right", truncation=True, max_length=limit, return_tensors="pt",
        return_offsets_mapping=True,
    )  # fmt: skip
    named_BT = torch.zeros_like(found.input_ids, dtype=torch.bool)
    for sample, text in enumerate(texts):
        start_T, end_T = found.offset_mapping[sample].unbind(-1)
        for start, end in _spans(text, language):
            named_BT[sample] |= (start_T < end) & (end_T > start) & (end_T > start_T)
    return found.input_ids, found.attention_mask, named_BT
