"""How much memory, and how long, publishing a large release takes: to a Hub on this machine, killed once on the way.

Records are made from a few drawn people: the same pictures under many ids, stored as they are, so the bytes are those
of as many pictures. The Hub runs in this process, the publisher in another, whose peak is what is told.
Run: `python -m tests.benchmarks.publish [ROWS]` (20,000 by default; needs about twice 100 kB of disk for each row).
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mmtt import images
from mmtt.record import Record
from pipelines.publish.staged import Staged
from tests.factories import drawn, make_record
from tests.support.hub import Hub, hub
from tests.support.releases import write_release

REPO, SHARDS = "lab/large", 16
PUBLISH = """
import re, sys
from pathlib import Path
from pipelines.publish.hub import Remote
from pipelines.publish.staged import Staged
from pipelines.publish.publish import publish
publish(Staged(Path(sys.argv[1])), Remote(sys.argv[2]))
# Not `ru_maxrss`: that of a started process begins with what its parent held.
print("peak", int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


class _Rows:
    """Records of one shard, made one by one, as often as they are asked for."""

    def __init__(self, seeds: list[Record], first: int, count: int) -> None:
        self.seeds, self.first, self.count = seeds, first, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        for number in range(self.first, self.first + self.count):
            yield replace(self.seeds[number % len(self.seeds)], record_id=f"{number:024x}", split="train")


def _seeds(count: int = 20) -> list[Record]:
    pictures = [images.encode_png(drawn(seed).image) for seed in range(count)]
    return [
        make_record(seed, 256, image=picture, image_sha256=images.sha256(picture))
        for seed, picture in enumerate(pictures)
    ]


def _release(folder: Path, rows: int) -> Staged:
    seeds, each = _seeds(), rows // SHARDS
    names = [f"train-{number:05d}-of-{SHARDS:05d}" for number in range(SHARDS)]
    shards = {name: _Rows(seeds, n * each, each) for n, name in enumerate(names)}
    return Staged(write_release(folder, shards=shards, repository=REPO))


def _start(server: Hub, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISH, str(folder), REPO]
    told = {**os.environ, **server.environment(), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.Popen(command, env=told, stdout=subprocess.PIPE, text=True)


def _kill_half_way(server: Hub, folder: Path) -> int:
    lfs = server.folder / REPO.replace("/", "__") / "lfs"
    with _start(server, folder) as run:
        while not lfs.is_dir() or len(list(lfs.iterdir())) < SHARDS // 2:
            if run.poll() is not None:
                raise SystemExit("it ended before it was killed")
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
    return len(list(lfs.iterdir()))


def main(rows: int = 20_000) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, hub(Path(folder, "hub")) as server:
        staged = _release(Path(folder, "1.0.0"), rows)
        size = sum(staged.sizes.values())
        print(f"{rows} records, {SHARDS} shards, {size / 1e9:.2f} GB")
        print(f"killed with {_kill_half_way(server, staged.folder)} shards there")
        server.requests.clear()
        start = time.perf_counter()
        with _start(server, staged.folder) as run:
            output = run.communicate()[0]
        sent = sum(method == "PUT" and path.startswith("/lfs/") for method, path in server.requests)
        tree = server.repo(REPO).at("v1.0.0").tree
        same = all(tree[path].sha256 in (None, sha256) for path, sha256 in staged.sha256.items())
        peak = int(output.split()[-1])
        print(f"run again: {time.perf_counter() - start:.0f} s, {sent} shards sent, peak {peak / 2**20:.0f} MiB")
        print(f"digests on the Hub are those of the release: {same}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
