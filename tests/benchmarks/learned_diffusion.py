"""What the diffusion manipulators cost beyond the pipeline itself, and what a real-size U-Net does on a GPU.

Each ratio is the median of pairs measured one after the other, so that a machine whose speed drifts does not spoil it.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmtt.contract import Case, job, plan_case
from mmtt.devices import DEVICE
from mmtt.faces import Face, align
from mmtt.manipulator import Job
from mmtt.weights import FOLDER
from pipelines import manipulators
from pipelines.manipulators import diffusion_pipes
from tests.factories import drawn
from tests.support import tiny_diffusion

PAIRS, JOBS, STEPS, SIZE_PX = 5, 2, 2, 256
# Public configuration of the U-Net of stable-diffusion-inpainting (860 million parameters).
REAL: dict[str, Any] = {
    "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "norm_num_groups": 32,
    "attention_head_dim": 8, "cross_attention_dim": 768,
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
}  # fmt: skip


def main() -> None:
    """Measure both manipulators on this machine's CPU, then a GPU if there is one."""
    before = {name: os.environ.get(name) for name in (FOLDER, DEVICE)}
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {FOLDER: folder, DEVICE: "cpu"}
            tiny_diffusion.write_inpaint(Path(folder), **tiny_diffusion.HEAVY)
            tiny_diffusion.write_edit(Path(folder), **tiny_diffusion.HEAVY)
            print(f"\ndiffusion         CPU s for {JOBS} pictures   ours over the bare pipeline, median (min to max)")
            overhead("diffusion_inpaint", tiny_diffusion.INPAINT, calls=1)
            overhead("diffusion_edit", tiny_diffusion.EDIT, calls=2)
        os.environ[DEVICE] = "auto"
        accelerator()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def overhead(name: str, model: str, calls: int) -> None:
    """Print what a manipulator takes over its bare pipeline; `calls` is how often it asks for each picture."""
    options = {"model": model, "weights_licence": "CreativeML-OpenRAIL-M", "steps": STEPS}
    made = manipulators.make(name, options, name)
    jobs = [_job(made, seed) for seed in range(JOBS)]
    asked, pictures = [], diffusion_pipes._asked  # what ours puts to the pipeline, put to it bare
    diffusion_pipes._asked = lambda pipe, asks, told: (asked.append((pipe, asks, told)), pictures(pipe, asks, told))[1]
    made.render(jobs)
    diffusion_pipes._asked = pictures
    assert len(asked) == JOBS * calls
    ratios, cost = [], []
    for _ in range(PAIRS):
        ours, bare = busy(lambda: made.render(jobs)), busy(lambda: [_bare(*call) for call in asked])
        ratios.append(ours / bare)
        cost.append(bare)
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    print(f"{name:<20}  {statistics.median(cost):>17.2f}   {spread}")


def _job(made: Any, seed: int) -> Job:
    person = drawn(seed)
    face = Face(person.landmarks, "openpose_70", "drawn")
    crop, matrix = align(person.image, face, "ffhq_512", SIZE_PX)
    case = Case(crop, face.moved(matrix), crop, face.moved(matrix), seed)
    return job(made, case, plan_case(made, case))


def _bare(pipe: Any, asks: Any, told: dict[str, Any]) -> None:
    """The pipeline called as its documentation does, with one thread as ours."""
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    (ask,) = asks
    masked = {} if ask.mask is None else {
        "mask_image": Image.fromarray(ask.mask), "height": len(ask.image), "width": len(ask.image),
    }  # fmt: skip
    generator = torch.Generator("cpu").manual_seed(ask.seed)
    pipe(
        prompt=ask.prompt, negative_prompt=ask.negative_prompt, image=Image.fromarray(ask.image), generator=generator,
        **masked, **told,
    )  # fmt: skip


def accelerator(pictures: int = 8, steps: int = 30, batch_size: int = 4) -> None:
    """Print images a second and memory of a real-size inpainting U-Net with made-up weights, if there is a GPU."""
    import torch

    if not torch.cuda.is_available():
        print("\nno GPU here: a real-size U-Net was not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        tiny_diffusion.write_inpaint(Path(folder), tiny_diffusion.REAL_VAE, **REAL)
        for size, deterministic in ((1, True), (batch_size, False)):
            _on_gpu(pictures, steps, size, deterministic)


def _on_gpu(pictures: int, steps: int, batch_size: int, deterministic: bool) -> None:
    import torch

    options = {
        "model": tiny_diffusion.INPAINT, "weights_licence": "CreativeML-OpenRAIL-M", "precision": "float16",
        "steps": steps, "size_px": 512, "batch_size": batch_size, "deterministic": deterministic,
    }  # fmt: skip
    made = manipulators.make("diffusion_inpaint", options, "bench")
    jobs = [_job(made, seed % 4) for seed in range(pictures)]
    first = made.render(jobs[:batch_size])
    torch.cuda.reset_peak_memory_stats()
    took = seconds(lambda: made.render(jobs))
    gib = torch.cuda.max_memory_allocated() / 2**30
    same = np.array_equal(first[0].image, made.render(jobs[:batch_size])[0].image)
    name = torch.cuda.get_device_name()
    print(
        f"{name}: {pictures / took:.2f} images/s at 512 px, {steps} steps, float16, batch_size {batch_size}, "
        f"deterministic {deterministic}; peak {gib:.1f} GiB; the same bytes again: {same}"
    )


def busy(function: Callable[[], Any]) -> float:
    """Seconds of the processor that one call takes; both sides run in one thread, whatever else the machine does."""
    began = time.process_time()
    function()
    return time.process_time() - began


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
