"""The annotation commands about what came out: reports, agreement, pages, the log, and who is taken out of it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mmtt.layout import locate
from mmtt.progress import for_person

from .cli_setup import AnyVersion, AsJson, Directory, Url


def register(group: typer.Typer) -> None:
    """Add these commands to `mmtt annotate`."""
    group.command("reports")(reports)
    group.command("translate")(translate)
    group.command("agreement")(agreement)
    group.command("page")(page)
    group.command("log")(log)
    group.command("erase")(erase)


def reports(directory: Directory, as_json: AsJson = False) -> None:
    """Write DIR/reports: the reports that count, joined to their records, and what was refused."""
    from .desk import open_desk
    from .reports import write

    with open_desk(directory, write=True) as desk:
        made, refused = write(desk)
        where = desk.layout.root / "reports"
    settled, why = Counter(report.settled for report in made), Counter(row.code for row in refused)
    if as_json:
        typer.echo(json.dumps({"reports": len(made), "settled": settled, "refused": why}))
        return
    records = len({report.record_id for report in made})
    typer.echo(f"{len(made)} reports of {records} records in {where}: {_counted(settled)}; refused: {_counted(why)}")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def translate(
    directory: Directory,
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="A model's folder (safetensors); nothing is fetched.")],
    to: Annotated[str, typer.Option(help="Language of the result, a BCP 47 tag.")] = "en",
    shorten: Annotated[int | None, typer.Option(metavar="WORDS", min=5, help="Shorten to so many words.")] = None,
) -> None:
    """Translate or shorten reports by a model, into columns beside the originals."""
    from .desk import open_desk
    from .translation.translate import translate as run

    with open_desk(directory, write=True) as desk:
        done = run(desk.layout.root / "reports", model, to, shorten, for_person("translate"))
    typer.echo("\n".join(_lines_of(done)))


def _lines_of(done: Any) -> Sequence[str]:
    return [
        f"{done.made} made, {done.kept} kept; refused: {len(done.refused)}",
        *(row.detail for row in done.refused[:5]),
    ]


def agreement(
    directory: Directory, draws: Annotated[int, typer.Option(min=1, help="Of each bootstrap.")] = 1000
) -> None:
    """Print as JSON how far people agree, with intervals."""
    from .agreement import agreement as run
    from .desk import open_desk

    with open_desk(directory) as desk:
        typer.echo(json.dumps(asdict(run(desk.counting, desk.rng("agreement"), draws))))


def page(directory: Directory) -> None:
    """Write the curator's page: progress, agreement, what the rules found, each annotator. Private."""
    from .desk import open_desk
    from .page import write_page

    with open_desk(directory) as desk:
        typer.echo(f"{write_page(desk)}")


def log(directory: Directory, as_json: AsJson = False) -> None:
    """Follow the log's chain, and print its head: written down elsewhere, it proves that nothing was cut off."""
    from .desk import open_desk

    with open_desk(directory) as desk:
        faults, head = desk.log.faults(), desk.log.head
        counts = Counter(event.kind for event in desk.log.events())
    if as_json:
        typer.echo(json.dumps({"head": head, "events": counts, "faults": faults}))
    else:
        typer.echo("\n".join([*faults, f"{_counted(counts)}; faults: {len(faults) or 'none'}", f"head {head}"]))
    raise typer.Exit(2 if faults else 0)


def erase(
    directory: Directory,
    annotator: Annotated[str, typer.Argument(metavar="PSEUDONYM", help="Whom to erase.")],
    texts: Annotated[bool, typer.Option("--texts", help="What they wrote, too: from log, reports and server.")] = False,
    url: Url = None,
    any_version: AnyVersion = False,
) -> None:
    """Erase an annotator: who they are, and with --texts all that they wrote."""
    from .erase import erase_annotator
    from .server.connection import find

    root = locate(directory).root
    erased = erase_annotator(root, annotator, find(root, url), texts=texts, any_version=any_version)
    typer.echo(f"{annotator} is nobody any more; answers erased: {erased}")
