"""Write what an importer reads as a dataset of ours: shards, splits, reports, rejections, a recipe that says whence."""
