"""Language models in miniature: the true files of transformers' format, made-up weights, no download.

What the Hub holds of Marian, T5, NLLB and of chat models is a folder each: configuration, tokenizer, weights as
safetensors. These have all of it; the real classes write them and read them, in tenths of a second. `teach` lets one
learn a few answers by heart, so that it says something and comes to an end; untaught, it babbles on.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What the tokenizers learn from. Made up: nobody's report.
TEXTS = (
    "left eye smeared and pupil missing",
    "mouth blurred, teeth run together",
    "skin of one cheek has another colour than nose",
    "左眼模糊，瞳孔不见了",
    "嘴巴很模糊，牙齿连在一起",
    "脸颊的皮肤和鼻子的颜色不一样",
    "Translate the report between the dashed lines from Chinese into English. Answer with the translation alone.",
    "translate Chinese to English: Summarize this English text in at most words",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 ,.:;!?'()[]{}<>/|_%$#*-+=&",
)
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SIZE: Mapping[str, Any] = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                            "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip


def write_chat(folder: Path, *, template: str | None = CHAT, **config: Any) -> Path:
    """Write a chat model of Qwen's kind: byte-level BPE, turns between `<|im_start|>` and `<|im_end|>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=1024,
        additional_special_tokens=["<|im_start|>"], chat_template=template,
    )  # fmt: skip
    known = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024,
        "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    return _saved(folder, tokenizer, lambda: Qwen2ForCausalLM(Qwen2Config(**{**known, **config})))


def write_t5(folder: Path, **config: Any) -> Path:
    """Write a T5 with its own tokenizer."""
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    vocabulary = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")] + _unigrams()
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=2, model_max_length=512)
    known = {
        "vocab_size": len(tokenizer), "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1,
        "num_heads": 2, "dropout_rate": 0.0, "decoder_start_token_id": 0,
    }  # fmt: skip
    return _saved(folder, tokenizer, lambda: T5ForConditionalGeneration(T5Config(**{**known, **config})))


def write_nllb(folder: Path, **config: Any) -> Path:
    """Write an NLLB: a model of M2M100's kind, and a tokenizer that knows two hundred languages' marks."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    learned = json.loads(made.to_str())["model"]
    tokenizer = NllbTokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]])
    known = {**_SIZE, "vocab_size": len(tokenizer), "max_position_embeddings": 512, "dropout": 0.0}
    return _saved(folder, tokenizer, lambda: M2M100ForConditionalGeneration(M2M100Config(**{**known, **config})))


def write_marian(folder: Path, source: str = "zho", target: str = "eng", marks: Sequence[str] = ()) -> Path:
    """Write a Marian model of one pair, or of several targets that it knows by marks; needs sentencepiece."""
    import sentencepiece
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    pieces = folder / "source.spm"
    with pieces.open("wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=handle, vocab_size=150, hard_vocab_limit=False,
            character_coverage=1.0, minloglevel=2,
        )  # fmt: skip
    shutil.copy(pieces, folder / "target.spm")
    trained = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    words = [trained.id_to_piece(number) for number in range(3, trained.get_piece_size())]
    ordered = ["</s>", "<unk>", *words, *marks, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(ordered)}), "utf-8")
    last = len(ordered) - 1
    with _quietly():
        tokenizer = MarianTokenizer(
            source_spm=str(pieces), target_spm=str(folder / "target.spm"), vocab=str(folder / "vocab.json"),
            source_lang=source, target_lang=target,
        )  # fmt: skip
    config = MarianConfig(
        **_SIZE, vocab_size=len(ordered), max_position_embeddings=512, pad_token_id=last, eos_token_id=0, dropout=0.0,
        decoder_start_token_id=last, forced_eos_token_id=0, bad_words_ids=[[last]], num_beams=4,
    )  # fmt: skip
    return _saved(folder, tokenizer, lambda: MarianMTModel(config))


def teach(folder: Path, lessons: Sequence[tuple[Sequence[int], str]], first: int | None = None) -> None:
    """Let a model learn by heart what to answer to some tokens; its answers begin with `first` where that is given."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    with _quietly(), torch.random.fork_rng():
        torch.manual_seed(5)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        continues = not AutoConfig.from_pretrained(folder).is_encoder_decoder
        model = (AutoModelForCausalLM if continues else AutoModelForSeq2SeqLM).from_pretrained(folder).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
        batch = _lessons(tokenizer, lessons, first, continues)
        for _ in range(200):
            model(**batch).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        model.save_pretrained(folder)


def _lessons(tokenizer: Any, lessons: Sequence[tuple[Sequence[int], str]], first: int | None, continues: bool) -> Any:
    import torch

    begin = [] if first is None else [first]
    wanted = [[*begin, *tokenizer(told, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
              for _, told in lessons]  # fmt: skip
    read = [list(tokens) + (answer if continues else []) for (tokens, _), answer in zip(lessons, wanted, strict=True)]
    labels = [[-100] * (len(tokens) - len(answer)) + answer for tokens, answer in zip(read, wanted, strict=True)]

    def table(rows: Sequence[Sequence[int]], blank: int) -> Any:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[blank] * (longest - len(row))] for row in rows])

    return {
        "input_ids": table(read, tokenizer.pad_token_id),
        "attention_mask": table([[1] * len(row) for row in read], 0),
        "labels": table(labels if continues else wanted, -100),
    }


def _unigrams() -> list[tuple[str, float]]:
    """Every word and every character, with scores that prefer words; a trainer would not draw the same each time."""
    words = sorted({f"▁{word}" for text in TEXTS for word in text.split()})
    letters = sorted(set("".join(TEXTS)) - {" "})
    return [("▁", -3.0), *((word, -2.0) for word in words if len(word) > 2), *((letter, -6.0) for letter in letters)]


def _saved(folder: Path, tokenizer: Any, make: Any) -> Path:
    import torch

    with _quietly(), torch.random.fork_rng():
        torch.manual_seed(11)
        make().eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def _quietly() -> Iterator[None]:
    import torch
    from transformers.utils import logging

    before, threads = logging.get_verbosity(), torch.get_num_threads()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        torch.set_num_threads(threads)
        logging.enable_progress_bar()
