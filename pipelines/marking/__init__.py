"""Marking: content credentials and a text in the picture's file, on forged and pristine pictures alike."""
