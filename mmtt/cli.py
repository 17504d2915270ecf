"""The `mmtt` command: mounts what the applications offer, and turns the user's mistakes into sentences.

Exit codes: 0 done, 1 bug (traceback), 2 the user's mistake, 3 more rejections than the recipe tolerates.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmtt import __version__, cli_forget, weights
from mmtt.applications import APPLICATIONS, load
from mmtt.check import require_dataset, verify_all, verify_reports
from mmtt.errors import MissingDependency, UserError
from mmtt.executors import serial
from mmtt.manifest import MANIFEST, Manifest
from mmtt.progress import for_person
from mmtt.record import MASTER, SCHEMA_VERSION
from mmtt.release import MARKED, is_release, records_folder
from mmtt.release_check import verify_release
from mmtt.schema import card_table
from mmtt.shards import Shard, read_footer
from mmtt.words import printable

HUB = "hub:"
# What may be over when somebody made room, or plugged the disk in again.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EMFILE}

app = typer.Typer(
    name="mmtt",
    help="Build, check and publish datasets of forged faces that a stranger can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
shards_app = typer.Typer(help="Look inside shards.", no_args_is_help=True)
app.add_typer(shards_app, name="shards")
cli_forget.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmtt {__version__}, schema {SCHEMA_VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Folder of the weights and programs you brought, else {weights.FOLDER}."),
    ] = None,
) -> None:
    """Build, check and publish datasets of forged faces that a stranger can trust."""
    if models is not None and not models.is_dir():
        raise UserError(f"--models names {models}, which is not a folder.")
    # What the variable names may be no folder: most commands need no weights, and those that do say so.
    folder = models or os.environ.get(weights.FOLDER)
    if folder:
        os.environ[weights.FOLDER] = str(Path(folder).resolve())  # where worker processes look, too


@app.command("verify")
def verify_command(
    what: Annotated[
        str, typer.Argument(metavar="DIR|hub:REPO", help="A dataset, a release, a folder of shards, or hub:OWNER/NAME.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare every file with what its manifest says, and check every record."""
    counted, where, found = _verify_remote(what) if what.startswith(HUB) else _verify_local(Path(what))
    faults = [{"where": where, "what": what} for where, what in found]
    if as_json:
        typer.echo(json.dumps({**counted, "faults": faults}))
    else:
        for fault in faults:
            typer.echo(printable(f"{fault['where']}: {fault['what']}"), err=True)
        told = f"{len(faults)} fault{'s' * (len(faults) > 1)}" if faults else "no faults"
        typer.echo(f"{' and '.join(f'{n} {of}' for of, n in counted.items())} in {where}: {told}")
    raise typer.Exit(2 if faults else 0)


def _verify_remote(what: str) -> tuple[dict[str, int], str, list[tuple[str, str]]]:
    """What was looked at, where, and every fault of a release on the Hub; its shards are not downloaded."""
    remote = load("pipelines", "publish.remote")
    if remote is None:
        raise UserError(f"{what} cannot be verified: this installation of mmtt has no pipelines.")
    repo, _, revision = what.removeprefix(HUB).partition("@")
    found = remote.verify_remote(repo, *([revision] if revision else []))
    return {"files": found.files}, what, found.wrong


def _verify_local(directory: Path) -> tuple[dict[str, int], str, list[tuple[str, str]]]:
    require_dataset(directory)
    if is_release(directory):
        folders, found = [records_folder(directory)], [*verify_release(directory), *_verify_marks(directory)]
    else:
        folders = [directory] if (directory / MANIFEST).exists() else _shard_folders(directory)
        found = [*verify_all(folders), *(verify_reports(directory) if folders != [directory] else ())]
    finished = [folder for folder in folders if (folder / MANIFEST).exists()]
    rows = sum(Manifest.load(folder).rows for folder in finished)
    return {"records": rows}, ", ".join(folder.name for folder in folders), found


def _verify_marks(release: Path) -> list[tuple[str, str]]:
    """Every fault of the marked pictures of a release; that they were not looked at is told."""
    marks = load("pipelines", "marking.check") if (release / MARKED).is_dir() else None
    try:
        return marks.faults(release, serial, for_person("verify: marks")) if marks else []
    except MissingDependency as missing:
        typer.echo(f"The signatures in {MARKED}/ were not looked at. {missing}", err=True)
        return []


def _shard_folders(directory: Path) -> list[Path]:
    """Every folder of shards, finished or not: one that a stage began has a lock, and a place for side tables."""
    begun = {lock.parent for lock in directory.glob("*/.lock") if (directory / "private" / lock.parent.name).is_dir()}
    folders = sorted(begun | {path.parent for path in directory.glob("*/manifest.json")})
    if not folders:
        raise UserError(f"{directory} has no manifest.json, nor has a folder in it. Run `mmtt build` to its end first.")
    return folders


@app.command("score")
def score_command(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="A folder with predictions.jsonl, or such a file.")
    ],
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A dataset, a release, or a folder of its shards.")
    ],
    split: Annotated[str, typer.Option(help="Which split has to be answered.")] = "test",
    variant: Annotated[list[str] | None, typer.Option(help="Which variants; by default masters alone.")] = None,
    pristine: Annotated[bool, typer.Option(help="Whether pristine faces have to be answered, too.")] = False,
    inexact: Annotated[bool, typer.Option(help="Whether edits count whose mask is a threshold over noise.")] = False,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the predicted masks lie.")] = None,
    origin_ids: Annotated[bool, typer.Option(help="Whether image_id is the id that an imported sample had.")] = False,
    trivial: Annotated[bool, typer.Option(help="Whether the trivial baselines are scored beside.")] = True,
    meteor: Annotated[bool, typer.Option(help="Whether METEOR is computed, by Java; minutes.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write scores.json, .parquet, .md, .tex.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score predictions strictly, beside the trivial baselines, with intervals."""
    from mmtt import scoreboard  # what it needs would slow every other command down

    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out names {out}, which is not a folder.")
    board, rows = scoreboard.run(
        predictions,
        dataset,
        split=split,
        variants=variant or (MASTER,),
        pristine=pristine,
        inexact=inexact,
        masks=masks,
        by_origin=origin_ids,
        trivial_too=trivial,
        meteor=meteor,
        progress=for_person("Scoring"),
    )
    if "mask" not in board.standings[0].parts:
        typer.echo("No prediction has a mask; --masks names the folder of the authors' layout.", err=True)
    if out is not None:
        scoreboard.write(board, rows, out)
    typer.echo(board.to_json() if as_json else scoreboard.summary(board))


@shards_app.command("inspect")
def inspect_command(
    path: Annotated[Path, typer.Argument(metavar="SHARD|DIR", help="One shard, a folder of them, or a release.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what shards hold and what they were made from."""
    paths = sorted(records_folder(path).glob("*.parquet")) if path.is_dir() else [path]
    described = [_describe(shard) for shard in paths if shard.name != "rejections.parquet"]
    if not described:
        raise UserError(f"{path} holds no shards. Name a folder such as DIR/forged.")
    if as_json:
        typer.echo(json.dumps(described))
        return
    for item in described:
        typer.echo(f"{item['shard']}: {item['rows']} rows in {item['row_groups']} row groups, {item['bytes']:,} bytes")
        typer.echo(f"  stage {item['stage']}, schema {item['schema_version']}, inputs {str(item['input_digest'])[:12]}")


def _describe(path: Path) -> dict[str, object]:
    shard, footer = Shard(path), read_footer(path)
    if footer is None:
        raise UserError(f"{path} has no footer of ours; it is Parquet, but no shard.")
    return {
        "shard": path.name,
        "rows": shard.rows,
        "row_groups": shard.groups,
        "bytes": path.stat().st_size,
        "stage": footer.stage,
        "schema_version": footer.schema_version,
        "input_digest": footer.input_digest,
        "fingerprint": footer.fingerprint,
    }


@shards_app.command("schema")
def schema_command() -> None:
    """Print every column of a record: name, type, meaning."""
    typer.echo(card_table(), nl=False)


def mount(*names: str) -> None:
    """Add the commands of those applications to the `mmtt` command."""
    for name in names:
        command_line = load(name, "cli")
        if command_line is not None:
            command_line.register(app)


def main() -> None:
    """Run the command line; a user's mistake is a sentence, a bug keeps its traceback."""
    try:
        mount(*APPLICATIONS)
        app()
    except UserError as error:
        for line in f"mmtt: {error}".split("\n"):  # a wrong recipe has several
            typer.echo(printable(line), err=True)
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        kept = " Finished shards are kept; run the command again." if error.errno in _PASSING else ""
        typer.echo(printable(f"mmtt: {place}{error.strerror or error}.{kept}"), err=True)
        sys.exit(2)
