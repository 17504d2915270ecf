"""View: a page on this machine's loopback to look through a dataset, record by record and pixel by pixel."""

from .catalog import Catalog
from .server import make_server, serve

__all__ = ["Catalog", "make_server", "serve"]
