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
    from mmtt.pruning import Pruned
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
_MARKED = "The newest release has marked pictures"
_PAIR = ("--certificate", "CHAIN.pem", "--key", "KEY.pem")

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
    removal = _closed(directory, whom, runs)
    steps = forget.plan(directory, removal)
    marked = forget.part("removals.restaging").needs_certificate(directory, removal)
    _keep(removal, out)
    if as_json:
        told = {**_counts(removal), "needs_certificate": marked, "steps": [step._asdict() for step in steps]}
        typer.echo(json.dumps(told))
        return
    _tell(steps)
    if marked:
        typer.echo(f"{_MARKED}: the next needs the certificate and its key, or --without-marks")
    typer.echo(_summary(removal))
    command = _command("apply", directory, whom, removal.runs, _PAIR if marked else ())
    typer.echo(printable(f"Nothing was changed. To do it: {command}"))


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
    without_marks: Annotated[bool, typer.Option("--without-marks", help="End marked pictures, if there are.")] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="How many processes.")] = 1,
) -> None:
    """Take out everything that plan shows, stage the next release, and search for what is left.

    Killed at any moment and run again, it goes on.
    """
    _require_outside(directory, out)
    removal = _closed(directory, whom, runs)
    if without_marks and (certificate or key):
        raise UserError("--without-marks and --certificate exclude each other. Give one of them.")
    mark = None if without_marks else _mark(directory, removal, certificate, key, workers)
    _tell(forget.plan(directory, removal))
    typer.echo(_summary(removal))
    if not (yes or _confirmed("This cannot be undone. Go on?")):
        raise typer.Abort
    _keep(removal, out)

    def restage(removal: "Removal") -> "list[Step]":
        staging = forget.part("removals.restaging")
        return list(staging.restage(directory, removal, date.today(), executor(workers), for_person, mark))

    _tell(forget.apply(directory, removal, date.today(), restage))
    _end(directory, removal, forget.verify(directory, removal), leave=leave)


def _closed(directory: Path, whom: str | None, runs: list[Path] | None) -> "Removal":
    """The removal that is under way, or one that is closed now; where its runs lie is looked in."""
    named = [str(path.resolve()) for path in runs or ()]
    removal = forget.under_way(directory, whom, named)
    if removal is None:
        if whom is None:
            raise UserError(f"No removal of {directory} is under way. Say whom: mmtt forget apply {directory} WHOM")
        removal = forget.close(directory, whom, named)
    _look_in(removal.runs)
    return removal


def _end(directory: Path, removal: "Removal", traces: "list[Trace]", *, leave: bool) -> None:
    from mmtt.removal import finish

    _tell(traces, err=True)
    if traces and not leave:
        hint = f"Mend that and run `mmtt forget apply {directory}` again, with --leave if it is not about them"
        raise UserError(f"Everything was done, but a search still finds {_many(len(traces), 'place')}. {hint}.")
    finish(directory)
    told = (
        "What a search still finds is left as it is" if traces else "A search of every file finds nothing that is left"
    )
    typer.echo(f"{told} of {_many(len(removal.records), 'record')}.")


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

    removal = Removal.load(closure)
    _look_in([*(path for path in removal.runs if Path(path).is_dir()), *(str(path.resolve()) for path in runs or ())])
    here = closure.resolve()
    found = [t for t in forget.verify(directory, removal) if (directory / t.where).resolve() != here]
    if journal(directory).exists():
        found.append(Trace(str(journal(directory)), "the removal is not completed"))
    if repo:
        found += _on_hub(repo, removal)
    if as_json:
        typer.echo(json.dumps({"traces": [trace._asdict() for trace in found]}))
    else:
        _tell(found, err=True)
        typer.echo(f"{_many(len(found), 'trace')} of {_many(len(removal.records), 'record')}")
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
        return yes or _confirmed(f"{what}?")

    done = forget.part("publish.purge").purge_hub(directory, repo, confirmed, typer.echo)
    _tell(done.by_hand)
    _tell(done.left, err=True)
    if done.readers:
        typer.echo(
            f"Readers who were let in and are to be told: {done.readers}; the settings page of {repo} lists them."
        )
    raise typer.Exit(2 if done.left else 0)


def prune(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A copy of a release, or any folder of Parquet.")],
    removed: Annotated[Path, typer.Option(metavar="CSV", help="removed.csv of the newest release.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go; nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take removed records out of a copy of a dataset, and what was derived from it by row."""
    from mmtt import pruning
    from mmtt.release import read_removed

    stones = read_removed(removed)
    if dry_run or not yes:
        planned = pruning.plan(directory, stones, for_person("prune: files are read"))
        _tell_pruned(planned, "that go", as_json=as_json and dry_run)
        if dry_run:
            return
        if not _confirmed("This cannot be undone. Go on?", err=as_json):
            raise typer.Abort
    _tell_pruned(pruning.prune(directory, stones, for_person("prune: files")), "that went", as_json=as_json)


def _tell_pruned(done: "Pruned", went: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"rows": done.rows, "pages": done.pages, "left": done.left}))
        return
    for name, gone in done.rows.items():
        typer.echo(printable(f"{name}: rows {went}: {gone}"))
    for name in done.pages:
        typer.echo(printable(f"{name}: pictures {went}, since some of them show removed records"))
    for sentence in done.left:
        typer.echo(printable(sentence), err=True)
    typer.echo(f"rows {went}: {sum(done.rows.values())}, in {_many(len(done.rows), 'file')}")


def _confirmed(question: str, *, err: bool = False) -> bool:
    """Ask, and return whether the answer is yes.

    Raises:
        UserError: nobody is there to answer.
    """
    try:
        return typer.confirm(question, err=err)
    except typer.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise UserError("Nobody is there to answer, so it was not done. Give --yes to go on unasked.") from None
        raise


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _look_in(runs: Iterable[str]) -> None:
    """Have the baselines look in more folders, in this process."""
    named = [part for part in os.environ.get(_RUNS, "").split(os.pathsep) if part]
    if more := [path for path in runs if path not in named]:
        os.environ[_RUNS] = os.pathsep.join([*named, *more])


def _mark(directory: Path, removal: "Removal", certificate: Path | None, key: Path | None, workers: int) -> Any:
    """What writes marked pictures into the next release; refused early where they were released and cannot be made."""
    if (certificate is None) != (key is None):
        raise UserError("--certificate and --key belong together.")
    if certificate is None or key is None:
        if forget.part("removals.restaging").needs_certificate(directory, removal):
            hint = (
                "Give --certificate and --key, so that the next has some, too, or --without-marks, so that it has none"
            )
            raise UserError(f"{_MARKED}. {hint}.")
        return None
    return forget.part("marking.export").marker(
        certificate, key, date.today(), executor(workers), for_person("release: marked pictures")
    )


def _command(verb: str, directory: Path, whom: str, runs: Iterable[str] = (), more: Iterable[str] = ()) -> str:
    """The command line, as a shell takes it."""
    options = [*(word for path in runs for word in ("--runs", path)), *more]
    dashes = ["--"] if whom.startswith("-") else []
    return shlex.join(["mmtt", "forget", verb, *options, *dashes, str(directory), whom])


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
    told = f"{_many(len(removal.photos), 'photo')}, {_many(len(removal.pristine), 'pristine record')}"
    told += f", {made:,} made from those, {_many(len(removal.texts), 'text')}"
    return f"{told}; to be rewritten: {_many(len(removal.buckets), 'shard')}"


def _tell(found: "Iterable[Step | Trace]", *, err: bool = False) -> None:
    for one in found:
        typer.echo(printable(f"{one.where}: {one.what}"), err=err)
