"""Instructions as Label Studio shows them before the first task: out of the guidelines, and what the stage is about.

Sections of `GUIDELINES.md`, and of its translations, stand between `<!-- instructions: STAGE … -->` and
`<!-- /instructions -->`; the paragraphs on the stage itself are strings of the language.
"""

import re
from importlib import resources

from ..protocols import StageName
from ..protocols import stage as stage_of
from .languages import words

_SECTION = re.compile(r"<!-- instructions: ([a-z ]+) -->\n(.*?)<!-- /instructions -->", re.DOTALL)
# Label Studio's style sheet takes margins, bullets and lines away, and its server every `style`; its classes pass.
_CELL = "p-2 text-left align-top border-b"
_CLASSES = {
    "h2": "mt-6 mb-2 text-xl font-bold",
    "p": "mb-2",
    "ol": "list-decimal ml-4 mb-2",
    "ul": "list-disc ml-4 mb-2",
    "table": "mb-2",
    "th": _CELL,
    "td": _CELL,
}


def guidelines(language: str) -> str:
    """Return the guidelines in a language, Markdown.

    Raises:
        UserError: the interface is not written in that language.
    """
    words(language)
    name = "GUIDELINES.md" if language == "en" else f"GUIDELINES.{language}.md"
    return resources.files(__package__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")


def instructions(stage: StageName, language: str, protocol: str, *, rework: bool = False) -> str:
    """Return what a person reads before the first task of a stage, as plain HTML without scripts, links or pictures.

    Raises:
        KeyError: the protocol has no such stage.
        UserError: the interface is not written in that language.
    """
    said = words(language)
    about = [f"## {said['instructions.title']}", *([said["instructions.rework"]] if rework else [])]
    about += [said[f"instructions.{stage}"]]
    about += [said[f"instructions.sees.{view}"] for view in stage_of(protocol, stage).sees]
    return rendered("\n\n".join([*about, *sections(guidelines(language), stage)]))


def sections(markdown: str, stage: StageName) -> list[str]:
    """Return the sections of guidelines that are meant for a stage, in order."""
    return [text for stages, text in _SECTION.findall(markdown) if stage in stages.split()]


def rendered(markdown: str) -> str:
    """Return Markdown as HTML. HTML that stands in it is shown, not obeyed."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.nesting == 1 and token.tag in _CLASSES:
            token.attrSet("class", _CLASSES[token.tag])
    return str(parser.renderer.render(tokens, parser.options, {}))
