import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mmtt.errors import Rejected, UserError
from mmtt.executors import executor, processes, serial

ITEMS = list(range(7))


def square(item):
    return item, item * item, os.getpid()


def fail_at(bad, error, item):
    if item == bad:
        raise error
    return item


def die_at(bad, item):
    if item == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def leave_a_trace(folder, item):
    (folder / str(item)).touch()
    if item == 0:
        raise ZeroDivisionError
    time.sleep(0.05)
    return item


def results(run, function, items):
    """By position, without the process that made them."""
    return {position: result[:2] for position, result in run(function, items)}


def test_serial_and_processes_give_the_same_results():
    alone, together = results(serial, square, ITEMS), results(processes(2), square, ITEMS)
    assert alone == together == {i: (i, i * i) for i in ITEMS}


def test_serial_stays_in_this_process_and_processes_leave_it():
    assert {result[2] for _, result in serial(square, ITEMS)} == {os.getpid()}
    pids = {result[2] for _, result in processes(2)(square, ITEMS)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_no_items_are_no_work():
    assert list(processes(3)(square, [])) == list(serial(square, [])) == []


@pytest.mark.parametrize("error", [ZeroDivisionError("why"), Rejected("no_face", "why"), UserError("why")])
@pytest.mark.parametrize("run", [serial, processes(2)], ids=["serial", "processes"])
def test_a_workers_exception_is_the_callers(run, error):
    with pytest.raises(type(error), match="why"):
        list(run(partial(fail_at, 1, error), ITEMS[:3]))


def test_after_an_exception_what_had_not_begun_is_not_begun(tmp_path):
    with pytest.raises(ZeroDivisionError):
        list(processes(1)(partial(leave_a_trace, tmp_path), list(range(50))))
    assert len(list(tmp_path.iterdir())) < 50


def test_a_killed_worker_is_a_sentence_that_says_what_to_do():
    with pytest.raises(UserError, match=r"A worker died .*run the command again") as caught:
        list(processes(2)(partial(die_at, 2), ITEMS))
    assert "\n" not in str(caught.value)


def test_the_number_of_workers_chooses_the_executor():
    assert executor(1) is serial
    assert executor(2) is not serial
    with pytest.raises(UserError, match="--workers is 0; it must be 1 or more"):
        executor(0)


ORPHANS = """
import os, sys, time
from pathlib import Path
from mmtt.executors import processes

def linger(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    for _ in processes(2)(linger, [sys.argv[1]] * 2):
        pass
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "linger.py"
    script.write_text(ORPHANS)
    folder = tmp_path / "pids"
    folder.mkdir()
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, script, folder], env={**os.environ, "PYTHONPATH": str(root)}) as run:
        wait_until(lambda: len(list(folder.iterdir())) == 2)
        run.kill()
    pids = [int(path.name) for path in folder.iterdir()]
    wait_until(lambda: not any(alive(pid) for pid in pids))


def wait_until(holds, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
