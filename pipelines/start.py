"""`mmtt init`: a directory to start from, with everything explained where it is needed."""

from importlib.resources import files
from pathlib import Path

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.layout import Layout

from .sources import COLUMNS_HELP


def init(root: Path) -> Layout:
    """Write a recipe, an empty source table and a photo folder; never over anything that is there.

    Raises:
        UserError: there is a recipe already, or the place is no folder.
    """
    layout = Layout(root)
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file. Name a folder.")
    if layout.recipe.exists():
        raise UserError(f"{layout.recipe} exists already; nothing was changed.")
    layout.photos.mkdir(parents=True, exist_ok=True)
    table = root / "sources.csv"
    if not table.exists() and not (root / "sources.jsonl").exists():
        write_atomically(table, (",".join(COLUMNS_HELP) + "\n").encode())
    write_atomically(layout.recipe, recipe_text("start").encode())
    return layout


def recipe_text(name: str) -> str:
    """Return the text of a recipe that ships with the package."""
    package = __package__ or "pipelines"
    return (files(package) / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
