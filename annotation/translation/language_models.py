"""Language models out of a user's folder in transformers' format: how one is checked, opened, loaded and run.

Nothing of the folder is executed: weights are safetensors, never pickles, and code in it is refused. Nothing is
downloaded. A model answers greedily, in one thread, in batches whose shape follows from a text's own length alone: what
it makes of a text does not depend on the texts beside it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mmtt.devices import steady
from mmtt.errors import Rejected, UserError

from .computing import concerning, quiet

BATCH = 8
GRID = 32  # lengths are rounded up to it, in tokens
INPUT_TOKENS, OUTPUT_TOKENS = 2048, 384  # at most; fewer where the model has less room

_SAFELY: Mapping[str, Any] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
_BRACKETS = ("<", "[")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# What ends or frames a turn, as some model or other writes it. In a report it is a fault, whoever put it there.
_MARKUP = r"<\|[^<>|]*\|>|</?(?:s|pad|unk|bos|eos|think|start_of_turn|end_of_turn)>|\[/?INST\]"


class Opened(NamedTuple):
    """A model's folder, opened but for the weights: `config` and `tokenizer` are transformers'.

    `commands` are the tokens that frame and steer, such as `</s>`, in contrast to those that texts consist of.
    """

    folder: Path
    config: Any
    tokenizer: Any
    commands: frozenset[int]

    @property
    def kind(self) -> str:
        """The model's architecture, as transformers calls it."""
        return str(self.config.model_type)

    @property
    def continues(self) -> bool:
        """Whether an answer continues what was read (decoder-only), in place of being written apart."""
        return not self.config.is_encoder_decoder

    @property
    def output_tokens(self) -> int:
        """How long an answer may be, in tokens."""
        return min(OUTPUT_TOKENS, self._positions // 2 if self.continues else self._positions - 1)

    @property
    def input_tokens(self) -> int:
        """How long may be what is read, in tokens."""
        return min(INPUT_TOKENS, self._positions - (self.output_tokens if self.continues else 0))

    @property
    def _positions(self) -> int:
        places = getattr(self.config, "max_position_embeddings", None)  # T5 has none, but its tokenizer says how many
        return int(min(self.tokenizer.model_max_length, places or INPUT_TOKENS + OUTPUT_TOKENS))


class Loaded(NamedTuple):
    """A model, ready to run. `ends`: the tokens of which each ends an answer."""

    opened: Opened
    model: Any
    device: str
    ends: frozenset[int]


def check_folder(folder: Path) -> None:
    """Refuse what is no model, or would have to be unpickled or executed; needs neither torch nor time.

    Raises:
        UserError: what is wrong with the folder, and what to do.
    """
    if not (folder / "config.json").is_file():
        hint = "Name a folder in transformers' format (`hf download OWNER/NAME --local-dir DIR`)."
        raise UserError(f"{folder} holds no model (no config.json). {hint}")
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)) or "none at all"
        raise UserError(
            f"{folder} has no weights as safetensors (there is {found}): pickled weights can run any code when they "
            "are opened and are refused; get the safetensors, or convert them where that can do no harm."
        )
    if code := next(folder.rglob("*.py"), None):
        raise UserError(f"{code} is code, which is never run. Remove it once you have read it.")
    if (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} holds an adapter, no whole model. Merge it into its model, and name that.")


def open_folder(folder: Path) -> Opened:
    """Open a model's folder.

    Raises:
        UserError: it cannot be used, and why. MissingDependency: no torch or transformers.
    """
    check_folder(folder)
    with quiet(), concerning(folder):
        from transformers import AutoConfig, AutoTokenizer

        config = AutoConfig.from_pretrained(folder, **_SAFELY)
        tokenizer = AutoTokenizer.from_pretrained(folder, **_SAFELY)
    return Opened(folder, config, tokenizer, _commands(tokenizer))


def _commands(tokenizer: Any) -> frozenset[int]:
    """Added tokens may also be runs of spaces, or words; and what a model does not know is no command."""
    added = tokenizer.added_tokens_decoder.items()
    named = {number for number, token in added if token.special or token.content[:1] in _BRACKETS}
    return frozenset(named.union(tokenizer.all_special_ids) - {tokenizer.unk_token_id})


def load(opened: Opened, where: str) -> Loaded:
    """Load the weights of a model onto a device.

    Raises:
        UserError: they cannot be read, or are not all there.
    """
    with quiet(), concerning(opened.folder):
        import transformers

        kind = transformers.AutoModelForCausalLM if opened.continues else transformers.AutoModelForSeq2SeqLM
        model, found = kind.from_pretrained(
            opened.folder, use_safetensors=True, dtype="auto", output_loading_info=True, **_SAFELY
        )
    if found["missing_keys"]:  # they would be drawn at random
        some = ", ".join(sorted(found["missing_keys"])[:3])
        raise UserError(f"{opened.folder} is no whole {type(model).__name__}: it lacks {some}.")
    ends = _ends(opened, model.generation_config.eos_token_id)
    if not ends:
        raise UserError(f"{opened.folder} does not say which token ends an answer (eos_token_id).")
    model.generation_config = _greedy(opened, model.generation_config, ends)
    return Loaded(opened, model.eval().to(where), where, ends)


def _ends(opened: Opened, saved: int | list[int] | None) -> frozenset[int]:
    """What is said to end an answer; and any command, where an answer has none. Some chat models do not name theirs."""
    said = saved if isinstance(saved, list) else [saved]
    known = frozenset(end for end in (*said, opened.tokenizer.eos_token_id) if end is not None)
    return known | opened.commands if opened.continues else known


def _greedy(opened: Opened, saved: Any, ends: Iterable[int]) -> Any:
    """Of what the model was saved with, only which token is what: no sampling, no beams, no forced end."""
    from transformers import GenerationConfig

    blank = (saved.pad_token_id, opened.tokenizer.pad_token_id, min(ends))
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=opened.output_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=next(token for token in blank if token is not None),
        bos_token_id=saved.bos_token_id,
        decoder_start_token_id=saved.decoder_start_token_id,
        bad_words_ids=saved.bad_words_ids,
    )


def tokens(opened: Opened, text: str) -> list[int]:
    """Return the tokens of a text in which nothing is a command: `<|im_end|>` becomes letters.

    Raises:
        Rejected: `command`, a tokenizer does not let its commands be letters; `unread`, it does not know some of the
            text, such as Chinese, and a model would make up what it says.
    """
    # Marian's tokenizer takes `>>fra<<` for a command where a text begins with it, and drops a space.
    plain = f" {text}" if opened.kind == "marian" else text
    read = opened.tokenizer(plain, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if found := opened.commands.intersection(read):
        spelled = ", ".join(sorted(map(str, opened.tokenizer.convert_ids_to_tokens(sorted(found)))))
        raise Rejected("command", f"the text spells {spelled}, a command to the model")
    if unknown := read.count(opened.tokenizer.unk_token_id):
        raise Rejected("unread", f"the model does not know {unknown} of the text's {len(read)} tokens")
    return list(read)


def padded(opened: Opened, length: int) -> int:
    """Return the length of the batch that so many tokens go into."""
    return min(-(-length // GRID) * GRID, opened.input_tokens)


def answers(loaded: Loaded, first: int | None, texts: Sequence[Sequence[int]]) -> list[str | Rejected]:
    """Return what a model answers to up to `BATCH` texts.

    Args:
        loaded: the model.
        first: the token that each answer has to begin with.
        texts: tokens, of one padded length.

    Raises:
        UserError: memory does not suffice.
    """
    import torch

    read, seen = _shaped(loaded, texts)
    loaded.model.generation_config.forced_bos_token_id = first
    try:
        with quiet(), steady(loaded.device == "cuda", warn_only=True), torch.inference_mode():
            made = loaded.model.generate(
                input_ids=torch.tensor(read, device=loaded.device),
                attention_mask=torch.tensor(seen, device=loaded.device),
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(f"{loaded.opened.folder} needs more memory than {loaded.device} has: {error}") from error
    begin = len(read[0]) if loaded.opened.continues else 1 if first is None else 2
    return [_answer(loaded, row[begin:]) for row in made[: len(texts)].tolist()]


def _shaped(loaded: Loaded, texts: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return `BATCH` rows of one length, the last text repeated, and which of their tokens count."""
    length = padded(loaded.opened, len(texts[0]))
    blank = loaded.model.generation_config.pad_token_id
    rows = [*texts, *[texts[-1]] * (BATCH - len(texts))]
    fills = [length - len(row) for row in rows]
    if loaded.opened.continues:  # an answer begins where the text ends
        read = [[blank] * fill + list(row) for row, fill in zip(rows, fills, strict=True)]
        return read, [[0] * fill + [1] * (length - fill) for fill in fills]
    read = [list(row) + [blank] * fill for row, fill in zip(rows, fills, strict=True)]
    return read, [[1] * (length - fill) + [0] * fill for fill in fills]


def _answer(loaded: Loaded, made: Sequence[int]) -> str | Rejected:
    end = next((place for place, token in enumerate(made) if token in loaded.ends), None)
    if end is None:
        return Rejected("truncated", f"the answer has no end within {len(made)} tokens")
    tokenizer = loaded.opened.tokenizer
    told = tokenizer.decode(made[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return cleaned(told, tokenizer.all_special_tokens)


def cleaned(text: str, special: Sequence[str]) -> str | Rejected:
    """Return an answer without what a chat template leaves at its end, or why it cannot be used.

    Args:
        text: the answer.
        special: the model's own commands, spelled out.
    """
    spelled = (re.escape(token) for token in sorted(special) if token[:1] in _BRACKETS)
    command = re.compile("|".join([_MARKUP, *spelled]), re.IGNORECASE)
    last = re.compile(rf"(?:{command.pattern})\Z", re.IGNORECASE)
    kept = text.strip()
    while end := last.search(kept):
        kept = kept[: end.start()].rstrip()
    if not kept:
        return Rejected("empty", "the answer is empty")
    if found := command.search(kept):
        return Rejected("markup", f"the answer holds {found.group()}, a command to a model")
    return kept
