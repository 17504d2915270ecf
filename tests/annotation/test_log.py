import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from annotation.log import Log, New
from mmtt.errors import UserError

TEXT = "the left eye is smeared"


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "private" / "log.sqlite")
    yield made
    made.close()


def fill(log):
    log.append([New("task", "k1", {"project": 1}, {"record_id": "r1"}), New("task", "k2", {}, {"record_id": "r2"})])
    log.append([New("answer", "u1", {"task": "k1"}, {"text": TEXT})])


def test_events_come_back_in_order_and_by_kind(log):
    fill(log)
    assert [(e.seq, e.kind, e.subject) for e in log.events()] == [
        (1, "task", "k1"),
        (2, "task", "k2"),
        (3, "answer", "u1"),
    ]
    assert [e.payload for e in log.events("answer")] == [{"text": TEXT}]
    assert log.faults() == []


def test_all_events_of_an_append_or_none(log):
    fill(log)
    head = log.head

    def some():
        yield New("task", "k3")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        log.append(some())
    assert log.head == head and len([*log.events()]) == 3


def test_an_event_can_be_neither_edited_nor_removed(log):
    fill(log)
    with sqlite3.connect(log.path) as other:
        with pytest.raises(sqlite3.IntegrityError):
            other.execute("UPDATE events SET kind = 'x'")
        with pytest.raises(sqlite3.IntegrityError):
            other.execute("DELETE FROM events")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ('UPDATE payloads SET body = \'{"text":"another"}\' WHERE seq = 3', "payload of event 3 (answer) was changed"),
        ("DELETE FROM payloads WHERE seq = 2", "payload of event 2 is gone"),
        (
            "DROP TRIGGER events_stay; UPDATE events SET header = '{\"project\":2}' WHERE seq = 1",
            "event 1 (task) breaks",
        ),
        ("DROP TRIGGER events_remain; DELETE FROM events WHERE seq = 2", "event 3 (answer) breaks"),
    ],
)
def test_tampering_is_found(log, change, fault):
    fill(log)
    with sqlite3.connect(log.path) as other:
        other.executescript(change)
    assert any(fault in told for told in log.faults())


def test_what_is_cut_off_the_end_shows_in_the_head(log):
    fill(log)
    head = log.head
    with sqlite3.connect(log.path) as other:
        other.executescript(
            "DROP TRIGGER events_remain; DELETE FROM payloads WHERE seq = 3; DELETE FROM events WHERE seq = 3"
        )
    assert log.faults() == [] and log.head != head


def test_erasing_leaves_a_whole_chain_and_nothing_to_guess_from(log):
    fill(log)
    assert TEXT.encode() in log.path.read_bytes()
    (commitment,) = log._db.execute("SELECT commitment FROM events WHERE seq = 3").fetchone()
    (salt,) = log._db.execute("SELECT salt FROM payloads WHERE seq = 3").fetchone()
    assert log.erase([3], "asked for by its author") == 1
    assert log.erase([3], "asked for by its author") == 0
    assert log.faults() == []
    left = b"".join(path.read_bytes() for path in log.path.parent.iterdir())
    assert TEXT.encode() not in left and salt not in left and commitment.encode() in left
    assert [e.payload for e in log.events("answer")] == [None]
    assert [e.header["seqs"] for e in log.events("erased")] == [[3]]


def test_marks_are_no_events(log):
    head = log.head
    log.set_marks({"describe": "2026-01-01"})
    log.set_marks({"describe": "2026-01-02"})
    assert (log.mark("describe"), log.mark("verify"), log.head) == ("2026-01-02", None, head)


def test_text_that_no_encoding_knows_is_kept(log):
    payload = json.loads('{"text": "\\ud800 \\u0000 ok"}')
    log.append([New("answer", "u", {}, payload)])
    assert next(log.events()).payload == payload and log.faults() == []


def test_a_damaged_file_is_a_sentence(tmp_path):
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"log\.sqlite: file is not a database"):
        Log(path)


def test_a_full_disk_is_a_sentence_and_loses_nothing(log):
    fill(log)
    log._db.execute("PRAGMA max_page_count = 8")
    head = log.head
    with pytest.raises(UserError, match=r"full.*run the command again"):
        log.append([New("answer", f"u{i}", {}, {"text": "x" * 5000}) for i in range(20)])
    assert log.head == head and log.faults() == []


def test_only_the_owner_may_read_it(log):
    assert log.path.stat().st_mode & 0o777 == 0o600


APPENDS = """
import sys; from pathlib import Path; from annotation.log import Log, New
log = Log(Path(sys.argv[1]))
while True:
    log.append([New("answer", str(i), {}, {"text": "x" * 300}) for i in range(50)])
"""


def test_killed_at_any_moment_it_holds_whole_appends(tmp_path):
    path = tmp_path / "log.sqlite"
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", APPENDS, str(path)])
        before = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size < before + 60_000:
            assert writer.poll() is None
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        log = Log(path)
        assert log.faults() == []
        assert len([*log.events()]) % 50 == 0
        log.close()
