"""Where diffusion computes, and what is said when that fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmtt import devices
from mmtt.errors import MissingDependency, UserError

# How torch words what no picture is to blame for: memory, and a GPU that went away.
_OF_THE_MACHINE = re.compile(
    r"out of memory|can't allocate memory|(CUDA|HIP|cuDNN|NCCL) error|CUBLAS_STATUS|CUDNN_STATUS|device-side assert"
)
_INSTALL = "pip install 'mmtt[diffusion]'"


def device() -> str:
    """Return where to compute, `cpu` or `cuda`, as `mmtt.devices.device`.

    Raises:
        UserError: an unknown word, or a GPU is asked for that is not there. MissingDependency: no torch.
    """
    try:
        return devices.device()
    except ImportError as error:
        raise missing(error) from error


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
            hint = "Choose a smaller size_px or batch_size, precision float16, fewer --workers, or another MMTT_DEVICE"
            raise UserError(f"Diffusion on {where} fails: {error}. {hint}; finished shards stay.") from error
        raise
