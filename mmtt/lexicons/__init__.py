"""What the words of a report mean: the phrases of each language, and how a text made of them is read."""
