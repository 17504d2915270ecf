"""The commands that use a trained model: argument parsing, progress and summaries, nothing else."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtt.devices import device
from mmtt.errors import MissingDependency
from mmtt.progress import for_person

if TYPE_CHECKING:
    from .forgerytalker.export import Trained
    from .forgerytalker.predict import Asked

_NEEDED = ("safetensors", "torch", "transformers", "tokenizers", "sentencepiece")

Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run, or the folder of an exported model.")]
Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset, a release, or a folder of its shards.")]
Stage = Annotated[str | None, typer.Option("--stage", help="Stage whose weights are taken; else the last one.")]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]
Variant = Annotated[list[str] | None, typer.Option("--variant", help="Variants of the pictures; else the config's.")]
Pristine = Annotated[
    bool | None, typer.Option("--pristine/--no-pristine", help="Whether untouched faces come too; else as the config.")
]
Regions = Annotated[
    str | None,
    typer.Option("--regions", metavar="WORD,WORD", help="Words that every report is to talk about; '' for none."),
]
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="Pictures at once.")]
Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="How many threads decode pictures.")]


def register(group: typer.Typer) -> None:
    """Add the commands that use a trained model to `mmtt baseline`."""
    group.command("predict")(predict)
    group.command("evaluate")(evaluate)
    group.command("export")(export)
    group.command("demo")(demo)


def predict(
    run: Model,
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of predictions to make.")],
    split: Split = "test",
    variant: Variant = None,
    pristine: Pristine = None,
    regions: Regions = None,
    stage: Stage = None,
    batch: BatchSize = 16,
    workers: Workers = 2,
) -> None:
    """Write what a model says of a split: masks, regions, reports. Killed, it goes on where it was."""
    asked, trained = _asked(split, variant, pristine, regions), _load(run, stage)
    from .forgerytalker.predict import predict as run_it

    made = run_it(trained, dataset, out, asked, batch=batch, workers=workers, progress=for_person("Predicting"))
    typer.echo(f"{made}")


def evaluate(
    run: Model,
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for predictions and scores.")],
    split: Split = "test",
    variant: Variant = None,
    pristine: Pristine = None,
    regions: Regions = None,
    stage: Stage = None,
    batch: BatchSize = 16,
    workers: Workers = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict a split where that was not done yet, score it beside the trivial baselines, and print the table."""
    asked, trained = _asked(split, variant, pristine, regions), _load(run, stage)
    from mmtt.scoreboard import summary

    from .forgerytalker.evaluate import evaluate as run_it

    board = run_it(trained, dataset, out, asked, batch=batch, workers=workers, progress=for_person)
    typer.echo(board.to_json() if as_json else f"{summary(board)}\n{out}")


def export(
    run: Model,
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="What it was trained on.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to make.")],
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="DIR", help="Folder that `mmtt baseline evaluate` made.")
    ] = None,
    stage: Stage = None,
) -> None:
    """Write a model into one folder with its card: safetensors, JSON, YAML. It loads wherever a run does."""
    trained = _load(run, stage)
    from .forgerytalker.export import export as run_it

    typer.echo(f"{run_it(trained, dataset, folder, scores)}")


def demo(
    run: Model,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 7860,
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1",
    stage: Stage = None,
) -> None:
    """Serve a page on this machine: drop a photo, choose regions, see what the model says."""
    import threading

    from .forgerytalker.demo import require_free, require_gradio, served

    require_free(host, port)
    require_gradio()
    trained = _load(run, stage)
    trained.model.to(device())
    try:
        with served(trained, host, port) as address:
            if host not in ("127.0.0.1", "localhost", "::1"):
                typer.echo(f"Whoever reaches {host}:{port} can use this page; there is no password.", err=True)
            typer.echo(f"{address} (Ctrl+C ends it)")
            threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("Ended.")


@contextmanager
def extra_told(what: str) -> Iterator[None]:
    """Make a sentence of a module that is not installed; one of our own that is missing is a bug."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = error.name.split(".")[0] if error.name else _absent()
        if package not in _NEEDED:
            raise
        raise MissingDependency(f"{what} needs {package}: pip install 'mmtt[baselines]'.") from error


def _absent() -> str | None:
    """Transformers, which imports late, names its own class and not the package that it missed."""
    return next((name for name in _NEEDED if importlib.util.find_spec(name) is None), None)


def _load(run: Path, stage: str | None) -> "Trained":
    with extra_told("The baseline"):
        from .forgerytalker.export import load
    trained = load(run, stage)
    # Whoever names a stage knows which it is.
    if trained.lacking and stage is None:
        typer.echo(trained.lacking, err=True)
    return trained


def _asked(split: str, variant: list[str] | None, pristine: bool | None, regions: str | None) -> "Asked":
    with extra_told("The baseline"):
        from .forgerytalker.predict import Asked, region_words

    return Asked(
        split, tuple(variant) if variant else None, pristine, None if regions is None else region_words(regions)
    )
