"""From pushed tasks to joined reports, through the real command line, a real Label Studio and real accounts.

The texts are sentences by hand, filled in by a program: the accounts say so (`writes: template`), and so does every
report that comes of them.
"""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from annotators import Annotator, choices, description, textarea
from label_page import LabelPage

from annotation.answers import Kind
from annotation.desk import open_desk
from annotation.history import tasks as task_facts
from annotation.interface.languages import words
from annotation.server.serve import running
from annotation.sync.projects import known
from mmtt.check import check
from mmtt.manifest import read
from mmtt.record import Rejection
from mmtt.reports import Report, attach
from mmtt.shards import read_table
from tests.annotation.planted import report
from tests.factories import build, tiny_dataset

PEOPLE = ("anna", "ben", "chen")
# Nobody waits for people here: what looks at the clock has tests of its own.
ANNOTATE = {
    "protocol": "blind_then_verified",
    "overlap": 2,
    "overlap_share": 0.1,
    "qualification_tasks": 4,
    "qualification_score": 0.5,
    "quality": {"ignore": ["dwell", "parallel", "pasted", "drift"], "min_checks": 3},
}
COPIED = "The edge of the face has a strange border that does not look right to me at all."


class World:
    """One dataset, its server, and three people."""

    def __init__(self, root, connection):
        self.root, self.connection = root, connection
        self.people, self.passwords, self.truth = {}, {}, {}

    def mmtt(self, *words, code=0):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LABEL_STUDIO")}
        command = [sys.executable, "-m", "mmtt", "annotate", words[0], str(self.root), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2])
        assert done.returncode == code, done.stdout + done.stderr
        assert self.connection.token not in done.stdout + done.stderr
        return done.stdout

    def enrol(self):
        table = self.root / "people.csv"
        rows = [f"{name}@example.org,{name},en,active,template" for name in PEOPLE]
        table.write_text("\n".join(["email,name,language,status,writes", *rows]) + "\n")
        self.mmtt("people", str(table))
        with (self.root / "private" / "annotation" / "credentials.csv").open() as handle:
            for row in csv.DictReader(handle):
                self.people[row["name"]] = Annotator(row["url"], row["login"], row["password"])
                self.passwords[row["name"]] = (row["login"], row["password"])

    def everybody_does(self, project, answer):
        """Tasks in turn, until the stream is empty for everybody."""
        while sum(person.do_all(project, answer, most=1) for person in self.people.values()):
            pass

    @property
    def projects(self):
        with open_desk(self.root) as desk:
            return known(desk.log)

    def edited(self, key):
        """The regions that were really edited in the record of a task, the largest first."""
        if key not in self.truth:
            with open_desk(self.root) as desk:
                shares = {s.record_id: s.region_shares for s in desk.subjects}
                facts = task_facts(desk.log)
            of = {key: shares[fact["record_id"]] for key, fact in facts.items()}
            self.truth = {key: sorted(found, key=lambda r: (-found[r], r)) for key, found in of.items()}
        return self.truth[key]

    def desk(self):
        return open_desk(self.root)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotated")
    makers = [{"use": name, "per_target": 11} for name in ("recolour", "attribute_warp")]
    build(tiny_dataset(root, 10, makers, annotate=ANNOTATE))
    with running(root) as connection:
        made = World(root, connection)
        yield made
        for person in made.people.values():
            person.close()


def saw(truth, number):
    """An honest answer to a task whose truth is known."""
    regions = tuple(truth[:2])
    if not regions:
        return [choices("verdict", "looks_pristine")]
    return description(report(number, "en", regions), *regions)


def test_from_pushed_tasks_to_joined_reports(world):
    world.enrol()
    planned = json.loads(world.mmtt("push", "--dry-run", "--json"))
    pushed = json.loads(world.mmtt("push", "--json"))
    assert planned == pushed
    assert pushed["qualify"]["create"] == 4 and pushed["describe"]["create"] >= 200
    again = json.loads(world.mmtt("push", "--json"))
    assert all(not counts["create"] and not counts["people"] for counts in again.values())

    numbers = iter(range(10_000))
    honest = lambda data: saw(world.edited(data["key"]), next(numbers))  # noqa: E731
    projects = world.projects
    for person in world.people.values():
        assert person.do_all(projects["qualify"], honest) == 4
    look_at_a_task(world, projects["describe"])

    in_a_browser(world, projects["describe"])

    # Chen copies, and names somebody once; the others work honestly.
    chen = world.people["chen"]
    for _ in range(6):
        task = chen.next_task(projects["describe"])
        chen.submit(task["id"], description(COPIED, "skin"))
    task = chen.next_task(projects["describe"])
    regions = world.edited(task["data"]["key"])[:2] or ["eye"]
    chen.submit(task["id"], description(f"Looks like Tom Hanks; the {regions[0]} is blurred at its edge.", *regions))
    world.everybody_does(projects["describe"], honest)

    pulled = json.loads(world.mmtt("pull", "--json"))
    assert pulled["new"] >= 12 + 200
    found = json.loads(world.mmtt("check", "--json"))
    rules = Counter(finding["rule"] for finding in found if finding["effect"] != "tell")
    assert rules["near_duplicate"] >= 5 and rules["identity"] == 1
    chen_is = {f["annotator"] for f in found if f["rule"] in ("near_duplicate", "identity")}
    assert len(chen_is) == 1

    second = json.loads(world.mmtt("push", "--json"))
    rework = f"rework-{chen_is.pop()}"
    assert second[rework]["create"] >= 6 and second["verify"]["create"] >= 150
    projects = world.projects
    task = chen.next_task(projects[rework])
    assert task["data"]["message"] and (task["data"]["given"] == COPIED or "Hanks" in task["data"]["given"])
    chen.do_all(projects[rework], honest)

    # Verification: mostly agreed to; some texts are edited, some refused. Nobody's verdict on their own work counts.
    def verify(data):
        number = next(numbers)
        if number % 10 == 0:
            return [choices("match", "no"), choices("flags", "false_positive"), textarea("report", data["given"])]
        if number % 10 == 1:
            return [choices("match", "partly"), textarea("report", data["given"] + " The edge is soft as well.")]
        return [choices("match", "yes"), textarea("report", data["given"])]

    for _ in range(4):
        world.everybody_does(world.projects["verify"], verify)
        world.mmtt("pull")
        world.mmtt("push")
    with world.desk() as desk:
        assert any(finding.rule == "self_verified" for finding in desk.findings)
        assert desk.standing.to_adjudicate
    for _ in range(3):
        world.everybody_does(world.projects["adjudicate"], honest)
        world.mmtt("pull")
        world.mmtt("push")

    told = json.loads(world.mmtt("reports", "--json"))
    assert told["settled"]["verified"] > 50
    assert told["settled"]["edited"] >= 1 and told["settled"]["adjudicated"] >= 1
    reports_are_joined(world)
    pulling_again_changes_nothing(world)
    nothing_tells(world)
    pages_are_written(world)
    an_annotator_is_erased(world, chen)


def in_a_browser(world, project):
    """Ben looks at two faces as a person does: what is missing is refused, and aliases come back."""
    said = words("en")
    page = LabelPage(world.connection.url, *world.passwords["ben"], world.root / "browser")
    try:
        page.open(project)
        page.picture(world.root / "describe.png")
        page.pick(said["verdict.visible.text"])
        page.press("Submit")
        assert page.refusal() is not None
        page.pick(said["region.nose.text"])
        page.type("The bridge of the nose has a hard edge and a colour that its tip has not.")
        page.rate(4)
        page.picture(world.root / "described.png")
        page.press("Submit")
        assert page.refusal() is None
        page.open(project)
        page.pick(said["verdict.none_visible.text"])
        page.press("Submit")
        assert page.refusal() is None
    finally:
        page.close()
    world.mmtt("pull")
    with world.desk() as desk:
        ours = desk.people.pseudonym(next(p.user_id for p in desk.people.persons if p.name == "ben"))
        browsed = {a.verdict: a for a in desk.answers if a.annotator == ours and a.kind != "qualification"}
    assert browsed["visible"].regions == ("nose",) and browsed["visible"].difficulty == 4
    assert browsed["visible"].text.startswith("The bridge of the nose") and browsed["visible"].lead_time_s > 1
    assert browsed["none_visible"].text == ""


def look_at_a_task(world, project):
    """What the server shows is the record's picture, only to who is logged in, and nothing beside it."""
    person = world.people["anna"]
    data = person.next_task(project)["data"]
    assert set(data) == {"key", "image", "zoom"}
    shown = person.get(data["image"])
    assert shown.status_code == 200 and shown.headers["content-type"] == "image/png"
    with world.desk() as desk:
        facts = task_facts(desk.log)[data["key"]]
    import hashlib

    assert hashlib.sha256(shown.content).hexdigest() == facts["image_sha256"]


def reports_are_joined(world):
    made = read_table(world.root / "reports" / "reports.parquet", Report)
    refused = read_table(world.root / "reports" / "rejections.parquet", Rejection)
    assert {row.text_origin for row in made} == {"template"}
    assert {row.code for row in refused} <= {
        "returned",
        "held",
        "doubted",
        "skipped",
        "disputed",
        "none_visible",
        "abandoned",
    }
    ranks = Counter(row.record_id for row in made if row.rank == 0)
    assert set(ranks.values()) == {1} and set(ranks) == {row.record_id for row in made}
    joined = [*attach(read(world.root / "forged"), made, {})]
    with_report = [record for record in joined if record.report is not None]
    assert {record.record_id for record in with_report} == set(ranks)
    assert all(record.text_origin == "template" and len(record.report_regions) == 21 for record in with_report)
    assert [fault for record in with_report for fault in check(record)] == []


def pulling_again_changes_nothing(world):
    before = {path.name: path.read_bytes() for path in (world.root / "reports").iterdir()}
    head = json.loads(world.mmtt("log", "--json"))["head"]
    for _ in range(3):
        world.mmtt("pull", "--full")
        world.mmtt("reports")
        assert {path.name: path.read_bytes() for path in (world.root / "reports").iterdir()} == before
        assert json.loads(world.mmtt("log", "--json"))["head"] == head


def nothing_tells(world):
    """No task, picture name or project tells a family, a record, or who is behind a pseudonym."""
    with world.desk() as desk:
        secrets = {subject.record_id for subject in desk.subjects} | {subject.family for subject in desk.subjects}
        secrets |= {person.pseudonym for person in desk.people.persons}
    secrets = {str(secret) for secret in secrets - {None}} | {"example.org"}
    person = world.people["ben"]
    for number in world.projects.values():
        answers = [person.get(f"/api/projects/{number}/"), person.get(f"/api/tasks/?project={number}&page_size=500")]
        assert [answer.status_code for answer in answers] == [200, 200]
        project, tasks = (answer.text for answer in answers)
        assert [secret for secret in secrets if secret in project + tasks] == []
        assert [kind for kind in Kind if f'"{kind}"' in tasks] == []
    names = [path.name for path in (world.root / "private" / "annotation" / "pictures").rglob("*.png")]
    assert [name for name in names for secret in secrets if secret in name] == []


def pages_are_written(world):
    assert "describe" in world.mmtt("status")
    hours = world.root / "hours.csv"
    world.mmtt("status", "--hours", str(hours))
    assert len(hours.read_text().splitlines()) >= 4
    assert Path(world.mmtt("page").strip()).stat().st_size < 8_000_000
    assert json.loads(world.mmtt("agreement", "--draws", "50"))["repeated"] >= 5


def an_annotator_is_erased(world, person):
    task = person.next_task(world.projects["describe"]) or person.next_task(world.projects["verify"])
    unpulled = "Never pulled: the forehead has a seam along the hairline."
    if task is not None:
        person.submit(task["id"], description(unpulled, "forehead"))
    with world.desk() as desk:
        pseudonym = next(p.pseudonym for p in desk.people.persons if p.name == "chen")
        (mine,) = [desk.people.named(pseudonym)]
        texts = {answer.text for answer in desk.answers if answer.annotator == pseudonym and len(answer.text) > 20}
        texts -= {answer.text for answer in desk.answers if answer.annotator != pseudonym}
        assert len(texts) > 20
    world.mmtt("erase", pseudonym, "--texts")
    world.mmtt("pull", "--full")
    world.mmtt("reports")
    with world.desk() as desk:
        assert [a for a in desk.answers if a.annotator == pseudonym] == []
        assert desk.log.faults() == []
        gone = desk.people.named(pseudonym)
        assert (gone.email, gone.name) == ("", "") and gone.user_id == mine.user_id
    files = [path for folder in ("reports", "private") for path in (world.root / folder).rglob("*") if path.is_file()]
    # Label Studio's own database was rebuilt, so that none of its pages keeps what was deleted.
    sought = {text.encode() for text in texts | {unpulled}}
    assert {path.name for path in files for text in sought if text in path.read_bytes()} == set()
    for number in world.projects.values():
        shown = world.people["anna"].get(f"/api/tasks/?project={number}&fields=all&page_size=500")
        assert shown.status_code == 200
        assert [text for text in texts | {unpulled} if json.dumps(text)[1:-1] in shown.text] == []
    assert person.get("/api/projects/").status_code in (401, 403) or "login" in str(person.get("/projects/").url)
