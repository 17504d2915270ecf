"""The annotation commands: argument parsing, progress and summaries, nothing else."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtt.executors import executor
from mmtt.progress import for_person

from . import cli_results, cli_setup
from .cli_setup import AnyVersion, AsJson, Directory, Url

if TYPE_CHECKING:
    from .sync.studio import Studio

Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="How many processes.")]


def register(app: typer.Typer) -> None:
    """Add `mmtt annotate` to the `mmtt` command."""
    group = typer.Typer(help="Ask people about records, with Label Studio.", no_args_is_help=True)
    cli_setup.register(group)
    group.command("pictures")(pictures)
    group.command("push")(push)
    group.command("pull")(pull)
    group.command("status")(status)
    group.command("check")(check)
    group.command("waive")(waive)
    group.command("reject")(reject)
    cli_results.register(group)
    app.add_typer(group, name="annotate")


def pictures(directory: Directory, workers: Workers = 1) -> None:
    """Make the pictures of every open task; `push` makes those that are missing."""
    from .desk import open_desk
    from .sync.delivery import render

    with open_desk(directory, write=True) as desk:
        typer.echo(f"{render(desk, executor(workers), for_person('pictures'))}")


def push(
    directory: Directory,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    retire: Annotated[
        bool, typer.Option("--retire", help="Delete unanswered tasks that are no longer wanted.")
    ] = False,
    recreate: Annotated[bool, typer.Option("--recreate", help="Set up projects anew that were deleted there.")] = False,
    pictures_root: Annotated[
        str | None, typer.Option(metavar="PATH", help="The document root as the server's machine names it.")
    ] = None,
    pictures_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the pictures were uploaded, such as s3://bucket/tasks/.")
    ] = None,
    workers: Workers = 1,
    url: Url = None,
    any_version: AnyVersion = False,
    as_json: AsJson = False,
) -> None:
    """Bring every open task to Label Studio, each once; run it as often as you like."""
    from .desk import open_desk
    from .sync.delivery import Delivery, Gallery, Options, deliver, local_gallery, render

    with open_desk(directory, write=True) as desk:
        root = desk.folder / "pictures" if dry_run else render(desk, executor(workers), for_person("pictures"))
        away = Gallery(f"{pictures_url.rstrip('/')}/", None) if pictures_url else None
        gallery = away or local_gallery(pictures_root or str(root.resolve()))
        options = Options(dry_run, retire, recreate)
        with _connect(directory, url, any_version) as studio:
            done = deliver(Delivery(desk, studio, gallery, options, for_person("push: batches")))
    told = {name: difference.counts() for name, difference in done.items()}
    _tell(told, as_json, "would be done" if dry_run else "done")


_WORDS = {
    "create": "tasks that are new there",
    "change": "unanswered tasks that show something else now",
    "people": "tasks that more or fewer people should answer",
    "delete": "unanswered tasks that follow from nothing any more, or were there twice",
    "doubled": "tasks that are there twice and answered; left alone",
    "unwanted": "tasks that the recipe no longer asks for; left alone (unanswered ones go with --retire)",
    "lost": "answered tasks that somebody deleted there; their answers are in the log",
    "foreign": "tasks of somebody else in our project; left alone",
    "kept": "tasks that are there already",
}


def _tell(told: Mapping[str, Mapping[str, int]], as_json: bool, what: str) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, counts in told.items():
        shown = ", ".join(f"{key} {count}" for key, count in counts.items() if count) or "nothing"
        typer.echo(f"{name}: {shown}")
    explained = {word for counts in told.values() for word, count in counts.items() if count}
    for word in (word for word in _WORDS if word in explained):
        typer.echo(f"  {word}: {_WORDS[word]}")
    typer.echo(f"({what})")


def pull(
    directory: Directory,
    full: Annotated[bool, typer.Option("--full", help="Read everything; done once a day in any case.")] = False,
    url: Url = None,
    any_version: AnyVersion = False,
    as_json: AsJson = False,
) -> None:
    """Bring what people answered into the log."""
    from .desk import open_desk
    from .server.serve import clear_exports
    from .sync.pull import pull as run

    with open_desk(directory, write=True) as desk, _connect(directory, url, any_version) as studio:
        pulled = run(studio, desk.log, desk.marker, full=full, nobody=desk.nobody)
        clear_exports(desk.folder)
        touched = sum(bool(answer.signals) for answer in desk.answers)
    if as_json:
        typer.echo(json.dumps(asdict(pulled)))
        return
    how = "everything" if pulled.full else "what changed"
    typer.echo(f"read {how}: {pulled.read} answers, {pulled.new} new, {pulled.changed} changed")
    if pulled.vanished:
        typer.echo(f"  {pulled.vanished} are gone from the server; they are kept in the log, and held")
    if touched:
        typer.echo(f"  {touched} answers were touched in ways that the interface does not know: `mmtt annotate check`")
    if pulled.unread:
        typer.echo(f"  {pulled.unread} tasks could not be read: the server fails at them; look at their texts there")
    if pulled.foreign:
        typer.echo(f"  {pulled.foreign} tasks there are somebody else's; they are left alone")


def _connect(directory: Path, url: str | None, any_version: bool) -> "Studio":
    from .server.connection import find
    from .sync.studio import Studio

    return Studio(find(directory, url), any_version=any_version)


def status(
    directory: Directory,
    hours: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Write the hours to pay, by person and day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how far the work is: by stage, family and person, what is left, and how long that takes."""
    from . import status as module
    from .desk import open_desk
    from .hours import write_hours

    with open_desk(directory) as desk:
        found = module.status(desk)
        if hours is not None:
            write_hours(desk, hours)
    typer.echo(json.dumps(asdict(found)) if as_json else "\n".join(module.lines(found)))


def check(directory: Directory, as_json: AsJson = False) -> None:
    """Apply the quality rules to every answer, and print what they found."""
    from .desk import open_desk

    with open_desk(directory) as desk:
        found = desk.findings
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found]))
        return
    for finding in found:
        typer.echo(
            f"{finding.annotator} {finding.uid or 'as a whole'}: {finding.rule} ({finding.effect}): {finding.detail}"
        )
    counts = Counter(finding.rule for finding in found)
    typer.echo(", ".join(f"{rule} {count}" for rule, count in counts.most_common()) or "nothing found")


def waive(
    directory: Directory,
    uid: Annotated[str, typer.Argument(metavar="UID", help="The answer, as `check` names it.")],
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule that you overrule.")],
    why: Annotated[str, typer.Option("--why", help="Kept in the log.")],
) -> None:
    """Decide that a finding does not count; the decision is logged."""
    from .desk import open_desk
    from .waivers import waive as run

    with open_desk(directory, write=True) as desk:
        run(desk, uid, rule, why)
        now = next(answer for answer in desk.answers if answer.uid == uid)
    typer.echo(f"{rule} no longer counts against {uid} as it is now: {now.verdict or now.match}, {now.text[:80]!r}")


def reject(
    directory: Directory,
    uid: Annotated[str, typer.Argument(metavar="UID", help="The answer, as `check` names it.")],
    why: Annotated[str, typer.Option("--why", help="Kept in the log.")],
) -> None:
    """Decide that an answer never counts; its task is asked of somebody else."""
    from .desk import open_desk
    from .waivers import reject as run

    with open_desk(directory, write=True) as desk:
        run(desk, uid, why)
    typer.echo(f"{uid} no longer counts; push asks somebody else")
