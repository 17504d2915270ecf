import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_proxy import Fault, proxy

from annotation.answers import Kind
from annotation.log import Log
from annotation.protocols import StageName, View
from annotation.server.connection import Connection
from annotation.sync import studio as studio_module
from annotation.sync.push import Answered, push
from annotation.sync.studio import Studio, keyed
from annotation.tasks import Task, key_of
from mmtt.errors import UserError
from tests.annotation.conftest import open_queue

NOBODY = Answered()


def make_tasks(count=8, people=1, start=0):
    return [
        Task(
            key=key_of("secret", start + number, people),
            project="describe",
            record_id=f"{start + number:024x}",
            image_sha256="0" * 64,
            stage=StageName.DESCRIBE,
            kind=Kind.ORDINARY,
            people=people,
            sees=(View.IMAGE,),
            protocol="blind_then_verified",
        )
        for number in range(count)
    ]


def there(queue):
    """Every key on the server with the number of people it wants; no key may be there twice."""
    found = keyed(queue.studio.index(queue.project.id))
    assert max(map(len, found.values()), default=1) == 1
    return {key: remotes[0].overlap for key, remotes in found.items()}


def wanted(tasks):
    return {task.key: task.people for task in tasks}


def logged(log):
    return Counter(event.subject for event in log.events("task"))


def test_a_push_brings_every_task_once_and_a_second_one_does_nothing(queue, log):
    tasks = make_tasks(30) + make_tasks(6, people=3, start=30)
    assert push(queue, tasks, NOBODY).counts()["create"] == 36
    assert there(queue) == wanted(tasks)
    head = log.head
    assert push(queue, tasks, NOBODY).open == 0
    assert log.head == head and set(logged(log)) == {task.key for task in tasks}


def test_what_comes_later_does_not_touch_what_is_there(queue):
    first = make_tasks(5) + make_tasks(3, people=2, start=5)
    push(queue, first, NOBODY)
    more = first + make_tasks(4, start=20) + make_tasks(2, people=2, start=30)
    push(queue, more, NOBODY)
    assert there(queue) == wanted(more)


def test_nothing_but_key_pictures_and_texts_reaches_the_server(queue):
    (task,) = make_tasks(1)
    push(queue, [task], NOBODY)
    (remote,) = queue.studio.index(queue.project.id)
    assert dict(remote.data) == {
        "key": task.key,
        "image": f"/pictures/{task.key[:2]}/{task.key}-image.png",
        "zoom": f"/pictures/{task.key[:2]}/{task.key}-zoom.png",
    }
    exported = next(queue.studio.export(queue.project.id, [remote.id]))[0]
    assert task.record_id not in str(exported) and exported["meta"] == {}


def test_a_changed_task_is_changed_only_while_nobody_answered(queue):
    tasks = make_tasks(2)
    push(queue, tasks, NOBODY)
    answered = keyed(queue.studio.index(queue.project.id))[tasks[0].key][0]
    queue.studio.api.annotations.create(id=answered.id, result=[], lead_time=1)
    elsewhere = queue._replace(base="/elsewhere/")
    assert elsewhere.studio is queue.studio
    done = push(elsewhere, tasks, NOBODY)
    assert len(done.change) == 1
    bases = {remote.key: remote.data["image"].split("/")[1] for remote in queue.studio.index(queue.project.id)}
    assert bases == {tasks[0].key: "pictures", tasks[1].key: "elsewhere"}


def test_unwanted_tasks_go_only_when_asked_and_unanswered(queue):
    tasks = make_tasks(4)
    push(queue, tasks, NOBODY)
    ours = Answered(frozenset(), frozenset(task.key for task in tasks))
    answered = keyed(queue.studio.index(queue.project.id))[tasks[0].key][0]
    queue.studio.api.annotations.create(id=answered.id, result=[], lead_time=1)
    left = push(queue, tasks[2:], ours)
    assert len(left.unwanted) == 2 and len(there(queue)) == 4
    push(queue, tasks[2:], ours, retire=True)
    assert set(there(queue)) == {tasks[0].key, tasks[2].key, tasks[3].key}


def test_strangers_and_doubled_tasks(queue):
    tasks = make_tasks(3)
    push(queue, tasks, NOBODY)
    queue.studio.add(queue.project.id, [tasks[0].data("/pictures/"), {"image": "x", "zoom": "y"}])
    ours = Answered(frozenset(), frozenset(task.key for task in tasks))
    done = push(queue, tasks, ours)
    assert (len(done.delete), done.foreign) == (1, 1)
    assert there(queue) == wanted(tasks)
    assert len(queue.studio.index(queue.project.id)) == 4  # the stranger's is left alone


def test_a_vanished_task_comes_back_but_not_when_it_was_answered(queue):
    tasks = make_tasks(3)
    push(queue, tasks, NOBODY)
    index = keyed(queue.studio.index(queue.project.id))
    for task in tasks[:2]:
        queue.studio.delete_task(index[task.key][0].id)
    ours = Answered(frozenset({tasks[0].key}), frozenset(task.key for task in tasks))
    done = push(queue, tasks, ours)
    assert (list(done.lost), [task.key for task in done.create]) == ([tasks[0].key], [tasks[1].key])


def test_a_reused_task_number_is_another_task(queue):
    tasks = make_tasks(3)
    push(queue, tasks[:2], NOBODY)
    last = max(queue.studio.index(queue.project.id), key=lambda remote: remote.id)
    queue.studio.delete_task(last.id)
    fresh = [task for task in tasks if task.key != last.key]
    push(queue, fresh, NOBODY)
    found = {remote.key: remote.id for remote in queue.studio.index(queue.project.id)}
    assert set(found) == {task.key for task in fresh}
    assert last.id in found.values()  # SQLite gave the number out again


IMPORT, LIST = r"/import", r"/api/tasks/\?"
FAULTS = {
    "time-out after commit": Fault("POST", IMPORT, "stall"),
    "dropped before": Fault("POST", IMPORT, "drop"),
    "dropped after commit": Fault("POST", IMPORT, "lose"),
    "500 before": Fault("POST", IMPORT, 500),
    "500 after commit": Fault("POST", IMPORT, "500 after"),
    "409": Fault("POST", IMPORT, 409),
    "429 twice": Fault("POST", IMPORT, 429, times=2),
    "list fails": Fault("GET", LIST, 502, times=2),
    "list is cut": Fault("GET", LIST, "drop", times=2),
    "project not answered": Fault("POST", r"/api/projects/$", "lose"),
    "project fails": Fault("POST", r"/api/projects/$", "500 after"),
    "overlap not answered": Fault("PATCH", r"/api/tasks/", "lose"),
    "maximum not answered": Fault("PATCH", r"/api/projects/", "lose"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_failure_of_the_way_loses_or_doubles_a_task(name, server, studio, log, marker, setup, monkeypatch):
    monkeypatch.setattr(studio_module, "TIMEOUT_S", 1.5)
    fault = replace(FAULTS[name])
    tasks = make_tasks(25) + make_tasks(5, people=2, start=30)
    monkeypatch.setattr("annotation.sync.push.BATCH", 10)
    with proxy(server.url, stall_s=2.5) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(fault)
        for _ in range(3):  # a person who reads the sentence and runs the command again
            try:
                push(open_queue(far, log, marker, setup), tasks, NOBODY)
                break
            except UserError as error:
                assert "again" in str(error)
        assert between.struck
    queue = open_queue(studio, log, marker, setup)
    assert there(queue) == wanted(tasks)
    line = queue.project.description.rsplit("\n")[-1]
    assert sum(p.description.endswith(line) for p in queue.studio.projects()) == 1
    assert set(logged(log)) == {task.key for task in tasks}


def twice(body: bytes) -> bytes:
    """A page that comes twice: the second request is answered with the first page's rows."""
    twice.before = getattr(twice, "before", None) or body
    return twice.before


def test_a_page_that_comes_twice_is_noticed(server, studio, log, marker, setup, monkeypatch):
    tasks = make_tasks(30)
    queue = open_queue(studio, log, marker, setup)
    push(queue, tasks, NOBODY)
    monkeypatch.setattr(studio_module, "PAGE_ROWS", 10)
    with proxy(server.url) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(Fault("GET", LIST, twice, times=2))
        assert len(far.index(queue.project.id)) == 30
        assert between.struck


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/support")
from annotation.sync import calls, push as push_module
from annotation import log as log_module
from annotation.server.connection import Connection
from annotation.log import Log
from annotation.sync.studio import Studio
from tests.annotation.conftest import open_queue
from tests.annotation.test_push import NOBODY, make_tasks
from annotation.sync.projects import Setup
steps, fatal = 0, int(sys.argv[1])

def mortal(function):
    def call(*args, **kwargs):
        global steps
        result = function(*args, **kwargs)
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

log_module.Log.append = mortal(log_module.Log.append)
log_module.Log.set_marks = mortal(log_module.Log.set_marks)
calls.Calls.write = mortal(calls.Calls.write)
push_module.BATCH = 4
studio = Studio(Connection(sys.argv[2], sys.argv[3]))
setup = Setup("describe", "tests: describe", sys.stdin.read(), "0" * 64, "<p>Look.</p>")
"""
PUSHED = (
    KILLED
    + """
queue = open_queue(studio, Log(Path(sys.argv[4])), sys.argv[5], setup)
push_module.push(queue, make_tasks(10) + make_tasks(5, people=2, start=30), NOBODY)
"""
)


def run_killed(code, fatal, server, path, marker, setup) -> int:
    command = [sys.executable, "-c", code, str(fatal), server.url, server.token, str(path), marker]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, input=setup.config, text=True, cwd=root, capture_output=True)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def test_killed_between_any_two_steps_a_push_is_completed_by_the_next(server, studio, tmp_path, marker, setup):
    tasks = make_tasks(10) + make_tasks(5, people=2, start=30)
    fatal = 0
    while True:
        fatal += 1
        path, mine = tmp_path / f"{fatal}.sqlite", f"{marker}-{fatal}"
        code = run_killed(PUSHED, fatal, server, path, mine, setup)
        log = Log(path)
        queue = open_queue(studio, log, mine, setup)
        push(queue, tasks, NOBODY)
        assert there(queue) == wanted(tasks)
        assert log.faults() == [] and set(logged(log)) == set(wanted(tasks))
        log.close()
        if code == 0:
            break
    assert fatal > 10
