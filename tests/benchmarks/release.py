"""What making and uploading a release costs: time, and the memory of the largest process.

A dataset of as many records as asked, of 256 px (drawn people, turned and tinted, a box of each forgery recoloured) is
released by the command that a curator has, and published to a Hub on this machine. What FOLDER has is not made again:

    PYTHONPATH=tests/support python -m tests.benchmarks.release FOLDER [RECORDS]
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from mmtt.executors import processes
from mmtt.layout import Layout
from tests.benchmarks.audits import write_rows
from tests.factories import answered
from tests.support.hub import hub as loopback

RECORDS, SIZE_PX, WORKERS, BUCKETS = 20_000, 256, 2, 16
# Copies of sixty people are neither independent nor free of near duplicates, and their texts are templates.
GATES = {
    f"{kind}{number}": None
    for kind, last in (("L", 5), ("S", 7), ("M", 7), ("X", 8), ("F", 2), ("R", 4))
    for number in range(1, last + 1)
}


def main(arguments: tuple[str, ...] = ()) -> None:
    """Make the dataset, release it, publish it, print what it took."""
    root = Path(arguments[0]) if arguments else Path(tempfile.mkdtemp())
    records = int(arguments[1]) if len(arguments) > 1 else RECORDS
    layout = Layout(root / "dataset")
    if not (layout.forged / "manifest.json").is_file():
        # In a process of its own: a child's peak counts from what its parent held.
        list(processes(1)(partial(_make, layout), [records]))
    with loopback(root / "hub") as hub:
        environment = os.environ | hub.environment()
        folder = str(layout.root)
        steps = {
            "release": ["release", folder, "--version", "1.0.0", "-j", str(WORKERS)],
            "publish": ["publish", folder, "--version", "1.0.0", "--repo", "curator/faces"],
        }
        for name, arguments_of in steps.items():
            if name == "release" and (layout.root / "releases" / "1.0.0").exists():
                continue
            seconds, peak = _measured([sys.executable, "-m", "mmtt", *arguments_of], environment)
            print(f"{name:8} {seconds:7.1f} s, its largest process held {peak:.2f} GiB", flush=True)
    size = sum(path.stat().st_size for path in (layout.root / "releases" / "1.0.0").rglob("*") if path.is_file())
    print(f"{records:,} records of {SIZE_PX} px, {size / 2**30:.2f} GiB")


def _make(layout: Layout, records: int) -> None:
    gates = {"sample": 200, "gates": GATES}
    write_rows(layout, records, np.random.default_rng(0), SIZE_PX, buckets=BUCKETS, audit=gates)
    answered(layout.root, repository="curator/faces")


def _measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[2:4])} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
