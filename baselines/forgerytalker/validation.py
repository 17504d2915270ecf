"""Validation: what the weights that would predict make of samples that nothing was learnt from.

Legend: B samples, K losses, N pixels.
"""

from contextlib import nullcontext

import torch
from torch import Tensor

from .batch import Batch
from .config import GenerationConfig
from .data import Data
from .learner import Job, Learner, Objective
from .model import ForgeryTalker

# The mask is wanted; of the report one token is written, and thrown away.
_NO_REPORT = GenerationConfig(beams=1, max_tokens=1, min_tokens=0)


@torch.no_grad()
def validate(job: Job, learner: Learner, data: Data) -> dict[str, float]:
    """Return mean losses over a split, and where a mask is learnt its mean IoU as `mask_iou`, on every rank alike."""
    ranks, plan, localizes = job.ranks, job.plan, "mask" in job.active
    objective = Objective(learner.model, job).eval()
    # Losses first, then IoUs and samples, so that the ranks add up once.
    sums = torch.zeros(len(job.active) + 2, dtype=torch.float64, device=ranks.device)
    size = max(1, plan.batch // plan.accumulate // ranks.world) * ranks.world
    with learner.average.in_place() if learner.average else nullcontext():
        for batch in job.batches(data, size):
            part = batch.to(ranks.device)
            _, losses_KB = objective(part, 1.0)
            with job.autocast():
                ious_B = ious(learner.model, part) if localizes else torch.zeros_like(part.weight_B)
            sums += torch.stack([*losses_KB.sum(1), (ious_B * part.weight_B).sum(), part.weight_B.sum()])
    learner.model.train()
    *losses, iou, count = ranks.total(sums).tolist()
    found = {name: loss / count for name, loss in zip(job.active, losses, strict=True)}
    return found | ({"mask_iou": iou / count} if localizes else {})


def ious(model: ForgeryTalker, batch: Batch) -> Tensor:
    """Return the IoU of each mask at 0.5, as the model predicts it from the picture alone: B; 1 if both are empty."""
    said_BN = model.predict(batch.pixels_BCHW, _NO_REPORT).mask_BHW.flatten(1) > 0.5
    true_BN = batch.mask_BHW.flatten(1) > 0.5
    union_B = (said_BN | true_BN).sum(1)
    return torch.where(union_B > 0, (said_BN & true_BN).sum(1) / union_B.clamp(min=1), 1.0)
