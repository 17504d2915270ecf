"""What the documents say must be so."""

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import typer.main

import mmtt
from mmtt.applications import APPLICATIONS
from mmtt.cli import app, mount
from mmtt.record import Record
from mmtt.schema import card_table, columns
from pipelines.degradations.chain import OPERATIONS, presets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Every `mmtt` command, groups spelled out."""
    mount(*APPLICATIONS)
    found = []
    for name, command in typer.main.get_command(app).commands.items():
        found += [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]
    return found


COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command):
    assert f"mmtt {command}" in README


def test_every_command_that_the_readme_names_exists():
    named = set(re.findall(r"`mmtt ([a-z]+(?: [a-z]+(?:-[a-z]+)*)?)", README))
    known = {word for command in COMMANDS for word in (command, command.split()[0])}
    assert {n for n in named if n not in known and n.split()[0] not in COMMANDS} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    shown = subprocess.run([sys.executable, "-m", "mmtt", *command.split(), "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.split()) > 8


def test_the_readme_links_to_files_that_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_every_degradation_and_preset_is_documented():
    text = (ROOT / "pipelines" / "degradations" / "README.md").read_text()
    for op, made in OPERATIONS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{op}`"))
        assert [name for name in made.model_fields if f"`{name}`" not in line] == []
    assert [name for name in presets() if f"`{name}`" not in text] == []


def test_the_card_table_explains_every_column():
    table = card_table()
    assert all(f"| `{name}` |" in table for name in columns(Record))


def _public_objects():
    for info in iter_modules(mmtt.__path__):
        if info.name != "__main__":
            module = import_module(f"mmtt.{info.name}")
            for name, item in vars(module).items():
                if not name.startswith("_") and getattr(item, "__module__", "") == module.__name__ and callable(item):
                    yield f"{info.name}.{name}", item


PUBLIC = list(_public_objects())


@pytest.mark.parametrize(("name", "item"), PUBLIC)
def test_every_public_name_of_the_library_has_a_docstring(name, item):
    assert inspect.getdoc(item), name


ARRAYS = [
    (name, item)
    for name, item in PUBLIC
    if inspect.isfunction(item) and re.search(r"ndarray", str(inspect.signature(item)))
]


@pytest.mark.parametrize(("name", "item"), ARRAYS)
def test_functions_of_arrays_state_shapes_or_types(name, item):
    assert re.search(r"H×W|N×|\d×\d|uint8|float32|bool|2×3", inspect.getdoc(item) or ""), name
