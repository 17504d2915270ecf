"""What calling a program of others costs, besides what the program itself takes. Never a test.

The program is the stand-in of the tests: an interpreter, Pillow, pictures read, inverted and written.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmtt.manipulator import Job
from pipelines import manipulators
from pipelines.manipulators import foreign, programs
from tests.pipelines.shapes import random_face, random_photo
from tests.support import stand_in

REPEATS, BATCHES, FILES = 7, (1, 8), 2_000


def main() -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory() as models:
        os.environ["MMTT_MODELS"] = models
        home = stand_in.install(models)
        empty_call(home)
        for size_px in (256, 512, 1024):
            batches(size_px)
        digests(home)
        sizes()


def ms(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median wall-clock milliseconds of a call."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def empty_call(home: Path) -> None:
    """Print what the guard adds to a program that does nothing."""
    with tempfile.TemporaryDirectory() as work:
        guarded = ms(lambda: programs.call(["/bin/true"], home, Path(work), 10))
    bare = ms(lambda: subprocess.run(["/bin/true"], check=True))
    print(f"call of /bin/true: {guarded:.0f} ms guarded, {bare:.1f} ms bare")


def batches(size_px: int) -> None:
    """Print milliseconds a picture, for a batch of one and of eight."""
    options = {"program": "program", "family": "face_swap", "code_licence": "MIT", "composite": "face"}
    program, rng = manipulators.make("command", options, "benchmark"), np.random.default_rng(0)
    plan = {"regions": ["skin"], "parameters": {}}
    jobs = [
        Job(random_photo(rng, size_px), random_face(rng, size_px), None, None, plan, np.random.default_rng(seed))
        for seed in range(max(BATCHES))
    ]
    told = [f"{ms(lambda n=n: program.render(jobs[:n])) / n:.0f} in a batch of {n}" for n in BATCHES]
    print(f"{size_px:5d} px: ms a picture {', '.join(told)}")


def digests(home: Path) -> None:
    """Print what the digest of a checkout costs, read and remembered."""
    for number in range(FILES):
        (home / "src" / f"{number}.py").write_text(f"{number}\n" * 500, encoding="utf-8")
    first = ms(lambda: programs.code_sha256(home), 1)
    print(
        f"digest of {FILES:,} files: {first:.0f} ms at first, {ms(lambda: programs.code_sha256(home)):.0f} ms unchanged"
    )


def sizes() -> None:
    """Print what enlarging a 512 px crop to 1024 px and bringing the answer back costs."""
    target = random_photo(np.random.default_rng(0), 512)
    sent = foreign.handed(target, 1024)
    there, back = ms(lambda: foreign.handed(target, 1024)), ms(lambda: foreign.returned(255 - sent, sent, target))
    print(f"512 px to 1024 px: {there:.0f} ms there, {back:.0f} ms back")


if __name__ == "__main__":
    main()
