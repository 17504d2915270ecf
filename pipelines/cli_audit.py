"""Commands that look at a dataset: audits."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from mmtt.check import require_dataset
from mmtt.errors import UserError
from mmtt.executors import executor
from mmtt.files import write_atomically
from mmtt.layout import Layout
from mmtt.progress import for_person
from mmtt.record import MASTER

from .cli_programs import AsJson, Workers

Root = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, a release, or one folder of its shards.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    app.command("audit")(audit)


def audit(
    directory: Root,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only these, as S1: ids parted by commas, or repeated.")
    ] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 3 where an audit fails its gate.")] = False,
    variant: Annotated[str, typer.Option(help="Whose rows: a degraded variant's, or the masters'.")] = MASTER,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write; by default all about the masters into a dataset."),
    ] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Ask of a dataset what a distrustful reader would ask; all at once write audits.json and audits.html."""
    from mmtt.audit import Verdict, gather  # pandas, which would slow every other command down

    from .audits import run as module
    from .audits.page import page

    require_dataset(directory)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out names {out}, which is not a folder.")
    chosen = [name.strip().upper() for names in only or () for name in names.split(",") if name.strip()]
    if only and not chosen:
        raise UserError("--only names no audit. Give ids, as in `--only S1,M2`, or leave it out to run all.")
    audits = gather()
    audited, evidence = module.run(
        directory, audits, executor(workers), for_person, only=chosen, variant=variant, today=date.today()
    )
    # Into a release nothing is written that it did not bring; and what readers expect there is all about the masters.
    whole = not chosen and variant == MASTER and evidence.private is not None
    folder = out or (directory if whole else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(Layout(folder).audits, audited.to_json().encode())
        write_atomically(Layout(folder).audits_page, page(audited, evidence).encode())
    typer.echo(audited.to_json() if as_json else module.as_text(audited), nl=not as_json)
    failed = any(outcome.verdict is Verdict.FAILS for outcome in audited.outcomes)
    raise typer.Exit(3 if gate and failed else 0)
