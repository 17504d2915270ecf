"""Where diffusion computes: the device that `MMTT_DEVICE` (`auto`, `cpu`, `cuda`) names, and when that fails."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmtt.errors import MissingDependency, UserError, did_you_mean

DEVICE = "MMTT_DEVICE"
DEVICES = ("auto", "cpu", "cuda")
# How torch words what no picture is to blame for: memory, and a GPU that went away.
_OF_THE_MACHINE = re.compile(
    r"out of memory|can't allocate memory|(CUDA|HIP|cuDNN|NCCL) error|CUBLAS_STATUS|CUDNN_STATUS|device-side assert"
)
_INSTALL = "pip install 'mmtt[diffusion]'"


def device() -> str:
    """Return where to compute, `cpu` or `cuda`: what MMTT_DEVICE says, by default a GPU where there is one.

    Raises:
        UserError: an unknown word, or a GPU is asked for that is not there. MissingDependency: no torch.
    """
    asked = os.environ.get(DEVICE) or "auto"
    if asked not in DEVICES:
        raise UserError(f"{DEVICE} is '{asked}'.{did_you_mean(asked, DEVICES)}")
    if asked == "cpu":
        return asked
    try:
        import torch
    except ImportError as error:
        raise missing(error) from error
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{DEVICE} is cuda, but torch {torch.__version__} sees no GPU here.")
    return "cuda" if torch.cuda.is_available() else "cpu"


def missing(reason: object) -> MissingDependency:
    """Return the error that says how to install what diffusion needs."""
    return MissingDependency(f"Diffusion needs torch, diffusers, transformers and accelerate ({reason}): {_INSTALL}.")


@contextmanager
def concerning_all(where: str) -> Iterator[None]:
    """End the run where the machine fails: the next picture would fare no better, and all would be refused."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or _OF_THE_MACHINE.search(str(error)):
            hint = f"Choose a smaller size_px or batch_size, precision float16, fewer --workers, or another {DEVICE}"
            raise UserError(f"Diffusion on {where} fails: {error}. {hint}; finished shards stay.") from error
        raise


@contextmanager
def steady(exact_gpu: bool) -> Iterator[None]:
    """One thread, so that the number of workers has no say; on a GPU, algorithms that repeat themselves."""
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    if exact_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
