"""ForgeryTalker, trained and scored from the shards. Not built yet."""
