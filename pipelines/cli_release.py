"""Commands that make a release."""

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtt.errors import UserError
from mmtt.executors import executor
from mmtt.progress import for_person
from mmtt.recipe import SPLITS
from mmtt.removal import require_none_under_way
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
    from .release.answers import DATASHEET
    from .release.datasheet import left_open, write_template

    layout, recipe = open_dataset(directory, imported=True)
    path = layout.root / DATASHEET
    if not path.exists():
        write_template(path, recipe)
        typer.echo(f"Fill in {path}, then: mmtt release {directory} --version 1.0.0")
        return
    missing = left_open(layout.root)
    for line in missing:
        typer.echo(printable(f"  {line}"))
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
    without_marks: Annotated[
        bool, typer.Option("--without-marks", help="Release no marked pictures, though earlier ones have them.")
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="Nothing was ever published, though records were taken out.")
    ] = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Make a release to be published: shards with reports, card, datasheet, Croissant, audits, checksums."""
    from mmtt.release import Version

    from .release.datasheet import require_begun
    from .release.selection import told as in_words
    from .release.staging import release as run

    layout, recipe = open_dataset(directory, imported=True)
    require_none_under_way(layout.root)
    on = _day(day)
    require_begun(layout.root)
    mark = _marker(certificate, key, workers)
    _require_marks(layout.root, mark, without_marks=without_marks)
    made = run(layout, recipe, Version.parse(version), on, executor(workers), for_person, mark, first=first)
    told = _told(made)
    for split in SPLITS:
        if not told["rows"]["default"].get(split):
            typer.echo(f"The split '{split}' holds no row. `plan.splits` of the recipe shares people out.", err=True)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['folder']}: {told['records']} records; left out: {in_words(told['left_out'])}")
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


def _require_marks(root: Path, mark: "Mark | None", *, without_marks: bool) -> None:
    """Refuse to let marked pictures end unless that is asked for, and to make them where it is."""
    from .removals.restaging import is_marked

    if mark is not None and without_marks:
        raise UserError("--without-marks and --certificate exclude each other. Give one of them.")
    if mark is None and not without_marks and is_marked(root):
        hint = "Give --certificate and --key, so that this one has them, too, or --without-marks to end them."
        raise UserError(f"The newest release in {root / 'releases'} has marked pictures. {hint}")


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
