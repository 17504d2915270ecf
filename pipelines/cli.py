"""The pipelines' commands: argument parsing, progress and summaries, nothing else."""

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtt.executors import executor
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS
from mmtt.progress import for_person
from mmtt.recipe import Recipe
from mmtt.record import Rejection
from mmtt.removal import require_none_under_way
from mmtt.shards import read_table

from . import cli_audit, cli_import, cli_look, cli_mark, cli_programs, cli_publish, cli_release
from .cli_programs import AsJson, Directory, Workers, open_dataset
from .outcome import Outcome, finish

if TYPE_CHECKING:
    from .plan import Planned


def register(app: typer.Typer) -> None:
    """Add the pipelines' commands to the `mmtt` command."""
    app.command("demo")(demo)
    app.command("init")(init)
    app.command("ingest")(ingest)
    app.command("plan")(plan)
    app.command("forge")(forge)
    app.command("build")(build)
    app.command("degrade")(degrade)
    app.command("overview")(overview)
    cli_programs.register(app)
    cli_audit.register(app)
    cli_look.register(app)
    cli_import.register(app)
    cli_release.register(app)
    cli_mark.register(app)
    cli_publish.register(app)


def init(directory: Directory) -> None:
    """Start a dataset: a recipe, an empty source table, a photo folder."""
    from .start import init as start

    layout = start(directory)
    typer.echo(f"Put photos into {layout.photos}, a row for each into {directory / 'sources.csv'},")
    typer.echo(f"look through {layout.recipe}, then: mmtt build {layout.recipe}")


def ingest(directory: Directory, workers: Workers = 1, as_json: AsJson = False) -> None:
    """Find, check and align the faces of all photos."""
    layout, recipe = open_dataset(directory)
    finish([_run_ingest(layout, recipe, workers)], as_json)


def plan(directory: Directory, workers: Workers = 1, as_json: AsJson = False) -> None:
    """Split, draw donors, decide every forgery; print what it will cost."""
    from .budget import budget

    layout, recipe = open_dataset(directory)
    planned, outcome = _run_plan(layout, recipe)
    told = budget(layout, recipe, planned, workers)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print_budget(told)
        _tell_who_is_who(planned)
        outcome.tell()
    raise typer.Exit(3 if outcome.too_many else 0)


def forge(directory: Directory, workers: Workers = 1, as_json: AsJson = False) -> None:
    """Execute the plan."""
    layout, recipe = open_dataset(directory)
    finish([_run_forge(layout, recipe, workers)], as_json)


def degrade(directory: Directory, workers: Workers = 1, as_json: AsJson = False) -> None:
    """Make degraded variants of every record, as the recipe says; masters stay as they are."""
    layout, recipe = open_dataset(directory, imported=True)
    finish([_run_degrade(layout, recipe, workers)], as_json)


def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A dataset's recipe.yaml, or its directory.")],
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Ingest, plan, forge, and write the overview."""
    layout, parsed = open_dataset(recipe)
    finish(_build(layout, parsed, workers, as_json), as_json)


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to build it.")] = Path("demo"),
    workers: Workers = 2,
    reports: Annotated[bool, typer.Option("--reports", help="Write a template text about every forgery.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a small dataset from public-domain portraits and drawn people, and show it."""
    from .demo import prepare
    from .template_reports import write_template_reports

    layout = prepare(directory, executor(workers))
    done = _build(layout, Recipe.load(layout.recipe), workers, as_json)
    if reports and done[-1].stage == "forge":
        written = write_template_reports(layout)
        _overview(layout)  # again, now that there are texts
        typer.echo(f"reports: {written} template texts, which no person wrote", err=as_json)
    finish(done, as_json)


def overview(directory: Directory) -> None:
    """Write one HTML page that shows what is in the dataset; it opens offline."""
    layout, _ = open_dataset(directory, imported=True)
    typer.echo(f"{_overview(layout)}")


def _run_ingest(layout: Layout, recipe: Recipe, workers: int) -> Outcome:
    from .ingest import ingest as run

    require_none_under_way(layout.root)
    manifest = run(layout, recipe, executor(workers), for_person("ingest: shards"))
    refused = read_table(layout.pristine / REJECTIONS, Rejection)
    return Outcome("ingest", manifest.rows, refused, recipe.tolerate.ingest, layout.pristine)


def _run_plan(layout: Layout, recipe: Recipe) -> "tuple[Planned, Outcome]":
    from .plan import plan as run

    require_none_under_way(layout.root)
    planned = run(layout, recipe, date.today())
    return planned, Outcome("plan", len(planned.rows), planned.rejections, recipe.tolerate.plan, layout.plan)


def _run_forge(layout: Layout, recipe: Recipe, workers: int) -> Outcome:
    from .forge import forge as run

    require_none_under_way(layout.root)
    manifest = run(layout, recipe, executor(workers), for_person("forge: shards"))
    refused = read_table(layout.forged / REJECTIONS, Rejection)
    # What a gate refused is in the shards, and counted in the manifest's rows.
    gated = sum(row.stage == "gate" for row in refused)
    return Outcome("forge", manifest.rows - gated, refused, recipe.tolerate.forge, layout.forged)


def _run_degrade(layout: Layout, recipe: Recipe, workers: int) -> Outcome:
    from .degrade import degrade as run

    require_none_under_way(layout.root)
    manifest = run(layout, recipe, executor(workers), for_person("degrade: shards"))
    refused = read_table(layout.degraded / REJECTIONS, Rejection)
    return Outcome("degrade", manifest.rows, refused, recipe.tolerate.degrade, layout.degraded)


def _overview(layout: Layout) -> Path:
    from .overview import write_overview

    require_none_under_way(layout.root)
    return write_overview(layout.root)


def _build(layout: Layout, recipe: Recipe, workers: int, as_json: bool) -> list[Outcome]:
    """Run the stages in turn; one that refuses more than is tolerated is the last."""
    done = [_run_ingest(layout, recipe, workers)]
    if not done[-1].too_many:
        planned, outcome = _run_plan(layout, recipe)
        done.append(outcome)
        _tell_who_is_who(planned, as_json)
    if not done[-1].too_many:
        done.append(_run_forge(layout, recipe, workers))
        page = _overview(layout)
        if not as_json:
            typer.echo(f"open {page}")
    return done


def _tell_who_is_who(planned: "Planned", as_json: bool = False) -> None:
    from .identities import tell

    for line in [] if as_json else tell(planned):
        typer.echo(line)


def _print_budget(told: dict[str, Any]) -> None:
    for name in ("pristine", "by_family", "by_region", "by_split"):
        counts = ", ".join(f"{key} {count}" for key, count in told[name].items()) or "none"
        typer.echo(f"{name.removeprefix('by_'):10} {counts}")
    size, hours = told["disk_bytes"] / 1e6, told["hours"]
    spent = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    typer.echo(f"{told['forgeries']} forgeries: about {size:,.0f} MB and {spent}, from a sample of {told['sampled']}")
