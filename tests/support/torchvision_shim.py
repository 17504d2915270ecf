"""Makes a torchvision whose compiled part does not load (a CUDA wheel on a machine without CUDA) importable.

facexlib and transformers import torchvision for a few Python-only parts. Where the wheel fits the machine
this does nothing. It belongs to the tests: on a user's machine the right wheel is the answer.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from typing import Any


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for the first import of torchvision, so that a process that needs no torch does not pay for it."""

    busy = False

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "torchvision" or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec("torchvision")
            if spec is not None:
                _mend()
                module = sys.modules.get("torchvision")
                return None if module is None else importlib.util.spec_from_loader(name, _Ready(module))
            return None
        finally:
            self.busy = False


class _Ready(importlib.abc.Loader):
    def __init__(self, module: Any) -> None:
        self.module = module

    def create_module(self, spec: Any) -> Any:
        return self.module

    def exec_module(self, module: Any) -> None:
        pass


def _mend() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "nms" not in str(error):
            raise
        for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
            del sys.modules[name]
        _define_operators()
        importlib.import_module("torchvision")
        extension = importlib.import_module("torchvision.extension")
        extension._has_ops = lambda: True  # type: ignore[attr-defined]


def _define_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    sys.modules[__name__].__dict__["_kept"] = library  # the operators vanish with it


def _nms(boxes: Any, scores: Any, threshold: float) -> Any:
    """Greedy non-maximum suppression; boxes N×4 left top right bottom."""
    import torch

    order, kept = scores.argsort(descending=True).tolist(), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order:
        first = order.pop(0)
        kept.append(first)
        rest = torch.tensor(order, dtype=torch.long)
        low, high = torch.maximum(boxes[first, :2], boxes[rest, :2]), torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        overlap = shared / (areas[first] + areas[rest] - shared)
        order = [i for i, o in zip(order, overlap.tolist(), strict=True) if o <= threshold]
    return torch.tensor(kept, dtype=torch.long)


def install() -> None:
    """Watch for torchvision in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
