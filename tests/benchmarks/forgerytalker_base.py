"""`base` at its real size with random weights: what it costs on paper, and on an accelerator where there is one.

On paper: parameters and operations are counted on torch's meta device, which computes nothing. The floor is operations
over the peak of the device, or bytes over its bandwidth where those take longer. Measured: stage 2 (forward, backward,
step) and generation; compiled in a process of its own, so that a slow compilation costs no more than its time limit.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.forgerytalker.batch import Batch
from baselines.forgerytalker.config import Config, load
from baselines.forgerytalker.model import ForgeryTalker, build, select_parts
from baselines.forgerytalker.optim import make_optimizer
from baselines.forgerytalker.tokens import Tokens
from mmtt.regions import REGIONS

# InstructBLIP with Flan-T5-XL, as its public config.json has it, but for the T5's own output layer, 66 M more.
REAL: dict[str, Any] = {
    "vision": {
        "hidden_size": 1408, "intermediate_size": 6144, "num_hidden_layers": 39, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14,
    },
    "qformer": {
        "vocab_size": 30523, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "cross_attention_frequency": 2, "encoder_hidden_size": 1408,
    },
    "language": {
        "vocab_size": 32128, "d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_layers": 24, "num_decoder_layers": 24,
        "num_heads": 32, "feed_forward_proj": "gated-gelu",
    },
}  # fmt: skip
# Dense bf16 FLOP/s and bytes/s of main memory, as NVIDIA's data sheets state them; by what torch calls the device.
PEAKS = {
    "H100 PCIe": (756e12, 2.0e12), "H100 NVL": (835e12, 3.9e12), "H100": (989e12, 3.35e12),
    "H200": (989e12, 4.8e12), "A100": (312e12, 2.0e12),
}  # fmt: skip
ON_PAPER = "H100"
PROMPT_TOKENS, REPORT_TOKENS = 40, 64
WARM, STEPS, PICTURES = 3, 6, 8
LIMIT_S = {"eager": 150, "compiled": 270}


class Part(NamedTuple):
    """What one part costs: parameters, those that learn in stage 2, and operations a sample, forth and back."""

    name: str
    parameters: int
    learning: int
    forward: float
    backward: float


def main(arguments: list[str] | None = None) -> None:
    """Print the costs on paper; then measure on a CUDA device, or say that there is none."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mode", choices=LIMIT_S, help="Measure only, in this process.")
    mode = parser.parse_args(arguments or []).mode
    if mode:
        measure(base_config(), torch.device("cuda"), compiled=mode == "compiled")
        return
    print_paper(on_paper(base_config()), base_config())
    if not torch.cuda.is_available():
        print("\nForgeryTalker base: no CUDA accelerator here, so nothing was measured; the above is worked out.")
        return
    for mode, limit in LIMIT_S.items():
        command = [sys.executable, "-m", "tests.benchmarks.forgerytalker_base", "--mode", mode]
        try:
            subprocess.run(command, check=False, timeout=limit)
        except subprocess.TimeoutExpired:
            print(f"{mode}: stopped after {limit} s")


def base_config() -> Config:
    """Return `base` with the sizes of its pretrained weights in place of these."""
    plain = load("base").model_dump()
    return Config.model_validate(plain | {"model": {**plain["model"], **REAL, "pretrained": None}})


def some_tokens() -> Tokens:
    """Return small tokenizers: embeddings have their real size all the same, and cost no operations."""
    return Tokens.trained([report()], 400)


def report() -> str:
    """Return an English text of about `REPORT_TOKENS` tokens of the tokenizers that learnt it."""
    said = "The skin of the left cheek is smoother than that of the right one, and a seam runs along the jaw. "
    return (said * (REPORT_TOKENS // 24 + 1)).strip()


def on_paper(config: Config) -> list[Part]:
    """Count parameters and operations of stage 2 for one sample, part by part, on the meta device."""
    tokens = some_tokens()
    with torch.device("meta"):
        model = build(config, tokens)
        select_parts(model, config.training.stage2.train)
        runs, modules = _runs(model), _modules(model)
        counted = {name: _operations(run) for name, run in runs.items()}
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    found = []
    for name, parameters in modules.items():
        learns = sum(p.numel() for p in parameters if id(p) in learning)
        found.append(Part(name, sum(p.numel() for p in parameters), learns, *counted[name]))
    return found


def _modules(model: ForgeryTalker) -> dict[str, list[nn.Parameter]]:
    of = model.parts()
    return {
        "prompter": of["prompter"],
        "vision encoder": of["vision"] + of["vision_norm"],
        "Q-Former": of["qformer"] + of["queries"],
        "language model": of["language"],
        "mask decoder": of["mask_decoder"],
        "heads of stage 1": of["heads"],
    }


def _runs(model: ForgeryTalker) -> dict[str, Callable[[], Tensor]]:
    """Return for each part a run of one sample, as stage 2 makes it."""
    blip, size = model.blip, model.size_px
    side = size // blip.config.vision_config.patch_size
    vision, language = blip.config.vision_config.hidden_size, blip.config.text_config.hidden_size
    queries = blip.query_tokens.shape[1]
    pixels = torch.empty(1, 3, size, size)
    # As the parts before leave them: the vision encoder ends in a norm that learns, the projection learns.
    image = torch.empty(1, 1 + side**2, vision, requires_grad=True)
    read = torch.empty(1, queries + PROMPT_TOKENS, language, requires_grad=True)
    asked = torch.ones(1, PROMPT_TOKENS, dtype=torch.long)
    told = torch.ones(1, REPORT_TOKENS, dtype=torch.long)
    used = torch.ones(1, len(REGIONS), dtype=torch.bool)

    def suspect() -> Tensor:
        with torch.no_grad():
            return model.prompter(pixels).logits_BR

    def ask() -> Tensor:  # without masks of what counts: their values would be looked at
        found = blip.qformer(input_ids=asked, query_embeds=blip.query_tokens, encoder_hidden_states=image)
        return blip.language_projection(found.last_hidden_state[:, :queries])

    def decode() -> Tensor:
        patches = image[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        named = torch.empty(len(REGIONS), language)
        return model.mask_decoder(patches, named, used, size)

    return {
        "prompter": suspect,
        "vision encoder": lambda: blip.vision_model(pixel_values=pixels).last_hidden_state,
        "Q-Former": ask,
        "language model": lambda: blip.language_model(inputs_embeds=read, decoder_input_ids=told).logits,
        "mask decoder": decode,
        "heads of stage 1": lambda: torch.zeros(1),
    }


def _operations(run: Callable[[], Tensor]) -> tuple[float, float]:
    """Return floating-point operations of a run, and of the way back through it to whatever learns."""
    with FlopCounterMode(display=False) as forth:
        out = run()
    if not out.requires_grad:
        return forth.get_total_flops(), 0.0
    with FlopCounterMode(display=False) as back:
        out.sum().backward()
    return forth.get_total_flops(), back.get_total_flops()


def print_paper(parts: list[Part], config: Config) -> None:
    """Print parameters, operations, bytes and the floors that follow from them."""
    peak, bandwidth = PEAKS[ON_PAPER]
    print("\nForgeryTalker base, on paper   parameters   learning in stage 2   forward     backward   (GFLOP a sample)")
    total = Part("all", *(sum(column) for column in list(zip(*parts, strict=True))[1:]))
    for part in (*parts, total):
        print(
            f"  {part.name:28} {part.parameters / 1e6:8.0f} M {part.learning / 1e6:15.0f} M "
            f"{part.forward / 1e9:14.0f} {part.backward / 1e9:12.0f}"
        )
    suspecting = parts[0]
    for stage, learning in (("prompter", suspecting.parameters), ("stage 2", total.learning)):
        held = [4e-9 * total.parameters, 4e-9 * learning, 8e-9 * learning]
        print(f"  {stage:8}: float32 weights, gradients, AdamW {' + '.join(f'{gb:.1f}' for gb in held)} GB", end="")
        print(f" = {sum(held):.1f} GB, and activations")
    kept = config.training.stage2.batch * kept_per_sample(config) / 1e9
    print(f"  stage 2 keeps about {kept:.1f} GB of activations, with gradient checkpointing and all samples at once")
    for stage, work in (("prompter", 3 * suspecting.forward), ("stage 2", total.forward + total.backward)):
        print(f"  floor of {stage} on an {ON_PAPER}, {peak / 1e12:.0f} TFLOP/s dense bf16: {peak / work:.0f} samples/s")
    told = 2 * read_per_token(REAL["language"]) / bandwidth
    print(f"  floor of a generated token, {bandwidth / 1e12:.2f} TB/s, bf16 weights: {told * 1e3:.2f} ms, any batch")


def kept_per_sample(config: Config) -> int:
    """Return bytes that stage 2 keeps for the way back: inputs of the blocks that it goes through, and the logits."""
    language, qformer = config.model.language, config.model.qformer
    asked = config.model.query_tokens + PROMPT_TOKENS
    inputs = language["d_model"] * (language["num_layers"] * asked + language["num_decoder_layers"] * REPORT_TOKENS)
    inputs += qformer["hidden_size"] * qformer["num_hidden_layers"] * asked
    return 4 * (inputs + 3 * REPORT_TOKENS * language["vocab_size"])  # logits, their softmax, their gradient


def read_per_token(sizes: dict[str, Any]) -> int:
    """Return how many weights of the T5 are read for each token it writes: keys and values of its input are kept."""
    attention, mlp = sizes["d_model"] * sizes["num_heads"] * sizes["d_kv"], sizes["d_model"] * sizes["d_ff"]
    return sizes["num_decoder_layers"] * (6 * attention + 3 * mlp) + sizes["vocab_size"] * sizes["d_model"]


def measure(config: Config, device: torch.device, *, compiled: bool) -> None:
    """Train stage 2 for some steps and generate, with random weights and pictures; print what it took."""
    tokens, batch_size = some_tokens(), config.training.stage2.batch
    with device:
        model = build(config, tokens)
    select_parts(model, config.training.stage2.train)
    if config.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if compiled:
        model.compile()
    batch = _batch(config, batch_size).to(device)
    optimizer = make_optimizer(dict(model.named_parameters()), config.training.stage2)
    operations = sum(part.forward + part.backward for part in on_paper(config))
    seconds = _timed(lambda: _step(model, optimizer, batch, config, device), device)
    _tell("stage 2", compiled, batch_size, seconds, device, operations)
    if not compiled:
        pixels = batch.pixels_BCHW[:PICTURES]
        with torch.autocast(device.type, torch.bfloat16):
            seconds = _timed(lambda: model.predict(pixels, config.generation), device, steps=1)
        _tell(f"generation, {config.generation.beams} beams", compiled, len(pixels), seconds, device, None)


def _batch(config: Config, size: int) -> Batch:
    rng = torch.Generator().manual_seed(0)
    side = config.data.size_px
    return Batch(
        keys=tuple((f"{number:024x}", "master") for number in range(size)),
        pixels_BCHW=torch.randn(size, 3, side, side, generator=rng),
        mask_BHW=(torch.rand(size, side, side, generator=rng) > 0.8).float(),
        regions_BR=(torch.rand(size, len(REGIONS), generator=rng) > 0.8).float(),
        manipulated_B=torch.ones(size),
        reports=(report(),) * size,
        weight_B=torch.ones(size),
    )


def _step(model: ForgeryTalker, optimizer: torch.optim.Optimizer, batch: Batch, config: Config, device: Any) -> None:
    plan = config.training.stage2
    optimizer.zero_grad()
    with torch.autocast(device.type, torch.bfloat16):
        losses = model(batch, "stage2", plan.regions)
    torch.stack([plan.loss[name] * losses[name].float().mean() for name in plan.loss]).sum().backward()
    optimizer.step()


def _timed(run: Callable[[], Any], device: torch.device, steps: int = STEPS) -> float:
    """Return the median seconds of a run, after some to warm up."""
    taken = []
    for number in range(min(WARM, steps) + steps):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        if number >= min(WARM, steps):
            taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tell(
    what: str, compiled: bool, samples: int, seconds: float, device: torch.device, operations: float | None
) -> None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    memory = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    known = [peak for kind, (peak, _) in PEAKS.items() if kind in name]
    share = ""
    if operations is not None:
        reached = operations * samples / seconds
        share = f", {reached / known[0]:.0%} of peak" if known else f", {reached / 1e12:.1f} TFLOP/s (peak unknown)"
    mode = "compiled" if compiled else "eager"
    print(f"{name}: {what}, {mode}: {samples / seconds:.2f} samples/s, peak memory {memory:.1f} GB{share}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
