"""Pristine faces in, checked dataset out: ingest, plan, forge, overview."""
