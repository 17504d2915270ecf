"""Batch: what the model is given at once.

Legend: B samples, C = 3 colours, H = W = `data.size_px`, R = 21 regions (`mmtt.regions.REGIONS`).
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B samples. Every tensor lies on the same device.

    keys: record and variant. pixels_BCHW: float32, normalised as CLIP's. mask_BHW: float32 {0, 1}, 1 where altered.
    regions_BR: float32 {0, 1}, 1 for each region to talk about. manipulated_B: float32 {0, 1}, 0 if pristine.
    reports: the text to learn; empty where there is none, and then nothing is learnt from it.
    weight_B: float32; 1, or 0 for a sample that only fills a batch up, so that every rank takes as many steps.
    """

    keys: tuple[tuple[str, str], ...]
    pixels_BCHW: Tensor
    mask_BHW: Tensor
    regions_BR: Tensor
    manipulated_B: Tensor
    reports: tuple[str, ...]
    weight_B: Tensor

    def to(self, device: torch.device | str) -> Self:
        """Return the same batch with its tensors on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: v.to(device, non_blocking=True) for name, v in moved.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def pin_memory(self) -> Self:
        """Return the same batch in page-locked memory, from which it reaches a GPU while that computes."""
        pinned = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: v.pin_memory() for name, v in pinned.items() if isinstance(v, Tensor)})

    def __len__(self) -> int:
        return len(self.keys)
