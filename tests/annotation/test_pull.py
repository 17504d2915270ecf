import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faulty_proxy import Fault, proxy

from annotation import history
from annotation.log import Log, New
from annotation.server.connection import Connection
from annotation.sync import studio as studio_module
from annotation.sync.pull import pull
from annotation.sync.push import push
from annotation.sync.studio import Studio, keyed
from mmtt.errors import UserError
from tests.annotation.conftest import open_queue
from tests.annotation.test_push import KILLED, NOBODY, make_tasks, run_killed

TEXT = "The left eye is smeared and its lower edge is doubled."


class Nobody:
    def pseudonym(self, user_id):
        return f"A{user_id}"


def result(text=TEXT, verdict="visible"):
    return [
        {"from_name": "verdict", "to_name": "image", "type": "choices", "value": {"choices": [verdict]}},
        {"from_name": "regions", "to_name": "image", "type": "choices", "value": {"choices": ["eye"]}},
        {"from_name": "report", "to_name": "image", "type": "textarea", "value": {"text": [text]}},
    ]


def annotate(queue, key, **changes):
    """Answer a task as a browser does; return the annotation's number."""
    (remote, *_) = keyed(queue.studio.index(queue.project.id))[key]
    given = {"result": result(), "lead_time": 75.0} | changes
    return queue.studio.api.annotations.create(id=remote.id, **given).id


def told(log):
    return history.answers(log, Nobody(), [], {})


@pytest.fixture
def tasks(queue):
    made = make_tasks(6)
    push(queue, made, NOBODY)
    return made


def test_what_people_answered_comes_into_the_log_once(queue, log, marker, tasks):
    numbers = [annotate(queue, task.key) for task in tasks[:3]]
    first = pull(queue.studio, log, marker)
    assert (first.read, first.new, first.full) == (3, 3, True)
    head = log.head
    for full in (False, True, False):
        again = pull(queue.studio, log, marker, full=full)
        assert (again.new, again.changed, again.vanished) == (0, 0, 0)
    assert log.head == head and len(numbers) == 3
    (answer, *_) = told(log)
    assert (answer.text, answer.regions, answer.verdict, answer.lead_time_s) == (TEXT, ("eye",), "visible", 75.0)
    assert {a.task_key for a in told(log)} == {task.key for task in tasks[:3]}
    assert {a.record_id for a in told(log)} == {task.record_id for task in tasks[:3]}


def test_a_pull_reads_only_what_changed(server, studio, queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    pull(studio, log, marker)
    annotate(queue, tasks[1].key)
    with proxy(server.url) as between, Studio(Connection(between.url, server.token)) as far:
        assert pull(far, log, marker).new == 1
        assert any("updated_at" in path and "query" in path for _, path in between.requests)


def test_a_changed_answer_is_another_version_and_the_first_one_stays(queue, log, marker, tasks):
    number = annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    queue.studio.api.annotations.update(id=number, result=result("The nose is blurred."), lead_time=90.0)
    assert pull(queue.studio, log, marker).changed == 1
    assert [a.text for a in told(log)] == ["The nose is blurred."]
    texts = [event.payload["result"][2]["value"]["text"][0] for event in log.events("answer")]
    assert texts == [TEXT, "The nose is blurred."]


def test_a_skipped_task_is_an_answer_too(queue, log, marker, tasks):
    annotate(queue, tasks[0].key, result=[], was_cancelled=True)
    pull(queue.studio, log, marker)
    assert [a.skipped for a in told(log)] == [True]


def second_user(studio):
    listed = {user.email: user.id for user in studio.api.users.list()}
    email = "second@annotators.invalid"
    return listed.get(email) or studio.api.users.create(email=email, username="second", password="not-secret-1").id


@pytest.mark.parametrize(
    ("signal", "tamper"),
    [
        ("author_changed", lambda s, n: s.api.annotations.update(id=n, completed_by=second_user(s))),
        ("time_shrank", lambda s, n: s.api.annotations.update(id=n, lead_time=3.0)),
        ("vanished", lambda s, n: s.delete_annotation(n)),
    ],
)
def test_tampering_leaves_a_signal_and_the_first_author(queue, log, marker, tasks, signal, tamper):
    number = annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    author = told(log)[0].annotator
    tamper(queue.studio, number)
    pull(queue.studio, log, marker, full=True)
    (answer,) = told(log)
    assert (answer.annotator, answer.text) == (author, TEXT)
    assert signal in answer.signals


def test_an_answer_that_was_changed_after_it_counted_is_told(queue, log, marker, tasks):
    number = annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    (event,) = log.events("answer")
    log.append([New("accepted", event.subject, {}, {"version": history.version(event.payload)})])
    assert told(log)[0].signals == ()
    queue.studio.api.annotations.update(id=number, result=result("Another text about the chin."))
    pull(queue.studio, log, marker)
    assert "changed_after_acceptance" in told(log)[0].signals


def test_a_vanished_answer_is_told_once_and_kept(queue, log, marker, tasks):
    number = annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    queue.studio.delete_annotation(number)
    assert pull(queue.studio, log, marker, full=True).vanished == 1
    assert pull(queue.studio, log, marker, full=True).vanished == 0
    assert [a.text for a in told(log)] == [TEXT]


def test_a_task_whose_key_somebody_rewrote_moves_no_answer_silently(queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    (remote, *_) = keyed(queue.studio.index(queue.project.id))[tasks[0].key]
    queue.studio.set_data(remote.id, {**remote.data, "key": tasks[1].key})
    pull(queue.studio, log, marker, full=True)
    (answer,) = told(log)
    assert answer.task_key == tasks[0].key and "moved" in answer.signals


@pytest.mark.usefixtures("tasks")
def test_foreign_tasks_are_counted_and_left_out(queue, log, marker):
    queue.studio.add(queue.project.id, [{"image": "x", "zoom": "y", "key": "ffff"}])
    annotate(queue, "ffff")
    assert pull(queue.studio, log, marker, full=True).foreign == 1
    assert told(log) == []


def test_erased_answers_do_not_come_back(queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    log.erase([event.seq for event in log.events("answer")], "asked for")
    pull(queue.studio, log, marker, full=True)
    assert told(log) == [] and log.faults() == []
    assert TEXT.encode() not in log.path.read_bytes()


@pytest.mark.usefixtures("tasks")
def test_a_day_later_everything_is_read_again(queue, log, marker):
    assert pull(queue.studio, log, marker).full
    now = datetime.now(UTC)
    assert not pull(queue.studio, log, marker, now=now + timedelta(hours=23)).full
    assert pull(queue.studio, log, marker, now=now + timedelta(hours=25)).full


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-400)])
def test_our_own_clock_may_be_wrong(queue, log, marker, tasks, ahead):
    annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker, now=datetime.now(UTC) + ahead)
    annotate(queue, tasks[1].key)
    assert pull(queue.studio, log, marker, now=datetime.now(UTC) + ahead).new == 1


def skewed(years: int):
    """Answers as a server gives them whose clock is years off."""

    def shift(body: bytes) -> bytes:
        this = datetime.now(UTC).year
        return body.replace(f'"{this}-'.encode(), f'"{this + years}-'.encode())

    return shift


def test_a_server_clock_that_ran_ahead_blinds_only_until_the_daily_read(server, studio, queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    with proxy(server.url) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(*(Fault("GET", path, skewed(2), times=99) for path in (r"/api/tasks/\?", "/export")))
        assert pull(far, log, marker).new == 1
    annotate(queue, tasks[1].key)
    assert pull(studio, log, marker).new == 0
    assert pull(studio, log, marker, full=True).new == 1
    annotate(queue, tasks[2].key)
    assert pull(studio, log, marker).new == 1


FAULTS = {
    "list fails": Fault("GET", r"/api/tasks/\?", 500, times=2),
    "list is cut": Fault("GET", r"/api/tasks/\?", "drop"),
    "export fails": Fault("GET", "/export", 503, times=2),
    "export is cut": Fault("GET", "/export", "drop", times=3),
    "export stalls": Fault("GET", "/export", "stall"),
    "export is torn": Fault("GET", "/export", lambda body: body[: len(body) // 2], times=2),
    "export is of others": Fault("GET", "/export", lambda body: body.replace(b'"id": ', b'"id": 9'), times=2),
    "project fails": Fault("GET", r"/api/projects/", 502, times=2),
    "down for long": Fault("GET", r"/api/tasks/\?", 502, times=20),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_failure_of_the_way_loses_or_doubles_an_answer(name, server, studio, queue, log, marker, tasks, monkeypatch):
    monkeypatch.setattr(studio_module, "TIMEOUT_S", 1.5)
    for task in tasks:
        annotate(queue, task.key)
    with proxy(server.url, stall_s=2.5) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(FAULTS[name])
        try:
            pull(far, log, marker)
        except UserError as error:
            assert between.url in str(error)
            between.expect()
            pull(far, log, marker)
    assert pull(studio, log, marker, full=True).new == 0
    assert [a.text for a in told(log)] == [TEXT] * len(tasks)


PULLED = (
    KILLED
    + """
from annotation.sync import pull as pull_module, studio as studio_module
studio_module.EXPORT_IDS = 2
pull_module.pull(studio, Log(Path(sys.argv[4])), sys.argv[5])
"""
)


def test_killed_between_any_two_steps_a_pull_is_completed_by_the_next(
    server, studio, queue, log, marker, setup, tasks, tmp_path
):
    for task in tasks:
        annotate(queue, task.key)
    log.close()
    start = log.path.read_bytes()
    fatal, ends = 0, set()
    while True:
        fatal += 1
        path = tmp_path / f"{fatal}.sqlite"
        path.write_bytes(start)
        code = run_killed(PULLED, fatal, server, path, marker, setup)
        again = Log(path)
        pull(studio, again, marker)
        assert again.faults() == []
        ends.add(json.dumps([str(answer) for answer in told(again)]))
        assert len(told(again)) == len(tasks)
        again.close()
        if code == 0:
            break
    assert len(ends) == 1 and fatal > 4


def test_a_deleted_project_is_a_sentence_and_its_answers_stay(queue, log, marker, setup, tasks):
    annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    queue.studio.api.projects.delete(queue.project.id)
    with pytest.raises(UserError, match=r"no project 'describe'.*push DIR --recreate"):
        pull(queue.studio, log, marker)
    with pytest.raises(UserError, match=r"no project 'describe'.*push DIR --recreate"):
        open_queue(queue.studio, log, marker, setup)
    assert [a.text for a in told(log)] == [TEXT]


def test_another_server_is_never_taken_for_the_one_that_lost_everything(queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    with pytest.raises(UserError, match="no project 'describe'"):
        pull(queue.studio, log, "a marker that this server does not know", full=True)
    assert told(log)[0].signals == ()


def test_three_pulls_into_fresh_logs_tell_the_same(queue, log, marker, tasks, tmp_path):
    for task in tasks[:4]:
        annotate(queue, task.key)
    log.close()
    outcomes = set()
    for number in range(3):
        path = Path(tmp_path / f"copy-{number}.sqlite")
        path.write_bytes(log.path.read_bytes())
        copy = Log(path)
        pull(queue.studio, copy, marker)
        outcomes.add(str(told(copy)))
        copy.close()
    assert len(outcomes) == 1


def test_a_task_that_the_server_cannot_export_keeps_back_no_other(server, studio, queue, log, marker, tasks):
    for task in tasks:
        annotate(queue, task.key)
    bad = keyed(queue.studio.index(queue.project.id))[tasks[2].key][0].id
    with proxy(server.url) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(Fault("GET", rf"/export.*ids%5B%5D={bad}(&|$)", 500, times=99))
        pulled = pull(far, log, marker)
        assert (pulled.new, pulled.unread, pulled.vanished) == (len(tasks) - 1, 1, 0)
    assert pull(studio, log, marker).new == 1  # once the server can, it comes


def test_what_an_erased_person_left_there_is_not_read(queue, log, marker, tasks):
    annotate(queue, tasks[0].key)
    assert pull(queue.studio, log, marker, nobody=[queue.studio.user_id]).new == 0
    assert told(log) == []


def test_what_was_erased_does_not_come_back_from_a_restored_server(queue, log, marker, tasks):
    number = annotate(queue, tasks[0].key)
    pull(queue.studio, log, marker)
    log.erase([event.seq for event in log.events("answer")], "asked for")
    (uid,) = {event.subject for event in log.events("answer")}
    queue.studio.delete_annotation(number)
    pull(queue.studio, log, marker, full=True)
    (remote, *_) = keyed(queue.studio.index(queue.project.id))[tasks[0].key]
    queue.studio.api.annotations.create(id=remote.id, result=result(), lead_time=75.0, unique_id=uid)
    pull(queue.studio, log, marker, full=True)
    assert TEXT.encode() not in log.path.read_bytes()


def test_nothing_that_anybody_there_may_read_tells_a_pseudonym_or_a_queue_s_secret_name(studio, log, marker, setup):
    mine = setup._replace(name="rework-A1234", title="tests: rework bafiko")
    project = open_queue(studio, log, marker, mine).project
    shown = studio.project(project.id)
    assert "A1234" not in shown.title + shown.description and marker not in shown.description
    assert studio.api.projects.get(project.id).sampling == "Uniform sampling"
