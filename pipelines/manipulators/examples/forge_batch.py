"""A program for MMTT's `command`: copy it into your checkout and put your model where `forge` is (see COMMAND.md)."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def forge(target: np.ndarray, item: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return what replaces the target (RGB uint8 H×W×3), and where: alpha, uint8 H×W. Chance comes from the seed."""
    height, width = target.shape[:2]
    alpha = np.zeros((height, width), np.uint8)
    alpha[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = 255
    return np.roll(target, np.random.default_rng(item["seed"]).integers(8, 32), axis=1), alpha


if __name__ == "__main__":  # MMTT calls: python forge_batch.py PATH/job.json
    folder = Path(sys.argv[1]).parent  # every path in job.json starts here
    # Load your model here, once for the whole batch.
    for item in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["items"]:
        image, alpha = forge(np.asarray(Image.open(folder / item["target"])), item)
        Image.fromarray(image).save(folder / item["output"])
        Image.fromarray(alpha).save(folder / item["alpha"])
