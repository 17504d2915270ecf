"""Diff: two builds compared. Which rows were added, removed, changed, and why."""

from .compare import Difference, diff
from .words import as_text

__all__ = ["Difference", "as_text", "diff"]
