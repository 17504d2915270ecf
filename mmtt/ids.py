"""Ids and digests: what something is called follows from what it was made from."""

import hashlib
import json
from enum import Enum
from pathlib import PurePath
from typing import Any


def digest(value: Any) -> str:
    """Return the SHA-256, 64 hex digits, of the canonical JSON of a plain value; paths and enums count as their text.

    Raises:
        TypeError: a value that JSON does not know, such as a set, whose order is another in each process.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, PurePath | Enum):
        return str(value)
    raise TypeError(f"A {type(value).__name__} has no digest, because its text need not say what it holds: {value!r}")


def derived_id(*derivation: Any) -> str:
    """Return the 24-hex-digit id of whatever that derivation describes."""
    return digest(list(derivation))[:24]
