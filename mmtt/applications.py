"""The applications on top of this library: inside `mmtt` in the wheel, beside it in a checkout."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

APPLICATIONS = ("pipelines", "annotation", "baselines")


def load(application: str, part: str) -> ModuleType | None:
    """Import one module of an application, such as its `cli`; None where it has no such module."""
    nested = f"mmtt.{application}"
    name = f"{nested if find_spec(nested) else application}.{part}"
    return import_module(name) if find_spec(name) else None
