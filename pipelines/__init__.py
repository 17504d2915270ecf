"""Pristine faces in, published dataset out: ingest, plan, forge, overview."""
