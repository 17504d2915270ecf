"""Runs `mmtt`, and kills itself before a moment: a file's change, a database's opening, a call to a server.

Usage: killed_command.py MOMENT WORDS… — the command's words; MOMENT counts from 1, and 0 kills nothing. What it counted
goes to stderr at the end.
"""

import os
import signal
import sys

from mmtt.cli import main

MOMENTS = ("os.rename", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect", "socket.connect")


def count(kill_at: int) -> list[int]:
    """Count moments in the first number of a list; the process kills itself before one of them."""
    seen = [0]

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event in MOMENTS:
            seen[0] += 1
            if seen[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


if __name__ == "__main__":
    seen = count(int(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    try:
        main()
    finally:
        print(f"moments: {seen[0]}", file=sys.stderr)
