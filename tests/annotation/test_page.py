"""The curator's page: what it tells, that every forgery is framed, and that no annotator's words act."""

import base64
import re
from datetime import date, timedelta
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from annotation.agreement import Estimate, Gap
from annotation.desk import open_desk
from annotation.history import SIGNALS
from annotation.page import exhibits, page, timeline, write_page
from annotation.page.comparison import words
from annotation.page.disputes import disputes
from annotation.page.exhibits import Exhibits
from annotation.page.held import held
from annotation.page.profiles import frequencies, histogram
from annotation.page.rules import choose, rules
from annotation.quality import RULES, Effect, Finding
from annotation.waivers import waive
from mmtt import images
from tests.annotation.desks import MORNING, Said, answer, dataset, enrol, person, pull, push
from tests.annotation.planted import make_answer, report

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\u202e nose seam"
FRAME_RGB = (178, 24, 43)
HUMAN = "Grain is missing from the nose, as if wiped."
VOID = {"meta", "img", "br", "link"}


@pytest.fixture
def layout(tmp_path):
    """Six drawn people, forged twice; every forgery is asked of two people."""
    made = dataset(tmp_path / "tiny")
    enrol(made, person("ann", 1), person("ben", 2), person("eve", 3, writes="human"), person("zoe", 4, writes="human"))
    return made


@pytest.fixture
def busy(layout):
    """Reports that are good, too fast, disputed, tampered with, verified and adjudicated."""
    tasks = describing(push(layout))
    other = {"regions": ("chin",), "report": "A pale halo runs along the lower border of the chin."}
    pull(layout, [
        Said(tasks[0], 1, MORNING, {}),
        Said(tasks[0], 2, later(1), other),
        Said(tasks[1], 1, later(3), {"report": "Light falls on the nose from another side than on the rest."}),
        Said(tasks[2], 2, later(4), {"report": "The nose sits too high for where the head is turned."}, seconds=5.0),
        Said(tasks[3], 3, later(5), {"report": HUMAN}, changes={"updated_by": 9}),
    ])  # fmt: skip
    review = [task for task in push(layout) if task.project == "verify"]
    pull(layout, [Said(task, 3, later(60 + 3 * n), {"match": "no", "report": ""}) for n, task in enumerate(review)])
    ruling = next(task for task in push(layout) if task.project == "adjudicate")
    pull(layout, [Said(ruling, 4, later(600), {"report": "The adjudicator sees a seam on the nose."})])
    return layout


def describing(tasks):
    return [task for task in tasks if task.project == "describe"]


def later(minutes):
    return MORNING + timedelta(minutes=minutes)


def written(layout) -> str:
    with open_desk(layout.root) as desk:
        return write_page(desk).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Collects every tag with its attributes, and those that are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_without_people_tasks_or_answers_it_says_what_to_do(tmp_path):
    layout = dataset(tmp_path / "tiny")
    assert "mmtt annotate people" in written(layout)
    enrol(layout, person("ann", 1))
    assert "mmtt annotate push" in written(layout)
    push(layout)
    text = written(layout)
    assert "mmtt annotate pull" in text
    assert 'id="agreement"' not in text
    assert not Tags(text).open


def test_it_lies_where_nothing_is_published(layout):
    with open_desk(layout.root) as desk:
        assert write_page(desk) == layout.root / "private" / "annotation.html"


def test_same_log_same_page(busy):
    assert written(busy) == written(busy)


def test_every_tag_is_closed_and_every_link_leads_somewhere(busy):
    tags = Tags(written(busy))
    assert not tags.open
    ids = [found["id"] for _, found in tags.found if "id" in found]
    assert len(ids) == len(set(ids))
    targets = {found["href"] for tag, found in tags.found if tag == "a"}
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    labels = {found["aria-labelledby"] for _, found in tags.found if "aria-labelledby" in found}
    assert labels <= set(ids)


def test_it_asks_the_network_for_nothing(busy):
    tags = Tags(written(busy))
    sources = [found["src"] for _, found in tags.found if found.get("src")]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not {"link", "iframe", "object", "form"} & {tag for tag, _ in tags.found}
    assert [found for tag, found in tags.found if found.get("http-equiv") == "Content-Security-Policy"]


def test_strangers_words_stay_words(tmp_path):
    layout = dataset(tmp_path / "tiny")
    enrol(layout, person(HOSTILE, 1, language=HOSTILE), person("ben", 2))
    tasks = describing(push(layout))
    said = {"report": HOSTILE, "regions": (HOSTILE, "nose"), "verdict": "visible", "flags": (HOSTILE,)}
    pull(layout, [
        Said(tasks[0], 1, MORNING, said, changes={"unique_id": HOSTILE}),
        Said(tasks[1], 1, later(2), said, seconds=1.0),
        Said(tasks[0], 2, later(3), {"verdict": "none_visible", "regions": (), "report": "", "difficulty": None}),
    ])  # fmt: skip
    with open_desk(layout.root, write=True) as desk:
        finding = next(finding for finding in desk.findings if finding.uid and finding.rule == "structure")
        waive(desk, finding.uid, finding.rule, HOSTILE)
    text = written(layout)
    tags = Tags(text)
    assert not tags.open
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert not [found for _, found in tags.found if any(name.startswith("on") for name in found)]
    assert all(found["src"].startswith("data:") for tag, found in tags.found if tag == "img" and "src" in found)
    assert "{{ 7 * 7 }}" in text
    assert text.count(escape("<script>alert(1)")) >= 5


def test_letters_that_are_none_are_replaced(layout):
    answer(layout, describing(push(layout))[0], by=1, report="The nose \ud800 has a seam in it.")
    assert "The nose ? has a seam" in written(layout)


def test_every_forged_picture_is_framed_and_no_pristine_one(tmp_path):
    layout = dataset(tmp_path / "tiny", catch_share=0.5)
    enrol(layout, person("ann", 1), person("ben", 2))
    tasks = push(layout)
    with open_desk(layout.root) as desk:
        forged = {subject.record_id: subject.family is not None for subject in desk.subjects}
    mixed = [next(t for t in tasks if forged[t.record_id] is kind) for kind in (True, False)]
    pull(layout, [Said(task, n, later(n), {}, seconds=2.0) for n, task in enumerate(mixed, 1)])
    text = written(layout)
    shown = {
        kind: re.findall(rf'<figure class="{kind}">.*?<img src="data:image/jpeg;base64,(.*?)"', text, re.S)
        for kind in ("forged", "pristine")
    }
    assert shown["forged"]
    assert shown["pristine"]
    for kind, found in shown.items():
        for data in found:
            pixels = images.decode_rgb(base64.b64decode(data))
            edges = (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:])
            near = [abs(edge.reshape(-1, 3).mean(axis=0) - FRAME_RGB).max() < 40 for edge in edges]
            assert all(near) if kind == "forged" else not any(near)
    padding = re.search(r"\.picture \{.*?padding: ([\d.]+)%", text)
    assert float(padding[1]) == pytest.approx(100 * exhibits.border(), abs=1e-3)


def test_a_page_that_is_full_shows_no_more_pictures(busy, monkeypatch):
    pictures = written(busy).count("<figure")
    monkeypatch.setattr(exhibits, "MOST_PICTURES", 1)
    assert written(busy).count("<figure") < pictures


def test_a_template_s_or_a_model_s_text_says_so_everywhere_and_a_person_s_does_not(busy):
    text = written(busy)
    shown = re.findall(r"<blockquote[^>]*>(.*?)</blockquote>\s*(<p class=\"origin\">(.*?)</p>)?", text, re.S)
    assert {words for words, label, _ in shown if not label} == {HUMAN, "The adjudicator sees a seam on the nose."}
    assert {label for words, _, label in shown if label} == {"Made from a template: no person’s report"}
    enrol(busy, person("ann", 1, writes="model"), person("ben", 2), person("eve", 3))
    assert "A model’s text: no person’s report" in written(busy)


def test_a_person_s_repetition_of_a_template_s_words_says_so(busy):
    tasks = describing(push(busy))
    same = {"report": "The nose has a seam where it meets the left cheek."}
    answer(busy, tasks[0], by=3, at=later(900), **same)
    with open_desk(busy.root) as desk:
        mine = max(desk.answers, key=lambda one: one.submitted)
        assert Exhibits(desk).of(mine).origin == "template"


def test_rules_are_counted_with_their_effect_and_examples(busy):
    with open_desk(busy.root) as desk:
        found = {hits.name: hits for hits in rules(desk, Exhibits(desk))}
        answers = len(desk.answers)
    assert tuple(found) == tuple(RULES)
    assert (found["dwell"].returned, found["dwell"].held, found["dwell"].answers) == (1, 0, 1)
    assert found["dwell"].share == 1 / answers
    assert found["dwell"].bars == [("min_dwell_s", "60")]
    assert found["tampered"].held == 1
    shown = found["dwell"].examples[0].exhibit
    assert (shown.answer.annotator, shown.status) == ("ben", "returned")
    text = written(busy)
    assert text.count("Sent to its author") == sum(
        (example.exhibit.finding.effect, example.exhibit.status) == ("return", "returned")
        for hits in found.values()
        for example in hits.examples
    )
    assert escape(shown.finding.message) in text


def test_a_rule_that_is_off_or_warns_says_so(tmp_path):
    layout = dataset(tmp_path / "tiny", quality={"ignore": ["words"], "warn": ["dwell"]})
    enrol(layout, person("ann", 1))
    pull(layout, [Said(describing(push(layout))[0], 1, MORNING, {}, seconds=5.0)])
    with open_desk(layout.root) as desk:
        found = {hits.name: hits for hits in rules(desk, Exhibits(desk))}
    assert (found["words"].effect, found["dwell"].effect, found["dwell"].told) == ("ignored", "tell", 1)


def test_examples_are_of_different_annotators_and_drawn_alike():
    def finding(annotator, number):
        return Finding(
            rule="words",
            uid=f"{annotator}{number}",
            annotator=annotator,
            value=1,
            effect=Effect.RETURN,
            message="",
            detail="",
        )

    found = [finding("ann", n) for n in range(20)] + [finding("ben", 0)]
    assert {one.annotator for one in choose(found)} == {"ann", "ben"}
    assert choose(found) == choose(found[::-1])
    assert len(choose(found, 5)) == 5


def test_what_is_held_waits_for_a_decision_until_it_is_waived(busy):
    with open_desk(busy.root, write=True) as desk:
        waiting = held(desk, Exhibits(desk))
        assert [(item.exhibit.answer.annotator, item.findings[0].rule) for item in waiting.answers] == [
            ("eve", "tampered")
        ]
        waive(desk, waiting.answers[0].exhibit.answer.uid, "tampered", "The server's administrator moved it.")
    text = written(busy)
    assert "Nothing is held." in text
    assert "The server&#39;s administrator moved it." in text


def test_answers_that_are_held_for_their_author_are_one_row(tmp_path):
    layout = dataset(tmp_path / "tiny", qualification_tasks=4)
    enrol(layout, person("ann", 1))
    tasks = describing(push(layout))[:3]
    pull(
        layout,
        [Said(task, 1, later(3 * n), {"report": report(n, "en", ("nose",))}) for n, task in enumerate(tasks)],
    )
    with open_desk(layout.root) as desk:
        waiting = held(desk, Exhibits(desk))
    assert [(row.annotator, row.rule, row.answers) for row in waiting.people] == [("ann", "qualification", 3)]
    assert "qualification" not in {finding.rule for item in waiting.answers for finding in item.findings}


def test_disputes_tell_who_said_what_and_what_was_decided(busy):
    with open_desk(busy.root) as desk:
        found = disputes(desk, Exhibits(desk))
    assert found.decided == 1
    assert found.shown[-1].ruling.answer.text == "The adjudicator sees a seam on the nose."
    disputed = next(one for one in found.shown if len(one.reports) == 2)
    assert "regions in common" in disputed.reason
    assert {report.answer.annotator for report in disputed.reports} == {"ann", "ben"}
    reviews = [review for one in found.shown for each in one.reviews.values() for review in each]
    assert {review.answer.match for review in reviews} == {"no"}
    text = written(busy)
    assert f"{found.open} open, 1 decided" in text
    assert "The adjudicator sees a seam on the nose." in text


def test_signals_are_explained_and_counted(busy):
    text = written(busy)
    assert all(name in text and escape(meaning) in text for name, meaning in SIGNALS.items())
    row = re.search(r'<th scope="row">edited_by_another</th>.*?</tr>', text, re.S)
    assert '<td class="number">1</td>' in row[0]
    assert "eve" in row[0]


def test_each_annotator_has_a_place(busy):
    text = written(busy)
    for name in ("ann", "ben", "eve"):
        assert re.search(rf'<summary><b><bdi>{name}</bdi></b><span class="soft">\d+ answer', text)
    assert "Hidden checks:" in text


def test_with_too_few_shared_records_it_says_so(busy):
    text = written(busy)
    assert "not enough" in text or "none of a record that two people described" in text


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"units": 0, "value": None}, "Nothing was answered by two people yet."),
        ({"units": 9, "value": None}, "Everybody said the same."),
        ({"units": 1, "value": 0.5}, "Only 1 record: too few for an interval."),
        ({"units": 9, "value": 0.5, "low": 0.1, "high": 0.9}, "Only 9 records."),
        ({"units": 90, "value": 0.5, "low": 0.4, "high": 0.6}, ""),
        ({"units": 90, "value": 1.0}, "No interval: what differs is too rare."),
        ({"units": 90, "value": 0.1, "low": -0.2, "high": 0.6, "prevalence": 0.99}, "One-sided: a low number may mean"),
    ],
)
def test_numbers_are_told_with_what_they_can_bear(found, told):
    plain = {"low": None, "high": None, "pairs": 3, "ratings": 6, "prevalence": 0.5}
    said = " ".join(words(Estimate(**{**plain, **found})))
    assert said.startswith(told)
    assert bool(said) == bool(told)


def test_texts_of_one_record_cannot_be_compared():
    found = Gap(value=None, low=None, high=None, units=1, pairs=1, between=0)
    assert list(words(found)) == ["From one record there is no telling."]


def test_days_are_listed_without_gaps_and_many_of_them_by_week():
    start = date(2026, 3, 4)  # a Wednesday
    few = timeline([start, start, start + timedelta(days=3)])
    assert [(bar.name, bar.amount, bar.height) for bar in few.bars] == [
        ("2026-03-04", 2, 1.0), ("2026-03-05", 0, 0.0), ("2026-03-06", 0, 0.0), ("2026-03-07", 1, 0.5),
    ]  # fmt: skip
    many = timeline([start + timedelta(days=n) for n in range(100)])
    assert many.step_days == 7
    assert many.bars[0][:2] == ("2026-03-02", 5)
    assert sum(bar.amount for bar in many.bars) == 100
    assert timeline([]).bars == ()


def test_times_fall_between_their_edges():
    bars = histogram([0.0, 29.9, 30.0, 600.0, 9999.0])
    assert [(bar.name, bar.amount) for bar in bars if bar.amount] == [("0–30", 2), ("30–60", 1), ("600+", 2)]
    assert max(bar.height for bar in bars) == 1.0


def test_regions_are_compared_with_what_was_edited():
    reports = [
        make_answer(0, regions=("eye", "nose"), region_shares={"eye": 0.8, "chin": 0.5, "jaw": 0.05}),
        make_answer(1, regions=("eye",), region_shares={"eye": 0.8}),
    ]
    assert [tuple(row) for row in frequencies(reports)] == [("eye", 1.0, 1.0), ("nose", 0.5, 0.0), ("chin", 0.0, 0.5)]
    assert frequencies([]) == []


def test_regions_are_told_as_found_invented_and_missed():
    made = make_answer(0, regions=("eye", "nose"), region_shares={"eye": 0.8, "chin": 0.5, "jaw": 0.05})
    assert [(chip.word, chip.chosen, chip.edited) for chip in exhibits.chips(made)] == [
        ("eye", True, True), ("nose", True, False), ("chin", False, True),
    ]  # fmt: skip
    unknown = make_answer(0, regions=("eye",), region_shares=None)
    assert [chip.edited for chip in exhibits.chips(unknown)] == [None]
    review = make_answer(0, stage="verify", regions=(), missed=("chin",), region_shares={"eye": 0.8})
    assert [chip.word for chip in exhibits.chips(review)] == ["chin"]


def test_an_answer_about_a_record_that_is_gone_is_shown_without_pictures(busy):
    with open_desk(busy.root) as desk:
        shown = Exhibits(desk)
        assert shown.pictures("f" * 24) == []
        assert page(desk)
