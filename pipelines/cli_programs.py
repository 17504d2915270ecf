"""Commands about programs and weights: what there is, whether it keeps its contract, whether a row can be replayed."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python

from mmtt.errors import UserError
from mmtt.layout import Layout, locate
from mmtt.recipe import Recipe

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="How many processes.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    app.command("replay")(replay)
    app.command("doctor")(doctor)
    named = typer.Typer(help="The programs that forge.", no_args_is_help=True)
    named.command("list")(manipulators_list)
    named.command("show")(manipulators_show)
    named.command("check")(manipulators_check)
    app.add_typer(named, name="manipulators")


def open_dataset(path: Path, *, imported: bool = False) -> tuple[Layout, Recipe]:
    """Return the layout and the recipe of a dataset; all manipulators and degradations that it names must exist.

    `imported` says whether it may be one of other people's.

    Raises:
        UserError: no dataset, or one that cannot be meant. RecipeError: what is wrong in its recipe.
    """
    from . import manipulators
    from .degradations.chain import chains

    layout = locate(path)
    recipe = Recipe.load(layout.recipe)
    if recipe.imported is not None and not imported:
        raise UserError(f"{layout.root} was imported: its faces are not ingested, planned or forged here.")
    manipulators.from_recipe(recipe.forge.manipulators)
    chains(recipe.degrade)
    return layout, recipe


def replay(
    directory: Directory,
    record_ids: Annotated[list[str] | None, typer.Argument(metavar="[RECORD_ID]...", help="Only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forge records again from their rows, all or those named, and compare the bytes."""
    from .replay import replay as run

    # Not `open_dataset`: a program that is absent is told for each of its rows, and stops no other.
    layout = locate(directory)
    outcomes = list(run(layout, Recipe.load(layout.recipe), record_ids or ()))
    counts = Counter(outcome.verdict.split()[0] for outcome in outcomes)
    if as_json:
        told = [o._asdict() for o in outcomes if o.verdict != "same"]
        typer.echo(json.dumps({"replayed": len(outcomes), "verdicts": counts, "not_the_same": told}))
    else:
        for outcome in outcomes:
            if outcome.verdict != "same":
                typer.echo(f"{outcome.record_id}: {outcome.verdict}: {outcome.detail}", err=not outcome.held)
        summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "none"
        typer.echo(f"{len(outcomes)} forgeries replayed: {summary}")
    raise typer.Exit(0 if all(outcome.held for outcome in outcomes) else 2)


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Import the packages, look for a GPU, hash the weights.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what is installed, which weights were found, what each enables and under which licence."""
    from . import doctor as module

    findings = module.doctor(deep)
    typer.echo(module.as_json(findings) if as_json else module.as_text(findings))


def manipulators_list(as_json: AsJson = False) -> None:
    """Name every manipulator, built-in and installed, with its family."""
    from . import manipulators

    rows = []
    for name in manipulators.names():
        try:
            rows.append(manipulators.find(name).declaration)
        except Exception as error:  # an installed one that cannot be imported must not hide the others
            typer.echo(f"{name}: cannot be loaded ({type(error).__name__}: {error})", err=True)
    for sentence in manipulators.shadowed():
        typer.echo(sentence, err=True)
    if as_json:
        typer.echo(json.dumps([{"name": d.name, "family": d.family, "summary": d.summary} for d in rows]))
        return
    for declared in rows:
        typer.echo(f"{declared.name:18} {declared.family:22} {declared.summary}")


def manipulators_show(name: Annotated[str, typer.Argument(help="A manipulator's name.")]) -> None:
    """Explain one manipulator: what it does, and every option that a recipe may set."""
    from . import manipulators

    found = manipulators.find(name)
    declared = found.declaration
    typer.echo(f"{declared.name} {declared.version}, {declared.family}, mask rule {declared.mask_rule}")
    typer.echo(f"{declared.summary}\n\noptions:")
    for option, field in found.model_fields.items():
        default = (
            "required" if field.is_required() else f"default {_plain(field.get_default(call_default_factory=True))}"
        )
        typer.echo(f"  {option} ({default})")
        if field.description:
            typer.echo(f"      {' '.join(field.description.split())}")


def _plain(value: Any) -> str:
    """A default as a recipe would write it."""
    shown = json.dumps(to_jsonable_python(value), ensure_ascii=False)
    return shown if len(shown) <= 100 else f"{shown[:97]}..."


def manipulators_check(
    name: Annotated[str, typer.Argument(help="A manipulator's name.")],
    options: Annotated[str, typer.Option(metavar="JSON", help="Its options, as in a recipe.")] = "{}",
) -> None:
    """Try a manipulator on drawn people and tell what it does against its contract."""
    from .trial import trial

    found = trial(name, _options(options))
    for sentence in found:
        typer.echo(f"{name}: {sentence}", err=True)
    typer.echo(f"{name}: {len(found) or 'no'} faults")
    raise typer.Exit(2 if found else 0)


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise UserError(f"--options is not JSON: {error}.") from error
    if not isinstance(options, dict):
        raise UserError("--options must be a JSON object, for example '{\"strength\": 2}'.")
    return options
