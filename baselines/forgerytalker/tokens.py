"""Tokens: the two tokenizers of InstructBLIP, one for the Q-Former's words and one for the language model's.

They lie in a folder as InstructBLIP's do: the language model's files in it, the Q-Former's in `qformer_tokenizer/`.
Legend: B texts, T tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mmtt.errors import UserError
from mmtt.regions import REGIONS
from mmtt.weights import Weights, require

from .config import ModelConfig
from .language import prompt

_QFORMER = "qformer_tokenizer"
_ORIGIN = "https://huggingface.co/Salesforce/instructblip-flan-t5-xl"
_QFORMER_MARKS = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip
_LANGUAGE_MARKS = {"pad_token": "<pad>", "eos_token": "</s>"}


@dataclass(frozen=True)
class Tokens:
    """The tokenizers of a model. Reports are never cut unless somebody asks for it."""

    qformer: PreTrainedTokenizerFast
    language: PreTrainedTokenizerFast

    @classmethod
    def trained(cls, texts: Sequence[str], size: int) -> "Tokens":
        """Learn both vocabularies from texts, for a model from scratch; equal texts give equal tokens.

        Byte-pair encoding, over lower-case letters for the Q-Former, over bytes for the language model, which so can
        write any text.

        Args:
            texts: reports. The prompts and the region words are always learnt too.
            size: entries of each vocabulary, at the most; the language model's has no fewer than its 256 bytes need.
        """
        known = [*texts, prompt(REGIONS), prompt(()), *REGIONS]
        return cls(_of_qformer(known, size), _of_language(known, size))

    @classmethod
    def load(cls, folder: Path) -> "Tokens":
        """Read the tokenizers of a folder.

        Raises:
            UserError: one is missing or damaged.
        """
        return cls(_loaded(folder / _QFORMER), _loaded(folder))

    def save(self, folder: Path) -> None:
        """Write both into a folder, as JSON."""
        self.language.save_pretrained(folder)
        self.qformer.save_pretrained(folder / _QFORMER)

    def report_length(self, text: str) -> int:
        """Return how many tokens the language model needs for a report, its end included."""
        return len(self.language(text, verbose=False).input_ids)

    def reports(self, texts: Sequence[str], limit: int, *, cut: bool) -> Tensor:
        """Return reports as labels, int64 B×T, -100 after their end.

        Raises:
            UserError: one has more than `limit` tokens, and `cut` is off.
        """
        rows = [self.language(text, verbose=False).input_ids for text in texts]
        for row, text in zip(rows, texts, strict=True):
            if len(row) > limit and not cut:
                raise UserError(
                    f"A report has {len(row)} tokens, more than the {limit} of 'data.report_tokens' "
                    f"(\"{text[:40]}...\"). Raise that, or set 'data.cut_reports'."
                )
        kept = [row if len(row) <= limit else [*row[: limit - 1], self.language.eos_token_id] for row in rows]
        longest = max(len(row) for row in kept)
        return torch.tensor([[*row, *[-100] * (longest - len(row))] for row in kept])

    def texts(self, ids_BT: Tensor) -> tuple[str, ...]:
        """Return the texts that the language model wrote, without marks."""
        return tuple(text.strip() for text in self.language.batch_decode(ids_BT, skip_special_tokens=True))

    @cached_property
    def region_words(self) -> tuple[Tensor, Tensor]:
        """Return the language model's tokens of the 21 region words, int64 21×T, and which of them count."""
        return padded(self.language, REGIONS, 16, add_special_tokens=False)


def padded(
    tokenizer: Any, texts: Iterable[str], limit: int, device: torch.device | str = "cpu", **options: Any
) -> tuple[Tensor, Tensor]:
    """Return token ids, int64 B×T, and which of them count; longer texts end at `limit` tokens."""
    settings = {"padding": True, "padding_side": "right", "truncation": True, "max_length": limit, **options}
    found = tokenizer(list(texts), return_tensors="pt", **settings)
    return found.input_ids.to(device), found.attention_mask.to(device)


def pretrained_folder(name: str) -> Path:
    """Return where a pretrained InstructBLIP lies.

    Raises:
        UserError: nowhere; the message says where it comes from.
    """
    return require(Weights(name, "LicenseRef-unknown", _ORIGIN))


def tokens_for(config: ModelConfig, texts: Sequence[str]) -> Tokens:
    """Return the tokenizers for a new run: those of the pretrained model, or else new ones learnt from its reports.

    Raises:
        UserError: the pretrained model is missing, or its tokenizers are.
    """
    if config.pretrained:
        return Tokens.load(pretrained_folder(config.pretrained))
    return Tokens.trained(texts, config.vocabulary)


def _loaded(folder: Path) -> PreTrainedTokenizerFast:
    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the reader of a stranger's JSON raises whatever it likes
        raise UserError(f"{folder} holds no tokenizer that can be read: {_first_line(error)}") from error
    if not found.is_fast:
        raise UserError(f"{folder} holds no tokenizer.json. Get the folder again from {_ORIGIN}.")
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _of_qformer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    # Not WordPieces, as BERT's: that trainer numbers its pieces in another order in every process.
    made = tokenizers.Tokenizer(models.BPE(unk_token=_QFORMER_MARKS["unk_token"]))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _train(made, texts, size, [*_QFORMER_MARKS.values()], [])
    return _finished(made, "[CLS] $A [SEP]", ["[CLS]", "[SEP]"], _QFORMER_MARKS)


def _of_language(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    _train(made, texts, size, [*_LANGUAGE_MARKS.values()], pre_tokenizers.ByteLevel.alphabet())
    return _finished(made, "$A </s>", ["</s>"], _LANGUAGE_MARKS)


def _train(made: tokenizers.Tokenizer, texts: Sequence[str], size: int, marks: list[str], alphabet: list[str]) -> None:
    settings = {"vocab_size": size, "special_tokens": marks, "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator(texts, trainers.BpeTrainer(**settings))


def _finished(
    made: tokenizers.Tokenizer, frame: str, used: list[str], marks: dict[str, str]
) -> PreTrainedTokenizerFast:
    known = [(mark, made.token_to_id(mark)) for mark in used]
    made.post_processor = processors.TemplateProcessing(single=frame, special_tokens=known)
    return PreTrainedTokenizerFast(tokenizer_object=made, **marks)
