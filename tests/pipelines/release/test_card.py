"""The card: whole, true to its release, read by the Hub and by `datasets`, proof against strangers' words."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from mmtt.errors import UserError
from mmtt.recipe import ImportedSection, Recipe
from mmtt.release import Tombstone
from pipelines.release import card, front, markdown
from pipelines.release.answers import About, Answers
from pipelines.release.facts import File
from tests.factories import tiny_recipe
from tests.pipelines.release.described import ABOUT, CONSENT, answers, facts, records, release, reports, staged

HOSTILE = "<img src=x onerror=alert(1)> | [a](javascript:b) `c` ***d***\n---\n# e {{ 7*7 }} \x1b[2J ${f}"
SPLITS = ("train", "validation", "test")
FINDING = {
    "id": "X1", "title": "Texts against masks", "question": "?", "unit": "share of claims", "better": "low",
    "gate": 0.1, "verdict": "doubtful", "statistic": 0.125, "interval": [0.05, 0.2], "n": 9, "of": "texts",
    "sentence": "12.5% of what `human` texts say was not edited.", "caution": None, "details": {}, "worst": [],
}  # fmt: skip
ABSENT = {
    "id": "S1", "title": "File headers", "question": "?", "unit": "AUC", "better": "low", "gate": 0.55,
    "verdict": "absent", "reason": "Too few rows. `mmtt forge DIR` makes more.",
}  # fmt: skip


def files(*folders: str) -> list[File]:
    return [
        File(f"{folder}/{split}-00000-of-00002.parquet", 1000, "0" * 64, 4) for folder in folders for split in SPLITS
    ]


def full(**changes):
    found = records()
    texts = reports(found)
    return facts(found, texts, files("data", "marked", "reports"), **changes)


def about(**changes) -> Answers:
    return Answers(about=About(**ABOUT | changes), answers=answers().answers)


def front_of(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def html_of(text: str) -> str:
    """Return the card as a browser would get it, without its front matter."""
    return MarkdownIt("commonmark").enable("table").render(text.split("\n---\n", 1)[1])


def headings(text: str) -> list[str]:
    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    return [line.replace("[optional]", "").strip() for line in re.findall(r"^#+ .*$", outside, re.M)]


def test_every_section_of_the_hubs_template_is_there_in_order_and_filled():
    official = resources.files("huggingface_hub").joinpath("templates", "datasetcard_template.md").read_text("utf-8")
    wanted = [heading for heading in headings(official) if not heading.startswith(("# For", "# Doc", "# Dataset Card"))]
    text = card.render(full(), answers())
    found = headings(text)
    assert len(wanted) > 20
    assert [heading for heading in found if heading in wanted] == wanted
    for section in re.split(r"^#+ .*$", re.sub(r"```(.*?)```", "code", text, flags=re.S), flags=re.M)[1:]:
        assert section.strip() or section == "\n\n"  # a heading may be followed by a smaller one at once
    assert not re.search(r"More Information Needed|\bNone\b|\bnan\b|Undefined", text)


def test_every_bullet_of_the_hubs_template_is_filled():
    official = resources.files("huggingface_hub").joinpath("templates", "datasetcard_template.md").read_text("utf-8")
    text = card.render(full(), answers())
    labels = [label.replace(" [optional]", "") for label in re.findall(r"^- \*\*(.*?):\*\*", official, re.M)]
    assert len(labels) == 8
    for label in labels:
        assert re.search(rf"^- \*\*{re.escape(label)}:\*\* \S", text, re.M), label


def test_equal_facts_give_equal_text():
    assert card.render(full(), answers()) == card.render(full(), answers())


def test_the_hubs_own_library_reads_the_front_matter():
    text = card.render(full(), answers())
    read = DatasetCard(text)
    assert read.data.pretty_name == "Drawn faces"
    assert read.data.license == "cc-by-nc-4.0"
    assert read.data.size_categories == ["n<1K"]
    assert read.data.task_categories == ["image-classification", "image-segmentation", "image-to-text"]
    assert read.data.annotations_creators == ["expert-generated", "machine-generated"]
    assert (read.data.language, read.data.multilinguality) == (["en"], "monolingual")
    assert not read.text.lstrip().startswith("---")
    assert yaml.safe_load(read.data.to_yaml()) == front_of(text)


def test_a_licence_that_the_hub_does_not_list_is_named_with_a_link():
    told = front_of(card.render(full(), about(licence="LicenseRef-Faces", licence_url="https://example.org/terms")))
    assert (told["license"], told["license_name"], told["license_link"]) == ("other", "licenseref-faces", "LICENSE")


def test_the_form_for_access_asks_for_everything_that_a_removal_needs():
    told = front_of(card.render(full(), answers()))
    fields = told["extra_gated_fields"]
    assert (fields["Affiliation"], fields["Country"]) == ("text", "country")
    assert fields["What I want it for"]["type"] == "select"
    boxes = " ".join(name for name, kind in fields.items() if kind == "checkbox")
    for word in ("non-commercial", "identify", "face recognition", "hand it on", "within 30 days", "leaks"):
        assert word in boxes
    assert "taken out" in told["extra_gated_prompt"]
    assert "curators@example.org" in told["extra_gated_prompt"]
    assert all(told[f"extra_gated_{name}"] for name in ("heading", "description", "button_content"))


def test_whoever_may_use_it_commercially_is_not_asked_to_promise_otherwise():
    found = records(f"{CONSENT} commercial")
    text = card.render(facts(found, files=files("data")), about(licence="CC-BY-4.0"))
    assert "commercial" not in " ".join(front_of(text)["extra_gated_fields"])
    assert "to use it commercially" not in text


@pytest.mark.parametrize(
    ("rows", "word"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (152_217, "100K<n<1M"), (10**9, "n>1B")]
)
def test_sizes_are_told_in_the_hubs_words(rows, word):
    assert front.size_category(rows) == word


def test_a_config_or_split_without_a_file_is_not_declared():
    only = [file for file in files("data", "reports") if "validation" not in file.path]
    text = card.render(facts(records(), files=only), answers())
    told = front_of(text)["configs"]
    assert [config["config_name"] for config in told] == ["default", "raw_reports"]
    assert [part["split"] for part in told[0]["data_files"]] == ["train", "test"]
    assert told[0]["default"] is True
    assert 'name="marked"' not in text


# A reader's process, without this package: what the card's front matter says, and what its code says.
READER = """
import json, re, sys
sys.modules.update(dict.fromkeys(("mmtt", "pipelines", "tests")))
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset
path = sys.argv[1]
code = re.search(r"```python\\n(.*?)```", open(path + "/README.md", encoding="utf-8").read(), re.S)[1]
run = {}
exec(re.sub(r"SOURCE = .*", f"SOURCE = dict(path={path!r})", code), run)
names = get_dataset_config_names(path)
print(json.dumps({
    "configs": names,
    "splits": {name: get_dataset_split_names(path, name) for name in names},
    "rows": {split: len(rows) for split, rows in run["data"].items()},
    "streamed": [row["record_id"] for row in load_dataset(path, split="test", streaming=True)],
    "reports": [row["text"] for row in run["reports"]],
    "size": run["row"]["image"].size,
}))
"""


def test_datasets_finds_every_config_and_the_cards_own_code_runs(tmp_path):
    found = records()
    texts = reports(found, text="The nose is blurred.")
    made = facts(found, texts, staged(tmp_path / "release", found, texts))
    (tmp_path / "release" / "README.md").write_text(card.render(made, about(repository="")), encoding="utf-8")
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HF_TOKEN")}
    environment = known | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", READER, str(tmp_path / "release")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(done.stdout.splitlines()[-1])
    assert read["configs"] == ["default", "raw_reports"]
    assert read["splits"] == {name: ["train", "validation", "test"] for name in read["configs"]}
    assert read["rows"] == dict.fromkeys(SPLITS, 4)
    assert sorted(read["streamed"]) == sorted(record.record_id for record in found if record.split == "test")
    assert read["reports"] == ["The nose is blurred."] * 2
    assert read["size"] == [64, 64]


def test_two_folders_of_one_name_do_not_share_what_datasets_caches(tmp_path):
    places = set()
    for parent in ("first", "second"):
        folder = tmp_path / parent / "1.0.0"
        found = [replace(record, origin=parent) for record in records()]
        made = facts(found, files=staged(folder, found))
        (folder / "README.md").write_text(card.render(made, answers()), encoding="utf-8")
        places.add(datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache")).cache_dir)
    assert len(places) == 2


def test_strangers_words_are_text_and_neither_markup_nor_yaml():
    changes = dict.fromkeys(
        ("title", "summary", "contact", "homepage", "citation", "funding", "removal_contact"), HOSTILE
    )
    told = about(**changes, authors=[HOSTILE], unasked={HOSTILE: HOSTILE})
    found = [
        replace(record, origin=HOSTILE, consent="none", manipulator=record.manipulator and HOSTILE)
        for record in records()
    ]
    audits = [FINDING | {"sentence": HOSTILE, "title": HOSTILE}, ABSENT | {"reason": HOSTILE}]
    made = facts(found, reports(found), files("data"), audits=audits, refused={HOSTILE: {HOSTILE: 1}})
    made = replace(made, release=replace(made.release, left_out={HOSTILE: 1}, environment={"mmtt": HOSTILE}))
    text = card.render(made, told)
    assert front_of(text)["pretty_name"].startswith("<img src=x")
    html = html_of(text)
    assert not re.search(r"<img (?!src=\"contact-sheet)|<script|href=\"javascript|\x1b|<strong><em>d", html)
    assert {len(re.findall(r"<td", row)) for row in re.findall(r"<tr>.*?</tr>", html, re.S)} <= {0, 2, 3, 4, 5, 6, 7}
    assert headings(text)[1:] == headings(card.render(made, about(unasked={HOSTILE: "x"})))[1:]
    assert not re.search(r"<h1>e", html)


def test_strangers_columns_do_not_shift_a_table():
    found = [replace(record, origin="a | b", consent=CONSENT) for record in records()]
    row = next(
        line for line in card.render(facts(found, files=files("data")), answers()).splitlines() if "a \\| b" in line
    )
    assert len(re.findall(r"(?<!\\)\|", row)) == 6


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "+ a",
        "# a",
        "1. a",
        "12) a",
        "= = =",
        "---",
        "a_b_c",
        "*a*",
        "`a`",
        "<b>",
        "&amp;",
        "~~a~~",
        "\\",
        "$$x$$",
    ],
)
def test_an_escaped_text_reads_as_that_very_text(text):
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"{markdown.plain(text)}\n")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert html == f"<p>{escaped}</p>\n"


def test_what_audits_found_is_told_with_what_they_could_not_answer():
    text = card.render(full(audits=[FINDING, ABSENT]), answers())
    assert "| X1 Texts against masks | **doubtful** | 0.125 | 0.05 to 0.2 | at most 0.1 |" in text
    assert "- **X1 Texts against masks** (doubtful): 12.5% of what `human` texts say was not edited." in text
    assert "- S1 File headers: Too few rows. `mmtt forge DIR` makes more." in text


def test_without_a_fault_it_says_how_many_audits_are_open():
    text = card.render(full(audits=[FINDING | {"verdict": "passes"}, ABSENT, ABSENT | {"id": "S2"}]), answers())
    assert "No audit failed or was doubtful, but 2 audits could not be answered" in text


def test_counts_are_those_of_the_rows():
    text = card.render(full(), answers())
    assert "12 rows, of which 6 forged and 6 pristine, of 6 groups, with 6 reports in words about 6 of them" in text
    assert re.search(r"^\| recolour \| 2 \| 2 \| 2 \| 6 \| \d", text, re.M)
    assert "| `default` | train | 4 | 1 | 1.0 kB |" in text
    assert "| `blend` | 6 | 6 |" in text
    assert re.search(r"^\| manipulation redistribution \| .* \| 6 \| 6 \| 6 \| 0 \|$", text, re.M)
    assert "4 show people who are known to be 18 or older; 2 show people whose age nobody stated" in text


def test_a_donor_counts_where_it_is_shown():
    found = list(records())
    donor = {"source_origin": "others", "source_origin_id": "x", "source_licence": "CC0-1.0", "source_consent": CONSENT}
    found[1] = replace(found[1], **donor, source_group_id="g", source_id="s")
    text = card.render(facts(found, files=files("data")), answers())
    assert "| others | CC0-1.0 | 1 | 1 | 1 |" in text
    assert re.search(r"^\| manipulation redistribution \| .* \| 7 \| 6 \| 6 \| 1 \|$", text, re.M)


def test_the_ground_of_an_unasked_origin_is_printed_and_its_absence_refused():
    made = facts(records("none"), files=files("data"))
    told = about(unasked={"drawn people": "They are in the public domain."})
    assert "- **drawn people** (6 photos): They are in the public domain." in card.render(made, told)
    with pytest.raises(UserError, match="Nobody of 'drawn people' was asked"):
        card.render(made, answers())


def test_what_was_left_out_and_removed_is_counted():
    stones = [Tombstone("a" * 24, "1.1.0", "erasure"), Tombstone("b" * 24, "1.1.0", "curation")]
    found = records()
    made = facts(found, files=files("data"), removed=stones, release=release(found, left_out={"no_consent": 3}))
    text = card.render(made, answers())
    assert "Left out of this release: 3 records, because the consent does not cover it." in text
    assert "`removed.csv` lists 2 so far" in text
    assert "a" * 24 not in text


def test_removal_is_told_first_and_no_photo_is_asked_for():
    text = card.render(full(), about(removal_contact="https://example.org/out"))
    assert "To be taken out, write to <https://example.org/out>. **No photo of your face is asked for**" in text
    assert "mmtt prune --removed removed.csv" in text


def test_marking_is_stated_with_and_without_a_marked_config():
    for folders in (("data", "marked"), ("data",)):
        text = card.render(facts(records(), files=files(*folders)), answers())
        assert "The pictures of `default` carry **no** mark and no metadata, by choice" in text
        assert ("`mmtt mark export` makes a copy" in text) == ("marked" not in folders)


def test_texts_by_machines_are_called_so():
    found = records()
    made = facts(found, reports(found, text_origin="template"), files("data", "reports"))
    text = card.render(made, answers())
    assert "Nobody: a program put every text together." in text
    assert "100\N{NO-BREAK SPACE}% of the texts were written by machines" in text
    assert front_of(text)["language_creators"] == ["machine-generated"]


def test_without_texts_nothing_claims_any():
    text = card.render(facts(records(), files=files("data")), answers())
    told = front_of(text)
    assert "language" not in told
    assert "image-to-text" not in told["task_categories"]
    assert "**Reports.** Nobody was asked to write any." in text


def test_agreement_is_told_where_it_was_measured():
    measured = {"masi": {"value": 0.5, "low": 0.25, "high": 0.75, "units": 31}, "verdict": {"value": None}}
    text = card.render(full(agreement=measured), answers())
    assert "| Regions chosen (Krippendorff's alpha, MASI) | 0.5 | 0.25 to 0.75 | 31 records |" in text
    assert "nominal" not in text


def test_a_curators_bibtex_is_kept_and_another_citation_stands_beside_ours():
    entry = "@article{moss2026,\n  title = {Faces},\n}"
    assert f"```bibtex\n{entry}\n```" in card.render(full(), about(citation=entry))
    text = card.render(full(), about(citation="Moss (2026). Faces."))
    assert "Moss (2026). Faces." in text
    assert "@misc{drawn-faces-1.2.0,\n  title = {{Drawn faces}},\n  author = {{Ada Moss} and {Ben Reed}}," in text


@pytest.mark.parametrize(("title", "key"), [("Ærø: Élan & co.", "r-elan-co"), ("人脸", "tiny")])
def test_the_key_of_an_entry_is_the_title_in_plain_letters_or_else_the_name(title, key):
    text = card.render(facts(records(), files=files("data")), about(title=title))
    assert f"@misc{{{key}-1.2.0," in text


def test_a_list_that_somebody_wrote_stays_one_and_its_items_are_escaped():
    bullets = "- one *thing*\n  that goes on\n- <b>two</b>\n- - three"
    said = f"Two things:\n\n{bullets}\n\n2. second\n3. # third\n\n2020. No list."
    html = html_of(card.render(full(), answers(U3=said)))
    part = re.search(r"<p>Two things:</p>.*?No list.</p>", html, re.S)[0].replace("\n", "")
    assert part == (
        "<p>Two things:</p><ul><li>one *thing* that goes on</li><li>&lt;b&gt;two&lt;/b&gt;</li><li>- three</li></ul>"
        '<ol start="2"><li>second</li><li># third</li></ol><p>2020. No list.</p>'
    )


def test_a_title_with_the_signs_of_tex_does_not_break_the_bibtex():
    made = answers()
    made = made.model_copy(update={"about": made.about.model_copy(update={"title": "Real {& fake_100%"})})
    assert r"title = {{Real \& fake\_100\%}}," in card.render(facts(records(), files=files("data")), made)


def test_drawn_faces_are_not_called_personal_data():
    text = card.render(facts(records("nobody"), files=files("data")), answers())
    assert "No picture shows a person: all faces are drawn." in text
    assert "Faces are personal data" not in text


def test_an_import_claims_nothing_about_how_its_pictures_were_made():
    imported = ImportedSection(format="pairs", digest="0" * 64)
    recipe = Recipe.model_validate(tiny_recipe() | {"forge": {}, "imported": imported.model_dump()})
    text = card.render(full(recipe=recipe), answers())
    for claim in (
        "bit for bit",
        "before** anything was forged",
        "no** mark and no metadata",
        "the same bytes",
        "a plan",
    ):
        assert claim not in text, claim
        assert claim in card.render(full(), answers()), claim
    assert "The rows were imported (`pairs`)" in text
    assert front_of(text)["source_datasets"] == ["extended"]
