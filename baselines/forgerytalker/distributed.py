"""Ranks: one process a GPU, as `torchrun` starts them; or one process alone.

Every rank reads the same RUN folder (one machine, or a shared file system), and only rank 0 writes into it.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mmtt import devices
from mmtt.errors import UserError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the others: its rank, how many there are, and the device that it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, on every rank."""
        summed = tensor.detach().clone()
        if self.world > 1:
            dist.all_reduce(summed)
        return summed

    def everybodys(self, items: Sequence[Any]) -> list[Any]:
        """Return the items of all ranks, rank by rank, on every rank."""
        if self.world == 1:
            return list(items)
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, list(items))
        return [item for part in found for item in part]

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the ranks that `torchrun` started (its environment variables say so), or be alone.

    Raises:
        UserError: an unknown device, or more ranks on this machine than GPUs.
    """
    kind = devices.device()
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(0, 1, torch.device(kind))
        return
    device = _own_device(kind)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", device_id=device if kind == "cuda" else None)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def _own_device(kind: str) -> torch.device:
    if kind == "cpu":
        return torch.device(kind)
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise UserError(f"Rank {local} has no GPU: there are {torch.cuda.device_count()}. Lower --nproc-per-node.")
    device = torch.device(kind, local)
    torch.cuda.set_device(device)
    return device


def shard(model: nn.Module, also: Sequence[str] = ()) -> None:
    """Shard the weights over the ranks (FSDP2): every block of a stack by itself, the rest together.

    Args:
        model: on its device.
        also: methods besides `forward` that use the weights.

    Raises:
        UserError: the process was not started by `torchrun`.
    """
    if not dist.is_initialized():
        raise UserError("--fsdp shards over the processes that torchrun starts: torchrun --nproc-per-node N -m mmtt …")
    # Some blocks return views; that matters to whoever changes one in place, and nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    for block in _blocks(model):
        fully_shard(block)
    # The root too is given back after each forward: validation puts other weights in its place.
    fully_shard(model, reshard_after_forward=True)
    for name in also:
        register_fsdp_forward_method(model, name)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of the outermost stacks."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def wrap(module: nn.Module, ranks: Ranks, sharded: bool) -> nn.Module:
    """Return what to call in the loop: gradients are averaged over the ranks by FSDP (`sharded`) or by DDP."""
    if ranks.world == 1 or sharded:
        return module
    own = [ranks.device.index] if ranks.device.type == "cuda" else None
    # Which heads a loss touches depends on the batch: one without a report leaves the language model alone.
    return DistributedDataParallel(module, device_ids=own, find_unused_parameters=True)


@contextmanager
def averaging(wrapped: nn.Module, model: nn.Module, now: bool) -> Iterator[None]:
    """Average gradients over the ranks in this backward pass, or leave that to a later one that adds up."""
    quiet: AbstractContextManager[Any] = nullcontext()
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)
    elif isinstance(wrapped, DistributedDataParallel) and not now:
        quiet = wrapped.no_sync()
    with quiet:
        yield


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the parts of all ranks, in main memory; every rank must ask."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu()


def placed_like(tensor: Tensor, model_tensor: Tensor) -> Tensor:
    """Return a whole tensor placed, and sharded, as one of the model is."""
    if isinstance(model_tensor, DTensor):
        on_device = tensor.to(model_tensor.device)
        # No rank is the source: each has read the same file and keeps its own part.
        return distribute_tensor(on_device, model_tensor.device_mesh, model_tensor.placements, src_data_rank=None)
    return tensor.to(model_tensor.device)
