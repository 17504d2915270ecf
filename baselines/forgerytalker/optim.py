"""Optimisation: the schedule as a function of the step, AdamW in two groups, and an average of the weights.

AdamW: Loshchilov and Hutter, arXiv 1711.05101. Cosine: arXiv 1608.03983, without restarts.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .config import StageConfig

BETAS = (0.9, 0.999)


def learning_rate(step: int, steps: int, plan: StageConfig) -> float:
    """Return the learning rate of a step, 0 ≤ step < steps: linear up to `lr`, then half a cosine down to `min_lr`.

    The warm-up takes a quarter of the steps at most: on a small dataset it would never end.
    """
    warmup = min(plan.warmup_steps, steps // 4)
    if step < warmup:
        return plan.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return plan.min_lr + (plan.lr - plan.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(named: Mapping[str, nn.Parameter], plan: StageConfig) -> torch.optim.AdamW:
    """Return AdamW over the parameters that learn; biases, norms and whatever else is 1-d do not decay."""
    decayed = [p for p in named.values() if p.requires_grad and p.ndim > 1]
    plain = [p for p in named.values() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.lr, betas=BETAS)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group that learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """An exponential moving average of the weights that learn, kept in float32, sharded as they are."""

    def __init__(self, named: Mapping[str, nn.Parameter], decay: float) -> None:
        self._decay = decay
        self._learning = {name: p for name, p in named.items() if p.requires_grad}
        self.values: dict[str, Tensor] = {name: p.detach().float().clone() for name, p in self._learning.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average a step towards the present weights."""
        for name, value in self.values.items():
            value.lerp_(self._learning[name].float(), 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Lend the average to the model, and give it its own weights back in the end, bit for bit."""
        own = {name: p.detach().clone() for name, p in self._learning.items()}
        self._assign(self.values)
        try:
            yield
        finally:
            self._assign(own)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._learning.items():
            parameter.copy_(values[name])
