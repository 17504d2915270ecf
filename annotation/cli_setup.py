"""The annotation commands that set things up: the interface, the server, the people."""

from pathlib import Path
from typing import Annotated

import typer

from mmtt.errors import UserError
from mmtt.layout import locate

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's directory.")]
Url = Annotated[str | None, typer.Option("--url", help="The server, else LABEL_STUDIO_URL, else the one of `serve`.")]
AnyVersion = Annotated[bool, typer.Option("--any-version", help="Try a server that this was not tested with.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(group: typer.Typer) -> None:
    """Add these commands to `mmtt annotate`."""
    group.command("interface")(interface)
    group.command("serve")(serve)
    group.command("people")(people)


def interface(
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look for faults in a labelling interface.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="blind_then_verified, paper or informed.")] = "blind_then_verified",
    stage: Annotated[str, typer.Option(help="describe, verify or adjudicate.")] = "describe",
    language: Annotated[str, typer.Option(help="Language of the page: en or zh.")] = "en",
    rework: Annotated[bool, typer.Option("--rework", help="The variant for work that was sent back.")] = False,
) -> None:
    """Print a labelling interface as Label Studio's XML, or check one."""
    from . import interface as module

    if check is None:
        typer.echo(module.build(protocol, module.stage_name(protocol, stage), language, rework=rework))
        return
    faults = module.lint(_text(check))
    for fault in faults:
        typer.echo(fault, err=True)
    typer.echo(f"{check}: faults: {len(faults) or 'none'}")
    raise typer.Exit(2 if faults else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({type(error).__name__}).") from None


def serve(
    directory: Directory,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="On this machine's loopback.")] = 8080,
    environment: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where Label Studio is, or is to be, installed.")
    ] = None,
) -> None:
    """Run Label Studio for one curator on this machine; it is installed into its own environment on first use."""
    from .server.serve import serve as run

    run(locate(directory).root, port, environment, typer.echo)


def people(
    directory: Directory,
    table: Annotated[Path, typer.Argument(metavar="CSV", help="email, name, language, status, writes.")],
    url: Annotated[str | None, typer.Option("--url", help="The server, else LABEL_STUDIO_URL, else `serve`'s.")] = None,
) -> None:
    """Create and retire accounts as a table says, and keep the private map to pseudonyms."""
    from .people.enrolment import enrol
    from .server.accounts import StudioAccounts
    from .server.connection import find

    root = locate(directory).root
    connection = find(root, url)
    with StudioAccounts(connection) as accounts:
        done = enrol(root, table, accounts, connection.url)
    told = {name: getattr(done, name) for name in ("created", "retired", "reopened", "changed", "unlisted")}
    typer.echo(", ".join(f"{count} {name}" for name, count in told.items() if count) or "nothing to do")
    if done.created:
        typer.echo(f"Hand out the first passwords in {done.credentials}, then delete it.")
