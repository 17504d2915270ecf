"""Markdown: templates whose every value is escaped, because titles, origins and licences are strangers' words."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from mmtt.html import figure, number, percent
from mmtt.words import printable

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")  # a list where a line begins so
_RULED = re.compile(r"^([-=+#])")  # a list, a rule, a heading
_ITEM = re.compile(r"(- |\d{1,2}\. )\s*(?=\S)")  # more digits are a year that begins a sentence
_SPAN = re.compile(r"(`[^`\n]+`)")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\|]+")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


class Verbatim(str):
    """Markdown of our own: the only text that goes into a document as it is."""

    __slots__ = ()


def plain(value: Any) -> Any:
    """Return a text as Markdown that reads as that very text, on one line; other values as they are."""
    if isinstance(value, Verbatim) or not isinstance(value, str):
        return value
    line = _SPECIAL.sub(r"\\\1", printable(" ".join(value.split())))
    return Verbatim(_RULED.sub(r"\\\1", _NUMBERED.sub(r"\1\\\2", line)))


def paragraphs(text: str) -> Verbatim:
    """Return a text of several paragraphs, apart by blank lines, each escaped.

    A paragraph that begins with `- ` or `1. ` is a list: each line that begins so is an item, others go on with it.
    """
    return Verbatim("\n\n".join(map(_paragraph, re.split(r"\n\s*\n", text.strip()))))


def _paragraph(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines or not _ITEM.match(lines[0]):
        return str(plain(text))
    items: list[tuple[str, str]] = []
    for line in lines:
        if found := _ITEM.match(line):
            items.append((found[1], line[found.end() :]))
        else:
            marker, begun = items.pop()
            items.append((marker, f"{begun} {line}"))
    return "\n".join(f"{marker}{plain(words)}" for marker, words in items)


def spans(text: str) -> Verbatim:
    """Return a sentence of the toolkit's own, on one line: spans of code stay what they are, all else is escaped."""
    parts = _SPAN.split(printable(" ".join(text.split())))
    return Verbatim("".join(part if at % 2 else _SPECIAL.sub(r"\\\1", part) for at, part in enumerate(parts)))


def code(text: str) -> Verbatim:
    """Return a text for a block of code: without backticks, which would end it, and with line ends kept."""
    return Verbatim("\n".join(printable(line).replace("`", "'") for line in text.strip().splitlines()))


def link(text: str, label: str = "") -> Verbatim:
    """Return an address or e-mail address as a link, under a label where one is given; anything else escaped."""
    line = " ".join(text.split())
    if not _ADDRESS.fullmatch(line) and not _MAIL.fullmatch(line):
        return Verbatim(f"{plain(label)} ({plain(line)})" if label else plain(line))
    return Verbatim(f"[{plain(label)}](<{line}>)" if label else f"<{line}>")


def listed(items: Iterable[Any]) -> Verbatim:
    """Return texts as one line, apart by commas, each escaped."""
    return Verbatim(", ".join(plain(str(item)) for item in items))


def size(count: int) -> Verbatim:
    """Return a number of bytes in the unit that suits it (powers of 1000)."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return Verbatim(f"{count / 1000**power:.1f} {unit}")
    return Verbatim(f"{count} bytes")


def so_many(count: int, one: str, many: str = "") -> Verbatim:
    """Return a count with its noun: `1 photo`, `2,000 photos`."""
    return Verbatim(f"{count:,} {one if count == 1 else many or one + 's'}")


@cache
def template(name: str) -> jinja2.Template:
    """Return a Markdown template of this application."""
    return _environment(plain).get_template(name)


@cache
def text_template(name: str) -> jinja2.Template:
    """Return a template of plain text: values keep to one line, and nothing else is escaped."""
    return _environment(_one_line).get_template(name)


def _one_line(value: Any) -> Any:
    return value if isinstance(value, Verbatim) or not isinstance(value, str) else printable(" ".join(value.split()))


def _environment(finalize: Callable[[Any], Any]) -> jinja2.Environment:
    folder = resources.files((__package__ or "").rpartition(".")[0]) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=lambda value: Verbatim(number(value)), percent=lambda value: Verbatim(percent(value)),
        figure=lambda value: Verbatim(figure(value)), paragraphs=paragraphs, spans=spans, code=code, link=link,
        listed=listed, size=size, so_many=so_many,
    )  # fmt: skip
    return environment
