"""MMTT: build, audit and publish datasets of forged faces that a stranger can trust.

    photos ─ingest→ pristine shards ─plan→ splits + plan ─forge→ image shards ─→ audit, annotate, release

The library says what a row is, how it is stored and how a face is moved. `pipelines`, `annotation`
and `baselines` are applications on top of it; they meet only in files.
"""

__version__ = "0.1.0"
