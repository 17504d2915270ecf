"""Commands that make a release."""

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtt.errors import UserError
from mmtt.executors import executor
from mmtt.progress import for_person
from mmtt.words import printable

from .cli_programs import AsJson, Directory, Workers, open_dataset

if TYPE_CHECKING:
    from .release.draft import Draft
    from .release.staging import Mark


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    app.command("datasheet")(datasheet)
    app.command("release")(release)


def datasheet(directory: Directory) -> None:
    """Write datasheet.toml to be filled in, or tell which answers it still lacks."""
    from .release.answers import DATASHEET, load, unanswered
    from .release.datasheet import shows_people, write_template

    layout, recipe = open_dataset(directory, imported=True)
    path = layout.root / DATASHEET
    if not path.exists():
        write_template(path, recipe)
        typer.echo(f"Fill in {path}, then: mmtt release {directory} --version 1.0.0")
        return
    missing = unanswered(load(layout.root), people=shows_people(layout.root))
    for question in missing:
        typer.echo(printable(f"  {question}"))
    typer.echo(f"{path}: {len(missing) or 'no'} required answer{'s' * (len(missing) != 1)} left")
    raise typer.Exit(2 if missing else 0)


def release(
    directory: Directory,
    version: Annotated[str, typer.Option(help="Of the release: major.minor.patch.")],
    day: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="Of the release; today by default.")] = "",
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificate chain: marked pictures are released, too.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its private key.")] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Make a release to be published: shards with reports, card, datasheet, Croissant, audits, checksums."""
    from mmtt.release import Version

    from .release.staging import release as run

    layout, recipe = open_dataset(directory, imported=True)
    on = _day(day)
    mark = _marker(certificate, key, workers)
    made = run(layout, recipe, Version.parse(version), on, executor(workers), for_person, mark)
    told = _told(made)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['folder']}: {told['records']} records; left out: {told['left_out'] or 'none'}")
    for sentence in told["changes"]:
        typer.echo(f"  {sentence}")
    typer.echo(f"look at {made.folder / 'overview.html'}, then: mmtt publish {directory} --version {version} --repo …")


def _marker(certificate: Path | None, key: Path | None, workers: int) -> "Mark | None":
    """What writes marked pictures into a staged release; None where no certificate was given."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--certificate and --key belong together. `mmtt mark certificate` makes a pair to try it with.")
    from .marking.export import marker

    return marker(certificate, key, date.today(), executor(workers), for_person("release: marked pictures"))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text else date.today()
    except ValueError:
        raise UserError(f"--date is '{text}', which is no day like 2027-12-31.") from None


def _told(made: "Draft") -> dict[str, Any]:
    return {
        "version": made.release.version,
        "folder": str(made.folder),
        "records": sum(made.release.rows["default"].values()),
        "rows": made.release.rows,
        "left_out": made.release.left_out,
        "changes": made.changes.sentences(),
    }
