"""Commands that look at builds: what differs between two, and record by record."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mmtt.check import require_dataset
from mmtt.executors import executor
from mmtt.progress import for_person

from .cli_programs import AsJson, Workers


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    app.command("diff")(diff)
    app.command("view")(view)


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="The build before: a dataset, a release, or a folder of its shards.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="The build after.")],
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 3 where rows, splits, acceptance or reports differ; else with 0."),
    ] = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Compare two builds: rows added, removed and changed, moved splits, gates and reports, and why.

    Shards of which both manifests know the same SHA-256 count as equal unread; `mmtt verify` checks that.
    Reasons name photos by their path where the private lineage is there: the output is as private as that.
    """
    from . import diff as module

    found = module.diff(require_dataset(a), require_dataset(b), executor(workers), for_person)
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else module.as_text(found))
    raise typer.Exit(3 if exit_code and found.differs else 0)


def view(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, a release, or a folder of its shards.")],
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="On this machine's loopback; 0 takes a free one.")
    ] = 8765,
    browse: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
) -> None:
    """Page through a dataset in a browser and look at records pixel by pixel. Only this machine can reach it."""
    from .view import serve

    serve(require_dataset(directory), port, typer.echo, browse=browse)
