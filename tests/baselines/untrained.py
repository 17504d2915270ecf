"""Runs without training: random weights in the true format, on a dataset of drawn people with made-up reports."""

from pathlib import Path
from typing import Any

from baselines.forgerytalker import checkpoint, runs
from baselines.forgerytalker.config import Config, load
from baselines.forgerytalker.model import build
from baselines.forgerytalker.tokens import tokens_for
from mmtt.reports import Report
from mmtt.samples import digest_of, read_samples
from mmtt.shards import write_table
from tests.factories import build as build_dataset
from tests.factories import tiny_dataset

SMALL = {
    "data": {"size_px": 32, "cache_px": None, "report_tokens": 32},
    "model": {
        "vision": {
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        },
        "qformer": {
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "cross_attention_frequency": 1, "encoder_hidden_size": 16,
        },
        "language": {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2},
        "query_tokens": 2,
        "vocabulary": 300,
        "prompter": {"patch_px": 8, "hidden": 16, "layers": 1, "heads": 2, "mlp": 32, "conv_branches": 1,
                     "conv_channels": 4},
        "mask_decoder": {"hidden": 16, "layers": 1, "heads": 2, "mlp": 32, "up": 2},
    },
    "generation": {"beams": 2, "max_tokens": 8},
}  # fmt: skip


def small_config(**options: Any) -> Config:
    """Return the config of the smallest model, with some of `model.options`."""
    data = load("tiny").model_dump(mode="json")
    for section, values in SMALL.items():
        data[section] |= values
    data["model"]["options"] |= options
    return Config.model_validate(data)


def reported_dataset(root: Path, photos: int = 6) -> Path:
    """Build a dataset of drawn people in which every forgery has a report that a template wrote."""
    build_dataset(tiny_dataset(root, photos))
    (root / "reports").mkdir()
    write_table(root / "reports" / "reports.parquet", [_report(sample) for sample in read_samples(root)], Report)
    return root


def _report(sample: Any) -> Report:
    words = sorted(sample.regions) or ["skin"]
    return Report(
        report_id=sample.record_id,
        record_id=sample.record_id,
        image_sha256=sample.image_sha256,
        rank=0,
        settled="single",
        annotator="template",
        protocol="informed",
        verdict="visible",
        regions=words,
        text_regions=words,
        difficulty=None,
        text=f"The {words[0]} has another colour than the rest of the face.",
        language="en",
        text_origin="template",
        submitted="2026-11-26",
        dwell_s=None,
    )


def untrained_run(folder: Path, root: Path, config: Config, *, stage: str = "stage2", step: int = 3) -> Path:
    """Write a run whose last checkpoint holds the weights that its model starts with."""
    texts = [sample.references[0].text for sample in read_samples(root) if sample.references]
    tokens = tokens_for(config.model, texts)
    folder.mkdir(parents=True)
    runs.begin(folder, config, digest_of(root), lambda: tokens)
    run = runs.Run.open(folder)
    state = run.state(stage).model_copy(update={"step": step, "finished": True})
    files = {"model": runs.stored(run, build(config, tokens), stage)}
    checkpoint.write(folder / stage, state, files, writes=True)
    return folder
