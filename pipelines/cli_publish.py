"""The command that publishes a release."""

import json
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import typer

from mmtt.words import printable

from .cli_programs import AsJson, Directory


class Gated(StrEnum):
    """Who is let in: each by hand, everybody who fills in the form, everybody."""

    manual = "manual"
    auto = "auto"
    off = "off"


def register(app: typer.Typer) -> None:
    """Add this command to the `mmtt` command."""
    app.command("publish")(publish)


def publish(
    directory: Directory,
    version: Annotated[str, typer.Option(help="Of the release: major.minor.patch.")],
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Dataset repository on the Hub; made if absent.")],
    gated: Annotated[
        Gated | None, typer.Option(help="Who is let in. By default as it is, and `manual` where nothing is set.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only the owner sees it.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite what somebody changed on main.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a release: upload to a branch, verify, one commit on main, tag. Killed and run again, it goes on."""
    from mmtt.layout import locate
    from mmtt.release import Version

    from .publish.hub import Remote
    from .publish.publish import publish as run
    from .publish.ready import require_ready
    from .publish.staged import Staged
    from .release.draft import RELEASES

    layout = locate(directory)
    staged = Staged(layout.root / RELEASES / str(Version.parse(version)))
    require_ready(layout.root, staged.folder, date.today())
    told: dict[str, Any] = {
        "private": private,
        "gated": gated.value if gated else None,
        "replace": replace,
        "dry_run": dry_run,
    }
    done = run(staged, Remote(repo), **told, say=lambda line: typer.echo(printable(line), err=as_json))
    if as_json:
        counts = {name: len(getattr(done, name)) for name in ("new", "changed", "kept", "gone")}
        typer.echo(json.dumps({"repo": repo, "version": version, "state": done.state, "dry_run": dry_run, **counts}))
    elif not dry_run:
        typer.echo(f"{repo} {staged.tag}: load_dataset('{repo}', revision='{staged.tag}')")
