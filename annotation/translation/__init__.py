"""Translation: what a model makes of reports, beside the originals."""
