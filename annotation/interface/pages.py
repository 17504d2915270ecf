"""The labelling interface as Label Studio reads it: XML made of the taxonomy and of one language's strings.

On the left what is looked at, on the right what is answered; on a narrow screen one below the other. What a task
brings (`$given`, `$message`) passes only through tags that show it as it is, never as markup.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError, did_you_mean
from mmtt.files import write_atomically

from ..protocols import (
    CONTROLS,
    DIFFICULTIES,
    GIVEN,
    MESSAGE,
    PROTOCOLS,
    VISIBLE,
    ZOOM,
    Control,
    StageName,
    View,
    texts,
)
from ..protocols import stage as stage_of
from . import style
from .languages import Words, languages, words
from .taxonomy import GROUPS, KEYS, RATING_KEY, REQUIRED, aliases

VERSION = 1
STAMP = r"<!-- mmtt interface (\d+) ([0-9a-f]{64}) -->"  # version and digest, in the comment inside the first tag
_KINDS = {Control.VERDICT: "verdict", Control.MATCH: "match", Control.FLAGS: "flag"}
_WHEN_VISIBLE = (Control.REGIONS, Control.REPORT, Control.DIFFICULTY)
_IF_VISIBLE = {"visibleWhen": "choice-selected", "whenTagName": str(Control.VERDICT), "whenChoiceValue": VISIBLE}


class Page(NamedTuple):
    """One interface: what is asked, in which language."""

    protocol: str
    stage: StageName
    language: str
    rework: bool = False

    @property
    def file_name(self) -> str:
        """What its file in `configs/` is called."""
        return f"{self.protocol}-{self.stage}{'-rework' if self.rework else ''}.{self.language}.xml"


def pages() -> Iterator[Page]:
    """Yield every interface that there is. Only `describe` is worked over."""
    for protocol, stages in PROTOCOLS.items():
        for stage in stages:
            for language in languages():
                yield Page(protocol, stage.name, language)
                if stage.name is StageName.DESCRIBE:
                    yield Page(protocol, stage.name, language, rework=True)


def write_configs(folder: Path | None = None) -> list[Path]:
    """Write the XML of every interface, and remove what is no longer one; return the paths.

    The files in `annotation/interface/configs` are committed. After a change of the taxonomy, a language or the layout:
    `python -c "from annotation.interface import write_configs; write_configs()"`.
    """
    folder = Path(__file__).parent / "configs" if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    made = {folder / page.file_name: build(*page[:3], rework=page.rework) for page in pages()}
    for path, xml in made.items():
        write_atomically(path, xml.encode())
    for path in set(folder.glob("*.xml")) - set(made):
        path.unlink()
    return sorted(made)


def stage_name(protocol: str, name: str) -> StageName:
    """Return a stage of a protocol by its name.

    Raises:
        UserError: there is no such protocol, or it has no such stage.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"There is no protocol '{protocol}'.{did_you_mean(protocol, PROTOCOLS)}")
    stages = [stage.name for stage in PROTOCOLS[protocol]]
    if name not in stages:
        raise UserError(f"The protocol '{protocol}' has no stage '{name}'.{did_you_mean(name, stages)}")
    return StageName(name)


def build(protocol: str, stage: StageName, language: str, *, rework: bool = False) -> str:
    """Return the Label Studio XML of one stage of a protocol, in one language.

    It names the variables that a task must supply: the stage's views, `zoom`, and `texts(stage, rework=rework)`.

    Raises:
        KeyError: the protocol has no such stage.
        ValueError: a stage that is never worked over.
        UserError: there is no such language.
    """
    if rework and stage is not StageName.DESCRIBE:
        raise ValueError(f"{stage} is never worked over")
    page, said = Page(protocol, stage, language, rework), words(language)
    root = _tag(None, "View", style=style.PAGE)
    _heading(_tag(root, "View", style=style.BANNER), said["banner"], style.BOX_HEADING)
    if rework:
        _texts(root, page, said)
    columns = _tag(root, "View", style=style.COLUMNS)
    views = stage_of(protocol, stage).sees
    room = style.layout(len(views))
    look = _tag(columns, "View", style=room.look)
    _look(look, views, said)
    _ask(_tag(columns, "View", style=room.answers), page, room, said)
    beside = room.close_ups == "column"
    close_ups = _tag(look if beside else root, "Collapse", bordered="true", **({"open": "true"} if beside else {}))
    _picture(_tag(close_ups, "Panel", value=said["zoom"]), ZOOM)
    _heading(root, said["keys"], style.NOTE)
    return _stamped(root)


def interface_sha256(xml: str) -> str:
    """Return the digest of an interface: of its tags and attributes, whatever its comments, spaces or their order say.

    Raises:
        xml.etree.ElementTree.ParseError: it is no XML.
    """
    return hashlib.sha256(ET.canonicalize(xml, strip_text=True).encode()).hexdigest()


def _stamped(root: ET.Element) -> str:
    digest = interface_sha256(ET.tostring(root, encoding="unicode"))
    root.insert(0, ET.Comment(f" mmtt interface {VERSION} {digest} "))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _tag(parent: ET.Element | None, tag: str, /, **attributes: str) -> ET.Element:
    return ET.Element(tag, attributes) if parent is None else ET.SubElement(parent, tag, attributes)


def _heading(parent: ET.Element, text: str, css: str) -> None:
    _tag(parent, "Header", value=text, size="5", style=css)


def _texts(parent: ET.Element, page: Page, said: Words) -> None:
    """What others wrote about this record, shown as it is: never as markup."""
    for name in texts(page.stage, rework=page.rework):
        box = _tag(parent, "View", style=style.MESSAGE if name == MESSAGE else style.GIVEN)
        title = MESSAGE if name == MESSAGE else f"{GIVEN}.{'rework' if page.rework else page.stage}"
        _heading(box, said[title], style.BOX_HEADING)
        _tag(box, "Text", name=f"{name}_text", value=f"${name}", valueType="text")


def _look(parent: ET.Element, views: Iterable[View], said: Words) -> None:
    grid = _tag(parent, "View", style=style.PICTURES)
    for view in views:
        cell = _tag(grid, "View", style=style.CELL)
        _heading(cell, said[f"look.{view}"], style.CAPTION)
        _picture(cell, view)


def _picture(parent: ET.Element, name: str) -> None:
    """One picture. Without the tool that selects, dragging moves it."""
    tools = {f"{tool}Control": "true" for tool in ("zoom", "brightness", "contrast")}
    _tag(
        parent, "Image", name=name, value=f"${name}", smoothing="false", zoom="true", selectionControl="false", **tools
    )


def _ask(parent: ET.Element, page: Page, room: style.Layout, said: Words) -> None:
    controls = CONTROLS[page.stage]
    middle = controls.index(Control.REPORT)
    halves = [_tag(parent, "View", style=room.half) for _ in range(2)]
    if not page.rework:
        _texts(halves[room.texts], page, said)
    _half(halves[0], controls[:middle], page, said)
    _half(halves[1], controls[middle:], page, said)


def _half(parent: ET.Element, controls: Iterable[Control], page: Page, said: Words) -> None:
    """Some controls below one another; what belongs to a trace is there only when one is seen."""
    conditional = Control.VERDICT in CONTROLS[page.stage]
    for hidden, together in groupby(controls, lambda control: conditional and control in _WHEN_VISIBLE):
        box = _tag(parent, "View", **(_IF_VISIBLE if hidden else {}))
        for control in together:
            _control(box, control, page, said)


def _control(parent: ET.Element, control: Control, page: Page, said: Words) -> None:
    chosen = aliases(control, page.stage)
    _heading(parent, said[f"ask.{page.stage}.{control}"], style.HEADING_OF_CHOICES if chosen else style.HEADING)
    common = {"name": str(control), "toName": str(View.IMAGE)}
    if control in REQUIRED:
        common |= {"required": "true", "requiredMessage": said[f"required.{control}"]}
    if control is Control.REPORT:
        _report(parent, page, said, common)
    elif control is Control.DIFFICULTY:
        _tag(parent, "Rating", **common, maxRating=str(DIFFICULTIES), hotkey=RATING_KEY, size="medium")
        _heading(parent, said["difficulty_scale"], style.NOTE)
    elif control in (Control.REGIONS, Control.MISSED):
        _regions(_tag(parent, "Choices", **common, choice="multiple", layout="inline"), control, said)
    else:
        kind, how = _KINDS[control], "multiple" if control is Control.FLAGS else "single-radio"
        row = _tag(_tag(parent, "Choices", **common, choice=how, layout="inline"), "View", style=style.ROWS[kind])
        _choices(row, control, kind, chosen, said)


def _report(parent: ET.Element, page: Page, said: Words, common: dict[str, str]) -> None:
    begun = {"value": f"${GIVEN}"} if page.rework or page.stage is StageName.VERIFY else {}
    _tag(
        parent, "TextArea", **common, **begun, rows="5", maxSubmissions="1", editable="true", showSubmitButton="false",
        placeholder=said[f"placeholder.{page.stage}"],
    )  # fmt: skip


def _regions(parent: ET.Element, control: Control, said: Words) -> None:
    for group, ones in GROUPS.items():
        row = _tag(parent, "View", style=style.GROUP)
        _heading(row, said[f"group.{group}"], style.GROUP_NAME)
        _choices(_tag(row, "View", style=style.WRAPPING), control, "region", ones, said)


def _choices(parent: ET.Element, control: Control, kind: str, ones: Iterable[str], said: Words) -> None:
    for one in ones:
        text, hint = said[f"{kind}.{one}.text"], said[f"{kind}.{one}.hint"]
        _tag(parent, "Choice", value=text, alias=one, hint=hint, hotkey=KEYS[control][one], style=style.CHOICE)
