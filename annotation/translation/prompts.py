"""Prompts: how a report is put to a language model. The words are data (`prompts.yaml`), each prompt known by its id.

A report never becomes part of a string that is read as a prompt: what stands around it is turned into tokens by itself,
the report by itself, and the tokens are joined.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Literal, NamedTuple

import yaml

from mmtt.errors import Rejected, UserError
from mmtt.ids import digest
from mmtt.words import base

from .computing import versions
from .language_models import BATCH, GRID, Opened, tokens

_MARKED = ("m2m_100", "mbart")  # marks of languages begin what is read and what is answered
_PREFIXED = ("t5", "mt5", "umt5")
_HERE = "[[the-report]]"
# Some chat templates tell the date: they would ask something else each day.
_SOME_DAY = "{%- macro strftime_now(format) -%}1 January 2025{%- endmacro -%}"


class Task(NamedTuple):
    """What is asked for: a translation, or a shortening to at most so many words; `language` is a BCP 47 tag."""

    kind: Literal["translation", "shortening"]
    language: str
    words: int | None = None


class Prompt(NamedTuple):
    """What stands around a text: tokens before and after it, and the first one of the answer where that is forced.

    `told` is all that decides an answer, but for the text and the model, as JSON.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    first: int | None
    told: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Digest of `told`, 64 hex digits."""
        return digest(dict(self.told))


@cache
def _data() -> Mapping[str, Any]:
    read: dict[str, Any] = yaml.safe_load((files(__package__ or "annotation") / "prompts.yaml").read_text("utf-8"))
    return read


def require_able(opened: Opened, task: Task) -> None:
    """Refuse a model that cannot do a task.

    Raises:
        UserError: what it cannot do, and which models can; or a language that is none of `mmtt.words.LANGUAGES`.
    """
    base(task.language)
    if opened.continues and not opened.tokenizer.chat_template:
        raise UserError(
            f"{opened.folder} ({opened.kind}) has no chat template. Of decoder-only models, use a chat model."
        )
    if opened.continues or opened.kind in _PREFIXED:
        return
    if opened.kind not in (*_MARKED, "marian"):
        raise UserError(f"{opened.folder} is a {opened.kind}. Use a chat model, Marian, NLLB, M2M100, mBART or T5.")
    if task.kind == "shortening":
        raise UserError(f"{opened.folder} ({opened.kind}) only translates. To shorten, use a chat model or T5.")


def prompt(opened: Opened, task: Task, language: str, where: str) -> Prompt:
    """Return how a text is put to a model.

    Args:
        opened: the model.
        task: what it is asked for.
        language: of the text.
        where: the device that computes the answer.

    Raises:
        Rejected: `language`, it does not read that language. UserError: it does not write the one asked for.
    """
    try:
        source = base(language)
    except UserError as error:
        raise Rejected("language", str(error)) from error
    make = _chat if opened.continues else _marked if opened.kind in _MARKED else _plain
    made = make(opened, task, source)
    run = {"batch": BATCH, "grid": GRID, "output_tokens": opened.output_tokens, "decoding": "greedy"}
    told = {**made.told, **run, "architecture": opened.kind, "device": where, "versions": versions()}
    return made._replace(told={**task._asdict(), "source": source, **told})


def _chat(opened: Opened, task: Task, source: str) -> Prompt:
    """A chat model: its template, rendered around a placeholder."""
    name, text = _words("chat", task, source)
    try:
        rendered = opened.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            chat_template=_SOME_DAY + opened.tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
    except Exception as error:  # a template is a program: whatever it makes Jinja raise
        raise UserError(f"The chat template of {opened.folder} fails ({type(error).__name__}: {error}).") from error
    around = str(rendered).split(_HERE)
    if len(around) != 2:
        raise UserError(f"The chat template of {opened.folder} does not repeat a message word for word, once.")
    head, tail = (_commands(opened, part) for part in around)
    return Prompt(head, tail, None, {"id": name, "around": around})


def _marked(opened: Opened, task: Task, source: str) -> Prompt:
    """NLLB, M2M100, mBART: the mark of a text's language stands beside it, that of the answer's begins the answer."""
    ours, first = _mark(opened, source), _mark(opened, task.language)
    if first is None:
        raise UserError(f"{opened.folder} does not write '{task.language}'.")
    if ours is None:
        raise Rejected("language", f"the model does not read '{source}'")
    opened.tokenizer.src_lang = ours.strip("_")
    head, tail = tuple(opened.tokenizer.prefix_tokens), tuple(opened.tokenizer.suffix_tokens)
    return Prompt(head, tail, _id(opened, first), {"id": "marks", "around": [ours, first]})


def _plain(opened: Opened, task: Task, source: str) -> Prompt:
    """Marian and T5: a mark of the answer's language where the model has any, else words where it follows some."""
    mark, end = _mark(opened, task.language), (opened.tokenizer.eos_token_id,)
    if opened.kind == "marian":
        _require_pair(opened, task, source, marked=mark is not None)
    if mark is not None and task.kind == "translation":
        return Prompt((_id(opened, mark),), end, None, {"id": "mark", "around": [mark, ""]})
    if opened.kind == "marian":
        return Prompt((), end, None, {"id": "none", "around": ["", ""]})
    name, text = _words("t5", task, source)
    around = text.split(_HERE)
    head, tail = (_commands(opened, part) for part in around)
    return Prompt(head, tail + end, None, {"id": name, "around": around})


def _require_pair(opened: Opened, task: Task, source: str, *, marked: bool) -> None:
    """Marian models may say what they read and write; names of groups of languages are let pass."""
    of = {code: name for name, language in _data()["languages"].items() for code in language["codes"]}
    reads = of.get(getattr(opened.tokenizer, "source_lang", None), source)
    writes = of.get(getattr(opened.tokenizer, "target_lang", None), base(task.language))
    if writes != base(task.language) and not marked:
        raise UserError(f"{opened.folder} writes '{writes}', not '{task.language}'.")
    if reads != source:
        raise Rejected("language", f"the model reads '{reads}', not '{source}'")


def _mark(opened: Opened, language: str) -> str | None:
    unknown = (None, opened.tokenizer.unk_token_id)
    marks: list[str] = _data()["languages"][base(language)]["marks"]
    return next((m for m in marks if opened.tokenizer.convert_tokens_to_ids(m) not in unknown), None)


def _id(opened: Opened, token: str) -> int:
    return int(opened.tokenizer.convert_tokens_to_ids(token))


def _words(style: str, task: Task, source: str) -> tuple[str, str]:
    """A prompt's id and its text, with everything filled in but the report, whose place is kept."""
    written, languages = _data()["prompts"][style][task.kind], _data()["languages"]
    names = {"source": languages[source]["name"], "target": languages[base(task.language)]["name"]}
    return written["id"], Template(written["text"]).substitute(names, words=task.words, text=_HERE)


def _commands(opened: Opened, text: str) -> tuple[int, ...]:
    """Tokens of a prompt's own words, in which the model's commands are what they are."""
    return tuple(opened.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()


def put(opened: Opened, asked: Prompt, text: str) -> list[int]:
    """Return what a model reads: a text's tokens between those of a prompt.

    Raises:
        Rejected: `too_long`, more than the model can read; nothing is ever cut.
    """
    read = [*asked.head, *tokens(opened, text), *asked.tail]
    if len(read) > opened.input_tokens:
        raise Rejected("too_long", f"{len(read)} tokens, and the model reads {opened.input_tokens}")
    return read
