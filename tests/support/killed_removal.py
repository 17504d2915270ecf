"""Kills a removal at many moments, each in a process of its own, and runs it again to its end.

Usage: killed_removal.py DATASET REMOVAL.json FOLDER KILLS. Prints JSON: how many moments there are (renames and
deletions), at how many it was killed, and those that ended otherwise than a run that nobody killed.
"""

import json
import os
import shutil
import signal
import sys
from datetime import date
from pathlib import Path

from mmtt.files import file_sha256
from mmtt.removal import Removal
from pipelines import erase

MOMENTS = ("os.rename", "os.remove", "os.rmdir")


def run(root: Path, removal: Removal) -> None:
    """Do all of it."""
    erase.deny(root, removal, date(2026, 11, 27))
    erase.apply(root, removal)


def moments(root: Path, removal: Removal, kill_at: int | None = None) -> int:
    """Run it and count the moments below a folder; the process kills itself before one of them."""
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in MOMENTS and str(args[0]).startswith(str(root)):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run(root, removal)
    return seen


def tree(root: Path) -> dict[str, str]:
    """Every file but locks, by digest."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in files}


def forked(work: object, *args: object) -> tuple[int, int]:
    """Do some work in a fork; return what it counted, and the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(work(*args) or 0).encode())  # type: ignore[operator]
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    return int(os.read(reader, 99) or 0), os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main() -> None:
    """See the module."""
    source, told, folder, kills = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    removal = Removal.load(told)
    whole = folder / "whole"
    shutil.copytree(source, whole)
    count, _ = forked(moments, whole, removal)
    expected, killed, other = tree(whole), 0, []
    for at in sorted({1 + round(turn * (count - 1) / (kills - 1)) for turn in range(kills)}):
        torn = folder / f"at-{at}"
        shutil.copytree(source, torn)
        _, ended = forked(moments, torn, removal, at)
        killed += ended == signal.SIGKILL
        forked(run, torn, removal)
        if tree(torn) != expected:
            mine = tree(torn)
            other.append([at, sorted(name for name in expected.keys() | mine if expected.get(name) != mine.get(name))])
        shutil.rmtree(torn)
    print(json.dumps({"moments": count, "killed": killed, "other_ends": other}))


if __name__ == "__main__":
    main()
