"""The labelling interface: built from the taxonomy, checked by a linter of our own, in several languages."""

from .guide import instructions
from .languages import languages
from .linter import lint
from .pages import VERSION, Page, build, interface_sha256, pages, stage_name, write_configs

__all__ = [
    "VERSION",
    "Page",
    "build",
    "instructions",
    "interface_sha256",
    "languages",
    "lint",
    "pages",
    "stage_name",
    "write_configs",
]
