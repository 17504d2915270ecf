"""Importers: other people's datasets, brought into our shards as they are, with what is odd about them on record."""
