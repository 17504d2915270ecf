"""Commands that take somebody out again: of a dataset and all that follows from it, of the Hub, of a copy."""

import json
import os
import shlex
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtt import forget
from mmtt.errors import UserError
from mmtt.executors import executor
from mmtt.files import write_atomically
from mmtt.progress import for_person
from mmtt.words import printable

if TYPE_CHECKING:
    from mmtt.removal import Removal, Step, Trace

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's directory.")]
Whom = Annotated[
    str,
    typer.Argument(metavar="WHOM", help="A record_id, a photo's path below photos/, or a name."),
]
Runs = Annotated[
    list[Path] | None, typer.Option("--runs", metavar="DIR", help="Where runs and predictions lie; may be repeated.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="JSON", help="Write the closure, to verify with later. It names the person.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_RUNS = "MMTT_RUNS"  # where the baselines look

app = typer.Typer(
    help="Take a person, a photo or a record out again, with all that was made from it.", no_args_is_help=True
)


def register(root: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    root.add_typer(app, name="forget")
    root.command("prune")(prune)


@app.command("plan")
def plan_command(directory: Directory, whom: Whom, out: Out = None, runs: Runs = None, as_json: AsJson = False) -> None:
    """Show everything that would go; nothing is changed."""
    _require_outside(directory, out)
    _look_in(runs)
    removal = forget.under_way(directory, whom) or forget.close(directory, whom)
    steps = forget.plan(directory, removal)
    _keep(removal, out)
    if as_json:
        typer.echo(json.dumps({**_counts(removal), "steps": [step._asdict() for step in steps]}))
        return
    _tell(steps)
    typer.echo(_summary(removal))
    typer.echo(printable(f"Nothing was changed. To do it: {_command('apply', directory, whom)}"))


@app.command("apply")
def apply_command(
    directory: Directory,
    whom: Annotated[str | None, typer.Argument(metavar="[WHOM]", help="As for plan; left out to go on.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    leave: Annotated[bool, typer.Option("--leave", help="End it though a search still finds something.")] = False,
    out: Out = None,
    runs: Runs = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificate chain, where marked pictures were released.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its private key.")] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="How many processes.")] = 1,
) -> None:
    """Take out everything that plan shows, stage the next release, and search for what is left.

    Killed at any moment and run again, it goes on.
    """
    _require_outside(directory, out)
    _look_in(runs)
    removal = forget.under_way(directory, whom)
    if removal is None:
        if whom is None:
            raise UserError(f"No removal of {directory} is under way. Say whom: mmtt forget apply {directory} WHOM")
        removal = forget.close(directory, whom)
    mark = _mark(directory, certificate, key, workers)
    _tell(forget.plan(directory, removal))
    typer.echo(_summary(removal))
    if not yes:
        typer.confirm("This cannot be undone. Go on?", abort=True)
    _keep(removal, out)

    def restage(removal: "Removal") -> "list[Step]":
        return list(
            forget.part("removals.restaging").restage(
                directory, removal, date.today(), executor(workers), for_person, mark
            )
        )

    _tell(forget.apply(directory, removal, date.today(), restage))
    _end(directory, removal, forget.verify(directory, removal), leave=leave)


def _end(directory: Path, removal: "Removal", traces: "list[Trace]", *, leave: bool) -> None:
    from mmtt.removal import finish

    _tell_traces(traces)
    if traces and not leave:
        hint = f"Mend that and run `mmtt forget apply {directory}` again, with --leave if it is not about them"
        raise UserError(f"Everything was done, but a search still finds {len(traces)} places. {hint}.")
    finish(directory)
    told = (
        "What a search still finds is left as it is" if traces else "A search of every file finds nothing that is left"
    )
    typer.echo(f"{told} of {len(removal.records)} records.")


@app.command("verify")
def verify_command(
    directory: Directory,
    closure: Annotated[Path, typer.Argument(metavar="CLOSURE", help="What --out of plan or apply wrote.")],
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Search every revision of it on the Hub, too.")] = "",
    runs: Runs = None,
    as_json: AsJson = False,
) -> None:
    """Search every file, table, log, cache, server and remote revision for what is left of a removal."""
    from mmtt.removal import Removal, Trace, journal

    _look_in(runs)
    removal = Removal.load(closure)
    here = closure.resolve()
    found = [t for t in forget.verify(directory, removal) if (directory / t.where).resolve() != here]
    if journal(directory).exists():
        found.append(Trace(str(journal(directory)), "the removal is not completed"))
    if repo:
        found += _on_hub(repo, removal)
    if as_json:
        typer.echo(json.dumps({"traces": [trace._asdict() for trace in found]}))
    else:
        _tell_traces(found)
        typer.echo(f"{len(found) or 'no'} trace{'s' * (len(found) != 1)} of {len(removal.records)} records")
        typer.echo(f"{closure} names them itself: delete it when nobody needs it any more.")
    raise typer.Exit(2 if found else 0)


def _on_hub(repo: str, removal: "Removal") -> "list[Trace]":
    from mmtt.release import REMOVED
    from mmtt.removal import KINDS, needles

    return list(forget.part("publish.traces").remote_traces(repo, needles(removal), {REMOVED: {KINDS["records"]}}))


@app.command("hub")
def hub_command(
    directory: Directory,
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The repository on the Hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before each step.")] = False,
) -> None:
    """Publish the newest release, and take every older version out of the Hub, step by step. It cannot be undone."""

    def confirmed(what: str) -> bool:
        return yes or typer.confirm(f"{what}?")

    done = forget.part("publish.purge").purge_hub(directory, repo, confirmed, typer.echo)
    _tell(done.by_hand)
    _tell_traces(done.left)
    if done.readers:
        told = f"{done.readers} people were let in: send them private/notices/ of this version"
        typer.echo(f"{told} (the Hub lists them on the settings page of {repo}).")
    raise typer.Exit(2 if done.left else 0)


def prune(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A copy of a release, or any folder of Parquet.")],
    removed: Annotated[Path, typer.Option(metavar="CSV", help="removed.csv of the newest release.")],
    as_json: AsJson = False,
) -> None:
    """Take removed records out of a copy of a dataset, and what was derived from it by row."""
    from mmtt.pruning import prune as run
    from mmtt.release import read_removed

    done = run(directory, read_removed(removed), for_person("prune: files"))
    if as_json:
        typer.echo(json.dumps({"rows": done.rows, "left": done.left}))
        return
    for name, gone in done.rows.items():
        typer.echo(printable(f"{name}: rows that went: {gone}"))
    for sentence in done.left:
        typer.echo(printable(sentence), err=True)
    typer.echo(f"{sum(done.rows.values())} rows went from {len(done.rows)} files")


def _look_in(runs: list[Path] | None) -> None:
    """Have the baselines look in more folders, in this process."""
    if runs:
        named = [part for part in os.environ.get(_RUNS, "").split(os.pathsep) if part]
        os.environ[_RUNS] = os.pathsep.join([*named, *(str(path.resolve()) for path in runs)])


def _mark(directory: Path, certificate: Path | None, key: Path | None, workers: int) -> Any:
    """What writes marked pictures into the next release; refused early where they were released and cannot be made."""
    if (certificate is None) != (key is None):
        raise UserError("--certificate and --key belong together.")
    if certificate is None or key is None:
        if forget.part("removals.restaging").is_marked(directory):
            raise UserError(
                "Marked pictures were released: give --certificate and --key, so that the next has them, too."
            )
        return None
    return forget.part("marking.export").marker(
        certificate, key, date.today(), executor(workers), for_person("release: marked pictures")
    )


def _command(verb: str, directory: Path, whom: str) -> str:
    """The command line, as a shell takes it."""
    dashes = ["--"] if whom.startswith("-") else []
    return shlex.join(["mmtt", "forget", verb, *dashes, str(directory), whom])


def _require_outside(directory: Path, out: Path | None) -> None:
    if out is not None and out.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"{out} would lie in the dataset, where nothing may name them. Give --out a place outside.")


def _keep(removal: "Removal", out: Path | None) -> None:
    if out is not None:
        write_atomically(out, removal.to_json().encode())
        out.chmod(0o600)


def _counts(removal: "Removal") -> dict[str, int]:
    names = ("records", "pristine", "photos", "subjects", "texts", "buckets")
    return {name: len(getattr(removal, name)) for name in names}


def _summary(removal: "Removal") -> str:
    made = len(removal.records) - len(removal.pristine)
    told = f"{len(removal.photos)} photos, {len(removal.pristine)} pristine records, {made} made from them"
    return f"{told}, {len(removal.texts)} texts; {len(removal.buckets)} shards are rewritten"


def _tell(steps: "Iterable[Step]") -> None:
    for step in steps:
        typer.echo(printable(f"{step.where}: {step.what}"))


def _tell_traces(traces: "Iterable[Trace]") -> None:
    for trace in traces:
        typer.echo(printable(f"{trace.where}: {trace.what}"), err=True)
