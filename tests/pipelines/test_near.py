"""The search for near hashes finds exactly what comparing every pair finds, whatever way it takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import near
from pipelines.near import collect, near_hashes


def by_brute_force(hashes, bits):
    distance = np.bitwise_count(hashes[:, None] ^ hashes)
    first, second = np.nonzero(np.triu(distance <= bits, 1))
    return first.tolist(), second.tolist(), distance[first, second].tolist()


def found(hashes, bits):
    return tuple(column.tolist() for column in collect(near_hashes(hashes, bits)))


def clustered(rng, count, flips):
    """Hashes around a few centres, in which some bits are nearly always the same, as those of aligned faces are."""
    centres = rng.integers(0, 2**64, 5, dtype=np.uint64) | np.uint64(0xFFFF00000000)
    noise = (rng.random((count, 64)) < flips / 64) @ (np.uint64(1) << np.arange(64, dtype=np.uint64))
    return centres[rng.integers(len(centres), size=count)] ^ noise.astype(np.uint64)


@pytest.fixture(params=[near._PLAIN_COST, 1e9, 0.0], ids=["as estimated", "by keys", "by all pairs"])
def way(request, monkeypatch):
    """Make the search take one way or the other, whatever it would cost."""
    monkeypatch.setattr(near, "_PLAIN_COST", request.param)


@pytest.mark.parametrize("bits", [0, 1, 3, 6, 9, 12])
@pytest.mark.parametrize("kind", ["uniform", "clustered", "equal"])
@pytest.mark.usefixtures("way")
def test_it_finds_what_brute_force_finds(bits, kind):
    rng = np.random.default_rng(bits)
    hashes = {
        "uniform": rng.integers(0, 2**64, 300, dtype=np.uint64),
        "clustered": clustered(rng, 300, 4),
        "equal": np.repeat(rng.integers(0, 2**64, 3, dtype=np.uint64), 90),
    }[kind]
    assert found(hashes, bits) == by_brute_force(hashes, bits)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(0, 120), st.floats(0, 20))
def test_it_is_exact_on_any_hashes(seed, bits, count, flips):
    hashes = clustered(np.random.default_rng(seed), count, flips)
    assert found(hashes, bits) == by_brute_force(hashes, bits)


def test_many_uniform_hashes_are_not_compared_pair_by_pair(monkeypatch):
    """Twins planted among them are found, though far fewer pairs are looked at than there are."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    hashes[:40] = hashes[40:80] ^ np.uint64(0b101001)
    looked = []
    close = near._close
    monkeypatch.setattr(near, "_close", lambda *args: looked.append(np.broadcast(*args[1:3]).size) or close(*args))
    pairs = collect(near_hashes(hashes, 6))
    assert pairs.first.tolist() == list(range(40)) and pairs.second.tolist() == list(range(40, 80))
    assert set(pairs.distance.tolist()) == {3}
    assert sum(looked) < 0.01 * len(hashes) ** 2 / 2


def test_blocks_stay_small_where_all_hashes_are_one(monkeypatch):
    monkeypatch.setattr(near, "BLOCK_PAIRS", 1 << 10)
    monkeypatch.setattr(near, "_LEAST_BLOCK", 1 << 9)
    hashes = np.zeros(400, np.uint64)
    blocks = [len(block.first) for block in near_hashes(hashes, 6)]
    assert sum(blocks) == 400 * 399 // 2
    assert max(blocks) <= (1 << 10) + (1 << 9)
