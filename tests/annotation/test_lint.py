"""The linter: each fault that it knows, planted one at a time in an interface that has none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.interface import build, lint
from annotation.interface.linter import ATTRIBUTES
from annotation.interface.taxonomy import KEYMAP
from annotation.protocols import StageName

GOOD = build("blind_then_verified", StageName.DESCRIBE, "en", rework=True)
TASK = {"image", "zoom", "given", "message"}
EYE = '<Choice value="Eye" alias="eye"'
LAST = "</View>\n"

PLANTED = [
    ("<Collapse ", '<HyperText name="h" value="$given" /><Collapse ', "<HyperText> is not among the tags"),
    ("<Collapse ", "<Style>.x{}</Style><Collapse ", "<Style> is not among the tags"),
    ("<Collapse ", "<script>1</script><Collapse ", "<script> is not among the tags"),
    ("<Collapse ", "<text/><Collapse ", "<text> is not among the tags"),
    (EYE, EYE + ' html="&lt;img src=x onerror=alert(1)&gt;"', "<Choice> has the attribute 'html'"),
    (EYE, EYE + ' onclick="alert(1)"', "<Choice> has the attribute 'onclick'"),
    ('name="image" value="$image"', 'name="image" value="$image" crossOrigin="anonymous"', "attribute 'crossOrigin'"),
    ("<Collapse ", "Look here.<Collapse ", "Text stands inside or after"),
    (' valueType="text"', "", 'needs valueType="text"'),
    (' maxSubmissions="1"', "", 'needs maxSubmissions="1"'),
    (' editable="true"', "", 'needs editable="true"'),
    (' maxRating="5"', ' maxRating="3"', 'needs maxRating="5"'),
    ("line-height: 28px", "background: url(https://example.org/x)", "calls something that could fetch"),
    ("line-height: 28px", "background: u\\72l(x)", "calls something that could fetch"),
    ("line-height: 28px", "width: expression(alert(1))", "calls something that could fetch"),
    ('name="zoom"', 'name="image"', "The name 'image' is given 2 times"),
    ('name="regions" toName="image"', 'name="regions" toName="picture"', "points to 'picture'"),
    ('name="regions"', 'name="parts"', "The control 'regions' of 'describe' is missing"),
    ('name="regions"', 'name="parts"', "'parts' is no control of 'describe'"),
    (' required="true" requiredMessage="Please tick', ' requiredMessage="Please tick', "'regions' must be required"),
    ('choice="single-radio"', 'choice="multiple"', "'verdict' must take one choice"),
    ('choice="multiple"', 'choice="single"', "'regions' must take several choices"),
    ("<Rating ", '<Rating2 ', "not among the tags"),
    (' alias="eye"', "", "A choice of 'regions' has no alias"),
    (' alias="eye"', ' alias="pupil"', "'regions' has 'pupil' 2 times"),
    (' alias="eye"', ' alias="neck"', "'regions' offers 'neck', which is not in the taxonomy"),
    (' alias="eye"', ' alias="neck"', "'regions' lacks 'eye'"),
    (' alias="minor"', ' alias="false_positive"', "'flags' offers 'false_positive'"),
    ('<Choice value="Eye"', '<Choice value="Pupil"', "Two choices of 'regions' read 'Pupil'"),
    (' hotkey="shift+e"', "", "'eye' has no hotkey"),
    (' hotkey="shift+e"', ' hotkey="e"', "The key 'e' of 'eye' is neither"),
    (' hotkey="shift+e"', ' hotkey="enter"', "The key 'enter' of 'eye' is neither"),
    (' hotkey="shift+e"', ' hotkey="shift+e,q"', "is neither"),
    (' hotkey="shift+e"', ' hotkey="shift+1"', "is one of Label Studio's own"),
    (' hotkey="shift+e"', ' hotkey="Shift+Ctrl+Z"', "is one of Label Studio's own"),
    (' hotkey="shift+e"', ' hotkey="command+h"', "is one of Label Studio's own"),
    (' hotkey="shift+e"', ' hotkey="Shift+P"', "The key 'shift+p' is given 2 times"),
    ('whenChoiceValue="visible"', 'whenChoiceValue="A trace that I can point to"', "that no choice of this interface"),
    ('whenTagName="verdict"', 'whenTagName="verdikt"', "that no choice of this interface"),
    ("choice-selected", "region-selected", "that no choice of this interface"),
    ('<Header value="Why', '<Header value="$message Why', "<Header> takes value from the task"),
    (EYE, '<Choice value="$given" alias="eye"', "<Choice> takes value from the task"),
    ('placeholder="', 'placeholder="$given ', "<TextArea> takes placeholder from the task"),
    ('value="$message"', 'value="Message: $message"', "<Text> mixes text with a variable"),
    ('name="zoom" value="$zoom"', 'name="zoom" value="$given"', "<Image> would fetch what somebody wrote"),
    ('value="$zoom"', 'value="$overlay"', "No task supplies '$overlay'"),
    ("Eyebrow", "Brow", "The digest in its comment is missing or another one"),
    ("mmtt interface", "interface", "The digest in its comment is missing or another one"),
    (LAST, "", "It is not XML"),
]  # fmt: skip


def test_the_planted_in_has_no_fault():
    assert lint(GOOD, TASK) == []


@pytest.mark.parametrize(("old", "new", "said"), PLANTED, ids=[said for _, _, said in PLANTED])
def test_a_planted_fault_is_found(old, new, said):
    assert old in GOOD
    start = GOOD.rindex(old) if old == LAST else GOOD.index(old)
    faults = lint(GOOD[:start] + new + GOOD[start + len(old) :], TASK)
    assert [fault for fault in faults if said in fault], faults
    assert all(fault.endswith(".") and "\n" not in fault for fault in faults)


@pytest.mark.parametrize("control", ["report", "difficulty"])
def test_a_control_of_another_kind_is_a_fault(control):
    tag = re.search(rf'<\w+ name="{control}".*?/>', GOOD, re.DOTALL).group()
    other = f'<Choices name="{control}" toName="image" required="true" choice="multiple"/>'
    assert [fault for fault in lint(GOOD.replace(tag, other)) if f"'{control}' must be a <" in fault]


def test_a_variable_that_no_task_has_is_a_fault_even_where_tasks_are_unknown():
    assert "No task supplies '$pricture'." in lint(GOOD.replace("$zoom", "$pricture"))


LAUGHS = '<!DOCTYPE v [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><View>&b;</View>'


@pytest.mark.parametrize(
    "xml", [LAUGHS, '<!doctype v SYSTEM "file:///etc/passwd"><View/>', GOOD + '<!ENTITY x SYSTEM "http://example.org">']
)
def test_a_document_type_is_refused_unread(xml):
    assert lint(xml) == ["It declares a document type or an entity, which no interface needs."]


def test_an_empty_interface_lacks_everything():
    faults = lint("<View/>")
    assert len([fault for fault in faults if "The control '" in fault]) == 4
    assert all(fault.endswith(".") for fault in faults)


@given(st.text() | st.text("<>/=\"'& abView$!-[]", max_size=60))
def test_any_text_gets_a_fault_and_never_an_error(text):
    assert lint(text)


def test_every_allowed_attribute_and_tag_is_one_that_our_pages_use():
    seen = {}
    for stage, rework in [(StageName.DESCRIBE, True), (StageName.VERIFY, False), (StageName.ADJUDICATE, False)]:
        for protocol in ("blind_then_verified", "paper") if stage is not StageName.VERIFY else ("blind_then_verified",):
            for tag, attributes in re.findall(r"<(\w+)([^>]*)", build(protocol, stage, "en", rework=rework)):
                seen.setdefault(tag, set()).update(re.findall(r'(\w+)="', attributes))
    assert {tag: set(known) for tag, known in ATTRIBUTES.items()} == seen


def test_the_keymap_holds_what_label_studio_says_of_itself():
    assert {"ctrl+enter", "ctrl+space", "shift+1", "alt+h"} <= set(KEYMAP)
    assert len(set(KEYMAP)) == len(KEYMAP)
