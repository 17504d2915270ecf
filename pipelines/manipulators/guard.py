"""Guard: runs one program and leaves nothing of it behind, whatever becomes of whoever asked. A script of its own.

    python -I -S guard.py FOLDER COMMAND [ARGUMENT ...]

Its standard input is a lifeline. When that closes before the program ends (the caller lost patience, or was killed),
the program is killed and FOLDER, its work, removed. Either way all that the program started ends with it, even what
left its session. Should the guard itself be killed, the kernel ends the program (Linux). The exit code is the
program's, 128 + n where signal n ended it, 126 where it could not be started.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

POLL_S = 0.02
PATIENCE_S = 5.0  # for processes that the kernel cannot end at once
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def main(folder: str, command: list[str]) -> int:
    """Run a command until it ends or the lifeline closes; return the exit code."""
    _adopt_orphans()
    lost: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: lost.append(got))
    try:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with(os.getpid())
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return 126
    while not _ended(program.pid):
        if lost or select.select([0], [], [], POLL_S)[0]:
            lost.append(0)
            break
    _end_all(program)
    if lost:
        shutil.rmtree(folder, ignore_errors=True)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (Linux), so that none escapes."""
    if _LIBRARY is not None:
        _LIBRARY.prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)


def _die_with(guard: int) -> Callable[[], None]:
    """What the program does before it starts: ask to be killed once we are, and look whether it is too late to ask."""

    def ask() -> None:
        if _LIBRARY is not None:
            _LIBRARY.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:
                os.kill(os.getpid(), signal.SIGKILL)

    return ask


def _ended(pid: int) -> bool:
    """Whether a child has ended; it is not reaped yet, so that its number still means its group."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_all(program: "subprocess.Popen[bytes]") -> None:
    _kill(os.killpg, program.pid)
    program.wait()
    deadline = time.monotonic() + PATIENCE_S
    while (left := _children()) and time.monotonic() < deadline:
        for pid in left:
            _kill(os.kill, pid)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)


def _kill(how: Callable[[int, int], None], pid: int) -> None:
    try:
        how(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _children() -> list[int]:
    """Numbers of the processes whose parent we are, adopted ones among them."""
    try:
        names = [entry.name for entry in os.scandir("/proc")]
    except FileNotFoundError:  # another system: there the group must do
        return []
    return [int(name) for name in names if name.isdigit() and _parent(name) == os.getpid()]


def _parent(name: str) -> int | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as handle:
            return int(handle.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
