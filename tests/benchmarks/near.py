"""What the search for near hashes costs: uniform ones, and ones as uneven and tied together as those of drawn faces.

Made-up faces have the bits of one drawn face here and of another there, so that each bit is set as often as among the
drawn, and the pairs within 6 bits grow with the square of their number, which no search can help. Goal: ten times the
hashes cost at most twelve times as much, in the same memory.
"""

import time
import tracemalloc
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmtt.images import perceptual_hash
from pipelines.drawing import draw_person
from pipelines.near import Hashes, near_hashes

SIZES = (10_000, 100_000)
BITS, TWINS = 6, 100
FACES, FACE_PX = 200, 128


def main(sizes: Sequence[int] = SIZES) -> None:
    """Measure and print."""
    print(f"\npairs of 64-bit hashes within {BITS} bits, {TWINS} twins planted, one thread")
    print("  hashes   kind        seconds    pairs   peak MB")
    faces = face_hashes()
    for kind in ("uniform", "drawn faces"):
        for count in sizes:
            rng = np.random.default_rng(count)
            hashes = uniform(rng, count) if kind == "uniform" else mixed(rng, faces, count)
            hashes[:TWINS] = hashes[TWINS : 2 * TWINS] ^ np.uint64(0b10101)
            seconds = min(timed(hashes)[0] for _ in range(3))
            tracemalloc.start()
            pairs = timed(hashes)[1]
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            print(f"{count:8,}   {kind:12} {seconds:6.2f} {pairs:8,} {peak:9.0f}", flush=True)


def timed(hashes: Hashes) -> tuple[float, int]:
    """Return the seconds that a search takes, and how many pairs it finds."""
    began = time.perf_counter()
    pairs = sum(len(block.first) for block in near_hashes(hashes, BITS))
    return time.perf_counter() - began, pairs


def uniform(rng: np.random.Generator, count: int) -> Hashes:
    """Return hashes whose bits are all a coin's."""
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def face_hashes() -> Hashes:
    """Return the hashes of drawn people."""
    return np.array([int(perceptual_hash(draw_person(seed, FACE_PX).image), 16) for seed in range(FACES)], np.uint64)


def mixed(rng: np.random.Generator, faces: Hashes, count: int) -> Hashes:
    """Return so many hashes, each of two faces' bits, in halves that chance deals."""
    first, second = (faces[rng.integers(len(faces), size=count)] for _ in range(2))
    which: npt.NDArray[np.uint64] = uniform(rng, count)
    return np.asarray((first & which) | (second & ~which), dtype=np.uint64)


if __name__ == "__main__":
    main()
