"""What comparing every face with every other costs: products, and a graph for comparison, on made-up embeddings.

Embeddings of 512 numbers, three photos a person, spread as identity embeddings are: strangers have cosines
about 0 (deviation 0.06), photos of one person about 0.6. Quote ratios, not seconds.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pipelines.neighbours import Vectors, near_pairs

SIZES = (10_000, 20_000, 40_000, 80_000)
THRESHOLD = 0.35
DIMENSIONS, PHOTOS = 512, 3


def main(sizes: Sequence[int] = SIZES) -> None:
    """Measure and print; the graph where faiss is installed."""
    print(f"\npairs of identities above a cosine of {THRESHOLD}, one thread")
    print("  faces   products s   graph s   recall of the graph")
    for count in sizes:
        vectors = embeddings(count)
        with threadpool_limits(1):
            exact, products = timed(lambda: by_products(vectors))  # noqa: B023
            found, graph = timed(lambda: by_graph(vectors))  # noqa: B023
        told = "   no faiss" if found is None else f"{graph:10.1f}   {np.isin(exact, found).mean():.4f}"
        print(f"{count:7,}   {products:10.1f}{told}", flush=True)


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function gives, and the seconds that it took."""
    began = time.perf_counter()
    found = function()
    return found, time.perf_counter() - began


def by_products(vectors: Vectors) -> npt.NDArray[np.int64]:
    """Return the pairs as the plan finds them, each as one number."""
    return np.concatenate([b.first * len(vectors) + b.second for b in near_pairs(vectors, THRESHOLD)])


def by_graph(vectors: Vectors) -> npt.NDArray[np.int64] | None:
    """Return the pairs that a navigable small-world graph finds (usual settings, 64 neighbours), each as one number."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(DIMENSIONS, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 100, 64
    index.add(vectors)
    cosine, near = index.search(vectors, 64)
    own, place = np.nonzero(cosine >= THRESHOLD)
    other = near[own, place]
    return np.unique(np.minimum(own, other) * len(vectors) + np.maximum(own, other))


def embeddings(count: int, seed: int = 0) -> Vectors:
    """Return unit vectors, float32 N×512, whose directions have unequal variances, as learned ones have."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.25

    def directions(number: int) -> Vectors:
        drawn = rng.standard_normal((number, DIMENSIONS), dtype=np.float32) * scale
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    who = rng.integers(count // PHOTOS, size=count)
    vectors = directions(count // PHOTOS)[who] + rng.uniform(0.5, 1.1, (count, 1)).astype(np.float32) * directions(
        count
    )
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
