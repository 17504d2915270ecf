"""Removals: what follows from a request in a dataset's own files, and how it is taken out. Start at `..erase`."""
