"""Ids and digests: what something is called follows from what it was made from."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """Return the SHA-256, 64 hex digits, of the canonical JSON of a plain value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def derived_id(*derivation: Any) -> str:
    """Return the 24-hex-digit id of whatever that derivation describes."""
    return digest(list(derivation))[:24]
