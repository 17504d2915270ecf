"""Devices: where learned models compute (`MMTT_DEVICE`: `auto`, `cpu`, `cuda`), and how they repeat themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmtt.errors import UserError, did_you_mean

DEVICE = "MMTT_DEVICE"
DEVICES = ("auto", "cpu", "cuda")


def device() -> str:
    """Return where to compute, `cpu` or `cuda`: what MMTT_DEVICE says, by default a GPU where there is one.

    Raises:
        UserError: an unknown word, or a GPU is asked for that is not there. ImportError: no torch.
    """
    asked = os.environ.get(DEVICE) or "auto"
    if asked not in DEVICES:
        raise UserError(f"{DEVICE} is '{asked}'.{did_you_mean(asked, DEVICES)}")
    if asked == "cpu":
        return asked
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{DEVICE} is cuda, but torch {torch.__version__} sees no GPU here.")
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def steady(exact_gpu: bool, *, warn_only: bool = False) -> Iterator[None]:
    """One thread, so that the number of workers has no say; with `exact_gpu`, algorithms that repeat themselves.

    `warn_only` lets an operation run for which the GPU has no such algorithm.
    """
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    if exact_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
