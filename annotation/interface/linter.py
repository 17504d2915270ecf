"""Our own linter of labelling interfaces: what Label Studio lets pass, and what we do not allow.

Label Studio accepts unknown tags, two controls for one key, choices without an alias; it renders HTML that a task
brings, and gives a choice without a key a plain letter. Our interfaces use few tags and few attributes, so that all
others are faults; whatever could run, fetch or be styled from outside is among those.
"""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..protocols import CONTROLS, DIFFICULTIES, GIVEN, MESSAGE, ZOOM, Control, StageName, View
from .pages import STAMP, interface_sha256
from .taxonomy import KEYMAP, REQUIRED, aliases

_SHOWN = frozenset({"name", "toName", "required", "requiredMessage"})
ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType({
    "View": frozenset({"style", "visibleWhen", "whenTagName", "whenChoiceValue"}),
    "Header": frozenset({"value", "size", "style"}),
    "Text": frozenset({"name", "value", "valueType"}),
    "Image": frozenset({"name", "value", "smoothing", "zoom", "zoomControl", "brightnessControl", "contrastControl",
                        "selectionControl"}),
    "Collapse": frozenset({"bordered", "open"}),
    "Panel": frozenset({"value"}),
    "Choices": _SHOWN | {"choice", "layout"},
    "Choice": frozenset({"value", "alias", "hint", "hotkey", "style"}),
    "TextArea": _SHOWN | {"value", "rows", "maxSubmissions", "editable", "showSubmitButton", "placeholder"},
    "Rating": _SHOWN | {"maxRating", "hotkey", "size"},
})  # fmt: skip
_FIXED = {
    "Text": {"valueType": "text"},  # else a server in its secure mode would fetch the text as an address
    "TextArea": {"maxSubmissions": "1", "editable": "true"},  # else one answer could hold several texts
    "Rating": {"maxRating": str(DIFFICULTIES)},
}
_KINDS = {Control.REPORT: "TextArea", Control.DIFFICULTY: "Rating"}  # all others are choices
_SINGLE = (Control.VERDICT, Control.MATCH)
_UNTRUSTED = frozenset({GIVEN, MESSAGE})
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
_USABLE_KEY = re.compile(r"(\d|((shift|ctrl|alt)\+)+[a-z0-9])")
_STYLE_FUNCTIONS = frozenset({"var", "repeat", "minmax", "calc"})


class Interface(NamedTuple):
    """An interface that was parsed: all its tags, and the controls among them by name."""

    xml: str
    tags: tuple[ET.Element, ...]
    controls: Mapping[str, ET.Element]
    stage: StageName


def lint(xml: str, variables: Collection[str] | None = None) -> list[str]:
    """Return the faults of a labelling interface, one sentence each; none for those that `build` makes.

    Args:
        xml: a Label Studio configuration, perhaps hostile: a document type, and so every entity, is refused unread.
        variables: what a task supplies, where that is known.
    """
    if re.search(r"<!(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        return ["It declares a document type or an entity, which no interface needs."]
    try:
        root = ET.fromstring(xml)
    except (ET.ParseError, ValueError) as error:
        return [f"It is not XML: {error}."]
    interface = _parsed(xml, root)
    found = [fault for rule in _RULES for fault in rule(interface)]
    return list(dict.fromkeys([*found, *_unsupplied(interface, variables)]))


def _parsed(xml: str, root: ET.Element) -> Interface:
    tags = tuple(root.iter())
    controls = {tag.get("name", ""): tag for tag in tags if tag.get("toName") is not None}
    nearest = max(CONTROLS, key=lambda stage: (len(controls.keys() & set(CONTROLS[stage])), -len(CONTROLS[stage])))
    return Interface(xml, tags, controls, nearest)


def _tags(interface: Interface) -> Iterator[str]:
    for tag in interface.tags:
        known = ATTRIBUTES.get(tag.tag)
        if known is None:
            yield f"<{tag.tag}> is not among the tags that an interface may use."
            continue
        for name in sorted(set(tag.keys()) - known):
            yield f"<{tag.tag}> has the attribute '{name}', which is not among those that it may have."
        for name, value in _FIXED.get(tag.tag, {}).items():
            if tag.get(name) != value:
                yield f'<{tag.tag} name="{tag.get("name")}"> needs {name}="{value}".'
        if (tag.text or "").strip() or (tag.tail or "").strip():
            yield f"Text stands inside or after <{tag.tag}>; all text belongs into attributes."


def _styles(interface: Interface) -> Iterator[str]:
    for tag in interface.tags:
        style = tag.get("style", "")
        if "\\" in style or not set(re.findall(r"([\w-]*)\(", style)) <= _STYLE_FUNCTIONS:
            yield f"The style of a <{tag.tag}> calls something that could fetch or hide: {style}."


def _names(interface: Interface) -> Iterator[str]:
    names = Counter(tag.get("name") for tag in interface.tags if tag.get("name") is not None)
    yield from (f"The name '{name}' is given {count} times." for name, count in names.items() if count > 1)
    objects = {tag.get("name") for tag in interface.tags if tag.tag in ("Image", "Text")}
    for name, control in interface.controls.items():
        if control.get("toName") not in objects:
            yield f"'{name}' points to '{control.get('toName')}', which is no picture and no text."


def _controls(interface: Interface) -> Iterator[str]:
    stage, wanted = interface.stage, CONTROLS[interface.stage]
    for name in wanted:
        if name not in interface.controls:
            yield f"The control '{name}' of '{stage}' is missing."
            continue
        control, kind = interface.controls[name], _KINDS.get(name, "Choices")
        if name in REQUIRED and control.get("required") != "true":
            yield f"'{name}' must be required."
        if control.tag != kind:
            yield f"'{name}' must be a <{kind}>."
        if kind == "Choices" and control.get("choice") != ("single-radio" if name in _SINGLE else "multiple"):
            yield f"'{name}' must take {'one choice' if name in _SINGLE else 'several choices'}."
    yield from (f"'{name}' is no control of '{stage}'." for name in interface.controls if name not in wanted)


def _choices(interface: Interface) -> Iterator[str]:
    for name, control in interface.controls.items():
        wanted = aliases(Control(name), interface.stage) if name in tuple(Control) else ()
        found = [choice.get("alias") for choice in control.iter("Choice")]
        texts = Counter(choice.get("value") for choice in control.iter("Choice"))
        yield from (f"A choice of '{name}' has no alias." for alias in found if not alias)
        yield from (f"'{name}' has '{one}' {count} times." for one, count in Counter(found).items() if count > 1)
        yield from (f"Two choices of '{name}' read '{text}'." for text, count in texts.items() if count > 1)
        yield from (f"'{name}' offers '{one}', which is not in the taxonomy." for one in found if one not in wanted)
        yield from (f"'{name}' lacks '{one}'." for one in wanted if one not in found)


def _keys(interface: Interface) -> Iterator[str]:
    keyed = [(tag, _normal(tag.get("hotkey", ""))) for tag in interface.tags if tag.tag in ("Choice", "Rating")]
    used = Counter(key for _, key in keyed if key)
    for tag, key in keyed:
        called = tag.get("alias") or tag.get("name")
        if not key:
            yield f"'{called}' has no hotkey: Label Studio would give it a plain letter."
        elif not _USABLE_KEY.fullmatch(key):
            yield f"The key '{key}' of '{called}' is neither a digit nor a letter or digit with shift, ctrl or alt."
        elif key in _KEYMAP:
            yield f"The key '{key}' of '{called}' is one of Label Studio's own."
    yield from (f"The key '{key}' is given {count} times." for key, count in used.items() if count > 1)


def _normal(key: str) -> str:
    """Return a key in one spelling: modifiers in order, all in lower case, and ctrl for a Mac's command."""
    *modifiers, last = key.lower().replace(" ", "").replace("command", "ctrl").split("+")
    return "+".join([*sorted(modifiers), last])


_KEYMAP = frozenset(_normal(key) for key in KEYMAP)


def _conditions(interface: Interface) -> Iterator[str]:
    for tag in interface.tags:
        if tag.get("visibleWhen") is None:
            continue
        asked = interface.controls.get(tag.get("whenTagName", ""))
        offered = () if asked is None else [choice.get("alias") for choice in asked.iter("Choice")]
        if tag.get("visibleWhen") != "choice-selected" or tag.get("whenChoiceValue") not in offered:
            yield "A <View> is shown under a condition that no choice of this interface fulfils."


def _untrusted(interface: Interface) -> Iterator[str]:
    for tag in interface.tags:
        for name, value in tag.items():
            held = set(_VARIABLE.findall(value))
            if held and (name != "value" or tag.tag not in ("Image", "Text", "TextArea")):
                yield f"<{tag.tag}> takes {name} from the task ('{value}'); only pictures and texts may."
            elif held and value != f"${next(iter(held))}":
                yield f"<{tag.tag}> mixes text with a variable: '{value}'."
            elif held & _UNTRUSTED and tag.tag == "Image":
                yield f"<Image> would fetch what somebody wrote: '{value}'."


def _unsupplied(interface: Interface, variables: Collection[str] | None) -> Iterator[str]:
    known = {*View, ZOOM, GIVEN, MESSAGE} if variables is None else set(variables)
    used = {name for tag in interface.tags for value in tag.attrib.values() for name in _VARIABLE.findall(value)}
    yield from (f"No task supplies '${name}'." for name in sorted(used - {str(one) for one in known}))


def _stamp(interface: Interface) -> Iterator[str]:
    found = re.findall(STAMP, interface.xml)
    if [digest for _, digest in found] != [interface_sha256(interface.xml)]:
        yield "The digest in its comment is missing or another one: it was edited by hand."


_RULES: tuple[Callable[[Interface], Iterator[str]], ...] = (
    _tags, _styles, _names, _controls, _choices, _keys, _conditions, _untrusted, _stamp,
)  # fmt: skip
