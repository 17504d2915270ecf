"""Overview: one HTML page that shows what is in a dataset. It opens offline; nothing in it is fetched."""

from .page import write_overview

__all__ = ["write_overview"]
