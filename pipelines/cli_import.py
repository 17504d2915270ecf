"""Commands that bring other people's datasets in: `mmtt import …`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtt.consent import SCOPES
from mmtt.errors import UserError
from mmtt.executors import executor
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, Manifest
from mmtt.manipulator import FAMILIES, UNTOLD
from mmtt.progress import for_person
from mmtt.recipe import Recipe
from mmtt.record import Rejection
from mmtt.shards import read_table
from mmtt.words import printable

from .cli_programs import AsJson, Workers
from .importers.item import COLUMNS
from .outcome import Outcome, finish

if TYPE_CHECKING:
    from .importers.columns import Told

Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Where the dataset is written: a folder that is empty or not there; the same again goes on."
    ),
]
FindFaces = Annotated[
    bool, typer.Option("--find-faces", help="Look for landmarks with MediaPipe, so that regions can be measured.")
]

Licence = Annotated[str, typer.Option(help="Of the pictures: an SPDX id, or LicenseRef-… for what SPDX does not list.")]
Consent = Annotated[
    str, typer.Option(help=f"What the people shown agreed to: {', '.join(SCOPES)}; 'none' if nobody was asked.")
]
Name = Annotated[str, typer.Option(help="What the dataset is called: the `origin` of every row.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="OURS=THEIRS",
        help=f"Which column is what, as image=path, for each; without it by name. OURS: {', '.join(COLUMNS)}.",
    ),
]
Families = Annotated[
    list[str] | None,
    typer.Option(
        "--family",
        metavar="LABEL=FAMILY",
        help=f"What a label means, as real=pristine, for each. FAMILY: pristine, {', '.join(FAMILIES)}, or {UNTOLD}.",
    ),
]
TextOrigin = Annotated[str, typer.Option(metavar="ORIGIN", help="Who wrote the texts: human, model, …")]
Language = Annotated[str, typer.Option(help="BCP 47 tag of the texts, where no column says.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    named = typer.Typer(help="Bring other people's datasets in; audit them like your own.", no_args_is_help=True)
    named.command("mmtt-release")(mmtt_release)
    named.command("pairs")(pairs)
    named.command("hub")(hub)
    app.add_typer(named, name="import")


def mmtt_release(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The folder with dataset.tar.gz.part… and dataset_json.tar.gz.")
    ],
    directory: Directory,
    # Faces of CelebA-HQ (research only) and FFHQ (CC-BY-NC-SA-4.0, and photos under licences of their own).
    licence: Annotated[
        str, typer.Option(help="Of the pictures; the release states none, its photos are CelebA-HQ's and FFHQ's.")
    ] = "LicenseRef-CelebA-HQ-FFHQ",
    # Written in Chinese, translated and abbreviated by a model; the originals were not released.
    text_origin: Annotated[
        str, typer.Option(metavar="ORIGIN", help="Who wrote the texts, if you know better: human, model, …")
    ] = "human_translated",
    find_faces: FindFaces = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Import the published MMTT as it is distributed, without unpacking it."""
    from .importers import figures
    from .importers.mmtt_release import import_release

    bars = (for_person("import: masks"), for_person("import: records"))
    done = import_release(
        source,
        directory,
        executor(workers),
        bars,
        licence=licence,
        text_origin=text_origin,
        find_faces=find_faces,
    )
    told = {**figures.figures(Layout(directory)), "files_not_listed": done.unlisted}
    conclude(directory, as_json, told, figures.lines)


def pairs(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A table (CSV, TSV, JSON, JSONL, Parquet), or a folder: with one table, with Tp/ and Gt/ (images/ and "
            "masks/), or FaceForensics++'s manipulated_sequences/.",
        ),
    ],
    directory: Directory,
    name: Name,
    licence: Licence,
    consent: Consent = "none",
    column: Columns = None,
    family: Families = None,
    splits: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With FaceForensics++'s train.json, val.json, test.json.")
    ] = None,
    text_origin: TextOrigin = "unknown",
    language: Language = "en",
    find_faces: FindFaces = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Import any folder or table of pictures and masks, and texts where there are any."""
    from .importers import pair
    from .importers.pairs import Rights, import_pairs

    done = import_pairs(
        source,
        directory,
        _told(name, column, family, text_origin, language),
        Rights(licence=licence, consent=consent),
        splits=splits,
        find_faces=find_faces,
        executor=executor(workers),
        bars=(for_person("import: files"), for_person("import: records")),
    )
    conclude(directory, as_json, done.told, pair.lines)


def hub(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder of Parquet shards, one shard, or hub:OWNER/NAME@REVISION of the Hub."
        ),
    ],
    directory: Directory,
    name: Name,
    licence: Licence,
    consent: Consent = "none",
    column: Columns = None,
    family: Families = None,
    text_origin: TextOrigin = "unknown",
    language: Language = "en",
    find_faces: FindFaces = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Import Parquet shards as `datasets` writes them, with a map of their columns."""
    from .importers import pair
    from .importers.hub import import_hub
    from .importers.pairs import Rights

    done = import_hub(
        source,
        directory,
        _told(name, column, family, text_origin, language),
        Rights(licence=licence, consent=consent),
        say=partial(typer.echo, err=True),
        find_faces=find_faces,
        executor=executor(workers),
        bars=(for_person("import: files"), for_person("import: records")),
    )
    conclude(directory, as_json, done.told, pair.lines)


def _told(name: str, columns: list[str] | None, families: list[str] | None, text_origin: str, language: str) -> "Told":
    from .importers.columns import Told

    return Told(
        name=name,
        columns=_once("--column", [_both(text, "--column", text.partition("=")) for text in columns or ()]),
        families=_once("--family", [_both(text, "--family", text.rpartition("=")) for text in families or ()]),
        text_origin=text_origin,
        language=language,
    )


def _both(text: str, option: str, parts: tuple[str, str, str]) -> tuple[str, str]:
    if not parts[0] or not parts[2]:
        raise UserError(f"{option} '{text}' is not of the form A=B.")
    return parts[0], parts[2]


def _once(option: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{option} {twice}=… is given twice. Leave one.")
    return found


def conclude(
    directory: Path, as_json: bool, told: Mapping[str, Any], lines: Callable[[Mapping[str, Any]], Iterable[str]]
) -> None:
    """Tell what an import came to, and end the command; `told` as JSON, or as the lines that `lines` makes of it."""
    layout = Layout(directory)
    folders = (layout.pristine, layout.forged)
    accepted = sum(Manifest.load(folder).rows for folder in folders)
    refused = [row for folder in folders for row in read_table(folder / REJECTIONS, Rejection)]
    tolerated = Recipe.load(layout.recipe).tolerate.imported
    for line in [] if as_json else [*lines(told), *_not_rgb(refused)]:
        typer.echo(printable(line))
    held = [folder for folder in folders if Manifest.load(folder).rejections] or [layout.forged]
    finish([Outcome("import", accepted, refused, tolerated, held[0], tuple(held[1:]))], as_json, dict(told))


def _not_rgb(refused: list[Rejection]) -> list[str]:
    """What kinds of pictures were refused because they are not RGB, and what to do: a stranger's folder holds many."""
    kinds = Counter(row.detail.partition(";")[0].rpartition(" is ")[2] for row in refused if row.code == "not_rgb")
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    hint = "records hold files as they came, and every reader takes RGB of 8 bits: convert them, and import again"
    return [f"not RGB: {told}; {hint}"] if kinds else []
