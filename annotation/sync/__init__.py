"""Sync: what is asked goes to Label Studio, what is answered comes into the log."""
