"""The baseline's commands: argument parsing, progress and summaries, nothing else."""

import json
from pathlib import Path
from typing import Annotated

import typer

from . import cli_use

_INTERRUPTED = 130  # as a shell tells of Ctrl+C


def register(app: typer.Typer) -> None:
    """Add `mmtt baseline` to the `mmtt` command."""
    group = typer.Typer(help="Train and score ForgeryTalker, the paper's baseline.", no_args_is_help=True)
    group.command("train")(train)
    cli_use.register(group)
    app.add_typer(group, name="baseline")


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A built dataset, or a folder of a release.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Where the run lies; the same again goes on.")],
    config: Annotated[str, typer.Option("--config", metavar="NAME|PATH", help="tiny, base, or a YAML file.")],
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Only prompter, stage1 or stage2; all in order if left out.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=0, help="Processes that decode pictures.")] = 0,
    fsdp: Annotated[bool, typer.Option("--fsdp", help="Under torchrun: shard the weights over the GPUs.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the model with torch.compile.")] = False,
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Log to Weights & Biases too.")] = None,
    checkpoint_every: Annotated[
        int, typer.Option(metavar="STEPS", min=1, help="Steps between checkpoints within an epoch.")
    ] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train ForgeryTalker from shards and reports; run it again to go on where it was stopped.

    MMTT_DEVICE says where: auto, cpu or cuda. On many GPUs: torchrun --nproc-per-node N -m mmtt baseline train …
    """
    from .forgerytalker import config as configs

    settings = configs.load(config)
    with cli_use.extra_told("Training"):
        from .forgerytalker.learner import Means
        from .forgerytalker.train import train as run_training
    means = Means(workers, fsdp, compiled, wandb, checkpoint_every)
    summaries = []
    try:
        for summary in run_training(dataset, run, settings, means, stage):
            summaries.append(summary._asdict())
            if not as_json:
                typer.echo(str(summary))
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if as_json and summaries:
        typer.echo(json.dumps(summaries))
