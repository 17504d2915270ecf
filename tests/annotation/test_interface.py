"""The interface: what is committed, what it asks, what comes back from it."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from label_studio_sdk.label_interface import LabelInterface

from annotation import interface
from annotation.answers import values
from annotation.interface import Page, build, interface_sha256, lint, pages, stage_name, write_configs
from annotation.interface.guide import instructions
from annotation.interface.languages import expected, languages, parse, words
from annotation.interface.taxonomy import GROUPS, KEYS, REQUIRED, aliases
from annotation.protocols import (
    CONTROLS,
    FLAGS,
    MATCHES,
    PROTOCOLS,
    VERDICTS,
    ZOOM,
    Control,
    StageName,
    stage,
    texts,
)
from mmtt.errors import UserError
from mmtt.regions import REGIONS

FOLDER = Path(interface.__file__).parent
CONFIGS = FOLDER / "configs"
PAGES = list(pages())
IDS = [page.file_name for page in PAGES]


def made(page: Page) -> str:
    return build(page.protocol, page.stage, page.language, rework=page.rework)


def supplied(page: Page) -> set[str]:
    views = stage(page.protocol, page.stage).sees
    return {*map(str, views), ZOOM, *texts(page.stage, rework=page.rework)}


def variables(xml: str) -> set[str]:
    return set(re.findall(r'"\$(\w+)"', xml))


def controls(xml: str) -> dict[str, ET.Element]:
    return {tag.get("name"): tag for tag in ET.fromstring(xml).iter() if tag.get("toName")}


def test_every_stage_has_a_page_in_every_language_and_only_describe_is_worked_over():
    stages = [(protocol, one.name) for protocol, stages in PROTOCOLS.items() for one in stages]
    assert {(p.protocol, p.stage, p.language) for p in PAGES if not p.rework} == {
        (protocol, name, language) for protocol, name in stages for language in ("en", "zh")
    }
    assert {p.stage for p in PAGES if p.rework} == {StageName.DESCRIBE}
    assert len({p.file_name for p in PAGES}) == len(PAGES) == 20


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_what_is_committed_is_what_is_generated(page):
    assert (CONFIGS / page.file_name).read_text(encoding="utf-8") == made(page)


def test_nothing_else_is_committed():
    assert {path.name for path in CONFIGS.iterdir()} == set(IDS)


def test_writing_removes_what_is_no_page(tmp_path):
    (tmp_path / "old.xml").write_text("<View/>")
    written = write_configs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written) == sorted(IDS)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_our_linter_and_label_studios_own_check_find_no_fault(page):
    xml = made(page)
    assert lint(xml, supplied(page)) == []
    LabelInterface(xml).validate()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_page_uses_exactly_what_its_tasks_supply(page):
    assert variables(made(page)) == supplied(page)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_page_asks_what_its_stage_asks_in_order_and_insists_on_it(page):
    found = controls(made(page))
    assert tuple(found) == CONTROLS[page.stage]
    assert {name for name, tag in found.items() if tag.get("required") == "true"} == REQUIRED & set(found)
    assert all(tag.get("requiredMessage") for name, tag in found.items() if name in REQUIRED)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_choices_are_keyed_by_the_taxonomy_in_every_language(page):
    for name, tag in controls(made(page)).items():
        choices = list(tag.iter("Choice"))
        assert tuple(choice.get("alias") for choice in choices) == aliases(Control(name), page.stage)
        assert all(choice.get("hint") and choice.get("value") for choice in choices)


def test_groups_hold_every_region_once():
    assert sorted(word for group in GROUPS.values() for word in group) == sorted(REGIONS)
    assert set(KEYS[Control.REGIONS]) == set(REGIONS)


def test_keys_are_the_same_in_every_language():
    keys = [
        re.findall(r'alias="(\w+)".*?hotkey="([^"]+)"', build("paper", StageName.DESCRIBE, one)) for one in ("en", "zh")
    ]
    assert keys[0] == keys[1] != []


def test_the_blind_stage_has_no_place_for_pristine_or_mask():
    xml = build("blind_then_verified", StageName.DESCRIBE, "en")
    assert variables(xml) == {"image", "zoom"}
    assert [image.get("name") for image in ET.fromstring(xml).iter("Image")] == ["image", "zoom"]


@pytest.mark.parametrize(
    ("name", "rework", "begun"),
    [("describe", False, None), ("describe", True, "$given"), ("verify", False, "$given"), ("adjudicate", False, None)],
)
def test_the_text_begins_with_what_is_to_be_mended_and_with_nothing_else(name, rework, begun):
    xml = build("blind_then_verified", StageName(name), "en", rework=rework)
    assert controls(xml)["report"].get("value") == begun


@pytest.mark.parametrize("name", ["describe", "adjudicate"])
def test_what_belongs_to_a_trace_is_shown_only_when_one_is_seen(name):
    root = ET.fromstring(build("blind_then_verified", StageName(name), "en"))
    hidden = [view for view in root.iter("View") if view.get("visibleWhen")]
    assert {(view.get("whenTagName"), view.get("whenChoiceValue")) for view in hidden} == {("verdict", "visible")}
    inside = {tag.get("name") for view in hidden for tag in view.iter() if tag.get("toName")}
    assert inside == {"regions", "report", "difficulty"} & set(CONTROLS[StageName(name)])


SAMPLES = {
    Control.VERDICT: ("visible",),
    Control.REGIONS: ("eyebrow", "skin"),
    Control.REPORT: "The left eyebrow has no hairs at its outer end.\nThe skin there is flat.",
    Control.DIFFICULTY: 4,
    Control.FLAGS: ("minor",),
    Control.MATCH: ("partly",),
    Control.MISSED: ("pupil",),
}
SHAPES = {Control.REPORT: ("textarea", "text", list), Control.DIFFICULTY: ("rating", "rating", int)}


def result(name: Control) -> dict:
    """As the page sends it."""
    kind, key, _ = SHAPES.get(name, ("choices", "choices", list))
    held = [SAMPLES[name]] if name is Control.REPORT else SAMPLES[name]
    value = {key: list(held) if isinstance(held, tuple) else held}
    return {"id": f"r_{name}", "from_name": name.value, "to_name": "image", "type": kind, "value": value}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_an_answer_is_valid_for_label_studio_and_is_read_back(page):
    results = [result(name) for name in CONTROLS[page.stage]]
    assert LabelInterface(made(page)).validate_annotation({"result": results})
    assert values(results) == {name: SAMPLES[name] for name in CONTROLS[page.stage]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_label_studio_knows_the_aliases_and_not_the_words_of_the_page(language):
    known = LabelInterface(build("blind_then_verified", StageName.VERIFY, language))
    assert set(known.get_control("match").labels) == set(MATCHES)
    answer = result(Control.MATCH) | {"value": {"choices": [words(language)["match.partly.text"]]}}
    assert not known.validate_annotation({"result": [answer]})


def test_the_digest_is_that_of_tags_and_attributes_only():
    xml = build("paper", StageName.DESCRIBE, "en")
    digest = interface_sha256(xml)
    assert digest in xml
    assert interface_sha256(re.sub(r"<!--.*?-->|\n *", "", xml)) == digest
    assert interface_sha256(xml.replace("Eyebrow", "Brow")) != digest
    # Who settles a dispute sees the same, whether the mask was shown before or not.
    assert len({interface_sha256(made(page)) for page in PAGES}) == len(PAGES) - len(languages())


def test_only_describe_can_be_worked_over():
    with pytest.raises(ValueError, match="never worked over"):
        build("blind_then_verified", StageName.VERIFY, "en", rework=True)


@pytest.mark.parametrize(
    ("protocol", "name", "said"),
    [
        ("papers", "describe", "Did you mean 'paper'"),
        ("paper", "verify", "has no stage 'verify'"),
        ("paper", "", "no stage"),
    ],
)
def test_a_stage_that_does_not_exist_is_a_sentence(protocol, name, said):
    with pytest.raises(UserError, match=said):
        stage_name(protocol, name)
    assert stage_name("paper", "adjudicate") is StageName.ADJUDICATE


def test_an_unknown_language_is_a_sentence():
    with pytest.raises(UserError, match="not written in 'de'"):
        build("paper", StageName.DESCRIBE, "de")
    assert languages() == ("en", "zh")


ENGLISH = (FOLDER / "languages" / "en.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("banner:", "baner:", "lacks 'banner'"),
        ("banner:", "baner:", "has 'baner', which no page shows"),
        ("  eye: {text: Eye, hint:", "  eye: {text: Eye, hunt:", "lacks 'region.eye.hint'"),
        ("text: Pupil", "text: ''", "'region.pupil.text' must be one text"),
        ("text: Pupil", "text: [a, b]", "'region.pupil.text' must be one text"),
        ("text: Pupil", "text: $image", "hold no '\\$'"),
        ("banner:", "banner: [", "is not YAML"),
    ],
)
def test_a_faulty_language_file_is_named_with_its_fault(old, new, said):
    with pytest.raises(UserError, match=said) as told:
        parse(ENGLISH.replace(old, new, 1), "xx.yaml")
    assert all("xx.yaml" in line for line in str(told.value).splitlines())


def test_every_string_is_shown_somewhere():
    said = words("en")
    shown = "".join(made(page) + instructions(page.stage, "en", page.protocol, rework=page.rework)
                    for page in PAGES if page.language == "en")  # fmt: skip
    shown = shown.replace("&amp;", "&").replace("&#x27;", "'")
    assert [key for key in expected() if said[key] not in shown] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_string_is_in_its_language(language):
    chinese = {key: bool(re.search("[\u4e00-\u9fff]", text)) for key, text in words(language).items()}
    assert {key for key, is_chinese in chinese.items() if is_chinese != (language == "zh")} == set()


def test_no_key_stands_twice_in_a_language_file():
    for language in languages():
        text = (FOLDER / "languages" / f"{language}.yaml").read_text(encoding="utf-8")
        assert len(re.findall(r"(?m)^\S+:", text)) == len(set(re.findall(r"(?m)^\S+:", text)))
        assert len(re.findall(r"(?m)^  \S+: *\{", text)) == len(REGIONS)


def test_the_flags_of_a_describer_know_nothing_of_reports():
    assert aliases(Control.FLAGS, StageName.DESCRIBE) == FLAGS
    assert "false_positive" in aliases(Control.FLAGS, StageName.VERIFY)
    assert aliases(Control.VERDICT, StageName.DESCRIBE) == VERDICTS
