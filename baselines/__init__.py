"""ForgeryTalker, trained and scored from the shards."""
