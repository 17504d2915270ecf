"""What `torchrun` starts in the tests of ranks: it tells which samples this rank gets, then trains.

torchrun --nproc-per-node 2 tests/baselines/rank.py KEYS_FOLDER ROOT RUN [ARGUMENT …]
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from baselines.forgerytalker.batch import Batch
from baselines.forgerytalker.distributed import Ranks
from baselines.forgerytalker.learner import Job, Means
from baselines.forgerytalker.runs import Run
from mmtt import cli


def tell_keys(folder: Path, root: Path, run: Path) -> None:
    """Write what every stage's first two epochs bring to this rank, from the call that the loop makes."""
    ranks, told = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), torch.device("cpu")), {}
    for stage in Run.open(run).stages():
        job = Job(Run.open(run), stage, root, Means(), ranks)
        data = job.data("train")
        for epoch in range(2):
            found = job.batches(data, job.plan.batch, epoch=epoch, train=True)
            told[f"{stage} {epoch}"] = [_real(batch) for batch in found]
    (folder / f"{ranks.rank}.json").write_text(json.dumps(told))


def _real(batch: Batch) -> list[str]:
    return [key[0] for key, weight in zip(batch.keys, batch.weight_B.tolist(), strict=True) if weight]


if __name__ == "__main__":
    torch.set_num_threads(1)
    keys, root, run, *more = sys.argv[1:]
    sys.argv = ["mmtt", "baseline", "train", root, run, *more]
    try:
        cli.main()
    finally:
        if Path(keys).is_dir():
            tell_keys(Path(keys), Path(root), Path(run))
