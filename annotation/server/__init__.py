"""Server: a Label Studio of one's own, the way to any, and the accounts on it."""
